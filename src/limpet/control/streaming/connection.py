"""One browser's socket, and the subscriptions on it.

Nothing waits in memory here. Each subscription reads its stream at the pace at which its events
are taken: it has a window of events that were sent and not acknowledged, and a lock that is fair
lets the subscriptions send in turn. So one that is not read holds up nobody; after a while it is
ended with `resync`, and whoever comes back for it goes on after the last event that they read.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final, NoReturn

import structlog
from starlette.websockets import WebSocket, WebSocketDisconnect

from limpet.control.errors import ErrorDetail
from limpet.control.streaming.messages import (
    Ack,
    Alive,
    Bye,
    Ended,
    Event,
    Follow,
    Leave,
    Opened,
    Ping,
    Refused,
    Told,
    read_asked,
)
from limpet.errors import ConflictError, InvalidInputError, LimpetError, UnauthorizedError

log = structlog.get_logger(__name__)

MAX_MESSAGE_CHARACTERS: Final = 4096
SIGNED_OUT: Final = 4401
STOPPING: Final = 1001
UNFIT: Final = 1008


class TooManyError(LimpetError):
    """There are as many as one may have."""

    code = "too_many"
    status = 429


@dataclass(frozen=True, slots=True)
class Limits:
    """How much one connection may ask for, and how long it is waited for."""

    subscriptions: int = 256
    window_events: int = 256
    window_characters: int = 1 << 20
    stall_s: float = 30.0
    send_s: float = 60.0
    keepalive_s: float = 15.0


@dataclass(frozen=True, slots=True)
class Source:
    """One stream of server-sent events that was opened, and how to let go of it."""

    frames: AsyncGenerator[bytes]
    release: Callable[[], None]


Opener = Callable[[Follow], Awaitable[Source]]


class _StalledError(Exception):
    """Nobody takes the subscription's events."""


class _OverError(Exception):
    """The connection is over."""


@dataclass(eq=False)
class _Subscription:
    """One stream on the connection, and what of it was sent and not yet taken."""

    number: int
    limits: Limits
    sent: int = 0
    _waiting: deque[tuple[int, int]] = field(default_factory=deque)
    _characters: int = 0
    _room: asyncio.Event = field(default_factory=asyncio.Event)

    def taken(self, n: int) -> None:
        """The events up to `n` were taken."""
        while self._waiting and self._waiting[0][0] <= n:
            self._characters -= self._waiting.popleft()[1]
        self._room.set()

    async def next_number(self, characters: int) -> int:
        """The number of the next event, once there is room for it."""
        while (
            len(self._waiting) >= self.limits.window_events
            or self._characters >= self.limits.window_characters
        ):
            self._room.clear()
            try:
                async with asyncio.timeout(self.limits.stall_s):
                    await self._room.wait()
            except TimeoutError:
                raise _StalledError from None
        self.sent += 1
        self._waiting.append((self.sent, characters))
        self._characters += characters
        return self.sent


