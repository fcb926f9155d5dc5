"""Equal content is stored once per org, and nobody is shown what is not theirs for that."""

import random
from pathlib import Path

import pytest

from limpet.ids import AgentId, Branch, OrgId
from limpet.snapshots.blob_index import BlobIndex
from limpet.snapshots.blobs import BlobHash, hash_of
from limpet.snapshots.frame import decode_frame
from limpet.snapshots.judge_save import ForeignBlobError
from limpet.snapshots.lineage import BranchRef, Head
from limpet.snapshots.pack import PackBuilder
from limpet.snapshots.repository import Saved, SnapshotRepository
from limpet.snapshots.reuse import PackGoneError
from limpet.stores.local import LocalStore
from tests.snapshots.packed_streams import Tree, in_pieces, opened, save_stream, tree_of
from tests.snapshots.packed_trees import PackedTree, frames

pytestmark = pytest.mark.anyio
ACME, OTHER_ORG = OrgId("acme"), OrgId("other")


def noise(seed: int, size: int = 3000) -> bytes:
    return random.Random(seed).randbytes(size)


SHARED: Tree = {"lib": {f"m{n}.js": noise(n) for n in range(60)}, "package.json": b"{}"}


class House:
    def __init__(self, folder: Path, *, cache: bool = True) -> None:
        self.cache = folder / "cache"
        self.store = LocalStore(folder / "store")
        self.with_cache = cache
        self.repository = self.another()

    def another(self) -> SnapshotRepository:
        """Another control plane, or the same one after it was started again."""
        return SnapshotRepository(self.store, self.cache if self.with_cache else None)

    async def save(
        self,
        agent: str,
        tree: PackedTree,
        base: Head | None = None,
        base_tree: PackedTree | None = None,
        *,
        org: OrgId = ACME,
        frame_bytes: int = 1 << 15,
        generation: int = 0,
    ) -> Saved:
        return await self.repository.save_packed(
            BranchRef(org, AgentId(agent), Branch("main")),
            in_pieces(save_stream(tree, base_tree, frame_bytes=frame_bytes)),
            base=base, reason="idle", parent=None, fencing=1,
            expected_generation=base.generation if base else generation,
        )  # fmt: skip

    async def packs(self, kind: str = "packs", org: OrgId = ACME) -> dict[str, int]:
        found = self.store.list(f"v1/{org}/{kind}/")
        return {one.key.rpartition("/")[2]: one.size_bytes async for one in found}

    async def comes_back(self, head: Head, tree: PackedTree) -> None:
        found = await opened(await self.repository.open_packed(head))
        assert (found.data, found.trees) == (tree.data, tree.trees)
        await self.repository.verify(head)


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


async def test_a_second_agent_with_the_same_files_stores_folders_alone(house: House) -> None:
    one, two = tree_of(SHARED, mtime_ns=1), tree_of(SHARED, mtime_ns=2)
    await house.save("a", one)
    packs = await house.packs()
    saved = await house.save("b", two)
    assert await house.packs() == packs
    assert saved.stored_bytes == sum((await house.packs("trees")).values()) / 2
    await house.comes_back(saved.head, two)


async def test_a_second_agent_with_the_same_tree_stores_nothing(house: House) -> None:
    tree = tree_of(SHARED)
    await house.save("a", tree)
    saved = await house.save("b", tree)
    assert (saved.stored_bytes, saved.unchanged) == (0, False)
    await house.comes_back(saved.head, tree)


async def test_a_full_save_upon_a_base_stores_what_is_new_alone(house: House) -> None:
    one = tree_of(SHARED)
    first = await house.save("a", one)
    two = tree_of({**SHARED, "new": noise(1000, 500)})
    saved = await house.save("a", two, first.head, None)
    assert 500 < saved.stored_bytes < 1500
    await house.comes_back(saved.head, two)


