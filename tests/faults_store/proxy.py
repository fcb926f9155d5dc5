"""A faulty network before an S3 server: a real HTTP/1.1 proxy that harms what passes, by a seed.

Every fault is one that networks, load balancers and the servers themselves are known for. The proxy
runs in a thread of its own and forgets a connection after each request, so that one fault harms one
request. While `faulty` is off everything passes as it is.
"""

import asyncio
import contextlib
import random
import re
import socket
import struct
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

FAULTS: Final = (
    "refused-500", "refused-503", "done-500", "reset-before", "reset-after", "reset-in-answer",
    "cut-off", "shortened", "twice", "slow", "late", "silent", "stale-list",
)  # fmt: skip
"""`done-500` and `reset-after`: the act is done and its answer lost. `shortened`: fewer bytes under
a length that fits them. `late`: the act is done some requests after it was said to have failed.
`silent`: the act is done and nothing is said until the client gives up."""
LATER: Final = 3
"""Requests that pass before a late one is done."""
_SERVER_ERROR: Final = (
    b"HTTP/1.1 %d Oops\r\nContent-Type: application/xml\r\nContent-Length: %d\r\n"
    b"Connection: close\r\n\r\n%s"
)
_LENGTH: Final = re.compile(rb"(?im)^content-length: *(\d+)\r?$")


@dataclass(frozen=True, slots=True)
class _Request:
    method: str
    path: str
    head: bytes
    body: bytes

    @property
    def is_list(self) -> bool:
        return self.method == "GET" and "list-type" in self.path

    @property
    def is_object(self) -> bool:
        return self.method == "GET" and not self.is_list

    @property
    def raw(self) -> bytes:
        lines = self.head.split(b"\r\n")
        kept = [line for line in lines if not line.lower().startswith(b"connection:")]
        return b"\r\n".join([*kept, b"Connection: close", b"", b""]) + self.body


@dataclass
class FaultyProxy:
    """Harms `share` of the requests while `faulty`; `done` counts what it did."""

    upstream: str
    seed: int
    share: float = 0.15
    faulty: bool = True
    done: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        self._lists: dict[str, list[bytes]] = {}
        self._late: list[tuple[int, _Request]] = []
        self._requests = 0

    def reseed(self, seed: int) -> None:
        """Begin another schedule: nothing late or stale of the one before is left."""
        self._random = random.Random(seed)
        self._late, self._lists = [], {}

    def choose(self, request: _Request) -> str:
        """The fault of this request, or `pass`."""
        if not self.faulty or self._random.random() >= self.share:
            return "pass"
        fault = self._random.choice(FAULTS)
        if (fault == "stale-list" and not request.is_list) or (
            fault == "shortened" and not request.is_object
        ):
            return "pass"
        if fault == "late" and request.method not in {"PUT", "DELETE"}:
            return "pass"
        return fault

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, one request."""
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, TimeoutError):
            head = await _read_head(reader)
            if (
                head is not None
                and self.faulty
                and self._random.random() < self.share / len(FAULTS)
            ):
                self.done["reset-in-request"] += 1
                _reset(writer)  # before its body was read
            elif head is not None:
                await self._answer(await _read_body(head, reader), writer)
        with contextlib.suppress(ConnectionError):
            writer.close()
            await writer.wait_closed()

    async def _answer(self, request: _Request, writer: asyncio.StreamWriter) -> None:
        self._requests += 1
        due = [one for at, one in self._late if at <= self._requests]
        self._late = [(at, one) for at, one in self._late if at > self._requests]
        for one in due:
            await self._pass_on(one)
        fault = self.choose(request)
        self.done[fault] += 1
        match fault:
            case "refused-500" | "refused-503":
                await _send(writer, _error(int(fault[-3:])))
                return
            case "reset-before":
                _reset(writer)
                return
            case "late":
                self._late.append((self._requests + LATER, request))
                await _send(writer, _error(500))
                return
            case "twice":
                await self._pass_on(request)
            case _:
                pass
        answer = await self._pass_on(request)
        if request.is_list:
            seen = self._lists.setdefault(_without_token(request.path), [])
            seen.append(answer)
            if fault == "stale-list":
                answer = self._random.choice(seen)
        match fault:
            case "done-500":
                await _send(writer, _error(500))
            case "reset-after":
                _reset(writer)
            case "reset-in-answer":
                await _send(writer, answer[: len(answer) // 2])
                _reset(writer)
            case "cut-off":
                await _send(writer, answer[: -max(1, _body_length(answer) // 2)])
            case "shortened":
                await _send(writer, _shortened(answer))
            case "slow":
                step = max(1, len(answer) // 5)
                for start in range(0, len(answer), step):
                    await _send(writer, answer[start : start + step])
                    await asyncio.sleep(0.01)
            case "silent":
                await asyncio.sleep(0.4)  # longer than the clients of these tests wait
            case _:
                await _send(writer, answer)

    async def _pass_on(self, request: _Request) -> bytes:
        where = urlsplit(self.upstream)
        reader, writer = await asyncio.open_connection(where.hostname, where.port)
        try:
            writer.write(request.raw)
            await writer.drain()
            return await reader.read()
        finally:
            writer.close()


@contextlib.contextmanager
def faulty_proxy(upstream: str, seed: int) -> Iterator[tuple[FaultyProxy, str]]:
    """The proxy, and the endpoint that it answers at."""
    proxy = FaultyProxy(upstream, seed)
    loop = asyncio.new_event_loop()
    started = threading.Event()
    port = 0

    async def main() -> None:
        nonlocal port
        server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0, limit=1 << 20)
        port = server.sockets[0].getsockname()[1]
        started.set()
        async with server:
            with contextlib.suppress(asyncio.CancelledError):
                await server.serve_forever()

    task = loop.create_task(main())

    async def end(left: set[asyncio.Task[None]]) -> None:
        for one in left:
            one.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    def run() -> None:
        loop.run_until_complete(task)
        loop.run_until_complete(end(asyncio.all_tasks(loop)))
        loop.close()

    thread = threading.Thread(target=run)
    thread.start()
    started.wait()
    try:
        yield proxy, f"http://127.0.0.1:{port}"
    finally:
        loop.call_soon_threadsafe(task.cancel)
        thread.join()


async def _read_head(reader: asyncio.StreamReader) -> bytes | None:
    try:
        return await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None


async def _read_body(head: bytes, reader: asyncio.StreamReader) -> _Request:
    method, path, _ = head.split(b" ", 2)
    found = _LENGTH.search(head)
    body = await reader.readexactly(int(found[1])) if found else b""
    return _Request(method.decode(), path.decode(), head[:-4], body)


async def _send(writer: asyncio.StreamWriter, data: bytes) -> None:
    writer.write(data)
    await writer.drain()


def _reset(writer: asyncio.StreamWriter) -> None:
    found = writer.get_extra_info("socket")
    found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def _error(status: int) -> bytes:
    code = b"SlowDown" if status == 503 else b"InternalError"
    body = b"<Error><Code>" + code + b"</Code></Error>"
    return _SERVER_ERROR % (status, len(body), body)


def _body_length(answer: bytes) -> int:
    return len(answer) - answer.find(b"\r\n\r\n") - 4


def _shortened(answer: bytes) -> bytes:
    """Half of the body, under a length that says so."""
    head, _, body = answer.partition(b"\r\n\r\n")
    half = body[: len(body) // 2]
    return _LENGTH.sub(b"Content-Length: %d" % len(half), head) + b"\r\n\r\n" + half


def _without_token(path: str) -> str:
    return re.sub(r"&?continuation-token=[^&]*", "", path)
