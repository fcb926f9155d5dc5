"""A workspace is brought up, and brought up again with nothing done twice."""

import io
import json
import os
import shutil
import signal
import tarfile
import threading
from pathlib import Path

import pytest

from limpet.daemon.setup.orchestrator import Step, queued
from tests.daemon.setup.conftest import StartDaemon
from tests.daemon.setup.projects import (
    app_files,
    configure,
    events_now,
    health,
    lifecycle,
    manifest,
    setup_log,
    state,
    wait_phase,
)
from tests.daemon_process import DaemonProcess
from tests.gitserver import GitServer, git
from tests.live import poll_until

pytestmark = pytest.mark.long


@pytest.mark.parametrize(
    ("queue", "step", "after"),
    [
        ([], "start", ["start"]),
        (["start"], "start", ["start"]),
        (["start"], "install", ["install"]),
        (["install"], "clone", ["clone"]),
        (["clone"], "start", ["clone"]),
        (["clone"], "install", ["clone"]),
        (["install"], "start", ["install"]),
    ],
)
def test_a_higher_step_swallows_the_lower_ones(
    queue: list[Step], step: Step, after: list[Step]
) -> None:
    assert queued(queue, step) == after


def test_a_config_brings_the_app_up(daemon: DaemonProcess, url: str, repo: Path) -> None:
    answer = configure(daemon, url, branch="limpet/swift-shore")
    assert answer["transition"] == "bootstrap"
    assert "hunter2" not in json.dumps(answer)
    wait_phase(daemon, "running")
    assert (repo / "node_modules" / "dep" / "package.json").exists()
    assert git("branch", "--show-current", cwd=repo) == "limpet/swift-shore"
    assert git("config", "user.email", cwd=repo) == "ann@example.invalid"
    now = lifecycle(daemon)
    assert (now["phase"], now["htmlSupport"]) == ("running", True)
    assert health(daemon)["ready"] is True
    assert state(daemon, "scripts") == {"scripts": ["dev", "hello"]}
    assert state(daemon, "status") == {"state": "running"}
    assert state(daemon, "branch")["meta"]["branch"] == "limpet/swift-shore"
    [task] = state(daemon, "tasks")["active"]
    assert task["logName"] == "dev"
    config = daemon.request("GET", "/config").json()
    assert config["ready"] is True
    assert config["config"]["git"]["repository"]["branch"] == "limpet/swift-shore"
    for name, data in events_now(daemon):
        assert "hunter2" not in json.dumps(data), name
    for file in repo.parent.parent.rglob("*"):
        if file.is_file() and "node_modules" not in file.parts:
            assert b"hunter2" not in file.read_bytes(), file


def test_a_second_time_nothing_is_done_again(
    daemon: DaemonProcess, url: str, server: GitServer
) -> None:
    configure(daemon, url, branch="main")
    wait_phase(daemon, "running")
    requests = server.request_count
    assert configure(daemon, url, branch="main")["transition"] == "no-op"
    daemon.post("/setup/clone", {})
    poll_until("the skips", lambda: "Install skipped" in setup_log(daemon))
    wait_phase(daemon, "running")
    assert "Clone skipped" in setup_log(daemon)
    assert server.request_count == requests


def test_a_branch_change_does_not_install_again(
    daemon: DaemonProcess, url: str, server: GitServer, repo: Path
) -> None:
    server.commit("small", {"new.txt": "new"}, branch="next")
    configure(daemon, url, branch="main")
    wait_phase(daemon, "running")
    assert configure(daemon, url, branch="next")["transition"] == "branch-change"
    poll_until("the branch", (repo / "new.txt").exists)
    wait_phase(daemon, "running")
    assert setup_log(daemon).count("Installing with npm") == 1
    assert state(daemon, "branch")["meta"]["branch"] == "next"


def test_a_changed_manifest_is_installed_again_and_why_is_said(
    daemon: DaemonProcess, url: str, repo: Path
) -> None:
    configure(daemon, url)
    wait_phase(daemon, "running")
    (repo / "package.json").write_text(manifest(description="changed"))
    daemon.post("/setup/install", {})
    poll_until("the install", lambda: setup_log(daemon).count("Installing with npm") == 2)
    wait_phase(daemon, "running")
    assert "package.json changed since" in setup_log(daemon)
    shutil.rmtree(repo / "node_modules")
    daemon.post("/setup/install", {})
    poll_until("the install", lambda: setup_log(daemon).count("Installing with npm") == 3)
    wait_phase(daemon, "running")
    assert setup_log(daemon).count("there is no node_modules") == 2


