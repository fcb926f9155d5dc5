"""Installs that meet what real workspaces hold: locks that lie, foreign trees, full disks."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from limpet.daemon.setup.mark import MARK_NAME
from tests.daemon.setup.projects import SERVER_JS, lifecycle, setup_log, wait_phase
from tests.daemon_process import DaemonProcess

PACKAGE = {
    "name": "app",
    "version": "1.0.0",
    "private": True,
    "scripts": {"dev": "node server.js"},
    "dependencies": {"one": "file:./one"},
}


def app(repo: Path, **more: object) -> None:
    """An app whose one dependency lies beside it, so that no registry is asked."""
    for name in ("one", "two"):
        (repo / name).mkdir(exist_ok=True)
        (repo / name / "package.json").write_text(json.dumps({"name": name, "version": "1.0.0"}))
    (repo / "package.json").write_text(json.dumps({**PACKAGE, **more}))
    (repo / "server.js").write_text(SERVER_JS)


def test_a_lock_that_lies_is_brought_into_step(daemon: DaemonProcess, repo: Path) -> None:
    app(repo)
    subprocess.run(["npm", "install", "--package-lock-only"], cwd=repo, check=True, timeout=120)
    app(repo, dependencies={"one": "file:./one", "two": "file:./two"})
    assert '"two"' not in (repo / "package-lock.json").read_text()
    daemon.post("/config", {})
    wait_phase(daemon, "running")
    assert (repo / "node_modules/two/package.json").exists()
    daemon.post("/setup/install", {})
    wait_phase(daemon, "running")
    assert "Install skipped: node_modules is from this very state" in setup_log(daemon)


def test_a_tree_of_another_runtime_is_made_anew_and_why_is_said(
    daemon: DaemonProcess, repo: Path
) -> None:
    app(repo)
    daemon.post("/config", {})
    wait_phase(daemon, "running")
    mark = repo / "node_modules" / MARK_NAME
    there = json.loads(mark.read_text())
    mark.write_text(json.dumps({**there, "runtime": "node 6 abi 48"}))
    (repo / "node_modules/built-for-it").mkdir()
    daemon.post("/setup/install", {})
    wait_phase(daemon, "running")
    said = setup_log(daemon)
    assert f"the runtime changed from node 6 abi 48 to {there['runtime']}" in said
    assert "node_modules is of no use here: it is made anew" in said
    assert not (repo / "node_modules/built-for-it").exists()


def test_packages_that_were_deleted_are_installed_again(daemon: DaemonProcess, repo: Path) -> None:
    app(repo)
    daemon.post("/config", {})
    wait_phase(daemon, "running")
    (repo / "node_modules/one").unlink()
    daemon.post("/setup/install", {})
    wait_phase(daemon, "running")
    assert "1 packages have gone from node_modules" in setup_log(daemon)
    assert (repo / "node_modules/one").exists()


def test_a_package_of_a_monorepo_is_installed_at_the_root_and_started_where_it_lies(
    daemon: DaemonProcess, repo: Path
) -> None:
    app(repo)
    web = repo / "apps/web"
    web.mkdir(parents=True)
    (web / "package.json").write_text(json.dumps({**PACKAGE, "name": "web", "dependencies": {}}))
    (web / "server.js").write_text(SERVER_JS)
    root = {"name": "root", "private": True, "workspaces": ["apps/*", "one"]}
    (repo / "package.json").write_text(json.dumps(root))
    daemon.post("/config", {"application": {"packageManager": {"path": "apps/web"}}})
    wait_phase(daemon, "running")
    assert (repo / "node_modules" / MARK_NAME).exists()
    assert (repo / "package-lock.json").exists()
    assert not (web / "node_modules").exists()
    assert "The lock of this package is in the root." in setup_log(daemon)
    seen = daemon.http.request("GET", f"{daemon.url}/env").json()
    assert seen["PWD"] == str(web)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 24 MB."""
    if os.geteuid() != 0:
        pytest.skip("it takes root to mount a file system")
    place = tmp_path / "disk"
    place.mkdir()
    mounted = ["mount", "-t", "tmpfs", "-o", "size=24m", "limpet-test", str(place)]
    if subprocess.run(mounted, check=False, capture_output=True).returncode != 0:
        pytest.skip("no file system can be mounted here")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_an_install_that_fills_the_disk_says_so_and_can_be_tried_again(small_disk: Path) -> None:
    root = small_disk / "root"
    with DaemonProcess.running(root / "workspace") as daemon:
        repo = root / "workspace/repo"
        app(repo)
        fill = "head -c 100000000 /dev/zero > filled; echo done"
        scripts = {"preinstall": f"({fill}) || exit 1; test -s filled && cat filled > again"}
        app(repo, scripts={**PACKAGE["scripts"], **scripts})  # type: ignore[dict-item]
        daemon.post("/config", {})
        wait_phase(daemon, "install-failed")
        error = lifecycle(daemon)["error"]
        assert error.startswith("The disk is full (0 of 25 MB are free)"), error
        for name in ("filled", "again"):
            (repo / name).unlink(missing_ok=True)
        app(repo)
        daemon.post("/setup/install", {})
        wait_phase(daemon, "running")
        daemon.process.terminate()
        daemon.process.wait(30)
