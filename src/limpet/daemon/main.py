"""The daemon's process: start in order, serve, and end in order.

Exit codes: 0 ended as told, 2 settings that do not hold, 3 the port is taken, 4 the sandbox's
folders cannot be made ready, 1 anything else.
"""

import asyncio
import contextlib
import gc
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NoReturn

from starlette.websockets import WebSocket

from limpet.console import outlive_readers
from limpet.daemon import (
    after_kill,
    edit_routes,
    files,
    git_changing,
    git_looking,
    git_remotes,
    listing,
    preview_ports,
    reading,
    search,
    shell,
    snapshots,
    status_routes,
    streams,
    task_routes,
    terminals,
    transfer,
)
from limpet.daemon.activity import Activity
from limpet.daemon.app import DaemonApp
from limpet.daemon.children import running_children
from limpet.daemon.config_store import ConfigStore
from limpet.daemon.context import DaemonContext, Token
from limpet.daemon.events import Broadcaster
from limpet.daemon.folders import make_folders, recovered
from limpet.daemon.gate import gate
from limpet.daemon.late_preview import LatePreview
from limpet.daemon.openapi import openapi_route
from limpet.daemon.origin import ORIGIN, OriginStore
from limpet.daemon.ownership import owner_of
from limpet.daemon.processes import Reaper, become_subreaper, hide_memory
from limpet.daemon.rescue import rescue
from limpet.daemon.routes import Route
from limpet.daemon.server import Server, open_socket
from limpet.daemon.settings import DaemonSettings
from limpet.daemon.setup import Setup, config_routes, scripts_routes, setup_routes
from limpet.daemon.snapshots import SnapshotService
from limpet.daemon.tasks import TaskManager
from limpet.daemon.watch import Watcher
from limpet.errors import InvalidInputError, LimpetError
from limpet.memory import share_one_arena
from limpet.snapshots.root import SandboxRoot

EXIT_SETTINGS = 2
EXIT_FOLDERS = 4
RESCUE_S = 15.0
THREADS = 16
_SECRETS = ("DAEMON_TOKEN", "DAEMON_TOKEN_FD")


def main() -> None:
    """Run the daemon until SIGTERM."""
    outlive_readers()
    share_one_arena()
    try:
        settings = DaemonSettings.from_environ(os.environ)
        for name in _SECRETS:
            os.environ.pop(name, None)
        listener = open_socket(settings)
    except InvalidInputError as error:
        _give_up(error, EXIT_SETTINGS)
    except LimpetError as error:
        _give_up(error, error.exit_code)
    hide_memory()
    try:
        root = SandboxRoot(settings.sandbox_root, settings.app_root)
        put_right, trash = recovered(root)
    except (OSError, LimpetError) as error:
        _give_up(error, EXIT_FOLDERS)
    os.chdir("/")
    if put_right:
        _say(put_right)
    asyncio.run(_serve(settings, root, trash, listener))


def _give_up(error: Exception, code: int) -> NoReturn:
    hint = getattr(error, "hint", "")
    _say(f"{error}{f' ({hint})' if hint else ''}")
    raise SystemExit(code)


def _say(message: str) -> None:
    print(f"limpet-daemon: {message}", file=sys.stderr, flush=True)  # noqa: T201


async def _serve(
    settings: DaemonSettings, root: SandboxRoot, trash: tuple[Path, ...], listener: socket.socket
) -> None:
    become_subreaper()
    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.set_default_executor(ThreadPoolExecutor(THREADS, thread_name_prefix="work"))
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told.set)
    # Who was started under nohup ignores hang-ups, and so would the programs in our terminals: they
    # would outlive us. What is handled is not handed on (POSIX, exec).
    ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    loop.add_signal_handler(signal.SIGHUP, (lambda: None) if ignored else told.set)
    reaper = Reaper(running_children)
    reaper.start()
    async with _context(settings, root) as ctx:
        ctx.snapshots.delete_later(*trash)
        ctx.snapshots.sync_later()
        preview = LatePreview(ctx)
        ctx.previews = preview_ports.PreviewPorts(ctx)
        app = DaemonApp(
            ctx,
            health=status_routes.health_route(),
            routes=all_routes(ctx),
            sockets={"/pty/": terminals.attach, "/pipe": _pipe, "/gateway": _gateway},
            preview=preview,
        )
        server = Server(app)
        gc.freeze()  # what is there now stays for good
        gc.enable()
        serving = asyncio.create_task(server.run_on(listener))
        warming = asyncio.create_task(snapshots.warm_up())
        ending = asyncio.create_task(told.wait())
        await asyncio.wait({serving, ending}, return_when=asyncio.FIRST_COMPLETED)
        ending.cancel()
        warming.cancel()
        _say("ending")
        await _end(ctx)
        server.stop()
        await serving
        await preview.close()
        await ctx.previews.close()
    reaper.stop()
    after_kill.end(settings)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # threads that still read or delete are not waited for


