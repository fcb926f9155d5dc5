"""Who listens to which sandbox: phases and changes of one (org, agent, branch), the last replayed.

A listener that does not keep up loses the oldest of its events but never the newest of a kind,
since every event says the whole of what it is about.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from limpet.ids import AgentId, Branch, OrgId

EventName = Literal["phase", "sandbox", "gone", "bye"]
KEPT: tuple[EventName, ...] = ("phase",)
MAX_WAITING = 256


@dataclass(frozen=True, slots=True)
class SandboxKey:
    """Which sandbox an event is about."""

    org: OrgId
    agent: AgentId
    branch: Branch


@dataclass(frozen=True, slots=True)
class SandboxEvent:
    """One event; `data` is plain JSON."""

    name: EventName
    data: Mapping[str, Any]


@dataclass(slots=True, eq=False)
class _Listener:
    waiting: deque[SandboxEvent] = field(default_factory=lambda: deque(maxlen=MAX_WAITING))
    woken: asyncio.Event = field(default_factory=asyncio.Event)


class Subscription:
    """One listener's events, from what was kept to `bye`. Close it when done."""

    def __init__(self, hub: "EventHub", key: SandboxKey, listener: _Listener) -> None:
        self._hub, self._key, self._listener = hub, key, listener

    def __aiter__(self) -> AsyncIterator[SandboxEvent]:
        return self._events()

    async def next(self) -> SandboxEvent | None:
        """The next event; None after `bye`."""
        while not self._listener.waiting:
            if self._hub.closed:
                return None
            self._listener.woken.clear()
            await self._listener.woken.wait()
        return self._listener.waiting.popleft()

    async def _events(self) -> AsyncIterator[SandboxEvent]:
        while (event := await self.next()) is not None:
            yield event

    def close(self) -> None:
        """Stop listening."""
        self._hub.drop(self._key, self._listener)


class EventHub:
    """All listeners of one control plane."""

    def __init__(self) -> None:
        self._listeners: dict[SandboxKey, set[_Listener]] = {}
        self._last: dict[tuple[SandboxKey, EventName], SandboxEvent] = {}
        self.ended = asyncio.Event()

    @property
    def closed(self) -> bool:
        """Whether `bye` was said."""
        return self.ended.is_set()

    def publish(self, key: SandboxKey, name: EventName, data: Mapping[str, Any]) -> None:
        """Tell everyone who listens to `key`; a `phase` is kept for those who come later."""
        if self.closed:
            return  # nothing comes after `bye`
        event = SandboxEvent(name, dict(data))
        if name in KEPT:
            self._last[key, name] = event
        for listener in self._listeners.get(key, ()):
            listener.waiting.append(event)
            listener.woken.set()

    def last_phase(self, key: SandboxKey) -> Mapping[str, Any] | None:
        """The phase told last, if any."""
        event = self._last.get((key, "phase"))
        return event.data if event else None

    def forget(self, key: SandboxKey) -> None:
        """Keep nothing of a sandbox that has ended."""
        for name in KEPT:
            self._last.pop((key, name), None)

    def listened(self, key: SandboxKey) -> bool:
        """Whether anybody would hear of it."""
        return bool(self._listeners.get(key))

    def subscribe(self, key: SandboxKey) -> Subscription:
        """Listen from now on, beginning with what is kept."""
        listener = _Listener()
        listener.waiting.extend(
            event for name in KEPT if (event := self._last.get((key, name))) is not None
        )
        if self.closed:
            listener.waiting.append(_BYE)
        self._listeners.setdefault(key, set()).add(listener)
        return Subscription(self, key, listener)

    def drop(self, key: SandboxKey, listener: _Listener) -> None:
        """Forget a listener."""
        listeners = self._listeners.get(key, set())
        listeners.discard(listener)
        if not listeners:
            self._listeners.pop(key, None)

    def close(self) -> None:
        """Say `bye` to everyone; every subscription then ends."""
        if self.closed:
            return
        self.ended.set()
        for listeners in self._listeners.values():
            for listener in listeners:
                listener.waiting.append(_BYE)
                listener.woken.set()


_BYE = SandboxEvent("bye", {})
