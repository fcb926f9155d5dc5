"""However many saves: the packs of a snapshot stay few, and everything stays in them."""

import os
import random
from pathlib import Path

import pytest

from limpet.errors import SnapshotDamagedError
from limpet.ids import AgentId, Branch, OrgId
from limpet.snapshots import consolidate
from limpet.snapshots.consolidate import MAX_PACKS
from limpet.snapshots.lineage import BranchRef, Head
from limpet.snapshots.repository import SnapshotRepository
from limpet.stores.local import LocalStore
from tests.snapshots.packed_streams import in_pieces, opened, save_stream, tree_of
from tests.snapshots.packed_trees import PackedTree

SAVES = int(os.environ.get("LIMPET_SAVES", "200"))
pytestmark = pytest.mark.anyio
REF = BranchRef(OrgId("acme"), AgentId("a"), Branch("main"))


def noise(seed: int, size: int) -> bytes:
    return random.Random(seed).randbytes(size)


class Line:
    """Saves one after another of a tree that changes."""

    def __init__(self, folder: Path) -> None:
        self.store = LocalStore(folder / "store")
        self.repository = SnapshotRepository(self.store, folder / "cache")
        self.head: Head | None = None
        self.tree: PackedTree | None = None

    async def save(self, tree: PackedTree, *, more_data: list[bytes] | None = None) -> Head:
        saved = await self.repository.save_packed(
            REF, in_pieces(save_stream(tree, self.tree, more_data=more_data or ()), 1 << 20),
            base=self.head, reason="idle", parent=None, fencing=1,
            expected_generation=self.head.generation if self.head else 0,
        )  # fmt: skip
        self.head, self.tree = saved.head, tree
        return saved.head

    async def comes_back(self, head: Head, tree: PackedTree) -> None:
        found = await opened(await self.repository.open_packed(head))
        assert (found.data, found.trees) == (tree.data, tree.trees)

    def sizes(self) -> tuple[int, int]:
        assert self.head is not None
        assert self.head.packed is not None
        return len(self.head.packed.packs), len(self.head.packed.trees)


@pytest.fixture
def line(tmp_path: Path) -> Line:
    return Line(tmp_path)


@pytest.mark.deep
async def test_hundreds_of_saves_stay_restorable_and_in_few_packs(line: Line) -> None:
    content: dict[str, object] = {f"d{n}": {"a": noise(n, 40), "b": b"b"} for n in range(20)}
    kept: list[tuple[Head, PackedTree]] = []
    most = 0
    for number in range(SAVES):
        content[f"d{number % 20}"] = {"a": noise(number, 300), "b": b"b", "n": str(number).encode()}
        tree = tree_of(content)
        head = await line.save(tree)
        most = max(most, *line.sizes())
        if number % 97 == 0:
            kept.append((head, tree))
    assert most <= MAX_PACKS
    assert line.head is not None
    await line.repository.verify(line.head)
    for head, tree in kept:
        await line.comes_back(head, tree)
    assert await line.repository.head(REF) == line.head


async def test_what_nothing_names_any_more_drops_out(line: Line) -> None:
    """Large packs that died go; large ones that live are not written again."""
    alive = {f"{n}": noise(n, 1 << 20) for n in range(18)}
    dead = {f"{n}": noise(1000 + n, 1 << 20) for n in range(18)}
    await line.save(tree_of({"alive": alive}))
    assert line.head is not None
    assert line.head.packed is not None
    large = max(line.head.packed.packs, key=lambda ref: ref.size_bytes)
    await line.save(tree_of({"alive": alive, "dead": dead}))
    written = 0
    for number in range(MAX_PACKS):
        tree = tree_of({"alive": alive, "n": {"n": noise(5000 + number, 500)}})
        head = await line.save(tree)
        assert head.packed is not None
        written = max(written, head.packed.stored_bytes)
    packs = line.head.packed.packs
    assert large in packs
    assert len(packs) < 40
    assert sum(ref.size_bytes for ref in packs) < 20 << 20
    assert written < 6 << 20
    await line.comes_back(line.head, tree)


async def test_large_packs_that_live_are_left_alone(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consolidate, "_SMALL_BYTES", 1000)
    files: dict[str, bytes] = {}
    for number in range(MAX_PACKS + 8):
        files[f"f{number}"] = noise(number, 2000)
        head = await line.save(tree_of(files))
        assert head.packed is not None
        assert head.packed.stored_bytes < 20_000
    assert line.sizes()[0] == MAX_PACKS + 8
    for number in range(10):  # not worth it yet
        head = await line.save(tree_of({**files, f"small{number}": noise(number, 40)}))
    assert line.sizes()[0] == MAX_PACKS + 18
    assert line.tree is not None
    await line.comes_back(head, line.tree)


async def test_a_damaged_pack_is_told_and_not_carried_on(line: Line) -> None:
    content: dict[str, bytes] = {}
    for number in range(MAX_PACKS):
        content[f"f{number}"] = noise(number, 500)
        await line.save(tree_of(content))
    before = line.head
    assert before is not None
    assert before.packed is not None
    pack = before.packed.packs[3]
    file = Path(line.store.where) / "v1/acme/packs" / pack.name
    changed = bytearray(file.read_bytes())
    changed[100] ^= 1
    file.write_bytes(changed)
    content["one more"] = b"1"
    with pytest.raises(SnapshotDamagedError):
        await line.save(tree_of(content))
    assert await line.repository.head(REF) == before


async def test_a_save_that_is_mostly_junk_keeps_what_is_named_alone(line: Line) -> None:
    junk = [noise(n, 1 << 20) for n in range(40)]
    tree = tree_of({"a": junk[3], "b": junk[20]})
    head = await line.save(tree, more_data=[one for one in junk if one not in (junk[3], junk[20])])
    assert head.packed is not None
    assert sum(ref.size_bytes for ref in head.packed.packs) < 3 << 20
    await line.comes_back(head, tree)
