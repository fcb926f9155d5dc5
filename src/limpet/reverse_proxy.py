"""Passes one request or WebSocket on to another server, streaming both ways.

Used by the daemon in front of a dev server and by the control plane in front of daemons. It knows
HTTP and nothing of sandboxes: who may ask, which headers go on and what becomes of an answer is
its caller's.
"""

import asyncio
import contextlib
import zlib
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final

import aiohttp
from multidict import CIMultiDict
from starlette.datastructures import MutableHeaders
from starlette.requests import ClientDisconnect, HTTPConnection, Request
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect
from yarl import URL

from limpet.errors import UnreachableError

HOP_BY_HOP: Final = frozenset(
    [
        "connection", "keep-alive", "proxy-authenticate", "proxy-authorization",
        "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade",
    ]
)  # fmt: skip
_WEBSOCKET_OWN: Final = frozenset(
    [
        "sec-websocket-key", "sec-websocket-version", "sec-websocket-extensions",
        "sec-websocket-protocol", "sec-websocket-accept",
    ]
)  # fmt: skip
_NO_BODY: Final = frozenset([204, 205, 304])
_AUTOMATIC: Final = ("User-Agent", "Accept-Encoding", "Accept", "Content-Type")
CONNECT_TIMEOUT_S: Final = 5.0
HEADERS_TIMEOUT_S: Final = 60.0
KEEP_ALIVE_S: Final = (
    3.0  # below the 5 s of Node's and uvicorn's servers: they must not close first
)
READ_BYTES: Final = 64 * 1024
MAX_HEADER_BYTES: Final = 64 * 1024
MAX_REASON_BYTES: Final = 123
UNREACHABLE_CODE: Final = 1011
UNREACHABLE_REASON: Final = "upstream not reachable"

HeaderList = list[tuple[str, str]]
OnMessage = Callable[[str | bytes], None]


class UpstreamUnreachableError(UnreachableError):
    """The other server cannot be connected to, breaks off, or sends no headers in time."""

    code = "upstream_unreachable"
    status = 502


@dataclass(slots=True)
class Answer:
    """What the other server answered. `headers` has no hop-by-hop ones; the body is as sent."""

    status: int
    headers: MutableHeaders
    body: AsyncIterator[bytes] = field(repr=False)

    def decoded(self) -> bool:
        """Make the body plain if it is compressed in a way that we know; whether it is plain now.

        `Content-Encoding` and `Content-Length` go where the body changes.
        """
        coding = self.headers.get("content-encoding", "identity").strip().lower()
        if coding in {"", "identity"}:
            return True
        if coding not in {"gzip", "x-gzip", "deflate"}:
            return False
        self.body = _inflated(self.body)
        del self.headers["content-encoding"]
        del self.headers["content-length"]
        return True


Transform = Callable[[Answer], "Answer | Response"]
"""Looks at an answer before it goes on: changes it, or answers something else in its place."""


def end_to_end(connection: HTTPConnection, *, without: Iterable[str] = ()) -> HeaderList:
    """The headers of a request that may go on; never hop-by-hop ones or those in `without`."""
    dropped = HOP_BY_HOP | _WEBSOCKET_OWN | {name.lower() for name in without}
    for value in connection.headers.getlist("connection"):
        dropped |= {name.strip().lower() for name in value.split(",")}
    return [
        (name.decode("latin-1"), _text(value))
        for name, value in connection.headers.raw
        if name.decode("latin-1").lower() not in dropped
    ]


def request_target(connection: HTTPConnection) -> str:
    """The path and query of a request, letter by letter as they came; always begins with `/`."""
    scope = connection.scope
    raw: bytes = scope.get("raw_path") or scope["path"].encode()
    raw = raw.split(b"?", 1)[0]
    if not raw.startswith(b"/"):
        raw = b"/" + raw
    query: bytes = scope.get("query_string", b"")
    return (raw + b"?" + query if query else raw).decode("latin-1")


