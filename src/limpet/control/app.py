"""The control plane put together: its parts opened in order, its ASGI app, its end.

`Limpet.open` holds the data folder, brings the database up to date and adopts the sandboxes that
survived; leaving the block ends all that it started. Sandboxes that shall be saved at the end are
saved by `save_all`, which the server calls while it still answers what runs.
"""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass

import structlog
from fastapi import FastAPI
from starlette.routing import Route
from starlette.types import ASGIApp

from limpet import __version__
from limpet.control.agents import Agents
from limpet.control.assets import WebApp
from limpet.control.auth import Authenticator
from limpet.control.daemon_proxy import daemon_proxy_router
from limpet.control.data_folder import held
from limpet.control.db import Database
from limpet.control.db.migrate import migrate
from limpet.control.db.runner_state import SealedRunnerState
from limpet.control.errors import CrashesAnswered, ErrorBody, install_error_handlers
from limpet.control.mcp_mount import McpMount
from limpet.control.mcp_servers import McpServers
from limpet.control.middleware import (
    Authentication,
    BodyLimit,
    HostCheck,
    SecurityHeaders,
    ShutdownGate,
)
from limpet.control.open_preview import open_preview_router
from limpet.control.operations.catalog import OPERATIONS
from limpet.control.operations.rest import rest_router
from limpet.control.operations.services import Services
from limpet.control.orgs import ensure_embedded_org
from limpet.control.pictures.finding import choose_browser
from limpet.control.pictures.routes import thumbnail_router
from limpet.control.pictures.taking import Pictures
from limpet.control.pictures.thumbnails import Thumbnails
from limpet.control.preview_door import PreviewDoor
from limpet.control.preview_hosts import PreviewHosts
from limpet.control.preview_sharing import PreviewSharing
from limpet.control.preview_tokens import PURPOSE, PreviewTokens
from limpet.control.pruner import Pruner
from limpet.control.runner_choice import open_runner
from limpet.control.sandboxes.service import SandboxService
from limpet.control.saver import Saver, SaverRules
from limpet.control.secrets import SecretBox
from limpet.control.settings import Settings, SettingsError
from limpet.control.streaming.route import EventConnections
from limpet.control.system import system_router
from limpet.control.templates import TemplateCatalog
from limpet.control.threads.caps import CapsBook
from limpet.control.threads.claims import Claims
from limpet.control.threads.harnesses import HARNESSES, Harnesses
from limpet.control.threads.hub import ThreadHub
from limpet.control.threads.journal import Journal
from limpet.control.threads.npm_programs import NpmPrograms
from limpet.control.threads.parts import ThreadParts
from limpet.control.threads.providers import Providers
from limpet.control.threads.service import ThreadService
from limpet.control.threads.stream import thread_events_router
from limpet.control.transfers import transfers_router
from limpet.control.usage import OrgUsage
from limpet.control.vm_events import vm_events_router
from limpet.errors import LimpetError
from limpet.runners.host import TOOLS
from limpet.snapshots.repository import SnapshotRepository
from limpet.stores.base import SandboxStore
from limpet.stores.degradable import DEGRADED_HINT, DEGRADED_MEANS, DegradableStore
from limpet.stores.pack_cache import CachedStore, PackCache
from limpet.stores.settings import open_store

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Limpet:
    """One open control plane. `app` answers from the moment it is given out."""

    app: ASGIApp
    services: Services
    event_connections: EventConnections
    _gate: ShutdownGate
    _saver: Saver
    _saving: asyncio.Task[None]

    @classmethod
    @contextlib.asynccontextmanager
    async def open(
        cls, settings: Settings, *, harnesses: Harnesses = HARNESSES
    ) -> AsyncIterator["Limpet"]:
        """The control plane of `settings`, whose `port` is the one that it is reached at.

        `harnesses` are those that runs may have.

        Raises what keeps it from starting: `DataFolderError`, `DataFolderBusyError`,
        `SettingsError`, `DatabaseTooNewError`, `DatabaseDamagedError`, `DatabaseUnusableError`.
        """
        async with contextlib.AsyncExitStack() as stack:
            stack.enter_context(held(settings.data_dir, local_only=settings.uses_sqlite))
            box = SecretBox.open_for(settings)
            database = Database(settings.effective_database_url)
            stack.push_async_callback(database.close)
            await migrate(database)
            await ensure_embedded_org(database, box)
            services, saver, previews = await _open_services(
                stack, settings, database, box, harnesses
            )
            await stack.enter_async_context(previews.listening())
            stack.push_async_callback(services.thumbnails.close)
            mcp = McpMount(services)
            await stack.enter_async_context(mcp.running())
            connections = EventConnections(
                services.sandboxes, services.threads, services.authenticator
            )
            app = _routes(services, mcp, connections)
            gate = ShutdownGate(previews.wrap(_guarded(app, services)))
            pruning = asyncio.create_task(services.pruner.run(), name="pruner")
            stack.push_async_callback(_cancelled, pruning)
            saving = asyncio.create_task(saver.run(), name="saver")
            stack.push_async_callback(_end, saver, saving)
            await stack.enter_async_context(services.threads.working())
            yield cls(gate, services, connections, gate, saver, saving)

    async def save_all(self) -> None:
        """Refuse new work, end every stream with `bye`, and save every sandbox."""
        self._gate.closed = True
        self.event_connections.close()
        await self.services.threads.close()
        await self.services.thumbnails.close()
        await _end(self._saver, self._saving)
        await self.services.sandboxes.save_all_and_close()


