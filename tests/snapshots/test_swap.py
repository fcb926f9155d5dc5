"""A swap leaves the old workspace or the new one: killed, failing, disturbed, wherever it lies."""

import errno
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from limpet.errors import ConflictError
from limpet.snapshots.journal import BACK_STEPS, JOURNAL_STEPS
from limpet.snapshots.swap import (
    RENAME_STEPS,
    SWAP_STEPS,
    TWO_RENAMES_STEPS,
    SandboxRoot,
    new_staging_folder,
    recover,
    swap,
)
from tests.sampled import one_in
from tests.snapshots.places import PLACES, mount, workspace_in
from tests.snapshots.trees import Description, File, Folder, Hard, Link, build, describe

OLD = Folder({
    b"repo": Folder({
        b"src": Folder({b"a.txt": File(b"old a"), b"deep": Folder({b"b": File(b"b")}, 0o555)}),
        b"only-old": File(b"x", 0o600), b"empty": Folder({}, 0o700),
    }),
    b"home": Folder({b".bashrc": File(b"old")}), b"file": File(b"old"), b"link": Link(b"file"),
    b"was a file": File(b"f"), b"was a folder": Folder({b"x": File(b"y")}),
    b"tmp": Folder({b"scratch": File(b"junk")}),
}, 0o750)  # fmt: skip
NEW = Folder({
    b"repo": Folder({b"src": Folder({b"a.txt": File(b"new a")}), b"only-new": File(b"z", 0o755)}),
    b"home": Folder({b".bashrc": File(b"new"), b"read-only": Folder({b"r": File(b"r")}, 0o500)}),
    b"file": File(b"new"), b"hard": Hard(b"file"), b"was a file": Folder({b"x": File(b"y")}),
    b"was a folder": File(b"f"),
}, 0o755)  # fmt: skip

DRIVER = """
import sys
from pathlib import Path
from limpet.snapshots.swap import SandboxRoot, recover, swap
root = SandboxRoot.for_workspace(Path(sys.argv[1]))
if sys.argv[2] == "recover":
    recover(root)
else:
    swap(root, Path(sys.argv[2]))
"""


class Sandbox:
    """A workspace with the old tree, and the new one waiting in staging."""

    def __init__(self, workspace: Path) -> None:
        self.workspace = workspace
        self.root = SandboxRoot.for_workspace(workspace)
        self.root.prepare()
        self.old = self.state()
        self.staged = build(new_staging_folder(self.root), NEW)
        self.new = describe(self.staged)

    def state(self) -> Description:
        return describe(self.workspace, leave_out=(b".limpet-root",))

    def run(self, what: Path | str, **environ: str) -> int:
        """Swap, or recover, in a process of its own; gives how it ended."""
        done = subprocess.run(
            [sys.executable, "-c", DRIVER, str(self.workspace), str(what)],
            env={**os.environ, **environ}, check=False, capture_output=True, text=True,
        )  # fmt: skip
        if done.returncode not in {0, -signal.SIGKILL} and "made to fail" not in done.stderr:
            raise AssertionError(done.stderr)
        return done.returncode

    def check_clean(self) -> None:
        assert os.listdir(self.root.staging) == []
        assert not self.root.journal.exists()
        assert {p.name for p in self.root.state.iterdir()} == set()


@pytest.fixture
def sandbox(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Sandbox]:
    """In the place that the test is parametrised with."""
    with workspace_in(getattr(request, "param", "folder"), tmp_path, OLD) as workspace:
        yield Sandbox(workspace)


def without(way: str) -> dict[str, str]:
    return {"LIMPET_WITHOUT": "rename-exchange,syncfs"} if way == "two renames" else {}


def cases() -> Iterator[object]:
    for step in RENAME_STEPS:
        yield pytest.param("folder", "exchange", step, id=f"exchange-{step}")
    for step in TWO_RENAMES_STEPS:
        yield pytest.param("folder", "two renames", step, id=f"two-renames-{step}")
    for place in ("mount point", "lower layer"):
        for step in ("swap-synced", *JOURNAL_STEPS):
            if step == "journal-deep-entry" and place == "mount point":
                continue
            times = ("", "@3") if step.endswith("-entry") else ("",)
            for time in times:
                yield pytest.param(place, "", step + time, id=f"{place}-{step}{time}")


