"""Every kind of object damaged in every region: told before a byte is used, and nothing else lost.

The last good snapshot restores bit for bit after each, and a canary beside the target is untouched.
"""

import asyncio
import json
import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from limpet.errors import InvalidInputError, SnapshotDamagedError
from limpet.snapshots.lineage import Head
from limpet.snapshots.tree import delete_tree
from tests.faults_engine.calls import change, old_tree
from tests.snapshots.engine import Engine, objects
from tests.snapshots.trees import Description, describe, scratch_folder

FLIPS = int(os.environ.get("LIMPET_FLIPS", "3"))
"""Bits flipped in each region of each object."""


class Stored:
    """Two snapshots; the objects of the second are damaged, the first must stay whole."""

    def __init__(self, folder: Path) -> None:
        self.engine = Engine(folder)
        self.engine.workspace.mkdir()
        old_tree(self.engine.workspace)
        self.first = self.engine.save()
        self.first_tree = describe(self.engine.workspace)
        before = set(objects(folder / "store"))
        change(self.engine.workspace)
        self.second = self.engine.save()
        self.second_tree = describe(self.engine.workspace)
        self.own = sorted(set(objects(folder / "store")) - before)
        (folder / "canary").write_bytes(b"untouched")

    def restored(self, head: Head) -> Description | None:
        """What a restore gives; None when it is refused, and then nothing was made."""
        # A fresh repository: nothing that was read before the damage helps.
        fresh = Engine(self.engine.folder)
        into = self.engine.folder / "back"
        try:
            fresh.restore(head, into)
        except (SnapshotDamagedError, InvalidInputError):
            assert not into.exists()
            return None
        try:
            return describe(into)
        finally:
            delete_tree(into)

    def usable(self) -> Head | None:
        """The head that a start would restore."""
        fresh = Engine(self.engine.folder)
        return asyncio.run(fresh.repository.lookup(fresh.ref)).head

    def check(self, what: str) -> None:
        """After damage to the second snapshot."""
        assert self.restored(self.first) == self.first_tree, what
        found = self.restored(self.second)
        assert found in (None, self.second_tree), f"{what}: neither refused nor whole"
        usable = self.usable()
        assert usable is not None, what
        assert usable.snapshot in {self.first.snapshot, self.second.snapshot}, what
        assert (self.engine.folder / "canary").read_bytes() == b"untouched"


@pytest.fixture(scope="module")
def stored() -> Iterator[Stored]:
    with scratch_folder() as folder:
        yield Stored(folder)


def kind_of(path: Path) -> str:
    return next(kind for kind in ("packs", "trees", "heads") if f"/{kind}/" in str(path))


def regions(path: Path, whole: bytes) -> Iterator[tuple[str, int, int]]:
    """The parts of an object by name: (name, start, end)."""
    if kind_of(path) == "heads":
        third = len(whole) // 3
        yield from (
            ("begin", 0, third),
            ("middle", third, 2 * third),
            ("end", 2 * third, len(whole)),
        )
        return
    index = int.from_bytes(whole[-8:-4], "little")
    at = len(whole) - index
    yield "pack header", 0, 16
    yield "frame header", 16, 40
    yield "frame content", 48, at
    yield "index header", at, at + 16
    yield "index body", at + 16, len(whole) - 40
    yield "index digest", len(whole) - 40, len(whole) - 8
    yield "pack end", len(whole) - 8, len(whole)


def put(path: Path, data: bytes) -> None:
    path.unlink(missing_ok=True)
    path.write_bytes(data)


def test_every_kind_of_object_is_there(stored: Stored) -> None:
    assert {kind_of(path) for path in stored.own} == {"packs", "trees", "heads"}
    assert stored.restored(stored.second) == stored.second_tree


def test_a_flipped_bit_in_any_region_is_told(stored: Stored) -> None:
    dice = random.Random(int(os.environ.get("SEED", "1")))
    told = 0
    for path in stored.own:
        whole = path.read_bytes()
        for name, start, end in regions(path, whole):
            for _ in range(FLIPS):
                at, bit = dice.randrange(start, end), dice.randrange(8)
                damaged = bytearray(whole)
                damaged[at] ^= 1 << bit
                put(path, bytes(damaged))
                what = f"{kind_of(path)}, {name}, byte {at}, bit {bit}"
                stored.check(what)
                told += stored.restored(stored.second) is None
                put(path, whole)
    assert told


def test_an_object_cut_anywhere_is_told(stored: Stored) -> None:
    for path in stored.own:
        whole = path.read_bytes()
        ends = {end for _, _, end in regions(path, whole)} | {0, 1, len(whole) - 1}
        for end in sorted(ends - {len(whole)}):
            put(path, whole[:end])
            what = f"{kind_of(path)} cut at {end}"
            stored.check(what)
            if kind_of(path) != "heads":
                assert stored.restored(stored.second) is None, what
            usable = stored.usable()
            assert usable is not None
            assert usable.snapshot == stored.first.snapshot, what
            put(path, whole)


def test_an_object_that_is_gone_is_told(stored: Stored) -> None:
    for path in stored.own:
        whole = path.read_bytes()
        path.unlink()
        stored.check(f"{kind_of(path)} gone")
        usable = stored.usable()
        assert usable is not None
        assert usable.snapshot == stored.first.snapshot
        put(path, whole)


def test_an_object_with_anothers_bytes_is_told(stored: Stored) -> None:
    for path in stored.own:
        whole = path.read_bytes()
        for other in objects(stored.engine.folder / "store"):
            if other != path:
                put(path, other.read_bytes())
                what = f"{kind_of(path)} with the bytes of {kind_of(other)}"
                stored.check(what)
                assert stored.usable() != stored.second, what
                put(path, whole)


def test_a_longer_object_is_told(stored: Stored) -> None:
    for path in stored.own:
        whole = path.read_bytes()
        put(path, whole + b"\0")
        stored.check(f"{kind_of(path)} with a byte more")
        usable = stored.usable()
        assert usable is not None
        assert usable.snapshot == stored.first.snapshot
        put(path, whole)


def test_a_head_that_says_another_root_is_not_believed(stored: Stored) -> None:
    [path] = [one for one in stored.own if kind_of(one) == "heads"]
    whole = path.read_bytes()
    told = json.loads(whole)
    first = stored.first.packed
    assert first is not None
    told["root"]["node"] = first.root.node.hex()
    put(path, json.dumps(told).encode())
    usable = stored.usable()
    assert usable is not None
    assert usable.snapshot == stored.first.snapshot
    put(path, whole)
