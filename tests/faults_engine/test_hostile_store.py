"""Snapshots that somebody put into the store by hand: a real daemon is asked to restore them.

Their packs and heads are sound in form, what they say of the workspace is not: it was written past
the judging of saves. Each is refused before a byte reaches the workspace, whether the sandbox is
there (a patch is planned first) or was lost; the last good snapshot comes home instead.
"""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from limpet.errors import SnapshotDamagedError
from limpet.ids import SnapshotId
from limpet.snapshots import packed_save
from limpet.snapshots.repository import Head
from limpet.snapshots.tree_counts import TreeCounts
from tests.control.sandboxes.conftest import Box, House
from tests.faults_engine import hostile_streams as hostile
from tests.faults_engine.suites import Suite
from tests.faults_engine.test_hostile_daemon import Peak
from tests.snapshots.packed_streams import in_pieces
from tests.snapshots.trees import Description, describe

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(280)]
SUITE = Suite("hostile store")
TREES = (
    "parent", "folder that is the parent", "itself", "slash", "absolute", "NUL", "no name", "twice",
    "out of order", "mark of the root", "cycle of hard links", "hard link to itself",
    "hard link to the parent", "hard link to /etc", "hard link through a symlink", "set-uid",
    "a kind that is none", "larger than its content", "ten million entries",
    "a hundred thousand levels", "a level too many",
)  # fmt: skip
QUICK = ("parent", "cycle of hard links")


def unjudged(_root: object, sent: packed_save.Receiving, *_: object) -> TreeCounts:
    """Takes whatever came."""
    for name in list(sent.trees):
        sent.use_tree(name)
    for name in list(sent._packing._blobs):
        sent.use_data(name)
    return TreeCounts()


class Place:
    """A sandbox with work in it and a good snapshot of that."""

    def __init__(self, house: House, box: Box) -> None:
        self.house, self.box = house, box

    async def prepare(self) -> None:
        await self.box.start()
        await self.box.write("a.txt", "good")
        self.good = (await self.box.save()).id
        self.generation = 1
        beside = await self.box.root() / "beside"
        beside.mkdir()
        (beside / "canary").write_bytes(b"untouched")

    async def plant(self, name: str) -> Head:
        """Put a snapshot with this tree above all others."""
        saved = await self.house.repository.save_packed(
            self.box.ref, in_pieces(b"".join(hostile.CASES[name].body())), base=None,
            reason="manual", parent=SnapshotId(self.good), fencing=1,
            expected_generation=self.generation,
        )  # fmt: skip
        self.generation = saved.head.generation
        return saved.head

    async def state(self) -> Description:
        """The workspace, and what lies in the folders beside it."""
        root = await self.box.root()
        found = describe(root / "workspace")
        for name in ("beside", "staging"):
            found |= {name.encode() + path: told for path, told in describe(root / name).items()}
            found.pop(name.encode(), None)
        return found | {b"root": tuple(sorted(os.listdir(root)))}

    async def attack(self, name: str) -> None:
        head = await self.plant(name)
        before = await self.state()
        peak = Peak()
        with pytest.raises(SnapshotDamagedError) as told:
            await self.box.restore(head.snapshot)
        assert peak.grown_bytes() <= 150 << 20, name
        assert told.value.code in hostile.BAD | hostile.TOO_MUCH, name
        assert await self.state() == before, name
        assert not Path("/etc/passwd-limpet").exists()
        SUITE.count("refused")


@pytest.fixture
async def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Place]:
    (tmp_path / "data").mkdir(mode=0o700)
    (tmp_path / "templates").mkdir()
    house = House(tmp_path / "data", tmp_path / "templates")
    await house.open()
    try:
        made = Place(house, await house.agent())
        await made.prepare()
        monkeypatch.setattr(packed_save, "judge_save", unjudged)
        yield made
    finally:
        await house.destroy()


async def comes_home(place: Place) -> None:
    """A sandbox that is lost is given the newest snapshot that is sound."""
    await place.box.lose()
    assert await place.box.outcome() == "damaged-used-older"
    assert await place.box.read("a.txt") == "good"
    SUITE.count("good snapshots that came home")


async def test_a_snapshot_that_was_planted_is_not_unpacked(place: Place) -> None:
    for name in QUICK:
        await place.attack(name)
    await comes_home(place)


@pytest.mark.engine_fault
async def test_no_snapshot_that_was_planted_is_unpacked(place: Place) -> None:
    for name in TREES:
        await place.attack(name)
    await comes_home(place)
