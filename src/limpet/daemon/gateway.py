"""The reverse stream: a port inside the sandbox whose HTTP requests the control plane answers.

While the control plane holds the WebSocket `/gateway` open, the daemon listens on a loopback port
of the sandbox and hands each request through that socket, many at once, and their answers back as
they come. What may be asked, with which token, is the control plane's to say: nothing is known of
it here. Frames of bytes are a request's number (4 bytes, big-endian) and a piece of a body; frames
of text are JSON messages, told in docs/protocol.md. Each body is held to a window of bytes that the
other side has not yet said to have taken. Closing the socket closes the port.
"""

import asyncio
import contextlib
import re
import socket
from collections import deque
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from limpet.daemon.app import JsonResponse, refuse
from limpet.daemon.context import DaemonContext
from limpet.daemon.server import Server

WINDOW_BYTES: Final = 256 * 1024
PIECE_BYTES: Final = 64 * 1024
MAX_BODY_BYTES: Final = 32 * 1024 * 1024
MAX_HEAD_BYTES: Final = 128 * 1024
MAX_UNFINISHED_BYTES: Final = 512 * 1024
"""Of a head that does not end; more than what is read at once."""
MAX_MESSAGE_BYTES: Final = 512 * 1024
MAX_REQUESTS: Final = 64
MAX_CONNECTIONS: Final = 256
MAX_AT_ONCE: Final = 16
_ID_BYTES: Final = 4
_MAX_NUMBER: Final = (1 << 8 * _ID_BYTES) - 1
_GONE: Final = "The model cannot be reached any more: the run is over, or its connection broke."
_BAD_MESSAGE: Final = 1008
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,200}")
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_OURS: Final = frozenset(
    {"connection", "content-length", "keep-alive", "transfer-encoding", "upgrade"}
)
_open: set["ReverseStream"] = set()


class Close(msgspec.Struct, tag="close"):
    """Let go of the port, and close the socket when that is done."""


class Begin(msgspec.Struct, tag="answer"):
    """An answer begins; `headers` are pairs."""

    id: int
    status: int
    headers: list[tuple[str, str]] = []


class End(msgspec.Struct, tag="end"):
    """An answer is whole."""

    id: int


class Broken(msgspec.Struct, tag="broken"):
    """An answer will not be whole."""

    id: int


class Taken(msgspec.Struct, tag="taken"):
    """So many bytes of a request's body were taken in."""

    id: int
    bytes: int


_Told = Close | Begin | End | Broken | Taken
_decode = msgspec.json.Decoder(_Told).decode


class BadFrameError(Exception):
    """The control plane sent what does not belong here."""


async def serve(ctx: DaemonContext, ws: WebSocket, rest: str) -> None:  # noqa: ARG001
    """Listen for as long as this socket is open."""
    if rest:
        await refuse(ws, 404, f"Not found: {ws.scope['path']}")
        return
    if "origin" in ws.headers:
        await refuse(ws, 403, "a gateway is not opened by browsers")
        return
    if len(_open) >= MAX_AT_ONCE:
        await refuse(ws, 429, f"{MAX_AT_ONCE} gateways are open already")
        return
    await ws.accept()
    stream = ReverseStream(ws)
    _open.add(stream)
    try:
        await stream.run()
    except BadFrameError as error:
        with contextlib.suppress(WebSocketDisconnect, OSError, RuntimeError):
            await ws.send_json({"type": "error", "error": str(error)})
            await ws.close(_BAD_MESSAGE)
    except (WebSocketDisconnect, OSError, RuntimeError):
        return  # the control plane is gone, and the port with it
    finally:
        _open.discard(stream)


@dataclass(frozen=True, slots=True)
class _Refusal:
    """What is said instead of an answer, or breaks off one that has begun."""

    status: int
    words: str


class _Exchange:
    """One request from inside and what has come of its answer."""

    def __init__(self) -> None:
        self.credit = WINDOW_BYTES
        self.coming: deque[Begin | bytes | End | _Refusal] = deque()
        self.held = 0
        self.begun = False
        self.over = False
        self.news = asyncio.Event()

    def tell(self, what: Begin | bytes | End | _Refusal) -> None:
        self.coming.append(what)
        self.news.set()

    async def changed(self) -> None:
        self.news.clear()
        await self.news.wait()


