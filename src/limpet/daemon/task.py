"""One task: a long process of a sandbox, what it put out so far, and who follows it.

A task ends once, in one of four ways. Who starts and owns them is in tasks.py. Runs on the event
loop's thread.
"""

import asyncio
import contextlib
import os
import shlex
import shutil
import signal
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

import msgspec

from limpet.daemon.children import Child, resize_terminal
from limpet.daemon.events import Ring
from limpet.daemon.masking import Masks
from limpet.daemon.processes import signal_session
from limpet.daemon.task_log import TaskLog

RING_BYTES = 256 * 1024
TERM_GRACE_S = 3.0
MAX_FOLLOWER_BYTES = 4 * 1024 * 1024
MAX_PENDING_INPUT_BYTES = 1024 * 1024

Status = Literal["running", "exited", "failed", "killed", "timeout"]
Stream = Literal["stdout", "stderr"]
OnOutput = Callable[[Stream, str], None]
OnEnd = Callable[["Task"], None]


@dataclass(frozen=True, slots=True)
class TaskSpec:
    """What to run. A `command` that is text goes to `bash -c` (`sh` where there is no bash).

    `env` is laid over the daemon's own without secrets. `label` is what people see as the command
    (default: the command). `name` groups runs of one thing (`dev`); `replace` ends those that run
    under it first. `interactive` keeps its input open where there is no terminal.
    `log_name` is the source of its log events and the name of its log file.
    `size` is a terminal's (columns, rows). `timeout_s` kills the whole group. `screen` keeps what
    was put out as it was for who looks at it, values of the config's variables among it. `piped`
    leaves its input and output, as pipes, to whoever starts it: nothing of them is kept.
    """

    command: Sequence[str] | str
    cwd: Path
    env: Mapping[str, str] = field(default_factory=dict)
    pty: bool = False
    name: str | None = None
    label: str | None = None
    log_name: str | None = None
    timeout_s: float | None = None
    size: tuple[int, int] = (120, 30)
    replace: bool = False
    stdin: bytes | None = None
    interactive: bool = False
    screen: bool = False
    piped: bool = False

    def argv(self) -> list[str]:
        """What is executed."""
        if isinstance(self.command, str):
            return [shutil.which("bash") or "/bin/sh", "-c", self.command]
        return list(self.command)

    def shown(self) -> str:
        """What people see as the command."""
        if self.label is not None:
            return self.label
        return self.command if isinstance(self.command, str) else shlex.join(self.command)


class TaskSummary(msgspec.Struct, rename="camel", kw_only=True):
    """A task as lists show it; times are epoch milliseconds."""

    id: str
    command: str
    status: Status
    exit_code: int | None
    started_at: int
    finished_at: int | None
    timed_out: bool
    truncated: bool
    intentional: bool
    pty: bool
    log_name: str | msgspec.UnsetType = msgspec.UNSET
    ended_because: str | msgspec.UnsetType = msgspec.UNSET


