"""Stale git locks are healed, by rule, and nothing else is touched."""

import os
import subprocess
from pathlib import Path

import pytest

from limpet.snapshots.locks import heal_locks

LOCKS = [
    "index.lock", "HEAD.lock", "config.lock", "packed-refs.lock", "shallow.lock",
    "refs/heads/main.lock", "refs/heads/feature/x.lock", "refs/remotes/origin/main.lock",
    "objects/info/commit-graphs/commit-graph-chain.lock", "objects/maintenance.lock",
]  # fmt: skip


def git(*arguments: object, cwd: Path) -> None:
    identity = {"GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@b", "GIT_COMMITTER_NAME": "a",
                "GIT_COMMITTER_EMAIL": "a@b", "GIT_CONFIG_GLOBAL": "/dev/null"}  # fmt: skip
    subprocess.run(
        ["git", *map(str, arguments)], cwd=cwd, check=True, capture_output=True,
        env={**os.environ, **identity},
    )  # fmt: skip


def repository(path: Path) -> Path:
    path.mkdir(parents=True)
    git("init", "-q", "-b", "main", cwd=path)
    git("commit", "-q", "--allow-empty", "-m", "first", cwd=path)
    return path


def put(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_is_removed_and_told(tmp_path: Path, lock: str) -> None:
    repo = repository(tmp_path / "repo")
    put(repo / ".git" / lock)
    assert heal_locks(tmp_path) == [f"repo/.git/{lock}"]
    assert not (repo / ".git" / lock).exists()
    assert heal_locks(tmp_path) == []


def test_git_works_again(tmp_path: Path) -> None:
    repo = repository(tmp_path / "repo")
    put(*(repo / ".git" / lock for lock in LOCKS))
    (repo / "file").write_text("x")
    with pytest.raises(subprocess.CalledProcessError):
        git("add", "file", cwd=repo)
    assert len(heal_locks(tmp_path)) == len(LOCKS)
    git("add", "file", cwd=repo)
    git("commit", "-m", "second", cwd=repo)
    git("gc", "-q", cwd=repo)


def test_repositories_are_found_wherever_they_are(tmp_path: Path) -> None:
    repo = repository(tmp_path / "repo")
    git("worktree", "add", "-q", "../tree", "-b", "other", cwd=repo)
    bare = tmp_path / "home" / "bare.git"
    git("init", "-q", "--bare", bare, cwd=tmp_path)
    for place in ("vendored/inner", "node_modules/dep", "node_modules/@scope/dep"):
        put(repository(repo / place) / ".git/index.lock")
    put(bare / "HEAD.lock", repo / ".git/worktrees/tree/index.lock")
    git("clone", "-q", repo, repo / ".git/modules/sub", "--bare", cwd=repo)
    put(repo / ".git/modules/sub/index.lock")
    assert sorted(heal_locks(tmp_path)) == [
        "home/bare.git/HEAD.lock",
        "repo/.git/modules/sub/index.lock",
        "repo/.git/worktrees/tree/index.lock",
        "repo/node_modules/@scope/dep/.git/index.lock",
        "repo/node_modules/dep/.git/index.lock",
        "repo/vendored/inner/.git/index.lock",
    ]


def test_what_is_no_lock_of_git_stays(tmp_path: Path) -> None:
    repo = repository(tmp_path / "repo")
    kept = [
        repo / "yarn.lock", repo / "Cargo.lock", repo / "refs/heads/main.lock", repo / "index.lock",
        repo / ".git/logs/refs/heads/x.lock", repo / ".git/hooks/my.lock", tmp_path / "flake.lock",
        repo / "node_modules/a/deep/.git.lock", repo / ".git/objects/pack/x.lock",
    ]  # fmt: skip
    put(*kept)
    (repo / ".git/folder.lock").mkdir()
    (repo / ".git/link.lock").symlink_to("/nowhere")
    assert heal_locks(tmp_path) == []
    assert all(path.exists() for path in kept)


def test_node_modules_is_not_walked(tmp_path: Path) -> None:
    hidden = repository(tmp_path / "repo/node_modules/a/deep/inner")
    put(hidden / ".git/index.lock")
    assert heal_locks(tmp_path) == []


def test_no_repository_no_locks(tmp_path: Path) -> None:
    put(tmp_path / "a/index.lock", tmp_path / ".git/index.lock")
    assert heal_locks(tmp_path) == []
