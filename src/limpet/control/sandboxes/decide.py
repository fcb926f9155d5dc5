"""What a start does with a workspace: keep it, restore into it, seed it, or ask the user.

Pure: what the store, the daemon and the database know goes in, one decision comes out. The rules
(DESIGN.md, 'The life of a sandbox', 2): a workspace is never replaced by something older; unsaved
work is never replaced at all before it is in a side lineage; a sandbox that somebody is working in
is never restored over; a store that cannot be reached is never taken for an empty one; and one that
is empty, although it once held the branch's snapshots, is taken for the wrong one.
"""

from dataclasses import dataclass
from typing import Literal

from limpet.ids import SnapshotId

Outcome = Literal[
    "none",
    "restored",
    "kept",
    "damaged-used-older",
    "damaged-none",
    "store-unreachable",
    "failed",
    "without-snapshot",
    "template",
]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A snapshot on the main lineage, and the generation whose head it is; `fork` when the branch
    began with it.
    """

    snapshot: SnapshotId
    generation: int
    fork: bool = False


@dataclass(frozen=True, slots=True)
class NoSnapshot:
    """The store answered: it holds no snapshot of this branch."""


@dataclass(frozen=True, slots=True)
class Found:
    """The newest usable head; `damaged` are the ones above it, newest first."""

    usable: Candidate
    damaged: tuple[Candidate, ...] = ()


@dataclass(frozen=True, slots=True)
class AllDamaged:
    """There are heads, and none of them can be used; newest first, at least one."""

    damaged: tuple[Candidate, ...]


@dataclass(frozen=True, slots=True)
class Unreachable:
    """The store did not answer in the time that was allowed."""

    message: str


Lookup = NoSnapshot | Found | AllDamaged | Unreachable


@dataclass(frozen=True, slots=True)
class Origin:
    """What the daemon says of its workspace: which snapshot it grew from, and what is not saved.

    `empty` when there is nothing but empty repo, home and tmp folders.
    """

    snapshot: SnapshotId | None = None
    generation: int | None = None
    unsaved: bool = False
    empty: bool = True
    detached: bool = False


@dataclass(frozen=True, slots=True)
class Situation:
    """All that a start looks at.

    `last_known` is the main head that the database last saw (None: never one), `pinned` the
    snapshot that a `detached` sandbox should have had. `live` when the sandbox was already up and
    configured before this start, `busy` when somebody worked in it a moment ago. `seedable` when
    the agent has a template to begin from.
    """

    lookup: Lookup
    origin: Origin
    last_known: Candidate | None = None
    detached: bool = False
    pinned: SnapshotId | None = None
    live: bool = False
    busy: bool = False
    without_snapshot: bool = False
    seedable: bool = False

    @property
    def known(self) -> SnapshotId | None:
        """A snapshot that was certainly made of this branch, whatever the store says."""
        return self.pinned or (self.last_known.snapshot if self.last_known else None)


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do. `ask` means: do nothing, tell the user that the store is away or the wrong one.

    With `save_aside` the present work goes to a side lineage first, and nothing is restored when
    that fails. `detached` is what the sandbox is afterwards, `pinned` the snapshot that it should
    have had. `at` is the main head that the workspace then stands on, where that is known.
    """

    action: Literal["keep", "restore", "seed", "nothing", "ask"]
    outcome: Outcome
    message: str
    head: Candidate | None = None
    save_aside: bool = False
    detached: bool = False
    pinned: SnapshotId | None = None
    at: Candidate | None = None


def decide(now: Situation) -> Decision:
    """The one thing that this start does with the workspace."""
    detached = now.detached or now.origin.detached
    if now.live and (not detached or now.busy or now.without_snapshot):
        return _keep_live(now, detached)
    match now.lookup:
        case Unreachable(message):
            why = f"The snapshot store cannot be reached: {message}"
            return _without_store(now, why, detached)
        case NoSnapshot() if now.known is not None:
            return _without_store(now, STORE_EMPTY, detached)
        case NoSnapshot():
            return _first_start(now)
        case AllDamaged():
            return _all_damaged(now, now.lookup, detached)
        case Found():
            return _found(now, now.lookup, detached)


def stands_at(origin: Origin, head: Candidate) -> bool:
    """Whether a workspace of the main lineage is at this head or past it."""
    if origin.snapshot is None:
        return False
    return origin.snapshot == head.snapshot or (origin.generation or 0) > head.generation