class Task:
    """One process and what is known of it. `exit_code` is None while it runs.

    What is kept and passed on of its output is masked; a `screen` alone shows it as it was.
    """

    def __init__(self, id_: str, spec: TaskSpec, masks: Masks) -> None:
        self.id = id_
        self.spec = spec
        self.status: Status = "running"
        self.exit_code: int | None = None
        self.started_at = time.time()
        self.finished_at: float | None = None
        self.timed_out = False
        self.intentional = False
        self.ended_because: str | None = None
        self.on_terminal = False
        self.stdout = Ring(RING_BYTES)
        self.stderr = Ring(RING_BYTES)
        self.screen = Ring(RING_BYTES) if spec.screen else None
        self.on_output: list[OnOutput] = []
        self.on_screen: list[OnOutput] = []
        self.on_end: list[OnEnd] = []
        self.log: TaskLog | None = None
        self.pipes: tuple[int, int] | None = None
        """Of one that is `piped`: its input and output, for who started it to close."""
        self._masks = masks
        self._masked = {stream: masks.stream() for stream in get_args(Stream)}
        self._child: Child | None = None
        self._ended = asyncio.Event()
        self._pending_input = bytearray()

    @property
    def pid(self) -> int | None:
        """The pid of its process, also its session's and group's."""
        return self._child.pid if self._child is not None else None

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self.status == "running"

    @property
    def truncated(self) -> bool:
        """Whether output was lost from what is kept."""
        return self.stdout.truncated or self.stderr.truncated

    async def wait(self) -> int:
        """Its exit code, when it has ended: -1 when it could not start or ran out of time."""
        await self._ended.wait()
        assert self.exit_code is not None
        return self.exit_code

    async def kill(
        self,
        *,
        intentional: bool = True,
        grace_s: float = TERM_GRACE_S,
        first: signal.Signals = signal.SIGTERM,
    ) -> None:
        """TERM, and KILL when `grace_s` have passed; returns when it has ended."""
        if not self.running or self._child is None:
            return
        self.intentional = self.intentional or intentional
        self.send_signal(first)
        if self.on_terminal and first != signal.SIGKILL:
            self.send_signal(signal.SIGHUP)  # interactive shells take no notice of TERM
        try:
            async with asyncio.timeout(grace_s):
                await self._ended.wait()
        except TimeoutError:
            self.send_signal(signal.SIGKILL)
            await self._ended.wait()

    def send_signal(self, number: int) -> None:
        """Send a signal to all processes of its session."""
        if self.running and self._child is not None and not self._child.ended:
            signal_session(self._child.pid, number)

    def write(self, data: bytes) -> None:
        """Type into it; dropped when it has ended or reads nothing for 1 MiB."""
        fd = self._child.input if self.running and self._child is not None else None
        if fd is None:
            return
        if len(self._pending_input) + len(data) > MAX_PENDING_INPUT_BYTES:
            return
        waiting = bool(self._pending_input)
        self._pending_input += data
        if not waiting:
            self._write_pending(fd)

    def _write_pending(self, fd: int) -> None:
        loop = asyncio.get_running_loop()
        try:
            written = os.write(fd, self._pending_input)
            del self._pending_input[:written]
        except BlockingIOError:
            pass
        except OSError:
            self._pending_input.clear()
        if self._pending_input:
            loop.add_writer(fd, self._write_pending, fd)
        else:
            loop.remove_writer(fd)

    def resize(self, columns: int, rows: int) -> None:
        """Tell its terminal how large it is shown."""
        if self.running and self._child is not None and self._child.master is not None:
            with contextlib.suppress(OSError):
                resize_terminal(self._child.master, (columns, rows))

    def emit(self, stream: Stream, text: str) -> None:
        """Take in a chunk of output and pass it on."""
        if self.screen is not None:
            self.screen.append(text)
            for callback in tuple(self.on_screen):
                callback(stream, text)
        self._keep(stream, self._masked[stream].feed(text))

    def _keep(self, stream: Stream, text: str) -> None:
        if not text:
            return
        (self.stdout if stream == "stdout" else self.stderr).append(text)
        if self.log is not None:
            self.log.write(text)
        for callback in tuple(self.on_output):
            callback(stream, text)

    async def follow(self, *, screen: bool = False) -> AsyncIterator[tuple[Stream, str]]:
        """What was put out so far, then live, until it ends. A reader too slow is let go.

        `screen`: what a task that keeps one shows, unmasked.
        """
        waiting: list[tuple[Stream, str]] = []
        wake = asyncio.Event()
        size = 0

        def on_output(stream: Stream, text: str) -> None:
            nonlocal size
            waiting.append((stream, text))
            size += len(text)
            wake.set()

        def on_end(_: Task) -> None:
            wake.set()

        replay: list[tuple[Stream, Ring]] = [("stdout", self.stdout), ("stderr", self.stderr)]
        listeners = self.on_output
        if screen and self.screen is not None:
            replay, listeners = [("stdout", self.screen)], self.on_screen
        for stream, ring in replay:
            if text := ring.text():
                waiting.append((stream, text))
        listeners.append(on_output)
        self.on_end.append(on_end)
        try:
            while True:
                if size > MAX_FOLLOWER_BYTES:
                    return
                while waiting:
                    stream, text = waiting.pop(0)
                    size = max(0, size - len(text))
                    yield stream, text
                if not self.running:
                    return
                wake.clear()
                await wake.wait()
        finally:
            listeners.remove(on_output)
            with contextlib.suppress(ValueError):
                self.on_end.remove(on_end)

    def summary(self) -> TaskSummary:
        """What lists of tasks show."""
        return TaskSummary(
            id=self.id,
            command=self.shown(),
            status=self.status,
            exit_code=self.exit_code,
            started_at=int(self.started_at * 1000),
            finished_at=None if self.finished_at is None else int(self.finished_at * 1000),
            timed_out=self.timed_out,
            truncated=self.truncated,
            intentional=self.intentional,
            pty=self.on_terminal,
            log_name=self.spec.log_name or msgspec.UNSET,
            ended_because=self.ended_because or msgspec.UNSET,
        )

    def shown(self) -> str:
        """What people see as its command."""
        return self._masks.mask(self.spec.shown())

    def attach(self, child: Child) -> None:
        """The process that this task is from now on."""
        self._child = child
        self.on_terminal = child.master is not None

    def finish(self, code: int, *, could_not_start: bool = False) -> None:
        """It has ended with `code`; told to everyone once."""
        if not self.running:
            return
        for stream, masked in self._masked.items():
            self._keep(stream, masked.flush())
        self.finished_at = time.time()
        if self.timed_out:
            self.status, self.exit_code = "timeout", -1
        elif could_not_start:
            self.status, self.exit_code = "failed", -1
        else:
            self.exit_code = code
            self.status = "killed" if code > 128 or self.intentional else "exited"
        self._ended.set()
        callbacks, self.on_end = self.on_end, []
        for callback in callbacks:
            callback(self)
