"""Lineages: one winner, nothing lost, damage told, the older head used."""

import asyncio
import io
import os
import signal
import subprocess
import sys
import tarfile
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from limpet.errors import SnapshotDamagedError, StoreUnavailableError, TarDamagedError
from limpet.ids import AgentId, Branch, OrgId, SnapshotId
from limpet.snapshots.repository import (
    MAIN,
    BranchRef,
    Head,
    Lineage,
    SaveSupersededError,
    SnapshotRepository,
)
from limpet.stores.keys import head_key, legacy_tar_key, tar_key
from limpet.stores.local import LocalStore

pytestmark = pytest.mark.anyio
REF = BranchRef(OrgId("local"), AgentId("agt_1"), Branch("limpet/calm-cove"))


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "store")


@pytest.fixture
def repository(store: LocalStore) -> SnapshotRepository:
    return SnapshotRepository(store)


def tar(text: str) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as made:
        info = tarfile.TarInfo("a.txt")
        info.size = len(text)
        made.addfile(info, io.BytesIO(text.encode()))
    return out.getvalue()


async def chunks(body: bytes, size: int = 700) -> AsyncIterator[bytes]:
    for start in range(0, len(body), size):
        yield body[start : start + size]


async def save(
    repository: SnapshotRepository,
    text: str,
    generation: int,
    lineage: Lineage = MAIN,
    parent: SnapshotId | None = None,
) -> Head:
    return await repository.save_tar(
        REF, chunks(tar(text)), reason="manual", parent=parent, fencing=7,
        lineage=lineage, expected_generation=generation, name=text,
    )  # fmt: skip


async def content(repository: SnapshotRepository, head: Head) -> bytes:
    return b"".join([c async for c in await repository.open_tar(head)])


def path(store: LocalStore, key: str) -> Path:
    return Path(store.where) / key


def tar_path(store: LocalStore, head: Head) -> Path:
    return path(store, tar_key(REF.org, REF.agent, REF.branch, head.snapshot))


async def test_a_branch_without_snapshots_has_no_head(repository: SnapshotRepository) -> None:
    assert await repository.head(REF) is None
    assert await repository.history(REF) == []


async def test_what_was_saved_is_the_head_and_comes_back(repository: SnapshotRepository) -> None:
    first = await save(repository, "one", 0)
    second = await save(repository, "two", 1, parent=first.snapshot)
    assert await repository.head(REF) == second
    assert [h.snapshot for h in await repository.history(REF)] == [second.snapshot, first.snapshot]
    assert await repository.find(REF, first.snapshot) == first
    assert await content(repository, first) == tar("one")
    assert second.parent == first.snapshot
    assert second.receipt.complete


async def test_of_two_writers_one_wins_and_the_others_work_is_kept(
    repository: SnapshotRepository,
) -> None:
    first = await save(repository, "one", 0)
    both = await asyncio.gather(
        save(repository, "left", 1), save(repository, "right", 1), return_exceptions=True
    )
    [winner] = [r for r in both if isinstance(r, Head)]
    [loser] = [r for r in both if isinstance(r, SaveSupersededError)]
    assert await repository.head(REF) == winner
    assert loser.head.side_reason == "lost-race"
    assert await repository.side_lineages(REF) == [loser.head]
    names = {winner.name, loser.head.name}
    assert names == {"left", "right"}
    assert await content(repository, loser.head) == tar(str(loser.head.name))
    assert len(await repository.history(REF)) == 3
    assert first in await repository.history(REF)


async def test_a_save_that_breaks_leaves_the_old_head_and_no_bytes(
    repository: SnapshotRepository, store: LocalStore
) -> None:
    first = await save(repository, "one", 0)

    async def broken() -> AsyncIterator[bytes]:
        yield tar("two")[:700]
        raise StoreUnavailableError("the daemon died")

    for stream, error in (
        (broken(), StoreUnavailableError),
        (chunks(tar("two")[:700]), TarDamagedError),
        (chunks(b""), TarDamagedError),
    ):
        with pytest.raises(error):
            await repository.save_tar(
                REF, stream, reason="idle", parent=None, fencing=1, expected_generation=1
            )
    assert await repository.head(REF) == first
    tars = [o.key async for o in store.list("v1/local/tars/")]
    assert len(tars) == 1
    assert not list(Path(store.where).rglob(".put-*"))


@pytest.mark.parametrize("damage", ["gone", "shorter", "head cut", "head flipped", "head moved"])
async def test_a_damaged_newest_snapshot_gives_the_one_before_and_is_told(
    repository: SnapshotRepository, store: LocalStore, damage: str
) -> None:
    first = await save(repository, "one", 0)
    second = await save(repository, "two", 1)
    head_file = path(store, head_key(REF.org, REF.agent, REF.branch, 2))
    if damage == "gone":
        tar_path(store, second).unlink()
    elif damage == "shorter":
        tar_path(store, second).write_bytes(tar("two")[:-512])
    elif damage == "head cut":
        head_file.write_bytes(head_file.read_bytes()[:-40])
    elif damage == "head flipped":
        head_file.write_bytes(head_file.read_bytes().replace(b'"fencing": 7', b'"fencing": 9'))
    else:
        first_file = path(store, head_key(REF.org, REF.agent, REF.branch, 1))
        head_file.write_bytes(first_file.read_bytes())
    found = await repository.lookup(REF)
    assert found.head == first
    assert [d.generation for d in found.damaged] == [2]


async def test_no_usable_head_is_damage_and_not_emptiness(
    repository: SnapshotRepository, store: LocalStore
) -> None:
    only = await save(repository, "one", 0)
    tar_path(store, only).unlink()
    with pytest.raises(SnapshotDamagedError):
        await repository.head(REF)