async def _open_services(
    stack: contextlib.AsyncExitStack,
    settings: Settings,
    database: Database,
    box: SecretBox,
    harnesses: Harnesses,
) -> tuple[Services, Saver, PreviewHosts]:
    store = _opened_store(settings)
    learning = asyncio.create_task(_learn(store), name="store-conditions")
    stack.push_async_callback(_cancelled, learning)
    runner = await open_runner(
        settings,
        settings.data_dir,
        SealedRunnerState(database, box, settings.runner),
        (f"http://127.0.0.1:{settings.port}",),
    )
    stack.push_async_callback(runner.close)
    if settings.team and runner.isolation.kind == "none":
        raise SettingsError(
            f"LIMPET_TEAM: sandboxes are not kept apart here: {runner.isolation.reason}",
            hint="`limpet doctor` says what is missing. Without it, serve one user alone.",
        )
    templates = TemplateCatalog(settings.templates_dir)
    usage = OrgUsage(store, settings.org_quota_bytes)
    sandboxes = SandboxService(
        database,
        runner,
        SnapshotRepository(_cached(store, settings), settings.data_dir / "cache"),
        settings,
        templates,
        box,
        usage,
    )
    stack.push_async_callback(sandboxes.close)
    await runner.sweep()
    await sandboxes.adopt_at_boot()
    tokens = PreviewTokens(box.signer(PURPOSE))
    door = PreviewDoor(tokens, settings.preview_access, settings.port)
    previews = PreviewHosts(sandboxes, settings.previews, door)
    pictures = await stack.enter_async_context(
        Pictures.opened(
            choose_browser(settings.browser),
            previews.serving_unwatched,
            settings.previews.local,
            denied=settings.networks.denied,
        )
    )
    thumbnails = Thumbnails(store, sandboxes, pictures)
    threads = _threads(database, box, sandboxes, settings, harnesses, pictures)
    services = Services(
        settings=settings,
        database=database,
        authenticator=Authenticator(database),
        agents=Agents(database, box, templates),
        env_secrets=sandboxes.parts.env_secrets,
        mcp_servers=threads.parts.servers,
        templates=templates,
        store=store,
        runner=runner,
        sandboxes=sandboxes,
        previews=PreviewSharing(sandboxes, tokens, settings),
        pruner=Pruner(
            database,
            store,
            settings,
            sandboxes.parts.leases.owner,
            lambda: sandboxes.parts.template_builds.in_use(templates.list()),
        ),
        usage=usage,
        threads=threads,
        thumbnails=thumbnails,
    )
    rules = SaverRules(idle_s=settings.idle_s, max_unsaved_s=settings.max_unsaved_s)
    return services, Saver(sandboxes, rules, poll_s=settings.poll_s), previews


