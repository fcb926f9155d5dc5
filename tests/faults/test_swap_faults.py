"""The daemon dies between any two steps of a swap, in every place where a workspace may lie."""

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import urllib3

from limpet.snapshots.swap import SWAP_STEPS
from tests.daemon_process import DaemonProcess
from tests.live import differences, poll_until, walk

pytestmark = pytest.mark.fault


def mount(*arguments: str) -> None:
    done = subprocess.run(["mount", *arguments], check=False, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"mounting is not allowed here: {done.stderr.strip()}")


@pytest.fixture(params=["sibling folder", "mount point", "overlay's lower layer"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """An APP_ROOT: an ordinary folder, a mount point, or a folder of an overlay's lower layer."""
    where: str = request.param
    if where == "sibling folder":
        yield tmp_path / "root" / "workspace"
        return
    if where == "mount point":
        workspace = tmp_path / "app"
        workspace.mkdir()
        mount("-t", "tmpfs", "-o", "size=64m,mode=0755", "limpet-test", str(workspace))
        mounted = workspace
    else:
        disk = tmp_path / "disk"
        disk.mkdir()
        mount("-t", "tmpfs", "-o", "size=64m,mode=0755", "limpet-test", str(disk))
        for name in ("lower/app/repo", "upper", "work", "merged"):
            (disk / name).mkdir(parents=True)
        (disk / "lower/app/repo/from-the-image.txt").write_text("image")
        (disk / "lower/app/beside").mkdir()
        layers = f"lowerdir={disk}/lower,upperdir={disk}/upper,workdir={disk}/work"
        mounted = disk / "merged"
        try:
            mount("-t", "overlay", "-o", layers, "limpet-test", str(mounted))
        except pytest.skip.Exception:
            subprocess.run(["umount", "-l", disk], check=False)
            raise
        workspace = mounted / "app"
    yield workspace
    subprocess.run(["umount", "-l", mounted], check=False)
    if where != "mount point":
        subprocess.run(["umount", "-l", tmp_path / "disk"], check=False)


def content(workspace: Path) -> dict[str, tuple[str, ...]]:
    """What a user would call the state: everything in the workspace, times of the top aside."""
    return {
        path: seen
        for path, seen in walk(workspace).items()
        if path not in (".", "./home") and not path.startswith("./.limpet")
    }


def make_states(workspace: Path, **environ: str) -> tuple[bytes, dict[str, tuple[str, ...]]]:
    """Save one state, go on to another; gives the saved tar and how the saved tree looked."""
    with DaemonProcess.running(workspace, **environ) as daemon:
        for n in range(5):
            daemon.post("/write", {"path": f"old{n}.txt", "content": f"old {n}"})
        daemon.post("/write", {"path": "../beside/kept.txt", "content": "old"})
        tar = daemon.create()
        old = content(workspace)
        daemon.post("/unlink", {"path": "old3.txt"})
        for n in range(4):
            daemon.post("/write", {"path": f"new{n}.txt", "content": f"new {n}"})
        daemon.post("/write", {"path": "../also/new.txt", "content": "new"})
    return tar, old


def leftovers(workspace: Path) -> list[str]:
    """What lies in staging, wherever it is for this workspace."""
    places = [workspace.parent / "staging", *workspace.glob(".limpet*/staging")]
    return [str(p) for place in places if place.is_dir() for p in place.iterdir()]


@pytest.mark.parametrize("step", SWAP_STEPS)
def test_a_daemon_killed_at_a_step_leaves_the_old_state_or_the_new(place: Path, step: str) -> None:
    tar, old = make_states(place)
    new = content(place)
    with (
        DaemonProcess.running(place, LIMPET_FAULT=f"{step}:kill") as daemon,
        contextlib.suppress(urllib3.exceptions.HTTPError),
    ):
        daemon.restore(tar)
    with DaemonProcess.running(place) as daemon:
        now = content(place)
        assert not differences(now, old) or not differences(now, new), (
            differences(now, old),
            differences(now, new),
        )
        poll_until("staging to be clean", lambda: not leftovers(place), 30)
        answer = daemon.restore(tar)
        assert answer.status == 200, answer.data
        assert not differences(content(place), old)
        poll_until("the old tree to be deleted", lambda: not leftovers(place), 30)
    assert {p.name for p in place.parent.iterdir()} <= {
        "workspace", "staging", "state", "scratch", "app", ".app.limpet", "disk", "root",
        "beside",
    }  # fmt: skip


def test_a_disk_that_fills_up_between_two_steps_leaves_the_old_state(place: Path) -> None:
    tar, _ = make_states(place)
    new = content(place)
    for step in SWAP_STEPS:
        with DaemonProcess.running(place, LIMPET_FAULT=f"{step}:fail") as daemon:
            answer = daemon.restore(tar)
            if answer.status != 200:
                assert not differences(content(place), new), step
                assert daemon.healthy()
                continue
            break
