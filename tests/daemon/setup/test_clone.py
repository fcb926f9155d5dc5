"""Clones and checkouts against a real git server over HTTPS."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from limpet.daemon.config_model import Credentials
from limpet.daemon.git import UNFINISHED, branch_meta, has_ref, is_repository
from limpet.daemon.git_access import Access
from limpet.daemon.settings import DaemonSettings
from limpet.daemon.setup import clone
from limpet.daemon.setup.clone import Clone, begin_branch
from limpet.daemon.setup.steps import StepFailedError
from tests.gitserver import GitServer, git

pytestmark = pytest.mark.anyio

SECRET = "hunter2-and & 'more'"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[GitServer]:
    with GitServer.start(tmp_path / "git", ("user@example.com", SECRET)) as running:
        running.add_repository("small", {"a.txt": "one\n", "b/c.txt": "two\n"})
        yield running


@pytest.fixture
def settings(tmp_path: Path, server: GitServer) -> DaemonSettings:
    workspace = tmp_path / "root" / "workspace"
    for folder in ("repo", "home", "tmp"):
        (workspace / folder).mkdir(parents=True)
    return DaemonSettings.from_environ(
        {
            "PATH": os.environ["PATH"],
            "DAEMON_TOKEN": "t" * 40,
            "APP_ROOT": str(workspace),
            "GIT_SSL_CAINFO": str(server.ca_file),
        }
    )


class Told:
    """The setup log, and the pauses that were asked for."""

    def __init__(self) -> None:
        self.text = ""
        self.pauses: list[float] = []

    def say(self, text: str) -> None:
        self.text += text

    async def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)


def work(
    server: GitServer,
    settings: DaemonSettings,
    branch: str | None,
    told: Told | None = None,
    *,
    password: str = SECRET,
    depth: int = 1,
) -> Clone:
    told = told or Told()
    url = server.url("small")
    access = Access(url, Credentials("user@example.com", password))
    return Clone(settings, url, branch, access, told.say, pause=told.pause, depth=depth)


async def test_a_branch_of_the_remote_is_cloned_and_followed(
    server: GitServer, settings: DaemonSettings
) -> None:
    server.commit("small", {"d.txt": "on next\n"}, branch="next")
    await work(server, settings, "next").clone()
    repo = settings.repo
    assert (repo / "d.txt").read_text() == "on next\n"
    assert git("branch", "--show-current", cwd=repo) == "next"
    assert git("rev-parse", "--abbrev-ref", "@{u}", cwd=repo) == "origin/next"
    assert git("rev-list", "--count", "HEAD", cwd=repo) == "1"
    assert git("status", "--porcelain", cwd=repo) == ""
    assert await has_ref(settings, repo, "refs/remotes/origin/main"), "the base is fetched too"
    meta = await branch_meta(settings, repo)
    assert meta is not None
    assert (meta["branch"], meta["base"], meta["workingTreeDirty"]) == ("next", "main", False)
    assert is_repository(repo)
    assert server.clone_count == 1


async def test_a_branch_that_the_remote_has_not_is_forked_from_its_default(
    server: GitServer, settings: DaemonSettings
) -> None:
    told = Told()
    await work(server, settings, "limpet/swift-shore", told).clone()
    assert git("branch", "--show-current", cwd=settings.repo) == "limpet/swift-shore"
    assert "begins at 'main'" in told.text
    meta = await branch_meta(settings, settings.repo)
    assert meta is not None
    assert (meta["aheadOfBase"], meta["behindBase"]) == (0, 0)


@pytest.mark.parametrize("branch", [None, "ephemeral", "thread:abc"])
async def test_no_branch_or_a_synthetic_one_is_the_default(
    server: GitServer, settings: DaemonSettings, branch: str | None
) -> None:
    await work(server, settings, branch).clone()
    assert git("branch", "--show-current", cwd=settings.repo) == "main"


async def test_an_empty_repository_begins_with_the_branch(
    server: GitServer, settings: DaemonSettings
) -> None:
    server.add_repository("empty", {}, empty=True)
    url = server.url("empty")
    access = Access(url, Credentials("user@example.com", SECRET))
    await Clone(settings, url, "first", access, Told().say).clone()
    assert git("symbolic-ref", "HEAD", cwd=settings.repo) == "refs/heads/first"
    assert is_repository(settings.repo)


async def test_files_that_are_there_stay_as_they_are(
    server: GitServer, settings: DaemonSettings
) -> None:
    (settings.repo / "a.txt").write_text("mine\n")
    (settings.repo / "notes").write_text("mine too\n")
    await work(server, settings, "main").clone()
    assert (settings.repo / "a.txt").read_text() == "mine\n"
    assert (settings.repo / "notes").read_text() == "mine too\n"
    assert (settings.repo / "b/c.txt").read_text() == "two\n"
    assert git("status", "--porcelain", cwd=settings.repo) == "M a.txt\n?? notes"


async def test_a_clone_that_was_cut_off_is_taken_up_again(
    server: GitServer, settings: DaemonSettings
) -> None:
    repo = settings.repo
    clone.begin(repo)
    subprocess.run(["git", "init", "-q", "."], cwd=repo, check=True)
    (repo / "a.txt").write_text("on")  # as a kill leaves it
    (repo / ".git" / "index.lock").touch()
    assert not is_repository(repo)
    await work(server, settings, "main").clone()
    assert (repo / "a.txt").read_text() == "one\n"
    assert git("status", "--porcelain", cwd=repo) == ""


async def test_what_may_pass_is_tried_three_times_more(
    server: GitServer, settings: DaemonSettings
) -> None:
    left = [0, 0, 0]
    server.failing = lambda path: left.pop() if "info/refs" in path and left else None
    told = Told()
    await work(server, settings, "main", told).clone()
    assert told.pauses == [3.0, 3.0, 3.0]
    assert "trying again in 3 s (3/3)" in told.text
    left[:] = [0] * 9
    told = Told()
    (settings.repo / ".git" / UNFINISHED).write_text("fresh")
    with pytest.raises(StepFailedError) as caught:
        await work(server, settings, "main", told).clone()
    assert told.pauses == [3.0, 3.0, 3.0]
    assert caught.value.phase == "clone-failed"


async def test_a_wrong_password_is_said_at_once_and_not_shown(
    server: GitServer, settings: DaemonSettings
) -> None:
    told = Told()
    with pytest.raises(StepFailedError) as caught:
        await work(server, settings, "main", told, password="wrong-secret").clone()
    assert "credentials were refused" in caught.value.message
    assert told.pauses == []
    assert "wrong-secret" not in caught.value.message + told.text


async def test_credentials_are_on_no_disk_and_in_no_log(
    server: GitServer, settings: DaemonSettings
) -> None:
    told = Told()
    await work(server, settings, "main", told).clone()
    assert "hunter2" not in told.text
    found = subprocess.run(
        ["grep", "-rIl", "hunter2", str(settings.sandbox_root)], capture_output=True, check=False
    )
    assert found.stdout == b""
    assert git("config", "remote.origin.url", cwd=settings.repo) == server.url("small")


async def test_only_the_host_of_the_clone_is_told_the_credentials(
    server: GitServer, settings: DaemonSettings
) -> None:
    access = Access("https://elsewhere.example/x", Credentials("user@example.com", SECRET))
    with pytest.raises(StepFailedError):
        await Clone(settings, server.url("small"), "main", access, Told().say).clone()
    assert not any("Authorization" in headers for headers in server.seen_headers)


async def test_a_redirect_to_another_host_is_not_followed(
    server: GitServer, settings: DaemonSettings, tmp_path: Path
) -> None:
    with GitServer.start(tmp_path / "other", server.credentials) as other:
        other.add_repository("small", {"a.txt": "theirs"})
        server.failing = lambda path: f"{other.origin}{path}"
        told = Told()
        with pytest.raises(StepFailedError):
            await work(server, settings, "main", told).clone()
        assert other.request_count == 0
        assert "another host" in told.text


async def test_a_repository_that_moved_on_its_host_is_found(
    server: GitServer, settings: DaemonSettings
) -> None:
    server.failing = lambda path: path.replace("old", "small") if "/old" in path else None
    url = server.url("old")
    access = Access(url, Credentials("user@example.com", SECRET))
    await Clone(settings, url, "main", access, Told().say).clone()
    assert (settings.repo / "a.txt").read_text() == "one\n"
    assert git("config", "remote.origin.url", cwd=settings.repo) == server.url("small")


async def test_a_missing_repository_is_said(server: GitServer, settings: DaemonSettings) -> None:
    url = server.url("none")
    access = Access(url, Credentials("user@example.com", SECRET))
    with pytest.raises(StepFailedError) as caught:
        await Clone(settings, url, "main", access, Told().say).clone()
    assert "not found" in caught.value.message


async def test_another_branch_is_checked_out_and_local_commits_are_kept(
    server: GitServer, settings: DaemonSettings
) -> None:
    server.commit("small", {"d.txt": "on next\n"}, branch="next")
    await work(server, settings, "main").clone()
    repo = settings.repo
    (repo / "mine.txt").write_text("mine")
    git("add", "-A", cwd=repo)
    git("commit", "-qm", "mine", cwd=repo)
    mine = git("rev-parse", "HEAD", cwd=repo)
    (repo / "loose.txt").write_text("not committed")
    await work(server, settings, None).check_out("next")
    assert (repo / "d.txt").exists()
    assert git("rev-parse", "--abbrev-ref", "@{u}", cwd=repo) == "origin/next"
    await work(server, settings, None).check_out("main")
    assert git("rev-parse", "HEAD", cwd=repo) == mine
    assert (repo / "loose.txt").read_text() == "not committed"
    await work(server, settings, None).check_out("limpet/new")
    assert git("rev-parse", "HEAD", cwd=repo) == mine


async def test_a_rebase_under_way_is_not_disturbed(
    server: GitServer, settings: DaemonSettings
) -> None:
    await work(server, settings, "main").clone()
    (settings.repo / ".git" / "rebase-merge").mkdir()
    told = Told()
    await work(server, settings, None, told).check_out("other")
    assert git("branch", "--show-current", cwd=settings.repo) == "main"
    assert "in a rebase" in told.text


async def test_names_never_meet_a_shell(server: GitServer, settings: DaemonSettings) -> None:
    url = f"{server.origin}/$(touch pwned);touch pwned.git"
    with pytest.raises(StepFailedError):
        await Clone(settings, url, "main", None, Told().say).clone()
    assert not list(settings.app_root.rglob("pwned*"))


async def test_our_hook_guards_protected_branches_and_others_hooks_are_left(
    server: GitServer, settings: DaemonSettings
) -> None:
    await work(server, settings, "main").clone()
    repo = settings.repo
    clone.guard_pushes(repo, frozenset({"main", "master"}))
    git("commit", "-q", "--allow-empty", "-m", "new", cwd=repo)
    bare = str(server.bare("small"))
    pushed = subprocess.run(["git", "push", "-q", bare, "HEAD:main"], cwd=repo, check=False)
    assert pushed.returncode != 0
    assert git("push", "-q", bare, "HEAD:other", cwd=repo) == ""
    hook = repo / ".git" / "hooks" / "pre-push"
    hook.write_text("#!/bin/sh\n# the project's own\n")
    clone.guard_pushes(repo, frozenset({"main"}))
    assert "project's own" in hook.read_text()


def test_progress_keeps_its_lines() -> None:
    assert clone.with_line_ends("a\rb\r\nc") == "a\r\nb\nc"


@pytest.mark.parametrize(
    ("said", "passes"),
    [
        ("fatal: unable to access: Could not resolve host: x", True),
        ("fatal: early EOF", True),
        ("error: RPC failed; curl 92", True),
        ("fatal: the remote end hung up unexpectedly", True),
        ("posix_spawnp failed.", True),
        ("fork: Resource temporarily unavailable", True),
        ("fatal: repository 'https://x/' not found", False),
        ("fatal: Authentication failed", False),
    ],
)
def test_transient_is_what_may_pass(said: str, passes: bool) -> None:
    assert clone.is_transient(said) is passes


async def test_a_branch_begins_at_the_state_that_is_there_and_asks_no_remote(
    server: GitServer, settings: DaemonSettings
) -> None:
    server.commit("small", {"d.txt": "on next\n"}, branch="next")
    await work(server, settings, "main").clone()
    repo = settings.repo
    (repo / "loose.txt").write_text("not committed")
    (repo / "a.txt").write_text("staged\n")
    git("add", "a.txt", cwd=repo)
    (repo / "a.txt").write_text("and changed\n")
    head, status = git("rev-parse", "HEAD", cwd=repo), git("status", "--porcelain", cwd=repo)
    asked = server.request_count
    told = Told()
    await begin_branch(settings, "next", told.say)
    await work(server, settings, "next", told).check_out("next")
    assert server.request_count == asked
    assert git("branch", "--show-current", cwd=repo) == "next"
    assert git("rev-parse", "HEAD", cwd=repo) == head
    assert git("status", "--porcelain", cwd=repo) == status
    git("checkout", "-q", "main", cwd=repo)
    await begin_branch(settings, "next", told.say)
    assert git("branch", "--show-current", cwd=repo) == "main", "it has been begun before"


async def test_everything_is_there_when_everything_is_asked_for(
    server: GitServer, settings: DaemonSettings
) -> None:
    server.commit("small", {"d.txt": "second\n"})
    server.commit("small", {"e.txt": "aside\n"}, branch="aside")
    git("tag", "v1", "main", cwd=server.bare("small"))
    repo = settings.repo
    await work(server, settings, "main").clone()
    assert git("rev-list", "--count", "HEAD", cwd=repo) == "1"
    assert not await has_ref(settings, repo, "refs/remotes/origin/aside")
    told = Told()
    await work(server, settings, "main", told, depth=0).deepen()
    assert "all of it is asked for" in told.text
    assert git("rev-list", "--count", "HEAD", cwd=repo) == "2"
    assert await has_ref(settings, repo, "refs/remotes/origin/aside")
    requests = server.request_count
    await work(server, settings, "main", depth=0).deepen()
    assert server.request_count == requests, "there is nothing more to ask for"


async def test_a_full_clone_has_every_commit_branch_and_tag(
    server: GitServer, settings: DaemonSettings
) -> None:
    server.commit("small", {"d.txt": "second\n"})
    server.commit("small", {"e.txt": "aside\n"}, branch="aside")
    git("tag", "v1", "main", cwd=server.bare("small"))
    await work(server, settings, "main", depth=0).clone()
    repo = settings.repo
    assert git("rev-list", "--count", "HEAD", cwd=repo) == "2"
    assert git("tag", cwd=repo) == "v1"
    assert await has_ref(settings, repo, "refs/remotes/origin/aside")
    assert not (repo / ".git" / "shallow").exists()
