"""What the operations on the store take and give."""

from datetime import datetime
from typing import Any, Literal

from pydantic import Field

from limpet.control.operations.models import AgentIdText, Problem
from limpet.control.operations.shapes import Input, Output
from limpet.snapshots.retention import MAX_DAYS, MAX_HOURS, MAX_LAST, MAX_TURNS


class StoreStatsOf(Input):
    """`fresh` measures anew; else what is told may be some minutes old."""

    fresh: bool = False


class Pruned(Output):
    """What a prune did, or, when it was a `dry_run`, would do. Bytes are those in the store.

    What is condemned goes 24 hours later at the earliest; `spared` is what was condemned and is
    needed again, `waiting` what is not old enough yet.
    """

    snapshots: int
    condemned_snapshots: int
    condemned_objects: int
    condemned_bytes: int
    spared: int
    deleted_snapshots: int
    deleted_objects: int
    deleted_bytes: int
    waiting: int
    dry_run: bool


class LastPrune(Output):
    """The last prune of the org's snapshots; `report` and `error` are those of the last one that
    ended so."""

    started_at: datetime | None
    finished_at: datetime | None
    report: Pruned | None
    error: Problem | None


class Retention(Output):
    """What is kept of each branch: the `last` snapshots, of the last `hours` hours one an hour, of
    the last `days` days one a day, of those before and after agents' turns the last `turns`; what
    people named, until it is deleted. `source` says it."""

    last: int
    hours: int
    days: int
    turns: int
    source: Literal["server", "org", "agent"]


class StoreStats(Output):
    """What the org's snapshots come to.

    `logical_bytes` counts every file of every snapshot as if each were stored by itself,
    `stored_bytes` is what they take, `shared_bytes` what they need of the templates, which all orgs
    share. `condemned_bytes` of the stored ones are going to be deleted.
    """

    kind: str
    where: str
    snapshots: int
    logical_bytes: int
    stored_bytes: int
    shared_bytes: int
    condemned_bytes: int
    quota_bytes: int | None
    measured_at: datetime
    retention: Retention
    last_prune: LastPrune | None


class StorePrune(Input):
    """`dry_run` tells what would be done and does nothing."""

    dry_run: bool = False


class RetentionOf(Input):
    """Without an agent, that of the org."""

    agent_id: AgentIdText | None = None


class RetentionSet(Input):
    """What is not said stays as it is; `reset` goes back to what the org, or the server, says."""

    agent_id: AgentIdText | None = None
    last: int | None = Field(default=None, ge=1, le=MAX_LAST)
    hours: int | None = Field(default=None, ge=0, le=MAX_HOURS)
    days: int | None = Field(default=None, ge=0, le=MAX_DAYS)
    turns: int | None = Field(default=None, ge=0, le=MAX_TURNS)
    reset: bool = False

    def changes(self) -> dict[str, Any]:
        """Those of the four that are said."""
        told = {
            "last": self.last, "hours": self.hours, "days": self.days, "turns": self.turns
        }  # fmt: skip
        return {name: value for name, value in told.items() if value is not None}
