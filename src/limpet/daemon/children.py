"""Child processes of the daemon: their environment, how they start, how their end is known.

`start_child` is the one place that forks. `run_child` is for steps of the daemon's own (git,
install): plain pipes, no terminal, always a code.
"""

import asyncio
import codecs
import contextlib
import errno
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from limpet.daemon.capabilities import has
from limpet.daemon.gate import gate
from limpet.daemon.processes import signal_group
from limpet.daemon.settings import DaemonSettings
from limpet.errors import ConflictError

READ_BYTES = 64 * 1024
PTY_ATTEMPT_PAUSES_S = (0.05, 0.1, 0.15)
SPAWN_ERROR_CODE = 1
_SECRET_VARIABLES = frozenset(
    {"DAEMON_TOKEN", "DAEMON_TOKEN_FD", "DAEMON_LISTEN_FD", "LIMPET_SECRET_KEY", "GIT_ASKPASS"}
)
_SECRET_PREFIXES = ("DAEMON_", "SANDBOX_SNAPSHOTS_", "LIMPET_", "OFFLOAD_")
# The shell opens the terminal itself: as the leader of a fresh session it so becomes its owner.
_DIES_BEFORE_US = "500"
"""The `oom_score_adj` of what we start: where memory runs out, it goes and the daemon stays."""
_ON_TERMINAL = 'exec "$@" <>"$0" >&0 2>&0'

OnOutput = Callable[[str], None]


running_children: set[int] = set()
"""Pids that someone of ours waits for; the reaper of orphans leaves them alone."""


def child_environment(
    settings: DaemonSettings, extra: Mapping[str, str] | None = None
) -> dict[str, str]:
    """The daemon's own environment without secrets, then `extra`.

    `HOME` lies in the workspace and comes home with it, caches lie beside it and do not.
    """
    env = {
        name: value
        for name, value in settings.environ.items()
        if name not in _SECRET_VARIABLES and not name.startswith(_SECRET_PREFIXES)
    }
    env.setdefault("PATH", os.defpath)
    env.setdefault("LANG", "C.UTF-8")
    env.setdefault("TERM", "xterm-256color")
    env.setdefault("XDG_CACHE_HOME", str(settings.cache_dir))
    env.setdefault("npm_config_cache", str(settings.cache_dir / "npm"))
    env.setdefault("BUN_INSTALL_CACHE_DIR", str(settings.cache_dir / "bun"))
    env["HOME"] = str(settings.home)
    # What deno has fetched is its install, and no mere cache: it comes home like node_modules.
    env.setdefault("DENO_DIR", str(settings.home / ".deno"))
    env["APP_ROOT"] = str(settings.app_root)
    env["COREPACK_ENABLE_STRICT"] = "0"
    env["COREPACK_ENABLE_DOWNLOAD_PROMPT"] = "0"
    env.pop("PWD", None)
    env.pop("OLDPWD", None)
    env.update(extra or {})
    return env


def exit_code(returncode: int) -> int:
    """A shell's way to tell: 128 + number for a signal."""
    return 128 - returncode if returncode < 0 else returncode


