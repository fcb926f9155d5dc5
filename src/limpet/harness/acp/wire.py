"""The agent's pipes as a row of JSON-RPC messages, whatever is written into them.

What the protocol's library takes for granted is made sure of here: a line has an end, a message is
an object of the right shape, and an agent that is read slowly has to wait. Updates are handed on in
their order; the library would begin a task for each.
"""

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Any, Final

from limpet.errors import LimpetError
from limpet.harness.tools import PipedProcess, ToolFailedError

Message = dict[str, Any]

MAX_LINE_BYTES: Final = 16 * 1024 * 1024
MAX_NOISE_LINES: Final = 2000
"""Lines that are no messages, one after the other: programs print things as they start."""
MAX_REQUESTS: Final = 128
"""Of the agent's, that wait for our answer at the same time."""
_PARSED_ASIDE_BYTES: Final = 128 * 1024
_MAX_NOISE_CHARS: Final = 200
_UPDATE: Final = "session/update"


class Wire:
    """A message transport (`acp.connection.Connection` takes it) over a process in the sandbox.

    `failure` says, once reading has ended, why it did where that was not the agent's end; `noise`
    is the last line that was no message.
    """

    def __init__(
        self, process: PipedProcess, on_update: Callable[[Message], Awaitable[None]]
    ) -> None:
        self._process = process
        self._on_update = on_update
        self._sending = asyncio.Lock()
        self._requests = 0
        self._lines = self._read_lines()
        self.failure: str | None = None
        self.noise = ""

    async def send(self, message: Message) -> None:
        """Write a message; `ConnectionError` when the agent has ended."""
        if "method" not in message:
            self._requests -= 1
        await self._write(message)

    async def _write(self, message: Message) -> None:
        line = json.dumps(message, separators=(",", ":")).encode() + b"\n"
        async with self._sending:
            try:
                await self._process.send(line)
            except (ToolFailedError, LimpetError) as error:
                raise ConnectionError(str(error)) from error

    async def receive(self) -> Message | None:
        """The next message that the library has to see; None when there will be none."""
        noise = 0
        async for line in self._lines:
            message = await _parsed(line)
            if message is None:
                noise += bool(line.strip())
                self.noise = line[:_MAX_NOISE_CHARS].decode(errors="replace").strip() or self.noise
                if noise > MAX_NOISE_LINES:
                    self.failure = "it wrote line after line that is no message of the protocol"
                    break
                continue
            noise = 0
            method = message.get("method")
            if method is None or "id" not in message:
                if method is None:
                    return message
                if method == _UPDATE:
                    await self._on_update(message.get("params") or {})
                continue
            if self._requests >= MAX_REQUESTS:
                await self._refuse(message["id"])
                continue
            self._requests += 1
            return message
        return None

    async def close(self) -> None:
        """Nothing to let go of: the process is another's."""

    async def _refuse(self, request: int | str | None) -> None:
        error = {"code": -32000, "message": f"{MAX_REQUESTS} requests wait already"}
        try:
            await self._write({"jsonrpc": "2.0", "id": request, "error": error})
        except ConnectionError:
            return  # it has ended, and reading will end as well

    async def _read_lines(self) -> AsyncGenerator[bytes]:
        buffer = bytearray()
        seen = 0
        try:
            async with aclosing(_closable(self._process)) as pieces:
                async for piece in pieces:
                    buffer += piece
                    while (end := buffer.find(b"\n", seen)) >= 0:
                        yield bytes(buffer[:end])
                        del buffer[: end + 1]
                        seen = 0
                    seen = len(buffer)
                    if seen > MAX_LINE_BYTES:
                        self.failure = f"it wrote a line of more than {MAX_LINE_BYTES >> 20} MiB"
                        return
        except (ToolFailedError, LimpetError) as error:
            self.failure = str(error)


async def _closable(process: PipedProcess) -> AsyncGenerator[bytes]:
    async for piece in process.output():
        yield piece


async def _parsed(line: bytes) -> Message | None:
    """The message, in a shape that the library can do something with; None for anything else."""
    try:
        aside = len(line) > _PARSED_ASIDE_BYTES
        told: object = await asyncio.to_thread(json.loads, line) if aside else json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(told, dict):
        return None
    number = told.get("id")
    if isinstance(number, bool) or not isinstance(number, int | str | None):
        return None
    if "method" in told:
        fits = isinstance(told["method"], str) and isinstance(told.get("params"), dict | None)
        return told if fits else None
    if "error" in told:
        told["error"] = _error(told["error"])
        told.pop("result", None)
    return told if isinstance(number, int) and ("error" in told or "result" in told) else None


def _error(told: object) -> dict[str, object]:
    given = told if isinstance(told, dict) else {"message": str(told)}
    code, message = given.get("code"), given.get("message")
    return {
        "code": code if isinstance(code, int) else -32603,
        "message": message if isinstance(message, str) else "an error without words",
        "data": given.get("data"),
    }
