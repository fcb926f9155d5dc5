"""The daemon is killed in the middle of every kind of change: the next one finds no part of any.

The moments are drawn from a seed, over the time that the change takes undisturbed. Once the daemon
dies alone, and what it had begun goes on; once everything in the sandbox dies with it. KILLS says
how often each (`make faults-kill`), SEED repeats a run.
"""

import contextlib
import fnmatch
import hashlib
import os
import random
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest
import urllib3

from tests.daemon_process import DaemonProcess
from tests.gitserver import git
from tests.live import poll_until
from tests.sampled import one_in

pytestmark = [pytest.mark.timeout(3600), pytest.mark.long]

KILLS = int(os.environ.get("KILLS", "1"))
SEED = int(os.environ.get("SEED", "1"))
LARGE = 3 * 1024 * 1024
Victims = Literal["the daemon", "the sandbox"]
Act = Callable[[DaemonProcess], object]


def content(name: str, size: int) -> bytes:
    """Bytes that are the same in every run, and differ from each part of each other."""
    return random.Random(name).randbytes(size)


def fill(repo: Path, state: str) -> None:
    """Two large files, many small ones, all different from state to state; one of its own."""
    for n in range(2):
        (repo / f"large{n}.bin").write_bytes(content(f"{state} large {n}", LARGE))
    for n in range(60):
        folder = repo / f"folder{n % 4}"
        folder.mkdir(exist_ok=True)
        (folder / f"small{n}.txt").write_bytes(content(f"{state} small {n}", 3000))
    (repo / f"only-{state}.txt").write_text(state)


def commit(repo: Path, message: str) -> None:
    git("add", "-A", cwd=repo)
    git("commit", "-q", "-m", message, cwd=repo)


@pytest.fixture(scope="module")
def base() -> Iterator[Path]:
    """A folder in memory, where there is some: what is killed has no time to wait for a disk."""
    shm = Path("/dev/shm")
    made = tempfile.mkdtemp(prefix="limpet-killed-", dir=shm if os.access(shm, os.W_OK) else None)
    yield Path(made)
    shutil.rmtree(made)


@pytest.fixture(scope="module")
def template(base: Path) -> Path:
    """A workspace with branches, a remote that is ahead, and a stash."""
    folder = base / "template"
    workspace, remote = folder / "root" / "workspace", folder / "remote.git"
    repo = workspace / "repo"
    repo.mkdir(parents=True)
    git("init", "-q", "-b", "work", ".", cwd=repo)
    fill(repo, "first")
    commit(repo, "first")
    git("clone", "-q", "--bare", str(repo), str(remote), cwd=folder)
    for branch, state in (("other", "other"), ("work", "newer")):
        git("switch", "-q", *(["-c"] if branch == "other" else []), branch, cwd=repo)
        fill(repo, state)
        commit(repo, state)
        git("push", "-q", str(remote), branch, cwd=repo)
    git("reset", "-q", "--hard", "HEAD^", cwd=repo)
    git("remote", "add", "origin", f"file://{remote}", cwd=repo)
    fill(repo, "stashed")
    git("stash", "push", "-q", "--include-untracked", cwd=repo)
    return workspace


def changes(state: str = "changed") -> Callable[[Path], None]:
    """Prepare: uncommitted changes, new files among them."""
    return lambda workspace: fill(workspace / "repo", state)


def nothing(_: object) -> None:
    """Prepare nothing, do nothing."""


def posts(path: str, body: dict[str, Any]) -> Act:
    return lambda daemon: daemon.post(path, body)


