"""After a restore the next save reads what was touched since, and nothing else."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from limpet.snapshots.restore_tree import restore_stream
from limpet.snapshots.seeding import Seeding
from limpet.snapshots.statcache import StatCaches
from limpet.snapshots.tree import delete_tree
from tests.snapshots.edits import Edit, carry_out, edits
from tests.snapshots.packed_trees import pack_folder
from tests.snapshots.saves import Saves, State
from tests.snapshots.test_delta_property import EXAMPLES
from tests.snapshots.trees import (
    File,
    Folder,
    Hard,
    Link,
    build,
    describe,
    scratch_folder,
    trees,
)

pytestmark = pytest.mark.long

TREE = Folder({
    b"d": Folder({b"f": File(b"x" * 5000), b"e": File(), b"l": Link(b"f"), b"g": File(b"one")}),
    b"hard": Hard(b"d/f"), b"holey": File(segments=[(8192, b"y")], size=100_000),
    b"s": Folder({b"only": File(b"two")}),
})  # fmt: skip


class Restored:
    """A workspace that was just restored from a tree; its processes may run from now on."""

    def __init__(self, folder: Path, tree: Folder) -> None:
        source = Saves(folder / "source")
        source.folder.mkdir()
        build(source.workspace, tree)
        self.base: State = source.save()
        self.saves = Saves(folder)
        seedings: list[Seeding] = []
        stream = pack_folder(source.workspace).stream()
        restore_stream([stream], self.saves.workspace, on_restored=seedings.append)
        (self.seeding,) = seedings
        self.seeding.settle(self.saves.workspace, folder)

    def save(self) -> State:
        """Seed, and save what has changed since the restore."""
        self.seeding.write(self.saves.caches, self.saves.workspace)
        return self.saves.save_from(self.base)


def test_the_save_after_a_restore_reads_and_sends_nothing(tmp_path: Path) -> None:
    state = Restored(tmp_path, TREE).save()
    assert state.base is not None
    assert state.unchanged
    assert not state.sent_trees
    assert not state.sent_data


def set_back(path: Path, change: Callable[[], None]) -> None:
    """Change something and set its time to what it was."""
    before = path.lstat().st_mtime_ns
    change()
    os.utime(path, ns=(before, before), follow_symlinks=False)


def other_link(link: Path) -> None:
    link.unlink()
    link.symlink_to("e")


TOUCHES: dict[str, Callable[[Path], object]] = {
    "same size, time set back": lambda top: set_back(
        top / "d/f", lambda: (top / "d/f").write_bytes(b"y" * 5000) and None
    ),
    "another link, time set back": lambda top: set_back(
        top / "d/l", lambda: other_link(top / "d/l")
    ),
    "through its other name": lambda top: (top / "hard").write_bytes(b"z"),
    "a mode": lambda top: (top / "d/g").chmod(0o600),
    "a folder's mode": lambda top: (top / "s").chmod(0o700),
    "gone": lambda top: (top / "d/g").unlink(),
    "all of a folder gone": lambda top: (top / "s/only").unlink(),
    "all of it gone": lambda top: [delete_tree(one) for one in top.iterdir()],
    "new": lambda top: (top / "s/new").write_bytes(b"new"),
    "swapped": lambda top: (
        (top / "d/g").rename(top / "x"),
        (top / "s/only").rename(top / "d/g"),
        (top / "x").rename(top / "s/only"),
    ),
    "another name": lambda top: os.link(top / "d/g", top / "s/g"),
    "a folder in place of a file": lambda top: ((top / "d/g").unlink(), (top / "d/g").mkdir()),
}


@pytest.mark.parametrize("touch", TOUCHES)
def test_what_was_touched_before_the_cache_was_written_is_saved(tmp_path: Path, touch: str) -> None:
    restored = Restored(tmp_path, TREE)
    TOUCHES[touch](restored.saves.workspace)
    state = restored.save()
    assert state.base is not None
    assert not state.unchanged
    assert state.tree == describe(restored.saves.workspace)
    assert len(state.sent_data) <= 1


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[*HealthCheck])
@given(trees(), st.lists(edits, max_size=6))
def test_a_seeded_save_is_what_a_full_read_is(tree: Folder, every: list[Edit]) -> None:
    with scratch_folder() as folder:
        restored = Restored(folder, tree)
        for edit in every:
            carry_out(restored.saves.workspace, edit)
        state = restored.save()
        assert state.base is not None
        assert state.digest == restored.saves.full().digest


def test_without_a_settled_instant_nothing_is_vouched_for(tmp_path: Path) -> None:
    restored = Restored(tmp_path, TREE)
    never = Seeding(restored.base.root, restored.seeding._trees)
    never.write(restored.saves.caches, restored.saves.workspace)
    assert restored.saves.save_from(restored.base).base is None


def test_a_cache_that_cannot_be_written_is_no_cache(tmp_path: Path) -> None:
    restored = Restored(tmp_path, TREE)
    (tmp_path / "no-folder").write_text("x")
    with pytest.raises(OSError, match="exists"):
        restored.seeding.write(StatCaches(tmp_path / "no-folder"), restored.saves.workspace)
