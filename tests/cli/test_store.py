"""store stats, prune, retention."""

from typing import Any

from tests.cli.conftest import AGENT, Cli
from tests.sdk.wire import Wire, error

KEPT: dict[str, Any] = {
    "last": 10, "hours": 24, "days": 30, "turns": 200, "source": "server"
}  # fmt: skip
PRUNED: dict[str, Any] = {
    "snapshots": 40, "condemned_snapshots": 3, "condemned_objects": 2, "condemned_bytes": 5_000_000,
    "spared": 1, "deleted_snapshots": 4, "deleted_objects": 6, "deleted_bytes": 7_000_000,
    "waiting": 8, "dry_run": False,
}  # fmt: skip
STATS: dict[str, Any] = {
    "kind": "s3", "where": "s3://bucket/prefix", "snapshots": 40, "logical_bytes": 9_000_000_000,
    "stored_bytes": 300_000_000, "shared_bytes": 120_000_000, "condemned_bytes": 5_000_000,
    "quota_bytes": 10_000_000_000, "measured_at": "2026-01-01T00:00:00Z", "retention": KEPT,
    "last_prune": {"started_at": "2026-01-01T00:00:00Z", "finished_at": "2026-01-01T00:00:00Z",
                   "report": PRUNED, "error": None},
}  # fmt: skip


def test_stats_say_what_is_stored_shared_and_going(wire: Wire, cli: Cli) -> None:
    wire.on("GET /store/stats", STATS)
    shown = cli("store", "stats").out
    for told in (
        "s3://bucket/prefix", "40, 9.0 GB of files", "300.0 MB of 10.0 GB", "30.0 times less",
        "120.0 MB of templates", "5.0 MB that nothing", "the last 10, one an hour for 24 hours",
    ):  # fmt: skip
        assert told in shown
    assert cli("store", "stats", "--fresh", "--json").json == STATS
    assert wire.last("GET /store/stats").query == {"fresh": "true"}


def test_stats_of_a_store_that_was_never_pruned_or_could_not_be(wire: Wire, cli: Cli) -> None:
    empty = {**STATS, "snapshots": 0, "logical_bytes": 0, "stored_bytes": 0, "last_prune": None}
    wire.on("GET /store/stats", empty)
    assert "never yet" in cli("store", "stats").out
    failed = {"code": "prune_refused", "message": "Nothing was deleted", "hint": "Run repair."}
    wire.on("GET /store/stats", {**STATS, "last_prune": {**STATS["last_prune"], "error": failed}})
    assert "failed: Nothing was deleted Run repair." in cli("store", "stats").out


def test_prune_says_what_it_did_or_would_do(wire: Wire, cli: Cli) -> None:
    wire.on("POST /store/prune", PRUNED)
    ran = cli("store", "prune")
    assert "4 snapshots and 6 objects (7.0 MB) deleted" in ran.err
    assert "3 snapshots and 2 objects (5.0 MB) condemned, to be deleted in 24 h" in ran.err
    assert "not long enough ago: 8" in ran.err
    assert wire.last("POST /store/prune").json == {"dry_run": False}
    wire.on("POST /store/prune", {**PRUNED, "dry_run": True})
    assert "(7.0 MB) would be deleted" in cli("store", "prune", "--dry-run").err
    assert cli("store", "prune", "-n", "--json").json == {**PRUNED, "dry_run": True}
    wire.on("POST /store/prune", dict.fromkeys(PRUNED, 0) | {"snapshots": 1})
    assert "Nothing to delete: 1 snapshot, all of them kept" in cli("store", "prune").err
    wire.on("POST /store/prune", error(409, "prune_busy"))
    assert cli("store", "prune").code == 5


def test_retention_is_shown_and_changed_and_asks_before_less_is_kept(wire: Wire, cli: Cli) -> None:
    wire.on("GET /retention", KEPT)
    assert "one a day for 30 days" in cli("store", "retention").out
    wire.on("POST /retention", {**KEPT, "last": 20, "source": "org"})
    ran = cli("store", "retention", "--last", "20")
    assert "the last 20" in ran.out
    assert "for this org" in ran.out
    assert wire.last("POST /retention").json == {"last": 20, "reset": False}
    assert cli("store", "retention", "--days", "7").code == 2, "it must not ask nobody"
    assert cli("store", "retention", "My shop", "--days", "7", "--yes", "--json").code == 0
    assert wire.last("POST /retention").json == {
        "agent_id": AGENT["id"], "days": 7, "reset": False,
    }  # fmt: skip
    cli("store", "retention", "--reset")
    assert wire.last("POST /retention").json == {"reset": True}
