"""A daemon of root whose sandbox is not: everything in the workspace is the sandbox user's."""

import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from limpet.snapshots.tree import delete_tree
from tests.daemon.setup.projects import SERVER_JS, setup_log, wait_phase
from tests.daemon_process import DaemonProcess
from tests.matrix.tools import open_path

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="it takes root to become another user")
USER = 1000


@pytest.fixture
def root() -> Iterator[Path]:
    """A root that another user can get at, which pytest's own folders are closed to."""
    place = Path(tempfile.mkdtemp(prefix="limpet-dropped-"))
    place.chmod(0o755)
    yield place / "root"
    delete_tree(place)


@pytest.fixture
def daemon(root: Path) -> Iterator[DaemonProcess]:
    root.mkdir(mode=0o755)
    with DaemonProcess.running(
        root / "workspace", DAEMON_DROP_PRIVILEGES="1", PATH=open_path()
    ) as running:
        yield running
        running.process.terminate()
        running.process.wait(30)


def owners(top: Path) -> set[int]:
    found = {top.lstat().st_uid}
    for place, folders, names in os.walk(top):
        found |= {(Path(place) / name).lstat().st_uid for name in (*folders, *names)}
    return found


def test_an_app_is_installed_and_runs_as_the_sandboxs_user(
    daemon: DaemonProcess, repo: Path
) -> None:
    package = {"name": "x", "scripts": {"dev": "node server.js"}, "dependencies": {"a": "file:a"}}
    files = {"package.json": json.dumps(package), "server.js": SERVER_JS, "a/package.json": "{}"}
    for name, content in files.items():
        daemon.post("/write", {"path": name, "content": content})
    daemon.post("/config", {})
    wait_phase(daemon, "running")
    assert "no terminal" not in setup_log(daemon, "dev"), "the terminal was opened as that user"
    assert daemon.post("/bash", {"command": "id -u"})["stdout"] == f"{USER}\n"
    assert owners(repo) == {USER}
    listening = json.loads(daemon.http.request("GET", f"{daemon.url}/env").data)
    assert listening["HOME"].endswith("/home")


def test_what_is_restored_and_edited_belongs_to_the_sandboxs_user(
    daemon: DaemonProcess, root: Path
) -> None:
    make = "mkdir -p deep/er && echo a > deep/er/file && ln -s file deep/er/link"
    assert daemon.post("/bash", {"command": make})["exitCode"] == 0
    snapshot = daemon.create()
    assert daemon.restore(snapshot).status == 200
    daemon.post("/edit", {"path": "deep/er/file", "old_string": "a", "new_string": "b"})
    daemon.post("/write", {"path": "new/folder/file", "content": "c"})
    daemon.post("/mkdir", {"path": "made/here"})
    daemon.post("/copy", {"from": "deep", "to": "copied/deep"})
    daemon.post("/copy", {"from": "deep/er/file", "to": "copied/file"})
    assert owners(root / "workspace") == {USER}
    change = "echo more >> deep/er/file && touch made/here/x new/folder/y && cat deep/er/link"
    done = daemon.post("/bash", {"command": change})
    assert (done["exitCode"], done["stdout"]) == (0, "b\nmore\n")


def test_a_program_of_the_sandboxs_own_is_never_run_as_root(
    daemon: DaemonProcess, repo: Path, root: Path
) -> None:
    """The sandbox's tools come first in PATH: a planted one must not get the daemon's rights."""
    seen = root / "workspace/home/ran-as"
    plant = f"#!/bin/sh\nid -u >> {seen}\necho v99.0.0\n"
    for name in ("node", "npm"):
        place = f"../home/.local/bin/{name}"
        daemon.post("/write", {"path": place, "content": plant})
        assert daemon.post("/bash", {"command": f"chmod +x {place}"})["exitCode"] == 0
    package = {"name": "x", "scripts": {"dev": "true"}}
    daemon.post("/write", {"path": "package.json", "content": json.dumps(package)})
    daemon.post("/config", {})
    wait_phase(daemon, "start-failed", "install-failed", "running", "crashed")
    assert set(seen.read_text().split()) == {str(USER)}
    assert (repo / "package.json").exists()
