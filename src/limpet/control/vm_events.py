"""One event stream for a sandbox's page: how its start goes, its daemon's own events, its changes.

The daemon's events are passed on verbatim, with their ids, so that a browser that reconnects goes
on where it was; when the daemon's stream breaks off it is taken up again after the last id.
"""

import asyncio
import contextlib
import json
import re
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from typing import Annotated, Any

import structlog
from fastapi import APIRouter, Header, Query, Request
from starlette.responses import StreamingResponse

from limpet.branches import check_branch
from limpet.control.auth import identity_of
from limpet.control.sandboxes.events import SandboxKey, Subscription
from limpet.control.sandboxes.rows import is_deleted
from limpet.control.sandboxes.service import SandboxService
from limpet.errors import LimpetError
from limpet.ids import AgentId

log = structlog.get_logger(__name__)

KEEPALIVE_S = 15.0
RETRY_FIRST_S = 0.25
RETRY_MOST_S = 4.0
MAX_WAITING = 1024
MAX_FRAME_BYTES = 8 * 1024 * 1024
_ID = re.compile(rb"^id: ?(.*)$", re.MULTILINE)


def vm_events_router(sandboxes: SandboxService) -> APIRouter:
    """`GET /api/{org}/vm-events?virtualMcpId=&branch=`."""
    router = APIRouter(prefix="/api/{org}")

    @router.get(
        "/vm-events",
        tags=["vm"],
        summary="Everything that happens to a sandbox, as server-sent events",
        response_class=StreamingResponse,
        operation_id="VM_EVENTS",
    )
    async def vm_events(
        request: Request,
        virtual_mcp_id: Annotated[str, Query(alias="virtualMcpId", min_length=1, max_length=64)],
        branch: Annotated[str | None, Query(max_length=200)] = None,
        last_event_id: Annotated[str | None, Header(max_length=255)] = None,
    ) -> StreamingResponse:
        named = check_branch(branch) if branch else None
        org = identity_of(request).org
        key, subscription = await sandboxes.subscribe(org, AgentId(virtual_mcp_id), named)
        return StreamingResponse(
            sandbox_stream(sandboxes, key, subscription, last_event_id),
            media_type="text/event-stream",
            headers={"Cache-Control": "no-cache, no-transform", "X-Accel-Buffering": "no"},
        )

    return router


async def sandbox_stream(
    sandboxes: SandboxService,
    key: SandboxKey,
    subscription: Subscription,
    last_event_id: str | None = None,
    *,
    keepalive_s: float = KEEPALIVE_S,
) -> AsyncGenerator[bytes]:
    """The stream's bytes, until `bye`, or until the reader goes away."""
    frames: asyncio.Queue[bytes | None] = asyncio.Queue(MAX_WAITING)
    stirred = asyncio.Event()
    await _present(sandboxes, key, frames)
    workers = [
        asyncio.create_task(_own_events(key, subscription, frames, stirred)),
        asyncio.create_task(_daemon_events(sandboxes, key, frames, stirred, last_event_id)),
    ]
    try:
        while True:
            try:
                async with asyncio.timeout(keepalive_s):
                    frame = await frames.get()
            except TimeoutError:
                yield sse("keepalive", {})
                continue
            if frame is None:
                return
            yield frame
    finally:
        subscription.close()
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)


def sse(event: str, data: Mapping[str, Any]) -> bytes:
    """One server-sent event."""
    return f"event: {event}\ndata: {json.dumps(data, separators=(',', ':'))}\n\n".encode()


async def split_frames(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Whole events out of a stream of bytes; a last one that was cut off is left out.

    Raises `LimpetError` for an event that is larger than any that a daemon sends.
    """
    waiting = b""
    async for chunk in chunks:
        waiting += chunk
        *whole, waiting = waiting.split(b"\n\n")
        for frame in whole:
            yield frame + b"\n\n"
        if len(waiting) > MAX_FRAME_BYTES:
            raise LimpetError("The sandbox sent an event that is too large")


async def _present(
    sandboxes: SandboxService, key: SandboxKey, frames: asyncio.Queue[bytes | None]
) -> None:
    """The sandbox as it is now, and that it is ready when no start of ours could say so."""
    row = await sandboxes.parts.rows.get(key)
    if row is None or is_deleted(row):
        return
    view = await sandboxes.looking.at(row)
    await frames.put(sse("sandbox", view.model_dump(mode="json")))
    if view.state == "running" and sandboxes.parts.events.last_phase(key) is None:
        await frames.put(sse("phase", {"kind": "ready"}))


async def _own_events(
    key: SandboxKey,
    subscription: Subscription,
    frames: asyncio.Queue[bytes | None],
    stirred: asyncio.Event,
) -> None:
    """Phases and changes, from the last phase on."""
    try:
        async for event in subscription:
            stirred.set()
            await frames.put(sse(event.name, event.data))
    except LimpetError as error:
        log.warning("vm_events_broke_off", branch=key.branch, error=error.message)
    finally:
        await frames.put(None)


async def _daemon_events(
    sandboxes: SandboxService,
    key: SandboxKey,
    frames: asyncio.Queue[bytes | None],
    stirred: asyncio.Event,
    last_event_id: str | None,
) -> None:
    """The daemon's own events while there is a daemon; tried again when something stirs."""
    pause_s = RETRY_FIRST_S
    while True:
        stirred.clear()
        row = await sandboxes.parts.rows.get(key)
        if row is None or row.state not in ("running", "starting"):
            await stirred.wait()
            continue
        try:
            found = await sandboxes.parts.daemons.find(row.handle)
            if found is not None:
                events = found.client.events(last_event_id=last_event_id)
                async with contextlib.aclosing(events):
                    async for frame in split_frames(events):
                        pause_s = RETRY_FIRST_S
                        if ids := _ID.findall(frame):
                            last_event_id = ids[-1].decode("ascii", "ignore").strip()
                        await frames.put(frame)
            elif row.state == "running":
                await sandboxes.looking.notice_gone(row)
        except LimpetError as error:
            log.debug("daemon_events_broke_off", branch=key.branch, error=error.message)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(pause_s):
                await stirred.wait()
        pause_s = min(pause_s * 2, RETRY_MOST_S)
