"""The proxy through which a sandbox with a network of its own reaches what its policy allows.

It speaks HTTP/1.1: `CONNECT` for all that is encrypted, and plain requests with a whole URL
(RFC 9110, 9.3.6; RFC 9112, 3.2.2). Names are resolved here, and the address that was judged is the
one that is connected to.
"""

import asyncio
import contextlib
import ipaddress
import json
import logging
import os
import socket
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import h11

from limpet.runners.egress import EgressPolicy, HostRule, Refusals

MAX_CONNECTIONS: Final = 256
MAX_HEAD_BYTES: Final = 32 * 1024
HEAD_WITHIN_S: Final = 30.0
CONNECT_WITHIN_S: Final = 15.0
LOG_BYTES: Final = 1 << 20
_CHUNK: Final = 64 * 1024
_HOP_BY_HOP: Final = frozenset({b"connection", b"keep-alive", b"proxy-connection", b"te"})
_APPEND: Final = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
_log = logging.getLogger(__name__)


class _RefusedError(Exception):
    """This connection is not made: the status that says so, and why."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status, self.why = status, why


@dataclass(frozen=True, slots=True)
class Target:
    """Where a request wants to go. `path` is None for a tunnel."""

    host: str
    port: int
    path: bytes | None = None


@dataclass(frozen=True, slots=True)
class Upstream:
    """A proxy of the operator's, through which this machine itself reaches the network."""

    host: str
    port: int


class EgressLog:
    """One line of JSON for each connection: when, where to, whether, why not, how many bytes.

    Bounded: at `LOG_BYTES` the file gets `.1` for a second name and a new one begins.
    """

    def __init__(self, file: Path) -> None:
        self._file = file

    def delete(self) -> None:
        """Take the log away, with what came before it. Blocks."""
        for file in (self._file, self._older):
            file.unlink(missing_ok=True)

    @property
    def _older(self) -> Path:
        return self._file.with_name(self._file.name + ".1")

    def write(self, **fields: object) -> None:
        """Append one line; a disk that is full is no reason to end a connection."""
        line = json.dumps({"at": round(time.time(), 3), **fields}, ensure_ascii=False) + "\n"
        with contextlib.suppress(OSError):
            if self._file.exists() and self._file.stat().st_size > LOG_BYTES:
                self._file.replace(self._older)
            with open(os.open(self._file, _APPEND, 0o600), "a") as out:  # noqa: PTH123
                out.write(line)


class EgressProxy:
    """Serves one sandbox. `registries` are asked for when a policy that lists hosts needs them.

    What `served` gives a socket's path for is served there, whatever policy and addresses say.
    """

    def __init__(
        self,
        policy: EgressPolicy,
        refusals: Refusals,
        log: EgressLog | None,
        *,
        registries: Callable[[], Sequence[HostRule]] = tuple,
        upstream: Upstream | None = None,
        served: Callable[[Target], Path | None] = lambda _target: None,
    ) -> None:
        self._policy = policy
        self._refusals = refusals
        self._log = log
        self._registries = registries
        self._upstream = upstream
        self._served = served
        self._connections: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def serving(self, listener: socket.socket) -> AsyncGenerator[None]:
        """Serve what connects to `listener` for the length of the block, and close it."""
        server = await asyncio.start_server(self._accept, sock=listener, limit=MAX_HEAD_BYTES)
        try:
            yield
        finally:
            server.close()
            for connection in self._connections:
                connection.cancel()
            await asyncio.gather(*self._connections, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._connections) >= MAX_CONNECTIONS:
            writer.close()
            return
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            await self._serve(reader, writer)
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            pass  # the client went, or said nothing
        except asyncio.CancelledError:
            pass  # by the end of `serving`, which waits for this; asyncio would log it as broken
        finally:
            self._connections.discard(task)
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(HEAD_WITHIN_S):
                request, rest = await _read_head(reader)
            target = _target_of(request)
        except _RefusedError as refused:
            await _answer(writer, refused)
            return
        began = time.monotonic()
        sent = received = 0
        why = ""
        try:
            out_reader, out_writer, through_proxy = await self._connect(target)
            try:
                if target.path is None:
                    writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
                    out_writer.write(rest)
                else:
                    out_writer.write(_head_for(request, target, whole_url=through_proxy) + rest)
                sent, received = await _relay((reader, writer), (out_reader, out_writer))
                sent += len(rest)
            finally:
                out_writer.close()
        except _RefusedError as refused:
            why = refused.why
            _log.info("egress refused: %s:%d: %s", target.host, target.port, why)
            await _answer(writer, refused)
        finally:
            if self._log is not None:
                self._log.write(
                    host=target.host, port=target.port, allowed=not why, why=why,
                    sent=sent, received=received, seconds=round(time.monotonic() - began, 3),
                )  # fmt: skip

    async def _connect(
        self, target: Target
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter, bool]:
        """Connect where the target is, or to the upstream proxy; whether it is the latter."""
        if (served_at := self._served(target)) is not None:
            try:
                return (*await asyncio.open_unix_connection(served_at), False)
            except OSError as error:
                raise _RefusedError(502, f"{target.host} is not served any more: {error}") from None
        listed = self._policy.mode == "listed" and self._policy.registries
        registries = await asyncio.to_thread(self._registries) if listed else ()
        if not self._policy.allows(target.host, target.port, registries):
            raise _RefusedError(
                403, f"the agent's egress policy does not allow {target.host}:{target.port}"
            )
        if self._upstream is not None:
            return await self._connect_through(self._upstream, target)
        addresses = await _resolve(target)
        refused = {address: self._refusals.why(address) for address in addresses}
        allowed = [address for address in addresses if refused[address] is None]
        if not allowed:
            raise _RefusedError(403, str(refused[addresses[0]]))
        failure: OSError | None = None
        for address in allowed:
            try:
                async with asyncio.timeout(CONNECT_WITHIN_S):
                    return (*await asyncio.open_connection(str(address), target.port), False)
            except OSError as error:
                failure = error
        raise _RefusedError(502, f"{target.host}:{target.port} does not answer: {failure}")

    async def _connect_through(
        self, upstream: Upstream, target: Target
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter, bool]:
        address = _address(target.host)
        if address is not None and (why := self._refusals.why(address)):
            raise _RefusedError(403, why)
        try:
            async with asyncio.timeout(CONNECT_WITHIN_S):
                reader, writer = await asyncio.open_connection(upstream.host, upstream.port)
                if target.path is not None:
                    return reader, writer, True
                host = f"[{target.host}]" if ":" in target.host else target.host
                where = f"{host}:{target.port}".encode()
                writer.write(b"CONNECT %b HTTP/1.1\r\nHost: %b\r\n\r\n" % (where, where))
                said = await reader.readuntil(b"\r\n\r\n")
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
            raise _RefusedError(502, f"this machine's proxy does not answer: {error}") from None
        status = said.split(b" ", 2)[1:2]
        if status != [b"200"]:
            writer.close()
            told = said.split(b"\r\n")[0].decode("latin-1")
            raise _RefusedError(502, f"this machine's proxy refuses: {told}")
        return reader, writer, True


