"""Snapshots in a store: lineages of heads, each pointing at one verified state of a workspace.

The order of a save is the whole of its safety: contents first, verified while they are stored,
then, last, the head of the next generation, create-only. A save that dies leaves the old head; of
two writers one creates the generation and the other's work becomes a side lineage. The highest
generation that can be used is the head.

A state is packed (docs/format.md) or a plain tar; a tar of the older layout counts as generation 0.
"""

import contextlib
import secrets
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from anyio import CancelScope, to_thread

from limpet.errors import (
    ConflictError,
    InvalidInputError,
    PreconditionFailedError,
    SnapshotDamagedError,
)
from limpet.ids import OrgId, SnapshotId, new_snapshot_id
from limpet.snapshots.blob_index import BlobIndex, BlobIndexes
from limpet.snapshots.blobs import BlobKind
from limpet.snapshots.edited_tree import Edit, edited_stream
from limpet.snapshots.faults import reach
from limpet.snapshots.lineage import (
    MAIN,
    BranchRef,
    DamagedHead,
    Head,
    HeadLookup,
    Lineage,
    MadeFrom,
    Packed,
    SaveReason,
)
from limpet.snapshots.pack import PackRef
from limpet.snapshots.packed_save import PackedSave, StoredSave
from limpet.snapshots.reuse import PackGoneError, ReusablePacks, awake_or_asleep_s, gone
from limpet.snapshots.snapshot_reader import SnapshotReader
from limpet.snapshots.snapshot_trees import packed_of
from limpet.snapshots.stored_heads import stored_head_key
from limpet.snapshots.tars import receipt_of
from limpet.stores.base import SandboxStore
from limpet.stores.keys import TEMPLATES_ORG

__all__ = [
    "MAIN",
    "BranchRef",
    "DamagedHead",
    "Head",
    "HeadLookup",
    "Lineage",
    "PackGoneError",
    "SaveReason",
    "SaveSupersededError",
    "Saved",
    "SnapshotRepository",
]
SAVE_STEPS: Final = (
    "save-tar-stored", "save-pack-stored", "save-packs-stored", "save-tree-pack-stored",
    "save-trees-stored", "save-gathered-pack-stored", "save-packed-stored", "save-head-created",
)  # fmt: skip
"""Every point where a save can be made to die (`LIMPET_FAULT=<point>:kill`)."""
MAX_SAVE_S: Final = 6 * 3600.0
"""A save that took longer may build upon packs that were condemned meanwhile: it cannot commit."""
MAX_COMMIT_S: Final = 3600.0
"""What a commit builds upon is looked at again when it took longer."""
_QUIET: Final[frozenset[SaveReason]] = frozenset({"idle", "interval", "shutdown", "stop"})
"""Saves for these reasons want the state to be safe; nobody asked for a snapshot."""


class SaveSupersededError(ConflictError):
    """Another writer moved the head first; this save was kept as the side lineage of `head`."""

    code = "superseded"

    def __init__(self, head: Head) -> None:
        super().__init__(
            f"Another writer saved {head.ref.branch} first",
            hint="This work was kept as a side lineage; adopt it from the history.",
        )
        self.head = head


class SaveTooOldError(ConflictError):
    """A save took so long that what it builds upon may have been pruned."""

    code = "save_too_old"


@dataclass(frozen=True, slots=True)
class Saved:
    """What a packed save came to. `head` is the base itself when it is `unchanged`."""

    head: Head
    activity_seq: int
    """What the daemon counted when the save began."""
    boot_id: str
    unchanged: bool
    sent_bytes: int
    stored_bytes: int
    """What was put in the store, the head aside."""


