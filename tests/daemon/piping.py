"""A client of the daemon's `/pipe`, frame by frame, that does as a test says."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

PATIENCE_S = 60


@dataclass
class Piping:
    """One program's socket. `output`, `told` and `closed` are what has come so far."""

    ws: aiohttp.ClientWebSocketResponse
    acknowledges: bool = True
    output: bytearray = field(default_factory=bytearray)
    told: list[dict[str, Any]] = field(default_factory=list)
    closed: int | None = None

    async def say(self, **message: Any) -> None:
        await self.ws.send_str(json.dumps(message))

    async def hear(self) -> None:
        """Take in one frame."""
        async with asyncio.timeout(PATIENCE_S):
            message = await self.ws.receive()
        if message.type == aiohttp.WSMsgType.BINARY:
            self.output += message.data
            if self.acknowledges:
                await self.say(type="taken", bytes=len(message.data))
        elif message.type == aiohttp.WSMsgType.TEXT:
            self.told.append(json.loads(message.data))
        else:
            self.closed = self.ws.close_code

    async def until(self, holds: Callable[[], Any]) -> None:
        while not holds():
            assert self.closed is None, self.told
            await self.hear()

    async def until_told(self, kind: str) -> dict[str, Any]:
        await self.until(lambda: self.all(kind))
        return self.all(kind)[-1]

    async def until_closed(self) -> int | None:
        while self.closed is None:
            await self.hear()
        return self.closed

    def all(self, kind: str) -> list[dict[str, Any]]:
        return [message for message in self.told if message["type"] == kind]

    @property
    def stderr(self) -> str:
        return "".join(message["data"] for message in self.all("stderr"))

    async def pids(self, count: int) -> list[int]:
        """The first numbers that the program prints."""
        await self.until(lambda: self.output.count(b"\n") >= count)
        return [int(line) for line in self.output.split()[:count]]


@contextlib.asynccontextmanager
async def piping(
    http: aiohttp.ClientSession,
    argv: Sequence[str],
    env: Mapping[str, str] | None = None,
    *,
    acknowledges: bool = True,
) -> AsyncIterator[Piping]:
    async with http.ws_connect("/_sandbox/pipe") as ws:
        one = Piping(ws, acknowledges)
        await one.say(type="start", argv=list(argv), env=dict(env or {}))
        yield one


def lives(pid: int) -> bool:
    """Whether the process runs, or is stopped."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"
