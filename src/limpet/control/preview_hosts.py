"""Previews: every sandbox's app on a host of its own, `<handle>.<domain>`, `<handle>--<port>`.

For browsers that do not resolve such names each running sandbox also has a loopback port of its
own. Requests go on to the sandbox's daemon, which knows its dev server; the daemon's native routes
are not to be had here. A handle cannot be guessed (96 random bits are hashed into it); who else
sees a preview that is private is limpet.control.preview_door's.
"""

import asyncio
import contextlib
import re
import socket
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from functools import partial
from typing import Final

import structlog
import uvicorn
from starlette.requests import ClientDisconnect, HTTPConnection, Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from limpet.control import preview_pages, preview_tokens
from limpet.control.auth import COOKIE
from limpet.control.db import SandboxRow
from limpet.control.preview_address import Asked, PreviewAddresses
from limpet.control.preview_door import Admission, PreviewDoor, Visits
from limpet.control.sandboxes.rows import key_of
from limpet.control.sandboxes.service import SandboxService
from limpet.errors import LimpetError
from limpet.reverse_proxy import (
    HeaderList,
    ReverseProxy,
    UpstreamUnreachableError,
    close_at_once,
    end_to_end,
    request_target,
)

log = structlog.get_logger(__name__)

FOLLOW_S: Final = 1.0
MAX_SOCKET_MESSAGE_BYTES: Final = 64 * 1024 * 1024
"""As many as daemons take."""
_NATIVE = re.compile(r"/(?:_sandbox|_decopilot_vm)(?:/|$)|/health$")
_NOT_SENT = (
    "x-limpet-token", "x-limpet-port", "x-limpet-ports-at", "x-limpet-poll", "forwarded",
    "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-forwarded-port",
)  # fmt: skip
_NO_UPSTREAM: Final = 1011
_REFUSED: Final = 1008
_PRIVATE: Final = "private"