@pytest.mark.parametrize(("sandbox", "way", "step"), one_in(2, cases()), indirect=["sandbox"])
def test_killed_at_a_step_it_is_the_old_or_the_new(sandbox: Sandbox, way: str, step: str) -> None:
    code = sandbox.run(sandbox.staged, LIMPET_FAULT=f"{step}:kill", **without(way))
    assert code == -signal.SIGKILL, "the step was not reached"
    report = recover(sandbox.root)
    assert sandbox.state() in (sandbox.old, sandbox.new)
    if report.rolled == "back":
        assert sandbox.state() == sandbox.old
    sandbox.check_clean()
    again = build(new_staging_folder(sandbox.root), NEW)
    swap(sandbox.root, again)
    assert sandbox.state() == sandbox.new


@pytest.mark.parametrize(("sandbox", "way", "step"), one_in(3, cases()), indirect=["sandbox"])
def test_failing_at_a_step_it_is_the_old(sandbox: Sandbox, way: str, step: str) -> None:
    assert sandbox.run(sandbox.staged, LIMPET_FAULT=f"{step}:fail", **without(way)) == 1
    assert sandbox.state() == sandbox.old
    recover(sandbox.root)
    assert sandbox.state() == sandbox.old
    sandbox.check_clean()


@pytest.mark.parametrize("sandbox", ["mount point", "lower layer"], indirect=True)
@pytest.mark.parametrize("step", [*JOURNAL_STEPS[2:], "journal-out-entry@4", "journal-in-entry@3"])
def test_killed_again_while_it_recovers_it_is_whole_in_the_end(sandbox: Sandbox, step: str) -> None:
    sandbox.run(sandbox.staged, LIMPET_FAULT="journal-out-entry@2:kill")
    sandbox.run("recover", LIMPET_FAULT=f"{step}:kill")
    sandbox.run("recover", LIMPET_FAULT="journal-in-entry:kill")
    report = recover(sandbox.root)
    assert sandbox.state() == sandbox.new
    assert report.rolled in {"forward", "none"}
    sandbox.check_clean()


@pytest.mark.parametrize("sandbox", ["mount point", "lower layer"], indirect=True)
@pytest.mark.parametrize("step", BACK_STEPS)
def test_killed_while_it_goes_back_it_goes_on_going_back(sandbox: Sandbox, step: str) -> None:
    fail_then_kill = f"""
import os, limpet.snapshots.faults as faults
from limpet.snapshots import journal
def reach(point, seen=[]):
    if point == "journal-in-entry" and not seen:
        seen.append(point)
        raise OSError({errno.EIO}, "made to fail")
    if point == {step!r}:
        os.kill(os.getpid(), 9)
journal.reach = reach
{DRIVER}
"""
    done = subprocess.run(
        [sys.executable, "-c", fail_then_kill, str(sandbox.workspace), str(sandbox.staged)],
        check=False, capture_output=True,
    )  # fmt: skip
    assert done.returncode == -signal.SIGKILL
    assert recover(sandbox.root).rolled == "back"
    assert sandbox.state() == sandbox.old
    sandbox.check_clean()


@pytest.mark.parametrize("sandbox", PLACES, indirect=True)
def test_the_old_tree_waits_in_staging(sandbox: Sandbox) -> None:
    old = swap(sandbox.root, sandbox.staged)
    assert sandbox.state() == sandbox.new
    assert old.parent == sandbox.root.staging
    assert (old / "repo/only-old").read_bytes() == b"x"
    report = recover(sandbox.root, delete=False)
    assert report.rolled == "none"
    assert report.trash == (old,)
    recover(sandbox.root)
    sandbox.check_clean()
    assert sandbox.state() == sandbox.new


@pytest.mark.parametrize("sandbox", ["folder", "lower layer"], indirect=True)
def test_the_places_have_their_modes(sandbox: Sandbox) -> None:
    assert sandbox.root.mode == "rename"
    assert sandbox.root.staging.parent == sandbox.root.root


@pytest.mark.parametrize("sandbox", ["mount point"], indirect=True)
def test_a_mount_point_is_swapped_by_its_entries(sandbox: Sandbox) -> None:
    assert sandbox.root.mode == "journalled"
    assert sandbox.root.staging.is_relative_to(sandbox.workspace)


