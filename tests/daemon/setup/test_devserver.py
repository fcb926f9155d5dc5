"""The dev server is kept up: found, asked, started again, and its port defended."""

import contextlib
import json
import os
import signal
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.daemon.setup.conftest import StartDaemon
from tests.daemon.setup.projects import (
    SERVER_JS,
    app_files,
    configure,
    events_now,
    lifecycle,
    setup_log,
    state,
    wait_phase,
)
from tests.daemon_process import DaemonProcess
from tests.gitserver import GitServer
from tests.live import poll_until

pytestmark = pytest.mark.long


def bring_up(daemon: DaemonProcess, repo: Path, server_js: str = SERVER_JS, **more: Any) -> None:
    """A workspace with an app that has nothing to install."""
    package = {"name": "x", "scripts": {"dev": "node server.js"}}
    (repo / "package.json").write_text(json.dumps(package))
    (repo / "server.js").write_text(server_js)
    daemon.post("/config", more)


def test_a_dev_server_that_dies_is_started_again(daemon: DaemonProcess, repo: Path) -> None:
    bring_up(daemon, repo)
    wait_phase(daemon, "running")
    daemon.http.request("GET", f"{daemon.url}/crash")
    poll_until("the restart", lambda: "restarting (attempt 1/5)" in setup_log(daemon))
    assert "ended with code 3" in setup_log(daemon)
    wait_phase(daemon, "running")
    assert daemon.http.request("GET", f"{daemon.url}/").status == 200


def test_one_that_dies_before_it_answers_is_a_failed_start(
    daemon: DaemonProcess, repo: Path
) -> None:
    bring_up(daemon, repo, "console.error('why it died'); process.exit(0)")
    wait_phase(daemon, "start-failed")
    error = lifecycle(daemon)["error"]
    assert "ended with code 0 before it answered" in error
    assert "why it died" in error
    assert state(daemon, "status")["state"] == "error"
    (repo / "server.js").write_text(SERVER_JS)
    daemon.post("/setup/start", {})
    wait_phase(daemon, "running")


def test_a_thief_on_our_own_choice_of_port_is_passed_by(
    start_daemon: StartDaemon, repo: Path
) -> None:
    """The port is free when it is chosen and taken when the dev server listens."""
    thief = (
        "const fs = require('fs');\n"
        "if (!fs.existsSync('stolen')) {\n"
        "  fs.writeFileSync('stolen', process.env.PORT);\n"
        "  throw new Error('listen EADDRINUSE: address already in use');\n"
        "}\n"
    )
    with start_daemon() as daemon:
        bring_up(daemon, repo, thief + SERVER_JS)
        wait_phase(daemon, "running")
        assert lifecycle(daemon)["port"] != int((repo / "stolen").read_text())
        assert "was taken meanwhile" in setup_log(daemon)


def test_a_port_that_the_runner_gave_is_replaced_when_it_is_taken(
    start_daemon: StartDaemon, repo: Path
) -> None:
    with socket.socket() as thief:
        thief.bind(("127.0.0.1", 0))
        thief.listen()
        taken = thief.getsockname()[1]
        with start_daemon(DAEMON_DEV_PORT=str(taken)) as daemon:
            bring_up(daemon, repo)
            wait_phase(daemon, "running")
            assert lifecycle(daemon)["port"] != taken
            assert b"hello" in daemon.http.request("GET", f"{daemon.url}/").data


def test_a_configured_port_that_is_taken_is_a_clear_error(
    daemon: DaemonProcess, repo: Path
) -> None:
    with thief_page() as port:
        bring_up(daemon, repo, application={"port": port})
        wait_phase(daemon, "start-failed")
        assert f"port {port} is taken by another program" in lifecycle(daemon)["error"]
        page = daemon.http.request("GET", f"{daemon.url}/", headers={"Accept": "text/html"})
        assert page.status == 503
        assert b"stolen" not in page.data, "the thief's page must never be shown"
    daemon.post("/setup/start", {})
    wait_phase(daemon, "running")
    assert lifecycle(daemon)["port"] == port


@contextlib.contextmanager
def thief_page() -> Iterator[int]:
    """A neighbour's web server; its port."""

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(b"stolen")

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