async def test_nothing_is_shared_between_orgs(house: House) -> None:
    tree = tree_of(SHARED)
    first = await house.save("a", tree)
    saved = await house.save("a", tree, org=OTHER_ORG)
    assert saved.stored_bytes == first.stored_bytes
    here, there = await house.packs(), await house.packs(org=OTHER_ORG)
    assert len(here) == len(there)
    assert not {*here} & {*there}


async def test_of_a_frame_that_is_partly_known_the_rest_is_stored(house: House) -> None:
    await house.save("a", tree_of(SHARED))
    mixed = {f"f{n}": noise(n) if n % 2 else noise(n + 500) for n in range(60)}
    two = tree_of(mixed)
    saved = await house.save("b", two)
    assert saved.stored_bytes < 30 * 3000 + 8000
    await house.comes_back(saved.head, two)


async def test_who_shares_a_blob_is_not_shown_its_neighbours(house: House) -> None:
    secrets: Tree = {"LICENSE": b"MIT " * 100, "a.env": b"the secret of the first agent"}
    await house.save("a", tree_of({"repo": secrets, "lib": SHARED["lib"]}))
    tree = tree_of({"LICENSE": b"MIT " * 100, "m": SHARED["lib"]["m3.js"]})  # type: ignore[index]
    saved = await house.save("b", tree)
    assert saved.head.packed is not None
    assert set((await house.packs()).keys()) >= {ref.name for ref in saved.head.packed.packs}
    await house.comes_back(saved.head, tree)
    found = await opened(
        await house.repository.open_packed(saved.head, needs=[hash_of(b"MIT " * 100)])
    )
    assert set(found.data) <= set(tree.data)
    with pytest.raises(ForeignBlobError):
        await house.repository.open_packed(
            saved.head, needs=[hash_of(b"the secret of the first agent")]
        )


async def test_who_shares_a_folder_is_not_shown_its_neighbours(house: House) -> None:
    lib = {f"module-{n}": {"index.js": noise(n, 10)} for n in range(50)}
    await house.save("a", tree_of({"lib": lib, "private": {"names": b"1", "of": b"2"}}))
    tree = tree_of({"lib": lib})
    saved = await house.save("b", tree)
    assert len(await house.packs("trees")) == 2
    assert saved.head.packed is not None
    assert len(saved.head.packed.trees) == 2
    await house.comes_back(saved.head, tree)


async def test_a_folder_pack_is_not_taken_in_for_one_folder(house: House) -> None:
    """A restore reads tree packs whole."""
    lib = {f"module-{n}": {"index.js": noise(n, 10)} for n in range(50)}
    await house.save("a", tree_of({"lib": lib}))
    tree = tree_of({"mine": {"index.js": noise(7, 10)}})
    saved = await house.save("b", tree)
    assert saved.head.packed is not None
    assert len(saved.head.packed.trees) == 1
    assert sum(ref.size_bytes for ref in saved.head.packed.trees) < 600
    await house.comes_back(saved.head, tree)


async def test_frames_go_out_as_they_lie(house: House) -> None:
    tree = tree_of(SHARED)
    saved = await house.save("a", tree)
    found = await opened(await house.repository.open_packed(saved.head))
    sent = list(frames("data", tree.data.values(), 1 << 15))
    assert [one for one in found.frames if decode_frame(one).kind == "data"] == sent


async def test_only_frames_with_something_needed_are_sent(house: House) -> None:
    tree = tree_of(SHARED)
    saved = await house.save("a", tree)
    names = list(tree.data)
    for needs in ([names[3]], [names[3], names[40]], names, []):
        found = await opened(await house.repository.open_packed(saved.head, needs=needs))
        assert set(needs) <= set(found.data) <= set(tree.data)
        assert len(found.data) <= 11 * len(needs)