def top_generation(lookup: Lookup) -> int | None:
    """The highest generation that the store holds, damaged ones too; None when it did not say.

    The next save must come after it, or it would lose a race against a damaged head.
    """
    match lookup:
        case Unreachable():
            return None
        case NoSnapshot():
            return 0
        case AllDamaged():
            return max(one.generation for one in lookup.damaged)
        case Found():
            return max(one.generation for one in (lookup.usable, *lookup.damaged))


def _keep_live(now: Situation, detached: bool) -> Decision:
    if detached and not now.without_snapshot:
        message = (
            "Somebody is working in this sandbox, so it was left alone. It runs without its saved "
            "snapshot: stop it and start it again to bring that back; the work in it is kept aside."
        )
    else:
        message = "The sandbox was running already."
    return Decision("keep", "kept", message, detached=detached)


def _without_store(now: Situation, why: str, detached: bool) -> Decision:
    if now.live:
        return Decision("keep", "kept", "The sandbox was running already.", detached=detached)
    if not detached and now.last_known is not None and stands_at(now.origin, now.last_known):
        here = "The workspace was here, at the last snapshot that was made of it."
        return Decision("keep", "kept", f"{here} {why}")
    never_saved = now.known is None and now.origin.snapshot is None
    if not detached and never_saved and not now.origin.empty:
        return Decision("keep", "kept", "The workspace was here; it has not been saved yet.")
    if now.without_snapshot:
        return _leave(now, "without-snapshot", _WITHOUT, now.known)
    return Decision("ask", "store-unreachable", why, detached=detached)


def _first_start(now: Situation) -> Decision:
    if now.origin.empty and now.origin.snapshot is None:
        return _fresh(now, "none", "There is no snapshot yet.", detached=False, pinned=None)
    return Decision("keep", "kept", "The workspace was here; the store has no snapshot of it.")


def _all_damaged(now: Situation, lookup: AllDamaged, detached: bool) -> Decision:
    newest = lookup.damaged[0]
    if not detached and stands_at(now.origin, newest):
        return Decision(
            "keep",
            "kept",
            "The workspace was here. Its snapshots in the store are damaged; save it soon.",
            at=newest,
        )
    if now.without_snapshot:
        return _leave(now, "without-snapshot", _WITHOUT, newest.snapshot)
    return _leave(
        now,
        "damaged-none",
        "Every snapshot of this branch is damaged, so none was restored. They stay in the store.",
        newest.snapshot,
    )


def _found(now: Situation, lookup: Found, detached: bool) -> Decision:
    usable = lookup.usable
    origin = now.origin
    if origin.snapshot == usable.snapshot or (not detached and stands_at(origin, usable)):
        return Decision(
            "keep", "kept", "The workspace was here, at its newest snapshot or past it.", at=usable
        )
    if now.without_snapshot:
        return _leave(now, "without-snapshot", _WITHOUT, usable.snapshot)
    save_aside = origin.unsaved and not (origin.empty and origin.snapshot is None)
    aside = f" {KEPT_ASIDE}" if save_aside else ""
    if lookup.damaged:
        names = ", ".join(one.snapshot for one in lookup.damaged)
        return Decision(
            "restore",
            "damaged-used-older",
            f"Damaged and passed over: {names}. The one before was restored.{aside}",
            head=usable,
            save_aside=save_aside,
            at=usable,
        )
    return Decision(
        "restore",
        "restored",
        f"Restored.{aside}",
        head=usable,
        save_aside=save_aside,
        at=usable,
    )


def _leave(now: Situation, outcome: Outcome, message: str, pinned: SnapshotId | None) -> Decision:
    """Go on without the snapshot that should have been restored."""
    if now.origin.empty and now.origin.snapshot is None:
        return _fresh(now, outcome, message, detached=True, pinned=pinned)
    return Decision("keep", outcome, message, detached=True, pinned=pinned)


def _fresh(
    now: Situation, outcome: Outcome, message: str, *, detached: bool, pinned: SnapshotId | None
) -> Decision:
    if now.seedable:
        told: Outcome = "template" if outcome == "none" else outcome
        began = "Began from the template." if outcome == "none" else message
        return Decision("seed", told, began, detached=detached, pinned=pinned)
    return Decision("nothing", outcome, message, detached=detached, pinned=pinned)


KEPT_ASIDE = "The unsaved work that was here is kept aside."
STORE_EMPTY = (
    "The snapshot store answers, but it has none of the snapshots that were made of this branch. "
    "Check that it is the right one."
)
_WITHOUT = (
    "Started without the saved snapshot. What is saved from here on is kept aside until you choose."
)
