"""A workspace that was empty is in use before it is on the disk; a power cut makes it empty again.

Power is cut for real: what a disk of its own holds at that moment is mounted again, and what finds
it runs under another id of the machine.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from limpet.snapshots import unsynced
from limpet.snapshots.kernel import boot_id
from limpet.snapshots.root import SandboxRoot
from limpet.snapshots.swap import UNSYNCED_STEPS, new_staging_folder, recover, swap
from limpet.snapshots.tree import is_empty
from limpet.snapshots.unsynced import (
    FORGET_STEPS,
    MARK,
    SYNC_STEPS,
    forget_workspace,
    is_torn,
    is_unsynced,
    mark_unsynced,
    sync_sandbox,
)
from tests.snapshots.power_cuts import Disk, after_it_began_anew
from tests.snapshots.trees import Description, File, Folder, Link, build, describe

NEW = Folder({
    b"repo": Folder({b"%d.txt" % n: File(b"%d " % n * 4000) for n in range(40)}),
    b"home": Folder({b".bashrc": File(b"new"), b"read-only": Folder({b"r": File(b"r")}, 0o500)}),
    b"link": Link(b"repo"),
}, 0o755)  # fmt: skip
EVERY_STEP = (*UNSYNCED_STEPS, *SYNC_STEPS)
SWAP = """
import sys
from pathlib import Path
from limpet.snapshots.swap import SandboxRoot, swap
from limpet.snapshots.unsynced import sync_sandbox
root = SandboxRoot.for_workspace(Path(sys.argv[1]))
swap(root, Path(sys.argv[2]))
sync_sandbox(root)
"""
START = """
import sys
from pathlib import Path
from limpet.daemon.folders import recovered
from limpet.snapshots.swap import SandboxRoot
from limpet.snapshots.tree import delete_tree
done, trash = recovered(SandboxRoot.for_workspace(Path(sys.argv[1])))
for path in trash:
    delete_tree(path)
