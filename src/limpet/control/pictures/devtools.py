"""The DevTools protocol over two pipes: JSON messages that end in a NUL byte.

What comes from a browser was partly written by the pages that it shows: it is bounded, and nothing
of it is believed to have a shape.
"""

import asyncio
import contextlib
import itertools
import json
import os
from collections.abc import Callable, Mapping
from typing import Any, Final

from limpet.control.pictures.errors import BrowserEndedError, PictureFailedError

MAX_MESSAGE_BYTES: Final = 12 << 20
_READ: Final = 1 << 18

Json = dict[str, Any]
OnEvent = Callable[[str, Json], None]


class DevTools:
    """Speaks to one browser. `ended` is set when it can speak no more; `read_bytes` is how much it
    has said.
    """

    def __init__(self) -> None:
        self.ended = asyncio.Event()
        self.read_bytes = 0
        self._ids = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Json]] = {}
        self._listeners: dict[str, OnEvent] = {}
        self._reading: asyncio.Task[None] | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def open(self, reads_fd: int, writes_fd: int) -> None:
        """Take over the two pipes: their descriptors are closed with this."""
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(limit=_READ)
        with contextlib.ExitStack() as owned:
            sink = owned.enter_context(os.fdopen(writes_fd, "wb", buffering=0))
            source = owned.enter_context(os.fdopen(reads_fd, "rb", buffering=0))
            await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), source)
            transport, protocol = await loop.connect_write_pipe(
                asyncio.streams.FlowControlMixin, sink
            )
            owned.pop_all()
        self._writer = asyncio.StreamWriter(transport, protocol, None, loop)
        self._reading = asyncio.create_task(self._read(reader), name="browser")

    async def close(self) -> None:
        """Hang up: a browser ends by that."""
        if self._writer is not None:
            self._writer.close()
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)
        self._end()

    def listen(self, session: str, on_event: OnEvent) -> None:
        """Give the events of a session to `on_event`, which must not raise."""
        self._listeners[session] = on_event

    def unlisten(self, session: str) -> None:
        """No more of them."""
        self._listeners.pop(session, None)

    async def call(
        self, method: str, params: Mapping[str, object] | None = None, *, session: str = ""
    ) -> Json:
        """What the browser answers. Waits for as long as it takes: give it a time-out.

        Raises `PictureFailedError` in the browser's words, `BrowserEndedError` when it is gone.
        """
        if self._writer is None or self.ended.is_set():
            raise BrowserEndedError("The browser has ended")
        number = next(self._ids)
        message: Json = {"id": number, "method": method, "params": params or {}}
        if session:
            message["sessionId"] = session
        answer: asyncio.Future[Json] = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        try:
            self._writer.write(json.dumps(message).encode() + b"\0")
            return await answer
        finally:
            self._waiting.pop(number, None)

    def tell(self, method: str, params: Mapping[str, object], *, session: str) -> None:
        """Say something whose answer does not matter."""
        if self._writer is not None and not self.ended.is_set():
            message = {"id": next(self._ids), "method": method, "params": params}
            self._writer.write(json.dumps(message | {"sessionId": session}).encode() + b"\0")

    async def _read(self, reader: asyncio.StreamReader) -> None:
        held = bytearray()
        try:
            while chunk := await reader.read(_READ):
                self.read_bytes += len(chunk)
                held += chunk
                if b"\0" in chunk:
                    *messages, rest = bytes(held).split(b"\0")
                    held = bytearray(rest)
                    for message in messages:
                        self._take(message)
                if len(held) > MAX_MESSAGE_BYTES:
                    return
        except OSError:
            return
        finally:
            self._end()

    def _take(self, raw: bytes) -> None:
        try:
            message = json.loads(raw)
        except (ValueError, RecursionError):
            return
        if not isinstance(message, dict):
            return
        answer = self._waiting.get(message.get("id", 0))
        if answer is not None and not answer.done():
            error, result = message.get("error"), message.get("result")
            if isinstance(error, dict):
                answer.set_exception(PictureFailedError(str(error.get("message", ""))[:500]))
            else:
                answer.set_result(result if isinstance(result, dict) else {})
        elif isinstance(method := message.get("method"), str):
            params = message.get("params")
            on_event = self._listeners.get(str(message.get("sessionId", "")))
            if on_event is not None:
                on_event(method, params if isinstance(params, dict) else {})

    def _end(self) -> None:
        self.ended.set()
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(BrowserEndedError("The browser has ended"))
                answer.exception()  # nobody may be waiting for it any more
