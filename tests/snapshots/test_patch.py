"""A warm restore makes the workspace exactly the snapshot, whatever it was before."""

import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st

from limpet.errors import ConflictError, LimpetError
from limpet.snapshots.delta import stream_delta
from limpet.snapshots.patch import PatchPlan, apply_patch, fetch, plan_patch
from limpet.snapshots.receipt import Receipt
from limpet.snapshots.root import SandboxRoot
from limpet.snapshots.statcache import StatCaches
from limpet.snapshots.swap import recover
from tests.snapshots.packed_trees import PackedTree, pack_folder, save_folder
from tests.snapshots.trees import (
    Description,
    File,
    Folder,
    Hard,
    Link,
    build,
    describe,
    scratch_folder,
    trees,
)


class Sandbox:
    """A workspace, and the snapshot of another tree that it is to become."""

    def __init__(self, where: Path, present: Folder, target: Folder | PackedTree) -> None:
        (where / "root").mkdir()
        self.workspace = build(where / "root" / "workspace", present)
        self.root = SandboxRoot.for_workspace(self.workspace)
        self.root.prepare()
        self.caches = StatCaches(self.root.state / "statcache")
        if isinstance(target, PackedTree):
            self.target = target
            self.wanted: Description | None = None
        else:
            source = build(where / "target", target)
            self.target = save_folder(source, where / "target caches")
            self.wanted = describe(source)
        self.base: str | None = None

    def become(self, source: Path, wanted: Path) -> None:
        """The target is what a save of `source` makes; all that it holds lies in `wanted`."""
        self.target = save_folder(source, source.parent / "target caches")
        self.wanted = describe(wanted)

    def plan(self) -> PatchPlan:
        return plan_patch(
            self.workspace,
            [self.target.stream("plan", entries=5, bytes=1 << 40)],
            caches=self.caches,
            plan_folder=self.root.staging / f"plan-{len(os.listdir(self.root.staging))}",
            base=self.base,
        )

    def fetch(self, plan: PatchPlan) -> None:
        if plan.needs:
            fetch(plan, [self.target.stream(data=[self.target.data[one] for one in plan.needs])])

    def patch(self) -> Receipt:
        plan = self.plan()
        self.fetch(plan)
        return apply_patch(self.root, plan)

    def remember(self) -> None:
        """Save the workspace, so that there is a stat cache of it."""
        delta = stream_delta(self.workspace, caches=self.caches, base=None, fields={})
        for _ in delta:
            pass
        self.base = delta.root.digest

    def check(self) -> None:
        recover(self.root)
        assert os.listdir(self.root.staging) == []
        assert describe(self.workspace, leave_out=(b".limpet-root",)) == self.wanted


def patched(where: Path, present: Folder, target: Folder) -> PatchPlan:
    """Patch one into the other; gives the plan."""
    sandbox = Sandbox(where, present, target)
    plan = sandbox.plan()
    sandbox.fetch(plan)
    receipt = apply_patch(sandbox.root, plan)
    assert receipt.complete
    sandbox.check()
    return plan


@settings(deadline=None, max_examples=60, suppress_health_check=list(HealthCheck))
@given(present=trees(), target=trees(), cached=st.booleans())
def test_any_tree_becomes_any_other(present: Folder, target: Folder, cached: bool) -> None:
    with scratch_folder() as where:
        for tree in (present, target):
            tree.entries.pop(b"tmp", None)
        try:
            sandbox = Sandbox(where, present, target)
        except OverflowError:
            reject()
        if cached:
            sandbox.remember()
        sandbox.patch()
        sandbox.check()


@st.composite
def edited(draw: st.DrawFn) -> tuple[Folder, Folder]:
    """A tree, and the same with a part of it changed."""
    tree = draw(trees())
    other = Folder(dict(tree.entries), tree.mode, tree.mtime_ns)
    for name in list(other.entries):
        what = draw(st.sampled_from(["keep", "keep", "gone", "looks", "new name", "other"]))
        node = other.entries[name]
        if what == "gone":
            del other.entries[name]
        elif what == "looks" and isinstance(node, File):
            other.entries[name] = File(node.data, 0o640, 5, node.segments, node.size)
        elif what == "looks" and isinstance(node, Folder):
            other.entries[name] = Folder(node.entries, 0o750, 6)
        elif what == "new name":
            other.entries[name + b"2" if len(name) < 250 else b"short"] = other.entries.pop(name)
        elif what == "other":
            other.entries[name] = draw(st.sampled_from([File(b"other"), Link(b"o"), Folder()]))
    _drop_broken_links(other)
    return tree, other


