"""What is kept, what goes and what it all comes to, over the API."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from limpet.control.db import EMBEDDED_ORG, PruneRow, SandboxRow
from limpet.control.pruner import PruneBusyError, Pruner
from limpet.control.usage import OrgUsage, QuotaExceededError
from limpet.errors import StoreUnavailableError
from limpet.ids import AgentId, Branch, SnapshotId
from limpet.snapshots import condemned as condemned_module
from limpet.snapshots.lineage import BranchRef
from limpet.snapshots.repository import Head, SnapshotRepository
from limpet.stores.keys import TEMPLATES_ORG
from tests.control.live_app import LiveApp, live_app
from tests.snapshots.packed_streams import in_pieces, save_stream, tree_of

pytestmark = pytest.mark.anyio


@pytest.fixture
async def app(tmp_path: Path) -> AsyncIterator[LiveApp]:
    async with live_app(tmp_path, prune_every_s=0, retention_last=2, retention_hours=0) as found:
        yield found


async def saves(app: LiveApp, agent: dict[str, Any], count: int) -> list[Head]:
    """Snapshots of the agent's branch, of different content."""
    repository = SnapshotRepository(app.limpet.services.store)
    ref = BranchRef(EMBEDDED_ORG, AgentId(agent["id"]), Branch(agent["default_branch"]))
    return [
        (
            await repository.save_packed(
                ref, in_pieces(save_stream(tree_of({"n": b"%d" % number}))), base=None,
                reason="manual", parent=None, fencing=1, expected_generation=number,
            )
        ).head
        for number in range(count)
    ]  # fmt: skip


