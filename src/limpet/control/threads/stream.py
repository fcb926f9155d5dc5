"""The stream of a thread: what had happened after a number, then everything that happens."""

from collections.abc import AsyncGenerator
from typing import Annotated, Any, Final

from fastapi import APIRouter, Header, Path, Query, Request
from starlette.responses import StreamingResponse

from limpet.control.auth import Identity, identity_of
from limpet.control.threads.hub import Follower
from limpet.control.threads.keys import ThreadGoneError, ThreadKey
from limpet.control.threads.service import ThreadService
from limpet.control.vm_events import sse
from limpet.errors import InvalidInputError

KEEPALIVE_S: Final = 15.0
PAGE: Final = 200
_MAX_SEQ: Final = 1 << 53


def thread_events_router(threads: ThreadService) -> APIRouter:
    """`GET /api/{org}/threads/{thread_id}/events`."""
    router = APIRouter(prefix="/api/{org}")

    @router.get(
        "/threads/{thread_id}/events",
        tags=["thread"],
        summary="Everything that happens in a thread, as server-sent events",
        response_class=StreamingResponse,
        operation_id="THREAD_EVENTS",
    )
    async def thread_events(
        request: Request,
        thread_id: Annotated[str, Path(pattern=r"^[A-Za-z0-9_-]{8,64}$")],
        after: Annotated[int, Query(ge=0, le=_MAX_SEQ)] = 0,
        last_event_id: Annotated[str | None, Header(max_length=32)] = None,
    ) -> StreamingResponse:
        identity = identity_of(request)
        begin = _number(last_event_id) if last_event_id else after
        key = ThreadKey(identity.org, thread_id)
        follower = await follow_thread(threads, identity, key)
        return StreamingResponse(
            thread_stream(threads, identity, key, follower, begin),
            media_type="text/event-stream",
            headers={"Cache-Control": "no-cache, no-transform", "X-Accel-Buffering": "no"},
        )

    return router


async def follow_thread(threads: ThreadService, identity: Identity, key: ThreadKey) -> Follower:
    """Be told of the thread from now on, or `ThreadGoneError`. Close it when done."""
    follower = threads.parts.hub.follow(key)
    try:
        await threads.get(identity, key.thread)
    except BaseException:
        follower.close()
        raise
    return follower


async def thread_stream(
    threads: ThreadService,
    identity: Identity,
    key: ThreadKey,
    follower: Follower,
    after: int,
    *,
    keepalive_s: float = KEEPALIVE_S,
) -> AsyncGenerator[bytes]:
    """The stream's bytes, until `gone` or `bye`, or until the reader goes away.

    Nothing waits in memory for a slow reader: each page is read when the one before it was taken.
    """
    shown: dict[str, Any] | None = None
    caught_up = False
    try:
        while True:
            try:
                view = (await threads.get(identity, key.thread)).model_dump(mode="json")
            except ThreadGoneError:
                yield sse("gone", {})
                return
            if _without_counts(view) != shown:
                shown = _without_counts(view)
                yield sse("thread", view)
            more = True
            while more:
                events, more = await threads.parts.journal.read(key, after=after, limit=PAGE)
                for kept in events:
                    after = kept.seq
                    yield f"id: {after}\n".encode() + sse("event", kept.model_dump(mode="json"))
            if not caught_up:
                caught_up = True
                yield sse("caught_up", {"seq": after})
            if threads.parts.hub.closed:
                yield sse("bye", {})
                return
            while not await follower.news(keepalive_s):
                yield sse("keepalive", {})
    finally:
        follower.close()


def _without_counts(view: dict[str, Any]) -> dict[str, Any]:
    """The view without what each event changes: that is no news of the thread's own."""
    return {name: value for name, value in view.items() if name != "last_seq"}


def _number(last_event_id: str) -> int:
    if not last_event_id.isdecimal() or not last_event_id.isascii():
        raise InvalidInputError("Last-Event-ID: is no number of an event")
    return min(int(last_event_id), _MAX_SEQ)