def _drop_broken_links(tree: Folder) -> None:
    """Hard links whose file is gone go too; files in folders that moved are found no more."""
    for name, node in list(tree.entries.items()):
        if isinstance(node, Hard):
            found: object = tree
            for part in node.to.split(b"/"):
                found = found.entries.get(part) if isinstance(found, Folder) else None
            if not isinstance(found, File | Link):
                del tree.entries[name]


@settings(deadline=None, max_examples=60, suppress_health_check=list(HealthCheck))
@given(pair=edited(), cached=st.booleans())
def test_an_edited_tree_goes_back_and_forth(pair: tuple[Folder, Folder], cached: bool) -> None:
    for present, target in (pair, pair[::-1]):
        with scratch_folder() as where:
            for tree in (present, target):
                tree.entries.pop(b"tmp", None)
            try:
                sandbox = Sandbox(where, present, target)
            except OverflowError:
                reject()
            if cached:
                sandbox.remember()
            sandbox.patch()
            sandbox.check()


# -- what is done, and what is not -----------------------------------------------------------------

BEFORE = Folder({
    b"repo": Folder({
        b"src": Folder({b"a.txt": File(b"a" * 3000), b"b.txt": File(b"b" * 3000)}),
        b"gone": Folder({b"x": File(b"x" * 4000), b"y": Link(b"x")}, 0o500),
        b"looks": File(b"looks", 0o600), b"same": Folder({b"f": File(b"same")}),
    }, 0o755),
    b"big": File(bytes(range(256)) * 200), b"link": Link(b"repo"),
})  # fmt: skip
AFTER = Folder({
    b"repo": Folder({
        b"src": Folder({b"a.txt": File(b"A" * 3000), b"b.txt": File(b"b" * 3000)}, 0o555),
        b"new": Folder({b"moved": File(b"x" * 4000), b"n": File(b"n" * 3000), b"e": Folder()}),
        b"looks": File(b"looks", 0o755, 7), b"same": Folder({b"f": File(b"same")}),
    }, 0o750),
    b"big": File(bytes(range(256)) * 200 + b"more" * 500), b"link": Link(b"elsewhere"),
    b"hard": Hard(b"repo/looks"),
}, 0o700)  # fmt: skip


def test_only_what_no_file_holds_is_asked_for(tmp_path: Path) -> None:
    sandbox = Sandbox(tmp_path, BEFORE, AFTER)
    plan = sandbox.plan()
    needed = {sandbox.target.data[one] for one in plan.needs}
    big = bytes(range(256)) * 200 + b"more" * 500
    assert needed == {b"A" * 3000, b"n" * 3000, big}
    assert plan.needs_bytes == sum(map(len, needed))
    assert (plan.changed, plan.removed, plan.added) == (4, 1, 2)


def test_what_stays_is_not_touched(tmp_path: Path) -> None:
    sandbox = Sandbox(tmp_path, BEFORE, AFTER)
    kept = [sandbox.workspace / "repo/src/b.txt", sandbox.workspace / "repo/same/f"]
    before = [(p.stat().st_ino, p.stat().st_ctime_ns) for p in kept]
    sandbox.patch()
    sandbox.check()
    assert [(p.stat().st_ino, p.stat().st_ctime_ns) for p in kept] == before


def test_a_workspace_that_is_the_snapshot_already_needs_nothing(tmp_path: Path) -> None:
    sandbox = Sandbox(tmp_path, BEFORE, BEFORE)
    plan = sandbox.plan()
    assert (plan.needs, plan.bytes) == (frozenset(), 0)
    assert (plan.changed, plan.removed, plan.added) == (0, 0, 0)
    assert plan.whole
    apply_patch(sandbox.root, plan)
    sandbox.check()


