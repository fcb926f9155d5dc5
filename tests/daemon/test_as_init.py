"""The daemon as process 1 of a sandbox: it reaps orphans, and ends in order whatever goes on."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import urllib3

from tests.daemon.setup.projects import configure, health
from tests.daemon.test_namespace import BWRAP
from tests.daemon_process import TOKEN, DaemonProcess
from tests.live import poll_until

BOOT = "the-boot"
NEVER = 1000


def start(root: Path, process: list[subprocess.Popen[bytes]]) -> DaemonProcess:
    workspace = root / "workspace"
    workspace.mkdir(parents=True, exist_ok=True)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        started = subprocess.Popen(
            [*BWRAP, "--as-pid-1", "--bind", root, "/mnt", "--dev", "/dev", "--proc", "/proc",
             "--tmpfs", "/tmp", sys.executable, "-m", "limpet.daemon"],
            env={
                **os.environ, "DAEMON_TOKEN": TOKEN, "APP_ROOT": "/mnt/workspace",
                "DAEMON_BOOT_ID": BOOT, "DAEMON_LISTEN_FD": str(listener.fileno()),
            },
            pass_fds=[listener.fileno()], cwd="/", stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    process.append(started)
    http = urllib3.PoolManager(retries=False, timeout=60.0)
    daemon = DaemonProcess(workspace, {}, started, url, http)
    poll_until("the daemon's health", daemon.healthy, 60, 0.05)
    return daemon


@pytest.fixture
def init(root: Path) -> Iterator[DaemonProcess]:
    if shutil.which("bwrap") is None:
        pytest.skip("no bubblewrap here")
    processes: list[subprocess.Popen[bytes]] = []
    try:
        yield start(root, processes)
    finally:
        for process in processes:
            process.kill()
            process.wait()
            if process.stdout:
                process.stdout.close()


def inside(daemon: DaemonProcess) -> int:
    """The daemon's own pid, as it is seen from here."""
    [pid] = children_of(daemon.process.pid)
    return pid


def children_of(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def zombies_of(pid: int) -> list[int]:
    found = []
    for child in children_of(pid):
        line = Path(f"/proc/{child}/stat").read_text()
        if line[line.rindex(")") + 2] == "Z":
            found.append(child)
    return found


def end(daemon: DaemonProcess) -> int:
    """SIGTERM, as a container's engine sends it, and the exit code."""
    os.kill(inside(daemon), signal.SIGTERM)
    return daemon.process.wait(60)


def test_it_is_process_one_and_reaps_what_is_left_to_it(init: DaemonProcess) -> None:
    # The command goes on until they have left its group, which ends with it.
    leave = "(setsid sh -c 'touch left-'$i'; sleep 0.1; echo gone > gone-'$i &)"
    all_left = "until [ -e left-1 ] && [ -e left-2 ] && [ -e left-3 ]; do :; done"
    command = f"cat /proc/1/cmdline; for i in 1 2 3; do {leave}; done; {all_left}"
    told = init.post("/bash", {"command": command})
    assert "limpet.daemon" in told["stdout"]
    repo = init.workspace / "repo"
    poll_until("the orphans to end", lambda: len(list(repo.glob("gone-*"))) == 3)
    poll_until("them to be reaped", lambda: not zombies_of(inside(init)))


def test_it_ends_in_order_whatever_its_tasks_and_clients_do(init: DaemonProcess) -> None:
    repo = init.workspace / "repo"
    for command in ("git init -q .", "git -c user.name=a -c user.email=a@b.c commit -q "
                    "--allow-empty -m first"):  # fmt: skip
        assert init.post("/bash", {"command": command})["exitCode"] == 0
    (repo / "unsaved").write_text("work")
    (repo / "large").write_bytes(os.urandom(12 << 20))
    init.post("/bash", {"command": f"trap '' TERM; while :; do sleep {NEVER}; done",
                        "mode": "background"})  # fmt: skip
    deaf = [
        unread(init, "GET", "/_sandbox/events"),
        unread(init, "POST", "/_sandbox/snapshot/create"),
    ]
    stream = init.http.request("GET", f"{init.url}/_sandbox/events", preload_content=False)
    os.kill(inside(init), signal.SIGTERM)
    assert b"event: bye" in stream.read()
    assert init.process.wait(60) == 0
    for client in deaf:
        client.close()
    ref = f"refs/limpet/rescue/{BOOT}:unsaved"
    saved = subprocess.run(["git", "show", ref], cwd=repo, capture_output=True, check=False)
    assert init.process.stdout is not None
    assert saved.stdout == b"work", (saved.stderr, init.process.stdout.read())


def unread(daemon: DaemonProcess, method: str, path: str) -> socket.socket:
    """A client that asks and never reads the answer."""
    client = socket.create_connection(("127.0.0.1", int(daemon.url.rsplit(":", 1)[1])))
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n"
    client.sendall(f"{head}Content-Length: 0\r\n\r\n".encode())
    return client


def cloning(daemon: DaemonProcess) -> None:
    silent = socket.create_server(("127.0.0.1", 0))
    configure(daemon, f"https://127.0.0.1:{silent.getsockname()[1]}/never.git")
    silent.accept()
    daemon.silent = silent  # type: ignore[attr-defined]


def installing(daemon: DaemonProcess) -> None:
    repo = daemon.workspace / "repo"
    manifest = {"name": "slow", "version": "1.0.0", "dependencies": {"dep": "file:./dep"},
                "scripts": {"preinstall": f"touch begun && sleep {NEVER}"}}  # fmt: skip
    (repo / "package.json").write_text(json.dumps(manifest))
    (repo / "dep").mkdir()
    (repo / "dep/package.json").write_text('{"name": "dep", "version": "1.0.0"}')
    configure(daemon, None)
    poll_until("the install to run", (repo / "begun").exists, 120)


def restoring(daemon: DaemonProcess) -> None:
    tar = daemon.create()
    client = socket.create_connection(("127.0.0.1", int(daemon.url.rsplit(":", 1)[1])))
    head = (
        f"POST /_sandbox/snapshot/restore HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n"
    )
    client.sendall(f"{head}Content-Length: {len(tar)}\r\n\r\n".encode() + tar[: len(tar) // 2])
    staging = daemon.workspace.parent / "staging"
    poll_until("the restore to begin", lambda: list(staging.iterdir()))
    daemon.client = client  # type: ignore[attr-defined]


@pytest.mark.parametrize("busy_with", [cloning, installing, restoring])
def test_it_ends_in_the_middle_of_work_and_goes_on_afterwards(
    root: Path, init: DaemonProcess, busy_with: Callable[[DaemonProcess], None]
) -> None:
    (init.workspace / "repo" / "kept").write_text("kept")
    busy_with(init)
    assert end(init) == 0
    processes: list[subprocess.Popen[bytes]] = []
    try:
        again = start(root, processes)
        assert again.post("/read", {"path": "kept", "raw": True})["content"] == "kept"
        if busy_with is installing:
            poll_until("the install to run again", lambda: health(again)["phase"] == "installing")
    finally:
        processes[0].kill()
        processes[0].wait()
        assert processes[0].stdout is not None
        processes[0].stdout.close()