def test_a_neighbours_server_is_not_mistaken_for_ours(daemon: DaemonProcess, repo: Path) -> None:
    """The dev server says a neighbour's port before it listens on its own."""
    with socket.socket() as neighbour:
        neighbour.bind(("127.0.0.1", 0))
        neighbour.listen()
        said = f"console.log('Local: http://localhost:{neighbour.getsockname()[1]}/ is theirs');\n"
        bring_up(daemon, repo, said + SERVER_JS)
        wait_phase(daemon, "running")
        assert lifecycle(daemon)["port"] != neighbour.getsockname()[1]


def test_a_port_that_is_never_printed_is_found(daemon: DaemonProcess, repo: Path) -> None:
    silent = "require('http').createServer((_, r) => r.end('quiet')).listen(0, '::1')"
    bring_up(daemon, repo, silent)
    wait_phase(daemon, "running")
    assert lifecycle(daemon)["htmlSupport"] is False
    assert daemon.http.request("GET", f"{daemon.url}/x").data == b"quiet"


@pytest.mark.parametrize("without", ["proc", "pty", "pidfd", "proc pty pidfd inotify subreaper"])
def test_it_comes_up_where_the_machine_tells_less(
    start_daemon: StartDaemon, repo: Path, without: str
) -> None:
    with start_daemon(LIMPET_WITHOUT=without) as daemon:
        bring_up(daemon, repo)
        wait_phase(daemon, "running")
        assert b"hello" in daemon.http.request("GET", f"{daemon.url}/").data
        daemon.process.terminate()  # a kill would leave the app behind, which has no terminal
        daemon.process.wait(30)


def test_one_that_was_ended_on_purpose_stays_ended(daemon: DaemonProcess, repo: Path) -> None:
    bring_up(daemon, repo)
    wait_phase(daemon, "running")
    assert daemon.post("/exec/dev/kill", {}) == {"killed": 1}
    assert wait_phase(daemon, "idle") == "idle"
    assert "restarting" not in setup_log(daemon)
    daemon.post("/setup/start", {})
    wait_phase(daemon, "running")


def test_one_that_is_run_by_hand_is_taken_over(daemon: DaemonProcess, repo: Path) -> None:
    bring_up(daemon, repo)
    wait_phase(daemon, "running")
    [before] = state(daemon, "tasks")["active"]
    daemon.post("/exec/dev", {"mode": "background"})
    poll_until("the new run", lambda: state(daemon, "tasks")["active"] not in ([], [before]))
    poll_until("the app", lambda: daemon.http.request("GET", f"{daemon.url}/").status == 200)
    assert wait_phase(daemon, "running") == "running"


def test_one_that_hangs_is_crashed_and_comes_back(daemon: DaemonProcess, repo: Path) -> None:
    bring_up(daemon, repo)
    wait_phase(daemon, "running")
    [pid] = pids_of(daemon, "node server.js")
    os.kill(pid, signal.SIGKILL)
    poll_until("the restart", lambda: "restarting (attempt 1/5)" in setup_log(daemon))
    wait_phase(daemon, "running")


def test_a_reload_is_told_each_time_it_comes_up(daemon: DaemonProcess, repo: Path) -> None:
    bring_up(daemon, repo)
    wait_phase(daemon, "running")
    first = next(name for name, _ in events_now(daemon) if name == "lifecycle")
    assert first
    stream = daemon.http.request(
        "GET", f"{daemon.url}/_sandbox/events", preload_content=False, timeout=60.0
    )
    daemon.post("/setup/start", {})
    seen = b""
    for chunk in stream.stream(4096):
        seen += chunk
        if b"event: reload\ndata: {}" in seen:
            break
    stream.close()
    assert b'"phase":"starting"' in seen


def test_the_first_app_of_a_clone_comes_up_on_pnpm_style_ports(
    daemon: DaemonProcess, server: GitServer, url: str
) -> None:
    """PORT is given even when nobody configured one, so that two sandboxes never meet."""
    server.add_repository("env", app_files())
    configure(daemon, server.url("env", authenticated=True))
    wait_phase(daemon, "running")
    env = daemon.http.request("GET", f"{daemon.url}/env").json()
    assert int(env["PORT"]) == lifecycle(daemon)["port"]