def test_a_plan_that_changes_most_is_not_worthwhile_and_begins_nothing(tmp_path: Path) -> None:
    sandbox = Sandbox(tmp_path, Folder({b"f": File(b"old")}), Folder({b"g": File(b"n" * 1000)}))
    stream = sandbox.target.stream("plan", entries=1, bytes=1000)
    folder = sandbox.root.staging / "plan"
    plan = plan_patch(sandbox.workspace, [stream], caches=sandbox.caches, plan_folder=folder)
    assert not plan.worthwhile
    assert not folder.exists()
    with pytest.raises(ConflictError):
        apply_patch(sandbox.root, plan)


def test_the_save_after_a_patch_reads_nothing(tmp_path: Path) -> None:
    sandbox = Sandbox(tmp_path, BEFORE, AFTER)
    sandbox.patch()
    digest = sandbox.target.root.digest
    with sandbox.caches.open(digest) or pytest.fail("there is no cache") as cache:
        assert {path for path, _ in cache.folders()} == {
            b"", b"repo", b"repo/src", b"repo/new", b"repo/new/e", b"repo/same",
        }  # fmt: skip
    delta = stream_delta(sandbox.workspace, caches=sandbox.caches, base=digest, fields={})
    assert sum(map(len, delta)) < 2000
    assert delta.unchanged


def test_a_patch_upon_a_patch(tmp_path: Path) -> None:
    sandbox = Sandbox(tmp_path, BEFORE, AFTER)
    sandbox.patch()
    sandbox.base = sandbox.target.root.digest
    there, sandbox.target = sandbox.target, pack_folder(build(tmp_path / "before", BEFORE))
    sandbox.wanted = describe(tmp_path / "before")
    sandbox.patch()
    sandbox.check()
    sandbox.base, sandbox.target = sandbox.target.root.digest, there
    sandbox.wanted = describe(tmp_path / "target")
    sandbox.patch()
    sandbox.check()


def test_temporary_files_and_what_no_snapshot_carries_are_gone(tmp_path: Path) -> None:
    sandbox = Sandbox(tmp_path, BEFORE, BEFORE)
    workspace = sandbox.workspace
    (workspace / "tmp/deep").mkdir(parents=True)
    (workspace / "tmp/deep/junk").write_text("junk")
    looks = (workspace / "repo/same").stat()
    with socket.socket(socket.AF_UNIX) as listening:
        before = Path.cwd()
        os.chdir(workspace / "repo/same")
        try:
            listening.bind("socket")
        finally:
            os.chdir(before)
    os.mkfifo(workspace / "repo/same/fifo")
    os.utime(workspace / "repo/same", ns=(looks.st_mtime_ns, looks.st_mtime_ns))
    top = (workspace / "repo").parent
    os.utime(top, ns=(0, BEFORE.mtime_ns))
    sandbox.patch()
    sandbox.check()


def test_set_user_id_does_not_outlive_a_change(tmp_path: Path) -> None:
    sandbox = Sandbox(tmp_path, BEFORE, AFTER)
    (sandbox.workspace / "repo/looks").chmod(0o4755)
    sandbox.patch()
    assert stat.S_IMODE((sandbox.workspace / "repo/looks").stat().st_mode) == 0o755


def test_a_large_file_is_made_of_what_the_old_one_holds(tmp_path: Path) -> None:
    data = os.urandom(6 << 20)
    changed = data[: 3 << 20] + b"changed!" + data[3 << 20 :]
    present = Folder({b"big": File(data)})
    sandbox = Sandbox(tmp_path, present, Folder({b"d": Folder({b"larger": File(changed)})}))
    plan = sandbox.plan()
    assert 0 < plan.needs_bytes <= 2 << 20
    sandbox.fetch(plan)
    apply_patch(sandbox.root, plan)
    sandbox.check()


def test_pieces_that_were_cut_otherwise_are_as_good(tmp_path: Path) -> None:
    source = build(tmp_path / "source", AFTER)
    sandbox = Sandbox(tmp_path, BEFORE, pack_folder(source, cut_bytes=1000))
    sandbox.wanted = describe(source)
    sandbox.patch()
    sandbox.check()