async def _pipe(ctx: DaemonContext, ws: WebSocket, rest: str) -> None:
    from limpet.daemon import pipes

    await pipes.serve(ctx, ws, rest)


async def _gateway(ctx: DaemonContext, ws: WebSocket, rest: str) -> None:
    from limpet.daemon import gateway

    await gateway.serve(ctx, ws, rest)


def all_routes(ctx: DaemonContext) -> list[Route]:
    """Every native route, its description among them."""
    found = [
        *status_routes.routes(ctx),
        *config_routes(ctx),
        *setup_routes(ctx),
        *scripts_routes(ctx),
        *reading.routes(ctx),
        *listing.routes(ctx),
        *files.routes(ctx),
        *edit_routes.routes(ctx),
        *streams.routes(ctx),
        *search.routes(ctx),
        *shell.routes(ctx),
        *task_routes.routes(ctx),
        *terminals.routes(ctx),
        *git_looking.routes(ctx),
        *git_changing.routes(ctx),
        *git_remotes.routes(ctx),
        *transfer.routes(ctx),
        *snapshots.routes(ctx),
        *preview_ports.routes(ctx),
    ]
    return [*found, openapi_route([status_routes.health_route(), *found])]


@asynccontextmanager
async def _context(settings: DaemonSettings, root: SandboxRoot) -> AsyncIterator[DaemonContext]:
    """Every part, made in order; the setup runs for as long as this is open."""
    activity = Activity()
    events = Broadcaster(settings.boot_id, verbose=settings.log_verbose)
    events.set_state("status", {"state": "running"})
    config = await asyncio.to_thread(ConfigStore, root.state)
    tasks = TaskManager(settings, events, config)
    ctx = DaemonContext(settings, Token(settings.token), activity, events, config, tasks, root)
    origin = OriginStore(root.state / ORIGIN, root.workspace, settings.boot_id, activity)
    killed = await asyncio.to_thread(_prepare, ctx, origin)
    for line in await after_kill.put_right(settings) if killed else ():
        events.log("daemon", f"{line}\n")
    ctx.watcher = Watcher(root.workspace, events, activity)
    ctx.snapshots = SnapshotService(ctx, origin)
    ctx.setup = Setup(ctx)
    await ctx.watcher.start()
    await ctx.setup.start()
    try:
        yield ctx
    finally:
        await ctx.watcher.stop()
        ctx.snapshots.close()


def _prepare(ctx: DaemonContext, origin: OriginStore) -> bool:
    """Have every folder; whether the daemon before was killed."""
    workspace = ctx.root.workspace
    make_folders(workspace)
    owner = owner_of(ctx.settings)
    if owner is not None:
        for folder in (workspace, *(workspace / name for name in ("repo", "home", "tmp"))):
            os.chown(folder, *owner, follow_symlinks=False)
    ctx.settings.cache_dir.mkdir(parents=True, exist_ok=True)
    if owner is not None:
        os.chown(ctx.settings.cache_dir, *owner)
    logs = ctx.settings.logs_dir
    logs.mkdir(mode=0o700, parents=True, exist_ok=True)
    for log in logs.glob("task*"):
        log.unlink(missing_ok=True)
    origin.load()
    return after_kill.begin(ctx.settings)


async def _end(ctx: DaemonContext) -> None:
    """End streams and tasks, put unsaved changes where git can find them, end the rest."""
    await ctx.snapshots.take_no_more()
    ctx.events.close()
    await ctx.setup.stop()
    await ctx.tasks.kill_all()
    try:
        async with asyncio.timeout(RESCUE_S):
            await rescue(ctx)
    except Exception as error:  # noqa: BLE001 - best effort: the end comes whatever it was
        _say(f"the rescue ref was not written: {error}")
    with contextlib.suppress(LimpetError):
        gate.close("the daemon ends")
    try:
        await ctx.tasks.kill_everything("the daemon ends")
    except TimeoutError as error:
        _say(str(error))
    await ctx.tasks.close()