print(done)
"""


def workspace_below(folder: Path) -> SandboxRoot:
    """An empty one, as a daemon makes it."""
    root = SandboxRoot.for_workspace(folder / "root" / "workspace")
    root.prepare()
    for name in ("repo", "home", "tmp"):
        (root.workspace / name).mkdir()
    return root


def swap_apart(root: SandboxRoot, staged: Path, fault: str) -> int:
    """Swap and sync in a process of its own; how it ended."""
    command = [sys.executable, "-c", SWAP, str(root.workspace), str(staged)]
    return subprocess.run(
        command, env={**os.environ, "LIMPET_FAULT": fault}, check=False, capture_output=True
    ).returncode


def holds(workspace: Path, tree: Description) -> bool:
    return describe(workspace) == tree


def marks(root: SandboxRoot) -> list[Path]:
    return list(root.state.glob(f"{MARK}*"))


@pytest.fixture
def root(tmp_path: Path) -> SandboxRoot:
    return workspace_below(tmp_path)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    with ExitStack() as stack:
        yield Disk(tmp_path, stack)


def test_an_empty_workspace_is_marked_until_it_is_on_the_disk(root: SandboxRoot) -> None:
    staged = build(new_staging_folder(root), NEW)
    new = describe(staged)
    swap(root, staged)
    assert holds(root.workspace, new)
    assert len(marks(root)) == 1
    assert is_unsynced(root)
    assert not is_torn(root)
    sync_sandbox(root)
    assert not is_unsynced(root)
    assert marks(root) == []


def test_one_that_holds_something_is_on_the_disk_first(root: SandboxRoot) -> None:
    (root.workspace / "repo" / "work").write_text("mine")
    swap(root, build(new_staging_folder(root), NEW))
    assert marks(root) == []


@pytest.mark.parametrize("missing", ["boot-id", "rename-exchange"])
def test_where_it_cannot_be_the_disk_comes_first(
    root: SandboxRoot, missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIMPET_WITHOUT", missing)
    staged = build(new_staging_folder(root), NEW)
    new = describe(staged)
    swap(root, staged)
    assert holds(root.workspace, new)
    assert marks(root) == []
    assert not root.journal.exists()


@pytest.mark.parametrize("step", EVERY_STEP)
def test_a_kill_alone_loses_nothing(root: SandboxRoot, step: str) -> None:
    old = describe(root.workspace)
    staged = build(new_staging_folder(root), NEW)
    new = describe(staged)
    assert swap_apart(root, staged, f"{step}:kill") == -signal.SIGKILL, "it was not reached"
    assert not is_torn(root)
    assert recover(root).rolled == "none"
    assert holds(root.workspace, old if step == "swap-marked" else new)
    sync_sandbox(root)
    assert os.listdir(root.state) == []
    assert os.listdir(root.staging) == []


@pytest.mark.parametrize("step", UNSYNCED_STEPS)
def test_failing_at_a_step_it_is_empty_as_before(root: SandboxRoot, step: str) -> None:
    old = describe(root.workspace)
    assert swap_apart(root, build(new_staging_folder(root), NEW), f"{step}:fail") == 1
    assert holds(root.workspace, old)
    assert marks(root) == []


@pytest.mark.parametrize("step", EVERY_STEP)
def test_a_power_cut_leaves_all_of_it_or_nothing(disk: Disk, tmp_path: Path, step: str) -> None:
    root = workspace_below(disk.folder)
    (root.state / "origin.json").write_text("{}")
    os.sync()
    staged = build(new_staging_folder(root), NEW)
    new = describe(staged)
    assert swap_apart(root, staged, f"{step}:kill") == -signal.SIGKILL, "it was not reached"
    found = SandboxRoot.for_workspace(disk.cut() / "root" / "workspace")
    if step == "swap-ended":
        assert not holds(found.workspace, new), "this disk was not cut in time: nothing is shown"
    said = after_it_began_anew(tmp_path, "-c", START, found.workspace)
    if step == "late-ended":
        assert holds(found.workspace, new)
        assert said == "\n"
    else:
        assert is_empty(found.workspace)
        assert "begins empty" in said
        assert not (found.state / "origin.json").exists()
    assert marks(found) == []
    assert os.listdir(found.staging) == []


@pytest.mark.parametrize("again", FORGET_STEPS)
def test_killed_while_it_forgets_it_forgets_again(
    root: SandboxRoot, tmp_path: Path, again: str
) -> None:
    swap(root, build(new_staging_folder(root), NEW))
    (root.state / "origin.json").write_text("{}")
    root.journal.write_text("damaged")
    after_it_began_anew(tmp_path, "-c", START, root.workspace, LIMPET_FAULT=f"{again}:kill")
    assert marks(root)
    assert "begins empty" in after_it_began_anew(tmp_path, "-c", START, root.workspace)
    assert is_empty(root.workspace)
    assert sorted(os.listdir(root.state)) == []
    assert os.listdir(root.staging) == []


def test_a_mark_that_was_made_meanwhile_stays(
    root: SandboxRoot, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = mark_unsynced(root)
    later: list[Path | None] = []
    monkeypatch.setattr(unsynced, "sync_file_system", lambda _: later.append(mark_unsynced(root)))
    sync_sandbox(root)
    assert marks(root) == later
    assert first not in later


def test_a_disk_that_fails_keeps_the_mark(
    root: SandboxRoot, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: Path) -> None:
        raise OSError(5, "Input/output error")

    mark_unsynced(root)
    monkeypatch.setattr(unsynced, "sync_file_system", fail)
    with pytest.raises(OSError, match="Input/output"):
        sync_sandbox(root)
    assert is_unsynced(root)


@pytest.mark.parametrize("content", [b"", b"nonsense", b"\0" * 36, b"x" * 100_000])
def test_a_mark_that_says_nothing_known_counts_as_a_power_cut(
    root: SandboxRoot, content: bytes
) -> None:
    (root.state / f"{MARK}0").write_bytes(content)
    assert is_torn(root)
    forget_workspace(root)
    assert marks(root) == []


def test_one_mark_of_another_run_is_enough(root: SandboxRoot) -> None:
    assert mark_unsynced(root) is not None
    assert not is_torn(root)
    (root.state / f"{MARK}0").write_bytes((boot_id() or b"")[::-1])
    assert is_torn(root)


def test_a_workspace_that_is_a_mount_point_now_is_emptied_in_place(tmp_path: Path) -> None:
    workspace = tmp_path / "app"
    workspace.mkdir()
    (workspace / "repo").mkdir()
    (workspace / "repo" / "file").write_text("torn")
    root = SandboxRoot(workspace / ".limpet-root", workspace)
    root.prepare()
    assert root.mode == "journalled"
    (root.state / f"{MARK}0").write_bytes(b"another")
    forget_workspace(root)
    assert is_empty(workspace)
    assert marks(root) == []
