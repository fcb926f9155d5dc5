"""A browser tab that follows a thread, as far as the wire goes."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp


@dataclass
class Tab:
    """What came over one stream: all frames, and the numbered events among them."""

    answer: aiohttp.ClientResponse
    frames: list[tuple[str, Any]] = field(default_factory=list)
    ids: list[int] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)

    async def until(self, holds: Callable[[str, Any], bool]) -> Any:
        """Read up to the first frame for which something holds; its data."""
        async with asyncio.timeout(90):
            while True:
                name, data, number = await self._next()
                self.frames.append((name, data))
                if number is not None:
                    self.ids.append(number)
                    self.events.append(data["event"])
                if holds(name, data):
                    return data

    async def until_kind(self, kind: str) -> Any:
        return await self.until(
            lambda name, data: name == "event" and data["event"]["kind"] == kind
        )

    @property
    def text(self) -> str:
        return "".join(event["delta"] for event in self.events if event["kind"] == "text")

    async def _next(self) -> tuple[str, Any, int | None]:
        name, data, number = "", "", None
        while True:
            line = (await self.answer.content.readline()).decode()
            if not line:
                raise EOFError("the stream ended")
            field_name, _, value = line.rstrip("\n").partition(": ")
            if field_name == "event":
                name = value
            elif field_name == "data":
                data = value
            elif field_name == "id":
                number = int(value)
            elif not field_name:
                return name, json.loads(data), number


@asynccontextmanager
async def tab(url: str, key: str, thread: str, *, last: int | None = None) -> AsyncIterator[Tab]:
    """Follow the thread for the length of the block."""
    headers = {"Authorization": f"Bearer {key}"}
    if last is not None:
        headers["Last-Event-ID"] = str(last)
    timeout = aiohttp.ClientTimeout(total=None)
    async with (
        aiohttp.ClientSession(timeout=timeout, read_bufsize=1 << 20) as session,
        session.get(f"{url}/api/local/threads/{thread}/events", headers=headers) as answer,
    ):
        assert answer.status == 200, await answer.text()
        yield Tab(answer)
