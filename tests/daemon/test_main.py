"""The daemon's process: what it refuses, how it listens, how it ends."""

import contextlib
import ctypes
import os
import platform
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import urllib3

from limpet.daemon.processes import process_table
from limpet.daemon.settings import DaemonSettings
from limpet.errors import InvalidInputError
from tests.daemon.test_shell import pids_in
from tests.daemon_process import TOKEN, DaemonProcess
from tests.live import poll_until


def run_to_end(**environ: str) -> "subprocess.CompletedProcess[str]":
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("DAEMON_", "APP_ROOT"))}
    return subprocess.run(
        [sys.executable, "-m", "limpet.daemon"],
        env={**kept, **environ},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    ("environ", "named"),
    [
        ({}, "token"),
        ({"DAEMON_TOKEN": ""}, "token"),
        ({"DAEMON_TOKEN": TOKEN, "APP_ROOT": ""}, "APP_ROOT"),
        ({"DAEMON_TOKEN": TOKEN, "APP_ROOT": "/"}, "APP_ROOT"),
        ({"DAEMON_TOKEN": TOKEN, "APP_ROOT": "relative"}, "APP_ROOT"),
        ({"DAEMON_TOKEN": TOKEN, "DAEMON_PORT": "70000"}, "DAEMON_PORT"),
        ({"DAEMON_TOKEN": TOKEN, "DAEMON_REQUIRE_TOKEN": "maybe"}, "DAEMON_REQUIRE_TOKEN"),
        ({"DAEMON_TOKEN_FD": "99"}, "DAEMON_TOKEN_FD"),
    ],
)
def test_settings_that_do_not_hold_are_named(
    tmp_path: Path, environ: dict[str, str], named: str
) -> None:
    done = run_to_end(**{"APP_ROOT": str(tmp_path / "workspace"), **environ})
    assert done.returncode == 2
    assert named in done.stderr
    assert "Traceback" not in done.stderr
    assert TOKEN not in done.stderr


def test_a_taken_port_is_named_and_nothing_is_touched(tmp_path: Path) -> None:
    with socket.socket() as thief:
        thief.bind(("127.0.0.1", 0))
        thief.listen()
        port = str(thief.getsockname()[1])
        done = run_to_end(
            DAEMON_TOKEN=TOKEN, APP_ROOT=str(tmp_path / "workspace"), DAEMON_HOST="127.0.0.1",
            PROXY_PORT=port,
        )  # fmt: skip
    assert done.returncode == 3
    assert port in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "workspace").exists()


def test_the_token_may_come_by_a_descriptor(root: Path) -> None:
    reading, writing = os.pipe()
    os.write(writing, b"another-token-of-some-length\n")
    os.close(writing)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        process = subprocess.Popen(
            [sys.executable, "-m", "limpet.daemon"],
            env={
                **os.environ, "APP_ROOT": str(root / "workspace"), "DAEMON_TOKEN_FD": str(reading),
                "DAEMON_LISTEN_FD": str(listener.fileno()),
            },
            pass_fds=[reading, listener.fileno()],
        )  # fmt: skip
        os.close(reading)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/_sandbox/tasks"
    try:
        answer = urllib3.request(
            "GET", url, headers={"Authorization": "Bearer another-token-of-some-length"},
            timeout=30, retries=False,
        )  # fmt: skip
        assert answer.status == 200
        seen = Path(f"/proc/{process.pid}/environ").read_bytes() if os.geteuid() == 0 else b""
        assert b"another-token" not in seen
    finally:
        process.terminate()
        assert process.wait(30) == 0


