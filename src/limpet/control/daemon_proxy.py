"""The daemon's native routes for signed-in users: an allow list, the token put in, all streamed.

Not on the list: `/config` (credentials), `/snapshot/*` (only the control plane may save and
restore), and whatever a later daemon has that this version does not know.
"""

import contextlib
import re
from collections.abc import AsyncIterator

from fastapi import APIRouter, Request, WebSocket
from starlette.background import BackgroundTask
from starlette.responses import Response, StreamingResponse

from limpet.control.auth import identity_of
from limpet.control.sandboxes.service import SandboxService
from limpet.errors import LimpetError, NotFoundError
from limpet.ids import Handle
from limpet.reverse_proxy import ReverseProxy

PREFIX = "/_sandbox"
METHODS = ["GET", "POST", "PUT", "DELETE"]
_NAME = r"[A-Za-z0-9._:@+~-]{1,200}"
ALLOWED = re.compile(
    r"idle|events|scripts|openapi\.json|logs"
    r"|read|write|edit|unlink|mkdir|rename|glob|grep|bash|write_from_url|upload_to_url"
    rf"|exec/{_NAME}(/kill)?"
    rf"|tasks(/kill-all|/{_NAME}(/stream|/kill|/input|/resize)?)?"
    r"|git/(status|diff|log|branches|commit|discard|publish|rebase)"
    r"|setup/(clone|install|start)"
    rf"|pty(/{_NAME})?"
)
SOCKETS = re.compile(rf"pty/{_NAME}")
_PASSED_ON = frozenset(
    ["accept", "content-type", "last-event-id", "x-limpet-poll", "if-none-match", "range"]
)
_NOT_RETURNED = frozenset(
    ["connection", "keep-alive", "transfer-encoding", "te", "trailer", "upgrade", "set-cookie",
     "proxy-authenticate", "content-length", "date", "server"]
)  # fmt: skip


def allowed_route(route: str) -> str:
    """The daemon's path for `route`, or `NotFoundError` when it is not for callers of ours."""
    if not ALLOWED.fullmatch(route) or any(part in ("", ".", "..") for part in route.split("/")):
        raise NotFoundError(f"There is no route {route[:80]!r} for callers from outside")
    return f"{PREFIX}/{route}"


def daemon_proxy_router(sandboxes: SandboxService) -> APIRouter:
    """`ANY /api/{org}/sandboxes/{handle}/daemon/{route}`, and the WebSockets among them."""
    router = APIRouter(prefix="/api/{org}/sandboxes/{handle}/daemon", include_in_schema=False)

    @router.api_route("/{route:path}", methods=METHODS)
    async def call(request: Request, handle: str, route: str) -> Response:
        path = allowed_route(route)
        reached = await sandboxes.reach(identity_of(request).org, Handle(handle))
        query = request.url.query
        headers = {n: v for n, v in request.headers.items() if n.lower() in _PASSED_ON}
        has_body = request.method != "GET"
        async with contextlib.AsyncExitStack() as stack:
            answer = await stack.enter_async_context(
                reached.client.request(
                    request.method,
                    f"{path}?{query}" if query else path,
                    headers=headers,
                    body=_body(request) if has_body else None,
                )
            )
            kept = stack.pop_all()
        returned = {
            name: value
            for name, value in answer.headers.items()
            if name.lower() not in _NOT_RETURNED and not name.lower().startswith("access-control-")
        }
        return StreamingResponse(
            _chunks(answer.body),
            status_code=answer.status,
            headers=returned,
            background=BackgroundTask(kept.aclose),
        )

    @router.websocket("/{route:path}")
    async def socket(websocket: WebSocket, handle: str, route: str) -> None:
        try:
            path = allowed_route(route)
            if not SOCKETS.fullmatch(route):
                raise NotFoundError(f"{route[:80]!r} is no WebSocket")
            reached = await sandboxes.reach(identity_of(websocket).org, Handle(handle))
        except LimpetError as error:
            await websocket.close(1008, error.message[:100])
            return
        query = websocket.url.query
        target = f"{reached.provisioned.daemon_url}{path}" + (f"?{query}" if query else "")
        token = reached.provisioned.daemon_token
        async with contextlib.AsyncExitStack() as stack:
            proxy = ReverseProxy()
            stack.push_async_callback(proxy.close)
            await proxy.websocket(
                websocket,
                target.replace("http://", "ws://", 1),
                [("Authorization", f"Bearer {token}")],
            )

    return router


async def _body(request: Request) -> AsyncIterator[bytes]:
    async for chunk in request.stream():
        if chunk:
            yield chunk


async def _chunks(body: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The answer's body; a daemon that breaks off breaks our answer off too."""
    async for chunk in body:
        yield chunk