def test_a_deep_tree_is_patched(tmp_path: Path) -> None:
    def deep(leaf: bytes) -> Folder:
        tree = Folder({b"leaf": File(leaf)}, 0o500)
        for depth in range(60):
            tree = Folder({b"d" * 100: tree, b"s%d" % depth: Folder({b"f": File(b"x")})})
        return tree

    sandbox = Sandbox(tmp_path, deep(b"old"), deep(b"new"))
    sandbox.patch()
    sandbox.check()


F, G = File(b"one" * 100), File(b"two" * 100)
SAME = Folder({b"l": Hard(b"a/f"), b"m": File(b"m")})
LINKS: dict[str, tuple[Folder, Folder]] = {
    "linked, then apart": (
        Folder({b"a": F, b"b": Hard(b"a")}), Folder({b"a": F, b"b": F}),
    ),
    "apart, then linked": (
        Folder({b"a": F, b"b": F}), Folder({b"a": F, b"b": Hard(b"a")}),
    ),
    "the first name goes": (
        Folder({b"a": F, b"b": Hard(b"a"), b"c": Hard(b"a")}), Folder({b"b": F, b"c": Hard(b"b")}),
    ),
    "the content changes below a link in a folder that does not": (
        Folder({b"a": Folder({b"f": F}), b"s": SAME}),
        Folder({b"a": Folder({b"f": G}), b"s": SAME}),
    ),
    "the looks change below such a link": (
        Folder({b"a": Folder({b"f": F}), b"s": SAME}),
        Folder({b"a": Folder({b"f": File(F.data, 0o600, 3)}), b"s": SAME}),
    ),
    "one more name for a file that would stay": (
        Folder({b"a": Folder({b"f": F}), b"s": SAME}),
        Folder({b"a": Folder({b"f": F}), b"s": SAME, b"t": Folder({b"new": Hard(b"a/f")})}),
    ),
    "one more name beside those that stay": (
        Folder({b"a": Folder({b"f": F}), b"s": SAME}),
        Folder({b"a": Folder({b"f": F}), b"s": SAME, b"z": Hard(b"a/f")}),
    ),
    "a group moves": (
        Folder({b"a": Folder({b"f": F, b"g": Hard(b"a/f")})}),
        Folder({b"b": Folder({b"f": F, b"g": Hard(b"b/f")})}),
    ),
    "groups trade a name": (
        Folder({b"a": F, b"b": G, b"c": Hard(b"a"), b"d": Hard(b"b")}),
        Folder({b"a": F, b"b": G, b"c": Hard(b"b"), b"d": Hard(b"a")}),
    ),
    "symlinks with several names": (
        Folder({b"a": Link(b"x"), b"b": Hard(b"a"), b"c": Link(b"x")}),
        Folder({b"a": Link(b"x"), b"b": Link(b"x"), b"c": Hard(b"a"), b"d": Hard(b"a")}),
    ),
}  # fmt: skip


@pytest.mark.parametrize("back", [False, True])
@pytest.mark.parametrize("what", LINKS)
def test_names_of_one_file_stay_or_come_together(tmp_path: Path, what: str, back: bool) -> None:
    patched(tmp_path, *LINKS[what][:: -1 if back else 1])


@pytest.mark.parametrize("what", LINKS)
def test_a_further_name_that_was_written_meanwhile(tmp_path: Path, what: str) -> None:
    """Names that a writer took apart, or put together, are told or put right."""
    sandbox = Sandbox(tmp_path, *LINKS[what])
    plan = sandbox.plan()
    sandbox.fetch(plan)
    for path in sorted(sandbox.workspace.rglob("*")):
        if path.is_file() and not path.is_symlink():
            path.write_text("written meanwhile")
            break
    before = describe(sandbox.workspace)
    try:
        apply_patch(sandbox.root, plan)
    except ConflictError:
        assert describe(sandbox.workspace) == before
        sandbox.patch()
    sandbox.check()


# -- a workspace that is in use --------------------------------------------------------------------