class Child:
    """A started process, leader of its own session. `wait` gives its code, any number of times."""

    def __init__(
        self,
        popen: "subprocess.Popen[bytes]",
        master: int | None,
        *,
        keeps_stdin: bool = False,
    ) -> None:
        self._popen = popen
        self._keeps_stdin = keeps_stdin
        self.pid = popen.pid
        self.master = master
        self._exit: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        running_children.add(self.pid)
        with contextlib.suppress(OSError):  # no /proc, or it has ended already
            Path(f"/proc/{self.pid}/oom_score_adj").write_text(_DIES_BEFORE_US)
        if has("pidfd"):
            try:
                self._watch_pidfd()
                return
            except OSError:
                pass
        self._watch_in_thread()

    @property
    def input(self) -> int | None:
        """Where it is typed into: its terminal, or a pipe that was kept open."""
        if self.master is not None:
            return self.master
        return self._popen.stdin.fileno() if self._keeps_stdin and self._popen.stdin else None

    @property
    def stdout(self) -> int | None:
        """The reading end of its output, when it has pipes."""
        return self._popen.stdout.fileno() if self._popen.stdout else None

    @property
    def stderr(self) -> int | None:
        """The reading end of its errors, when they have a pipe of their own."""
        return self._popen.stderr.fileno() if self._popen.stderr else None

    @property
    def ended(self) -> bool:
        """Whether its code is known."""
        return self._exit.done()

    async def wait(self) -> int:
        """Its exit code; 128 + number when a signal ended it."""
        return await asyncio.shield(self._exit)

    def signal(self, number: int) -> None:
        """Send a signal to its whole process group."""
        if not self.ended:
            signal_group(self.pid, number)

    def take_pipes(self) -> tuple[int, int]:
        """Its standard input and output, from now on the caller's to read, write and close."""
        assert self._popen.stdin is not None
        assert self._popen.stdout is not None
        taken = os.dup(self._popen.stdin.fileno()), os.dup(self._popen.stdout.fileno())
        self._popen.stdin.close()
        self._popen.stdout.close()
        self._popen.stdin = self._popen.stdout = None
        return taken

    def close(self) -> None:
        """Let go of the pipes."""
        for pipe in (self._popen.stdin, self._popen.stdout, self._popen.stderr):
            if pipe is not None:
                pipe.close()

    def _watch_pidfd(self) -> None:
        loop = asyncio.get_running_loop()
        pidfd = os.pidfd_open(self.pid)

        def on_end() -> None:
            loop.remove_reader(pidfd)
            os.close(pidfd)
            # Until it is waited for, its number cannot be given to another: the group is ours.
            signal_group(self.pid, signal.SIGKILL)
            self._done(self._popen.wait())

        loop.add_reader(pidfd, on_end)

    def _watch_in_thread(self) -> None:
        loop = asyncio.get_running_loop()

        def wait() -> None:
            os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)
            signal_group(self.pid, signal.SIGKILL)
            returncode = self._popen.wait()
            with contextlib.suppress(RuntimeError):  # the loop has ended before the child
                loop.call_soon_threadsafe(self._done, returncode)

        threading.Thread(target=wait, name=f"wait-{self.pid}", daemon=True).start()

    def _done(self, returncode: int) -> None:
        running_children.discard(self.pid)
        if not self._exit.done():
            self._exit.set_result(exit_code(returncode))


def start_child(
    argv: Sequence[str],
    *,
    cwd: Path,
    env: Mapping[str, str],
    pty: bool = False,
    size: tuple[int, int] = (120, 30),
    stdin: bytes | None = None,
    keep_stdin: bool = False,
    merge_stderr: bool = False,
    pass_fds: Sequence[int] = (),
    drop_to: tuple[int, int] | None = None,
) -> Child:
    """Start `argv` in a session of its own, on a terminal or with pipes.

    `size` is (columns, rows). `OSError` when it cannot be started, `ConflictError` when nothing
    may be. A whole process group dies with its leader.
    """
    gate.check()
    uid, gid = drop_to if drop_to is not None and os.geteuid() == 0 else (None, None)
    groups = None if gid is None else [gid]
    if pty:
        return _start_on_terminal(argv, cwd, env, size, uid, gid, groups)
    popen = subprocess.Popen(
        list(argv),
        cwd=cwd,
        env=dict(env),
        stdin=subprocess.PIPE if keep_stdin or stdin is not None else subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT if merge_stderr else subprocess.PIPE,
        start_new_session=True,
        pass_fds=tuple(pass_fds),
        user=uid,
        group=gid,
        extra_groups=groups,
        bufsize=0,
    )
    if keep_stdin and popen.stdin is not None:
        os.set_blocking(popen.stdin.fileno(), False)
    elif stdin is not None and popen.stdin is not None:
        _feed(popen.stdin.fileno(), stdin, popen)
    return Child(popen, None, keeps_stdin=keep_stdin)


def _feed(fd: int, data: bytes, popen: "subprocess.Popen[bytes]") -> None:
    """Write `data` without ever blocking the loop, then close."""
    loop = asyncio.get_running_loop()
    os.set_blocking(fd, False)
    rest = memoryview(data)

    def on_writable() -> None:
        nonlocal rest
        try:
            rest = rest[os.write(fd, rest) :] if rest else rest
        except BlockingIOError:
            return
        except OSError:
            rest = memoryview(b"")
        if not rest:
            loop.remove_writer(fd)
            if popen.stdin is not None:
                popen.stdin.close()

    loop.add_writer(fd, on_writable)