class EventConnection:
    """Serves one accepted socket until it ends."""

    def __init__(
        self,
        websocket: WebSocket,
        opener: Opener,
        still_welcome: Callable[[], Awaitable[object]],
        limits: Limits,
    ) -> None:
        self._websocket = websocket
        self._open = opener
        self._still_welcome = still_welcome
        self._limits = limits
        self._subscriptions: dict[int, _Subscription] = {}
        self._pumps: dict[int, asyncio.Task[None]] = {}
        self._sending = asyncio.Lock()
        self._stopping = asyncio.Event()

    @property
    def subscriptions(self) -> int:
        """How many streams are followed."""
        return len(self._subscriptions)

    def stop(self) -> None:
        """Say `bye` and end; `run` returns soon."""
        self._stopping.set()

    async def run(self) -> None:
        """Until the client goes, misbehaves or is signed out, or `stop` is called."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._reading(group))
                group.create_task(self._staying_alive())
                group.create_task(self._until_stopped())
        except* (_OverError, WebSocketDisconnect):
            pass  # this is how a connection ends: by us, or by the client, at any point

    # -- what the client asks --------------------------------------------------------------------

    async def _reading(self, group: asyncio.TaskGroup) -> None:
        while True:
            message = await self._websocket.receive()
            if message["type"] == "websocket.disconnect":
                raise _OverError
            text = message.get("text")
            if text is None or len(text) > MAX_MESSAGE_CHARACTERS:
                await self._end(UNFIT, "A message is a JSON text, and a short one")
            try:
                asked = read_asked(text)
            except InvalidInputError as error:
                await self._end(UNFIT, error.message)
            if isinstance(asked, Ping):
                await self._send(Alive(kind="pong"))
            elif isinstance(asked, Ack):
                if subscription := self._subscriptions.get(asked.sub):
                    subscription.taken(asked.n)
            elif isinstance(asked, Leave):
                await self._leave(asked.sub)
            else:
                await self._follow(group, asked)

    async def _follow(self, group: asyncio.TaskGroup, asked: Follow) -> None:
        error: LimpetError | None = None
        if asked.sub in self._subscriptions:
            error = ConflictError(f"Subscription {asked.sub} is there already")
        elif len(self._subscriptions) >= self._limits.subscriptions:
            most = self._limits.subscriptions
            error = TooManyError(f"One connection follows at most {most} streams")
        if error is not None:
            await self._send(_refusal(asked.sub, error))
            return
        subscription = _Subscription(asked.sub, self._limits)
        self._subscriptions[asked.sub] = subscription
        self._pumps[asked.sub] = group.create_task(self._pump(subscription, asked))

    async def _leave(self, number: int) -> None:
        pump = self._pumps.get(number)
        if pump is not None:
            pump.cancel()
            await asyncio.wait({pump})

    # -- what it is told -------------------------------------------------------------------------

    async def _pump(self, subscription: _Subscription, asked: Follow) -> None:
        """Send a stream's events, and how it ended; let go of it in any case."""
        last: Told
        try:
            last = await self._passed_on(subscription, asked)
        finally:
            self._subscriptions.pop(subscription.number, None)
            self._pumps.pop(subscription.number, None)
        await self._send(last)

    async def _passed_on(self, subscription: _Subscription, asked: Follow) -> Refused | Ended:
        number = subscription.number
        try:
            source = await self._open(asked)
        except LimpetError as error:
            return _refusal(number, error)
        try:
            await self._send(Opened(sub=number))
            async for frame in source.frames:
                event = event_of(frame)
                if event is None:
                    continue
                id_, name, data = event
                n = await subscription.next_number(len(data))
                await self._send(Event(sub=number, n=n, id=id_, event=name, data=data))
        except LimpetError as error:
            log.warning("subscription_broke_off", error=error.message)
            return Ended(sub=number, why="lost")
        except _StalledError:
            return Ended(sub=number, why="resync")
        except (_OverError, WebSocketDisconnect):
            raise
        except Exception as error:  # one crash must not end the other streams
            log.error("subscription_crashed", exc_info=error)
            return Ended(sub=number, why="lost")
        finally:
            try:
                await source.frames.aclose()
            finally:
                source.release()
        return Ended(sub=number, why="over")

    async def _staying_alive(self) -> None:
        while True:
            await asyncio.sleep(self._limits.keepalive_s)
            try:
                await self._still_welcome()
            except UnauthorizedError as error:
                await self._send(Bye(why="signed-out"))
                await self._end(SIGNED_OUT, error.message)
            except LimpetError as error:
                log.warning("sign_in_not_looked_at", error=error.message)
            await self._send(Alive(kind="keepalive"))

    async def _until_stopped(self) -> None:
        await self._stopping.wait()
        await self._send(Bye(why="stopping"))
        await self._end(STOPPING, "The server ends")

    async def _send(self, message: Told) -> None:
        async with self._sending:
            try:
                async with asyncio.timeout(self._limits.send_s):
                    await self._websocket.send_text(message.model_dump_json())
            except TimeoutError:
                raise _OverError from None  # it takes nothing at all: the server drops it

    async def _end(self, code: int, reason: str) -> NoReturn:
        async with self._sending:
            await self._websocket.close(code, reason[:100])
        raise _OverError


def event_of(frame: bytes) -> tuple[str | None, str, str] | None:
    """Id, name and data of one server-sent event; None for a comment or a sign of life."""
    id_, name, data = None, "message", []
    for line in frame.decode("utf-8", "replace").split("\n"):
        field_name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field_name == "id":
            id_ = value
        elif field_name == "event":
            name = value
        elif field_name == "data":
            data.append(value)
    return (id_, name, "\n".join(data)) if data and name != "keepalive" else None


def _refusal(number: int, error: LimpetError) -> Refused:
    detail = ErrorDetail.model_validate(error.as_dict())
    return Refused(sub=number, status=error.status, error=detail)
