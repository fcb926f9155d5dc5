"""A patch that dies leaves the old workspace or the new one, whoever runs it, wherever it lies."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from limpet.errors import ConflictError
from limpet.snapshots.patch_journal import BACK_STEPS, PATCH_STEPS
from limpet.snapshots.root import SandboxRoot
from limpet.snapshots.swap import recover
from tests.sampled import one_in
from tests.snapshots.packed_trees import save_folder
from tests.snapshots.places import mount, workspace_in
from tests.snapshots.trees import Description, File, Folder, Hard, Link, build, describe

pytestmark = pytest.mark.long

OLD = Folder({
    b"repo": Folder({
        b"src": Folder({b"a.txt": File(b"old a"), b"deep": Folder({b"b": File(b"b")}, 0o555)}),
        b"only-old": File(b"x", 0o600), b"empty": Folder({}, 0o700),
        b"read-only": Folder({b"in": File(b"i"), b"going": File(b"g")}, 0o500),
        b"going": Folder({b"locked": Folder({b"f": File(b"f")}, 0o500)}, 0o500),
        b"closed": Folder({b"f": File(b"closed")}, 0o000),
    }),
    b"home": Folder({b".bashrc": File(b"old")}), b"file": File(b"old"), b"link": Link(b"file"),
    b"was a file": File(b"f"), b"was a folder": Folder({b"x": File(b"y")}),
    b"looks": File(b"same", 0o600), b"one": File(b"1"), b"two": Hard(b"one"),
    b"more": File(b"m", 0o600),
    b"kept": Folder({b"k%d" % n: File(b"%d" % n) for n in range(5)}),
    b"tmp": Folder({b"scratch": File(b"junk")}),
}, 0o750)  # fmt: skip
NEW = Folder({
    b"repo": Folder({
        b"src": Folder({b"a.txt": File(b"new a"), b"deep": Folder({b"c": File(b"b")}, 0o500)}),
        b"only-new": File(b"z", 0o755),
        b"read-only": Folder({b"in": File(b"i"), b"coming": File(b"c")}, 0o500),
        b"coming": Folder({b"locked": Folder({b"f": File(b"f")}, 0o500)}, 0o500),
        b"closed": Folder({b"g": File(b"closed")}, 0o000),
    }, 0o555),
    b"home": Folder({b".bashrc": File(b"new"), b"read-only": Folder({b"r": File(b"r")}, 0o500)}),
    b"file": File(b"new"), b"hard": Hard(b"file"), b"was a file": Folder({b"x": File(b"y")}),
    b"was a folder": File(b"f"), b"link": Link(b"elsewhere"), b"looks": File(b"same", 0o444, 5),
    b"one": File(b"1"), b"three": Hard(b"one"),
    b"more": File(b"m", 0o640), b"more too": Hard(b"more"),
    b"kept": Folder({b"k%d" % n: File(b"%d" % n) for n in range(5)}),
}, 0o755)  # fmt: skip

DRIVER = """
import os, sys
from pathlib import Path
from limpet.snapshots.patch import apply_patch, fetch, plan_patch
from limpet.snapshots.statcache import StatCaches
from limpet.snapshots.swap import SandboxRoot, recover
if len(sys.argv) > 4:
    os.setgroups([]), os.setgid(int(sys.argv[4])), os.setuid(int(sys.argv[4]))
root = SandboxRoot.for_workspace(Path(sys.argv[1]))
if sys.argv[2] == "recover":
    recover(root)
else:
    caches = StatCaches(root.scratch / "statcache")
    plan = plan_patch(root.workspace, [Path(sys.argv[2]).read_bytes()], caches=caches,
                      plan_folder=root.staging / "plan")
    assert plan.worthwhile
    if plan.needs:
        fetch(plan, [Path(sys.argv[3]).read_bytes()])
    apply_patch(root, plan)
"""
FAIL_THEN_KILL = """
import errno, os
from limpet.snapshots import patch_journal
def reach(point, seen=[]):
    if point == {fail!r} and not seen:
        seen.append(point)
        raise OSError(errno.EIO, "made to fail")
    if point == {kill!r}:
        os.kill(os.getpid(), 9)
