"""A browser's event connection, as far as the wire goes."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from tests.control.live_app import LiveApp


@dataclass
class Heard:
    """What came of one subscription."""

    messages: list[dict[str, Any]] = field(default_factory=list)

    @property
    def events(self) -> list[dict[str, Any]]:
        return [message for message in self.messages if message["kind"] == "event"]

    @property
    def ids(self) -> list[str]:
        return [event["id"] for event in self.events if event["id"]]

    @property
    def names(self) -> list[str]:
        return [event["event"] for event in self.events]


@dataclass
class Socket:
    """The connection; acknowledges what it reads, but for those in `asleep`."""

    socket: aiohttp.ClientWebSocketResponse
    subs: dict[int, Heard] = field(default_factory=dict)
    asleep: set[int] = field(default_factory=set)
    told: list[dict[str, Any]] = field(default_factory=list)

    async def ask(self, **message: Any) -> None:
        await self.socket.send_str(json.dumps(message))

    async def thread(self, sub: int, thread: str, after: int = 0) -> Heard:
        await self.ask(op="follow-thread", sub=sub, thread_id=thread, after=after)
        return self.subs.setdefault(sub, Heard())

    async def sandbox(self, sub: int, agent: str, **more: Any) -> Heard:
        await self.ask(op="follow-sandbox", sub=sub, virtual_mcp_id=agent, **more)
        return self.subs.setdefault(sub, Heard())

    async def until(self, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Read up to the first message that something holds for."""
        async with asyncio.timeout(60):
            while True:
                frame = await self.socket.receive()
                assert frame.type == aiohttp.WSMsgType.TEXT, frame
                message: dict[str, Any] = json.loads(frame.data)
                sub = message.get("sub")
                if sub is None:
                    self.told.append(message)
                else:
                    self.subs.setdefault(sub, Heard()).messages.append(message)
                    if message["kind"] == "event" and sub not in self.asleep:
                        await self.ask(op="ack", sub=sub, n=message["n"])
                if holds(message):
                    return message

    async def until_event(
        self, sub: int, name: str, holds: Callable[[Any], bool] = lambda _: True
    ) -> Any:
        """Read up to an event of a subscription; its data."""
        message = await self.until(
            lambda told: (
                (told["kind"], told.get("sub"), told.get("event")) == ("event", sub, name)
                and holds(json.loads(told["data"]))
            )
        )
        return json.loads(message["data"])

    async def until_kind(self, kind: str, sub: int | None = None) -> dict[str, Any]:
        return await self.until(lambda told: told["kind"] == kind and told.get("sub") == sub)

    async def until_closed(self) -> int | None:
        """Read to the end; the code that the connection was closed with."""
        async with asyncio.timeout(60):
            async for frame in self.socket:
                self.told.append(json.loads(frame.data))
        return self.socket.close_code


@contextlib.asynccontextmanager
async def socket(
    app: LiveApp, org: str = "local", headers: dict[str, str] | None = None
) -> AsyncIterator[Socket]:
    """Connect, with the API key unless other headers are given."""
    used = {"Authorization": f"Bearer {app.key}"} if headers is None else headers
    url = f"{app.url}/api/{org}/events"
    async with app.http.ws_connect(url, headers=used, max_msg_size=0) as connected:
        yield Socket(connected)
