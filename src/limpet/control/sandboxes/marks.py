"""What is said of a branch's snapshots beside their heads: names given later, what is condemned."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from limpet.ids import SnapshotId
from limpet.snapshots.condemned import GRACE, Condemned, Why
from limpet.snapshots.repository import BranchRef, Head, SnapshotRepository
from limpet.snapshots.snapshot_names import (
    GivenNames,
    TurnNote,
    is_kept_by_people,
    name_of,
    turn_of,
)
from limpet.snapshots.stored_heads import stored_head_key


@dataclass(frozen=True, slots=True)
class Doom:
    """Since when a snapshot is condemned, and by what: people (`deleted`) or `retention`."""

    at: datetime
    why: Why

    @property
    def deleted_after(self) -> datetime:
        """When its bytes may go, at the earliest."""
        return self.at + GRACE


@dataclass(frozen=True, slots=True)
class Marks:
    """The marks of one branch's snapshots. `in_use` are those that a sandbox stands on."""

    names: GivenNames = field(default_factory=dict)
    dooms: Mapping[str, Doom] = field(default_factory=dict)
    in_use: Collection[SnapshotId] = ()

    def name_of(self, head: Head) -> str | None:
        """The snapshot's name as it is now."""
        return name_of(head, self.names)

    def turn_of(self, head: Head) -> TurnNote | None:
        """The turn that named the snapshot, where one did."""
        return turn_of(head, self.names)

    def doom_of(self, head: Head) -> Doom | None:
        """What awaits the snapshot; None when it stays: prune spares what people named, and
        what is in use."""
        if head.snapshot in self.in_use or is_kept_by_people(head, self.names):
            return None
        return self.dooms.get(stored_head_key(head))


NO_MARKS = Marks()


async def read_marks(
    repository: SnapshotRepository, ref: BranchRef, in_use: Collection[SnapshotId] = ()
) -> Marks:
    """The marks as the store has them now."""
    records = await repository.condemned(ref.org).records()
    return Marks(await repository.names.of_branch(ref), _dooms(records), in_use)


def _dooms(records: Iterable[Condemned]) -> dict[str, Doom]:
    """By the heads' keys; a person's wish goes before retention, which may spare, then the first.

    What was condemned twice goes with the record that is older.
    """
    found: dict[str, Doom] = {}
    for record in records:  # oldest first
        for key in record.keys:
            known = found.get(key)
            if known is None:
                found[key] = Doom(record.at, record.why)
            elif known.why != "deleted" and record.why == "deleted":
                found[key] = Doom(known.at, "deleted")
    return found