def _start_on_terminal(
    argv: Sequence[str],
    cwd: Path,
    env: Mapping[str, str],
    size: tuple[int, int],
    uid: int | None,
    gid: int | None,
    groups: list[int] | None,
) -> Child:
    master, slave = open_terminal(size)
    try:
        if uid is not None:  # it opens the terminal by its name, as somebody else
            os.fchown(slave, uid, -1)
        popen = subprocess.Popen(
            ["/bin/sh", "-c", _ON_TERMINAL, os.ttyname(slave), *argv],
            cwd=cwd,
            env=dict(env),
            stdin=subprocess.DEVNULL,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            user=uid,
            group=gid,
            extra_groups=groups,
        )
    except OSError:
        os.close(master)
        raise
    finally:
        os.close(slave)
    os.set_blocking(master, False)
    return Child(popen, master)


def open_terminal(size: tuple[int, int]) -> tuple[int, int]:
    """A fresh terminal pair (master, slave) of `size` (columns, rows); `OSError` without one."""
    if not has("pty"):
        raise OSError(errno.ENODEV, "terminals are switched off")
    master, slave = os.openpty()
    resize_terminal(master, size)
    return master, slave


def resize_terminal(master: int, size: tuple[int, int]) -> None:
    """Tell the terminal that it has `size` (columns, rows)."""
    import fcntl
    import struct
    import termios

    columns, rows = size
    fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


class TextReader:
    """Reads a descriptor whenever there is something, as text; a character is never cut."""

    def __init__(self, fd: int, on_text: OnOutput, *, errors: str = "replace") -> None:
        self._fd = fd
        self._on_text = on_text
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors=errors)
        self.ended = asyncio.Event()
        os.set_blocking(fd, False)
        asyncio.get_running_loop().add_reader(fd, self._read)

    def _read(self) -> bool:
        """Read one chunk; whether there may be more now."""
        try:
            data = os.read(self._fd, READ_BYTES)
        except BlockingIOError:
            return False
        except OSError:  # a terminal whose last process is gone gives EIO
            data = b""
        if data:
            if text := self._decoder.decode(data):
                self._on_text(text)
            return True
        self.close()
        return False

    def drain(self) -> None:
        """Read what is there without waiting for more (at most 4 MiB), then stop."""
        for _ in range(64):
            if self.ended.is_set() or not self._read():
                break
        self.close()

    def close(self) -> None:
        """Stop reading; a cut character shows as a replacement."""
        if self.ended.is_set():
            return
        asyncio.get_running_loop().remove_reader(self._fd)
        if text := self._decoder.decode(b"", True):
            self._on_text(text)
        self.ended.set()


async def run_child(
    argv: Sequence[str],
    *,
    cwd: Path,
    env: Mapping[str, str],
    on_output: OnOutput,
    timeout_s: float | None = None,
    pass_fds: Sequence[int] = (),
    stdin: bytes | None = None,
    drop_to: tuple[int, int] | None = None,
) -> int:
    """Run a step of the daemon's own to its end; its exit code, whatever happens.

    A spawn error is told as output and is code 1, a signal 128 + its number (a time-out kills the
    whole group: 137). Cancelled: the group is killed and waited for. Output and errors come
    merged. A bare carriage return is passed on as it is.
    """
    try:
        child = start_child(
            argv,
            cwd=cwd,
            env=env,
            stdin=stdin,
            merge_stderr=True,
            pass_fds=pass_fds,
            drop_to=drop_to,
        )
    except (OSError, ConflictError, ValueError) as error:
        on_output(f"[spawn error] {argv[0]}: {error}\n")
        return SPAWN_ERROR_CODE
    assert child.stdout is not None
    reader = TextReader(child.stdout, on_output)
    try:
        try:
            async with asyncio.timeout(timeout_s):
                return await child.wait()
        except TimeoutError:
            on_output(f"\n[timed out after {timeout_s:g} s]\n")
            return await _end(child)
    except asyncio.CancelledError:
        await asyncio.shield(_end(child))
        raise
    finally:
        reader.drain()
        with contextlib.suppress(OSError):
            child.close()


async def _end(child: Child) -> int:
    child.signal(signal.SIGKILL)
    return await child.wait()
