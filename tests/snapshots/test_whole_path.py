"""A workspace that changes in every way, saved as deltas, restored from each of its snapshots."""

import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from limpet.snapshots.lineage import Head
from limpet.snapshots.tree import delete_tree
from tests.sampled import one_in
from tests.snapshots.engine import Engine
from tests.snapshots.trees import Description, describe, scratch_folder


class Restless:
    """Changes a folder at random, as people and their tools do."""

    def __init__(self, top: Path, seed: int) -> None:
        self.top = top
        self.chance = random.Random(seed)

    def change(self) -> None:
        acts: list[Callable[[], None]] = [
            self.write, self.write, self.write, self.append, self.remove, self.move, self.copy,
            self.link, self.hard_link, self.many, self.large, self.look, self.sparse,
        ]  # fmt: skip
        self.chance.choice(acts)()

    def folders(self) -> list[Path]:
        return sorted(Path(place) for place, _, _ in os.walk(self.top))

    def files(self) -> list[Path]:
        every = (Path(p) / name for p, _, names in os.walk(self.top) for name in names)
        return sorted(one for one in every if not one.is_symlink())

    def new(self) -> Path:
        folder = self.chance.choice(self.folders())
        return folder / f"{self.chance.choice('abcxyz')}{self.chance.randrange(10_000)}"

    def write(self) -> None:
        self.new().write_bytes(self.chance.randbytes(self.chance.randrange(2000)))

    def append(self) -> None:
        if files := self.files():
            with self.chance.choice(files).open("ab") as file:
                file.write(self.chance.randbytes(50))

    def remove(self) -> None:
        every = [*self.files(), *self.folders()[1:]]
        if every:
            one = self.chance.choice(every)
            shutil.rmtree(one) if one.is_dir() else one.unlink()

    def move(self) -> None:
        every = [*self.files(), *self.folders()[1:]]
        if every:
            one, to = self.chance.choice(every), self.new()
            if one not in to.parents:
                one.rename(to)

    def copy(self) -> None:
        folders = self.folders()[1:]
        if folders:
            one, to = self.chance.choice(folders), self.new()
            if one not in to.parents and sum(len(names) for _, _, names in os.walk(one)) < 300:
                shutil.copytree(one, to, symlinks=True)

    def link(self) -> None:
        self.new().symlink_to(self.chance.choice(["../a", "nowhere", "b/c", "/etc/passwd"]))

    def hard_link(self) -> None:
        if files := self.files():
            self.new().hardlink_to(self.chance.choice(files))

    def many(self) -> None:
        folder = self.new()
        folder.mkdir()
        for number in range(self.chance.choice([3, 20, 400])):
            (folder / f"m{number}").write_bytes(b"%d" % (number % 7))

    def large(self) -> None:
        self.new().write_bytes(self.chance.randbytes(3 << 20))

    def look(self) -> None:
        for one in self.chance.sample(self.folders(), 1):
            one.chmod(self.chance.choice([0o700, 0o755, 0o1777]))

    def sparse(self) -> None:
        with self.new().open("wb") as file:
            file.truncate(5 << 20)
            file.seek(self.chance.randrange(4 << 20))
            file.write(b"island")


@pytest.mark.parametrize("seed", one_in(3, range(6)))
def test_every_snapshot_of_a_restless_workspace_comes_back(seed: int) -> None:
    with scratch_folder() as scratch:
        engine = Engine(scratch)
        engine.workspace.mkdir()
        restless = Restless(engine.workspace, seed)
        kept: list[tuple[Head, Description]] = []
        for number in range(14):
            for _ in range(restless.chance.randrange(1, 12)):
                restless.change()
            head = engine.save(from_head=number % 6 != 5)
            kept.append((head, describe(engine.workspace)))
            assert head.packed is not None
            assert head.packed.counts is not None
            assert head.packed.counts.entries == len(kept[-1][1]) - 1
        for number, (head, found) in enumerate(kept):
            into = scratch / f"restored-{number}"
            receipt = engine.restore(head, into)
            assert describe(into) == found
            assert receipt.entries == head.receipt.entries
            assert receipt.bytes == head.size_bytes
            delete_tree(into)
