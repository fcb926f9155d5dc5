"""Previews: every sandbox's app on a host of its own, `<handle>.<domain>`, `<handle>--<port>`.

For browsers that do not resolve such names each running sandbox also has a loopback port of its
own. Requests go on to the sandbox's daemon, which knows its dev server; the daemon's native routes
are not to be had here. A handle cannot be guessed (96 random bits are hashed into it).
"""

import asyncio
import contextlib
import re
import socket
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from html import escape
from typing import Final

import structlog
import uvicorn
from starlette.requests import ClientDisconnect, HTTPConnection, Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket

from limpet.control.auth import COOKIE
from limpet.control.db import SandboxRow
from limpet.control.preview_address import Asked, PreviewAddresses
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
_NO_UPSTREAM = 1011


class PreviewHosts:
    """Answers for preview hosts; everything else goes on to the app."""

    def __init__(self, sandboxes: SandboxService, addresses: PreviewAddresses) -> None:
        self._sandboxes = sandboxes
        self._addresses = addresses
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

        Such looks are no activity of the sandbox.
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
                running = await self._sandboxes.running_handles()
                for handle in running - self._listeners.keys():
                    self._listen(handle)
                    await self._tell(handle)
                for handle in self._listeners.keys() - running:
                    await self._unlisten(handle)
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

    async def _http(self, asked: Asked, request: Request) -> Response:
        if _NATIVE.match(request.scope["path"]):
            return PlainTextResponse("Not found", 404)
        row = await self._sandboxes.find_anywhere(asked.handle)
        if row is None:
            return _page(
                "There is no such sandbox", "It was deleted, or the address is mistyped.", 404
            )
        try:
            reached = await self._sandboxes.reach_row(row)
            found = reached.provisioned
            target = f"{found.daemon_url}{request_target(request)}"
            headers = self._headers(asked, request, found.daemon_token)
            return await self._proxy.http(request, target, headers=headers)
        except ClientDisconnect:
            return Response(status_code=499)  # nobody is left to read it
        except UpstreamUnreachableError as error:
            return _page("The sandbox does not answer", error.message, 502, again=True)
        except LimpetError:
            return _stopped(row)

    async def _websocket(self, asked: Asked, ws: WebSocket) -> None:
        if _NATIVE.match(ws.scope["path"]):
            await close_at_once(ws, 1008, "not found")
            return
        row = await self._sandboxes.find_anywhere(asked.handle)
        try:
            reached = await self._sandboxes.reach_row(row) if row else None
        except LimpetError:
            reached = None
        if reached is None:
            await close_at_once(ws, _NO_UPSTREAM, "no upstream dev server")
            return
        found = reached.provisioned
        target = f"{found.daemon_url.replace('http', 'ws', 1)}{request_target(ws)}"
        headers = self._headers(asked, ws, found.daemon_token)
        await self._proxy.websocket(ws, target, headers)

    def _headers(self, asked: Asked, connection: HTTPConnection, token: str) -> HeaderList:
        """What the daemon gets: the browser's headers but for our own, how it came, the token."""
        headers = [
            (name, _cookies(value) if name.lower() == "cookie" else value)
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


def _cookies(header: str) -> str:
    """The cookies without ours: a loopback port shares them with the app's own page."""
    kept = [part.strip() for part in header.split(";")]
    return "; ".join(part for part in kept if part.partition("=")[0].strip() != COOKIE)


def _stopped(row: SandboxRow) -> Response:
    words = {
        "starting": ("Getting ready", "The sandbox is starting."),
        "stopping": ("Stopping", "The sandbox is saving its work."),
        "failed": ("Not running", "The last start did not work; its page says why."),
    }
    title, text = words.get(
        row.state, ("Not running", "Start the sandbox on its page: it comes back as it was.")
    )
    return _page(title, text, 503, again=True)


def _page(title: str, text: str, status: int, *, again: bool = False) -> Response:
    """A small page in the preview's place; with `again` it looks anew by itself."""
    refresh = '<meta http-equiv="refresh" content="2">' if again else ""
    page = (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f'<meta name="color-scheme" content="light dark">{refresh}<title>{escape(title)}</title>'
        '<body style="font:16px/1.5 system-ui,sans-serif;min-height:100vh;margin:0;display:grid;'
        'place-content:center;text-align:center;padding:1rem">'
        f'<h1 style="font-size:1.2rem;margin:0">{escape(title)}</h1>'
        f'<p style="opacity:.7;margin:.4rem 0 0">{escape(text)}</p>'
    )
    headers = {"Cache-Control": "no-store"} | ({"Retry-After": "2"} if again else {})
    return HTMLResponse(page, status, headers)
