"""The repository through the daemon's routes, pushed to a real git server over HTTPS."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.daemon.setup.projects import configure, wait_phase
from tests.daemon_process import DaemonProcess
from tests.gitserver import GitServer, git

CREDENTIALS = ("user", "hunter2")
BRANCH = "limpet/swift-shore"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[GitServer]:
    with GitServer.start(tmp_path / "git", CREDENTIALS) as running:
        running.add_repository("docs", {"a.txt": "one\n", "b.txt": "two\n", "c/d.txt": "three\n"})
        yield running


@pytest.fixture
def daemon(root: Path, server: GitServer) -> Iterator[DaemonProcess]:
    """A daemon whose workspace is a clone without anything to run."""
    environ = {"GIT_SSL_CAINFO": str(server.ca_file)}
    with DaemonProcess.running(root / "workspace", **environ) as running:
        configure(running, server.url("docs", authenticated=True), branch=BRANCH)
        wait_phase(running, "start-failed")
        yield running


def get(daemon: DaemonProcess, path: str, status: int = 200) -> Any:
    answer = daemon.request("GET", path)
    assert answer.status == status, answer.data
    return answer.json()


def files(daemon: DaemonProcess) -> dict[str, str]:
    return {f["path"]: f["index"] + f["working_dir"] for f in get(daemon, "/git/status")["files"]}


def test_status_and_diff_tell_every_kind_of_change(daemon: DaemonProcess, repo: Path) -> None:
    assert get(daemon, "/git/status")["clean"] is True
    (repo / "a.txt").write_text("changed\n")
    (repo / "b.txt").unlink()
    (repo / "new ü.txt").write_text("new\n")
    git("mv", "c/d.txt", "moved.txt", cwd=repo)
    status = get(daemon, "/git/status")
    assert status["current"] == BRANCH
    assert status["base"] == "main"
    assert files(daemon) == {"a.txt": " M", "b.txt": " D", "moved.txt": "R ", "new ü.txt": "??"}
    diffs = get(daemon, "/git/diff")["diffs"]
    assert set(diffs) == {"a.txt", "b.txt", "c/d.txt", "moved.txt", "new ü.txt"}
    assert "+changed" in diffs["a.txt"]
    assert "+new" in diffs["new ü.txt"]
    assert files(daemon)["new ü.txt"] == "??", "looking changes nothing"
    get(daemon, "/git/diff?against=--output=x", status=400)
    get(daemon, "/git/diff?against=nothing", status=400)


def test_commits_are_made_listed_and_shown(daemon: DaemonProcess, repo: Path) -> None:
    assert daemon.post("/git/commit", {"message": "x"}) == {"committed": False, "sha": None}
    daemon.post("/git/commit", {"message": " "}, status=400)
    (repo / "a.txt").write_text("changed\n")
    made = daemon.post("/git/commit", {"message": "subject\n\nbody; $(touch x) 'quoted'"})
    [newest, *_] = get(daemon, "/git/log?limit=5")["commits"]
    assert newest["sha"] == made["sha"]
    assert newest["subject"] == "subject"
    assert newest["body"] == "body; $(touch x) 'quoted'"
    assert newest["author"] == {"name": "Ann Example", "email": "ann@example.invalid"}
    shown = get(daemon, f"/git/commit?sha={made['sha']}")
    assert "+changed" in shown["patch"]
    get(daemon, "/git/commit?sha=--all", status=404)
    get(daemon, "/git/log?limit=0", status=400)
    assert get(daemon, "/git/status")["ahead"] == 1
    names = {(b["name"], b["remote"]) for b in get(daemon, "/git/branches")["branches"]}
    assert names == {(BRANCH, False), ("main", True)}


def test_discard_puts_files_back_and_deletes_new_ones(daemon: DaemonProcess, repo: Path) -> None:
    (repo / "a.txt").write_text("changed\n")
    (repo / "b.txt").unlink()
    (repo / "new.txt").write_text("new\n")
    (repo / "staged.txt").write_text("staged\n")
    (repo / "*.txt").write_text("a star of its own\n")
    git("add", "staged.txt", cwd=repo)
    daemon.post("/git/discard", {"filepaths": ["*.txt"]})
    assert set(files(daemon)) == {"a.txt", "b.txt", "new.txt", "staged.txt"}
    paths = ["a.txt", "./b.txt", "new.txt", "staged.txt"]
    assert daemon.post("/git/discard", {"filepaths": paths})["success"] is True
    assert files(daemon) == {}
    assert (repo / "b.txt").read_text() == "two\n"


@pytest.mark.parametrize(
    "paths", [[], [""], ["../../state/x"], ["/etc/passwd"], [".git/config"], ["."]]
)
def test_discard_takes_only_files_of_the_repository(
    daemon: DaemonProcess, paths: list[str]
) -> None:
    daemon.post("/git/discard", {"filepaths": paths}, status=400)
    daemon.post("/git/discard", {"filepaths": "a.txt"}, status=400)


def test_publish_commits_and_pushes_past_local_hooks(
    daemon: DaemonProcess, repo: Path, server: GitServer
) -> None:
    for name in ("pre-commit", "pre-push", "commit-msg"):
        hook = repo / ".git" / "hooks" / name
        hook.write_text("#!/bin/sh\nexit 1\n")
        hook.chmod(0o755)
    (repo / "a.txt").write_text("published\n")
    answer = daemon.post("/git/publish", {"message": "publish it"})
    assert answer["pushed"] is True
    assert server.head("docs", BRANCH) == answer["sha"]
    assert get(daemon, "/git/status")["unpushed"] == 0
    assert daemon.post("/git/publish", {"message": "again"})["committed"] is False


@pytest.mark.parametrize("branch", ["main", "master"])
def test_protected_branches_are_refused_before_anything_is_committed(
    daemon: DaemonProcess, repo: Path, server: GitServer, branch: str
) -> None:
    git("checkout", "-q", "-B", branch, cwd=repo)
    (repo / "a.txt").write_text("changed\n")
    head = git("rev-parse", "HEAD", cwd=repo)
    before = server.head("docs", "main")
    answer = daemon.post("/git/publish", {"message": "no"}, status=409)
    assert answer["protected"] is True
    assert git("rev-parse", "HEAD", cwd=repo) == head
    assert server.head("docs", "main") == before


def test_commits_of_another_writer_are_not_overwritten_and_rebase_brings_them(
    daemon: DaemonProcess, repo: Path, server: GitServer
) -> None:
    (repo / "a.txt").write_text("mine\n")
    daemon.post("/git/publish", {"message": "mine"})
    git("fetch", "-q", "origin", f"{BRANCH}:{BRANCH}", cwd=server.folder / "docs.work")
    git("checkout", "-q", BRANCH, cwd=server.folder / "docs.work")
    theirs = server.commit("docs", {"theirs.txt": "theirs\n"}, branch=BRANCH)
    (repo / "b.txt").write_text("mine too\n")
    answer = daemon.post("/git/publish", {"message": "mine too"}, status=409)
    assert answer["diverged"] is True
    assert server.head("docs", BRANCH) == theirs
    assert daemon.post("/git/rebase", {"base": BRANCH})["rebased"] is True
    assert (repo / "theirs.txt").exists()
    assert daemon.post("/git/publish", {"message": "now"})["pushed"] is True


def test_rebase_onto_a_base_that_moved_on_finds_the_common_history(
    daemon: DaemonProcess, repo: Path, server: GitServer
) -> None:
    (repo / "a.txt").write_text("mine\n")
    daemon.post("/git/commit", {"message": "mine"})
    for n in range(3):
        server.commit("docs", {"base.txt": f"{n}\n"}, branch="main", message=f"base {n}")
    assert daemon.post("/git/rebase", {"base": "main"})["rebased"] is True
    assert (repo / "base.txt").read_text() == "2\n"
    assert (repo / "a.txt").read_text() == "mine\n"
    status = get(daemon, "/git/status")
    assert (status["ahead"], status["behind"]) == (1, 0)


def test_a_rebase_with_conflicts_leaves_all_as_it_was(
    daemon: DaemonProcess, repo: Path, server: GitServer
) -> None:
    (repo / "a.txt").write_text("mine\n")
    head = daemon.post("/git/commit", {"message": "mine"})["sha"]
    server.commit("docs", {"a.txt": "theirs\n"}, branch="main")
    answer = daemon.post("/git/rebase", {"base": "main"}, status=409)
    assert answer["conflicts"] == ["a.txt"]
    assert git("rev-parse", "HEAD", cwd=repo) == head
    assert (repo / "a.txt").read_text() == "mine\n"
    assert not (repo / ".git" / "rebase-merge").exists()


def test_rebase_takes_only_branches_and_a_clean_tree(daemon: DaemonProcess, repo: Path) -> None:
    for base in ("", "--exec=x", "a..b", "thread:x", "a b"):
        daemon.post("/git/rebase", {"base": base}, status=400)
    daemon.post("/git/rebase", {}, status=400)
    daemon.post("/git/rebase", {"base": "nowhere"}, status=409)
    (repo / "a.txt").write_text("changed\n")
    assert "uncommitted" in daemon.post("/git/rebase", {"base": "main"}, status=409)["error"]


def test_nothing_is_ready_before_a_clone(root: Path, tmp_path: Path) -> None:
    with DaemonProcess.running(tmp_path / "blank" / "workspace") as daemon:
        for path in ("/git/status", "/git/diff", "/git/log", "/git/branches"):
            assert get(daemon, path, status=409)["notReady"] is True
        for path, body in (
            ("/git/publish", {"message": "x"}),
            ("/git/rebase", {"base": "main"}),
            ("/git/discard", {"filepaths": ["a"]}),
        ):
            assert daemon.post(path, body, status=409)["notReady"] is True


def test_the_password_is_nowhere(daemon: DaemonProcess, repo: Path) -> None:
    daemon.post("/git/publish", {"message": "x"})
    for path in ("/git/status", "/git/log", "/git/branches", "/config", "/tasks"):
        assert "hunter2" not in json.dumps(get(daemon, path))
    for file in repo.parent.parent.rglob("*"):
        if file.is_file():
            assert b"hunter2" not in file.read_bytes(), file