class PreviewHosts:
    """Answers for preview hosts; everything else goes on to the app."""

    def __init__(
        self, sandboxes: SandboxService, addresses: PreviewAddresses, door: PreviewDoor
    ) -> None:
        self._sandboxes = sandboxes
        self._addresses = addresses
        self._door = door
        self._visits = Visits()
        self._proxy = ReverseProxy()
        self._listeners: dict[str, tuple[uvicorn.Server, asyncio.Task[None]]] = {}

    def wrap(self, app: ASGIApp) -> ASGIApp:
        """`app`, with preview hosts taken out of its way."""

        async def by_host(scope: Scope, receive: Receive, send: Send) -> None:
            asked = None
            if scope["type"] in {"http", "websocket"}:
                asked = self._addresses.asked(HTTPConnection(scope))
            if asked is None:
                await app(scope, receive, send)
            else:
                await self._answer(asked, scope, receive, send)

        return by_host

    @contextlib.asynccontextmanager
    async def serving_unwatched(self, listener: socket.socket) -> AsyncIterator[None]:
        """Serve previews, and nothing else, to what looks at them on nobody's behalf.

        Such looks are no activity of the sandbox, and see private previews too.
        """

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] in {"http", "websocket"}:
                asked = self._addresses.asked(HTTPConnection(scope))
                if asked is None:
                    await _misdirected(scope, receive, send)
                else:
                    await self._answer(replace(asked, watched=False), scope, receive, send)

        server = _server(app)
        serving = asyncio.create_task(server.serve(sockets=[listener]), name="unwatched-previews")
        try:
            yield
        finally:
            server.should_exit = server.force_exit = True
            await asyncio.gather(serving, return_exceptions=True)

    @contextlib.asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        """While this is open, every running sandbox has a loopback port of its own."""
        following = asyncio.create_task(self._follow(), name="loopback-previews")
        try:
            yield
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
            for handle in list(self._listeners):
                await self._unlisten(handle)
            await self._proxy.close()

    # -- loopback ports ------------------------------------------------------------------------

    async def _follow(self) -> None:
        while True:
            try:
                running = await self._sandboxes.running_rows()
                for handle in running.keys() - self._listeners.keys():
                    self._listen(handle)
                    await self._tell(handle)
                for handle in self._listeners.keys() - running.keys():
                    await self._unlisten(handle)
                for row in running.values():
                    self._visits.end(row.handle, partial(self._door.counts, row=row))
            except (OSError, LimpetError) as error:
                log.warning("loopback_previews", error=str(error))
            await asyncio.sleep(FOLLOW_S)

    def _listen(self, handle: str) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] in {"http", "websocket"}:
                asked = self._addresses.asked_on_loopback(HTTPConnection(scope), handle)
                if asked is None:
                    await _misdirected(scope, receive, send)
                else:
                    await self._answer(asked, scope, receive, send)

        listener = socket.create_server(("127.0.0.1", 0))
        listener.setblocking(False)
        server = _server(app)
        serving = asyncio.create_task(server.serve(sockets=[listener]), name=f"preview-{handle}")
        self._listeners[handle] = (server, serving)
        port = listener.getsockname()[1]
        # By its name, since cookies ignore ports and ours live on 127.0.0.1.
        self._sandboxes.looking.loopback_urls[handle] = f"http://localhost:{port}/"

    async def _tell(self, handle: str) -> None:
        """Let those who look at the sandbox know of its new address."""
        row = await self._sandboxes.find_anywhere(handle)
        if row is not None:
            self._sandboxes.looking.tell(key_of(row))

    async def _unlisten(self, handle: str) -> None:
        self._sandboxes.looking.loopback_urls.pop(handle, None)
        server, serving = self._listeners.pop(handle)
        server.should_exit = server.force_exit = True
        await asyncio.gather(serving, return_exceptions=True)

    # -- one request ---------------------------------------------------------------------------

    async def _answer(self, asked: Asked, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await self._websocket(asked, WebSocket(scope, receive, send))
            return
        request = Request(scope, receive, send)
        answer = await self._http(asked, request)
        await answer(scope, receive, send)

    async def _http(self, asked: Asked, request: Request) -> ASGIApp:
        if _NATIVE.match(request.scope["path"]):
            return PlainTextResponse("Not found", 404)
        row = await self._sandboxes.find_anywhere(asked.handle)
        if row is None:
            return preview_pages.page(
                "There is no such sandbox", "It was deleted, or the address is mistyped.", 404
            )
        if not asked.watched:
            return await self._passed_on(asked, row, request)
        entered = self._door.enter(asked, row, request)
        if isinstance(entered, Response):
            return entered
        return self._visited(asked, row, request, entered)

    def _visited(
        self, asked: Asked, row: SandboxRow, request: Request, admission: Admission
    ) -> ASGIApp:
        """What the sandbox answers, for as long as it may be seen."""

        async def answered(scope: Scope, receive: Receive, send: Send) -> None:
            begun = False

            async def noticed(message: Message) -> None:
                nonlocal begun
                begun = True
                await send(message)

            async def work() -> None:
                answer = await self._passed_on(asked, row, request)
                await answer(scope, receive, noticed)

            done = await self._visits.during(asked.handle, admission, work())
            if not done and not begun:
                await preview_pages.private_in_words()(scope, receive, send)

        return answered

    async def _passed_on(self, asked: Asked, row: SandboxRow, request: Request) -> Response:
        try:
            reached = await self._sandboxes.reach_row(row)
            found = reached.provisioned
            headers = self._headers(asked, request, found.daemon_token)
            return await self._proxy.http(
                request, f"{found.daemon_url}{_target(request)}", headers=headers
            )
        except ClientDisconnect:
            return Response(status_code=499)  # nobody is left to read it
        except UpstreamUnreachableError as error:
            return preview_pages.page("The sandbox does not answer", error.message, 502, again=True)
        except LimpetError:
            return preview_pages.stopped(row)

    async def _websocket(self, asked: Asked, ws: WebSocket) -> None:
        if _NATIVE.match(ws.scope["path"]):
            await close_at_once(ws, _REFUSED, "not found")
            return
        row = await self._sandboxes.find_anywhere(asked.handle)
        if row is None or not asked.watched:
            await self._joined(asked, row, ws)
            return
        admission = self._door.admission(asked, row, ws)
        if admission is None:
            await close_at_once(ws, _REFUSED, _PRIVATE)
        elif not await self._visits.during(asked.handle, admission, self._joined(asked, row, ws)):
            with contextlib.suppress(RuntimeError, WebSocketDisconnect):  # it went by itself
                if ws.application_state is WebSocketState.CONNECTING:
                    await ws.accept()
                await ws.close(_REFUSED, _PRIVATE)

    async def _joined(self, asked: Asked, row: SandboxRow | None, ws: WebSocket) -> None:
        try:
            reached = await self._sandboxes.reach_row(row) if row else None
        except LimpetError:
            reached = None
        if reached is None:
            await close_at_once(ws, _NO_UPSTREAM, "no upstream dev server")
            return
        found = reached.provisioned
        target = f"{found.daemon_url.replace('http', 'ws', 1)}{_target(ws)}"
        headers = self._headers(asked, ws, found.daemon_token)
        await self._proxy.websocket(ws, target, headers)

    def _headers(self, asked: Asked, connection: HTTPConnection, token: str) -> HeaderList:
        """What the daemon gets: the browser's headers but for our own, how it came, the token."""
        headers = [
            (name, _OWN_TAKEN_OFF.get(name.lower(), str)(value))
            for name, value in end_to_end(connection, without=_NOT_SENT)
        ]
        headers = [(name, value) for name, value in headers if value or name.lower() != "cookie"]
        headers += [
            ("X-Forwarded-Host", asked.host),
            ("X-Forwarded-Proto", asked.scheme),
            ("X-Forwarded-For", self._addresses.forwarded_for(connection)),
            ("X-Limpet-Ports-At", asked.site.url(asked.handle, "{port}").rstrip("/")),
            ("X-Limpet-Token", token),
        ]
        if not asked.watched:
            headers.append(("X-Limpet-Poll", "1"))
        if asked.port is not None:
            headers.append(("X-Limpet-Port", str(asked.port)))
        return headers


class _Quiet(uvicorn.Server):
    """uvicorn without its own signal handlers."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals are the control plane's."""
        yield


def _server(app: ASGIApp) -> _Quiet:
    return _Quiet(
        uvicorn.Config(
            app, lifespan="off", log_config=None, access_log=False, server_header=False,
            proxy_headers=False, ws_max_size=MAX_SOCKET_MESSAGE_BYTES,
            timeout_graceful_shutdown=1,
        )
    )  # fmt: skip


async def _misdirected(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await close_at_once(WebSocket(scope, receive, send), 1008, "misdirected")
    else:
        await PlainTextResponse("This host name is not served here", 421)(scope, receive, send)


def _target(connection: HTTPConnection) -> str:
    """What is asked for; a ticket is nobody's business but ours."""
    return _without_ticket(request_target(connection))


def _cookies(header: str) -> str:
    """The cookies without ours: a loopback port shares them with the app's own page."""
    kept = [part.strip() for part in header.split(";")]
    return "; ".join(part for part in kept if not _is_ours(part.partition("=")[0].strip()))


def _is_ours(name: str) -> bool:
    return name == COOKIE or preview_tokens.is_ours(name)


def _without_ticket(url: str) -> str:
    return preview_tokens.without_ticket(url)[0]


_OWN_TAKEN_OFF: Final = {"cookie": _cookies, "referer": _without_ticket}
