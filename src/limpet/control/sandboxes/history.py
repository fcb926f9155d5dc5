"""A branch's snapshots: listing them, going back to one, taking one out, putting one in.

Going back never rewrites history: the present is saved first, and what was gone back to becomes a
new head. Adopting a side lineage's snapshot is the same act.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from limpet.control.db import SandboxRow
from limpet.control.sandboxes.daemons import Reached, idle_of, origin_of
from limpet.control.sandboxes.decide import (
    STORE_EMPTY,
    Found,
    Lookup,
    NoSnapshot,
    Unreachable,
    top_generation,
)
from limpet.control.sandboxes.events import SandboxKey
from limpet.control.sandboxes.parts import Parts, ref_of
from limpet.control.sandboxes.restoring import Restoring
from limpet.control.sandboxes.rows import known_generation, known_snapshot
from limpet.control.sandboxes.saving import Saving, new_side_lineage
from limpet.control.sandboxes.sending import restore_into
from limpet.control.sandboxes.streams import without_stalls
from limpet.control.sandboxes.views import stored_bytes
from limpet.errors import NotFoundError, StoreUnavailableError
from limpet.ids import SnapshotId
from limpet.snapshots.repository import MAIN, Head, SaveReason
from limpet.snapshots.tar_import import import_tar
from limpet.snapshots.tree import delete_tree

IMPORT_HINT = (
    "Import again with the right store. If the snapshots are lost for good, start the sandbox "
    "without them, import into it and adopt that."
)


@dataclass(frozen=True, slots=True)
class WentBack:
    """The new head, what was saved before, and what the restore did."""

    head: Head
    saved_first: Head | None
    receipt: dict[str, Any] | None


class History:
    """What can be done with a branch's snapshots."""

    def __init__(self, parts: Parts, saving: Saving, restoring: Restoring) -> None:
        self._parts = parts
        self._saving = saving
        self._restoring = restoring

    def forget_imports(self) -> None:
        """Delete what imports that were cut off have left; before there are any. Blocks."""
        delete_tree(self.scratch)

    @property
    def scratch(self) -> Path:
        """Where tars are unpacked for a while."""
        return self._parts.settings.data_dir / "imports"

    def _scratch(self) -> Path:
        self.scratch.mkdir(mode=0o700, exist_ok=True)
        return self.scratch

    async def all(self, key: SandboxKey) -> tuple[list[Head], Head | None]:
        """Every snapshot of all lineages, newest first, and the one that a start would restore."""
        heads = await self._parts.repository.history(ref_of(key))
        usable = (await self._parts.repository.lookup(ref_of(key))).head
        return heads, usable

    async def one(self, key: SandboxKey, snapshot: SnapshotId) -> Head:
        """A snapshot of the branch, or `NotFoundError`."""
        head = await self._parts.repository.find(ref_of(key), snapshot)
        if head is None:
            raise NotFoundError(f"There is no snapshot {snapshot!r} on {key.branch!r}")
        return head

    async def go_back(self, key: SandboxKey, snapshot: SnapshotId) -> WentBack:
        """Make `snapshot` the present, and the head, after saving what is there now.

        A running sandbox is restored at once; of a stopped one the head alone moves, and its next
        start restores it. Raises `SnapshotDamagedError` with nothing changed.
        """
        parts = self._parts
        parts.refuse_when_closing()
        async with parts.lifecycle.of(key):
            target = await self.one(key, snapshot)
            row = await parts.rows.make(key, parts.runner.kind)
            found = await parts.daemons.find(row.handle) if row.state == "running" else None
            await parts.leases.take(key)
            try:
                if found is not None:
                    return await self._in_place(key, found, target)
                return await self._in_store(key, target)
            finally:
                if found is None:
                    await parts.leases.release(key)
                parts.on_change(key)

    async def put_in(self, key: SandboxKey, chunks: AsyncIterator[bytes]) -> Head:
        """Store a tar of somebody's as a packed snapshot: the head, or, while the sandbox runs, a
        side lineage to be adopted, since its present state is what its branch's head grows from.

        Into a store that has lost the branch's snapshots no new head is put: it is likely the
        wrong one.
        """
        parts = self._parts
        parts.refuse_when_closing()
        await parts.usage.require_room(key.org)
        async with parts.lifecycle.of(key), parts.saves.of(key):
            row = await parts.rows.make(key, parts.runner.kind)
            running = row.state == "running"
            fencing = await parts.leases.take(key)
            try:
                if running:
                    lineage, top, parent, why = new_side_lineage(), 0, row.head_snapshot, "import"
                else:
                    lineage, why = MAIN, None
                    lookup = await self._lookup(key)
                    if isinstance(lookup, NoSnapshot) and known_snapshot(row) is not None:
                        raise StoreUnavailableError(STORE_EMPTY, hint=IMPORT_HINT)
                    top, parent = _end_of(lookup, row)
                head = await import_tar(
                    parts.repository,
                    ref_of(key),
                    without_stalls(chunks, who="The sender"),
                    await asyncio.to_thread(self._scratch),
                    reason="import",
                    parent=SnapshotId(parent) if parent else None,
                    fencing=fencing,
                    lineage=lineage,
                    expected_generation=top,
                    side_reason=why,
                )
                parts.usage.added(key.org, stored_bytes(head))
                if not running:
                    await self._now_known(key, row, head)
                return head
            finally:
                if not running:
                    await parts.leases.release(key)
                parts.on_change(key)

    async def _in_place(self, key: SandboxKey, found: Reached, target: Head) -> WentBack:
        parts = self._parts
        saved_first = None
        present = await origin_of(found.client)
        if present.unsaved or not await self._saving.holds(key, present.snapshot):
            saved_first = await self._saving.save(key, found.client, "before-restore")
        async with parts.saves.of(key):
            try:
                receipt = await restore_into(parts, key, found.client, target)
                # What is done from here on is not in the new head.
                seq = (await idle_of(found.client)).activity_seq
                head = await self._new_head(key, target, "rollback")
                await parts.rows.change(
                    key,
                    generation=head.generation,
                    head_snapshot=head.snapshot,
                    activity_seq_saved=seq,
                    boot_id=found.provisioned.boot_id,
                    detached=False,
                    detached_reason=None,
                    pinned_snapshot=None,
                    last_save_error=None,
                )
                await found.client.committed(
                    head.snapshot,
                    generation=head.generation,
                    activity_seq=seq,
                    boot_id=found.provisioned.boot_id,
                )
                await found.client.detach(False)
            finally:  # what ran before is started again by the daemon itself
                parts.phase(key, "ready", held=key in parts.held)
        return WentBack(head, saved_first, receipt)

    async def _in_store(self, key: SandboxKey, target: Head) -> WentBack:
        async with self._parts.saves.of(key):
            head = await self._new_head(key, target, "rollback")
            row = await self._parts.rows.get(key)
            assert row is not None
            await self._now_known(key, row, head)
        return WentBack(head, None, head.receipt.as_dict())

    async def _new_head(self, key: SandboxKey, target: Head, reason: SaveReason) -> Head:
        """A new head of the main lineage with the content of `target`."""
        parts = self._parts
        row = await parts.rows.get(key)
        assert row is not None
        top, parent = _end_of(await self._lookup(key), row)
        head = await parts.repository.adopt(
            target,
            ref=ref_of(key),
            reason=reason,
            parent=SnapshotId(parent) if parent else None,
            fencing=await parts.leases.renew(key),
            expected_generation=top,
        )
        parts.usage.added(key.org, stored_bytes(head))
        return head

    async def _lookup(self, key: SandboxKey) -> Lookup:
        """What the store holds of the main lineage; never `Unreachable`."""
        lookup = await self._restoring.lookup(key)
        if isinstance(lookup, Unreachable):
            raise StoreUnavailableError(lookup.message)
        return lookup

    async def _now_known(self, key: SandboxKey, row: SandboxRow, head: Head) -> None:
        """The database knows of a head that the sandbox's files do not have yet."""
        if not row.detached:
            await self._parts.rows.change(
                key, generation=head.generation, head_snapshot=head.snapshot
            )


def _end_of(lookup: Lookup, row: SandboxRow) -> tuple[int, SnapshotId | None]:
    """The generation that a new head comes after, and the snapshot that it comes after."""
    usable = lookup.usable.snapshot if isinstance(lookup, Found) else None
    return max(top_generation(lookup) or 0, known_generation(row)), usable
