"""Which snapshots are kept: the last ones, fewer of those of today, fewer still of this month.

Pure. A snapshot that people named is kept until they delete it, and so is the newest of each
lineage: a side lineage holds work that waits for somebody to say what shall become of it. Of those
that agents' turns named, the last ones are kept, so that these turns can be undone.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Self

from limpet.errors import InvalidInputError
from limpet.ids import SnapshotId
from limpet.snapshots.lineage import BranchRef, Lineage

MAX_LAST: Final = 10_000
MAX_HOURS: Final = 24 * 366
MAX_DAYS: Final = 366 * 100
MAX_TURNS: Final = 100_000


@dataclass(frozen=True, slots=True)
class RetentionPolicy:
    """How many snapshots of a lineage are kept: the `last` ones whatever their age (at least 1);
    of the last `hours` hours the newest of each hour, of the last `days` days that of each day, in
    UTC; and of those that show the workspace before or after an agent's turn, the last `turns`.
    """

    last: int = 10
    hours: int = 24
    days: int = 30
    turns: int = 200

    def __post_init__(self) -> None:
        for name, least, most in (
            ("last", 1, MAX_LAST), ("hours", 0, MAX_HOURS), ("days", 0, MAX_DAYS),
            ("turns", 0, MAX_TURNS),
        ):  # fmt: skip
            told = getattr(self, name)
            if type(told) is not int or not least <= told <= most:
                raise InvalidInputError(f"{name}: must be from {least} to {most:,}")

    def as_dict(self) -> dict[str, int]:
        """As JSON."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @classmethod
    def from_dict(cls, told: Mapping[str, Any]) -> Self:
        """What `as_dict` gave; what it does not tell is the default. `InvalidInputError`."""
        known = {field.name for field in fields(cls)}
        return cls(**{name: value for name, value in told.items() if name in known})


@dataclass(frozen=True, slots=True)
class Dated:
    """What retention must know of a snapshot."""

    ref: BranchRef
    lineage: Lineage
    generation: int
    snapshot: SnapshotId
    created_at: datetime
    named: bool
    """By a person."""
    of_turn: bool = False
    """Named by a turn."""


def retained(
    snapshots: Iterable[Dated],
    policy: RetentionPolicy,
    now: datetime,
    *,
    keep: Collection[SnapshotId] = (),
) -> set[SnapshotId]:
    """Those of one lineage's snapshots that are kept; `keep` are in use, whatever their age.

    What was made in the future, by a clock that is wrong, counts as new.
    """
    newest_first = sorted(snapshots, key=lambda one: one.generation, reverse=True)
    kept = {one.snapshot for one in newest_first if one.named or one.snapshot in keep}
    kept |= {one.snapshot for one in newest_first[: policy.last]}
    of_turns = [one.snapshot for one in newest_first if one.of_turn]
    kept |= set(of_turns[: policy.turns])
    for count, length in (
        (policy.hours, timedelta(hours=1)),
        (policy.days, timedelta(days=1)),
    ):
        met: set[int] = set()
        for one in newest_first:
            if now - one.created_at > count * length:
                continue
            period = int(one.created_at.astimezone(UTC).timestamp() // length.total_seconds())
            if period not in met:
                met.add(period)
                kept.add(one.snapshot)
    return kept


def by_lineage(snapshots: Iterable[Dated]) -> dict[tuple[BranchRef, Lineage], list[Dated]]:
    """The snapshots of each lineage."""
    found: dict[tuple[BranchRef, Lineage], list[Dated]] = {}
    for one in snapshots:
        found.setdefault((one.ref, one.lineage), []).append(one)
    return found