async def _read_head(reader: asyncio.StreamReader) -> tuple[h11.Request, bytes]:
    """The request, and what came behind its head already."""
    parser = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD_BYTES)
    while True:
        try:
            event = parser.next_event()
        except h11.RemoteProtocolError as error:
            raise _RefusedError(400, f"this is no request to a proxy: {error}") from None
        if isinstance(event, h11.Request):
            return event, parser.trailing_data[0]
        if event is not h11.NEED_DATA:
            raise asyncio.IncompleteReadError(b"", None)
        parser.receive_data(await reader.read(_CHUNK))


def _target_of(request: h11.Request) -> Target:
    raw = request.target.decode("latin-1")
    try:
        if request.method == b"CONNECT":
            parts = urlsplit(f"//{raw}")
            host, port, path = parts.hostname, parts.port, None
        else:
            parts = urlsplit(raw)
            host, port = parts.hostname, parts.port or 80
            path = ((parts.path or "/") + (f"?{parts.query}" if parts.query else "")).encode(
                "latin-1"
            )
            if parts.scheme != "http":
                host = None
    except ValueError:
        host = port = path = None
    if not host or not port:
        raise _RefusedError(400, "this proxy wants CONNECT host:port, or a request for http://...")
    return Target(host.lower().rstrip("."), port, path)


def _head_for(request: h11.Request, target: Target, *, whole_url: bool) -> bytes:
    """The head for the server: one request a connection, since a second may be for another host."""
    assert target.path is not None
    lines = [request.method + b" " + (request.target if whole_url else target.path) + b" HTTP/1.1"]
    for name, value in request.headers.raw_items():
        if name.lower() not in _HOP_BY_HOP and not name.lower().startswith(b"proxy-"):
            lines.append(name + b": " + value)
    return b"\r\n".join([*lines, b"Connection: close", b"", b""])


async def _resolve(
    target: Target,
) -> list[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    try:
        async with asyncio.timeout(CONNECT_WITHIN_S):
            found = await asyncio.get_running_loop().getaddrinfo(
                target.host, target.port, type=socket.SOCK_STREAM
            )
    except (OSError, UnicodeError) as error:
        raise _RefusedError(502, f"{target.host} cannot be resolved: {error}") from None
    return list(dict.fromkeys(ipaddress.ip_address(entry[4][0]) for entry in found))


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


async def _answer(writer: asyncio.StreamWriter, refused: _RefusedError) -> None:
    body = f"Limpet: {refused.why}\n".encode(errors="replace")
    writer.write(
        b"HTTP/1.1 %d Refused\r\nContent-Type: text/plain; charset=utf-8\r\n"
        b"Content-Length: %d\r\nConnection: close\r\n\r\n" % (refused.status, len(body)) + body
    )
    with contextlib.suppress(OSError):
        await writer.drain()


async def relay_to(
    host: str, port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """Connect to `host` at `port`, and pass all on that comes from either side."""
    try:
        async with asyncio.timeout(CONNECT_WITHIN_S):
            out_reader, out_writer = await asyncio.open_connection(host, port)
    except OSError:
        writer.close()
        return
    try:
        await _relay((reader, writer), (out_reader, out_writer))
    finally:
        out_writer.close()
        writer.close()


Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def _relay(ours: Stream, theirs: Stream) -> tuple[int, int]:
    """Both ways until both have ended; how many bytes went out and came back."""
    out = asyncio.create_task(_pump(ours[0], theirs[1]))
    back = asyncio.create_task(_pump(theirs[0], ours[1]))
    try:
        return await out, await back
    finally:
        out.cancel()
        back.cancel()


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> int:
    passed = 0
    with contextlib.suppress(OSError):
        while chunk := await source.read(_CHUNK):
            sink.write(chunk)
            await sink.drain()
            passed += len(chunk)
        if sink.can_write_eof():
            sink.write_eof()
    return passed