class ReverseStream:
    """One WebSocket of the control plane's and its port. Also the ASGI app behind that port."""

    def __init__(self, ws: WebSocket) -> None:
        self._ws = ws
        self._exchanges: dict[int, _Exchange] = {}
        self._number = 0
        self._broken = False

    async def run(self) -> None:
        """Serve until the socket closes. Raises `BadFrameError`."""
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen(128)
            listener.setblocking(False)
            port = listener.getsockname()[1]
            server = Server(self, http=_Bounded, websockets=False)
            serving = asyncio.create_task(server.run_on(listener))
            listening = asyncio.create_task(self._listen())
            try:
                await self._ws.send_json({"type": "listening", "port": port})
                await asyncio.wait({serving, listening}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                self._broken = True
                listening.cancel()
                server.stop()
                for exchange in self._exchanges.values():
                    exchange.tell(_Refusal(502, _GONE))
                results = await asyncio.gather(listening, serving, return_exceptions=True)
        for result in results:
            if isinstance(result, Exception):
                raise result
        await self._ws.close(1000)

    # -- from the control plane ----------------------------------------------------------------

    async def _listen(self) -> None:
        while True:
            message = await self._ws.receive()
            if message["type"] == "websocket.disconnect":
                return
            if (data := message.get("bytes")) is not None:
                self._take_in(data)
            elif isinstance(told := self._message(message.get("text") or ""), Close):
                return
            else:
                self._hear(told)

    def _take_in(self, data: bytes) -> None:
        if len(data) < _ID_BYTES:
            raise BadFrameError("a frame without its number")
        exchange = self._exchanges.get(int.from_bytes(data[:_ID_BYTES], "big"))
        if exchange is None or exchange.over:
            return  # whoever asked has gone meanwhile
        if not exchange.begun:
            raise BadFrameError("a body before its answer")
        exchange.held += len(data) - _ID_BYTES
        if exchange.held > WINDOW_BYTES:
            raise BadFrameError("more of an answer than the window holds")
        exchange.tell(data[_ID_BYTES:])

    def _message(self, text: str) -> _Told:
        if len(text) > MAX_MESSAGE_BYTES:
            raise BadFrameError(f"a message has at most {MAX_MESSAGE_BYTES} bytes")
        try:
            told: _Told = _decode(text)
        except (msgspec.DecodeError, RecursionError) as error:
            raise BadFrameError(f"not a message that is known: {error}") from None
        return told

    def _hear(self, told: Begin | End | Broken | Taken) -> None:
        exchange = self._exchanges.get(told.id)
        if exchange is None or exchange.over:
            return
        match told:
            case Taken(bytes=count):
                if not 0 <= count <= WINDOW_BYTES - exchange.credit:
                    raise BadFrameError("taken: more than was sent")
                exchange.credit += count
                exchange.news.set()
            case Begin():
                if exchange.begun:
                    raise BadFrameError("an answer begins once")
                _check(told)
                exchange.begun = True
                exchange.tell(told)
            case End():
                if not exchange.begun:
                    raise BadFrameError("the end of an answer that did not begin")
                exchange.over = True
                exchange.tell(told)
            case Broken():
                exchange.over = True
                exchange.tell(_Refusal(502, "The answer broke off."))

    # -- from inside ---------------------------------------------------------------------------

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request of the sandbox's."""
        if scope["type"] != "http":
            return
        if self._broken or len(self._exchanges) >= MAX_REQUESTS:
            words = _GONE if self._broken else f"{MAX_REQUESTS} requests are open already."
            await _error(503, words)(scope, receive, send)
            return
        if _head_bytes(scope) > MAX_HEAD_BYTES:
            await _error(431, "Too many headers.")(scope, receive, send)
            return
        self._number = self._number % _MAX_NUMBER + 1
        number, exchange = self._number, _Exchange()
        self._exchanges[number] = exchange
        try:
            await self._tell(_request(number, scope))
            asking = asyncio.create_task(self._ask(number, exchange, receive))
            answering = asyncio.create_task(self._answer(number, exchange, scope, receive, send))
            try:
                await asyncio.wait({asking, answering}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                asking.cancel()
                answering.cancel()
                await asyncio.gather(asking, answering, return_exceptions=True)
        finally:
            del self._exchanges[number]
            if not exchange.over:
                await self._tell({"type": "gone", "id": number})

    async def _ask(self, number: int, exchange: _Exchange, receive: Receive) -> None:
        """Send the request's body; returns when whoever asked has gone."""
        size = 0
        ended = False
        while (message := await receive())["type"] == "http.request":
            body = message.get("body", b"")
            size += len(body)
            if size > MAX_BODY_BYTES:
                exchange.tell(_Refusal(413, f"A request has at most {MAX_BODY_BYTES} bytes."))
                await asyncio.Event().wait()
            for at in range(0, len(body), PIECE_BYTES):
                piece = body[at : at + PIECE_BYTES]
                while exchange.credit < len(piece):
                    await exchange.changed()
                exchange.credit -= len(piece)
                await self._tell(number.to_bytes(_ID_BYTES, "big") + piece)
            if not message.get("more_body") and not ended:
                ended = True
                await self._tell({"type": "end", "id": number})

    async def _answer(
        self, number: int, exchange: _Exchange, scope: Scope, receive: Receive, send: Send
    ) -> None:
        """Hand the answer on as it comes."""
        started = False
        while True:
            while not exchange.coming:
                await exchange.changed()
            match exchange.coming.popleft():
                case Begin(status=status, headers=headers):
                    started = True
                    kept = [(n, v) for n, v in headers if n.lower() not in _OURS]
                    await send(
                        {
                            "type": "http.response.start",
                            "status": status,
                            "headers": [(n.lower().encode(), v.encode("latin-1")) for n, v in kept],
                        }
                    )
                case bytes(piece):
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
                    exchange.held -= len(piece)
                    await self._tell({"type": "taken", "id": number, "bytes": len(piece)})
                case End():
                    await send({"type": "http.response.body", "body": b""})
                    return
                case _Refusal(status=status, words=words):
                    if not started:
                        await _error(status, words)(scope, receive, send)
                    return  # of one that has begun the connection is cut

    async def _tell(self, message: bytes | dict[str, Any]) -> None:
        """Tell the control plane, if it is there."""
        with contextlib.suppress(WebSocketDisconnect, OSError, RuntimeError):
            if isinstance(message, bytes):
                await self._ws.send_bytes(message)
            else:
                await self._ws.send_text(msgspec.json.encode(message).decode())


class _Bounded(HttpToolsProtocol):
    """One connection from inside; one too many, or whose headers do not end, is cut."""

    _head_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > MAX_CONNECTIONS:
            transport.abort()

    def on_headers_complete(self) -> None:
        self._head_bytes = -1
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._head_bytes = 0
        super().on_message_complete()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._head_bytes >= 0:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_UNFINISHED_BYTES:
                self.transport.abort()


def _head_bytes(scope: Scope) -> int:
    headers = sum(len(name) + len(value) for name, value in scope["headers"])
    return headers + len(scope["raw_path"]) + len(scope["query_string"])


def _request(number: int, scope: Scope) -> dict[str, Any]:
    query: bytes = scope["query_string"]
    path = scope["raw_path"] + (b"?" + query if query else b"")
    return {
        "type": "request",
        "id": number,
        "method": scope["method"],
        "path": path.decode("latin-1"),
        "headers": [(n.decode("latin-1"), v.decode("latin-1")) for n, v in scope["headers"]],
    }


def _error(status: int, words: str) -> JsonResponse:
    """Words in a shape that clients of either kind of provider understand."""
    return JsonResponse(
        {"type": "error", "error": {"type": "api_error", "message": words}}, status_code=status
    )


def _check(told: Begin) -> None:
    if not 200 <= told.status <= 599:
        raise BadFrameError(f"{told.status} is no status of an answer")
    for name, value in told.headers:
        if not _NAME.fullmatch(name) or not _VALUE.fullmatch(value):
            raise BadFrameError("a header that cannot be sent")
