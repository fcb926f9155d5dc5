"""What the org's snapshots come to, and how many are kept."""

from typing import Literal, TypedDict, cast

from limpet.sdk.connection import Connection


class Retention(TypedDict):
    """What is kept of each branch; `source` says so: `server`, `org` or `agent`."""

    last: int
    hours: int
    days: int
    turns: int
    source: Literal["server", "org", "agent"]


class Pruned(TypedDict):
    """What a prune did, or would do. Bytes are those of objects in the store."""

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


class LastPrune(TypedDict):
    """When the last prune was, and what came of it."""

    started_at: str | None
    finished_at: str | None
    report: Pruned | None
    error: dict[str, str] | None


class StoreStats(TypedDict):
    """What the org's snapshots come to, in bytes."""

    kind: str
    where: str
    snapshots: int
    logical_bytes: int
    stored_bytes: int
    shared_bytes: int
    condemned_bytes: int
    quota_bytes: int | None
    measured_at: str
    retention: Retention
    last_prune: LastPrune | None


class Store:
    """The operations on the store of one org. Every method raises a `LimpetError`."""

    def __init__(self, line: Connection) -> None:
        self._line = line

    def stats(self, *, fresh: bool = False) -> StoreStats:
        """What the snapshots come to; measured now when `fresh`, else some minutes ago at most."""
        query = {"fresh": "true" if fresh else None}
        return cast(StoreStats, self._line.send("GET", "/store/stats", query=query))

    def prune(self, *, dry_run: bool = False) -> Pruned:
        """Condemn what is not kept, delete what was condemned over 24 hours ago."""
        body = {"dry_run": dry_run}
        return cast(Pruned, self._line.send("POST", "/store/prune", body))

    def retention(self, agent_id: str | None = None) -> Retention:
        """What is kept of an agent's branches; without one, of those that say nothing."""
        query = {"agent_id": agent_id}
        return cast(Retention, self._line.send("GET", "/retention", query=query))

    def set_retention(
        self,
        agent_id: str | None = None,
        *,
        last: int | None = None,
        hours: int | None = None,
        days: int | None = None,
        turns: int | None = None,
        reset: bool = False,
    ) -> Retention:
        """Keep this from now on; what is None stays as it is."""
        said = {
            "agent_id": agent_id, "last": last, "hours": hours, "days": days, "turns": turns
        }  # fmt: skip
        body = {name: value for name, value in said.items() if value is not None}
        return cast(Retention, self._line.send("POST", "/retention", {**body, "reset": reset}))
