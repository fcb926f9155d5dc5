"""Clones that die in their middle, at every point, and what the next start makes of it.

A `git` of the test's own stands before the real one in PATH and counts: at the chosen call it kills
the daemon, or git itself, with that git half done.
"""

import os
import shutil
from pathlib import Path

import pytest

from tests.daemon.setup.conftest import StartDaemon
from tests.daemon.setup.projects import configure, lifecycle, setup_log, wait_phase
from tests.gitserver import GitServer, git
from tests.sampled import one_in

pytestmark = pytest.mark.long

SHIM = """\
#!/bin/sh
echo x >> {folder}/calls
if [ "$(wc -l < {folder}/calls)" -eq "$(cat {folder}/at)" ]; then
  {git} "$@" &
  {kill}
  wait
  exit 1
fi
exec {git} "$@"
"""
KILL_DAEMON = "kill -9 $PPID; kill -9 $!"
KILL_GIT = "kill -9 $!"


def shim(folder: Path, at: int, kill: str) -> str:
    """A PATH with a git in it that kills at its call number `at`."""
    folder.mkdir(exist_ok=True)
    real = shutil.which("git")
    (folder / "git").write_text(SHIM.format(folder=folder, git=real, kill=kill))
    (folder / "git").chmod(0o755)
    (folder / "at").write_text(str(at))
    (folder / "calls").write_text("")
    return f"{folder}{os.pathsep}{os.environ['PATH']}"


def whole(repo: Path, server: GitServer) -> None:
    assert git("status", "--porcelain", "--untracked-files=no", cwd=repo) == ""
    assert git("rev-parse", "HEAD", cwd=repo) == server.head("small", "main")
    assert git("fsck", "--connectivity-only", cwd=repo) == ""
    assert git("branch", "--show-current", cwd=repo) == "main"


@pytest.mark.parametrize("at", one_in(3, [1, 2, 4, 5, 6, 7, 8, 9]))
def test_a_daemon_killed_anywhere_in_a_clone_ends_with_a_whole_one(
    start_daemon: StartDaemon, url: str, server: GitServer, repo: Path, tmp_path: Path, at: int
) -> None:
    path = shim(tmp_path / "shim", at, KILL_DAEMON)
    with start_daemon(PATH=path) as daemon:
        configure(daemon, url, branch="main")
        assert daemon.process.wait(60) == -9
        assert len((tmp_path / "shim/calls").read_text().split()) >= at
    with start_daemon() as daemon:
        (repo / "mine.txt").write_text("made while nobody looked\n")
        wait_phase(daemon, "needs-credentials", "running", "idle")
        configure(daemon, url, branch="main")
        wait_phase(daemon, "running")
        whole(repo, server)
        assert (repo / "mine.txt").read_text() == "made while nobody looked\n"


@pytest.mark.parametrize("at", one_in(3, [1, 5, 7]))
def test_a_git_killed_in_a_clone_is_said_and_the_next_try_is_whole(
    start_daemon: StartDaemon, url: str, server: GitServer, repo: Path, tmp_path: Path, at: int
) -> None:
    path = shim(tmp_path / "shim", at, KILL_GIT)
    with start_daemon(PATH=path) as daemon:
        configure(daemon, url, branch="main")
        if wait_phase(daemon, "clone-failed", "running") == "clone-failed":
            assert lifecycle(daemon)["error"]
            daemon.post("/setup/clone", {})
        wait_phase(daemon, "running")
        whole(repo, server)
        assert "hunter2" not in setup_log(daemon)
