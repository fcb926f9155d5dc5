"""The event stream: states that are kept, logs that are replayed, and everything live (SSE).

A subscriber gets the present state first, then what happens. A subscriber that does not read is
dropped, never waited for. Runs on the event loop's thread; worker threads use
`loop.call_soon_threadsafe(broadcaster.publish, ...)`.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable

import msgspec

from limpet.errors import LimpetError

MAX_CLIENTS = 100
LOG_REPLAY_BYTES = 256 * 1024
HISTORY_BYTES = 1024 * 1024
CLIENT_BUFFER_BYTES = 4 * 1024 * 1024
HEARTBEAT_S = 15.0
MAX_SOURCES = 64
STATE_ORDER = ("status", "lifecycle", "branch", "tasks", "scripts", "previews")

_encode = msgspec.json.Encoder().encode


class TooManyClientsError(LimpetError):
    """As many event streams as the daemon serves are open already."""

    code = "too_many_clients"
    status = 429


class Ring:
    """The last `limit` bytes of text, in whole chunks where they fit."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._chunks: deque[str] = deque()
        self._size = 0
        self.truncated = False

    def append(self, text: str) -> None:
        """Add text; the oldest goes where there is too much."""
        if len(text) > self._limit:
            text = text[-self._limit :]
            self.truncated = True
        self._chunks.append(text)
        self._size += len(text)
        while self._size > self._limit:
            excess = self._size - self._limit
            first = self._chunks.popleft()
            self.truncated = True
            if len(first) > excess:
                self._chunks.appendleft(first[excess:])
                self._size -= excess
            else:
                self._size -= len(first)

    def text(self) -> str:
        """All that is kept."""
        if len(self._chunks) > 1:
            whole = "".join(self._chunks)
            self._chunks = deque((whole,))
        return self._chunks[0] if self._chunks else ""

    def clear(self) -> None:
        """Forget everything."""
        self._chunks.clear()
        self._size = 0
        self.truncated = False


class _Client:
    def __init__(self) -> None:
        self.frames: deque[bytes] = deque()
        self.size = 0
        self.wake = asyncio.Event()
        self.gone = False

    def offer(self, frame: bytes) -> None:
        self.frames.append(frame)
        self.size += len(frame)
        if self.size > CLIENT_BUFFER_BYTES:
            self.frames.clear()
            self.gone = True
        self.wake.set()


class Broadcaster:
    """Where every part of the daemon says what happens; `subscribe` is what `/events` streams."""

    def __init__(self, boot_id: str, *, verbose: bool = False) -> None:
        self._boot_id = boot_id
        self._seq = 0
        self._verbose = verbose
        self._clients: set[_Client] = set()
        self._states: dict[str, object] = {}
        self._logs: dict[str, Ring] = {}
        self._history: deque[tuple[int, bytes]] = deque()
        self._history_size = 0
        self._closed = False
        self.on_subscribed: Callable[[], None] | None = None
        """Called when somebody begins to listen."""

    @property
    def clients(self) -> int:
        """How many streams are open."""
        return len(self._clients)

    def publish(self, event: str, data: object) -> None:
        """Tell everyone who listens; kept only for streams that resume."""
        self._seq += 1
        frame = self._frame(event, data)
        self._history.append((self._seq, frame))
        self._history_size += len(frame)
        while self._history_size > HISTORY_BYTES:
            self._history_size -= len(self._history.popleft()[1])
        for client in tuple(self._clients):
            client.offer(frame)
            if client.gone:
                self._clients.discard(client)

    def set_state(self, event: str, data: object) -> None:
        """Keep `data` as the present value of `event`; told live only when it differs."""
        if event in self._states and self._states[event] == data:
            return
        self._states[event] = data
        self.publish(event, data)

    def state(self, event: str) -> object | None:
        """The present value of `event`, or None."""
        return self._states.get(event)

    def log(self, source: str, data: str) -> None:
        """One chunk of output of `source`: replayed to later subscribers (256 KiB a source)."""
        if not data:
            return
        ring = self._logs.get(source)
        if ring is None:
            if len(self._logs) >= MAX_SOURCES:
                self._logs.pop(next(iter(self._logs)))
            ring = self._logs[source] = Ring(LOG_REPLAY_BYTES)
        ring.append(data)
        self.publish("log", {"source": source, "data": data})
        if self._verbose:
            print(f"[{source}] {data}", end="" if data.endswith("\n") else "\n", flush=True)  # noqa: T201

    def clear_log(self, source: str) -> None:
        """Forget the replay of `source` (a fresh run of it begins)."""
        self._logs.pop(source, None)

    def logs(self) -> dict[str, str]:
        """What is kept of each source."""
        return {source: ring.text() for source, ring in self._logs.items()}

    def close(self) -> None:
        """Say `bye` and end every stream."""
        self.publish("bye", {})
        self._closed = True
        for client in self._clients:
            client.wake.set()

    def subscribe(self, last_event_id: str | None = None) -> AsyncIterator[bytes]:
        """SSE frames: the state (or what came after `last_event_id`), then everything live.

        `TooManyClientsError` at once when too many listen.
        """
        if len(self._clients) >= MAX_CLIENTS:
            raise TooManyClientsError(f"{MAX_CLIENTS} event streams are open already")
        client = _Client()
        for frame in self._opening(last_event_id):
            client.frames.append(frame)  # the opening may be larger than a slow client's buffer
        self._clients.add(client)
        if self.on_subscribed is not None:
            self.on_subscribed()
        return self._stream(client)

    def _opening(self, last_event_id: str | None) -> list[bytes]:
        if last_event_id:
            missed = self._since(last_event_id)
            if missed is not None:
                return missed
        frames = [b": limpet\n\n"]
        if last_event_id:
            frames.append(self._frame("resync", {}))
        names = [name for name in STATE_ORDER if name in self._states]
        frames += [self._frame(name, self._states[name]) for name in names]
        frames += [
            self._frame("log", {"source": source, "data": ring.text()})
            for source, ring in self._logs.items()
        ]
        return frames

    def _since(self, last_event_id: str) -> list[bytes] | None:
        boot, _, seq_text = last_event_id.rpartition("-")
        if boot != self._boot_id or not seq_text.isascii() or not seq_text.isdigit():
            return None
        seq = int(seq_text)
        oldest = self._history[0][0] if self._history else self._seq + 1
        if seq > self._seq or seq < oldest - 1:
            return None
        return [frame for number, frame in self._history if number > seq]

    def _frame(self, event: str, data: object) -> bytes:
        return b"id: %s-%d\nevent: %s\ndata: %s\n\n" % (
            self._boot_id.encode(),
            self._seq,
            event.encode(),
            _encode(data),
        )

    async def _stream(self, client: _Client) -> AsyncIterator[bytes]:
        try:
            while not client.gone:
                if client.frames:
                    batch = b"".join(client.frames)
                    client.frames.clear()
                    client.size = 0
                    yield batch
                    continue
                if self._closed:
                    return
                client.wake.clear()
                try:
                    async with asyncio.timeout(HEARTBEAT_S):
                        await client.wake.wait()
                except TimeoutError:
                    yield b": heartbeat\n\n"
        finally:
            self._clients.discard(client)