async def test_changed_bytes_are_told_before_the_last_of_them(
    repository: SnapshotRepository, store: LocalStore
) -> None:
    head = await save(repository, "one", 0)
    whole = tar_path(store, head).read_bytes()
    for place in range(0, len(whole), 97):
        changed = bytearray(whole)
        changed[place] ^= 4
        tar_path(store, head).write_bytes(changed)
        given = bytearray()

        async def take(into: bytearray, of: Head) -> None:
            async for chunk in await repository.open_tar(of):
                into += chunk

        with pytest.raises(SnapshotDamagedError):
            await take(given, head)
        assert len(given) < len(whole)
    tar_path(store, head).write_bytes(whole)
    await repository.verify(head)


async def test_an_unknown_kind_is_refused_and_said(
    repository: SnapshotRepository, store: LocalStore
) -> None:
    await save(repository, "one", 0)
    file = path(store, head_key(REF.org, REF.agent, REF.branch, 1))
    file.write_bytes(file.read_bytes().replace(b'"kind": "tar"', b'"kind": "vm"'))
    [damaged] = (await repository.lookup(REF)).damaged
    assert "vm" in damaged.why


async def test_a_side_lineage_is_offered_until_the_main_one_has_its_content(
    repository: SnapshotRepository,
) -> None:
    first = await save(repository, "one", 0)
    side = Lineage("side-0123456789ab")
    await save(repository, "aside", 0, side)
    newest = await save(repository, "aside, later", 1, side)
    assert await repository.side_lineages(REF) == [newest]
    adopted = await repository.save_tar(
        REF, await repository.open_tar(newest), reason="rollback", parent=first.snapshot,
        fencing=8, expected_generation=1,
    )  # fmt: skip
    assert await repository.side_lineages(REF) == []
    assert (await repository.head(REF)) == adopted


async def test_branches_and_orgs_do_not_see_each_other(repository: SnapshotRepository) -> None:
    head = await save(repository, "one", 0)
    for other in (
        replace(REF, org=OrgId("other")),
        replace(REF, agent=AgentId("agt_2")),
        replace(REF, branch=Branch("limpet")),
        replace(REF, branch=Branch("limpet/calm-cove/x")),
    ):
        assert await repository.history(other) == []
        assert await repository.find(other, head.snapshot) is None


async def test_a_stale_writer_does_not_slip_in_below_the_head(
    repository: SnapshotRepository, store: LocalStore
) -> None:
    for generation in range(3):
        newest = await save(repository, f"save {generation}", generation)
    await store.delete(head_key(REF.org, REF.agent, REF.branch, 2))
    with pytest.raises(SaveSupersededError) as told:
        await save(repository, "stale", 1)
    assert await repository.head(REF) == newest
    assert [h.name for h in await repository.side_lineages(REF)] == ["stale"]
    assert told.value.head.lineage != MAIN


KILLED = """
import asyncio, sys
from pathlib import Path
from limpet.ids import AgentId, Branch, OrgId
from limpet.snapshots.repository import BranchRef, SnapshotRepository
from limpet.stores.local import LocalStore
async def chunks():
    yield Path(sys.argv[2]).read_bytes()
ref = BranchRef(OrgId("local"), AgentId("agt_1"), Branch("limpet/calm-cove"))
asyncio.run(SnapshotRepository(LocalStore(Path(sys.argv[1]))).save_tar(
    ref, chunks(), reason="idle", parent=None, fencing=1, expected_generation=1))
"""


@pytest.mark.parametrize(("step", "generation"), [("save-tar-stored", 1), ("save-head-created", 2)])
async def test_a_save_that_is_killed_leaves_the_old_head_or_the_new_one(
    repository: SnapshotRepository, store: LocalStore, tmp_path: Path, step: str, generation: int
) -> None:
    await save(repository, "one", 0)
    (tmp_path / "two.tar").write_bytes(tar("two"))
    died = subprocess.run(
        [sys.executable, "-c", KILLED, store.where, str(tmp_path / "two.tar")],
        env={**os.environ, "LIMPET_FAULT": f"{step}:kill"},
        check=False,
    )
    assert died.returncode == -signal.SIGKILL
    head = await repository.head(REF)
    assert head is not None
    assert head.generation == generation
    await repository.verify(head)
    assert (await save(repository, "next", generation)).generation == generation + 1


def put_legacy(store: LocalStore, body: bytes) -> Path:
    file = path(store, legacy_tar_key(REF.org, REF.agent, REF.branch))
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(body)
    return file


async def test_a_tar_of_the_older_layout_is_read_and_never_written(
    repository: SnapshotRepository, store: LocalStore
) -> None:
    file = put_legacy(store, tar("from before"))
    old = await repository.head(REF)
    assert old is not None
    assert (old.generation, old.snapshot[:7]) == (0, "legacy-")
    assert await content(repository, old) == tar("from before")
    assert await repository.find(REF, old.snapshot) == old
    new = await save(repository, "new", 0, parent=old.snapshot)
    assert await repository.head(REF) == new
    assert [h.snapshot for h in await repository.history(REF)] == [new.snapshot, old.snapshot]
    assert file.read_bytes() == tar("from before")
    tar_path(store, new).unlink()
    found = await repository.lookup(REF)
    assert found.head == old
    assert [d.generation for d in found.damaged] == [1]


async def test_a_damaged_tar_of_the_older_layout_is_damage_and_not_emptiness(
    repository: SnapshotRepository, store: LocalStore
) -> None:
    put_legacy(store, tar("from before")[:700])
    assert (await repository.lookup(REF)).head is None
    with pytest.raises(SnapshotDamagedError):
        await repository.head(REF)
    assert await repository.history(REF) == []
    put_legacy(store, tar("mended"))
    assert await repository.head(REF) is not None
