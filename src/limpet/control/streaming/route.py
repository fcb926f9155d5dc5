"""`/api/{org}/events`: the socket, how many there are, and their end."""

from typing import Final

from fastapi import APIRouter, Request
from pydantic import BaseModel
from starlette.websockets import WebSocket

from limpet.branches import check_branch
from limpet.control.auth import Authenticator, Identity, identity_of
from limpet.control.sandboxes.service import SandboxService
from limpet.control.streaming.connection import EventConnection, Limits, Source
from limpet.control.streaming.messages import Follow, FollowSandbox
from limpet.control.threads.keys import ThreadKey
from limpet.control.threads.service import ThreadService
from limpet.control.threads.stream import follow_thread, thread_stream
from limpet.control.vm_events import sandbox_stream
from limpet.errors import UnauthorizedError
from limpet.ids import AgentId

MAX_CONNECTIONS: Final = 64
TOO_MANY: Final = 1013


class EventFigures(BaseModel):
    """The asker's own event connections to this server, and what runs over them."""

    connections: int
    subscriptions: int
    max_connections: int
    max_subscriptions: int


class EventConnections:
    """All event connections of one control plane."""

    def __init__(
        self,
        sandboxes: SandboxService,
        threads: ThreadService,
        authenticator: Authenticator,
        limits: Limits | None = None,
    ) -> None:
        self._sandboxes = sandboxes
        self._threads = threads
        self._authenticator = authenticator
        self.limits = limits or Limits()
        self._open: dict[EventConnection, Identity] = {}
        self._closed = False

    def close(self) -> None:
        """Tell everyone `bye`; nobody is let in any more."""
        self._closed = True
        for connection in self._open:
            connection.stop()

    def router(self) -> APIRouter:
        """`GET /api/{org}/events`, as a WebSocket and as a plain question."""
        router = APIRouter(prefix="/api/{org}")

        @router.get(
            "/events",
            tags=["events"],
            summary="How many event connections you have, and how many you may have",
            operation_id="EVENT_CONNECTIONS",
        )
        async def figures(request: Request) -> EventFigures:
            return self._figures(identity_of(request))

        @router.websocket("/events")
        async def events(websocket: WebSocket) -> None:
            await self._serve(websocket)

        return router

    async def _serve(self, websocket: WebSocket) -> None:
        identity = identity_of(websocket)
        await websocket.accept()
        if self._figures(identity).connections >= MAX_CONNECTIONS or self._closed:
            await websocket.close(TOO_MANY, "There are too many event connections")
            return

        async def opened(asked: Follow) -> Source:
            return await self._opened(identity, asked)

        async def still_welcome() -> None:
            now = await self._authenticator.authenticate(websocket)
            if now.org != identity.org:
                raise UnauthorizedError("You are no member of this org any more")

        connection = EventConnection(websocket, opened, still_welcome, self.limits)
        self._open[connection] = identity
        try:
            await connection.run()
        finally:
            del self._open[connection]

    def _figures(self, identity: Identity) -> EventFigures:
        own = [
            connection
            for connection, other in self._open.items()
            if (other.org, other.user) == (identity.org, identity.user)
        ]
        return EventFigures(
            connections=len(own),
            subscriptions=sum(connection.subscriptions for connection in own),
            max_connections=MAX_CONNECTIONS,
            max_subscriptions=self.limits.subscriptions,
        )

    async def _opened(self, identity: Identity, asked: Follow) -> Source:
        if isinstance(asked, FollowSandbox):
            branch = check_branch(asked.branch) if asked.branch else None
            key, subscription = await self._sandboxes.subscribe(
                identity.org, AgentId(asked.virtual_mcp_id), branch
            )
            frames = sandbox_stream(self._sandboxes, key, subscription, asked.last_event_id)
            return Source(frames, subscription.close)
        thread = ThreadKey(identity.org, asked.thread_id)
        follower = await follow_thread(self._threads, identity, thread)
        frames = thread_stream(self._threads, identity, thread, follower, asked.after)
        return Source(frames, follower.close)