class ReverseProxy:
    """Owns the connections to other servers; `close` it, or use it as a context manager."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> "ReverseProxy":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """End all connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def http(
        self,
        request: Request,
        target_url: str,
        *,
        headers: HeaderList,
        transform: Transform | None = None,
    ) -> Response:
        """Send `request` to `target_url` with exactly `headers`, and answer what comes.

        `headers` usually begins as `end_to_end(request)`; without a `Host` the target's is sent.
        `transform` sees the answer before it goes on. Redirects are passed on, not followed.
        Raises `UpstreamUnreachableError`, or `ClientDisconnect` when the asking side went away.
        """
        inbound = _Inbound(request.receive)
        sent = _request_headers(request, headers)
        has_body = "content-length" in sent or "transfer-encoding" in request.headers
        if not has_body:
            inbound.ended.set()
        asking = asyncio.ensure_future(
            self._client().request(
                request.method,
                URL(target_url, encoded=True),
                headers=sent,
                data=inbound.body() if has_body else None,
                allow_redirects=False,
            )
        )
        leaving = asyncio.ensure_future(inbound.left())
        try:
            async with asyncio.timeout(None) as limit:
                await self._answered(asking, leaving, inbound, limit)
            if not asking.done():
                raise ClientDisconnect
            upstream = asking.result()
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            await _cancel(asking, leaving)
            if inbound.gone:
                raise ClientDisconnect from error
            reason = str(error) or type(error).__name__
            raise UpstreamUnreachableError(f"{reason}") from error
        except BaseException:
            await _cancel(asking, leaving)
            _release(asking)
            raise
        return self._response(request, upstream, leaving, transform)

    async def websocket(
        self,
        ws: WebSocket,
        target_url: str,
        headers: HeaderList,
        *,
        on_message: OnMessage | None = None,
    ) -> None:
        """Join a WebSocket with one at `target_url` until either side closes.

        Sub-protocols, close codes and reasons go both ways. A refused handshake is refused on; a
        server that cannot be reached closes 1011. `on_message` sees what the asking side sends.
        """
        offered: list[str] = list(ws.scope.get("subprotocols") or [])
        try:
            upstream = await self._client().ws_connect(
                URL(target_url, encoded=True),
                protocols=offered,
                headers=CIMultiDict(_without(headers, HOP_BY_HOP | _WEBSOCKET_OWN)),
                max_msg_size=0,
                timeout=aiohttp.ClientWSTimeout(ws_close=3.0),
            )
        except aiohttp.WSServerHandshakeError as error:
            await _refuse(ws, error.status)
            return
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError):
            await close_at_once(ws, UNREACHABLE_CODE, UNREACHABLE_REASON)
            return
        try:
            await _join(ws, upstream, on_message)
        finally:
            await upstream.close()

    def _client(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEP_ALIVE_S),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_S),
                auto_decompress=False,
                skip_auto_headers=_AUTOMATIC,
                max_line_size=MAX_HEADER_BYTES,
                max_field_size=MAX_HEADER_BYTES,
                read_bufsize=READ_BYTES,
            )
        return self._session

    @staticmethod
    async def _answered(
        asking: "asyncio.Future[aiohttp.ClientResponse]",
        leaving: "asyncio.Future[None]",
        inbound: "_Inbound",
        limit: asyncio.Timeout,
    ) -> None:
        """Wait for the answer's headers. Their time runs from the end of the request's body."""
        sending = asyncio.ensure_future(inbound.ended.wait())
        answered: set[asyncio.Future[Any]] = {asking, leaving}
        try:
            await asyncio.wait({*answered, sending}, return_when=asyncio.FIRST_COMPLETED)
            if not asking.done() and not leaving.done():
                limit.reschedule(asyncio.get_running_loop().time() + HEADERS_TIMEOUT_S)
                await asyncio.wait(answered, return_when=asyncio.FIRST_COMPLETED)
        finally:
            sending.cancel()

    @staticmethod
    def _response(
        request: Request,
        upstream: aiohttp.ClientResponse,
        leaving: "asyncio.Future[None]",
        transform: Transform | None,
    ) -> Response:
        answer = Answer(upstream.status, _response_headers(upstream), _chunks(upstream))
        if upstream.status in _NO_BODY:
            del answer.headers["content-length"]
        going_on: Answer | Response = answer
        if transform is not None:
            try:
                going_on = transform(answer)
            except BaseException:
                upstream.close()
                leaving.cancel()
                raise
        if isinstance(going_on, Response):
            upstream.close()
            leaving.cancel()
            return going_on
        return _Streamed(going_on, upstream, leaving, bodyless=request.method == "HEAD")


