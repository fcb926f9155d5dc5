"""One save: the daemon's delta into the store, then the head, then the watermark.

The order is what makes a save safe to die in: until the head is created nothing has happened, and
after it the database and the daemon are only told what the store already knows.
"""

import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import structlog

from limpet.control.db import SandboxRow
from limpet.control.sandboxes.decide import Origin
from limpet.control.sandboxes.events import SandboxKey
from limpet.control.sandboxes.parts import Parts, ref_of
from limpet.control.sandboxes.rows import key_of
from limpet.control.sandboxes.streams import at_most, without_stalls
from limpet.control.sandboxes.views import problem_of
from limpet.errors import (
    ConflictError,
    DaemonError,
    FencedError,
    LimpetError,
    StoreUnavailableError,
)
from limpet.ids import BootId, SnapshotId
from limpet.runners.base import DaemonResponse
from limpet.runners.daemon_client import PACKED, DaemonClient
from limpet.snapshots.judge_save import ForeignBlobError
from limpet.snapshots.repository import (
    MAIN,
    Head,
    Lineage,
    PackGoneError,
    SaveReason,
    SaveSupersededError,
)

log = structlog.get_logger(__name__)

LARGE_SAVE_BYTES: Final = 500_000_000
"""A save that sends more, compressed, is worth a word of warning."""
MAX_SEQ_DIGITS: Final = 18
SPARE_BYTES: Final = 64 << 20
"""What any save may send beyond twice the largest workspace."""
LOST_RACE = (
    "Another writer saved this branch first. The work here goes to a side lineage; adopt it from "
    "the history when you want it."
)


@dataclass(frozen=True, slots=True)
class _Wanted:
    """The head that a save is to become."""

    reason: SaveReason
    parent: SnapshotId | None
    fencing: int
    lineage: Lineage
    generation: int
    """Of the lineage's newest head: this one comes after it."""
    name: str | None
    side_reason: str | None


@dataclass(frozen=True, slots=True)
class _Stored:
    """The head that a save became; `superseded` when another writer was first."""

    head: Head
    sent_bytes: int
    superseded: bool = False


@dataclass(frozen=True, slots=True)
class _Taken:
    """What the daemon streamed: from which moment it is, and the head that it became, if any."""

    seq: int
    boot_id: BootId
    stored: _Stored | None


class NothingToSaveError(ConflictError):
    """The workspace is empty and always was."""

    code = "nothing_to_save"


def new_side_lineage() -> Lineage:
    """A name for a side lineage that nothing else has."""
    return Lineage(f"side-{secrets.token_hex(6)}")