def test_a_failing_install_tells_its_output_and_can_be_tried_again(
    daemon: DaemonProcess, server: GitServer, repo: Path
) -> None:
    scripts = {"dev": "node server.js", "preinstall": "test -e ok || (echo boom-why >&2; exit 7)"}
    server.add_repository("bad", app_files(scripts=scripts))
    configure(daemon, server.url("bad", authenticated=True))
    wait_phase(daemon, "install-failed")
    error = lifecycle(daemon)["error"]
    assert "`npm install" in error
    assert "boom-why" in error
    assert state(daemon, "status")["state"] == "error"
    assert not (repo / "node_modules" / ".limpet-install.json").exists()
    (repo / "ok").touch()
    assert daemon.post("/setup/install", {}) == {"enqueued": "install"}
    wait_phase(daemon, "running")
    assert state(daemon, "status") == {"state": "running"}


def test_a_clone_that_fails_is_said_and_fresh_credentials_mend_it(
    daemon: DaemonProcess, server: GitServer, url: str
) -> None:
    configure(daemon, url.replace("hunter2", "wrong"))
    wait_phase(daemon, "clone-failed")
    assert "credentials were refused" in lifecycle(daemon)["error"]
    assert daemon.request("GET", "/git/status").status == 409
    assert daemon.request("GET", "/git/status").json()["notReady"] is True
    assert configure(daemon, url)["transition"] == "no-op"
    wait_phase(daemon, "running")
    assert daemon.request("GET", "/git/status").status == 200


def test_another_repository_is_refused(daemon: DaemonProcess, server: GitServer, url: str) -> None:
    configure(daemon, url)
    other = {"git": {"repository": {"cloneUrl": server.url("other")}}}
    answer = daemon.post("/config", other, status=409)
    assert "immutable" in answer["error"]
    wait_phase(daemon, "running")


@pytest.mark.parametrize("body", [b"[]", b"no json", b'{"application": {"port": 0}}', b"\xff"])
def test_a_config_that_does_not_hold_is_refused(daemon: DaemonProcess, body: bytes) -> None:
    answer = daemon.request("POST", "/config", body)
    assert answer.status == 400
    assert "error" in answer.json()
    assert daemon.request("GET", "/config").json()["config"] is None


def test_the_token_is_rotated_first(daemon: DaemonProcess) -> None:
    fresh = "r" * 40
    for bad in ("short", "x" * 257, 5, "ü" * 40):
        daemon.post("/config", {"auth": {"rotateToken": bad}}, status=400)
    daemon.post("/config", {"auth": {"rotateToken": fresh}})
    assert daemon.request("GET", "/config").status == 401
    headers = {"Authorization": f"Bearer {fresh}"}
    assert (
        daemon.http.request("GET", f"{daemon.url}/_sandbox/config", headers=headers).status == 200
    )


def test_a_daemon_that_restarts_goes_on_by_itself(
    start_daemon: StartDaemon, url: str, server: GitServer
) -> None:
    with start_daemon() as daemon:
        configure(daemon, url, branch="main", env={"COLOUR": "blue"})
        wait_phase(daemon, "running")
        os.kill(daemon.process.pid, signal.SIGKILL)
        daemon.process.wait()
    requests = server.request_count
    with start_daemon() as daemon:
        wait_phase(daemon, "running")
        log = setup_log(daemon)
        assert "Clone skipped" in log
        assert "Install skipped" in log
        assert "COLOUR" in log
        assert daemon.request("GET", "/config").json()["envKeys"] == ["COLOUR"]
    assert server.request_count == requests


