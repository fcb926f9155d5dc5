"""Takes runs as they come and does them, as many side by side as the server can bear."""

import asyncio
from typing import Final

import structlog

from limpet.control.threads.executing import Execution
from limpet.control.threads.keys import RunKey, ThreadKey
from limpet.control.threads.parts import ThreadParts
from limpet.errors import LimpetError

log = structlog.get_logger(__name__)

LOOK_S: Final = 1.0
RUNS_AT_ONCE: Final = 64


class Scheduler:
    """The runs of one control plane. `run` looks for work until `close`."""

    def __init__(self, parts: ThreadParts) -> None:
        self._parts = parts
        self._running: dict[ThreadKey, Execution] = {}
        self._tasks: dict[ThreadKey, asyncio.Task[None]] = {}
        self._closing = asyncio.Event()

    async def run(self) -> None:
        """Look, again and again, for runs that nobody is at, and for stops that were asked for
        elsewhere; ends by being cancelled."""
        while True:
            try:
                for key in await self._parts.claims.stops_wanted():
                    self.stop(key)
                for thread in await self._parts.claims.waiting():
                    self.stir(thread)
            except LimpetError as error:
                log.warning("runs_not_looked_at", error=error.message)
            await asyncio.sleep(LOOK_S)

    def stir(self, thread: ThreadKey) -> None:
        """Take the thread's next run soon, unless one goes on here."""
        if self._closing.is_set() or thread in self._tasks or len(self._tasks) >= RUNS_AT_ONCE:
            return
        task = asyncio.create_task(self._work_off(thread), name=f"runs-{thread.thread}")
        self._tasks[thread] = task
        task.add_done_callback(lambda _done: self._tasks.pop(thread, None))

    def stop(self, key: RunKey) -> None:
        """End the run at once, if it goes on here."""
        execution = self._running.get(key.thread)
        if execution is not None and execution.key == key:
            execution.end("stopped")

    async def settled(self, thread: ThreadKey) -> None:
        """Wait until nothing goes on in the thread here."""
        task = self._tasks.get(thread)
        if task is not None:
            await asyncio.wait([task])

    async def close(self) -> None:
        """Take no more, and leave what goes on, in its middle, to whoever comes next."""
        self._closing.set()
        for execution in self._running.values():
            execution.end("given-up")
        while self._tasks:
            await asyncio.wait(self._tasks.values())
            await asyncio.sleep(0)  # the tasks' callbacks take them out

    async def _work_off(self, thread: ThreadKey) -> None:
        """Do the thread's runs one after the other."""
        while not self._closing.is_set():
            try:
                claimed = await self._parts.claims.take(thread)
            except LimpetError as error:
                log.info("run_not_taken", thread=thread.thread, why=error.message)
                return
            if claimed is None:
                return
            self._parts.journal.tell(thread)
            execution = Execution(self._parts, claimed)
            self._running[thread] = execution
            if self._closing.is_set():
                execution.end("given-up")
            try:
                await execution.run()
            except Exception:
                log.exception("run_broke_off", run=claimed.key.run)
                return  # its lease runs out, and it is taken up again
            finally:
                del self._running[thread]
