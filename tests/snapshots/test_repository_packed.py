"""Packed snapshots in a store: what was saved comes back, and costs what changed."""

import asyncio
import random
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from limpet.errors import InvalidInputError, SnapshotDamagedError, StoreUnavailableError
from limpet.ids import AgentId, Branch, OrgId
from limpet.snapshots.blobs import hash_of
from limpet.snapshots.lineage import BranchRef, Head, Lineage, MadeFrom, SaveReason
from limpet.snapshots.repository import (
    Saved,
    SaveSupersededError,
    SaveTooOldError,
    SnapshotRepository,
)
from limpet.stores.local import LocalStore
from tests.snapshots.packed_streams import Hard, Link, in_pieces, opened, save_stream, tree_of
from tests.snapshots.packed_trees import PackedTree

pytestmark = pytest.mark.anyio
REF = BranchRef(OrgId("acme"), AgentId("agt_1"), Branch("limpet/calm-cove"))
FIRST = {
    "a.txt": b"first",
    "empty": b"",
    "link": Link("a.txt"),
    "name": Hard("a.txt"),
    "src": {"one.py": b"1" * 5000, "two.py": b"2" * 70_000, "deep": {"x": b"x"}},
}
SECOND = {**FIRST, "src": {**FIRST["src"], "one.py": b"changed"}}  # type: ignore[dict-item]


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "store")


@pytest.fixture
def repository(store: LocalStore) -> SnapshotRepository:
    return SnapshotRepository(store)


async def save(
    repository: SnapshotRepository,
    tree: PackedTree,
    base: Head | None = None,
    base_tree: PackedTree | None = None,
    *,
    stream: bytes | AsyncIterator[bytes] | None = None,
    generation: int | None = None,
    lineage: Lineage = Lineage("main"),  # noqa: B008
    reason: SaveReason = "idle",
    name: str | None = None,
    ref: BranchRef = REF,
) -> Saved:
    if stream is None:
        stream = save_stream(tree, base_tree)
    return await repository.save_packed(
        ref,
        in_pieces(stream) if isinstance(stream, bytes) else stream,
        base=base,
        reason=reason,
        parent=base.snapshot if base else None,
        fencing=3,
        lineage=lineage,
        expected_generation=(base.generation if base else 0) if generation is None else generation,
        name=name,
    )


async def keys(store: LocalStore, prefix: str = "v1/") -> list[str]:
    return [one.key async for one in store.list(prefix)]


async def came_back(repository: SnapshotRepository, head: Head, tree: PackedTree) -> None:
    found = await opened(await repository.open_packed(head))
    assert found.data == tree.data
    assert found.trees == tree.trees
    assert head.blake3 == tree.root.digest


async def test_what_was_saved_is_the_head_and_comes_back(repository: SnapshotRepository) -> None:
    tree = tree_of(FIRST)
    saved = await save(repository, tree)
    assert await repository.head(REF) == saved.head
    assert (saved.activity_seq, saved.boot_id, saved.unchanged) == (7, "boot", False)
    assert saved.head.receipt.complete
    assert saved.head.receipt.entries == 9
    assert saved.head.size_bytes == 5 + 5000 + 70_000 + 1
    await came_back(repository, saved.head, tree)
    await repository.verify(saved.head)
    assert await repository.find(REF, saved.head.snapshot) == saved.head


async def test_a_plan_is_the_folders_alone(repository: SnapshotRepository) -> None:
    tree = tree_of(FIRST)
    saved = await save(repository, tree)
    found = await opened(await repository.open_packed(saved.head, flow="plan"))
    assert found.trees == tree.trees
    assert not found.data
    assert found.header["entries"] == 9
    assert found.header["bytes"] == saved.head.size_bytes


async def test_a_save_with_a_base_stores_what_changed_alone(
    repository: SnapshotRepository, store: LocalStore
) -> None:
    first, second = tree_of(FIRST), tree_of(SECOND)
    old = await save(repository, first)
    new = await save(repository, second, old.head, first)
    assert new.stored_bytes < 1500
    await came_back(repository, new.head, second)
    await came_back(repository, old.head, first)
    assert new.head.receipt.entries == 9
    assert new.head.size_bytes == old.head.size_bytes - 5000 + 7
    assert len(await keys(store, "v1/acme/packs/")) == 2
    assert len(await keys(store, "v1/acme/trees/")) == 2


async def test_an_unchanged_save_stores_nothing_and_gives_the_base(
    repository: SnapshotRepository, store: LocalStore
) -> None:
    tree = tree_of(FIRST)
    first = await save(repository, tree)
    before = await keys(store)
    again = await save(repository, tree, first.head, tree)
    assert (again.unchanged, again.head, again.stored_bytes) == (True, first.head, 0)
    assert await keys(store) == before


