"""Tasks: the long processes of a sandbox (dev server, scripts, shells), each with a log.

A task ends once, in one of four ways, and is kept for a while so that its output can be read.
Runs on the event loop's thread.
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
from typing import Literal

from limpet.daemon.children import (
    PTY_ATTEMPT_PAUSES_S,
    Child,
    TextReader,
    child_environment,
    resize_terminal,
    running_children,
    start_child,
)
from limpet.daemon.events import Broadcaster, Ring
from limpet.daemon.gate import gate
from limpet.daemon.processes import Reaper, end_all, owns_pid_namespace, signal_session
from limpet.daemon.settings import DaemonSettings
from limpet.daemon.task_log import TaskLog

RING_BYTES = 256 * 1024
TERM_GRACE_S = 3.0
KEEP_FINISHED_S = 15 * 60
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
    `size` is a terminal's (columns, rows). `timeout_s` kills the whole group.
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


class Task:
    """One process and what is known of it. `exit_code` is None while it runs."""

    def __init__(self, id_: str, spec: TaskSpec) -> None:
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
        self.on_output: list[OnOutput] = []
        self.on_end: list[OnEnd] = []
        self.log: TaskLog | None = None
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
        (self.stdout if stream == "stdout" else self.stderr).append(text)
        if self.log is not None:
            self.log.write(text)
        for callback in tuple(self.on_output):
            callback(stream, text)

    async def follow(self) -> AsyncIterator[tuple[Stream, str]]:
        """What was put out so far, then live, until it ends. A reader too slow is let go."""
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

        replay: tuple[tuple[Stream, Ring], ...] = (("stdout", self.stdout), ("stderr", self.stderr))
        for stream, ring in replay:
            if text := ring.text():
                waiting.append((stream, text))
        self.on_output.append(on_output)
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
            self.on_output.remove(on_output)
            with contextlib.suppress(ValueError):
                self.on_end.remove(on_end)

    def summary(self) -> dict[str, object]:
        """What lists of tasks show; times are epoch milliseconds."""
        return {
            "id": self.id,
            "command": self.spec.shown(),
            "status": self.status,
            "exitCode": self.exit_code,
            "startedAt": int(self.started_at * 1000),
            "finishedAt": None if self.finished_at is None else int(self.finished_at * 1000),
            "timedOut": self.timed_out,
            "truncated": self.truncated,
            "intentional": self.intentional,
            "pty": self.on_terminal,
            **({"logName": self.spec.log_name} if self.spec.log_name else {}),
            **({"endedBecause": self.ended_because} if self.ended_because else {}),
        }

    def attach(self, child: Child) -> None:
        """The process that this task is from now on."""
        self._child = child
        self.on_terminal = child.master is not None

    def finish(self, code: int, *, could_not_start: bool = False) -> None:
        """It has ended with `code`; told to everyone once."""
        if not self.running:
            return
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


class TaskManager:
    """Starts tasks and owns them to their end."""

    def __init__(self, settings: DaemonSettings, events: Broadcaster) -> None:
        self._settings = settings
        self._events = events
        self._tasks: dict[str, Task] = {}
        self._number = 0
        self._minders: set[asyncio.Task[None]] = set()
        self._whole_namespace = owns_pid_namespace(told=settings.owns_pid_namespace)
        events.set_state("tasks", {"active": []})

    def get(self, id_: str) -> Task | None:
        """The task with this id, running or not long finished."""
        return self._tasks.get(id_)

    def all(self) -> list[Task]:
        """Every task that is known, oldest first."""
        self._forget_old()
        return list(self._tasks.values())

    def running(self, name: str | None = None) -> list[Task]:
        """Those that run; with `name`, those that run under it."""
        return [
            task
            for task in self._tasks.values()
            if task.running and (name is None or task.spec.name == name)
        ]

    def forget(self, id_: str) -> None:
        """Drop a finished task and, unless it is another's too, its log."""
        task = self._tasks.pop(id_, None)
        if task is not None and task.log is not None and task.spec.log_name is None:
            task.log.delete()

    async def spawn(self, spec: TaskSpec) -> Task:
        """Start a task. One that cannot start is returned as failed, with the reason as output.

        `ConflictError` while nothing may be started (a restore swaps the workspace).
        """
        if spec.replace and spec.name is not None:
            await self.kill_named(spec.name)
        gate.check()
        self._forget_old()
        self._number += 1
        task = Task(f"task{self._number}", spec)
        self._tasks[task.id] = task
        task.log = TaskLog(self._settings.logs_dir / (spec.log_name or task.id), spec.shown())
        if spec.log_name is not None:
            source = spec.log_name
            task.on_output.append(lambda _, text: self._events.log(source, text))
        try:
            child = await self._start(task)
        except (OSError, ValueError) as error:
            task.emit("stderr", f"[spawn error] {spec.argv()[0]}: {error}\n")
            task.finish(-1, could_not_start=True)
            task.log.close()
            return task
        except BaseException:
            self._tasks.pop(task.id, None)
            task.log.close()
            raise
        task.attach(child)
        minder = asyncio.create_task(self._mind(task, child))
        self._minders.add(minder)
        minder.add_done_callback(self._minders.discard)
        self._tell_active()
        return task

    async def kill_named(self, name: str) -> int:
        """End what runs under `name`, as intended; how many."""
        tasks = self.running(name)
        await asyncio.gather(*(task.kill() for task in tasks))
        return len(tasks)

    async def kill_all(self, *, grace_s: float = TERM_GRACE_S) -> int:
        """End every task: TERM, then KILL; how many. What they left behind may run on."""
        tasks = self.running()
        await asyncio.gather(*(task.kill(grace_s=grace_s) for task in tasks))
        return len(tasks)

    async def kill_everything(self, reason: str) -> int:
        """End every process of the sandbox but the daemon, at once; how many there were.

        Terminals are told `reason`. The gate must be closed. `TimeoutError` when some
        cannot be ended.
        """
        for task in self.running():
            task.intentional = True
            task.ended_because = reason
        count = await end_all(whole_namespace=self._whole_namespace)
        async with asyncio.timeout(TERM_GRACE_S):
            await asyncio.gather(*(task.wait() for task in self.running()))
        Reaper(running_children).collect()
        return count

    async def close(self) -> None:
        """Wait for the last words of ended tasks."""
        await asyncio.gather(*self._minders, return_exceptions=True)

    async def _start(self, task: Task) -> Child:
        spec = task.spec
        env = child_environment(self._settings, spec.env)
        argv = spec.argv()
        drop_to = self._settings.drop_to
        if spec.pty:
            try:
                return await self._start_on_terminal(spec, argv, env)
            except OSError as error:
                task.emit("stdout", f"[no terminal: {error}; running with pipes]\n")
        return start_child(
            argv,
            cwd=spec.cwd,
            env=env,
            stdin=spec.stdin,
            keep_stdin=spec.interactive,
            merge_stderr=spec.pty,
            drop_to=drop_to,
        )

    async def _start_on_terminal(
        self, spec: TaskSpec, argv: list[str], env: dict[str, str]
    ) -> Child:
        for pause_s in (*PTY_ATTEMPT_PAUSES_S, None):
            try:
                return start_child(
                    argv,
                    cwd=spec.cwd,
                    env=env,
                    pty=True,
                    size=spec.size,
                    drop_to=self._settings.drop_to,
                )
            except OSError:
                if pause_s is None or not spec.cwd.is_dir():
                    raise
                await asyncio.sleep(pause_s)
        raise AssertionError("unreachable")

    async def _mind(self, task: Task, child: Child) -> None:
        """See a task to its end: its output, its time, its code."""

        def on_stdout(text: str) -> None:
            task.emit("stdout", text)

        def on_stderr(text: str) -> None:
            task.emit("stderr", text)

        readers: list[TextReader] = []
        if child.master is not None:
            readers.append(TextReader(child.master, on_stdout))
        if child.stdout is not None:
            readers.append(TextReader(child.stdout, on_stdout))
        if child.stderr is not None:
            readers.append(TextReader(child.stderr, on_stderr))
        try:
            async with asyncio.timeout(task.spec.timeout_s):
                code = await child.wait()
        except TimeoutError:
            task.timed_out = True
            signal_session(child.pid, signal.SIGKILL)
            code = await child.wait()
        for reader in readers:
            reader.drain()
        if child.input is not None:
            asyncio.get_running_loop().remove_writer(child.input)
        if child.master is not None:
            os.close(child.master)
        with contextlib.suppress(OSError):
            child.close()
        task.finish(code)
        if task.log is not None:
            task.log.close()
        self._tell_active()

    def _tell_active(self) -> None:
        self._events.set_state(
            "tasks",
            {
                "active": [
                    {
                        "id": task.id,
                        "command": task.spec.shown(),
                        **({"logName": task.spec.log_name} if task.spec.log_name else {}),
                    }
                    for task in self.running()
                ]
            },
        )

    def _forget_old(self) -> None:
        limit = time.time() - KEEP_FINISHED_S
        for task in list(self._tasks.values()):
            if task.finished_at is not None and task.finished_at < limit:
                self.forget(task.id)
