"""Bytes from the event loop to a thread, and back, with little held between."""

import asyncio
import threading
from collections import deque
from collections.abc import Iterator

LIMIT_BYTES = 8 * 1024 * 1024
GATHER_BYTES = 1024 * 1024


class UploadBrokenError(Exception):
    """The client went away before its body ended."""


class Upload:
    """A request's body on its way into a thread that reads it as an iterator of chunks.

    `put` waits while more than 8 MiB were not taken; small chunks are gathered to about 1 MiB.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._condition = threading.Condition()
        self._chunks: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._gathered: list[bytes] = []
        self._gathered_bytes = 0
        self._ended = False
        self._error: Exception | None = None
        self._room = asyncio.Event()

    async def put(self, chunk: bytes) -> None:
        """Add bytes; waits while the thread is behind."""
        self._gathered.append(chunk)
        self._gathered_bytes += len(chunk)
        if self._gathered_bytes >= GATHER_BYTES:
            self._pass_on()
        while self._waiting_bytes > LIMIT_BYTES:
            self._room.clear()
            if self._waiting_bytes > LIMIT_BYTES:
                await self._room.wait()

    def end(self, error: Exception | None = None) -> None:
        """No more comes; with `error` the reader gets it raised."""
        if error is None:
            self._pass_on()
        with self._condition:
            self._ended = True
            self._error = error
            self._condition.notify()

    def _pass_on(self) -> None:
        if not self._gathered:
            return
        chunk = b"".join(self._gathered)
        self._gathered, self._gathered_bytes = [], 0
        with self._condition:
            self._chunks.append(chunk)
            self._waiting_bytes += len(chunk)
            self._condition.notify()

    def __iter__(self) -> Iterator[bytes]:
        while True:
            with self._condition:
                while not self._chunks and not self._ended:
                    self._condition.wait()
                if self._error is not None:
                    raise self._error
                if not self._chunks:
                    return
                chunk = self._chunks.popleft()
                self._waiting_bytes -= len(chunk)
            self._loop.call_soon_threadsafe(self._room.set)
            yield chunk
