"""Save and restore through the daemon: whole, one at a time, and nothing changed by a failure."""

import io
import json
import os
import shutil
import socket
import tarfile
import threading
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from blake3 import blake3

from limpet.snapshots.kernel import boot_id
from tests.daemon.test_shell import pids_in
from tests.daemon.test_terminals import end_of, open_terminal
from tests.daemon_process import TOKEN, DaemonProcess
from tests.live import differences, poll_until, walk

pytestmark = pytest.mark.anyio
TAR = {"Content-Type": "application/x-tar"}


def origin(daemon: DaemonProcess) -> dict[str, Any]:
    found: dict[str, Any] = daemon.request("GET", "/snapshot/origin").json()
    return found


def fill(workspace: Path) -> None:
    repo = workspace / "repo"
    (repo / "src").mkdir()
    (repo / "src/a.ts").write_text("a")
    (repo / "run.sh").write_text("#!/bin/sh\n")
    (repo / "run.sh").chmod(0o755)
    (repo / "link").symlink_to("src/a.ts")
    os.link(repo / "run.sh", repo / "twin.sh")
    (repo / "empty").mkdir()
    (workspace / "home/.bash_history").write_text("ls\n")
    (workspace / "beside").write_text("beside the repo\n")
    (workspace / "tmp/scratch").write_text("not saved")
    os.utime(repo / "src/a.ts", ns=(1, 1_600_000_000_123_456_789))


def test_a_workspace_comes_home(daemon: DaemonProcess, root: Path) -> None:
    workspace = root / "workspace"
    fill(workspace)
    before = walk(workspace)
    tar = daemon.create()
    daemon.post("/bash", {"command": "rm -rf src run.sh ../beside; echo new > new.txt"})
    answer = daemon.request("POST", "/snapshot/restore", tar, **TAR)
    assert answer.status == 200, answer.data
    done = answer.json()
    assert done["ok"] is True
    assert done["files"] == 4
    assert done["receipt"]["complete"] is True
    after = walk(workspace)
    assert not [d for d in differences(before, after) if "tmp" not in str(d)]
    assert list((workspace / "tmp").iterdir()) == []
    poll_until("the old tree to be deleted", lambda: not list((root / "staging").iterdir()))
    assert daemon.post("/bash", {"command": "pwd; cat link"})["stdout"] == f"{workspace}/repo\na"


def test_a_save_is_a_tar_that_any_tool_reads(daemon: DaemonProcess, root: Path) -> None:
    fill(root / "workspace")
    answer = daemon.request("GET", "/snapshot/create")
    assert answer.headers["content-type"] == "application/x-tar"
    assert answer.headers["transfer-encoding"] == "chunked"
    with tarfile.open(fileobj=io.BytesIO(answer.data)) as tar:
        names = {member.name for member in tar.getmembers()}
    assert {"repo/src/a.ts", "home/.bash_history", "beside"} <= names
    assert not any(name.startswith("tmp") for name in names)


def test_nothing_at_all_is_204_until_there_was_a_snapshot(daemon: DaemonProcess) -> None:
    answer = daemon.request("POST", "/snapshot/create")
    assert (answer.status, answer.data) == (204, b"")
    daemon.post("/write", {"path": "a", "content": ""})
    seq = int(daemon.request("POST", "/snapshot/create").headers["x-limpet-activity-seq"])
    health = daemon.http.request("GET", f"{daemon.url}/health").json()
    daemon.post(
        "/snapshot/committed",
        {"snapshot": "s1", "generation": 1, "activitySeq": seq, "bootId": health["bootId"]},
    )
    daemon.post("/unlink", {"path": "a"})
    answer = daemon.request("POST", "/snapshot/create")
    assert answer.status == 200
    assert daemon.restore(answer.data).status == 200


