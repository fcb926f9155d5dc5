"""The daemon inside bubblewrap, where every process that it sees is the sandbox's."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import urllib3

from tests.daemon_process import TOKEN, DaemonProcess
from tests.live import poll_until

BWRAP = ["bwrap", "--unshare-user", "--unshare-pid", "--die-with-parent", "--ro-bind", "/", "/"]


@pytest.fixture
def boxed(root: Path) -> Iterator[DaemonProcess]:
    """A daemon as pid 2 of a namespace of its own, with the root at /mnt."""
    workspace = root / "workspace"
    workspace.mkdir(parents=True)
    probe = subprocess.run([*BWRAP, "--proc", "/proc", "true"], check=False, capture_output=True)
    if probe.returncode:
        pytest.skip(f"bubblewrap does not work here: {probe.stderr.decode().strip()}")
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        process = subprocess.Popen(
            [*BWRAP, "--bind", root, "/mnt", "--dev", "/dev", "--proc", "/proc", "--uid", "1000",
             sys.executable, "-m", "limpet.daemon"],
            env={
                **os.environ, "DAEMON_TOKEN": TOKEN, "APP_ROOT": "/mnt/workspace",
                "DAEMON_LISTEN_FD": str(listener.fileno()),
            },
            pass_fds=[listener.fileno()], cwd="/", stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    http = urllib3.PoolManager(retries=False, timeout=30.0)
    daemon = DaemonProcess(workspace, {}, process, url, http)
    try:
        poll_until("the daemon's health", daemon.healthy, 30, 0.05)
        yield daemon
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()
        http.clear()


def test_a_restore_ends_all_in_the_namespace(boxed: DaemonProcess) -> None:
    repo = boxed.workspace / "repo"
    (repo / "state").write_text("old")
    tar = boxed.create()
    for command in (
        "(setsid setsid sh -c 'while :; do echo > left; sleep 0.01; done' &) ; sleep 1000",
        "while :; do echo > beat; sleep 0.01; done",
    ):
        boxed.post("/bash", {"command": command, "mode": "background"})
    terminal = boxed.post("/pty", {"command": "tty; sleep 1000"})
    assert terminal["pty"] is True
    poll_until("the writers", lambda: (repo / "left").exists() and (repo / "beat").exists())
    answer = boxed.restore(tar)
    assert answer.status == 200, answer.data
    assert os.listdir(repo) == ["state"]
    shown = boxed.post("/bash", {"command": "cat /proc/[0-9]*/comm"})["stdout"].split()
    assert not {"sh", "sleep"}.intersection(shown)
    assert os.listdir(repo) == ["state"]


def test_a_task_cannot_read_the_daemons_token(boxed: DaemonProcess) -> None:
    out = boxed.post("/bash", {"command": "cat /proc/2/environ /proc/2/mem /proc/2/maps"})
    assert TOKEN not in json.dumps(out)
    assert out["stderr"].count("ermission denied") >= 2
