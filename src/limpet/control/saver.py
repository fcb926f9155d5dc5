"""The saver: the loop that saves idle sandboxes, and busy ones now and then.

Whether there is unsaved work is told by the daemon's own counter at the last save's start, never
by comparing two machines' clocks. One tick at a time; one sandbox's trouble never holds up another.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import structlog

from limpet.control.sandboxes.events import SandboxKey
from limpet.errors import LimpetError

log = structlog.get_logger(__name__)

PROBES_AT_ONCE = 32
SAVES_AT_ONCE = 4


@dataclass(frozen=True, slots=True)
class Idle:
    """What a daemon says of its work: how long ago the last was, and how much there has been."""

    idle_ms: int
    activity_seq: int


@dataclass(frozen=True, slots=True)
class SaverRules:
    """When to save. Seconds."""

    idle_s: float = 60.0
    max_unsaved_s: float = 600.0


def has_unsaved(activity_seq: int, saved_seq: int | None) -> bool:
    """Whether work was done after the last save began; `saved_seq` None: nothing was ever saved."""
    return saved_seq is None or activity_seq > saved_seq


def should_save(
    idle: Idle, saved_seq: int | None, unsaved_for_s: float, rules: SaverRules
) -> Literal["idle", "interval"] | None:
    """Why this sandbox is to be saved now, or None.

    `saved_seq` is the daemon's counter when its last save began, `unsaved_for_s` how long there
    has been unsaved work.
    """
    if not has_unsaved(idle.activity_seq, saved_seq):
        return None
    if idle.idle_ms >= rules.idle_s * 1000:
        return "idle"
    if unsaved_for_s >= rules.max_unsaved_s:
        return "interval"
    return None


@dataclass(frozen=True, slots=True)
class Tracked:
    """A sandbox that the saver looks after; `saved_seq` as in `should_save`."""

    key: SandboxKey
    saved_seq: int | None


class SavedThings(Protocol):
    """What the saver needs of the sandboxes."""

    async def tracked(self) -> Sequence[Tracked]:
        """Those to look after, their leases renewed."""
        ...

    async def idle(self, key: SandboxKey) -> Idle | None:
        """The daemon's answer; None when the sandbox is gone, or busy starting or stopping."""
        ...

    async def save_for(self, key: SandboxKey, reason: Literal["idle", "interval"]) -> None:
        """Save it; errors are recorded on the sandbox, then raised."""
        ...


class Saver:
    """Looks at every tracked sandbox each `poll_s` seconds and saves those that need it.

    A look waits for no save: a big or stuck one delays nobody else's, and while it is under way
    its sandbox is not saved a second time. `SAVES_AT_ONCE` run side by side.
    """

    def __init__(
        self,
        sandboxes: SavedThings,
        rules: SaverRules,
        *,
        poll_s: float = 30.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._sandboxes = sandboxes
        self._rules = rules
        self._poll_s = poll_s
        self._clock = clock
        self._unsaved_since: dict[SandboxKey, float] = {}
        self._under_way: dict[SandboxKey, asyncio.Task[None]] = {}
        self._ticking = asyncio.Lock()
        self._probes = asyncio.Semaphore(PROBES_AT_ONCE)
        self._saves = asyncio.Semaphore(SAVES_AT_ONCE)
        self._closing = asyncio.Event()

    async def run(self) -> None:
        """Tick until `close`; what is under way then is finished first."""
        while not self._closing.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._closing.wait(), self._poll_s)
                break
            try:
                await self.tick()
            except Exception:
                log.exception("saver_tick_failed")
        await self.settle()

    def close(self) -> None:
        """Begin nothing more; `run` ends after the saves that are under way."""
        self._closing.set()

    async def settle(self) -> None:
        """Wait for the saves that are under way."""
        while self._under_way:
            await asyncio.gather(*self._under_way.values(), return_exceptions=True)

    async def tick(self) -> bool:
        """One look at all of them; False when another look is under way and nothing was done."""
        if self._ticking.locked():
            return False
        async with self._ticking:
            tracked = await self._sandboxes.tracked()
            known = {one.key for one in tracked}
            for key in self._unsaved_since.keys() - known:
                del self._unsaved_since[key]
            async with asyncio.TaskGroup() as group:
                for one in tracked:
                    if one.key not in self._under_way:
                        group.create_task(self._swallow(one.key, self._look_at(one)))
        return True

    async def _look_at(self, one: Tracked) -> None:
        async with self._probes:
            idle = await self._sandboxes.idle(one.key)
        if idle is None or not has_unsaved(idle.activity_seq, one.saved_seq):
            self._unsaved_since.pop(one.key, None)
            return
        since = self._unsaved_since.setdefault(one.key, self._clock())
        reason = should_save(idle, one.saved_seq, self._clock() - since, self._rules)
        if reason is None or self._closing.is_set():
            return
        task = asyncio.create_task(self._swallow(one.key, self._save(one.key, reason)))
        self._under_way[one.key] = task
        task.add_done_callback(lambda _done: self._under_way.pop(one.key, None))

    async def _save(self, key: SandboxKey, reason: Literal["idle", "interval"]) -> None:
        async with self._saves:
            if self._closing.is_set():
                return
            await self._sandboxes.save_for(key, reason)
            self._unsaved_since.pop(key, None)

    async def _swallow(self, key: SandboxKey, work: Awaitable[None]) -> None:
        try:
            await work
        except LimpetError as error:
            log.warning(
                "saver_save_failed",
                agent=key.agent,
                branch=key.branch,
                code=error.code,
                error=error.message,
            )
        except Exception:
            log.exception("saver_save_broke", agent=key.agent, branch=key.branch)
