"""What a check of a store finds: damage, and what is only worth knowing. Data alone."""

from dataclasses import dataclass, field
from typing import Final, Literal

from limpet.ids import AgentId, Branch, SnapshotId
from limpet.snapshots.lineage import Head, Lineage

FindingKind = Literal[
    "head-unreadable",
    "head-elsewhere",
    "head-repeated",
    "pack-missing",
    "pack-damaged",
    "snapshot-incomplete",
    "tar-missing",
    "tar-damaged",
    "pack-unnamed",
    "tar-unnamed",
    "snapshot-set-aside",
    "unknown-object",
]
INFORMATION: Final[frozenset[FindingKind]] = frozenset(
    {"pack-unnamed", "tar-unnamed", "snapshot-set-aside", "unknown-object"}
)
"""Kinds that are no damage: nothing that was saved is lost or in danger."""
SNAPSHOTS_LISTED: Final = 100
PATHS_LISTED: Final = 20


@dataclass(frozen=True, slots=True)
class SnapshotPlace:
    """A snapshot, and where in the history it stands."""

    agent: AgentId
    branch: Branch
    lineage: Lineage
    generation: int
    snapshot: SnapshotId

    @classmethod
    def of(cls, head: Head) -> "SnapshotPlace":
        """The place of this head's snapshot."""
        ref = head.ref
        return cls(ref.agent, ref.branch, head.lineage, head.generation, head.snapshot)


@dataclass(frozen=True, slots=True)
class Finding:
    """One object about which something is to be said.

    `snapshots` are those whose restore it can break, the first 100 of `touched`; `paths` the first
    entries that are lost, of `lost`.
    """

    kind: FindingKind
    key: str
    what: str
    snapshots: tuple[SnapshotPlace, ...] = ()
    touched: int = 0
    paths: tuple[str, ...] = ()
    lost: int = 0

    @property
    def damage(self) -> bool:
        """Whether something is lost or in danger."""
        return self.kind not in INFORMATION


@dataclass(slots=True)
class Touched:
    """Gathers the snapshots that one object's damage touches, in little memory."""

    count: int = 0
    first: list[SnapshotPlace] = field(default_factory=list)

    def add(self, head: Head) -> None:
        """One more snapshot."""
        self.count += 1
        if len(self.first) < SNAPSHOTS_LISTED:
            self.first.append(SnapshotPlace.of(head))
