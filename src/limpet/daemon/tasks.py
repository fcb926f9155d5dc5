"""Tasks: the long processes of a sandbox (dev server, scripts, shells), started and owned here.

One that has ended is kept for a while so that its output can be read. Runs on the event loop's
thread.
"""

import asyncio
import contextlib
import os
import signal
import time

from limpet.daemon.children import (
    PTY_ATTEMPT_PAUSES_S,
    Child,
    TextReader,
    child_environment,
    running_children,
    start_child,
)
from limpet.daemon.config_store import ConfigStore
from limpet.daemon.events import Broadcaster
from limpet.daemon.gate import gate
from limpet.daemon.processes import Reaper, end_all, owns_pid_namespace, signal_session
from limpet.daemon.settings import DaemonSettings
from limpet.daemon.task import TERM_GRACE_S, Task, TaskSpec
from limpet.daemon.task_log import TaskLog

KEEP_FINISHED_S = 15 * 60


class TaskManager:
    """Starts tasks and owns them to their end. Each gets the variables of `config` as they are
    when it starts."""

    def __init__(self, settings: DaemonSettings, events: Broadcaster, config: ConfigStore) -> None:
        self._settings = settings
        self._events = events
        self._config = config
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
        task = Task(f"task{self._number}", spec, self._config.masks)
        self._tasks[task.id] = task
        task.log = TaskLog(self._settings.logs_dir / (spec.log_name or task.id), task.shown())
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
        if spec.piped:
            task.pipes = child.take_pipes()
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
        env = child_environment(self._settings, {**self._config.env, **spec.env})
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
            keep_stdin=spec.interactive or spec.piped,
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
                        "command": task.shown(),
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