def uploads(daemon: DaemonProcess) -> object:
    blocks = iter([content(f"uploaded {n}", LARGE // 8) for n in range(16)])
    return daemon.request("POST", "/upload?path=large0.bin", blocks)


def restores(daemon: DaemonProcess) -> object:
    tar = daemon.workspace.parents[1] / "tar"
    return daemon.restore(tar.read_bytes())


def saved(workspace: Path) -> None:
    """Prepare: a snapshot to restore, and a workspace that went on since."""
    with DaemonProcess.running(workspace) as daemon:
        (workspace.parents[1] / "tar").write_bytes(daemon.create())
        end(daemon)
    fill(workspace / "repo", "changed")


@dataclass(frozen=True)
class Change:
    """What is done, what is prepared for it, and whether it is only ever there as a whole."""

    act: Act
    prepare: Callable[[Path], None] = nothing
    whole: bool = True


CHANGES = {
    "write": Change(posts("/write", {"path": "large0.bin", "content": "new " * LARGE})),
    "edit": Change(
        posts("/edit", {"path": "text.txt", "old_string": "a line\n", "new_string": "b line\n" * 3,
                        "replace_all": True}),
        lambda workspace: (workspace / "repo/text.txt").write_text("a line\n" * 300_000) and None,
    ),
    "upload": Change(uploads),
    "copy": Change(posts("/copy", {"from": ".", "to": "../copied"})),
    "copy over a folder": Change(
        posts("/copy", {"from": "folder0", "to": "folder1", "overwrite": True})
    ),
    "move": Change(posts("/rename", {"from": "folder0", "to": "moved/here"})),
    "move over a file": Change(
        posts("/rename", {"from": "large0.bin", "to": "large1.bin", "overwrite": True})
    ),
    "move over a folder": Change(
        posts("/rename", {"from": "folder0", "to": "folder1", "overwrite": True})
    ),
    "delete": Change(posts("/unlink", {"path": "folder0", "recursive": True}), whole=False),
    "commit": Change(posts("/git/commit", {"message": "all of it"}), changes()),
    "commit of some": Change(
        posts("/git/commit", {"message": "some", "filepaths": ["folder0", "large0.bin"]}), changes()
    ),
    "stash": Change(posts("/git/stash", {"message": "aside"}), changes()),
    "stash pop": Change(posts("/git/stash/pop", {})),
    "switch": Change(posts("/git/switch", {"name": "other"})),
    "switch to a new branch": Change(
        posts("/git/branches", {"name": "fresh", "from": "other", "switch": True})
    ),
    "pull": Change(posts("/git/pull", {})),
    "rebase": Change(
        posts("/git/rebase", {"base": "other"}),
        lambda workspace: commit_of_own(workspace / "repo"),
    ),
    "discard": Change(
        posts("/git/discard", {"filepaths": ["large0.bin", "large1.bin", "folder0"]}),
        changes(),
        whole=False,
    ),
    "snapshot create": Change(lambda daemon: daemon.create(), changes()),
    "restore": Change(restores, saved),
}  # fmt: skip


def commit_of_own(repo: Path) -> None:
    (repo / "own.txt").write_text("of our own")
    commit(repo, "own")


State = dict[str, str]


def state_of(workspace: Path) -> State:
    """The files of the workspace by the digest of what is in them; git's own left out."""
    found = {}
    for folder, folders, files in os.walk(workspace):
        if ".git" in folders:
            folders.remove(".git")
        for name in files:
            path = Path(folder, name)
            data = path.read_bytes()
            found[str(path.relative_to(workspace))] = hashlib.blake2b(data).hexdigest()
    return found


def end(daemon: DaemonProcess) -> None:
    """Let the daemon end in order."""
    daemon.process.terminate()
    daemon.process.wait(60)


@dataclass(frozen=True)
class Expected:
    """How the workspace is before and after the change, and how long that takes."""

    before: State
    after: State
    duration_s: float


def prepared(template: Path, folder: Path, change: Change) -> Path:
    """A workspace of its own at the point where the change begins."""
    shutil.copytree(template.parent, folder / "root", symlinks=True)
    workspace = folder / "root" / "workspace"
    change.prepare(workspace)
    return workspace


@contextlib.contextmanager
def folder_of_its_own(base: Path) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(dir=base))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def undisturbed(template: Path, base: Path, change: Change) -> Expected:
    with folder_of_its_own(base) as folder:
        workspace = prepared(template, folder, change)
        with DaemonProcess.running(workspace) as daemon:
            before = state_of(workspace)
            begun = time.monotonic()
            change.act(daemon)
            duration_s = time.monotonic() - begun
            after = state_of(workspace)
            end(daemon)
    return Expected(before, after, duration_s)


def kill(daemon: DaemonProcess, victims: Victims) -> None:
    """End the daemon, or all that works in the sandbox: first it stands still, then all die."""
    if victims == "the sandbox":
        os.kill(daemon.process.pid, signal.SIGSTOP)
        while found := workers(daemon.workspace):
            for pid in found:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
    daemon.process.kill()
    daemon.process.wait()


def workers(workspace: Path) -> list[int]:
    """Processes that live and have their folder in the workspace."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if (
                entry.name.isdigit()
                and (entry / "cwd").readlink().is_relative_to(workspace)
                and "State:\tZ" not in (entry / "status").read_text()
            ):
                found.append(int(entry.name))
    return found


def attempted(daemon: DaemonProcess, change: Change) -> None:
    """The change, whose answer may never come."""
    with contextlib.suppress(urllib3.exceptions.HTTPError, AssertionError, ValueError):
        change.act(daemon)


def killed_in_the_middle(workspace: Path, change: Change, delay_s: float, victims: Victims) -> None:
    """Begin the change, and kill after so long."""
    with DaemonProcess.running(workspace) as daemon:
        acting = threading.Thread(target=lambda: attempted(daemon, change))
        acting.start()
        threading.Event().wait(delay_s)
        kill(daemon, victims)
        acting.join()


def leftovers(workspace: Path) -> list[str]:
    """Locks and temporary files, wherever they lie; the daemon may be clearing them meanwhile."""
    root = workspace.parent
    git_folder = workspace / "repo" / ".git"
    found = named(root, ".limpet-*")
    found += [str(path) for path in (root / "staging").iterdir()]
    found += [str(path) for path in (root / "scratch").iterdir() if path.name != "cache"]
    found += [str(path) for path in root.glob("state/git-change*")]
    found += [str(path) for path in root.glob("state/moving-*")]
    return found + named(git_folder, "*.lock") + named(git_folder, "tmp_*")


def named(folder: Path, pattern: str) -> list[str]:
    """What below a folder has such a name. Folders that go while they are walked are passed over,
    which `Path.rglob` does not."""
    return [
        f"{parent}/{name}"
        for parent, folders, files in os.walk(folder)
        for name in fnmatch.filter([*folders, *files], pattern)
    ]


@pytest.mark.parametrize("name", one_in(3, CHANGES))
def test_a_change_that_a_kill_cuts_off_is_there_or_not(
    template: Path, base: Path, name: str
) -> None:
    change = CHANGES[name]
    rng = random.Random(f"{SEED} {name}")
    expected = undisturbed(template, base, change)
    victims: tuple[Victims, ...] = ("the daemon", "the sandbox")
    for dying in victims * KILLS:
        delay_s = rng.random() * expected.duration_s
        with folder_of_its_own(base) as folder:
            workspace = prepared(template, folder, change)
            killed_in_the_middle(workspace, change, delay_s, dying)
            with DaemonProcess.running(workspace) as daemon:
                looks_as_if_nothing_was(daemon, expected, whole=change.whole)
                end(daemon)


def looks_as_if_nothing_was(daemon: DaemonProcess, expected: Expected, *, whole: bool) -> None:
    workspace = daemon.workspace
    with contextlib.suppress(AssertionError):
        poll_until("everything temporary to go", lambda: not leftovers(workspace), 10)
    assert not leftovers(workspace)
    now = state_of(workspace)
    before, after = expected.before, expected.after
    odd = [
        path
        for path in {*now, *before, *after}
        if now.get(path) not in (before.get(path), after.get(path))
    ]
    assert not odd, f"neither old nor new: {odd}"
    if whole:
        mixed = [path for path in {*now, *before} if now.get(path) != before.get(path)]
        assert now in (before, after), f"a mix: new are {sorted(mixed)[:10]} of {len(now)}"
    repo = workspace / "repo"
    git("fsck", "--strict", "--no-dangling", cwd=repo)
    daemon.post("/write", {"path": "last.txt", "content": "and on it goes"})
    assert daemon.post("/git/commit", {"message": "afterwards"})["committed"]
    assert git("status", "--porcelain", cwd=repo) == ""
    assert (repo / "last.txt").read_text() == "and on it goes"


@pytest.mark.parametrize("name", ["move over a folder", "copy over a folder"])
@pytest.mark.parametrize(
    ("point", "without"), [("move-exchanged", ""), ("move-old-aside", "rename-exchange")]
)
def test_a_kill_between_the_two_steps_of_a_move_over_a_folder(
    template: Path, base: Path, name: str, point: str, without: str
) -> None:
    change = CHANGES[name]
    expected = undisturbed(template, base, change)
    with folder_of_its_own(base) as folder:
        workspace = prepared(template, folder, change)
        fault = {"LIMPET_FAULT": f"{point}:kill", "LIMPET_WITHOUT": without}
        with DaemonProcess.running(workspace, **fault) as daemon:
            attempted(daemon, change)
            assert daemon.process.wait(30) == -signal.SIGKILL
        with DaemonProcess.running(workspace) as daemon:
            looks_as_if_nothing_was(daemon, expected, whole=True)
            end(daemon)


WAITING = """\
#!/bin/sh
[ -e {folder}/begun ] && exec cat
: > {folder}/begun
until [ -e {folder}/go ]; do sleep 0.05; done
exec cat
"""


@pytest.mark.parametrize(
    "name", ["switch", "switch to a new branch", "pull", "rebase", "stash pop"]
)
def test_a_change_of_files_that_dies_half_way_is_undone(
    template: Path, base: Path, name: str
) -> None:
    expected = undisturbed(template, base, CHANGES[name])
    with (
        half_way(template, base, CHANGES[name], "the sandbox") as workspace,
        DaemonProcess.running(workspace) as daemon,
    ):
        assert state_of(workspace) == expected.before
        told = daemon.request("GET", "/logs?source=daemon").json()["logs"]["daemon"]
        assert "Removed a stale lock: repo/.git/index.lock" in told
        looks_as_if_nothing_was(daemon, expected, whole=True)
        end(daemon)


def test_a_stash_that_dies_half_way_is_ended(template: Path, base: Path) -> None:
    expected = undisturbed(template, base, CHANGES["stash"])
    with (
        half_way(template, base, CHANGES["stash"], "the sandbox") as workspace,
        DaemonProcess.running(workspace) as daemon,
    ):
        assert state_of(workspace) == expected.after
        daemon.post("/git/stash/pop", {})
        assert state_of(workspace) == expected.before
        end(daemon)


def test_a_git_that_outlives_its_daemon_comes_to_its_end_first(template: Path, base: Path) -> None:
    expected = undisturbed(template, base, CHANGES["switch"])
    with (
        half_way(template, base, CHANGES["switch"], "the daemon") as workspace,
        DaemonProcess.running(workspace, wait=False) as daemon,
    ):
        (workspace.parents[1] / "go").touch()
        poll_until("the daemon's health", daemon.healthy)
        assert state_of(workspace) == expected.after
        looks_as_if_nothing_was(daemon, expected, whole=True)
        end(daemon)


def test_locks_are_left_alone_where_no_daemon_was_killed(template: Path, base: Path) -> None:
    with folder_of_its_own(base) as folder:
        workspace = prepared(template, folder, Change(nothing))
        with DaemonProcess.running(workspace) as daemon:
            end(daemon)
        lock = workspace / "repo/.git/index.lock"
        lock.touch()
        with DaemonProcess.running(workspace):
            assert lock.exists()


@contextlib.contextmanager
def half_way(template: Path, base: Path, change: Change, victims: Victims) -> Iterator[Path]:
    """The workspace after a kill in the middle of the files: git waits at the second large one."""
    with folder_of_its_own(base) as folder:
        workspace = prepared(template, folder, change)
        repo, waiting = workspace / "repo", folder / "waiting"
        waiting.write_text(WAITING.format(folder=folder))
        waiting.chmod(0o755)
        (repo / ".git/info/attributes").write_text("large1.bin filter=waiting\n")
        git("config", "filter.waiting.smudge", str(waiting), cwd=repo)
        with DaemonProcess.running(workspace) as daemon:
            acting = threading.Thread(target=lambda: attempted(daemon, change))
            acting.start()
            poll_until("git to wait", (folder / "begun").exists)
            kill(daemon, victims)
            acting.join()
        yield workspace