def test_a_workspace_that_is_gone_is_404(daemon: DaemonProcess, root: Path) -> None:
    (root / "workspace").rename(root / "elsewhere")
    assert daemon.request("POST", "/snapshot/create").status == 404


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"", {}, 400),
        (b"garbage", {}, 400),
        (b"x" * 5000, {}, 400),
        ("whole", {"X-Limpet-Blake3": "0" * 64}, 422),
        ("whole", {"X-Limpet-Blake3": "short"}, 400),
        ("whole", {"X-Limpet-Size": "17"}, 422),
        ("whole", {"X-Limpet-Size": "x"}, 400),
        ("cut", {}, 422),
        ("flipped", {}, 422),
        ("outside", {}, 400),
        ("absolute", {}, 400),
        ("device", {}, 400),
    ],
)
def test_a_tar_that_is_not_sound_changes_nothing(
    daemon: DaemonProcess, root: Path, body: bytes | str, headers: dict[str, str], status: int
) -> None:
    fill(root / "workspace")
    tar = daemon.create()
    if isinstance(body, str):
        made = {"whole": tar, "cut": tar[: len(tar) // 2 // 512 * 512], "flipped": _flipped(tar)}
        body = made.get(body) or _hostile(body)
    started = daemon.post("/bash", {"command": "sleep 1000", "mode": "background"})
    before = walk(root)
    answer = daemon.request("POST", "/snapshot/restore", body, **TAR, **headers)
    assert answer.status == status, answer.data
    assert answer.json()["error"]
    task = daemon.request("GET", f"/tasks/{started['taskId']}").json()
    assert task["status"] == "running", "nothing was stopped"
    poll_until("staging to be empty", lambda: not list((root / "staging").iterdir()))
    assert not [d for d in differences(before, walk(root)) if "staging" not in str(d)]
    assert daemon.restore(tar).status == 200


def _flipped(tar: bytes) -> bytes:
    index = tar.index(b"beside the repo")
    return tar[:index] + b"B" + tar[index + 1 :]


def _hostile(kind: str) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        member = tarfile.TarInfo({"outside": "../evil", "absolute": "/tmp/evil"}.get(kind, "dev"))
        if kind == "device":
            member.type = tarfile.CHRTYPE
        tar.addfile(member, io.BytesIO())
    return buffer.getvalue()


def test_a_tar_of_others_is_taken_when_it_is_whole(daemon: DaemonProcess, repo: Path) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        member = tarfile.TarInfo("repo/from-elsewhere")
        member.size = 3
        tar.addfile(member, io.BytesIO(b"abc"))
    data = buffer.getvalue()
    answer = daemon.request(
        "POST", "/snapshot/restore", data, **TAR,
        **{"X-Limpet-Blake3": blake3(data).hexdigest(), "X-Limpet-Size": str(len(data))},
    )  # fmt: skip
    assert answer.status == 200, answer.data
    assert (repo / "from-elsewhere").read_bytes() == b"abc"


def _connect(daemon: DaemonProcess, head: str) -> socket.socket:
    host, port = daemon.url.removeprefix("http://").split(":")
    connection = socket.create_connection((host, int(port)), timeout=30)
    connection.sendall(f"{head} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n".encode())
    return connection


def test_one_at_a_time(daemon: DaemonProcess, root: Path) -> None:
    fill(root / "workspace")
    tar = daemon.create()
    with _connect(daemon, "POST /_sandbox/snapshot/restore") as slow:
        slow.sendall(f"Content-Length: {len(tar)}\r\n\r\n".encode() + tar[:1024])
        poll_until("the restore to begin", lambda: _staging(root))
        assert daemon.request("POST", "/snapshot/create").status == 409
        answer = daemon.restore(tar)
        assert answer.status == 409
        assert "restore" in answer.json()["error"]
        slow.sendall(tar[1024:])
        assert b" 200 " in slow.recv(4096)
    assert daemon.request("POST", "/snapshot/create").status == 200


def _staging(root: Path) -> list[Path]:
    return list((root / "staging").iterdir())


def test_a_body_that_breaks_off_changes_nothing(daemon: DaemonProcess, root: Path) -> None:
    fill(root / "workspace")
    tar = daemon.create()
    before = walk(root / "workspace")
    with _connect(daemon, "POST /_sandbox/snapshot/restore") as broken:
        broken.sendall(f"Content-Length: {len(tar)}\r\n\r\n".encode() + tar[:-1024])
        poll_until("the restore to begin", lambda: _staging(root))
    poll_until("staging to be empty", lambda: not _staging(root))
    assert not differences(before, walk(root / "workspace"))
    poll_until("the turn to be free", lambda: daemon.restore(tar).status == 200)


def test_a_save_whose_client_leaves_gives_its_turn_back(daemon: DaemonProcess, repo: Path) -> None:
    (repo / "large").write_bytes(os.urandom(1 << 20) * 64)
    with _connect(daemon, "POST /_sandbox/snapshot/create") as leaving:
        leaving.sendall(b"Content-Length: 0\r\n\r\n")
        assert leaving.recv(1024).startswith(b"HTTP/1.1 200")
        assert daemon.request("POST", "/snapshot/create").status == 409
    poll_until(
        "the turn to be free", lambda: daemon.request("HEAD", "/snapshot/origin").status == 200
    )

    def free() -> bool:
        answer = daemon.request("POST", "/snapshot/create")
        return answer.status == 200

    poll_until("the turn to be free", free)


def test_a_save_that_fails_in_the_middle_has_no_clean_end(
    daemon: DaemonProcess, root: Path
) -> None:
    """The workspace folder itself is taken away while it is read."""
    for n in range(300):
        folder = root / "workspace/repo" / f"d{n:03}"
        folder.mkdir()
        (folder / "data").write_bytes(os.urandom(1 << 16))
    with _connect(daemon, "POST /_sandbox/snapshot/create") as reader:
        reader.sendall(b"Content-Length: 0\r\n\r\n")
        data = reader.recv(1024)
        os.kill(daemon.process.pid, 9)
        while chunk := reader.recv(1 << 20):
            data += chunk
    assert not data.endswith(b"0\r\n\r\n")


def test_memory_is_flat_and_the_daemon_answers_while_a_save_waits(
    daemon: DaemonProcess, repo: Path
) -> None:
    (repo / "large").write_bytes(os.urandom(1 << 20) * 400)

    def resident_mb() -> int:
        status = Path(f"/proc/{daemon.process.pid}/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) // 1024

    before = resident_mb()
    size = 0
    answer = daemon.http.request(
        "POST",
        f"{daemon.url}/_sandbox/snapshot/create",
        headers={"Authorization": f"Bearer {TOKEN}"},
        preload_content=False,
    )
    for number, chunk in enumerate(answer.stream(1 << 20)):
        size += len(chunk)
        if number == 3:
            assert daemon.healthy()
    assert size > 400 << 20
    assert resident_mb() - before < 40


def test_a_shell_that_writes_all_the_time_cannot_mix_two_states(
    daemon: DaemonProcess, repo: Path
) -> None:
    (repo / "state").write_text("old")
    tar = daemon.create()
    (repo / "state").write_text("new")
    for command in (
        "while :; do date > beat; date > ../noise; sleep 0.01; done",
        "setsid sh -c 'while :; do date > escaped; sleep 0.01; done' & sleep 1000",
        "f() { while :; do (date > forked; sleep 0.01) & sleep 0.005; done; }; f",
        "trap '' TERM HUP INT; while :; do date > deaf; sleep 0.01; done",
        "(setsid setsid sh -c 'while :; do echo > \"$HOME/x\"; sleep 0.01; done' &) ; sleep 1000",
    ):
        daemon.post("/bash", {"command": command, "mode": "background"})
    for name in ("beat", "escaped", "forked", "deaf", "../home/x"):
        poll_until(name, (repo / name).exists)
    for _ in range(3):
        assert daemon.restore(tar).status == 200
        assert sorted(os.listdir(repo)) == ["state"]
        assert (repo / "state").read_text() == "old"
        assert sorted(os.listdir(repo.parent)) == ["home", "repo", "tmp"]
        assert os.listdir(repo.parent / "home") == []
        assert not pids_in(repo)
        threading.Event().wait(0.1)  # ten times as long as any of them sleeps
        assert sorted(os.listdir(repo)) == ["state"]
        assert os.listdir(repo.parent / "home") == []


async def test_terminals_are_told_why_they_end(
    http: aiohttp.ClientSession, daemon: DaemonProcess, repo: Path
) -> None:
    (repo / "a").touch()
    tar = daemon.create()
    id_ = await open_terminal(http)
    async with http.ws_connect(f"/_sandbox/pty/{id_}") as ws:
        async with http.post("/_sandbox/snapshot/restore", data=tar) as answer:
            assert answer.status == 200
        end = await end_of(ws)
    assert end["reason"] == "the workspace is being restored"
    assert end["status"] == "killed"


async def test_saves_and_restores_are_told_and_are_no_work(
    http: aiohttp.ClientSession, daemon: DaemonProcess, repo: Path
) -> None:
    daemon.post("/write", {"path": "a", "content": "a"})
    poll_until("the watcher", lambda: daemon.request("GET", "/idle").json()["activitySeq"] >= 2)
    before = daemon.request("GET", "/idle").json()["activitySeq"]
    async with http.get("/_sandbox/events") as stream:
        tar = daemon.create()
        assert daemon.restore(tar).status == 200
        seen = b""
        while seen.count(b'"phase":"done"') < 2:
            seen += await stream.content.readany()
    phases = [
        (data["operation"], data["phase"])
        for line in seen.decode().splitlines()
        if line.startswith("data: ") and "phase" in (data := json.loads(line[6:]))
        if "operation" in data
    ]
    assert phases[0] == ("save", "started")
    assert ("restore", "swapping") in phases
    assert daemon.request("GET", "/idle").json()["activitySeq"] == before


def test_unsaved_work_is_told_and_outlives_a_restart(root: Path) -> None:
    workspace = root / "workspace"
    with DaemonProcess.running(workspace) as daemon:
        assert origin(daemon) == {
            "snapshot": None, "generation": None, "unsaved": False, "empty": True,
            "detached": False, "pinned": None,
        }  # fmt: skip
        daemon.post("/write", {"path": "a", "content": "a"})
        assert origin(daemon)["unsaved"] is True
        poll_until("the watcher", lambda: daemon.request("GET", "/idle").json()["activitySeq"] >= 2)
        saved = daemon.request("POST", "/snapshot/create")
        told = {
            "snapshot": "s1", "generation": 3,
            "activitySeq": int(saved.headers["x-limpet-activity-seq"]),
            "bootId": saved.headers["x-limpet-boot-id"],
        }  # fmt: skip
        assert daemon.post("/snapshot/committed", told)["unsaved"] is False
    with DaemonProcess.running(workspace) as daemon:
        found = origin(daemon)
        assert (found["snapshot"], found["generation"]) == ("s1", 3)
        assert (found["unsaved"], found["empty"]) == (False, False)
    (workspace / "repo/b").touch()
    with DaemonProcess.running(workspace) as daemon:
        assert origin(daemon)["unsaved"] is True
        answer = daemon.request(
            "POST", "/snapshot/restore", saved.data,
            **{"X-Limpet-Snapshot": "s1", "X-Limpet-Generation": "3"},
        )  # fmt: skip
        assert answer.status == 200
        assert origin(daemon)["unsaved"] is False
    with DaemonProcess.running(workspace) as daemon:
        assert origin(daemon)["unsaved"] is False
        (workspace / "repo/a").write_text("same size")
    with DaemonProcess.running(workspace) as daemon:
        assert origin(daemon)["unsaved"] is True


def test_work_done_while_a_save_streams_stays_unsaved(daemon: DaemonProcess) -> None:
    daemon.post("/write", {"path": "a", "content": "a"})
    saved = daemon.request("POST", "/snapshot/create")
    daemon.post("/write", {"path": "b", "content": "b"})
    told = {
        "snapshot": "s1", "generation": 1,
        "activitySeq": int(saved.headers["x-limpet-activity-seq"]),
        "bootId": saved.headers["x-limpet-boot-id"],
    }  # fmt: skip
    assert daemon.post("/snapshot/committed", told)["unsaved"] is True


def test_a_daemon_that_died_between_a_save_and_its_commit_still_knows_when_it_was(
    root: Path,
) -> None:
    workspace = root / "workspace"
    with DaemonProcess.running(workspace) as daemon:
        (workspace / "repo/a").write_text("a")
        saved = daemon.request("POST", "/snapshot/create")
    told = {
        "snapshot": "s1", "generation": 1,
        "activitySeq": int(saved.headers["x-limpet-activity-seq"]),
        "bootId": saved.headers["x-limpet-boot-id"],
    }  # fmt: skip
    with DaemonProcess.running(workspace) as daemon:
        assert daemon.post("/snapshot/committed", told)["unsaved"] is False
        assert daemon.post("/snapshot/committed", told | {"bootId": "other"})["unsaved"] is True


def test_detaching_is_kept_until_a_restore(root: Path) -> None:
    workspace = root / "workspace"
    with DaemonProcess.running(workspace) as daemon:
        daemon.post("/write", {"path": "a", "content": ""})
        daemon.post("/snapshot/detach", {"detached": True, "pinned": "s9"})
    with DaemonProcess.running(workspace) as daemon:
        assert origin(daemon)["detached"] is True
        assert origin(daemon)["pinned"] == "s9"
        assert daemon.restore(daemon.create()).status == 200
        assert origin(daemon)["detached"] is False


def test_a_save_is_no_work(daemon: DaemonProcess) -> None:
    """One that counted would be followed by another, and so on for ever."""
    daemon.post("/write", {"path": "a", "content": "a"})
    poll_until("the write to be seen", lambda: idle(daemon)["idleMs"] > 400)
    before = idle(daemon)
    for accept in ("application/x-tar", "application/vnd.limpet.snapshot.v1"):
        answer = daemon.request("POST", "/snapshot/create", Accept=accept)
        assert answer.status == 200
        assert answer.headers["X-Limpet-Activity-Seq"] == str(before["activitySeq"])
    poll_until("what changed to be told", lambda: idle(daemon)["idleMs"] > 1000)
    assert idle(daemon)["activitySeq"] == before["activitySeq"]


def idle(daemon: DaemonProcess) -> dict[str, Any]:
    found: dict[str, Any] = daemon.request("GET", "/idle").json()
    return found


def test_an_empty_workspace_is_restored_before_the_disk_has_it_and_empty_after_a_power_cut(
    root: Path,
) -> None:
    workspace, state = root / "workspace", root / "state"
    with DaemonProcess.running(workspace) as daemon:
        daemon.post("/write", {"path": "a", "content": "a"})
        tar = daemon.create()
    shutil.rmtree(workspace)
    with DaemonProcess.running(workspace) as daemon:
        answer = daemon.request(
            "POST", "/snapshot/restore", tar,
            **TAR, **{"X-Limpet-Snapshot": "s1", "X-Limpet-Generation": "3"},
        )  # fmt: skip
        assert answer.status == 200
        assert (workspace / "repo/a").read_text() == "a"
        poll_until("the disk", lambda: not list(state.glob("unsynced-*")))
    (state / "unsynced-0").write_bytes(boot_id() or b"")
    with DaemonProcess.running(workspace) as daemon:
        assert origin(daemon)["snapshot"] == "s1"
        poll_until("the disk", lambda: not list(state.glob("unsynced-*")))
    (state / "unsynced-0").write_text("another run of the machine")
    with DaemonProcess.running(workspace) as daemon:
        found = origin(daemon)
        assert (found["snapshot"], found["empty"], found["unsaved"]) == (None, True, False)
        assert not list(state.glob("unsynced-*"))
        poll_until("what was torn to go", lambda: not list((root / "staging").iterdir()))
        assert daemon.restore(tar).status == 200
    assert (workspace / "repo/a").read_text() == "a"


def test_a_disk_that_does_not_take_what_was_restored_is_told(root: Path) -> None:
    workspace, state = root / "workspace", root / "state"
    with DaemonProcess.running(workspace) as daemon:
        daemon.post("/write", {"path": "a", "content": "a"})
        tar = daemon.create()
    shutil.rmtree(workspace)
    with DaemonProcess.running(workspace, LIMPET_FAULT="late-synced:fail") as daemon:
        assert daemon.restore(tar).status == 200
        poll_until(
            "it to be told",
            lambda: b"is not on the disk" in daemon.request("GET", "/logs").data,
        )
        assert len(list(state.glob("unsynced-*"))) == 1
        saved = daemon.request("POST", "/snapshot/create")
        told = {
            "snapshot": "s1",
            "activitySeq": int(saved.headers["x-limpet-activity-seq"]),
            "bootId": saved.headers["x-limpet-boot-id"],
        }
        daemon.post("/snapshot/committed", told)
        poll_until("the disk", lambda: not list(state.glob("unsynced-*")))
