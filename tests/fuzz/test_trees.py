"""Whole trees through the whole engine, many of them (`make fuzz`), a few in every test run.

Each property has an inverse or a model: what is restored is what was saved, bit for bit, and a
delta never differs from a full read.
"""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from limpet.snapshots.diff import Side, diff_trees
from limpet.snapshots.ignoring import Ignoring
from limpet.snapshots.tree import delete_tree, walk
from tests.snapshots.engine import Engine
from tests.snapshots.test_ignore_rules import rules
from tests.snapshots.trees import Folder, build, describe, scratch_folder, trees

pytestmark = pytest.mark.long

EXAMPLES = int(os.environ.get("LIMPET_FUZZ_EXAMPLES", "25"))
many = settings(
    max_examples=EXAMPLES, deadline=None, suppress_health_check=[*HealthCheck], derandomize=False
)
few = settings(many, max_examples=max(20, EXAMPLES // 10))


@many
@given(trees())
def test_a_tree_comes_back_bit_for_bit(tree: Folder) -> None:
    with scratch_folder() as folder:
        engine = Engine(folder)
        build(engine.workspace, tree)
        head = engine.save()
        receipt = engine.restore(head, folder / "back")
        leave_out = (b"tmp", b".limpet-root")
        assert describe(folder / "back") == describe(engine.workspace, leave_out=leave_out)
        assert receipt.complete


@many
@given(trees(), trees())
def test_a_second_tree_in_the_place_of_the_first_is_saved_as_a_delta(
    first: Folder, second: Folder
) -> None:
    with scratch_folder() as folder:
        engine = Engine(folder)
        build(engine.workspace, first)
        before = engine.save()
        delete_tree(engine.workspace)
        build(engine.workspace, second)
        after = engine.save()
        full = Engine(folder / "full")
        (folder / "full").mkdir(exist_ok=True)
        full.workspace = engine.workspace
        assert full.save().blake3 == after.blake3
        leave_out = (b"tmp", b".limpet-root")
        engine.restore(after, folder / "back")
        assert describe(folder / "back") == describe(engine.workspace, leave_out=leave_out)
        assert before.packed is not None
        assert after.packed is not None
        old = engine.trees(before)
        new = engine.trees(after)
        same = not diff_trees(
            Side(old, before.packed.root.node), Side(new, after.packed.root.node), times=True
        )
        assert same == (before.packed.root.node == after.packed.root.node)


IGNORES_ITSELF = {b".limpetignore": Folder()}
"""A folder has the name of the file that says what is left out."""


@few
@given(trees(), rules, rules)
@example(Folder({**IGNORES_ITSELF, b"a": Folder(IGNORES_ITSELF)}), b"x", b"y")
def test_what_ignore_files_leave_out_is_nowhere(tree: Folder, outer: bytes, inner: bytes) -> None:
    """The packed form and the walk of plain tars leave out the same, and nothing else."""
    with scratch_folder() as folder:
        engine = Engine(folder)
        tree.entries.pop(b"tmp", None)
        tree.entries.pop(b".limpet-root", None)
        build(engine.workspace, tree)
        put_rules(engine.workspace, outer)
        for below in sorted(engine.workspace.iterdir()):
            if below.is_dir() and not below.is_symlink():
                put_rules(below, inner)
                break
        head = engine.save()
        assert engine.save(reason="idle").blake3 == head.blake3
        engine.restore(head, folder / "back")
        kept = {b"" if not one.path else b"/" + one.path for one in walk_kept(engine.workspace)}
        kept |= {
            b"/" + one.path_of(entry.name)
            for one in walk_kept(engine.workspace)
            for entry in one.entries
        }
        everything = describe(engine.workspace)
        back = describe(folder / "back")
        assert back.keys() == kept
        for path, told in back.items():
            plain = 4 if told[0] == "file" else 3
            assert told[:plain] == everything[path][:plain]


def put_rules(folder: Path, rules: bytes) -> None:
    """Make it the folder's ignore file, in the place of whatever has that name."""
    path = folder / ".limpetignore"
    if path.is_dir() and not path.is_symlink():
        delete_tree(path)
    path.unlink(missing_ok=True)
    path.write_bytes(rules)


def walk_kept(workspace: Path) -> Iterator[Any]:
    """Every folder, with what rules leave of it."""

    def on_error(path: bytes, error: OSError) -> None:
        raise error

    return walk(workspace, on_error=on_error, ignoring=Ignoring())


NAMES = [b"a", b"b", b"c", b"\xff\xfe", b"n" * 255]
name = st.sampled_from(NAMES)
path = st.lists(name, min_size=1, max_size=3).map(b"/".join)
edit = st.one_of(
    st.tuples(st.just("write"), path, st.binary(max_size=3000)),
    st.tuples(st.just("append"), path, st.binary(min_size=1, max_size=50)),
    st.tuples(st.just("rewrite"), path, st.binary(min_size=4, max_size=4)),
    st.tuples(st.just("remove"), path, st.none()),
    st.tuples(st.just("folder"), path, st.none()),
    st.tuples(st.just("rename"), path, path),
    st.tuples(st.just("link"), path, path),
    st.tuples(
        st.just("symlink"), path, st.binary(min_size=1, max_size=9).filter(lambda b: 0 not in b)
    ),
    st.tuples(st.just("mode"), path, st.sampled_from([0o600, 0o755, 0o444])),
    st.tuples(st.just("time"), path, st.integers(-(10**18), 10**18)),
    st.tuples(st.just("large"), path, st.integers(1, 3)),
)


def carry_out(workspace: Path, what: str, where: bytes, how: Any) -> None:
    """One edit; one that cannot be is passed over, as users' are."""
    place = workspace / os.fsdecode(where)
    with contextlib.suppress(OSError):
        match what:
            case "write":
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(how)
            case "append":
                with place.open("ab") as out:
                    out.write(how)
            case "large":
                place.write_bytes(os.urandom(4096) * 100 * how)
            case "rewrite":
                status = place.stat()
                with place.open("r+b") as out:
                    out.write(how)
                os.utime(place, ns=(status.st_atime_ns, status.st_mtime_ns))
            case "remove":
                delete_tree(place)
            case "folder":
                place.mkdir(parents=True, exist_ok=True)
            case "rename":
                place.rename(workspace / os.fsdecode(how))
            case "link":
                os.link(place, workspace / os.fsdecode(how), follow_symlinks=False)
            case "symlink":
                place.symlink_to(os.fsdecode(how))
            case "mode":
                if not place.is_symlink():
                    place.chmod(how | (0o700 if place.is_dir() else 0))
            case "time":
                os.utime(place, ns=(how, how), follow_symlinks=False)


@few
@given(st.lists(st.lists(edit, max_size=6), min_size=1, max_size=5))
def test_save_after_save_every_state_comes_back(
    rounds: list[list[tuple[str, bytes, object]]],
) -> None:
    with scratch_folder() as folder:
        engine = Engine(folder)
        engine.workspace.mkdir()
        states = []
        for number, edits in enumerate(rounds):
            for what, where, how in edits:
                carry_out(engine.workspace, what, where, how)
            head = engine.save()
            states.append((head, describe(engine.workspace)))
            again = engine.save(reason="idle")
            assert again.blake3 == head.blake3, "nothing changed, nothing differs"
            full_folder = folder / f"full-{number}"
            full_folder.mkdir()
            full = Engine(full_folder)
            full.workspace = engine.workspace
            assert full.save().blake3 == head.blake3, "a delta is what a full read is"
        for number, (head, state) in enumerate(states):
            engine.restore(head, folder / f"back-{number}")
            assert describe(folder / f"back-{number}") == state
            shutil.rmtree(folder / f"back-{number}", ignore_errors=True)
