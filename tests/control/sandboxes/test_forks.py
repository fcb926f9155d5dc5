"""A branch, or another agent, begins with a snapshot."""

import asyncio
from pathlib import Path

import pytest

from limpet.control.db import EMBEDDED_USER, AgentRow
from limpet.control.operations.models import Snapshot
from limpet.control.sandboxes.forking import BranchTakenError
from limpet.control.sandboxes.service import SnapshotSource
from limpet.control.usage import QuotaExceededError
from limpet.errors import InvalidInputError, NotFoundError, SnapshotDamagedError
from limpet.ids import Branch, OrgId, SnapshotId
from tests.control.sandboxes.conftest import Box, House
from tests.control.sandboxes.test_history import foreign_tar, pieces

pytestmark = pytest.mark.anyio


async def fork(
    box: Box, snapshot: str, to: Box | None = None, branch: str | None = None, name: str = ""
) -> Snapshot:
    source = SnapshotSource(box.key.agent, None, SnapshotId(snapshot))
    return await box.service.fork(
        box.key.org,
        source,
        (to or box).key.agent,
        Branch(branch) if branch is not None else None,
        name=name or None,
    )


def on(box: Box, branch: str) -> Box:
    """The sandbox of another branch of the same agent."""
    agent = AgentRow(org_id=box.key.org, id=box.agent.id, created_by=EMBEDDED_USER)
    for column in ("title", "template", "clone_url"):
        setattr(agent, column, getattr(box.agent, column))
    agent.default_branch = branch
    return Box(box.house, agent)


async def git(box: Box, command: str) -> str:
    ran = await box.service.exec(box.key.org, await box.handle(), f"git {command}")
    assert ran["exitCode"] == 0, ran
    return str(ran["stdout"]).strip()


async def set_up(box: Box) -> None:
    """Start it, and wait until its daemon has done all that a start does."""
    await box.start()
    client = await box.client()
    async with asyncio.timeout(60):
        while (now := await client.call("GET", "/health"))["phase"] != "idle" or any(
            now["orchestrator"].values()
        ):
            pass


def objects(house: House) -> dict[str, bytes]:
    root = house.data_dir / "sandbox-snapshots"
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


async def test_a_fork_puts_one_head_and_its_branch_starts_from_there(box: Box) -> None:
    await box.start()
    await box.write("a.txt", "one")
    first = await box.save("first")
    await box.write("a.txt", "two")
    await box.save()
    before = objects(box.house)
    forked = await fork(box, first.id, branch="trial/one")
    after = objects(box.house)
    (put,) = set(after) - set(before)
    assert {name: after[name] for name in before} == before
    assert "/heads/" in put
    assert (forked.generation, forked.parent, forked.name) == (1, None, None)
    assert forked.made_from is not None
    assert forked.made_from.model_dump() == {
        "agent_id": box.agent.id,
        "branch": box.agent.default_branch,
        "snapshot_id": first.id,
    }
    trial = on(box, "trial/one")
    service = box.service
    listed = await service.snapshots(box.key.org, box.key.agent, Branch("trial/one"))
    assert listed == [forked]
    assert (await service.get(box.key.org, await trial.handle())).state == "stopped"
    assert await trial.outcome() == "restored"
    assert await trial.read("a.txt") == "one"
    assert await box.read("a.txt") == "two"
    await trial.write("a.txt", "three")
    saved = await trial.save()
    assert (saved.generation, saved.parent) == (2, forked.id)


async def test_a_fork_of_a_template_stands_on_its_own_branch_with_all_work(house: House) -> None:
    box = await house.agent(template="page")
    await box.start()
    await box.write("new.txt", "not committed")
    await box.write("README.md", "changed")
    await git(box, "add README.md")
    saved = await box.save()
    status, commit = await git(box, "status --porcelain"), await git(box, "rev-parse HEAD")
    await fork(box, saved.id, branch="trial/two")
    trial = on(box, "trial/two")
    await set_up(trial)
    assert await git(trial, "symbolic-ref --short HEAD") == "trial/two"
    assert await git(trial, "status --porcelain") == status
    assert await git(trial, "rev-parse HEAD") == commit
    assert await git(box, "symbolic-ref --short HEAD") == box.agent.default_branch
    await git(trial, "checkout -q -b elsewhere")
    await trial.save()
    await trial.lose()
    await set_up(trial)
    assert await git(trial, "symbolic-ref --short HEAD") == "elsewhere"


