"""Looking at sandboxes: what the API shows, put together from row, daemon and store.

A look never fails because a daemon is dead or the store is away: it says what is known. A daemon
that is dead while its row says running is noticed here and by the saver.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from limpet.control.db import SandboxRow
from limpet.control.operations.models import Sandbox, Snapshot
from limpet.control.sandboxes.daemons import Reached, idle_of, origin_of
from limpet.control.sandboxes.ends import gone
from limpet.control.sandboxes.events import SandboxKey
from limpet.control.sandboxes.marks import NO_MARKS, read_marks
from limpet.control.sandboxes.parts import Parts, ref_of
from limpet.control.sandboxes.rows import access_of, key_of
from limpet.control.sandboxes.views import sandbox_of, snapshot_of
from limpet.control.saver import has_unsaved
from limpet.errors import DaemonUnreachableError, LimpetError
from limpet.ids import Handle, OrgId, SnapshotId

log = structlog.get_logger(__name__)

STORE_PATIENCE_S = 3.0
LOOKS_AT_ONCE = 32


@dataclass(frozen=True, slots=True)
class _Stored:
    """What the store was seen to hold, and for which row that was."""

    seen_for: tuple[object, ...]
    last_save: Snapshot | None
    sides: list[Snapshot]


class Looking:
    """Views of sandboxes, and the events that tell of their changes."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._stored: dict[SandboxKey, _Stored] = {}
        self._at_once = asyncio.Semaphore(LOOKS_AT_ONCE)
        self._telling: dict[SandboxKey, asyncio.Task[None]] = {}
        self._changed_again: set[SandboxKey] = set()
        self.loopback_urls: dict[str, str] = {}
        parts.on_change = self.tell

    async def at(self, row: SandboxRow, title: str | None = None) -> Sandbox:
        """The sandbox of `row` as it is now."""
        parts, key = self._parts, key_of(row)
        phase, unsaved = None, None
        if row.state == "running":
            async with self._at_once:
                answered = await self._ask(row)
            if answered is None:
                row = await self.notice_gone(row)
            else:
                phase, unsaved = answered
        elif row.state in ("starting", "stopping"):
            told = parts.events.last_phase(key)
            phase = str(told["kind"]) if told and row.state == "starting" else None
        stored = await self._of_store(row)
        if title is None:
            title = (await parts.rows.titles(key.org)).get(row.agent_id, "")
        running = row.state == "running"
        return sandbox_of(
            row,
            title=title,
            phase=phase,
            unsaved=unsaved,
            saving=key in parts.saving,
            preview_url=self.preview_url(row.handle) if running else None,
            loopback_preview_url=self.loopback_urls.get(row.handle) if running else None,
            preview_access=access_of(row, parts.settings.preview_access),
            last_save=stored.last_save,
            side_snapshots=stored.sides,
        )

    async def all(self, org: OrgId, rows: Sequence[SandboxRow]) -> list[Sandbox]:
        """All of them, looked at side by side."""
        titles = await self._parts.rows.titles(org)
        return list(
            await asyncio.gather(*(self.at(row, titles.get(row.agent_id, "")) for row in rows))
        )

    def preview_url(self, handle: str) -> str | None:
        """Where browsers find the sandbox's app."""
        settings = self._parts.settings
        return settings.previews.shown.url(handle) if settings.port else None

    async def notice_gone(self, row: SandboxRow) -> SandboxRow:
        """Write down that a sandbox thought to be running is not, unless somebody is at it."""
        parts, key = self._parts, key_of(row)
        if parts.lifecycle.taken(key):
            return row
        async with parts.lifecycle.of(key):
            now = await parts.rows.get(key)
            if now is None or now.state != "running" or now.boot_id != row.boot_id:
                return now or row
            if await parts.runner.alive(Handle(row.handle)):
                return now
            log.warning("sandbox_gone", handle=row.handle)
            now = await parts.rows.change(key, state="stopped", tracked=False, ended=gone())
            await parts.leases.release(key)
            parts.held.discard(key)
            parts.events.forget(key)
            parts.events.publish(key, "gone", {})
        self.tell(key)
        return now

    def forget_stored(self, key: SandboxKey) -> None:
        """Look into the store again next time."""
        self._stored.pop(key, None)

    # -- telling -------------------------------------------------------------------------------

    def tell(self, key: SandboxKey) -> None:
        """Tell those who listen how the sandbox is now, soon; changes in between are one event."""
        if not self._parts.events.listened(key):
            return
        if key in self._telling:
            self._changed_again.add(key)
            return
        task = asyncio.create_task(self._tell(key))
        self._telling[key] = task
        task.add_done_callback(lambda _done: self._told(key))

    def _told(self, key: SandboxKey) -> None:
        self._telling.pop(key, None)
        if key in self._changed_again:
            self._changed_again.discard(key)
            self.tell(key)

    async def _tell(self, key: SandboxKey) -> None:
        try:
            row = await self._parts.rows.get(key)
            if row is not None:
                view = await self.at(row)
                self._parts.events.publish(key, "sandbox", view.model_dump(mode="json"))
        except LimpetError as error:
            log.warning("change_not_told", branch=key.branch, error=error.message)

    async def close(self) -> None:
        """Wait until all that changed is told."""
        while self._telling:
            await asyncio.gather(*self._telling.values(), return_exceptions=True)

    # -- asking --------------------------------------------------------------------------------

    async def _ask(self, row: SandboxRow) -> tuple[str | None, bool | None] | None:
        """The daemon's phase, and whether there is unsaved work; None when it is dead."""
        found = await self._parts.daemons.find(row.handle)
        if found is None:
            return None
        try:
            return await _phase_of(found), await _unsaved(found, row)
        except DaemonUnreachableError:
            return None if not await self._parts.runner.alive(Handle(row.handle)) else (None, None)
        except LimpetError as error:
            log.warning("daemon_makes_no_sense", handle=row.handle, error=error.message)
            return None, None

    async def _of_store(self, row: SandboxRow) -> _Stored:
        """The last save and the side lineages on offer; what was seen last when the store is away.

        Seen again when a save, a start or a restore has changed the row since.
        """
        key = key_of(row)
        seen_for = (row.head_snapshot, row.generation, row.detached, row.fencing, row.state)
        known = self._stored.get(key)
        if known is not None and known.seen_for == seen_for:
            return known
        repository, ref = self._parts.repository, ref_of(key)
        try:
            async with asyncio.timeout(STORE_PATIENCE_S):
                head = (
                    await repository.find(ref, SnapshotId(row.head_snapshot))
                    if row.head_snapshot
                    else None
                )
                sides = await repository.side_lineages(ref)
                marks = await read_marks(repository, ref) if head or sides else NO_MARKS
        except (LimpetError, TimeoutError) as error:
            log.info("store_not_seen", branch=key.branch, error=str(error))
            return known or _Stored((), None, [])
        seen = _Stored(
            seen_for,
            snapshot_of(head, is_head=True, marks=marks) if head else None,
            [
                snapshot_of(side, is_head=True, marks=marks, adoptable=True)
                for side in sides
                if marks.doom_of(side) is None
            ],
        )
        self._stored[key] = seen
        return seen


async def _phase_of(found: Reached) -> str | None:
    told = (await found.client.call("GET", "/health")).get("phase")
    return told if isinstance(told, str) else None


async def _unsaved(found: Reached, row: SandboxRow) -> bool:
    idle = await idle_of(found.client)
    if not has_unsaved(idle.activity_seq, row.activity_seq_saved):
        return False
    return (await origin_of(found.client)).unsaved  # an empty workspace has nothing to save