patch_journal.reach = reach
"""
STRANGER = 65534


class Sandbox:
    """A workspace with the old tree, and streams of the new one."""

    def __init__(self, where: Path, workspace: Path, owner: int = 0) -> None:
        self.where = where
        self.workspace = workspace
        self.owner = owner
        self.root = SandboxRoot.for_workspace(workspace)
        self.root.prepare()
        self.old = self.state()
        target = build(where / "target", NEW)
        self.new = describe(target)
        saved = save_folder(target, where / "target caches")
        (where / "plan").write_bytes(saved.stream("plan", entries=5, bytes=1 << 40))
        (where / "restore").write_bytes(saved.stream())

    def state(self) -> Description:
        return describe(self.workspace, leave_out=(b".limpet-root",))

    def run(self, what: str = "", prelude: str = "", **environ: str) -> int:
        """Patch, or recover, in a process of its own; gives how it ended."""
        paths = [str(self.workspace), what or str(self.where / "plan"), str(self.where / "restore")]
        arguments = [*paths, *([str(self.owner)] if self.owner else [])]
        done = subprocess.run(
            [sys.executable, "-c", prelude + DRIVER, *arguments],
            env={**os.environ, **environ}, check=False, capture_output=True, text=True,
        )  # fmt: skip
        if done.returncode not in {0, -signal.SIGKILL} and "made to fail" not in done.stderr:
            raise AssertionError(done.stderr)
        return done.returncode

    def recover(self) -> None:
        assert self.run("recover") == 0

    def check_clean(self) -> None:
        assert os.listdir(self.root.staging) == []
        assert not self.root.journal.exists()
        assert [path.name for path in self.root.state.iterdir()] == []


def all_gone(path: Path, owner: int) -> None:
    for folder, folders, files in os.walk(path):
        for name in (*folders, *files):
            os.lchown(os.path.join(folder, name), owner, owner)  # noqa: PTH118
    os.lchown(path, owner, owner)


@pytest.fixture
def sandbox(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Sandbox]:
    """In the place that the test is parametrised with: `stranger` is a plain folder of a user's."""
    place = getattr(request, "param", "folder")
    if place != "stranger":
        with workspace_in(place, tmp_path, OLD) as workspace:
            yield Sandbox(tmp_path, workspace)
        return
    if os.getuid():
        pytest.skip("only root may become somebody else")
    with ExitStack() as stack:
        # pytest's own folders are closed to others.
        disk = Path("/tmp") / f"limpet-{os.getpid()}-stranger"
        disk.mkdir(mode=0o755)
        stack.callback(disk.rmdir)
        mount(stack, disk, "-t", "tmpfs", "-o", "size=16m,mode=0755")
        (disk / "root").mkdir()
        repo = OLD.entries[b"repo"]
        assert isinstance(repo, Folder)
        entries = {name: node for name, node in repo.entries.items() if name != b"closed"}
        readable = Folder({**OLD.entries, b"repo": Folder(entries)}, 0o750)
        sandbox = Sandbox(disk, build(disk / "root" / "workspace", readable), STRANGER)
        all_gone(disk, STRANGER)
        sandbox.old = sandbox.state()
        yield sandbox


def cases() -> Iterator[object]:
    for place in ("folder", "mount point", "stranger"):
        for step in PATCH_STEPS:
            for time in ("", "@3") if step in {"patch-out", "patch-in"} else ("",):
                yield pytest.param(place, step + time, id=f"{place}-{step}{time}")


@pytest.mark.parametrize("sandbox", ["folder", "mount point", "stranger"], indirect=True)
def test_it_becomes_the_new_one(sandbox: Sandbox) -> None:
    assert sandbox.run() == 0
    assert not (sandbox.workspace / "tmp").exists()
    sandbox.recover()
    assert sandbox.state() == sandbox.new
    sandbox.check_clean()


@pytest.mark.parametrize(("sandbox", "step"), one_in(3, cases()), indirect=["sandbox"])
def test_killed_at_a_step_it_is_the_old_or_the_new(sandbox: Sandbox, step: str) -> None:
    assert sandbox.run(LIMPET_FAULT=f"{step}:kill") == -signal.SIGKILL, "it was not reached"
    sandbox.recover()
    assert sandbox.state() == (sandbox.old if step == "patch-begun" else sandbox.new)
    sandbox.check_clean()
    if not sandbox.owner:  # others cannot read all of the new one
        assert sandbox.run() == 0
        sandbox.recover()
        assert sandbox.state() == sandbox.new


