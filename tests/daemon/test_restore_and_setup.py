"""Scripts, and a dev server through a restore: stopped for the swap, running again after it."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.daemon_process import DaemonProcess
from tests.live import poll_until

pytestmark = pytest.mark.e2e
CONFIG = {"application": {"packageManager": {"name": "npm"}, "runtime": "node"}}
SERVER = """
const http = require('http'), fs = require('fs')
const server = http.createServer((_, answer) => {
  answer.setHeader('content-type', 'text/html')
  answer.end('<body>' + fs.readFileSync('state.txt'))
})
server.listen(0, '127.0.0.1', () => console.log(`Local: http://127.0.0.1:${server.address().port}/`))
"""


@pytest.fixture
def project(repo: Path, daemon: DaemonProcess) -> Path:
    scripts = {"dev": "node server.js", "greet": "echo hello $NAME", "fail": "exit 4"}
    (repo / "package.json").write_text(json.dumps({"name": "p", "scripts": scripts}))
    (repo / "server.js").write_text(SERVER)
    (repo / "state.txt").write_text("old")
    return repo


def phase(daemon: DaemonProcess) -> Any:
    return daemon.http.request("GET", f"{daemon.url}/health").json()["phase"]


def running(daemon: DaemonProcess) -> bool:
    assert not phase(daemon).endswith("failed"), daemon.request("GET", "/tasks").data
    return bool(phase(daemon) == "running")


def test_scripts_run_once_there_is_a_config(daemon: DaemonProcess, project: Path) -> None:
    told = daemon.post("/exec/greet", {}, 409)
    assert "POST /config first" in told["error"]
    daemon.post("/config", CONFIG)
    poll_until("the dev server", lambda: running(daemon), 60)
    done = daemon.post("/exec/greet", {"mode": "await", "env": {"NAME": "you"}})
    assert "hello you" in done["stdout"]
    assert done["exitCode"] == 0
    assert daemon.post("/exec/fail", {"mode": "await"})["exitCode"] != 0
    unknown = daemon.post("/exec/nothing", {}, 404)
    assert set(unknown["available"]) == {"dev", "greet", "fail"}
    started = daemon.post("/exec/greet", {})
    assert started["status"] == "running"
    assert daemon.post("/exec/dev/kill", {}) == {"killed": 1}


def test_a_restore_stops_the_dev_server_and_starts_it_on_the_old_state(
    daemon: DaemonProcess, project: Path
) -> None:
    daemon.post("/config", CONFIG)
    poll_until("the dev server", lambda: running(daemon), 60)
    tar = daemon.create()
    daemon.post("/write", {"path": "state.txt", "content": "new"})
    [before] = [t["id"] for t in daemon.request("GET", "/tasks?status=running").json()["tasks"]]
    assert daemon.restore(tar).status == 200
    assert daemon.request("GET", f"/tasks/{before}").json()["status"] == "killed"
    assert (project / "state.txt").read_text() == "old"
    poll_until("the dev server again", lambda: running(daemon), 60)
    [after] = [t["id"] for t in daemon.request("GET", "/tasks?status=running").json()["tasks"]]
    assert after != before


def test_a_held_restore_leaves_nothing_running(daemon: DaemonProcess, project: Path) -> None:
    daemon.post("/config", CONFIG)
    poll_until("the dev server", lambda: running(daemon), 60)
    tar = daemon.create()
    held = daemon.request("POST", "/snapshot/restore", tar, **{"X-Limpet-Hold": "1"})
    assert held.status == 200
    assert daemon.request("GET", "/tasks?status=running").json()["tasks"] == []
    assert not running(daemon)
    daemon.post("/setup/start", {})
    poll_until("the dev server", lambda: running(daemon), 60)


def test_a_restore_before_any_config_leaves_nothing_running(
    daemon: DaemonProcess, project: Path, tmp_path: Path
) -> None:
    tar = daemon.create()
    with DaemonProcess.running(tmp_path / "other/workspace") as other:
        assert other.restore(tar).status == 200
        assert other.request("GET", "/tasks").json()["tasks"] == []
        other.post("/config", CONFIG)
        poll_until("the dev server", lambda: running(other), 60)
        other.process.terminate()
        assert other.process.wait(30) == 0


def test_a_failed_swap_leaves_the_workspace_and_what_ran(root: Path) -> None:
    workspace = root / "workspace"
    with DaemonProcess.running(workspace, LIMPET_FAULT="swap-synced:fail") as daemon:
        repo = workspace / "repo"
        (repo / "package.json").write_text(json.dumps({"scripts": {"dev": "node server.js"}}))
        (repo / "server.js").write_text(SERVER)
        (repo / "state.txt").write_text("old")
        daemon.post("/config", CONFIG)
        poll_until("the dev server", lambda: running(daemon), 60)
        tar = daemon.create()
        (repo / "state.txt").write_text("new")
        answer = daemon.restore(tar)
        assert answer.status == 507
        assert answer.json()["error"]
        assert (repo / "state.txt").read_text() == "new"
        poll_until("the dev server again", lambda: running(daemon), 60)
        assert daemon.restore(tar).status == 200
        assert (repo / "state.txt").read_text() == "old"
        daemon.process.terminate()
        daemon.process.wait(30)