def _threads(
    database: Database,
    box: SecretBox,
    sandboxes: SandboxService,
    settings: Settings,
    harnesses: Harnesses,
    pictures: Pictures,
) -> ThreadService:
    hub = ThreadHub(database)
    owner = sandboxes.parts.leases.owner
    return ThreadService(
        ThreadParts(
            database=database,
            sandboxes=sandboxes,
            providers=Providers(database, box),
            servers=McpServers(database, box),
            caps=CapsBook(database),
            harnesses=harnesses,
            hub=hub,
            journal=Journal(database, hub.wake),
            claims=Claims(database, owner, exclusive=settings.uses_sqlite),
            programs=NpmPrograms(
                settings.data_dir / TOOLS,
                given={"claude-code": str(settings.claude_code)} if settings.claude_code else {},
            ),
            pictures=pictures,
        )
    )


def _opened_store(settings: Settings) -> DegradableStore:
    store = open_store(os.environ, settings.data_dir)

    def say() -> None:
        log.warning("store_degraded", store=store.where, means=DEGRADED_MEANS, hint=DEGRADED_HINT)

    return DegradableStore(store, say)


def _cached(store: DegradableStore, settings: Settings) -> SandboxStore:
    """A bucket's packs are kept at hand; the local folder's are."""
    if store.kind == "local" or not settings.pack_cache_bytes:
        return store
    return CachedStore(store, PackCache(settings.data_dir / "packs", settings.pack_cache_bytes))


async def _learn(store: DegradableStore) -> None:
    """Ask at start, for the log. A store that is away then is asked by the first save."""
    try:
        await store.learn()
    except LimpetError as error:
        log.warning("store_unreachable", store=store.where, why=error.message, hint=error.hint)


def _routes(services: Services, mcp: McpMount, connections: EventConnections) -> FastAPI:
    app = FastAPI(
        title="Limpet",
        version=__version__,
        description="Sandboxes for coding agents that are saved whole and come home.",
        openapi_url="/api/openapi.json",
        docs_url=None,
        redoc_url=None,
        responses={
            "4XX": {"model": ErrorBody, "description": "Refused"},
            "5XX": {"model": ErrorBody, "description": "Failed"},
        },
    )
    install_error_handlers(app)
    app.include_router(system_router(services))
    app.include_router(open_preview_router(services))
    app.include_router(rest_router(OPERATIONS, services))
    app.include_router(daemon_proxy_router(services.sandboxes))
    app.include_router(vm_events_router(services.sandboxes))
    app.include_router(thread_events_router(services.threads))
    app.include_router(connections.router())
    app.include_router(transfers_router(services.sandboxes))
    app.include_router(thumbnail_router(services))
    app.router.routes.append(Route("/mcp", mcp, methods=["GET", "POST", "DELETE"]))
    app.router.routes.append(Route("/{path:path}", WebApp().answer, methods=["GET"]))
    _without_422(app)
    return app


def _guarded(app: FastAPI, services: Services) -> ASGIApp:
    inner: ASGIApp = Authentication(CrashesAnswered(app), services.authenticator)
    inner = BodyLimit(inner, services.settings.max_request_bytes)
    return SecurityHeaders(HostCheck(inner), services.settings.previews.named)


def _without_422(app: FastAPI) -> None:
    """Take out FastAPI's own validation answer: ours is 400, in the one shape of all errors."""
    made = app.openapi

    def openapi() -> dict[str, object]:
        schema = made()
        for methods in schema["paths"].values():
            for route in methods.values():
                route["responses"].pop("422", None)
        for name in ("HTTPValidationError", "ValidationError"):
            schema.get("components", {}).get("schemas", {}).pop(name, None)
        return schema

    app.openapi = openapi  # type: ignore[method-assign]


async def _cancelled(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def _end(saver: Saver, saving: asyncio.Task[None]) -> None:
    saver.close()
    if not saving.done():
        await saving