class Saving:
    """Saves of running sandboxes."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def save(
        self, key: SandboxKey, client: DaemonClient, reason: SaveReason, *, name: str | None = None
    ) -> Head | None:
        """Save the sandbox now; None when there is nothing at all to save.

        A detached sandbox's save goes to its side lineage; so does one whose head another writer
        moved meanwhile, and the sandbox is detached from then on. Failures are recorded on the
        row, then raised; the old head stays.
        """
        parts = self._parts
        async with parts.saves.of(key):
            if reason in ("idle", "interval") and not await self._still_tracked(key):
                return None
            parts.saving.add(key)
            parts.on_change(key)
            try:
                fencing = await parts.leases.renew(key)
                row = await self._caught_up(key)
                head = await self._save(key, row, client, reason, name, fencing)
            except FencedError:
                raise  # the row is another control plane's now
            except Exception as error:
                await parts.rows.change(key, last_save_error=problem_of(error))
                raise
            finally:
                parts.saving.discard(key)
                parts.on_change(key)
            if head is not None:
                parts.on_saved(key)
            return head

    async def save_aside(
        self, key: SandboxKey, row: SandboxRow, client: DaemonClient, origin: Origin, why: str
    ) -> Head | None:
        """Keep the present work in a side lineage, whatever the head is; None when it is nothing.

        The work of a detached sandbox goes on in the side lineage that it has.
        """
        parts = self._parts
        async with parts.saves.of(key):
            lineage, generation = await self._side_lineage(row)
            base = await self._base(key, origin.snapshot)
            async with client.create_snapshot(base=_digest_of(base)) as answer:
                if answer.status == 204:
                    return None
                stored = await self._store(
                    key,
                    answer,
                    _Wanted("start", origin.snapshot, row.fencing, lineage, generation, None, why),
                    base,
                )
                return stored.head  # a lost race put it into another side lineage all the same

    async def holds(self, key: SandboxKey, snapshot: SnapshotId | None) -> bool:
        """Whether the store that answers now has what a workspace grew from (None: nothing)."""
        if snapshot is None:
            return True
        return await self._parts.repository.find(ref_of(key), snapshot) is not None

    async def _save(
        self,
        key: SandboxKey,
        row: SandboxRow,
        client: DaemonClient,
        reason: SaveReason,
        name: str | None,
        fencing: int,
    ) -> Head | None:
        parts = self._parts
        lineage, generation = (
            await self._side_lineage(row) if row.detached else (MAIN, row.generation)
        )
        parent = SnapshotId(row.head_snapshot) if row.head_snapshot else None
        side_reason = "detached" if row.detached else None
        wanted = _Wanted(reason, parent, fencing, lineage, generation, name, side_reason)
        base = await self._base(key, parent)
        try:
            taken = await self._take(key, client, wanted, base)
        except (PackGoneError, ForeignBlobError) as error:
            if base is None:
                raise
            # What the last snapshot needs is gone, or the sandbox is wrong about what that holds:
            # this one must stand by itself.
            log.warning("saved_without_base", snapshot=base.snapshot, error=error.message)
            taken = await self._take(key, client, wanted, None)
        seq, boot_id, stored = taken.seq, taken.boot_id or BootId(row.boot_id or ""), taken.stored
        if stored is None:
            await parts.rows.change(key, activity_seq_saved=seq, last_save_error=None)
            return None
        head, superseded = stored.head, stored.superseded
        if stored.sent_bytes > LARGE_SAVE_BYTES:
            log.warning("large_save", branch=key.branch, sent_bytes=stored.sent_bytes)
        known: dict[str, Any] = {
            "head_snapshot": head.snapshot,
            "generation": head.generation,
            "activity_seq_saved": seq,
            "boot_id": boot_id,
            "last_saved_at": datetime.now(UTC),
            "last_save_error": None,
        }
        if superseded:
            log.warning("save_superseded", agent=key.agent, branch=key.branch, kept=head.snapshot)
            known |= {"detached": True, "detached_reason": LOST_RACE}
            if not row.detached:
                known["pinned_snapshot"] = await self._winner(key, row)
        await parts.rows.change(key, **known)
        await self._tell_daemon(client, head, seq, boot_id, superseded)
        return head

    async def _winner(self, key: SandboxKey, row: SandboxRow) -> str | None:
        """The head that was there before ours; the last known one while the store does not say."""
        try:
            head = (await self._parts.repository.lookup(ref_of(key))).head
        except StoreUnavailableError as error:
            log.warning("winner_not_seen", branch=key.branch, error=error.message)
            head = None
        return head.snapshot if head else row.head_snapshot

    async def _take(
        self, key: SandboxKey, client: DaemonClient, wanted: "_Wanted", base: Head | None
    ) -> "_Taken":
        """Have the daemon stream its workspace and store it."""
        await self._parts.usage.require_room(key.org)
        limit_bytes = self._parts.settings.max_workspace_bytes
        async with client.create_snapshot(base=_digest_of(base), limit_bytes=limit_bytes) as answer:
            seq = _seq_at_start(answer)
            boot_id = BootId(answer.headers.get("X-Limpet-Boot-Id") or "")
            if answer.status == 204:
                return _Taken(seq, boot_id, None)
            return _Taken(seq, boot_id, await self._store(key, answer, wanted, base))

    async def _store(
        self, key: SandboxKey, answer: DaemonResponse, wanted: "_Wanted", base: Head | None
    ) -> "_Stored":
        """Verify and store what the daemon streams, packed or, from one that is old, as a tar."""
        repository = self._parts.repository
        # Beside the workspace itself, what changed while it was read and was read again.
        most_bytes = 2 * self._parts.settings.max_workspace_bytes + SPARE_BYTES
        body = at_most(without_stalls(answer.body), most_bytes)
        told: dict[str, Any] = {
            "reason": wanted.reason,
            "parent": wanted.parent,
            "fencing": wanted.fencing,
            "lineage": wanted.lineage,
            "expected_generation": wanted.generation,
            "name": wanted.name,
            "side_reason": wanted.side_reason,
        }
        media_type = answer.headers.get("Content-Type", "").partition(";")[0].strip()
        try:
            if media_type == PACKED:
                saved = await repository.save_packed(ref_of(key), body, base=base, **told)
                self._parts.usage.added(key.org, saved.stored_bytes)
                return _Stored(saved.head, saved.sent_bytes)
            head = await repository.save_tar(ref_of(key), body, **told)
            self._parts.usage.added(key.org, head.size_bytes)
        except SaveSupersededError as error:
            return _Stored(error.head, 0, superseded=True)
        return _Stored(head, head.size_bytes)

    async def _base(self, key: SandboxKey, snapshot: SnapshotId | None) -> Head | None:
        """The packed snapshot that a save may build upon, or None: then all is sent."""
        if snapshot is None:
            return None
        head = await self._parts.repository.find(ref_of(key), snapshot)
        return head if head is not None and head.kind == "tree" else None

    async def _still_tracked(self, key: SandboxKey) -> bool:
        """Whether nobody stopped the sandbox while this save waited for its turn."""
        row = await self._parts.rows.get(key)
        return row is not None and row.tracked and row.state == "running"

    async def _tell_daemon(
        self, client: DaemonClient, head: Head, seq: int, boot_id: BootId, superseded: bool
    ) -> None:
        """Let the daemon know what is durable; if it cannot hear, only its hint is stale."""
        try:
            await client.committed(
                head.snapshot,
                generation=head.generation,
                activity_seq=seq,
                boot_id=boot_id,
                root=head.blake3 if head.kind == "tree" else None,
            )
            if superseded:
                await client.detach(True)
        except LimpetError as error:
            log.warning("daemon_not_told_of_save", snapshot=head.snapshot, error=error.message)

    async def _side_lineage(self, row: SandboxRow) -> tuple[Lineage, int]:
        """The side lineage that the sandbox saves to, and its newest generation; or a new one."""

        if row.detached and row.head_snapshot:
            newest = await self._parts.repository.find(
                ref_of(key_of(row)), SnapshotId(row.head_snapshot)
            )
            if newest is not None and newest.lineage != MAIN:
                return newest.lineage, newest.generation
        return new_side_lineage(), 0

    async def _caught_up(self, key: SandboxKey) -> SandboxRow:
        """The row, told of a head of ours that was created right before we were killed.

        Such a head is the next one after the row's, grew from it, and has our fencing number:
        nobody but this sandbox can have made it.
        """
        parts = self._parts
        row = await parts.rows.get(key)
        assert row is not None
        if row.detached:
            return row
        found = await parts.repository.lookup(ref_of(key))
        head = found.head
        if (
            head is not None
            and head.generation == row.generation + 1
            and head.parent == row.head_snapshot
            and head.fencing in (row.fencing, row.fencing - 1)
            and head.reason not in ("import", "rollback", "fork")
        ):
            return await parts.rows.change(
                key, generation=head.generation, head_snapshot=head.snapshot
            )
        return row


def _digest_of(base: Head | None) -> str | None:
    return base.blake3 if base is not None else None


def _seq_at_start(answer: DaemonResponse) -> int:
    """The daemon's activity counter when this save began, as its answer's header says."""
    told = answer.headers.get("X-Limpet-Activity-Seq", "")
    if not told.isascii() or not told.isdigit() or len(told) > MAX_SEQ_DIGITS:
        raise DaemonError(
            "The sandbox did not say where its save began",
            daemon_status=answer.status,
        )
    return int(told)
