"""What every request passes before its route: shutdown, host, size, identity, headers.

Plain ASGI, so that streams and WebSockets pass through untouched. Previews are served before all
of this but the shutdown gate: limpet.control.preview_hosts.
"""

import re
from http import HTTPStatus

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from limpet.control.auth import Authenticator
from limpet.control.errors import error_response
from limpet.control.preview_address import Site
from limpet.control.preview_door import OPEN_PREVIEW
from limpet.errors import InvalidInputError, LimpetError, NotFoundError, UnreachableError

OPEN_PATHS = frozenset({"/api/openapi.json"})
RESERVED_ORGS = frozenset({"system", "sign-in-links", "sign-out", "openapi.json"})
LOOPBACK_NAMES = frozenset({"127.0.0.1", "[::1]", "localhost"})
_STREAMED_BODIES = re.compile(
    r"/api/[^/]+/(?:agents/[^/]+/snapshots/import|sandboxes/[^/]+/daemon/.*)"
)
_HOST = re.compile(r"(?P<name>\[[0-9a-fA-F:.]+\]|[^:\[\]]+)(?::\d{1,5})?")

_PREVIEWS = "http://*.localhost:* http://localhost:* http://127.0.0.1:*"
DATA_POLICY = "default-src 'none'; frame-ancestors 'none'; sandbox"


def page_policy(named: Site | None = None, framed_by: str = "'none'") -> str:
    """The content security policy of our pages; `named` is where previews are beside localhost,
    `framed_by` who may show them in a frame.
    """
    previews = f"{_PREVIEWS} {named.url('*').rstrip('/')}" if named else _PREVIEWS
    return (
        "default-src 'self'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
        "img-src 'self' data: blob:; font-src 'self' data:; "
        f"connect-src 'self' {previews}; frame-src {previews} 'self'; worker-src 'self' blob:; "
        f"object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors {framed_by}"
    )


class StoppingError(UnreachableError):
    """The server saves its sandboxes and ends."""

    code = "stopping"


class MisdirectedError(LimpetError):
    """The request names a host that is not ours."""

    code = "misdirected"
    status = 421


class TooLargeError(InvalidInputError):
    """The request's body is larger than any that is sensible here."""

    code = "too_large"
    status = 413


class ShutdownGate:
    """Answers 503 once the server has begun to stop; requests that run already go on."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self.closed = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        if self.closed and scope["type"] != "lifespan":
            error = StoppingError(
                "Limpet is saving its sandboxes and stopping", hint="Try again when it is back."
            )
            answer = error_response(error, **{"Retry-After": "5", "Connection": "close"})
            await _refuse(answer, scope, receive, send)
            return
        await self._app(scope, receive, send)


class HostCheck:
    """Believes loopback names alone, so that no page's own domain can be pointed at us.

    Browsers are sent from `localhost` to `127.0.0.1`: previews live under names in `localhost`,
    and no cookie of ours shall ever go there.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope).get("host", "")
        match = _HOST.fullmatch(given)
        name = match["name"].lower() if match else ""
        if name not in LOOPBACK_NAMES:
            error = MisdirectedError(
                "This host name is not served here", hint="Use http://127.0.0.1 and the port."
            )
            await _refuse(error_response(error), scope, receive, send)
        elif name == "localhost" and _is_navigation(scope):
            target = HTTPConnection(scope).url.replace(hostname="127.0.0.1")
            await RedirectResponse(str(target), 307)(scope, receive, send)
        else:
            await self._app(scope, receive, send)


class SecurityHeaders:
    """Headers that keep pages from being framed, sniffed or injected into."""

    def __init__(self, app: ASGIApp, previews: Site | None = None) -> None:
        self._app = app
        self._page_policy = page_policy(previews)
        self._policy_in_own_frames = page_policy(previews, "'self'")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Add the headers to the answer."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path = str(scope["path"])
        is_data = path.startswith("/api/") or path in {"/mcp", "/health"}
        in_own_frames = path == OPEN_PREVIEW  # the preview's frame begins there
        policy = self._policy_in_own_frames if in_own_frames else self._page_policy

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["Content-Security-Policy"] = DATA_POLICY if is_data else policy
                headers["X-Content-Type-Options"] = "nosniff"
                headers["X-Frame-Options"] = "SAMEORIGIN" if in_own_frames else "DENY"
                headers["Referrer-Policy"] = "no-referrer"
                headers["Cross-Origin-Opener-Policy"] = "same-origin"
                headers["Cross-Origin-Resource-Policy"] = "same-origin"
                if is_data:
                    headers.setdefault("Cache-Control", "no-store")
            await send(message)

        await self._app(scope, receive, send_with_headers)


class BodyLimit:
    """Refuses bodies over the limit, but for routes that stream theirs and have their own."""

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self._app = app
        self._max_bytes = max_bytes
        self._message = f"The request's body is larger than {max_bytes} bytes"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, counting its body."""
        if scope["type"] != "http" or _STREAMED_BODIES.fullmatch(scope["path"]):
            await self._app(scope, receive, send)
            return
        declared = Headers(scope=scope).get("content-length", "0")
        if declared.isdecimal() and int(declared) > self._max_bytes:
            await self._refuse(scope, receive, send)
            return
        read, started = 0, False

        async def counted() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > self._max_bytes:
                raise HTTPException(413, self._message)  # FastAPI passes these on as they are
            return message

        async def noticed(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self._app(scope, counted, noticed)
        except HTTPException:
            if started:
                raise
            await self._refuse(scope, receive, send)

    async def _refuse(self, scope: Scope, receive: Receive, send: Send) -> None:
        error = TooLargeError(self._message)
        await error_response(error, Connection="close")(scope, receive, send)


class Authentication:
    """Everything under `/api` and `/mcp` needs an identity, and the org in the path must be its."""

    def __init__(self, app: ASGIApp, authenticator: Authenticator) -> None:
        self._app = app
        self._authenticator = authenticator

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Find out who asks, or refuse."""
        if scope["type"] not in {"http", "websocket"} or not _is_guarded(scope["path"]):
            await self._app(scope, receive, send)
            return
        try:
            identity = await self._authenticator.authenticate(HTTPConnection(scope))
            parts = str(scope["path"]).split("/")
            org = parts[2] if parts[1] == "api" and len(parts) > 2 else None
            if org is not None and org not in RESERVED_ORGS and org != identity.org_slug:
                raise NotFoundError(f"There is no org {org[:64]!r}, or you are no member of it")
        except LimpetError as error:
            await _refuse(error_response(error), scope, receive, send)
            return
        scope["limpet.identity"] = identity
        await self._app(scope, receive, send)


def _is_guarded(path: str) -> bool:
    guarded = path in {"/api", "/mcp"} or path.startswith(("/api/", "/mcp/"))
    return guarded and path not in OPEN_PATHS


def _is_navigation(scope: Scope) -> bool:
    """Whether a browser asks for a page to show."""
    if scope["type"] != "http" or scope["method"] not in {"GET", "HEAD"}:
        return False
    headers = Headers(scope=scope)
    mode = headers.get("sec-fetch-mode")
    accepts_pages = "text/html" in headers.get("accept", "")
    return accepts_pages if mode is None else mode == "navigate"


async def _refuse(answer: Response, scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "http" or "websocket.http.response" in scope.get("extensions", {}):
        await answer(scope, receive, send)
        return
    await receive()
    await send(
        {"type": "websocket.close", "code": 1008, "reason": HTTPStatus(answer.status_code).phrase}
    )
