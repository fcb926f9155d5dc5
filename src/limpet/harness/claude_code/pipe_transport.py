"""The SDK's transport over a process in the sandbox: a line of JSON is a message, both ways."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any, Final

import anyio
from claude_agent_sdk import Transport

from limpet.harness.tools import PipedProcess, ToolFailedError

MAX_MESSAGE_BYTES: Final = 64 * 1024 * 1024
"""A message holds a whole file or picture at most."""
MAX_NOISE_BYTES: Final = 1024 * 1024
"""Of lines that are no messages, such as a warning of a loader."""
_FLUSH_S: Final = 5.0


class CliBrokeError(Exception):
    """The CLI ended, or said what cannot be understood; the words are for people.

    `said` is the last of what it wrote to standard error.
    """

    def __init__(self, words: str, said: str = "") -> None:
        super().__init__(words)
        self.said = said.strip()


class PipeTransport(Transport):
    """Over a process that whoever made it ends; closing gives it a moment to end by itself.

    One that broke its word gets no moment.
    """

    def __init__(self, process: PipedProcess) -> None:
        self._process = process
        self._writing = asyncio.Lock()
        self._open = False
        self._why: CliBrokeError | None = None
        self.flush_s = _FLUSH_S
        """How long closing waits for its end."""

    async def connect(self) -> None:
        """It runs already."""
        self._open = True

    def is_ready(self) -> bool:
        """Whether something can be written."""
        return self._open

    async def write(self, data: str) -> None:
        """Hand one message over. Raises `CliBrokeError` when nobody is there to take it.

        Except over an answer: the SDK gives those from tasks that nobody awaits, and the end of
        the CLI that asked is told to who reads.
        """
        try:
            async with self._writing:
                await self._send(data)
        except CliBrokeError:
            if json.loads(data)["type"] != "control_response":
                raise

    async def _send(self, data: str) -> None:
        if not self._open:
            raise self._why or CliBrokeError("Claude Code has ended.")
        try:
            await self._process.send(data.encode())
        except ToolFailedError as error:
            raise await self._ended() from error

    def read_messages(self) -> AsyncIterator[dict[str, Any]]:
        """What it says, until it ends. Raises `CliBrokeError` unless that is of our wanting."""
        return self._messages()

    async def _messages(self) -> AsyncIterator[dict[str, Any]]:
        left = bytearray()
        noise = 0
        async for piece in self._process.output():
            begin = len(left)
            left += piece
            while (end := left.find(b"\n", begin)) >= 0:
                line, begin = bytes(left[:end]), 0
                del left[: end + 1]
                message = self._message(line)
                if message is not None:
                    yield message
                    continue
                noise += len(line)
                if noise > MAX_NOISE_BYTES:
                    raise self._broke("Claude Code printed what are no messages, without an end.")
            if len(left) > MAX_MESSAGE_BYTES:
                raise self._broke("Claude Code began a message that has no end.")
        if self._open or self._why is not None:
            raise await self._ended()

    def _message(self, line: bytes) -> dict[str, Any] | None:
        line = line.strip()
        if not line.startswith(b"{"):
            return None
        try:
            message = json.loads(line)
        except (ValueError, RecursionError):
            raise self._broke("Claude Code said something that is no JSON.") from None
        return message if isinstance(message, dict) else None

    async def _ended(self) -> CliBrokeError:
        words = "Claude Code cannot be reached."
        with anyio.move_on_after(_FLUSH_S):
            code = await self._process.wait()
            words = f"Claude Code ended in the middle (exit code {code})."
        return self._broke(words)

    def _broke(self, words: str) -> CliBrokeError:
        self._open = False
        self._why = self._why or CliBrokeError(words, self._process.errors())
        return self._why

    async def end_input(self) -> None:
        """Tell it that nothing more comes."""
        await self._process.end_input()

    async def close(self) -> None:
        """Let it write down what it holds and end; bounded."""
        if not self._open:
            return
        self._open = False
        with anyio.move_on_after(self.flush_s, shield=True):
            try:
                await self._process.end_input()
                await self._process.wait()
            except ToolFailedError:
                return  # it has ended, or its sandbox has
