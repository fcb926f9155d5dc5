"""The daemon's ASGI app: native routes under two prefixes, `/health`, and the preview for the rest.

Knows how a request is told apart, let in, counted and answered; what the routes do is theirs.
"""

import errno
import sys
import traceback
from collections.abc import Sequence
from typing import Any, Protocol

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send
from starlette.websockets import WebSocket

from limpet.daemon.context import DaemonContext
from limpet.daemon.routes import Answer, Route, RouteError, decode_body, decode_query, read_body
from limpet.errors import InvalidInputError, LimpetError, NotEnoughSpaceError

PREFIXES = ("/_sandbox", "/_decopilot_vm")
ALLOW_METHODS = "GET, POST, PUT, DELETE"
ALLOW_HEADERS = (
    "Content-Type, Accept, Cache-Control, Authorization, Last-Event-ID, X-Limpet-Token, "
    "X-Limpet-Poll, X-Limpet-Blake3, X-Limpet-Size"
)
_encode = msgspec.json.Encoder().encode


class Preview(Protocol):
    """Where everything that is not native goes."""

    async def http(self, request: Request) -> Response: ...
    async def websocket(self, ws: WebSocket) -> None: ...


class SocketRoute(Protocol):
    """A native WebSocket: gets the part of the path after its own prefix."""

    async def __call__(self, ctx: DaemonContext, ws: WebSocket, rest: str) -> None: ...


class JsonResponse(Response):
    """Compact JSON of a Struct or of plain types."""

    media_type = "application/json"

    def render(self, content: object) -> bytes:
        return _encode(content)


def error_response(error: BaseException) -> Response:
    """`{error}` with the status that fits; what nobody expected is logged and 500."""
    if isinstance(error, RouteError):
        return JsonResponse({"error": error.message, **error.extra}, status_code=error.http_status)
    if isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}:
        error = NotEnoughSpaceError(f"no room is left: {error}")
    if isinstance(error, RecursionError):
        error = InvalidInputError("the body is nested too deeply")
    if isinstance(error, LimpetError):
        body = {"error": error.message, "code": error.code}
        if error.hint:
            body["hint"] = error.hint
        return JsonResponse(body, status_code=error.status)
    traceback.print_exception(error, file=sys.stderr)
    return JsonResponse({"error": f"{type(error).__name__}: {error}"}, status_code=500)


class RouteTable:
    """Finds the route of a method and a path (without the prefix)."""

    def __init__(self, routes: Sequence[Route]) -> None:
        self.routes = tuple(routes)
        self._fixed: dict[tuple[str, str], Route] = {}
        self._patterns: list[Route] = []
        for route in routes:
            if route.pattern is not None:
                self._patterns.append(route)
                continue
            for method in route.methods:
                if (method, route.path) in self._fixed:
                    raise ValueError(f"two routes for {method} {route.path}")
                self._fixed[method, route.path] = route

    def find(self, method: str, path: str) -> tuple[Route, dict[str, str]] | None:
        """The route and the `{name}` parts of the path."""
        fixed = self._fixed.get((method, path))
        if fixed is not None:
            return fixed, {}
        for route in self._patterns:
            if method in route.methods and route.pattern is not None:
                match = route.pattern.fullmatch(path)
                if match is not None:
                    return route, match.groupdict()
        return None