def test_what_is_written_after_the_plan_does_not_stay(tmp_path: Path) -> None:
    sandbox = Sandbox(tmp_path, BEFORE, AFTER)
    plan = sandbox.plan()
    (sandbox.workspace / "repo/log").write_text("written meanwhile")
    (sandbox.workspace / "repo/src/a.txt").write_text("it was to be replaced")
    (sandbox.workspace / "repo/gone/z").write_text("it was to go")
    (sandbox.workspace / "repo/new").mkdir()
    (sandbox.workspace / "repo/new/mine").write_text("in the way")
    (sandbox.workspace / "repo/same/f").chmod(0o777)
    sandbox.fetch(plan)
    apply_patch(sandbox.root, plan)
    sandbox.check()


CHANGES: dict[str, Callable[[Path], object]] = {
    "a file that was to stay": lambda top: (top / "repo/src/b.txt").write_text("mine"),
    "a file in a folder that was to stay": lambda top: (top / "repo/same/f").write_text("mine"),
    "a file that was removed": lambda top: (top / "repo/src/b.txt").unlink(),
    "a folder that was moved away": lambda top: (top / "repo/src").rename(top / "mine"),
    "a folder that is a link now": lambda top: (
        (top / "repo/same").rename(top / "mine"),
        (top / "repo/same").symlink_to(top / "mine"),
    ),
    "a further name that is a file of its own now": lambda top: (
        (top / "repo/looks").unlink(), (top / "repo/looks").write_text("other"),
        (top / "repo/src/b.txt").unlink(), (top / "repo/src/b.txt").symlink_to("a.txt"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", CHANGES)
def test_what_changed_too_much_is_refused_and_stays_as_it_is(tmp_path: Path, what: str) -> None:
    sandbox = Sandbox(tmp_path, BEFORE, AFTER)
    plan = sandbox.plan()
    sandbox.fetch(plan)
    CHANGES[what](sandbox.workspace)
    before = describe(sandbox.workspace)
    with pytest.raises(ConflictError, match="changed"):
        apply_patch(sandbox.root, plan)
    assert describe(sandbox.workspace) == before
    assert not sandbox.root.journal.exists()
    sandbox.patch()
    sandbox.check()


def test_something_that_keeps_writing_is_told_and_all_is_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sandbox = Sandbox(tmp_path, BEFORE, AFTER)
    plan = sandbox.plan()
    sandbox.fetch(plan)
    before = describe(sandbox.workspace)

    def reach(point: str) -> None:
        if point == "patch-looks":
            (sandbox.workspace / "repo/stray").write_text("written while all was to stand still")

    monkeypatch.setattr("limpet.snapshots.patch_journal.reach", reach)
    with pytest.raises(ConflictError, match="changed"):
        apply_patch(sandbox.root, plan)
    (sandbox.workspace / "repo/stray").unlink()
    os.utime(sandbox.workspace / "repo", ns=(0, BEFORE.mtime_ns))
    assert describe(sandbox.workspace) == before


# -- streams that lie ------------------------------------------------------------------------------


def test_a_stream_without_what_is_needed_is_refused(tmp_path: Path) -> None:
    sandbox = Sandbox(tmp_path, BEFORE, AFTER)
    plan = sandbox.plan()
    before = describe(sandbox.workspace)
    needed = [sandbox.target.data[one] for one in plan.needs]
    with pytest.raises(LimpetError, match="did not come"):
        fetch(plan, [sandbox.target.stream(data=needed[1:])])
    assert describe(sandbox.workspace) == before
    assert os.listdir(sandbox.root.staging) == []
    with pytest.raises(ConflictError):
        apply_patch(sandbox.root, plan)


def test_a_stream_of_another_snapshot_is_refused(tmp_path: Path) -> None:
    sandbox = Sandbox(tmp_path, BEFORE, AFTER)
    plan = sandbox.plan()
    with pytest.raises(LimpetError, match="another state"):
        fetch(plan, [pack_folder(sandbox.workspace).stream()])


@pytest.mark.parametrize("cut", [0, 1, 2])
def test_a_plan_that_is_cut_off_leaves_nothing(tmp_path: Path, cut: int) -> None:
    sandbox = Sandbox(tmp_path, BEFORE, AFTER)
    records = list(sandbox.target.records("plan"))
    with pytest.raises(LimpetError):
        plan_patch(
            sandbox.workspace, records[:cut], caches=sandbox.caches,
            plan_folder=sandbox.root.staging / "plan",
        )  # fmt: skip
    assert os.listdir(sandbox.root.staging) == []
