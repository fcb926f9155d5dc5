"""snapshots fork, name, delete, and what ls says of forks, work kept aside and what is to go."""

from datetime import UTC, datetime, timedelta
from typing import Any

from tests.cli.conftest import AGENT, SNAPSHOT, Cli
from tests.sdk.wire import Wire, error

BELOW = f"/agents/{AGENT['id']}/snapshots"
ONE = f"{BELOW}/{SNAPSHOT['id']}"
OTHER = {**AGENT, "id": "agt_def456", "title": "My other shop", "default_branch": "limpet/new-bay"}


def later(hours: float) -> str:
    return (datetime.now(UTC) + timedelta(hours=hours)).isoformat()


def forked(agent: dict[str, Any], branch: str) -> dict[str, Any]:
    head = {**SNAPSHOT, "id": "20260103t000000z-cccccccccccc", "branch": branch}
    return {"agent": agent, "branch": branch, "is_new_agent": agent is OTHER, "head": head}


def test_ls_says_where_it_came_from_what_was_kept_aside_and_what_goes(wire: Wire, cli: Cli) -> None:
    aside = {
        **SNAPSHOT, "id": "20260102t000000z-bbbbbbbbbbbb", "lineage": "side-0123456789ab",
        "side_reason": "lost-race", "adoptable": True,
    }  # fmt: skip
    gone = {**SNAPSHOT, "id": "20251231t000000z-dddddddddddd", "is_head": False,
            "condemned_at": later(-1), "deleted_after": later(23)}  # fmt: skip
    fork = {**SNAPSHOT, "reason": "fork", "made_from": {
        "agent_id": "agt_x", "branch": "limpet/far", "snapshot_id": "20251230t000000z-eeeeeeeeeeee",
    }}  # fmt: skip
    wire.on(f"GET {BELOW}", {"snapshots": [aside, fork, gone]})
    ran = cli("snapshots", "ls", "My shop")
    _, first, second, third = ran.out.splitlines()
    assert "lost-race" in first
    assert "fork of agt_x limpet/far 20251230t000000z-eeeeeeeeeeee" in second
    assert "in 23 h" in third
    assert f"limpet snapshots restore {AGENT['id']} {aside['id']}" in ran.err


def test_fork_begins_a_branch_or_an_agent_and_says_how_to_start_it(wire: Wire, cli: Cli) -> None:
    wire.on(f"POST {ONE}/fork", forked(AGENT, "trial/one"))
    ran = cli("snapshots", "fork", "My shop", "latest", "--to", "trial/one", "-n", "begin")
    assert ran.code == 0, ran.err
    assert "limpet start agt_abc123 -b trial/one" in ran.err
    assert wire.last(f"POST {ONE}/fork").json == {"to_branch": "trial/one", "name": "begin"}
    wire.on(f"POST {ONE}/fork", forked(OTHER, "limpet/new-bay"))
    ran = cli("snapshots", "fork", "My shop", "latest", "--new-agent", "--title", "My other shop")
    assert ran.err.rstrip().endswith("limpet start agt_def456")
    assert wire.last(f"POST {ONE}/fork").json == {"new_agent": {"title": "My other shop"}}
    ran = cli("snapshots", "fork", "My shop", "latest", "--new-agent", "--json")
    assert ran.json == forked(OTHER, "limpet/new-bay")
    wire.on("GET /agents", {"agents": [AGENT, OTHER]})
    cli("snapshots", "fork", "My shop", "latest", "--to-agent", "def456")
    assert wire.last(f"POST {ONE}/fork").json == {"to_agent_id": "agt_def456"}


def test_a_fork_that_makes_no_sense_or_is_refused_says_so(wire: Wire, cli: Cli) -> None:
    assert cli("snapshots", "fork", "My shop", "latest", "--title", "T").code == 2
    assert cli("snapshots", "fork", "My shop", "latest", "--new-agent", "--to-agent", "a").code == 2
    wire.on(f"POST {ONE}/fork", error(409, "branch_taken", "it has snapshots already"))
    ran = cli("snapshots", "fork", "My shop", "latest", "--to", "trial/one")
    assert (ran.code, "it has snapshots already" in ran.err) == (5, True)


def test_name_gives_one_and_takes_it_away(wire: Wire, cli: Cli) -> None:
    wire.on(f"PATCH {ONE}", {**SNAPSHOT, "name": "good"})
    assert "kept until you delete it" in cli("snapshots", "name", "My shop", "latest", "good").err
    assert wire.last(f"PATCH {ONE}").json == {"name": "good"}
    wire.on(f"PATCH {ONE}", SNAPSHOT)
    assert cli("snapshots", "name", "My shop", "latest", "--none", "--json").json == SNAPSHOT
    assert wire.last(f"PATCH {ONE}").json == {"name": None}
    assert cli("snapshots", "name", "My shop", "latest").code == 2
    assert cli("snapshots", "name", "My shop", "latest", "good", "--none").code == 2


def test_delete_asks_and_says_until_when_it_can_be_kept(wire: Wire, cli: Cli) -> None:
    wire.on(f"DELETE {ONE}", {**SNAPSHOT, "deleted_after": later(24)})
    assert cli("snapshots", "delete", "My shop", "latest").code == 2, "it must not ask nobody"
    ran = cli("snapshots", "delete", "My shop", "latest", "--yes")
    assert ran.code == 0, ran.err
    assert "in 24 h" in ran.err
    assert f"limpet snapshots name {AGENT['id']} {SNAPSHOT['id']} NAME" in ran.err
    wire.on(f"DELETE {ONE}", error(409, "snapshot_in_use", "a start restores it"))
    assert cli("snapshots", "delete", "My shop", "latest", "--yes").code == 5