async def test_an_unchanged_save_that_was_overtaken_is_not_the_head(
    repository: SnapshotRepository,
) -> None:
    tree = tree_of(FIRST)
    first = (await save(repository, tree)).head
    second = (await save(repository, tree_of(SECOND), first, tree)).head
    with pytest.raises(SaveSupersededError):
        await save(repository, tree, first, tree)
    assert await repository.head(REF) == second


@pytest.mark.parametrize(("reason", "name"), [("manual", None), ("idle", "before the demo")])
async def test_a_snapshot_that_was_asked_for_is_made_though_nothing_changed(
    repository: SnapshotRepository, store: LocalStore, reason: SaveReason, name: str | None
) -> None:
    tree = tree_of(FIRST)
    first = await save(repository, tree)
    again = await save(repository, tree, first.head, tree, reason=reason, name=name)
    assert not again.unchanged
    assert again.stored_bytes == 0
    assert (again.head.generation, again.head.name) == (2, name)
    assert len(await keys(store)) == 4
    await came_back(repository, again.head, tree)


async def test_of_two_writers_one_wins_and_the_others_work_is_kept(
    repository: SnapshotRepository,
) -> None:
    base_tree = tree_of(FIRST)
    base = (await save(repository, base_tree)).head
    left, right = tree_of({**FIRST, "l": b"left"}), tree_of({**FIRST, "r": b"right"})
    both = await asyncio.gather(
        save(repository, left, base, base_tree, name="left"),
        save(repository, right, base, base_tree, name="right"),
        return_exceptions=True,
    )
    [winner] = [one.head for one in both if isinstance(one, Saved)]
    [loser] = [one.head for one in both if isinstance(one, SaveSupersededError)]
    assert await repository.head(REF) == winner
    assert await repository.side_lineages(REF) == [loser]
    for head in (winner, loser):
        await came_back(repository, head, left if head.name == "left" else right)


async def test_a_save_that_breaks_off_leaves_the_old_head(
    repository: SnapshotRepository, store: LocalStore
) -> None:
    tree = tree_of(FIRST)
    old = await save(repository, tree)
    stream = save_stream(tree_of(SECOND), tree)

    async def broken() -> AsyncIterator[bytes]:
        yield stream[:-100]
        raise StoreUnavailableError("the daemon died")

    for cut, error in (
        (broken(), StoreUnavailableError),
        (in_pieces(stream[:-1]), SnapshotDamagedError),
        (in_pieces(b""), SnapshotDamagedError),
    ):
        with pytest.raises(error):
            await save(repository, tree, old.head, stream=cut)
    assert await repository.head(REF) == old.head
    assert len(await keys(store, "v1/acme/heads/")) == 1
    assert not list(Path(store.where).rglob(".put-*"))