class SnapshotRepository(SnapshotReader):
    """Reads snapshots and makes them. Every method may raise `StoreUnavailableError`."""

    def __init__(self, store: SandboxStore, cache: Path | None = None) -> None:
        """Keep what may be lost in the folder `cache`; in memory when it is None."""
        super().__init__(store)
        self._blob_indexes = BlobIndexes(cache)

    # -- saves ---------------------------------------------------------------------------------

    async def save_tar(
        self,
        ref: BranchRef,
        chunks: AsyncIterator[bytes],
        *,
        reason: SaveReason,
        parent: SnapshotId | None,
        fencing: int,
        lineage: Lineage = MAIN,
        expected_generation: int,
        name: str | None = None,
        side_reason: str | None = None,
        made_from: MadeFrom | None = None,
    ) -> Head:
        """Store a tar as the generation after `expected_generation` (0: as the first one).

        The tar is verified while it is stored: one that is cut off, changed or unsafe raises
        `TarDamagedError` or `TarUnsafeError` and leaves nothing. When another writer has created
        the generation, or a later one, the tar becomes the first head of a new side lineage, and
        `SaveSupersededError` carries that head.
        """
        snapshot = new_snapshot_id()
        summary = await self._tars.put(ref, snapshot, chunks)
        reach("save-tar-stored")
        return await self._commit(
            Head(
                ref=ref,
                lineage=lineage,
                generation=expected_generation + 1,
                snapshot=snapshot,
                parent=parent,
                kind="tar",
                created_at=datetime.now(UTC),
                reason=reason,
                name=name,
                fencing=fencing,
                receipt=receipt_of(summary),
                size_bytes=summary.size_bytes,
                blake3=summary.blake3,
                side_reason=side_reason,
                made_from=made_from,
            )
        )

    async def save_packed(
        self,
        ref: BranchRef,
        chunks: AsyncIterator[bytes],
        *,
        base: Head | None,
        reason: SaveReason,
        parent: SnapshotId | None,
        fencing: int,
        lineage: Lineage = MAIN,
        expected_generation: int,
        name: str | None = None,
        side_reason: str | None = None,
    ) -> Saved:
        """Store a `save` stream as the generation after `expected_generation`.

        `base` is the state that the stream may build upon, of this org or of the templates' space:
        blobs of its tree may be named without being sent. A state that is the base's own, saved
        without being asked for, stores nothing and gives the base back. Lost races end as those of
        `save_tar` do.

        Raises `StreamBrokenError` or `SnapshotDamagedError` when the stream is cut off or not
        what the format allows, `ForeignBaseError` or `ForeignBlobError` when it relies on what it
        may not, `TooMuchError`, `PackGoneError` when what the org had has gone meanwhile (saving
        again helps), `SaveTooOldError`. No head is left then.
        """
        if base is not None and base.ref.org != ref.org:
            if base.ref.org != TEMPLATES_ORG:
                raise InvalidInputError("A save cannot build upon another org's snapshot")
            base = _shared(base)
        started_s = awake_or_asleep_s()
        async with self._opened_index(ref.org) as index:
            reusable = self._reusable(ref.org)
            save = PackedSave(self._packs(ref.org), self._trees, index, base, reusable)
            stored = await save.run(chunks)
            head = _packed_head(
                stored,
                ref=ref,
                lineage=lineage,
                generation=expected_generation + 1,
                parent=parent,
                reason=reason,
                name=name,
                fencing=fencing,
                side_reason=side_reason,
            )
            if base is not None and _says_nothing_new(base, head):
                newest = max(await self._heads.generations(ref, lineage), default=0)
                if newest == base.generation:
                    return _saved(stored, base, unchanged=True)
            checked_s = awake_or_asleep_s()
            await save.require_reused()
        if awake_or_asleep_s() - started_s > MAX_SAVE_S:
            raise SaveTooOldError("The save took over six hours", hint="Save again.")
        reach("save-packed-stored")
        head = await self._commit(head, checked_s=checked_s)
        if stored.folders is not None:
            self._trees.keep(head, stored.folders)
        return _saved(stored, head)

    async def begin(
        self, target: Head, edits: Mapping[bytes, Edit], *, ref: BranchRef, fencing: int
    ) -> Head:
        """The first snapshot of a branch: `target`, of the templates' space, with some edits.

        Only what the edits change is stored. Raises `PackGoneError` or `SnapshotDamagedError` when
        the target is not whole any more, and `SaveSupersededError` as `save_packed` does.
        """
        trees = await self.trees(target)
        root, now_ns = packed_of(target).root, time.time_ns()
        stream = await to_thread.run_sync(
            lambda: list(edited_stream(root, trees, edits, mtime_ns=now_ns))
        )

        async def chunks() -> AsyncIterator[bytes]:
            for chunk in stream:
                yield chunk

        saved = await self.save_packed(
            ref,
            chunks(),
            base=target,
            reason="template",
            parent=None,
            fencing=fencing,
            expected_generation=0,
        )
        return saved.head

    async def adopt(
        self,
        target: Head,
        *,
        ref: BranchRef,
        reason: SaveReason,
        parent: SnapshotId | None,
        fencing: int,
        expected_generation: int,
        lineage: Lineage = MAIN,
        name: str | None = None,
        side_reason: str | None = None,
    ) -> Head:
        """A new head with the content of `target`, a snapshot of the same org, which it names.

        Of a packed snapshot nothing is copied; a tar is. Raises `SnapshotDamagedError` when the
        target is not there, and `SaveSupersededError` as `save_tar` does.
        """
        if target.ref.org != ref.org:
            raise InvalidInputError("A snapshot cannot go from one org to another")
        made_from = MadeFrom(target.ref.agent, target.ref.branch, target.snapshot)
        if target.packed is None:
            return await self.save_tar(
                ref,
                await self._tars.open(target),
                reason=reason,
                parent=parent,
                fencing=fencing,
                lineage=lineage,
                expected_generation=expected_generation,
                name=name,
                side_reason=side_reason,
                made_from=made_from,
            )
        checked_s = awake_or_asleep_s()
        packed = target.packed
        barred = await self._reusable(ref.org).barred_of(packed.packs, packed.trees)
        why = await self._why_unusable(target)
        if why is not None:
            raise SnapshotDamagedError(f"The snapshot {target.snapshot} cannot be used: {why}")
        if barred:
            raise gone(barred)
        return await self._commit(
            replace(
                target,
                ref=ref,
                lineage=lineage,
                generation=expected_generation + 1,
                snapshot=new_snapshot_id(),
                parent=parent,
                created_at=datetime.now(UTC),
                reason=reason,
                name=name,
                fencing=fencing,
                side_reason=side_reason,
                made_from=made_from,
                packed=replace(packed, stored_bytes=0),
            ),
            checked_s=checked_s,
        )

    # -- inside --------------------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def _opened_index(self, org: OrgId) -> AsyncIterator[BlobIndex]:
        index = await to_thread.run_sync(self._blob_indexes.open, org)
        try:
            yield index
        finally:
            with CancelScope(shield=True):
                await to_thread.run_sync(index.close)

    def _reusable(self, org: OrgId) -> ReusablePacks:
        return ReusablePacks(self._packs(org), self.condemned(org), self.condemned(TEMPLATES_ORG))

    async def _commit(self, head: Head, *, checked_s: float | None = None) -> Head:
        """Create the head, or, when another writer was first, one of a new side lineage.

        What it builds upon was looked at from `checked_s` on. Where creating it took so long that
        this may have been condemned meanwhile (the machine slept), it is looked at once more, and
        the head is taken back when it cannot be relied upon: nobody was told of it.
        """
        superseded = False
        try:
            await self._heads.create_next(head)
        except PreconditionFailedError:
            superseded = True
            head = replace(
                head,
                lineage=Lineage(f"side-{secrets.token_hex(6)}"),
                generation=1,
                side_reason=head.side_reason or "lost-race",
            )
            await self._heads.create(head)
        if checked_s is not None and awake_or_asleep_s() - checked_s > MAX_COMMIT_S:
            packed = packed_of(head)
            named: dict[BlobKind, tuple[PackRef, ...]] = {
                "data": packed.packs,
                "tree": packed.trees,
            }
            if await self._reusable(head.ref.org).unfit(named):
                await self._store.delete(stored_head_key(head))
                raise SaveTooOldError("Committing the save took over an hour", hint="Save again.")
        if superseded:
            raise SaveSupersededError(head)
        reach("save-head-created")
        return head


