"""Snapshot routes: one save or one restore at a time, and what is told of the workspace's origin.

A save is in save.py, a restore in restore.py. Neither they nor the engine behind them is imported
before the daemon answers: that takes as long as all the rest of its start.
"""

import asyncio
import contextlib
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar

import msgspec
from starlette.requests import Request

from limpet.daemon.context import DaemonContext
from limpet.daemon.freeze import ProcessFreezer
from limpet.daemon.gate import gate
from limpet.daemon.origin import Origin, OriginStore
from limpet.daemon.processes import owns_pid_namespace
from limpet.daemon.routes import Answer, Handler, Route
from limpet.daemon.status_routes import TAR
from limpet.errors import ConflictError, InvalidInputError
from limpet.snapshots.media_type import MEDIA_TYPE
from limpet.snapshots.tree import delete_tree
from limpet.snapshots.unsynced import is_unsynced, sync_sandbox

if TYPE_CHECKING:
    from limpet.snapshots.delta import Freezer
    from limpet.snapshots.patch import PatchPlan
    from limpet.snapshots.seeding import Seeding
    from limpet.snapshots.statcache import StatCaches

PROGRESS_S = 0.25
RESTORE_HEADERS = (
    "X-Limpet-Blake3",
    "X-Limpet-Size",
    "X-Limpet-Snapshot",
    "X-Limpet-Generation",
    "X-Limpet-Detached",
    "X-Limpet-Hold",
    "X-Limpet-Plan",
)
MAX_SNAPSHOT_ID = 200
DIGEST: Final = re.compile(r"[0-9a-f]{64}")

Operation = Literal["save", "restore"]
T = TypeVar("T")


class Committed(msgspec.Struct, rename="camel"):
    """A save that is durable now; `activity_seq` and `boot_id` are from the save's answer."""

    snapshot: str
    activity_seq: int
    boot_id: str
    generation: int | None = None
    root: str | None = None
    """The root digest of a packed save: what the stat caches of other states are for is over."""


class Restored(msgspec.Struct):
    """What a restore did."""

    ok: bool
    files: int
    bytes: int
    receipt: dict[str, Any]


class Detached(msgspec.Struct):
    """Whether the sandbox runs without its snapshot, and which one that is."""

    detached: bool
    pinned: str | None = None


class Plans:
    """The one plan of a warm restore that may wait to be carried out."""

    def __init__(self, delete_later: Callable[..., None]) -> None:
        self._delete_later = delete_later
        self._kept: tuple[str, PatchPlan] | None = None

    def keep(self, name: str, plan: "PatchPlan") -> None:
        """Keep it until it is taken or given up."""
        self.give_up()
        self._kept = name, plan

    def take(self, name: str) -> "PatchPlan":
        """The plan of that name, which is the caller's now; `ConflictError` when it is gone."""
        if self._kept is None or self._kept[0] != name:
            raise ConflictError("that plan is not there any more", hint="Make another one.")
        _, plan = self._kept
        self._kept = None
        return plan

    def give_up(self) -> None:
        """Let go of a plan that nobody carried out."""
        if self._kept is not None:
            _, plan = self._kept
            self._kept = None
            self._delete_later(*plan.trash)


