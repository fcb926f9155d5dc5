"""Things are killed, started twice, stopped while they start, and written to while restored."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.faults.conftest import Worker
from tests.live import QUIET_SAVER, LiveLimpet, poll_until

pytestmark = pytest.mark.fault


def test_two_starts_at_once_give_one_sandbox_and_one_restore(worker: Worker) -> None:
    worker.write("a.txt", "kept")
    worker.save()
    worker.live.kill_all()
    shutil.rmtree(worker.root)
    worker.live.start()

    def begin(_: int) -> dict[str, object]:
        answer: dict[str, object] = worker.live.api(
            "POST", "/vm/start", {"virtualMcpId": worker.agent}
        )
        return answer

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(begin, range(4)))
    assert {a["vmId"] for a in answers} == {worker.handle}
    assert sum(bool(a["isNewVm"]) for a in answers) <= 1
    assert worker.read("a.txt") == "kept"
    listening = [
        pid
        for pid in worker.live.sandbox_processes(worker.root)
        if b"limpet.daemon" in _cmdline(pid) and b"bwrap" not in _cmdline(pid)[:20]
    ]
    assert len(listening) == 1, listening


def _cmdline(pid: int) -> bytes:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""


def test_a_start_while_stopping_waits_and_loses_nothing(worker: Worker) -> None:
    for round_number in range(3):
        worker.write("a.txt", f"round {round_number}")
        with ThreadPoolExecutor(2) as pool:
            stopping = pool.submit(worker.live.cli, "stop", worker.agent)
            starting = pool.submit(worker.start)
            stopping.result()
            starting.result()
        worker.start()
        assert worker.read("a.txt") == f"round {round_number}"
        assert worker.box()["state"] == "running"


def test_a_workspace_newer_than_its_snapshot_is_kept(worker: Worker) -> None:
    worker.write("a.txt", "saved")
    worker.save()
    worker.write("a.txt", "newer than the snapshot")
    worker.live.kill_all()
    worker.live.start()
    worker.start()
    assert worker.read("a.txt") == "newer than the snapshot"
    assert worker.box()["restore"]["outcome"] == "kept"
    assert worker.save()["receipt"]["complete"]


def test_a_workspace_behind_the_head_with_unsaved_work_loses_neither(
    worker: Worker, tmp_path: Path
) -> None:
    live = worker.live
    worker.write("a.txt", "one")
    worker.save()
    live.kill_all()
    shutil.copytree(worker.root, tmp_path / "old-root", symlinks=True)
    live.start()
    worker.start()
    worker.write("a.txt", "two, on another machine")
    worker.save()
    live.kill_all()
    shutil.rmtree(worker.root)
    shutil.copytree(tmp_path / "old-root", worker.root, symlinks=True)
    (worker.workspace / "repo" / "b.txt").write_text("unsaved, on this machine")
    live.start()
    worker.start()
    assert worker.read("a.txt") == "two, on another machine"
    assert not worker.has("b.txt")
    [side, *_] = worker.box()["side_snapshots"]
    live.cli("snapshots", "restore", worker.agent, side["id"], "--yes")
    assert worker.read("b.txt") == "unsaved, on this machine"
    assert worker.read("a.txt") == "one"


@pytest.mark.parametrize("after_s", [0.05, 0.3, 0.8, 1.5])
def test_a_control_plane_killed_in_the_middle_of_a_save_leaves_the_old_head(
    worker: Worker, after_s: float
) -> None:
    live = worker.live
    worker.write("a.txt", "first")
    first = worker.save()
    live.cli("exec", worker.agent, "--", "sh", "-c", "head -c 400000000 /dev/zero > big.bin")
    saving = subprocess.Popen(
        [sys.executable, "-m", "limpet.cli", "snapshots", "save", worker.agent],
        env=live.full_environ(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    poll_until("the save to begin", lambda: worker.box()["saving"] or saving.poll() is not None)
    threading.Event().wait(after_s)
    live.kill_server()
    saving.wait()
    live.start()
    heads = [s for s in worker.snapshots() if s["is_head"]]
    assert heads
    assert heads[0]["id"] == first["id"] or heads[0]["receipt"]["complete"]
    assert worker.save()["receipt"]["complete"]
    worker.start()
    assert worker.read("a.txt") == "first"


def test_a_daemon_killed_in_the_middle_of_a_save_leaves_the_old_head(worker: Worker) -> None:
    live = worker.live
    worker.write("a.txt", "first")
    first = worker.save()
    live.cli("exec", worker.agent, "--", "sh", "-c", "head -c 400000000 /dev/zero > big.bin")
    with ThreadPoolExecutor(1) as pool:
        saving = pool.submit(
            subprocess.run,
            [sys.executable, "-m", "limpet.cli", "snapshots", "save", worker.agent],
            env=live.full_environ(), check=False, capture_output=True,
        )  # fmt: skip
        poll_until("the save to begin", lambda: worker.box()["saving"] or saving.done())
        for pid in live.sandbox_processes(worker.root):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        done = saving.result()
    if done.returncode != 0:
        assert [s["id"] for s in worker.snapshots()] == [first["id"]]
    worker.start()
    assert worker.read("a.txt") == "first"
    assert worker.save()["receipt"]["complete"]


def test_a_shell_that_writes_every_10_ms_cannot_mix_two_states(worker: Worker) -> None:
    live = worker.live
    worker.write("state.txt", "old")
    old = worker.save()
    worker.write("state.txt", "new")
    live.cli(
        "exec", "--background", worker.agent, "--", "sh", "-c",
        "while :; do date > beat.txt; date >> ../noise.txt; sleep 0.01; done",
    )  # fmt: skip
    live.cli(
        "exec", "--background", worker.agent, "--", "sh", "-c",
        "setsid sh -c 'while :; do echo escaped > escaped.txt; sleep 0.01; done' & sleep 1000",
    )  # fmt: skip
    poll_until("the shells to write", lambda: worker.has("beat.txt") and worker.has("escaped.txt"))
    for _ in range(3):
        live.cli("snapshots", "restore", worker.agent, old["id"], "--yes")
        assert worker.read("state.txt") == "old"
        assert not worker.has("beat.txt")
        assert not worker.has("escaped.txt")
        assert not (worker.workspace / "noise.txt").exists()
    assert worker.save()["receipt"]["complete"]


def test_a_thief_on_the_apps_port_is_named_or_passed_by(tmp_path: Path) -> None:
    with socket.socket() as thief:
        thief.bind(("127.0.0.1", 0))
        thief.listen()
        port = thief.getsockname()[1]
        with LiveLimpet.temporary({**QUIET_SAVER, "LIMPET_PORT": str(port)}) as live:
            assert not live.url.endswith(f":{port}")
            assert str(port) in live.output(), "the taken port is not spoken of"
        refused = subprocess.run(
            [sys.executable, "-m", "limpet.cli", "serve", "--port", str(port)],
            env={**os.environ, "LIMPET_DATA_DIR": str(tmp_path / "data")},
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert refused.returncode != 0
        assert str(port) in refused.stdout + refused.stderr
        assert "Traceback" not in refused.stdout + refused.stderr


def test_a_thief_on_the_daemons_port_gives_a_clear_error(tmp_path: Path) -> None:
    with socket.socket() as thief:
        thief.bind(("127.0.0.1", 0))
        thief.listen()
        port = thief.getsockname()[1]
        done = subprocess.run(
            [sys.executable, "-m", "limpet.daemon"],
            env={
                **os.environ, "DAEMON_TOKEN": "t" * 32, "DAEMON_PORT": str(port),
                "APP_ROOT": str(tmp_path / "workspace"), "DAEMON_HOST": "127.0.0.1",
            },
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode != 0
        assert str(port) in done.stderr
        assert "Traceback" not in done.stderr


def test_a_second_server_on_the_same_data_is_told_who_has_it(live: LiveLimpet) -> None:
    assert live.process is not None
    done = subprocess.run(
        [sys.executable, "-m", "limpet.cli", "serve"],
        env=live.full_environ(), capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode != 0
    assert str(live.process.pid) in done.stdout + done.stderr
    assert live.api("GET", "/agents") is not None