def test_a_bind_of_the_same_file_system_is_a_mount_point_too(tmp_path: Path) -> None:
    with ExitStack() as stack:
        source = tmp_path / "source"
        (tmp_path / "root/workspace").mkdir(parents=True)
        build(source, OLD)
        subprocess.run(["mount", "--bind", source, tmp_path / "root/workspace"], check=False)
        stack.callback(subprocess.run, ["umount", "-l", tmp_path / "root/workspace"], check=False)
        if not (tmp_path / "root/workspace/repo").exists():
            pytest.skip("binding is not allowed here")
        root = SandboxRoot(tmp_path / "root", tmp_path / "root/workspace")
        root.prepare()
        assert root.mode == "journalled"
        staged = build(new_staging_folder(root), NEW)
        new = describe(staged)
        swap(root, staged)
        assert describe(root.workspace, leave_out=(b".limpet-root",)) == new


def test_a_tmp_that_is_mounted_is_emptied_and_stays(tmp_path: Path) -> None:
    with workspace_in("mount point", tmp_path, OLD) as workspace, ExitStack() as stack:
        mount(stack, workspace / "tmp", "-t", "tmpfs")
        (workspace / "tmp/junk").mkdir()
        sandbox = Sandbox(workspace)
        swap(sandbox.root, sandbox.staged)
        assert os.listdir(workspace / "tmp") == []
        assert (workspace / "file").read_bytes() == b"new"


def test_another_mount_in_the_workspace_is_refused_before_anything_moves(tmp_path: Path) -> None:
    with workspace_in("mount point", tmp_path, OLD) as workspace, ExitStack() as stack:
        mount(stack, workspace / "home", "-t", "tmpfs")
        sandbox = Sandbox(workspace)
        with pytest.raises(ConflictError, match="home"):
            swap(sandbox.root, sandbox.staged)
        assert sandbox.state() == sandbox.old


@pytest.mark.parametrize("sandbox", PLACES, indirect=True)
def test_a_writer_that_never_stops_cannot_mix_the_two(sandbox: Sandbox) -> None:
    stop = threading.Event()
    started = threading.Event()

    def write() -> None:
        count = 0
        while not stop.is_set():
            for name in ("file", "was a file", "stray", "repo"):
                try:
                    (sandbox.workspace / name).write_bytes(b"stray")
                except OSError:
                    continue
            count += 1
            started.set()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        started.wait()
        swap(sandbox.root, sandbox.staged)
    finally:
        stop.set()
        writer.join()
    assert (sandbox.workspace / "repo/only-new").read_bytes() == b"z"
    assert not (sandbox.workspace / "repo/only-old").exists()
    recover(sandbox.root)
    sandbox.check_clean()


def test_what_a_crash_left_is_cleaned(sandbox: Sandbox) -> None:
    (sandbox.root.staging / "new-half").mkdir()
    (sandbox.root.staging / "new-half/read-only").mkdir(mode=0o500)
    (sandbox.root.staging / "old-junk").write_text("x")
    report = recover(sandbox.root)
    assert report.rolled == "none"
    sandbox.check_clean()
    assert sandbox.state() == sandbox.old


def test_a_damaged_journal_stops_the_start_and_touches_nothing(sandbox: Sandbox) -> None:
    sandbox.root.journal.write_text("{")
    with pytest.raises(ConflictError, match="damaged"):
        recover(sandbox.root)
    assert sandbox.staged.is_dir()
    assert sandbox.state() == sandbox.old


def test_a_missing_workspace_is_made(tmp_path: Path) -> None:
    root = SandboxRoot(tmp_path, tmp_path / "workspace")
    assert recover(root).rolled == "none"
    assert root.workspace.is_dir()
    assert root.mode == "rename"


def test_only_what_lies_in_staging_is_swapped_in(sandbox: Sandbox, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (sandbox.root.staging / "link").symlink_to(tmp_path / "elsewhere")
    for path in (tmp_path / "elsewhere", sandbox.root.staging / "link"):
        with pytest.raises(ConflictError):
            swap(sandbox.root, path)
    assert sandbox.state() == sandbox.old


def test_two_workspaces_in_one_folder_do_not_share_a_root(tmp_path: Path) -> None:
    one = SandboxRoot.for_workspace(tmp_path / "one")
    two = SandboxRoot.for_workspace(tmp_path / "two")
    assert one.staging != two.staging
    assert SandboxRoot.for_workspace(tmp_path / "workspace").root == tmp_path


def test_every_point_is_listed() -> None:
    assert set(SWAP_STEPS) == {*RENAME_STEPS, *TWO_RENAMES_STEPS, *JOURNAL_STEPS}