async def test_the_store_tells_what_it_holds_and_what_goes(
    app: LiveApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = await app.agent(title="one")
    status, none = await app.api("GET", "/store/stats")
    assert (status, none["snapshots"], none["last_prune"]) == (200, 0, None)
    assert none["retention"] == {
        "last": 2,
        "hours": 0,
        "days": 30,
        "turns": 200,
        "source": "server",
    }
    await saves(app, agent, 5)
    _, cached = await app.api("GET", "/store/stats")
    _, stats = await app.api("GET", "/store/stats?fresh=true")
    assert (cached["snapshots"], stats["snapshots"]) == (0, 5)
    assert 0 < stats["logical_bytes"] < stats["stored_bytes"]
    _, would = await app.api("POST", "/store/prune", {"dry_run": True})
    assert (would["condemned_snapshots"], would["dry_run"]) == (3, True)
    _, did = await app.api("POST", "/store/prune", {})
    assert (did["condemned_snapshots"], did["deleted_snapshots"]) == (3, 0)
    _, stats = await app.api("GET", "/store/stats")
    assert stats["condemned_bytes"] > 0
    assert stats["last_prune"]["report"] == did
    assert stats["last_prune"]["error"] is None
    monkeypatch.setattr("limpet.snapshots.prune.GRACE", timedelta(0))
    _, did = await app.api("POST", "/store/prune", {})
    assert (did["deleted_snapshots"], did["snapshots"]) == (3, 5)
    _, listed = await app.api("GET", f"/agents/{agent['id']}/snapshots")
    assert len(listed["snapshots"]) == 2


async def test_an_agent_says_for_itself_what_is_kept(app: LiveApp) -> None:
    agent, other = await app.agent(title="one"), await app.agent(title="other")
    await saves(app, agent, 4)
    await saves(app, other, 4)
    where = {"agent_id": agent["id"]}
    status, kept = await app.api("POST", "/retention", {**where, "last": 4})
    assert (status, kept) == (
        200,
        {"last": 4, "hours": 0, "days": 30, "turns": 200, "source": "agent"},
    )
    _, did = await app.api("POST", "/store/prune", {"dry_run": True})
    assert did["condemned_snapshots"] == 2
    await app.api("POST", "/retention", {"last": 3, "days": 0, "turns": 7})
    _, kept = await app.api("GET", f"/retention?agent_id={other['id']}")
    assert kept == {"last": 3, "hours": 0, "days": 0, "turns": 7, "source": "org"}
    _, did = await app.api("POST", "/store/prune", {"dry_run": True})
    assert did["condemned_snapshots"] == 1
    _, kept = await app.api("POST", "/retention", {**where, "reset": True})
    assert (kept["last"], kept["source"]) == (3, "org")


async def test_what_cannot_be_kept_is_refused(app: LiveApp) -> None:
    for body, wanted in (
        ({}, 400), ({"last": 0}, 400), ({"last": "x"}, 400), ({"days": 10**9}, 400),
        ({"last": 3, "reset": True}, 400), ({"weeks": 3}, 400),
        ({"agent_id": "agt_none", "last": 3}, 404), ({"agent_id": "agt_none", "reset": True}, 404),
    ):  # fmt: skip
        status, told = await app.api("POST", "/retention", body)
        assert status == wanted, body
        assert told["error"]["message"]
    _, kept = await app.api("GET", "/retention")
    assert kept["source"] == "server"


async def test_what_a_sandbox_grew_from_or_waits_for_stays(app: LiveApp) -> None:
    agent = await app.agent(title="one")
    heads = await saves(app, agent, 6)
    async with app.limpet.services.database.session() as session:
        session.add(
            SandboxRow(
                org_id=EMBEDDED_ORG, agent_id=agent["id"], branch=agent["default_branch"],
                handle="h-1", head_snapshot=heads[0].snapshot, pinned_snapshot=heads[2].snapshot,
            )
        )  # fmt: skip
    _, did = await app.api("POST", "/store/prune", {})
    assert did["condemned_snapshots"] == 2
    store = app.limpet.services.store
    [record] = await condemned_module.CondemnedObjects(store, EMBEDDED_ORG).records()
    assert {int(key[-3:]) for key in record.keys} == {2, 4}


async def test_two_servers_never_prune_one_org_at_once(app: LiveApp) -> None:
    services = app.limpet.services
    settings = services.settings.model_copy(
        update={"database_url": SecretStr("postgresql://elsewhere")}
    )

    async def none() -> set[SnapshotId]:
        return set()

    def other(owner: str) -> Pruner:
        return Pruner(services.database, services.store, settings, owner, none)

    async with services.database.session() as session:
        until = datetime.now(UTC) + timedelta(minutes=5)
        session.add(PruneRow(org_id=EMBEDDED_ORG, lease_owner="a", lease_until=until))
    with pytest.raises(PruneBusyError):
        await other("b").prune(EMBEDDED_ORG)
    await other("a").prune(EMBEDDED_ORG)
    async with services.database.session() as session:
        row = await session.get(PruneRow, EMBEDDED_ORG)
        assert row is not None
        assert row.lease_owner is None
        row.lease_owner, row.lease_until = "dead", datetime.now(UTC) - timedelta(seconds=1)
    await other("b").prune(EMBEDDED_ORG)


async def test_every_org_and_the_templates_are_pruned_when_their_time_has_come(
    app: LiveApp,
) -> None:
    pruner = app.limpet.services.pruner
    every = timedelta(hours=6)
    assert await pruner.due(every) == [EMBEDDED_ORG, TEMPLATES_ORG]
    await pruner.prune(EMBEDDED_ORG)
    assert await pruner.due(every) == [TEMPLATES_ORG]
    await pruner.prune(TEMPLATES_ORG)
    assert await pruner.due(every) == []
    assert await pruner.due(timedelta(0)) == [EMBEDDED_ORG, TEMPLATES_ORG]


async def test_a_prune_that_fails_is_told_until_one_does_not(
    app: LiveApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = await app.agent(title="one")
    await saves(app, agent, 1)
    store = app.limpet.services.store

    async def unreachable(*_: object, **__: object) -> None:
        raise StoreUnavailableError("The store does not answer", hint="Wait.")

    with monkeypatch.context() as patched:
        patched.setattr("limpet.control.pruner.prune", unreachable)
        status, _ = await app.api("POST", "/store/prune", {})
        assert status == 503
    _, stats = await app.api("GET", "/store/stats")
    assert stats["last_prune"]["error"]["message"] == "The store does not answer"
    await app.api("POST", "/store/prune", {})
    _, stats = await app.api("GET", "/store/stats")
    assert (stats["last_prune"]["error"], stats["kind"]) == (None, store.kind)


async def test_beyond_the_quota_saves_are_refused_until_something_goes(app: LiveApp) -> None:
    agent = await app.agent(title="one")
    await saves(app, agent, 2)
    usage = OrgUsage(app.limpet.services.store, 100)
    with pytest.raises(QuotaExceededError, match="of the 100") as told:
        await usage.require_room(EMBEDDED_ORG)
    assert "retention" in told.value.hint
    roomy = OrgUsage(app.limpet.services.store, 1_000_000)
    await roomy.require_room(EMBEDDED_ORG)
    roomy.added(EMBEDDED_ORG, 1_000_000)
    with pytest.raises(QuotaExceededError):
        await roomy.require_room(EMBEDDED_ORG)
    await roomy.of(EMBEDDED_ORG, fresh=True)
    await roomy.require_room(EMBEDDED_ORG)


async def test_asking_twice_at_once_prunes_once(app: LiveApp) -> None:
    pruner = app.limpet.services.pruner
    one, other = await asyncio.gather(
        pruner.prune(EMBEDDED_ORG), pruner.prune(EMBEDDED_ORG), return_exceptions=True
    )
    assert [isinstance(one, PruneBusyError), isinstance(other, PruneBusyError)].count(True) == 1