def test_a_unix_socket_serves_too(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    process = subprocess.Popen(
        [sys.executable, "-m", "limpet.daemon"],
        env={
            **os.environ, "DAEMON_TOKEN": TOKEN, "APP_ROOT": str(tmp_path / "root/workspace"),
            "DAEMON_HOST": f"unix:{path}",
        },
    )  # fmt: skip
    try:
        poll_until("the socket", lambda: _says_ok(path), 30)
    finally:
        process.terminate()
        process.wait(30)


def _says_ok(path: Path) -> bool:
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(5)
        connection.connect(str(path))
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        return connection.recv(100).startswith(b"HTTP/1.1 200")
    return False


def test_term_ends_every_process_and_the_daemon_with_0(daemon: DaemonProcess, repo: Path) -> None:
    for command in (
        "sleep 1000",
        "setsid sh -c 'sleep 1000; true' & sleep 1000",
        "trap '' TERM; while :; do sleep 1; done",
    ):
        daemon.post("/bash", {"command": command, "mode": "background"})
    daemon.post("/pty", {})
    stream = daemon.http.request("GET", f"{daemon.url}/_sandbox/events", preload_content=False)
    daemon.process.send_signal(signal.SIGTERM)
    assert b"event: bye" in stream.read()
    assert daemon.process.wait(30) == 0
    assert not pids_in(repo)


def test_term_ends_it_also_when_nobody_reads_what_it_says(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    process = subprocess.Popen(
        [sys.executable, "-m", "limpet.daemon"],
        env={
            **os.environ, "DAEMON_TOKEN": TOKEN, "APP_ROOT": str(tmp_path / "root/workspace"),
            "DAEMON_HOST": f"unix:{path}",
        },
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    assert process.stdout is not None
    process.stdout.close()
    try:
        poll_until("the socket", lambda: _says_ok(path), 30)
        process.terminate()
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()


def test_the_daemon_stays_out_of_the_workspace_and_keeps_no_secret(
    daemon: DaemonProcess, root: Path
) -> None:
    assert Path(f"/proc/{daemon.process.pid}/cwd").readlink() == Path("/")
    daemon.post("/bash", {"command": "echo hi"})
    for path in root.rglob("*"):
        if path.is_file():
            assert TOKEN.encode() not in path.read_bytes(), path


def test_a_daemon_that_was_killed_starts_again_on_its_folders(root: Path) -> None:
    workspace = root / "workspace"
    with DaemonProcess.running(workspace) as daemon:
        daemon.post("/write", {"path": "a", "content": "kept"})
    staging = root / "staging/new-half"
    staging.mkdir(parents=True)
    (staging / "x").touch()
    staging.chmod(0o500)
    with DaemonProcess.running(workspace) as daemon:
        assert daemon.post("/read", {"path": "a"})["content"] == "1\tkept"
        poll_until("staging to be clean", lambda: not list((root / "staging").iterdir()))


EPOLL_WAITS = {"x86_64": {"232", "281"}, "aarch64": {"22"}}
FUTEX = {"x86_64": "202", "aarch64": "98"}
SELDOM_MS = 4000


def test_a_quiet_daemon_uses_no_time(daemon: DaemonProcess) -> None:
    """It wakes for requests, and by itself every few seconds at most: nothing polls."""
    pid = daemon.process.pid
    try:
        Path(f"/proc/{pid}/syscall").read_text()
    except OSError as error:
        pytest.skip(f"what a thread waits for is not to be seen here: {error}")
    if platform.machine() not in FUTEX:
        pytest.skip("the numbers of this machine's system calls are not known")
    daemon.post("/bash", {"command": "true"})
    poll_until("it to settle", lambda: all(_rests(pid) for _ in range(100)))


def _rests(pid: int) -> bool:
    """Whether each thread waits for a lock without a time-out, or for what comes in, for long."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            call, *arguments = (task / "syscall").read_text().split()
        except (FileNotFoundError, ProcessLookupError):
            return False  # it just ended
        if call in EPOLL_WAITS[platform.machine()]:
            timeout_ms = ctypes.c_int(int(arguments[3], 16) & 0xFFFFFFFF).value
            if 0 <= timeout_ms < SELDOM_MS:
                return False
        elif call != FUTEX[platform.machine()] or int(arguments[3], 16):
            return False
    return True


def test_aliases_and_roots_of_the_environment(tmp_path: Path) -> None:
    env = {"DAEMON_TOKEN": "t", "WORKDIR": str(tmp_path / "root/workspace")}
    settings = DaemonSettings.from_environ(env)
    assert settings.port == 9000
    assert settings.sandbox_root == tmp_path / "root"
    assert settings.repo == tmp_path / "root/workspace/repo"
    assert "t" not in repr(settings).split("token")
    named = DaemonSettings.from_environ({**env, "SANDBOX_ROOT": str(tmp_path / "other")})
    assert named.state_dir == tmp_path / "other/state"
    with pytest.raises(InvalidInputError):
        DaemonSettings.from_environ({**env, "SANDBOX_ROOT": "relative"})


def test_nothing_of_ours_is_left_behind(root: Path) -> None:
    with DaemonProcess.running(root / "workspace") as daemon:
        pid = daemon.process.pid
    assert pid not in process_table()