async def test_a_save_that_took_too_long_cannot_commit(
    repository: SnapshotRepository, store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it relies on may have been pruned meanwhile."""
    monkeypatch.setattr("limpet.snapshots.repository.MAX_SAVE_S", -1.0)
    with pytest.raises(SaveTooOldError):
        await save(repository, tree_of(FIRST))
    assert await keys(store, "v1/acme/heads/") == []


@pytest.mark.parametrize("kind", ["packs", "trees"])
@pytest.mark.parametrize("damage", ["gone", "shorter"])
async def test_a_snapshot_whose_pack_is_gone_is_not_the_head(
    repository: SnapshotRepository, store: LocalStore, kind: str, damage: str
) -> None:
    first, second = tree_of(FIRST), tree_of(SECOND)
    old = await save(repository, first)
    new = await save(repository, second, old.head, first)
    assert new.head.packed is not None
    name = (new.head.packed.packs if kind == "packs" else new.head.packed.trees)[-1].name
    file = Path(store.where) / f"v1/acme/{kind}/{name}"
    if damage == "gone":
        file.unlink()
    else:
        file.write_bytes(file.read_bytes()[:-1])
    found = await repository.lookup(REF)
    assert found.head == old.head
    assert [one.generation for one in found.damaged] == [2]


async def read_all(repository: SnapshotRepository, head: Head, **how: object) -> None:
    """Take the whole stream and look at none of it."""
    async for _ in await repository.open_packed(head, **how):  # type: ignore[arg-type]
        pass


@pytest.mark.parametrize("kind", ["packs", "trees"])
async def test_changed_bytes_are_told_before_a_stream_ends_well(
    repository: SnapshotRepository, store: LocalStore, kind: str
) -> None:
    """A sandbox would tell too, but the control plane does not rely on that."""
    tree = tree_of({f"f{n}": bytes([n]) * 3000 for n in range(100)})
    head = (await save(repository, tree, stream=save_stream(tree, frame_bytes=1 << 14))).head
    [name] = [key for key in await keys(store) if f"/{kind}/" in key]
    file = Path(store.where) / name
    whole = file.read_bytes()
    for place in range(0, len(whole), max(1, len(whole) // 60)):
        changed = bytearray(whole)
        changed[place] ^= 4
        file.write_bytes(changed)
        for way in (
            read_all(SnapshotRepository(store), head),
            SnapshotRepository(store).verify(head),
        ):
            with pytest.raises(SnapshotDamagedError):
                await way
    file.write_bytes(whole)
    await read_all(SnapshotRepository(store), head)


async def test_changed_bytes_of_a_frame_that_is_read_alone_are_told(
    repository: SnapshotRepository, store: LocalStore
) -> None:
    files = {f"f{n}": random.Random(n).randbytes(3000) for n in range(100)}
    tree = tree_of(files)
    head = (await save(repository, tree, stream=save_stream(tree, frame_bytes=1 << 14))).head
    wanted = hash_of(files["f50"])
    [name] = await keys(store, "v1/acme/packs/")
    file = Path(store.where) / name
    whole = file.read_bytes()
    place = whole.index(files["f50"][100:200])
    changed = bytearray(whole)
    changed[place] ^= 1
    file.write_bytes(changed)
    await read_all(repository, head, needs=[hash_of(files["f0"])])
    with pytest.raises(SnapshotDamagedError):
        await read_all(repository, head, needs=[wanted])
    with pytest.raises(SnapshotDamagedError):
        _ = [one async for one in repository.read_blobs(head, [wanted])]


async def test_a_head_whose_packs_lack_a_blob_is_told_before_the_first_byte(
    repository: SnapshotRepository,
) -> None:
    head = (await save(repository, tree_of(FIRST))).head
    assert head.packed is not None
    without = replace(head, packed=replace(head.packed, packs=()))
    with pytest.raises(SnapshotDamagedError):
        await repository.open_packed(without)
    with pytest.raises(SnapshotDamagedError):
        await repository.verify(without)


async def test_single_blobs_are_read_in_the_order_asked_for(
    repository: SnapshotRepository,
) -> None:
    tree = tree_of(FIRST)
    head = (await save(repository, tree)).head
    wanted = [*reversed(tree.data), *tree.data]
    found = [one async for one in repository.read_blobs(head, wanted)]
    assert found == [(name, tree.data[name]) for name in wanted]
    with pytest.raises(SnapshotDamagedError):
        _ = [one async for one in repository.read_blobs(head, [hash_of(b"never saved")])]


async def test_single_blobs_are_read_in_any_order_from_many_packs(
    repository: SnapshotRepository,
) -> None:
    files = {f"f{n}": bytes([n]) * 3000 for n in range(100)}
    first = tree_of(files)
    head = (await save(repository, first, stream=save_stream(first, frame_bytes=1 << 13))).head
    tree = tree_of({**files, "new": b"new", "other": b"other"})
    head = (await save(repository, tree, head, first)).head
    wanted = list(tree.data) * 3
    random.Random(1).shuffle(wanted)
    found = [one async for one in repository.read_blobs(head, wanted)]
    assert found == [(name, tree.data[name]) for name in wanted]


async def test_the_folders_can_be_looked_into(repository: SnapshotRepository) -> None:
    tree = tree_of(FIRST)
    head = (await save(repository, tree)).head
    trees = await repository.trees(head)
    entry = trees.find(tree.root.node, b"src/deep/x")
    assert entry is not None
    assert entry.hash == hash_of(b"x")


async def test_a_snapshot_is_adopted_by_another_branch_without_a_byte(
    repository: SnapshotRepository, store: LocalStore
) -> None:
    tree = tree_of(FIRST)
    head = (await save(repository, tree)).head
    before = await keys(store, "v1/acme/packs/")
    other = BranchRef(REF.org, AgentId("agt_2"), Branch("limpet/other"))
    adopted = await repository.adopt(
        head, ref=other, reason="start", parent=head.snapshot, fencing=1, expected_generation=0
    )
    assert await repository.head(other) == adopted
    assert adopted.snapshot != head.snapshot
    assert adopted.made_from == MadeFrom(REF.agent, REF.branch, head.snapshot)
    assert await keys(store, "v1/acme/packs/") == before
    await came_back(repository, adopted, tree)
    elsewhere = BranchRef(OrgId("other"), REF.agent, REF.branch)
    with pytest.raises(InvalidInputError):
        await repository.adopt(
            head, ref=elsewhere, reason="start", parent=None, fencing=1, expected_generation=0
        )