def test_a_clone_cut_off_by_a_kill_waits_for_credentials_then_goes_on(
    start_daemon: StartDaemon, url: str, server: GitServer, repo: Path
) -> None:
    reached, go_on = threading.Event(), threading.Event()

    def hold(path: str) -> None:
        if path.endswith("/git-upload-pack") and (repo / ".git" / "config").exists():
            reached.set()
            go_on.wait(30)

    server.failing = hold
    with start_daemon() as daemon:
        configure(daemon, url, branch="main")
        assert reached.wait(30)
        assert health(daemon)["phase"] == "cloning"
        os.kill(daemon.process.pid, signal.SIGKILL)
        daemon.process.wait()
    go_on.set()
    assert (repo / ".git").exists()
    with start_daemon() as daemon:
        wait_phase(daemon, "needs-credentials")
        assert configure(daemon, url, branch="main")["transition"] == "no-op"
        wait_phase(daemon, "running")
        assert git("status", "--porcelain", cwd=repo) == "?? package-lock.json"


def test_a_daemon_told_to_wait_for_its_config_waits(start_daemon: StartDaemon, url: str) -> None:
    with start_daemon() as daemon:
        configure(daemon, url)
        wait_phase(daemon, "running")
    with start_daemon(DAEMON_AWAIT_CONFIG="1") as daemon:
        assert health(daemon)["configured"] is True
        assert health(daemon)["phase"] == "idle"
        assert state(daemon, "tasks") == {"active": []}
        assert configure(daemon, url)["transition"] == "no-op"
        wait_phase(daemon, "running")


def test_a_workspace_without_a_repository_is_brought_up_by_an_empty_config(
    daemon: DaemonProcess, repo: Path
) -> None:
    for name, text in app_files().items():
        (repo / name).parent.mkdir(exist_ok=True)
        (repo / name).write_text(text)
    assert daemon.post("/config", {})["transition"] == "bootstrap"
    wait_phase(daemon, "running")
    assert daemon.http.request("GET", f"{daemon.url}/").status == 200


def test_packages_that_a_cut_off_install_left_half_written_are_not_taken_for_whole(
    daemon: DaemonProcess, repo: Path
) -> None:
    packed = {"package.json": '{"name": "dep", "version": "1.0.0"}', "index.js": "// whole"}
    with tarfile.open(repo / "dep-1.0.0.tgz", "w:gz") as tar:
        for name, text in packed.items():
            entry = tarfile.TarInfo(f"package/{name}")
            entry.size = len(text)
            tar.addfile(entry, io.BytesIO(text.encode()))
    (repo / "package.json").write_text(manifest(dependencies={"dep": "file:./dep-1.0.0.tgz"}))
    (repo / "server.js").write_text(app_files()["server.js"])
    daemon.post("/config", {})
    wait_phase(daemon, "running")
    modules = repo / "node_modules"
    assert not (modules / ".limpet-install.begun").exists()
    # As a workspace is that was saved in the middle of an install.
    for name in (".limpet-install.json", ".package-lock.json", "dep/index.js"):
        (modules / name).unlink()
    (modules / ".limpet-install.begun").touch()
    daemon.post("/setup/install", {})
    poll_until("the install", lambda: setup_log(daemon).count("Installing with npm") == 2)
    wait_phase(daemon, "running")
    assert (modules / "dep" / "index.js").read_text() == "// whole"
    assert "an earlier install was cut off" in setup_log(daemon)
    assert not (modules / ".limpet-install.begun").exists()


def test_a_blank_workspace_is_idle_and_well(daemon: DaemonProcess, repo: Path) -> None:
    daemon.post("/config", {})
    poll_until("the look", lambda: "no project here yet" in setup_log(daemon))
    assert wait_phase(daemon, "idle") == "idle"
    assert state(daemon, "status") == {"state": "running"}
    (repo / "notes.txt").write_text("x")
    daemon.post("/setup/start", {})
    assert wait_phase(daemon, "idle") == "idle"


def test_a_project_without_a_starter_says_which_scripts_there_are(
    daemon: DaemonProcess, server: GitServer
) -> None:
    server.add_repository("lib", app_files(scripts={"build": "true", "lint": "true"}))
    configure(daemon, server.url("lib", authenticated=True))
    wait_phase(daemon, "start-failed")
    assert "build, lint" in lifecycle(daemon)["error"]


def test_a_restore_pauses_everything_and_starts_again_with_skips(
    daemon: DaemonProcess, url: str, repo: Path, server: GitServer
) -> None:
    configure(daemon, url, branch="main")
    wait_phase(daemon, "running")
    tar = daemon.create()
    (repo / "later.txt").write_text("gone after the restore")
    requests = server.request_count
    answer = daemon.restore(tar)
    assert answer.status == 200, answer.data
    wait_phase(daemon, "running")
    assert not (repo / "later.txt").exists()
    assert "Install skipped" in setup_log(daemon)
    assert server.request_count == requests
    assert daemon.http.request("GET", f"{daemon.url}/").status == 200


