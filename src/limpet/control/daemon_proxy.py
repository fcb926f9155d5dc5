"""The daemon's native routes for signed-in users: an allow list, the token put in, all streamed.

Not on the list: `/config` (credentials), `/snapshot/*` (only the control plane may save and
restore), and whatever a later daemon has that this version does not know.
"""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator

from fastapi import APIRouter, Request, WebSocket
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

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
    r"|list|read|write|edit|unlink|mkdir|rename|copy|glob|grep|upload|download"
    r"|bash|write_from_url|upload_to_url"
    rf"|exec/{_NAME}(/kill)?"
    rf"|tasks(/kill-all|/{_NAME}(/stream|/kill|/input|/resize)?)?"
    r"|git/(status|diff|log|branches|commit|discard|fetch|pull|push|publish|rebase)"
    r"|setup/(clone|install|start)"
    rf"|pty(/{_NAME})?"
)
SOCKETS = re.compile(rf"pty/{_NAME}")
_PASSED_ON = frozenset(
    [
        "accept",
        "content-type",
        "last-event-id",
        "x-limpet-poll",
        "if-match",
        "if-none-match",
        "range",
    ]
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
        body = answer.body
        if answer.headers.get("content-type", "").startswith("text/event-stream"):
            body = _until(sandboxes.parts.events.ended, body)
        return _Passed(kept, body, status_code=answer.status, headers=returned)

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


class _Passed(StreamingResponse):
    """A daemon's answer, passed on; its connection is let go of however this one ends."""

    def __init__(
        self,
        kept: contextlib.AsyncExitStack,
        body: AsyncIterator[bytes],
        *,
        status_code: int,
        headers: dict[str, str],
    ) -> None:
        super().__init__(body, status_code=status_code, headers=headers)
        self._kept = kept

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self._kept.aclose()


async def _until(ended: asyncio.Event, body: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """A stream that would go on for ever, until we end."""
    ending = asyncio.create_task(ended.wait())
    try:
        while True:
            chunk = asyncio.ensure_future(anext(body, None))
            try:
                await asyncio.wait({chunk, ending}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                if not chunk.done():
                    chunk.cancel()
                    await asyncio.gather(chunk, return_exceptions=True)
            if chunk.cancelled() or (data := chunk.result()) is None:
                return
            yield data
    finally:
        ending.cancel()