async def test_what_a_template_holds_is_stored_in_no_org(house: House) -> None:
    template = tree_of(SHARED)
    await house.save("a", template, org=OrgId("operator"))
    store = Path(house.store.where) / "v1"
    (store / "operator").rename(store / "_templates")
    for org in (ACME, OTHER_ORG):
        tree = tree_of({**SHARED, "own": noise(len(org), 400)})
        saved = await house.save("b", tree, org=org)
        assert saved.stored_bytes < 6000
        await house.comes_back(saved.head, tree)
        found = await house.repository.lookup(saved.head.ref)
        assert found.head == saved.head
        after = tree_of({**SHARED, "own": b"changed"})
        again = await house.save("b", after, saved.head, tree, org=org)
        await house.comes_back(again.head, after)


@pytest.mark.parametrize("loss", ["gone", "garbage", "empty", "cut"])
async def test_a_lost_index_is_made_again_from_the_packs(house: House, loss: str) -> None:
    await house.save("a", tree_of(SHARED))
    [file] = house.cache.glob("*.sqlite3")
    whole = file.read_bytes()
    for other in house.cache.glob("*.sqlite3*"):
        other.unlink()
    if loss != "gone":
        file.write_bytes({"garbage": noise(1, 9000), "empty": b"", "cut": whole[:5000]}[loss])
    house.repository = house.another()
    two = tree_of(SHARED, mtime_ns=2)
    saved = await house.save("b", two)
    assert len(await house.packs()) == 1
    await house.comes_back(saved.head, two)


async def test_an_index_that_cannot_be_written_costs_only_space(house: House) -> None:
    house.cache.write_text("no folder")
    await house.save("a", tree_of(SHARED))
    two = tree_of(SHARED, mtime_ns=2)
    saved = await house.save("b", two)
    await house.comes_back(saved.head, two)


async def test_packs_of_another_control_plane_are_found(tmp_path: Path) -> None:
    house = House(tmp_path, cache=False)
    await house.save("a", tree_of(SHARED))
    house.repository = house.another()
    await house.save("b", tree_of(SHARED, mtime_ns=2))
    assert len(await house.packs()) == 1


async def test_an_index_that_lies_is_not_believed(house: House) -> None:
    tree = tree_of(SHARED)
    first = await house.save("a", tree)
    assert first.head.packed is not None
    two = tree_of({"new": noise(77, 100)})
    [name] = two.data
    lie = PackBuilder("data")
    lie.add(b"x", [BlobHash(name)], [100])
    [file] = house.cache.glob("*.sqlite3")
    index = BlobIndex(file)
    index.forget("data", first.head.packed.packs)
    index.add("data", first.head.packed.packs[0], lie.finish().index)
    index.close()
    house.repository = house.another()
    saved = await house.save("b", two)
    assert len(await house.packs()) == 2
    await house.comes_back(saved.head, two)


@pytest.mark.parametrize("fresh", [False, True])
async def test_a_known_pack_that_goes_fails_the_save_at_most_once(
    house: House, fresh: bool
) -> None:
    tree = tree_of(SHARED)
    first = await house.save("a", tree)
    await house.comes_back(first.head, tree)  # now its index is at hand
    for name in await house.packs():
        (Path(house.store.where) / "v1/acme/packs" / name).unlink()
    two = tree_of(SHARED, mtime_ns=2)
    if fresh:
        house.repository = house.another()
    else:
        with pytest.raises(PackGoneError):
            await house.save("b", two)
        assert await house.repository.history(BranchRef(ACME, AgentId("b"), Branch("main"))) == []
    saved = await house.save("b", two)
    await house.comes_back(saved.head, two)


async def test_a_base_whose_pack_is_gone_fails_the_save(house: House) -> None:
    one, two = tree_of(SHARED), tree_of({**SHARED, "new": b"new"})
    first = await house.save("a", one)
    for name in await house.packs():
        (Path(house.store.where) / "v1/acme/packs" / name).unlink()
    with pytest.raises(PackGoneError):
        await house.save("a", two, first.head, one)
    assert await house.repository.history(first.head.ref) == [first.head]
    assert (await house.repository.lookup(first.head.ref)).head is None
    again = await house.save("a", two, generation=1)
    assert await house.repository.head(first.head.ref) == again.head
    await house.comes_back(again.head, two)
