"""Routes that tell how the daemon is: health, idle, events, its own description."""

import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from limpet import __version__
from limpet.daemon.context import DaemonContext
from limpet.daemon.events import TooManyClientsError
from limpet.daemon.routes import SSE, SSE_HEADERS, Route
from limpet.snapshots.media_type import MEDIA_TYPE as PACKED

TAR = "application/x-tar"


class Orchestrator(msgspec.Struct):
    """What the setup queue does now and what waits."""

    running: str | None
    pending: list[str]


class Health(msgspec.Struct, rename="camel"):
    """`ready` when the dev server answers; `configured` when there is a config."""

    ready: bool
    boot_id: str
    configured: bool
    orchestrator: Orchestrator
    phase: str
    version: str
    snapshot_formats: tuple[str, ...] = (TAR, PACKED)
    """Media types that `/snapshot/create` and `/snapshot/restore` speak."""


class Idle(msgspec.Struct, rename="camel"):
    """When something was last worked on; `activity_seq` grows by work alone."""

    last_activity_at: str
    idle_ms: int
    activity_seq: int


class Folders(msgspec.Struct):
    """Where the sandbox's processes find themselves: absolute paths."""

    repo: str
    home: str


async def health(ctx: DaemonContext, _: object, __: Request) -> Health:
    """Whether the daemon answers, and how far the setup is; never waits for anything."""
    return Health(
        ready=ctx.setup.phase == "running",
        boot_id=ctx.settings.boot_id,
        configured=ctx.config.current is not None,
        orchestrator=Orchestrator(running=ctx.setup.running, pending=list(ctx.setup.pending)),
        phase=ctx.setup.phase,
        version=__version__,
    )


async def idle(ctx: DaemonContext, _: object, __: Request) -> Idle:
    """How long nothing was worked on."""
    activity = ctx.activity
    stamp = activity.last_at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return Idle(last_activity_at=stamp, idle_ms=activity.idle_ms(), activity_seq=activity.seq)


async def folders(ctx: DaemonContext, _: object, __: Request) -> Folders:
    """The folder that commands start in, and what they have as `HOME`."""
    home = ctx.config.env.get("HOME", str(ctx.settings.home))
    return Folders(repo=str(ctx.repo), home=home)


async def events(ctx: DaemonContext, _: object, request: Request) -> Response:
    """The event stream; 429 in plain text when too many listen."""
    try:
        frames = ctx.events.subscribe(request.headers.get("last-event-id"))
    except TooManyClientsError as error:
        return Response(error.message, status_code=error.status, media_type="text/plain")
    return StreamingResponse(frames, media_type=SSE, headers=SSE_HEADERS)


class LogsQuery(msgspec.Struct):
    """One source instead of all."""

    source: str | None = None


class Logs(msgspec.Struct):
    """The last part of each source's log (at most 256 KiB)."""

    sources: list[str]
    logs: dict[str, str]


async def logs(ctx: DaemonContext, given: LogsQuery, _: Request) -> Logs:
    """What is kept of the logs: of every source, or of one."""
    kept = ctx.events.logs()
    wanted = given.source
    shown = kept if wanted is None else {wanted: kept.get(wanted, "")}
    return Logs(sources=sorted(kept), logs=shown)


def health_route() -> Route:
    """`GET /health`, outside of the prefix."""
    return Route(
        ("GET",),
        "/health",
        health,
        output=Health,
        auth=False,
        activity=False,
        summary="Whether the daemon answers, and how far the setup is",
    )


def routes(_: DaemonContext) -> list[Route]:
    """Routes of this module."""
    return [
        Route(
            ("GET",),
            "/idle",
            idle,
            output=Idle,
            auth=False,
            activity=False,
            summary="How long nothing was worked on",
        ),
        Route(
            ("GET",),
            "/folders",
            folders,
            output=Folders,
            activity=False,
            summary="Where the repository and the home folder lie",
        ),
        Route(
            ("GET",),
            "/events",
            events,
            headers=("Last-Event-ID",),
            media=(SSE,),
            statuses=(429,),
            auth=False,
            activity=False,
            summary="Everything that happens, as server-sent events",
        ),
        Route(
            ("GET",),
            "/logs",
            logs,
            output=Logs,
            query=LogsQuery,
            activity=False,
            summary="The last part of each source's log",
        ),
    ]