class DaemonApp:
    """The whole HTTP face of a sandbox."""

    def __init__(
        self,
        ctx: DaemonContext,
        *,
        health: Route,
        routes: Sequence[Route],
        sockets: dict[str, SocketRoute],
        preview: Preview,
    ) -> None:
        self._ctx = ctx
        self._health = health
        self._table = RouteTable(routes)
        self._sockets = sockets
        self._preview = preview

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request or socket."""
        if scope["type"] == "websocket":
            await self._websocket(WebSocket(scope, receive, send))
        elif scope["type"] == "http":
            await self._http(scope, receive, send)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive, send)
        rest = native_path(scope["path"])
        if rest is None and scope["path"] != "/health":
            response = await self._proxied(request)
            await response(scope, receive, send)
            return
        started = False

        async def send_native(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                message["headers"] = [*message.get("headers", ()), *self._cors(request)]
            await send(message)

        response = await self._native(request, rest)
        try:
            await response(scope, receive, send_native)
        except OSError:
            if not started:
                raise
            # The client went away in the middle; there is nobody left to tell.

    def _cors(self, request: Request) -> list[tuple[bytes, bytes]]:
        allowed = self._ctx.settings.allowed_origins
        if "*" in allowed:
            return [(b"access-control-allow-origin", b"*")]
        origin = request.headers.get("origin", "")
        if origin in allowed:
            return [
                (b"access-control-allow-origin", origin.encode("latin-1")),
                (b"vary", b"Origin"),
            ]
        return [(b"vary", b"Origin")]

    async def _proxied(self, request: Request) -> Response:
        if self._ctx.settings.require_token and not self._ctx.token.given_by(request.headers):
            return JsonResponse({"error": "unauthorized"}, status_code=401)
        try:
            return await self._preview.http(request)
        except ClientDisconnect:
            return Response(status_code=499)
        except Exception as error:  # noqa: BLE001 - the edge: whatever it is, the client is told
            return error_response(error)

    async def _native(self, request: Request, rest: str | None) -> Response:
        try:
            return await self._answer(request, rest)
        except ClientDisconnect:
            return Response(status_code=499)
        except Exception as error:  # noqa: BLE001 - the edge: whatever it is, the client is told
            return error_response(error)

    async def _answer(self, request: Request, rest: str | None) -> Response:
        method = request.method
        if method == "OPTIONS":
            return Response(
                status_code=204,
                headers={
                    "Access-Control-Allow-Methods": ALLOW_METHODS,
                    "Access-Control-Allow-Headers": ALLOW_HEADERS,
                    "Access-Control-Max-Age": "600",
                },
            )
        wanted = "GET" if method == "HEAD" else method
        if rest is None:
            found: tuple[Route, dict[str, str]] | None = (self._health, {})
            if wanted != "GET":
                found = None
        else:
            found = self._table.find(wanted, rest)
        is_health = found is not None and found[0] is self._health
        open_to_all = found is not None and not found[0].auth
        asks = not is_health and (not open_to_all or self._ctx.settings.require_token)
        if asks and not self._ctx.token.given_by(request.headers):
            return JsonResponse({"error": "unauthorized"}, status_code=401)
        if found is None:
            return JsonResponse({"error": f"Not found: {request.url.path}"}, status_code=404)
        route, parameters = found
        request.scope["path_params"] = parameters
        if route.counts == "work" or (route.counts == "unless polled" and not _is_poll(request)):
            self._ctx.activity.touch(f"{method} {route.path}")
        given: Any = None
        if route.input is not None:
            given = decode_body(await read_body(request), route.input)
        elif route.query is not None:
            given = decode_query(request, route.query)
        return _response(await route.handler(self._ctx, given, request))

    async def _websocket(self, ws: WebSocket) -> None:
        rest = native_path(ws.scope["path"])
        native = rest is not None
        if (native or self._ctx.settings.require_token) and not self._ctx.token.given_by(
            ws.headers
        ):
            await refuse(ws, 401, "unauthorized")
            return
        if rest is None:
            await self._preview.websocket(ws)
            return
        for path, handler in self._sockets.items():
            if rest.startswith(path):
                await handler(self._ctx, ws, rest[len(path) :])
                return
        await refuse(ws, 404, f"Not found: {ws.scope['path']}")


def native_path(path: str) -> str | None:
    """The path below the prefix, or None when it is not a native route's."""
    for prefix in PREFIXES:
        if path == prefix or path.startswith(prefix + "/"):
            return path[len(prefix) :] or "/"
    return None


async def refuse(ws: WebSocket, status: int, message: str) -> None:
    """Answer a handshake with an HTTP error."""
    await ws.send_denial_response(JsonResponse({"error": message}, status_code=status))


def _is_poll(request: Request) -> bool:
    return request.headers.get("x-limpet-poll") == "1"


def _response(answer: Answer) -> Response:
    return answer if isinstance(answer, Response) else JsonResponse(answer)