def test_a_restore_before_any_config_leaves_nothing_running(
    start_daemon: StartDaemon, url: str, root: Path
) -> None:
    with start_daemon() as daemon:
        configure(daemon, url, branch="main")
        wait_phase(daemon, "running")
        tar = daemon.create()
    shutil.rmtree(root)
    with start_daemon() as daemon:
        assert daemon.restore(tar).status == 200
        assert health(daemon)["orchestrator"] == {"running": None, "pending": []}
        assert health(daemon)["phase"] == "idle"
        assert state(daemon, "tasks") == {"active": []}
        configure(daemon, url, branch="main")
        wait_phase(daemon, "running")
        assert "Install skipped" in setup_log(daemon)
        assert "Clone skipped" in setup_log(daemon)


def test_scripts_run_and_the_names_follow_the_manifest(
    daemon: DaemonProcess, url: str, repo: Path
) -> None:
    daemon.post("/exec/hello", {}, status=409)
    configure(daemon, url)
    wait_phase(daemon, "running")
    done = daemon.post("/exec/hello", {"mode": "await"})
    assert "hello" in done["stdout"]
    assert done["exitCode"] == 0
    assert "hello" in daemon.post("/exec/nope", {}, status=404)["available"]
    (repo / "package.json").write_text(manifest(scripts={"fresh": "echo fresh"}))
    assert "fresh" in daemon.post("/exec/fresh", {"mode": "await"})["stdout"]


def test_variables_reach_tasks_and_the_token_does_not(daemon: DaemonProcess, url: str) -> None:
    configure(daemon, url, env={"COLOUR": "blue"})
    wait_phase(daemon, "running")
    seen = daemon.http.request("GET", f"{daemon.url}/env").json()
    assert seen["COLOUR"] == "blue"
    assert seen["HOST"] == "127.0.0.1"
    assert seen["HOME"].endswith("/workspace/home")
    assert not any(name.startswith("DAEMON_") for name in seen)
    assert not any("test-token" in value or "hunter2" in value for value in seen.values())
    assert configure(daemon, url, env={"COLOUR": "red"})["transition"] == "env-change"
    assert daemon.request("GET", "/config").json()["envKeys"] == ["COLOUR"]
    assert "red" not in daemon.request("GET", "/config").data.decode()


def test_unsaved_changes_are_rescued_at_the_end(
    start_daemon: StartDaemon, url: str, repo: Path
) -> None:
    with start_daemon(DAEMON_BOOT_ID="boot-1") as daemon:
        configure(daemon, url, branch="main")
        wait_phase(daemon, "running")
        (repo / "server.js").write_text("edited")
        (repo / "new.txt").write_text("new")
        git("add", "new.txt", cwd=repo)
        before = (git("status", "--porcelain", cwd=repo), (repo / ".git/index").read_bytes())
        head = git("rev-parse", "HEAD", cwd=repo)
        daemon.process.terminate()
        assert daemon.process.wait(30) == 0
    assert git("status", "--porcelain", cwd=repo) == before[0]
    assert (repo / ".git/index").read_bytes() == before[1]
    assert git("rev-parse", "HEAD", cwd=repo) == head
    ref = "refs/limpet/rescue/boot-1"
    assert git("show", f"{ref}:server.js", cwd=repo) == "edited"
    assert git("show", f"{ref}:new.txt", cwd=repo) == "new"
    assert git("rev-parse", f"{ref}^", cwd=repo) == head


def test_work_is_published_at_the_end_when_that_is_configured(
    start_daemon: StartDaemon, url: str, repo: Path, server: GitServer
) -> None:
    with start_daemon() as daemon:
        more = {"git": {"publishOnShutdown": True}}
        configure(daemon, url, branch="limpet/work", **more)
        wait_phase(daemon, "running")
        (repo / "server.js").write_text("edited")
        daemon.process.terminate()
        assert daemon.process.wait(30) == 0
    head = server.head("small", "limpet/work")
    assert head is not None
    assert git("show", f"{head}:server.js", cwd=server.bare("small")) == "edited"