class SnapshotService:
    """Owns the one operation that may run, and the thread that it runs in."""

    def __init__(self, ctx: DaemonContext, origin: OriginStore) -> None:
        self.origin = origin
        self.plans = Plans(self.delete_later)
        self.freezer: Freezer | None = None
        if ctx.settings.freeze:
            whole = owns_pid_namespace(told=ctx.settings.owns_pid_namespace)
            self.freezer = ProcessFreezer(whole_namespace=whole)
        self._ctx = ctx
        self._loop = asyncio.get_running_loop()
        self._operation: Operation | None = None
        self._idle = asyncio.Event()
        self._idle.set()
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="snapshot")
        self._syncing: threading.Thread | None = None
        self._told_at_s = 0.0
        self._ending = False

    @cached_property
    def caches(self) -> "StatCaches":
        """What is known of the workspace's files, for saves that build upon a state."""
        from limpet.snapshots.statcache import StatCaches

        return StatCaches(self._ctx.root.state / "statcache")

    @property
    def operation(self) -> Operation | None:
        """What runs now."""
        return self._operation

    def begin(self, operation: Operation) -> None:
        """Take the turn; `ConflictError` while another has it or the daemon ends."""
        if self._ending:
            raise ConflictError("the daemon ends")
        if self._operation is not None:
            raise ConflictError(
                f"a {self._operation} is running already", hint="Try again when it is over."
            )
        self._operation = operation
        self._told_at_s = 0.0
        self._idle.clear()

    def end(self) -> None:
        """Give the turn back."""
        self._operation = None
        self._idle.set()

    @contextmanager
    def turn(self, operation: Operation) -> Iterator[None]:
        """Hold the turn for a block."""
        self.begin(operation)
        try:
            yield
        finally:
            self.end()

    async def take_no_more(self) -> None:
        """Begin nothing from now on; a swap that is under way is waited for."""
        self._ending = True
        if gate.closed_because is not None:
            await self._idle.wait()

    def run(self, work: Callable[[], T]) -> "asyncio.Future[T]":
        """Do blocking work of the operation in its thread."""
        return self._loop.run_in_executor(self._executor, work)

    def seed_later(self, seeding: "Seeding") -> None:
        """Let the stat caches know what was restored, before the next operation begins."""
        self.run(lambda: self._seed(seeding))

    def _seed(self, seeding: "Seeding") -> None:
        try:
            seeding.write(self.caches, self._ctx.settings.app_root)
        except OSError as error:  # the next save reads everything
            print(f"limpet-daemon: no stat cache: {error}", file=sys.stderr)  # noqa: T201

    def delete_later(self, *trees: Path) -> None:
        """Delete what swaps left, in a thread that nobody waits for."""
        if trees:
            threading.Thread(target=_delete, args=trees, name="delete", daemon=True).start()

    def sync_later(self) -> None:
        """Bring what a swap did not wait for to the disk, in a thread that nobody waits for."""
        syncing = self._syncing is not None and self._syncing.is_alive()
        if not syncing and is_unsynced(self._ctx.root):
            self._syncing = threading.Thread(target=self._sync, name="sync", daemon=True)
            self._syncing.start()

    def _sync(self) -> None:
        try:
            while is_unsynced(self._ctx.root):
                sync_sandbox(self._ctx.root)
        except OSError as error:  # the marks stay: the next save or start tries again
            line = f"What was restored is not on the disk, which says: {error}\n"
            with contextlib.suppress(RuntimeError):  # the daemon has ended meanwhile
                self._loop.call_soon_threadsafe(self._ctx.events.log, "daemon", line)

    def close(self) -> None:
        """Let go of the thread; what it does is not waited for."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    def tell(self, phase: str, **more: object) -> None:
        """Say on the event stream how far the operation is."""
        data = {"operation": self._operation, "phase": phase, **more}
        self._ctx.events.publish("snapshot", data)

    def progress(self, phase: str) -> Callable[[int, int], None]:
        """A callback for worker threads: bytes and entries, told four times a second at most."""

        def on_progress(done_bytes: int, entries: int) -> None:
            now_s = time.monotonic()
            if now_s - self._told_at_s >= PROGRESS_S:
                self._told_at_s = now_s
                self._loop.call_soon_threadsafe(
                    lambda: self.tell(phase, bytes=done_bytes, entries=entries)
                )

        return on_progress


def _delete(*trees: Path) -> None:
    for tree in trees:
        try:
            delete_tree(tree)
        except OSError as error:  # the next start tries again
            print(f"limpet-daemon: {tree} is not deleted: {error}", file=sys.stderr)  # noqa: T201


def base_of(request: Request) -> str | None:
    """The root digest in `X-Limpet-Base`, or None; `InvalidInputError` when it is none."""
    given = request.headers.get("x-limpet-base")
    if given is not None and not DIGEST.fullmatch(given.lower()):
        raise InvalidInputError("X-Limpet-Base must be 64 hexadecimal digits")
    return given.lower() if given is not None else None


def number(given: str | None, name: str) -> int | None:
    """What a header says; `InvalidInputError` when it is no number."""
    if given is None:
        return None
    if not given.isascii() or not given.isdigit() or len(given) > 18:
        raise InvalidInputError(f"{name} must be a number")
    return int(given)


async def committed(ctx: DaemonContext, given: Committed, _: Request) -> Origin:
    """A save is durable: the workspace grew from it."""
    await ctx.snapshots.origin.committed(
        given.snapshot[:MAX_SNAPSHOT_ID], given.generation, given.activity_seq, given.boot_id
    )
    if given.root is not None:
        caches, root = ctx.snapshots.caches, given.root
        await asyncio.to_thread(caches.forget_all_but, root)
    ctx.snapshots.sync_later()
    return await ctx.snapshots.origin.now()


async def origin(ctx: DaemonContext, _: object, __: Request) -> Origin:
    """Which snapshot the workspace grew from, and whether it holds more."""
    return await ctx.snapshots.origin.now()


async def detach(ctx: DaemonContext, given: Detached, _: Request) -> Origin:
    """Record whether the sandbox runs without the snapshot it should have had."""
    await ctx.snapshots.origin.detach(detached=given.detached, pinned=given.pinned)
    return await ctx.snapshots.origin.now()


def late(module: str, name: str) -> Handler:
    """The handler of a module of ours that is imported when it is first asked for."""

    async def handle(ctx: DaemonContext, given: object, request: Request) -> Answer:
        found = await asyncio.to_thread(import_module, f"limpet.daemon.{module}")
        answer: Answer = await getattr(found, name)(ctx, given, request)
        return answer

    return handle


async def warm_up() -> None:
    """Import what saves and restores need, aside: the first one shall not wait for it."""
    for module in ("restore", "save", "plans"):
        await asyncio.to_thread(import_module, f"limpet.daemon.{module}")


def routes(_: DaemonContext) -> list[Route]:
    """Every snapshot route."""
    post, get = ("POST",), ("GET",)
    create, restore = late("save", "create"), late("restore", "restore")
    plan = late("plans", "plan")
    forms = (TAR, MEDIA_TYPE)
    return [
        Route(
            ("POST", "GET"),
            "/snapshot/create",
            create,
            headers=("X-Limpet-Base", "X-Limpet-Limit-Bytes"),
            media=forms,
            statuses=(204, 400, 404, 409, 413),
            activity=False,
            summary="Save",
        ),
        Route(
            post,
            "/snapshot/restore",
            restore,
            output=Restored,
            headers=RESTORE_HEADERS,
            body=forms,
            statuses=(400, 408, 409, 422, 507),
            activity=False,
            summary="Restore",
        ),
        Route(
            post,
            "/snapshot/plan",
            plan,
            headers=("X-Limpet-Base", "X-Limpet-Blake3", "X-Limpet-Size"),
            body=(MEDIA_TYPE,),
            media=(MEDIA_TYPE,),
            statuses=(400, 408, 409, 422, 507),
            activity=False,
            summary="Plan a warm restore",
        ),
        Route(
            post,
            "/snapshot/committed",
            committed,
            Committed,
            Origin,
            activity=False,
            summary="A save is durable",
        ),
        Route(
            get,
            "/snapshot/origin",
            origin,
            output=Origin,
            activity=False,
            summary="What the workspace grew from",
        ),
        Route(
            post,
            "/snapshot/detach",
            detach,
            Detached,
            Origin,
            activity=False,
            summary="Mark the sandbox as running without its snapshot",
        ),
    ]
