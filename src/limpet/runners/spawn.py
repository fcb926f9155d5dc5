"""Starts one daemon: its socket bound beforehand, its token held back until it is on record.

The order is what makes a kill -9 of the control plane harmless at any point: a daemon reads its
token to the end of a pipe before anything else, and the control plane writes it only when the
process is on record. If the control plane dies earlier, the pipe ends without a token and the
daemon gives up by itself.
"""

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple, dataclass, field
from io import FileIO
from pathlib import Path
from typing import Final, Self

from limpet.errors import RunnerError
from limpet.runners.bubblewrap import Handshake
from limpet.runners.processes import ProcessId, identify, send
from limpet.runners.seccomp import filter_program

BACKLOG: Final = 512
INFO_TIMEOUT_S: Final = 20.0


@dataclass
class Doors:
    """The descriptors that a daemon inherits, and our ends of them. `close` closes all of ours."""

    listener: socket.socket
    token_read: int
    token_write: int

    @classmethod
    def open(cls) -> Self:
        """A listening socket on loopback with a port that nobody else can take, and a pipe."""
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            listener.bind(("127.0.0.1", 0))
            listener.listen(BACKLOG)
            read, write = os.pipe()
        except OSError:
            listener.close()
            raise
        return cls(listener, read, write)

    @property
    def url(self) -> str:
        """Where the daemon will answer."""
        host, port = self.listener.getsockname()
        return f"http://{host}:{port}"

    @property
    def inherited(self) -> tuple[int, int]:
        """What the daemon inherits."""
        return self.listener.fileno(), self.token_read

    def close_inherited(self) -> None:
        """Let go of what is now the daemon's: when it dies, its port must not seem to answer."""
        self.listener.close()
        self.token_read = _closed(self.token_read)

    def hand_over(self, token: str) -> None:
        """Give the daemon its token; a daemon that died meanwhile shows later."""
        with contextlib.suppress(BrokenPipeError):
            os.write(self.token_write, token.encode())
        self.token_write = _closed(self.token_write)

    def close(self) -> None:
        """Close all of our ends."""
        self.listener.close()
        self.token_read = _closed(self.token_read)
        self.token_write = _closed(self.token_write)


@dataclass
class Spawned:
    """A daemon's processes: `leader` is our child; `init` is its pid namespace's, or None."""

    popen: "subprocess.Popen[bytes]" = field(repr=False)
    leader: ProcessId
    init: ProcessId | None

    @property
    def exit_code(self) -> int | None:
        """Collects the child if it has ended."""
        return self.popen.poll()

    def forget(self) -> None:
        """Stop being the one who waits for it: it runs on after us."""
        _outlived.append(self.popen)


_outlived: "list[subprocess.Popen[bytes]]" = []


def start(
    argv: Sequence[str],
    *,
    env: Mapping[str, str],
    cwd: Path,
    log_fd: int,
    pass_fds: Sequence[int],
) -> "subprocess.Popen[bytes]":
    """Start the process in a session of its own, so that it outlives us and our terminal.

    Blocks. Raises `RunnerError`.
    """
    _outlived[:] = [popen for popen in _outlived if popen.poll() is None]
    try:
        return subprocess.Popen(
            argv,
            env=dict(env),
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=log_fd,
            stderr=log_fd,
            pass_fds=pass_fds,
            start_new_session=True,
        )
    except OSError as error:
        raise RunnerError(f"The sandbox's daemon cannot be started: {error}") from error


def start_plain(
    argv: Sequence[str],
    *,
    env: Mapping[str, str],
    cwd: Path,
    log_fd: int,
    pass_fds: Sequence[int],
) -> Spawned:
    """Start a daemon that nothing shuts in. Blocks. Raises `RunnerError`."""
    popen = start(argv, env=env, cwd=cwd, log_fd=log_fd, pass_fds=pass_fds)
    leader = identify(popen.pid)
    if leader is None:
        raise RunnerError(f"The sandbox's daemon ended at once (exit code {_killed(popen)})")
    return Spawned(popen, leader, None)


def start_shut_in(
    argv_for: Callable[[Handshake], Sequence[str]],
    *,
    env: Mapping[str, str],
    log_fd: int,
    pass_fds: Sequence[int],
    furnish: Callable[[Spawned, int], None],
) -> Spawned:
    """Start bubblewrap with the command that `argv_for` gives.

    The daemon begins after `furnish`, which is given the processes and a descriptor that reads to
    its end when the sandbox ends. Blocks. Raises `RunnerError`, and what `furnish` raises: then
    nothing of the sandbox is left.
    """
    with contextlib.ExitStack() as ends:
        (info, info_in), (block_out, block), (dead, alive) = (_pipe(ends) for _ in range(3))
        calls = _filter_file(ends)
        inherited = Handshake(info_in.fileno(), block_out.fileno(), alive.fileno(), calls)
        popen = start(
            argv_for(inherited),
            env=env,
            cwd=Path("/"),
            log_fd=log_fd,
            pass_fds=[*pass_fds, *(fd for fd in astuple(inherited) if fd is not None)],
        )
        for theirs in (info_in, block_out, alive):
            theirs.close()
        leader, init = identify(popen.pid), _init_of(info.fileno())
        if leader is None or init is None:
            raise RunnerError(f"The sandbox's daemon ended at once (exit code {_killed(popen)})")
        spawned = Spawned(popen, leader, init)
        try:
            furnish(spawned, dead.fileno())
        except BaseException:
            send(init, signal.SIGKILL)
            _killed(popen)
            raise
        with contextlib.suppress(BrokenPipeError):
            os.write(block.fileno(), b"go")
    return spawned


def _pipe(ends: contextlib.ExitStack) -> tuple[FileIO, FileIO]:
    read, write = os.pipe()
    return ends.enter_context(FileIO(read, "r")), ends.enter_context(FileIO(write, "w"))


def _filter_file(ends: contextlib.ExitStack) -> int | None:
    program = filter_program()
    if program is None:
        return None
    file = ends.enter_context(FileIO(os.memfd_create("limpet-seccomp"), "r+"))
    file.write(program)
    file.seek(0)
    return file.fileno()


def _killed(popen: "subprocess.Popen[bytes]") -> int:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(popen.pid, signal.SIGKILL)
    return popen.wait()


def _init_of(info_read: int) -> ProcessId | None:
    """The namespace's init, from what bubblewrap tells on `--info-fd`."""
    told = b""
    deadline = time.monotonic() + INFO_TIMEOUT_S
    waiting = select.poll()
    waiting.register(info_read, select.POLLIN)
    while (left_s := deadline - time.monotonic()) > 0 and waiting.poll(left_s * 1000):
        part = os.read(info_read, 4096)
        told += part
        if not part or told.rstrip().endswith(b"}"):
            break
    try:
        return identify(int(json.loads(told)["child-pid"]))
    except (ValueError, KeyError, TypeError):
        return None


def free_port() -> int:
    """A port that was free a moment ago; whoever uses it must be ready to find it taken."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _closed(descriptor: int) -> int:
    if descriptor >= 0:
        os.close(descriptor)
    return -1
