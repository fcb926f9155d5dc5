"""Forks, names and deletions as routes and as tools."""

import asyncio
from typing import Any

import pytest

from tests.control.live_app import LiveApp
from tests.control.sandboxes.test_history import foreign_tar
from tests.control.test_mcp import connected

pytestmark = pytest.mark.anyio
MISSING = "20260101t000000z-aaaaaaaaaaaa"


async def imported(live: LiveApp, **agent: Any) -> tuple[dict[str, Any], dict[str, Any], str]:
    """An agent, its one snapshot, and where that is."""
    made = await live.agent(**agent)
    status, snapshot = await live.api(
        "POST", f"/agents/{made['id']}/snapshots/import", data=foreign_tar("repo/a.txt")
    )
    assert status == 200, snapshot
    return made, snapshot, f"/agents/{made['id']}/snapshots/{snapshot['id']}"


async def listed(live: LiveApp, agent: str) -> list[dict[str, Any]]:
    _, answer = await live.api("GET", f"/agents/{agent}/snapshots")
    return list(answer["snapshots"])


async def test_a_new_agent_begins_with_a_snapshot_and_has_the_others_settings(
    live: LiveApp,
) -> None:
    agent, snapshot, one = await imported(
        live, title="Tide table", instructions="Be calm", clone_url="https://u:secret@h.example/r"
    )
    status, made = await live.api("POST", f"{one}/fork", {"new_agent": {}, "name": "begin"})
    assert status == 200, made
    new = made["agent"]
    assert made["is_new_agent"]
    assert new["id"] != agent["id"]
    assert new["default_branch"] == made["branch"] == made["head"]["branch"]
    assert new["default_branch"] != agent["default_branch"]
    assert (new["title"], new["metadata"]) == ("Tide table (fork)", agent["metadata"])
    (head,) = await listed(live, new["id"])
    assert head == made["head"]
    assert (head["name"], head["reason"], head["is_head"]) == ("begin", "fork", True)
    assert head["made_from"] == {
        "agent_id": agent["id"],
        "branch": agent["default_branch"],
        "snapshot_id": snapshot["id"],
    }
    status, diff = await live.api("GET", f"/agents/{new['id']}/snapshots/{head['id']}/diff")
    assert (status, diff["changes"]) == (200, [])


async def test_an_idempotency_key_makes_one_fork_of_many_tries(live: LiveApp) -> None:
    _, _, one = await imported(live)
    key = {"Idempotency-Key": "fork-one"}
    tries = await asyncio.gather(
        *(live.api("POST", f"{one}/fork", {"new_agent": {}}, headers=key) for _ in range(3))
    )
    assert {status for status, _ in tries} == {200}
    assert len({made["agent"]["id"] for _, made in tries}) == 1
    assert len((await live.api("GET", "/agents"))[1]["agents"]) == 2


async def test_a_fork_that_is_refused_leaves_no_agent(live: LiveApp) -> None:
    agent, _, one = await imported(live)
    taken = agent["default_branch"]
    missing = f"/agents/{agent['id']}/snapshots/{MISSING}/fork"
    for path, body, status in (
        (f"{one}/fork", {"new_agent": {}, "to_branch": taken}, 409),
        (f"{one}/fork", {"to_branch": taken}, 409),
        (f"{one}/fork", {"to_branch": "a..b"}, 400),
        (f"{one}/fork", {"new_agent": {}, "to_agent_id": agent["id"]}, 400),
        (f"{one}/fork", {"to_agent_id": "agt_none"}, 404),
        (missing, {"new_agent": {}}, 404),
    ):
        assert (await live.api("POST", path, body))[0] == status, (path, body)
    packs = live.limpet.services.settings.data_dir / "sandbox-snapshots"
    for pack in [*packs.rglob("packs/*"), *packs.rglob("trees/*"), *packs.rglob("*.tar")]:
        pack.unlink()
    status, answer = await live.api("POST", f"{one}/fork", {"new_agent": {}})
    assert (status, answer["error"]["code"]) == (422, "snapshot_damaged")
    assert len((await live.api("GET", "/agents"))[1]["agents"]) == 1
    assert len((await live.api("GET", "/sandboxes"))[1]["sandboxes"]) == 1


async def test_names_and_deletions_are_the_same_over_both_doors(live: LiveApp) -> None:
    agent, first, one = await imported(live)
    await live.api("POST", f"/agents/{agent['id']}/snapshots/import", data=foreign_tar("repo/b"))
    ref = {"agent_id": agent["id"], "snapshot_id": first["id"]}
    assert (await live.api("PATCH", one, {"name": " good "}))[1]["name"] == "good"
    assert (await live.api("GET", one))[1]["name"] == "good"
    assert (await live.api("PATCH", one, {}))[0] == 400, "null must be said"
    assert (await live.api("PATCH", one, {"name": "a\nb"}))[0] == 400
    assert (await live.api("PATCH", one, {"name": "x" * 101}))[0] == 400
    async with connected(live, "auto") as client:
        gone = await client.call_tool("SNAPSHOT_DELETE", ref)
        assert not gone.is_error
        assert (await live.api("GET", one))[1] == gone.structured_content
        again = await live.api("DELETE", one)
        assert again == (200, gone.structured_content)
        assert again[1]["condemned_because"] == "deleted"
        kept = await client.call_tool("SNAPSHOT_NAME", {**ref, "name": "kept"})
        assert not kept.is_error
        assert (await live.api("GET", one))[1] == kept.structured_content
        unnamed = await client.call_tool("SNAPSHOT_NAME", {**ref, "name": None})
        assert unnamed.structured_content == {**kept.structured_content, "name": None}
    newest = (await listed(live, agent["id"]))[0]
    status, answer = await live.api("DELETE", f"/agents/{agent['id']}/snapshots/{newest['id']}")
    assert (status, answer["error"]["code"]) == (409, "snapshot_in_use")
    assert answer["error"]["hint"]