def pids_of(daemon: DaemonProcess, words: str) -> list[int]:
    """Processes below the daemon whose command line is `words`."""
    found = []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            line = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
            cwd = str((folder / "cwd").readlink())
        except OSError:
            continue
        if line == words and cwd.startswith(str(daemon.workspace)):
            found.append(int(folder.name))
    return found


def test_one_that_listens_twice_is_previewed_where_its_page_is(
    daemon: DaemonProcess, repo: Path
) -> None:
    """A dev server with an API beside it, in either order of ports, printed or not."""
    both = """\
const http = require('http');
const api = http.createServer((q, r) => {
  r.setHeader('content-type', 'application/json'); r.end('{}'); });
const page = http.createServer((q, r) => {
  r.setHeader('content-type', 'text/html'); r.end('<h1>the page</h1>'); });
api.listen(0, '127.0.0.1', () => page.listen(0, '127.0.0.1', () => {
  console.log('up'); }));
"""
    bring_up(daemon, repo, both)
    wait_phase(daemon, "running")
    assert b"the page" in daemon.http.request("GET", f"{daemon.url}/").data
    assert lifecycle(daemon)["htmlSupport"] is True


def test_one_that_dies_again_and_again_is_given_up(daemon: DaemonProcess, repo: Path) -> None:
    dying = SERVER_JS + "setTimeout(() => process.exit(3), 1500);\n"
    bring_up(daemon, repo, dying)
    wait_phase(daemon, "start-failed", timeout_s=180.0)
    said = setup_log(daemon)
    for attempt in range(1, 6):
        assert f"restarting (attempt {attempt}/5)" in said
    assert "attempt 6" not in said
    assert "after 5 restarts" in lifecycle(daemon)["error"]


def test_one_that_never_listens_is_told_and_stays(daemon: DaemonProcess, repo: Path) -> None:
    bring_up(daemon, repo, "setInterval(() => {}, 1000); console.log('thinking');")
    poll_until(
        "what is said of it", lambda: "listens on no port yet" in setup_log(daemon), timeout_s=60
    )
    assert health_phase(daemon) == "starting"
    assert daemon.http.request("GET", f"{daemon.url}/").status == 503
    (repo / "server.js").write_text(SERVER_JS)
    daemon.post("/setup/start", {})
    wait_phase(daemon, "running")


def test_one_that_slips_into_the_background_is_ended_and_told(
    daemon: DaemonProcess, repo: Path
) -> None:
    slips = """\
const { spawn } = require('child_process');
const fs = require('fs');
const behind = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)'],
  { detached: true, stdio: 'ignore' });
fs.writeFileSync('pid', String(behind.pid));
behind.unref();
"""
    bring_up(daemon, repo, slips)
    wait_phase(daemon, "start-failed")
    error = lifecycle(daemon)["error"]
    assert "left 1 process in the background (ended now)" in error
    assert "stay in the foreground" in error
    pid = int((repo / "pid").read_text())
    poll_until("its end", lambda: not Path(f"/proc/{pid}").exists())


def test_a_configured_command_runs_with_the_projects_own_programs(
    daemon: DaemonProcess, repo: Path
) -> None:
    tool = repo / "node_modules/.bin/serve-it"
    tool.parent.mkdir(parents=True)
    tool.write_text("#!/bin/sh\nexec node other.js\n")
    tool.chmod(0o755)
    (repo / "other.js").write_text(SERVER_JS)
    (repo / "README").write_text("no manifest at all")
    daemon.post("/config", {"application": {"command": "serve-it"}})
    wait_phase(daemon, "running")
    answer = daemon.post("/config", {"application": {"command": "node other.js"}})
    assert answer["transition"] == "runtime-change"
    wait_phase(daemon, "running")
    assert b"hello" in daemon.http.request("GET", f"{daemon.url}/").data


def health_phase(daemon: DaemonProcess) -> str:
    phase: str = daemon.http.request("GET", f"{daemon.url}/health").json()["phase"]
    return phase