class _Inbound:
    """The asking side: its body, and the moment when it goes away."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self.ended = asyncio.Event()
        self.gone = False

    async def body(self) -> AsyncIterator[bytes]:
        try:
            while True:
                message = await self._receive()
                if message["type"] == "http.disconnect":
                    self.gone = True
                    raise ClientDisconnect
                if chunk := message.get("body", b""):
                    yield chunk
                if not message.get("more_body", False):
                    return
        finally:
            self.ended.set()

    async def left(self) -> None:
        """Returns when the asking side has gone away."""
        await self.ended.wait()
        while not self.gone:
            message = await self._receive()
            self.gone = message["type"] == "http.disconnect"


class _Streamed(Response):
    """Sends the other server's answer as it comes; one that breaks off breaks ours off too."""

    def __init__(
        self,
        answer: Answer,
        upstream: aiohttp.ClientResponse,
        leaving: "asyncio.Future[None]",
        *,
        bodyless: bool,
    ) -> None:
        self.status_code = answer.status
        self.raw_headers = answer.headers.raw
        self.background = None
        self._answer = answer
        self._upstream = upstream
        self._leaving = leaving
        self._bodyless = bodyless

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        """Send it; the connection to the other server is let go whatever happens."""
        sending = asyncio.ensure_future(self._send(send))
        try:
            await asyncio.wait({sending, self._leaving}, return_when=asyncio.FIRST_COMPLETED)
            if sending.done():
                sending.result()
        finally:
            await _cancel(sending, self._leaving)
            self._upstream.close()

    async def _send(self, send: Send) -> None:
        start: Message = {
            "type": "http.response.start",
            "status": self.status_code,
            "headers": self.raw_headers,
        }
        await send(start)
        if not self._bodyless:
            async for chunk in self._answer.body:
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})
        self._upstream.release()


async def close_at_once(ws: WebSocket, code: int, reason: str) -> None:
    """Accept a WebSocket only to close it, so that the browser learns code and reason."""
    offered: list[str] = list(ws.scope.get("subprotocols") or [])
    await ws.accept(subprotocol=offered[0] if offered else None)
    await _close(ws, code, reason)


async def _join(
    ws: WebSocket, upstream: aiohttp.ClientWebSocketResponse, on_message: OnMessage | None
) -> None:
    """Pass frames both ways until one side closes; then close the other with the same words."""
    cookies = [
        (b"set-cookie", _bytes(value))
        for value in upstream._response.headers.getall("Set-Cookie", [])  # noqa: SLF001
    ]
    await ws.accept(subprotocol=upstream.protocol, headers=cookies)
    inward = asyncio.ensure_future(_inward(ws, upstream, on_message))
    outward = asyncio.ensure_future(_outward(ws, upstream))
    try:
        await asyncio.wait({inward, outward}, return_when=asyncio.FIRST_COMPLETED)
        for direction in (inward, outward):
            if direction.done():
                direction.result()
    finally:
        await _cancel(inward, outward)


async def _inward(
    ws: WebSocket, upstream: aiohttp.ClientWebSocketResponse, on_message: OnMessage | None
) -> None:
    while True:
        message = await ws.receive()
        if message["type"] == "websocket.disconnect":
            code = sendable_code(message.get("code") or 1005, lost=1001)
            reason = _reason(message.get("reason") or "")
            await upstream.close(code=code, message=reason.encode())
            return
        text, data = message.get("text"), message.get("bytes")
        content: str | bytes = text if text is not None else data or b""
        if on_message is not None:
            on_message(content)
        try:
            if isinstance(content, str):
                await upstream.send_str(content)
            else:
                await upstream.send_bytes(content)
        except (ConnectionError, aiohttp.ClientError):
            return  # the other direction tells how it ended