def _packed_head(
    stored: StoredSave,
    *,
    ref: BranchRef,
    lineage: Lineage,
    generation: int,
    parent: SnapshotId | None,
    reason: SaveReason,
    name: str | None,
    fencing: int,
    side_reason: str | None,
) -> Head:
    return Head(
        ref=ref,
        lineage=lineage,
        generation=generation,
        snapshot=new_snapshot_id(),
        parent=parent,
        kind="tree",
        created_at=datetime.now(UTC),
        reason=reason,
        name=name,
        fencing=fencing,
        receipt=stored.receipt,
        size_bytes=stored.counts.bytes,
        blake3=stored.root.digest,
        side_reason=side_reason,
        packed=Packed(stored.root, stored.packs, stored.trees, stored.stored_bytes, stored.counts),
    )


def _saved(stored: StoredSave, head: Head, *, unchanged: bool = False) -> Saved:
    return Saved(
        head=head,
        activity_seq=stored.header.activity_seq,
        boot_id=stored.header.boot_id,
        unchanged=unchanged,
        sent_bytes=stored.sent_bytes,
        stored_bytes=stored.stored_bytes,
    )


def _says_nothing_new(base: Head, head: Head) -> bool:
    """Whether the head would only say again, at the same place, what the base says."""
    return (
        head.name is None
        and head.reason in _QUIET
        and (base.ref, base.lineage, base.generation, base.blake3)
        == (head.ref, head.lineage, head.generation - 1, head.blake3)
    )


def _shared(head: Head) -> Head:
    """A head of the templates' space as other orgs see it: its packs lie there."""
    packed = packed_of(head)
    return replace(
        head,
        packed=replace(
            packed,
            packs=tuple(replace(ref, shared=True) for ref in packed.packs),
            trees=tuple(replace(ref, shared=True) for ref in packed.trees),
        ),
    )