async def test_two_forks_at_once_begin_one_branch(box: Box) -> None:
    await box.start()
    await box.write("a.txt", "one")
    saved = await box.save()
    done = await asyncio.gather(
        *(fork(box, saved.id, branch="trial/both") for _ in range(2)), return_exceptions=True
    )
    assert [type(one) for one in done if isinstance(one, Exception)] == [BranchTakenError]
    listed = await box.service.snapshots(box.key.org, box.key.agent, Branch("trial/both"))
    assert [one.lineage for one in listed] == ["main"]


async def test_two_servers_that_fork_at_once_begin_one_branch(house: House, tmp_path: Path) -> None:
    """Each has a database of its own, so the store alone decides."""
    box = await house.agent()
    await box.start()
    await box.write("a.txt", "one")
    saved = await box.save()
    (tmp_path / "second").mkdir(mode=0o700)
    second = House(tmp_path / "second", house.templates_dir)
    second.store = house.store
    await second.open()
    try:
        twin = await second.agent(id=box.agent.id, default_branch=box.agent.default_branch)
        done = await asyncio.gather(
            *(fork(one, saved.id, branch="trial/both") for one in (box, twin)),
            return_exceptions=True,
        )
        assert [type(one) for one in done if isinstance(one, Exception)] == [BranchTakenError]
        (won,) = [one for one in done if isinstance(one, Snapshot)]
        listed = await box.service.snapshots(box.key.org, box.key.agent, Branch("trial/both"))
        assert [one.id for one in listed if one.lineage == "main"] == [won.id]
        aside = [one for one in listed if one.lineage != "main"]
        assert all(one.condemned_because == "deleted" for one in aside)
        assert not any(one.adoptable for one in aside)
    finally:
        await second.destroy()


async def test_a_branch_that_has_something_is_not_forked_over(house: House) -> None:
    box, other = await house.agent(), await house.agent()
    await box.start()
    await box.write("a.txt", "one")
    saved = await box.save()
    with pytest.raises(BranchTakenError, match="up"):
        await fork(box, saved.id, branch=box.agent.default_branch)
    await box.stop()
    with pytest.raises(BranchTakenError, match="snapshots already"):
        await fork(box, saved.id, branch=box.agent.default_branch)
    with pytest.raises(BranchTakenError, match="two agents never share one"):
        await fork(box, saved.id, branch=other.agent.default_branch)
    with pytest.raises(InvalidInputError):
        await fork(box, saved.id, branch="../up")
    with pytest.raises(NotFoundError):
        await fork(box, "20260101t000000z-aaaaaaaaaaaa")
    assert await other.snapshots() == []
    forked = await fork(box, saved.id, other, other.agent.default_branch, name="from the other")
    assert forked.name == "from the other"
    assert await other.outcome() == "restored"
    assert await other.read("a.txt") == "one"


async def test_a_branch_whose_snapshots_cannot_be_read_is_not_free(house: House) -> None:
    box, other = await house.agent(), await house.agent()
    await box.start()
    await box.write("a.txt", "one")
    saved = await box.save()
    await fork(box, saved.id, other, "trial/five")
    (head,) = house.data_dir.rglob("heads/*/trial/five~/*")
    head.chmod(0o600)
    head.write_text("{")
    await house.service.parts.rows.remove(on(other, "trial/five").key)
    with pytest.raises(BranchTakenError, match="snapshots already"):
        await fork(box, saved.id, other, "trial/five")


async def test_a_damaged_snapshot_is_not_forked_and_leaves_no_sandbox(box: Box) -> None:
    await box.start()
    await box.write("a.txt", "one")
    saved = await box.save()
    box.stored(saved.id).unlink()
    with pytest.raises(SnapshotDamagedError):
        await fork(box, saved.id, branch="trial/three")
    assert [one.branch for one in await box.service.list(box.key.org)] == [box.key.branch]


async def test_nobody_forks_what_is_another_orgs(box: Box) -> None:
    await box.start()
    await box.write("a.txt", "one")
    saved = await box.save()
    source = SnapshotSource(box.key.agent, None, SnapshotId(saved.id))
    with pytest.raises(NotFoundError):
        await box.service.fork(OrgId("other"), source, box.key.agent, Branch("trial"))


async def test_an_org_whose_room_is_used_up_can_fork_and_not_import(house: House) -> None:
    box = await house.agent()
    await box.start()
    await box.write("a.txt", "one")
    saved = await box.save()
    await box.stop()
    house.service.parts.usage.quota_bytes = 1
    forked = await fork(box, saved.id, branch="trial/four")
    assert forked.stored_bytes == 0
    with pytest.raises(QuotaExceededError):
        await box.service.import_(box.key.org, box.key.agent, None, pieces(foreign_tar("repo/b")))
