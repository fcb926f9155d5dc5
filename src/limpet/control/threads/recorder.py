"""What a run's harness gives, on its way to the journal; pieces of text are gathered a while."""

import asyncio
import time
from collections.abc import Callable
from typing import Final

from limpet.control.db import RunRow
from limpet.control.threads.journal import JOINED, Journal
from limpet.control.threads.keys import RunKey
from limpet.harness.base import CappedError, Caps
from limpet.harness.events import (
    Event,
    HarnessEvent,
    StateKept,
    ToolFinished,
    ToolStarted,
    Usage,
)

GATHER_S: Final = 0.1
MAX_GATHERED_CHARS: Final = 64 * 1024
MAX_DIFF_CHARS: Final = 1_000_000

Change = Callable[[RunRow], None]


class Recorder:
    """Writes the events of one run, in order; `flushing` must run beside whoever adds."""

    def __init__(self, journal: Journal, key: RunKey, owner: str, caps: Caps) -> None:
        self._journal, self._key, self._owner, self._caps = journal, key, owner, caps
        self._gathered: list[Event] = []
        self._changes: list[Change] = []
        self._chars = 0
        self._since: float | None = None
        self._dirty = asyncio.Event()
        self._writing = asyncio.Lock()
        self.open_calls: dict[str, str] = {}
        """Tools that have started and not ended: their names by call."""

    async def add(self, event: HarnessEvent) -> None:
        """Take one event; text soon, everything else at once.

        Raises `CappedError` when the run has reached a cap, and what the journal raises.
        """
        if isinstance(event, StateKept):
            self._changes.append(_keep_state(event))
            await self.flush()
            return
        if isinstance(event, ToolStarted):
            self.open_calls[event.call] = event.name
        elif isinstance(event, ToolFinished):
            self.open_calls.pop(event.call, None)
            if event.diff is not None and len(event.diff) > MAX_DIFF_CHARS:
                event = event.model_copy(update={"diff": None})
        elif isinstance(event, Usage):
            self._changes.append(_count(event))
        self._gather(event)
        if event.kind not in JOINED or self._chars > MAX_GATHERED_CHARS:
            await self.flush()
        if isinstance(event, Usage):
            self._check(event)

    async def write(self, *events: Event, change: Change | None = None) -> None:
        """Take events of the control plane's own, and write all that waits."""
        self._gathered += events
        if change is not None:
            self._changes.append(change)
        await self.flush()

    async def flush(self) -> None:
        """Write all that waits. What is being written is written, also when the run is ended."""
        await asyncio.shield(asyncio.ensure_future(self._flush()))

    async def _flush(self) -> None:
        async with self._writing:
            events, changes = self._gathered, self._changes
            self._gathered, self._changes, self._chars, self._since = [], [], 0, None
            self._dirty.clear()
            if not events and not changes:
                return

            def change(row: RunRow) -> None:
                for one in changes:
                    one(row)

            await self._journal.append(self._key, self._owner, events, change if changes else None)

    async def flushing(self) -> None:
        """Write what was gathered for long enough; ends by being cancelled, or raises."""
        while True:
            await self._dirty.wait()
            since = self._since
            if since is None:
                self._dirty.clear()
                continue
            await asyncio.sleep(max(0.0, since + GATHER_S - time.monotonic()))
            if self._since == since:
                await self.flush()

    def _gather(self, event: Event) -> None:
        last = self._gathered[-1] if self._gathered else None
        if last is not None and _follows(last, event):
            self._gathered[-1] = last.model_copy(update={"delta": _delta(last) + _delta(event)})
            self._chars += len(_delta(event))
            return
        self._gathered.append(event)
        self._chars += len(_delta(event))
        if self._since is None:
            self._since = time.monotonic()
            self._dirty.set()

    def _check(self, usage: Usage) -> None:
        cost, requests = self._caps.cost_usd, self._caps.requests
        if cost is not None and usage.cost_usd is not None and usage.cost_usd >= cost:
            raise CappedError(f"This turn has cost ${usage.cost_usd:.2f}; its limit is ${cost:.2f}")
        if requests is not None and usage.requests > requests:
            raise CappedError(f"The model was asked {requests} times in this turn, its limit")


def _follows(last: Event, event: Event) -> bool:
    """Whether both are pieces of one part."""
    field = JOINED.get(event.kind)
    return (
        field is not None
        and last.kind == event.kind
        and getattr(last, field) == getattr(event, field)
    )


def _delta(event: Event) -> str:
    return str(getattr(event, "delta", ""))


def _keep_state(event: StateKept) -> Change:
    def change(row: RunRow) -> None:
        row.state, row.state_is_new = event.state, True

    return change


def _count(usage: Usage) -> Change:
    """A harness that goes on after a death may count from nothing: counts never go back."""

    def change(row: RunRow) -> None:
        row.requests = max(row.requests, usage.requests)
        row.input_tokens = max(row.input_tokens, usage.input_tokens)
        row.output_tokens = max(row.output_tokens, usage.output_tokens)
        row.cache_read_tokens = max(row.cache_read_tokens, usage.cache_read_tokens)
        if usage.cost_usd is not None:
            row.cost_usd = max(row.cost_usd or 0.0, usage.cost_usd)

    return change