@pytest.mark.parametrize(("sandbox", "step"), one_in(4, cases()), indirect=["sandbox"])
def test_failing_at_a_step_it_is_the_old(sandbox: Sandbox, step: str) -> None:
    assert sandbox.run(LIMPET_FAULT=f"{step}:fail") == 1
    assert sandbox.state() == sandbox.old
    assert not sandbox.root.journal.exists()
    sandbox.recover()
    assert sandbox.state() == sandbox.old
    sandbox.check_clean()


@pytest.mark.parametrize("step", ["patch-planned", "patch-filled", "patch-fetched"])
def test_killed_before_it_is_applied_it_is_the_old(sandbox: Sandbox, step: str) -> None:
    assert sandbox.run(LIMPET_FAULT=f"{step}:kill") == -signal.SIGKILL
    sandbox.recover()
    assert sandbox.state() == sandbox.old
    sandbox.check_clean()


@pytest.mark.parametrize("sandbox", ["folder", "stranger"], indirect=True)
@pytest.mark.parametrize("step", one_in(2, BACK_STEPS))
@pytest.mark.parametrize("fail", ["patch-out", "patch-in", "patch-relooked", "patch-looks"])
def test_killed_while_it_goes_back_it_goes_on_going_back(
    sandbox: Sandbox, fail: str, step: str
) -> None:
    died = sandbox.run(prelude=FAIL_THEN_KILL.format(fail=fail, kill=step)) == -signal.SIGKILL
    assert died or (fail, step) == ("patch-out", "patch-back-in")
    sandbox.recover()
    assert sandbox.state() == sandbox.old
    sandbox.check_clean()


@pytest.mark.parametrize("sandbox", ["folder", "stranger"], indirect=True)
@pytest.mark.parametrize("again", one_in(3, PATCH_STEPS[2:]))
@pytest.mark.parametrize("step", ["patch-in@2", "patch-looks"])
def test_killed_again_while_it_recovers_it_is_whole_in_the_end(
    sandbox: Sandbox, step: str, again: str
) -> None:
    assert sandbox.run(LIMPET_FAULT=f"{step}:kill") == -signal.SIGKILL
    assert sandbox.run("recover", LIMPET_FAULT=f"{again}:kill") == -signal.SIGKILL
    sandbox.recover()
    assert sandbox.state() == sandbox.new
    sandbox.check_clean()


def test_steps_that_are_damaged_stop_the_start_and_touch_nothing(sandbox: Sandbox) -> None:
    sandbox.run(LIMPET_FAULT="patch-in@2:kill")
    before = sandbox.state()
    steps = sandbox.root.staging / "plan" / "steps"
    steps.write_bytes(steps.read_bytes()[:-1])
    with pytest.raises(ConflictError, match="damaged"):
        recover(sandbox.root)
    assert sandbox.state() == before
    assert steps.exists()


@pytest.mark.parametrize("sandbox", ["lower layer"], indirect=True)
def test_what_cannot_be_renamed_is_told_and_stays(sandbox: Sandbox) -> None:
    """A folder of an overlay's lower layer: a cold restore copes with it."""
    done = subprocess.run(
        [sys.executable, "-c", DRIVER, str(sandbox.workspace), str(sandbox.where / "plan"),
         str(sandbox.where / "restore")],
        check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 1
    assert "cross-device" in done.stderr
    assert sandbox.state() == sandbox.old
    assert not sandbox.root.journal.exists()


def test_a_tmp_that_is_mounted_is_emptied_and_stays(tmp_path: Path) -> None:
    with workspace_in("folder", tmp_path, OLD) as workspace, ExitStack() as stack:
        mount(stack, workspace / "tmp", "-t", "tmpfs")
        (workspace / "tmp/junk").mkdir()
        sandbox = Sandbox(tmp_path, workspace)
        assert sandbox.run() == 0
        assert os.listdir(workspace / "tmp") == []
        assert (workspace / "file").read_bytes() == b"new"


@pytest.mark.parametrize("sandbox", ["stranger"], indirect=True)
def test_what_cannot_be_read_is_told_and_stays(sandbox: Sandbox) -> None:
    (sandbox.workspace / "kept").chmod(0o000)
    before = sandbox.state()
    with pytest.raises(AssertionError, match="cannot be read"):
        sandbox.run()
    assert sandbox.state() == before
