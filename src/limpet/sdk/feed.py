"""An event stream that can be followed for as long as one likes, and ended from another thread."""

import threading
from collections.abc import Iterator
from contextlib import suppress
from types import TracebackType
from typing import Self

from limpet.errors import UnreachableError
from limpet.sdk.connection import ByteStream, Connection
from limpet.sdk.sse import Event, parse_events

RECONNECT_S = (0.2, 0.5, 1.0, 2.0, 5.0)


class EventFeed:
    """The events of one stream, as an iterator. One thread iterates; any may `close`.

    A `lasting` one is opened again, after the last event, when it breaks or ends; only `close` and
    the server's `bye` end it. It raises `UnreachableError` when it cannot be opened the first time,
    or not again after some 9 s. Others end with their stream and raise when that breaks.
    """

    def __init__(
        self,
        line: Connection,
        path: str,
        query: dict[str, str | None],
        *,
        lasting: bool,
        silence_s: float,
    ) -> None:
        self._line = line
        self._path = path
        self._query = query
        self._lasting = lasting
        self._silence_s = silence_s
        self._closed = threading.Event()
        self._guard = threading.Lock()
        self._stream: ByteStream | None = None
        self._last_id: str | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the iteration, also one that waits in another thread just now."""
        with self._guard:
            self._closed.set()
            if self._stream is not None:
                self._stream.interrupt()

    def __iter__(self) -> Iterator[Event]:
        opened = False
        failures = 0
        while not self._closed.is_set():
            try:
                stream = self._open()
                opened = True
                with stream:
                    for event in parse_events(stream):
                        failures = 0
                        self._last_id = event.id or self._last_id
                        yield event
                        if self._closed.is_set() or (self._lasting and event.name == "bye"):
                            return
            except UnreachableError:
                if self._closed.is_set():
                    return
                if not self._lasting or not opened or failures >= len(RECONNECT_S):
                    raise
            finally:
                with self._guard:
                    self._stream = None
            if not self._lasting:
                return
            self._closed.wait(RECONNECT_S[min(failures, len(RECONNECT_S) - 1)])
            failures += 1

    def _open(self) -> ByteStream:
        stream = self._line.events(self._path, self._query, self._last_id, self._silence_s)
        with self._guard:
            self._stream = stream
            if self._closed.is_set():
                with suppress(OSError):
                    stream.interrupt()
        return stream
