"""Installs fail, tools are missing or too old, and a thief takes the dev server's port."""

import json
import os
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.gitserver import GitServer
from tests.live import QUIET_SAVER, LiveLimpet, poll_until

pytestmark = pytest.mark.fault

SERVER_JS = """\
const http = require('http');
const port = Number(process.env.PORT || 3000);
http.createServer((_, r) => r.setHeader('content-type', 'text/html').end('<body>hello</body>'))
  .listen(port, '127.0.0.1', () => console.log(`Local: http://127.0.0.1:${port}/`));
"""


def manifest(**more: object) -> str:
    return json.dumps(
        {
            "name": "small",
            "version": "1.0.0",
            "private": True,
            "scripts": {"dev": "node server.js"},
            "dependencies": {"dep": "file:./dep"},
            **more,
        }
    )


@pytest.fixture
def git_server(tmp_path: Path) -> Iterator[GitServer]:
    with GitServer.start(tmp_path / "git") as server:
        yield server


def small_app(server: GitServer, **more: object) -> str:
    """A repository with a tiny app that has one local dependency; gives its clone URL."""
    return server.add_repository(
        "small",
        {
            "package.json": manifest(**more),
            "server.js": SERVER_JS,
            "dep/package.json": json.dumps({"name": "dep", "version": "1.0.0"}),
        },
    )


def environ(server: GitServer, **more: str) -> dict[str, str]:
    return {**QUIET_SAVER, **server.environ, **more}


def make_agent(live: LiveLimpet, url: str) -> str:
    agent: str = live.api("POST", "/agents", {"title": "Small", "clone_url": url})["id"]
    live.cli("start", agent)
    return agent


def test_a_failing_install_shows_its_output_and_can_be_tried_again(git_server: GitServer) -> None:
    url = small_app(
        git_server,
        scripts={
            "dev": "node server.js",
            "preinstall": "test -e fixed || (echo boom-why >&2; exit 7)",
        },
    )
    with LiveLimpet.temporary(environ(git_server)) as live:
        agent = make_agent(live, url)
        box = live.wait_phase(agent, "install-failed")
        handle = box["handle"]
        assert "boom-why" in live.json("logs", agent, "--source", "setup")["logs"]["setup"]
        config = live.api("GET", f"/sandboxes/{handle}")
        assert config["phase"] == "install-failed"
        live.cli("exec", agent, "--", "touch", "fixed")
        live.api("POST", f"/sandboxes/{handle}/daemon/setup/install", {})
        live.wait_phase(agent, "running")
        assert b"hello" in live.preview(handle).data
        live.cli("stop", agent)
        live.cli("start", agent)
        live.wait_phase(agent, "running")


def path_without(tmp_path: Path, *missing: str, **replaced: str) -> str:
    """A PATH that has all but some tools; `replaced` maps a tool to a script's text."""
    folder = tmp_path / "tools"
    folder.mkdir()
    for place in os.environ["PATH"].split(":"):
        if not Path(place).is_dir():
            continue
        for tool in Path(place).iterdir():
            if tool.name not in missing and not (folder / tool.name).exists():
                (folder / tool.name).symlink_to(tool)
    for name, text in replaced.items():
        (folder / name).unlink(missing_ok=True)
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    return str(folder)


def test_no_git_is_said_and_the_next_start_works(git_server: GitServer, tmp_path: Path) -> None:
    url = small_app(git_server)
    path = path_without(tmp_path, "git")
    with LiveLimpet.temporary(environ(git_server, PATH=path, LIMPET_ISOLATION="none")) as live:
        agent = make_agent(live, url)
        live.wait_phase(agent, "clone-failed")
        log = live.json("logs", agent, "--source", "setup")["logs"]["setup"]
        assert "git" in log
        assert "install" in log.lower()
        live.cli("stop", agent)
        live.stop()
        live.environ = environ(git_server, LIMPET_ISOLATION="none")
        live.start()
        live.cli("start", agent)
        live.wait_phase(agent, "running")


def test_no_npm_is_said_and_the_next_start_works(git_server: GitServer, tmp_path: Path) -> None:
    url = small_app(git_server)
    path = path_without(tmp_path, "npm", "npx")
    with LiveLimpet.temporary(environ(git_server, PATH=path, LIMPET_ISOLATION="none")) as live:
        agent = make_agent(live, url)
        live.wait_phase(agent, "install-failed")
        assert "npm" in live.json("logs", agent, "--source", "setup")["logs"]["setup"]
        live.cli("stop", agent)
        live.stop()
        live.environ = environ(git_server, LIMPET_ISOLATION="none")
        live.start()
        live.cli("start", agent)
        live.wait_phase(agent, "running")


def test_an_old_node_is_named(git_server: GitServer, tmp_path: Path) -> None:
    url = small_app(git_server, engines={"node": ">=20"})
    node = shutil.which("node")
    old = f'#!/bin/sh\ncase "$1" in --version|-v) echo v14.21.3;; *) exec {node} "$@";; esac\n'
    path = path_without(tmp_path, "node", node=old)
    with LiveLimpet.temporary(environ(git_server, PATH=path, LIMPET_ISOLATION="none")) as live:
        agent = make_agent(live, url)
        live.wait_phase(agent, "install-failed", "start-failed", "running")
        log = live.json("logs", agent, "--source", "setup")["logs"]["setup"]
        assert "14.21.3" in log
        assert "20" in log


def test_a_thief_on_the_dev_servers_port_is_passed_by(git_server: GitServer) -> None:
    url = small_app(git_server)
    with LiveLimpet.temporary(environ(git_server)) as live:
        agent = make_agent(live, url)
        box = live.wait_phase(agent, "running")
        handle = box["handle"]
        config = live.api("GET", f"/sandboxes/{handle}/daemon/tasks")
        [dev] = [t for t in config["tasks"] if t.get("logName") == "dev"]
        shown = live.json("logs", agent, "--source", "dev")["logs"]["dev"]
        port = int(shown.split("127.0.0.1:")[1].split("/")[0])
        live.cli("stop", agent)
        with socket.socket() as thief:
            thief.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            thief.bind(("127.0.0.1", port))
            thief.listen()
            live.cli("start", agent)
            live.wait_phase(agent, "running")
            assert b"hello" in live.preview(handle).data
        assert dev


def test_a_clone_url_agent_comes_home_from_a_private_git_server(git_server: GitServer) -> None:
    url = small_app(git_server)
    with LiveLimpet.temporary(environ(git_server)) as live:
        agent = make_agent(live, url)
        box = live.wait_phase(agent, "running")
        handle = box["handle"]
        live.cli(
            "exec", agent, "--", "sh", "-c", "echo '// edited' >> server.js; git add server.js"
        )
        live.json("snapshots", "save", agent)
        live.kill_all()
        shutil.rmtree(live.root_of(handle))
        requests = git_server.request_count
        live.start()
        live.cli("start", agent)
        live.wait_phase(agent, "running", timeout_s=60)
        assert (live.root_of(handle) / "workspace/repo/server.js").read_text().endswith("edited\n")
        poll_until("the log", lambda: live.json("logs", agent, "--source", "setup")["logs"])
        log = live.json("logs", agent, "--source", "setup")["logs"]["setup"]
        assert "already" in log or "skip" in log.lower(), log
        assert git_server.clone_count <= 1, f"cloned again ({requests} requests before)"