async def _outward(ws: WebSocket, upstream: aiohttp.ClientWebSocketResponse) -> None:
    while True:
        message = await upstream.receive()
        if message.type is aiohttp.WSMsgType.TEXT:
            await ws.send_text(message.data)
        elif message.type is aiohttp.WSMsgType.BINARY:
            await ws.send_bytes(message.data)
        elif message.type is aiohttp.WSMsgType.CLOSE:
            await _close(ws, sendable_code(message.data or 1005, lost=1011), message.extra or "")
            return
        else:
            code = sendable_code(upstream.close_code or 1006, lost=1011)
            await _close(ws, code, "upstream connection lost" if code == 1011 else "")
            return


def sendable_code(code: int, *, lost: int) -> int:
    """The close code to send on for `code`: 1000 for none given, `lost` for a broken line."""
    if code == 1005:
        return 1000
    if 1000 <= code <= 1003 or 1007 <= code <= 1014 or 3000 <= code <= 4999:
        return code
    return lost


async def _close(ws: WebSocket, code: int, reason: str) -> None:
    with contextlib.suppress(RuntimeError, OSError, WebSocketDisconnect):  # it closed by itself
        await ws.close(code, _reason(reason))


async def _refuse(ws: WebSocket, status: int) -> None:
    status = status if 400 <= status <= 599 else 502
    try:
        await ws.send_denial_response(Response(status_code=status))
    except RuntimeError:  # the server has no way to answer a handshake with a status
        await close_at_once(ws, UNREACHABLE_CODE, f"upstream answered {status}")


def _reason(reason: str) -> str:
    return reason.encode()[:MAX_REASON_BYTES].decode(errors="ignore")


def _request_headers(request: Request, headers: HeaderList) -> CIMultiDict[str]:
    sent = CIMultiDict(_without(headers, HOP_BY_HOP | {"content-length", "expect"}))
    length = request.headers.get("content-length")
    if length is not None and "transfer-encoding" not in request.headers:
        sent["Content-Length"] = length
    return sent


def _without(headers: HeaderList, names: frozenset[str]) -> HeaderList:
    return [(name, value) for name, value in headers if name.lower() not in names]


def _response_headers(upstream: aiohttp.ClientResponse) -> MutableHeaders:
    dropped = {name.encode() for name in HOP_BY_HOP}
    for value in upstream.headers.getall("Connection", []):
        dropped |= {name.strip().lower().encode() for name in value.split(",")}
    raw = [(name.lower(), value) for name, value in upstream.raw_headers]
    return MutableHeaders(raw=[(name, value) for name, value in raw if name not in dropped])


async def _chunks(upstream: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    async for chunk in upstream.content.iter_any():
        yield chunk


async def _inflated(body: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    inflate = zlib.decompressobj(zlib.MAX_WBITS | 32)
    async for chunk in body:
        rest = chunk
        while rest:
            if plain := inflate.decompress(rest, READ_BYTES * 4):
                yield plain
            rest = inflate.unconsumed_tail
    if plain := inflate.flush():
        yield plain


async def _cancel(*futures: "asyncio.Future[Any]") -> None:
    for future in futures:
        future.cancel()
    await asyncio.gather(*futures, return_exceptions=True)


def _release(asking: "asyncio.Future[aiohttp.ClientResponse]") -> None:
    if asking.done() and not asking.cancelled() and asking.exception() is None:
        asking.result().close()


def _text(value: bytes) -> str:
    try:
        return value.decode()  # what aiohttp writes is UTF-8
    except UnicodeDecodeError:
        return value.decode("latin-1")


def _bytes(value: str) -> bytes:
    return value.encode("utf-8", "surrogateescape")
