"""`/bash`, and tasks: outcomes, time-outs, groups that end whole, output that is capped."""

import asyncio
import json
import signal
from pathlib import Path

import aiohttp
import pytest

from limpet.daemon.processes import process_table
from tests.daemon_process import DaemonProcess
from tests.live import poll_until

pytestmark = pytest.mark.anyio


def pids_in(folder: Path) -> list[int]:
    """Processes whose working folder is `folder`."""
    found = []
    for pid in process_table():
        try:
            if Path(f"/proc/{pid}/cwd").readlink() == folder:
                found.append(pid)
        except OSError:
            continue
    return found


def test_an_awaited_command_tells_all(daemon: DaemonProcess, repo: Path) -> None:
    done = daemon.post(
        "/bash", {"command": "pwd; echo oops >&2; echo $A; exit 3", "env": {"A": "b"}}
    )
    assert done["stdout"] == f"{repo}\nb\n"
    assert done["stderr"] == "oops\n"
    assert (done["exitCode"], done["timedOut"], done["truncated"]) == (3, False, False)
    assert done["taskId"]


def test_under_nohup_programs_still_hear_a_hang_up_and_the_daemon_does_not(root: Path) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with DaemonProcess.running(root / "workspace") as daemon:
            done = daemon.post("/bash", {"command": "kill -HUP $$; echo it was ignored"})
            daemon.process.send_signal(signal.SIGHUP)
            assert daemon.post("/bash", {"command": "echo here"})["stdout"] == "here\n"
    finally:
        signal.signal(signal.SIGHUP, before)
    assert (done["stdout"], done["exitCode"]) == ("", 128 + signal.SIGHUP)


def test_a_daemon_whose_terminal_goes_ends_as_when_it_is_told_to(daemon: DaemonProcess) -> None:
    daemon.process.send_signal(signal.SIGHUP)
    assert daemon.process.wait(30) == 0


def test_the_environment_has_home_and_path_and_no_secret(daemon: DaemonProcess, repo: Path) -> None:
    out = daemon.post("/bash", {"command": "env"})["stdout"]
    assert f"HOME={repo.parent / 'home'}\n" in out
    assert "PATH=" in out
    assert "test-token" not in out
    assert "DAEMON_" not in out


def test_a_command_past_its_time_is_killed_with_its_group(
    daemon: DaemonProcess, repo: Path
) -> None:
    done = daemon.post("/bash", {"command": "sleep 1000 & sleep 1000", "timeout": 300})
    assert (done["exitCode"], done["status"], done["timedOut"]) == (-1, "timeout", True)
    poll_until("the group to be gone", lambda: not pids_in(repo), 10)


def test_what_a_command_leaves_in_its_group_dies_with_it(daemon: DaemonProcess, repo: Path) -> None:
    done = daemon.post("/bash", {"command": "sleep 1000 & echo started"})
    assert done["stdout"] == "started\n"
    poll_until("the group to be gone", lambda: not pids_in(repo), 10)


def test_much_output_keeps_its_end(daemon: DaemonProcess) -> None:
    done = daemon.post("/bash", {"command": "seq 1 200000"})
    assert done["truncated"] is True
    assert len(done["stdout"]) <= 256 * 1024
    assert done["stdout"].endswith("\n199999\n200000\n")


def test_characters_are_never_cut(daemon: DaemonProcess) -> None:
    done = daemon.post("/bash", {"command": "printf '\\xc3'; sleep 0.05; printf '\\xa9'"})
    assert done["stdout"] == "é"


@pytest.mark.parametrize(
    "body",
    [
        {"command": ""}, {"command": "true", "cwd": "missing"}, {"command": "true", "timeout": 0},
        {"command": "true", "mode": "other"}, {"command": "true", "env": {"A=B": "c"}}, {},
    ],
)  # fmt: skip
def test_senseless_commands_are_400(daemon: DaemonProcess, body: dict[str, object]) -> None:
    assert daemon.post("/bash", body, 400)["error"]


def test_a_signal_is_128_and_its_number(daemon: DaemonProcess) -> None:
    done = daemon.post("/bash", {"command": "kill -TERM $$"})
    assert (done["exitCode"], done["status"]) == (128 + signal.SIGTERM, "killed")


def test_a_background_command_is_a_task_that_can_be_killed_and_forgotten(
    daemon: DaemonProcess,
) -> None:
    started = daemon.post("/bash", {"command": "echo on; sleep 1000", "mode": "background"})
    id_ = started["taskId"]
    assert started["status"] == "running"
    poll_until(
        "its output", lambda: daemon.request("GET", f"/tasks/{id_}").json()["stdout"] == "on\n"
    )
    assert [t["id"] for t in daemon.request("GET", "/tasks?status=running").json()["tasks"]] == [
        id_
    ]
    assert daemon.request("DELETE", f"/tasks/{id_}").status == 400
    assert daemon.post(f"/tasks/{id_}/kill", {}) == {"ok": True}
    task = daemon.request("GET", f"/tasks/{id_}").json()
    assert (task["status"], task["intentional"]) == ("killed", True)
    daemon.post(f"/tasks/{id_}/kill", {}, 400)
    assert daemon.request("DELETE", f"/tasks/{id_}").json() == {"ok": True}
    assert daemon.request("GET", f"/tasks/{id_}").status == 404


def test_a_task_that_ignores_term_is_killed(daemon: DaemonProcess, repo: Path) -> None:
    command = "trap '' TERM; echo ready; while :; do sleep 0.1; done"
    id_ = daemon.post("/bash", {"command": command, "mode": "background"})["taskId"]
    poll_until("it", lambda: "ready" in daemon.request("GET", f"/tasks/{id_}").json()["stdout"])
    assert daemon.post("/tasks/kill-all", {}) == {"ok": True, "killed": 1}
    assert daemon.request("GET", f"/tasks/{id_}").json()["exitCode"] == 137
    poll_until("the group to be gone", lambda: not pids_in(repo), 10)


async def test_a_stream_replays_follows_and_ends(
    daemon: DaemonProcess, http: aiohttp.ClientSession, repo: Path
) -> None:
    command = "echo first; until test -e go; do sleep 0.02; done; echo second >&2; exit 4"
    async with http.post(
        "/_sandbox/bash", json={"command": command, "mode": "background"}
    ) as answer:
        id_ = (await answer.json())["taskId"]
    frames: list[tuple[str, object]] = []
    async with http.get(f"/_sandbox/tasks/{id_}/stream") as stream:
        event = ""
        async for line in stream.content:
            text = line.decode().rstrip("\n")
            if text.startswith("event: "):
                event = text[7:]
            elif text.startswith("data: "):
                frames.append((event, json.loads(text[6:])))
                if event == "stdout":
                    (repo / "go").touch()
    assert frames == [
        ("stdout", {"data": "first\n"}),
        ("stderr", {"data": "second\n"}),
        ("end", {"status": "exited", "exitCode": 4, "timedOut": False}),
    ]


async def test_several_read_a_tasks_log_and_who_comes_late_gets_all_of_it(
    http: aiohttp.ClientSession, repo: Path
) -> None:
    command = "for n in 1 2 3; do echo line $n; until test -e go$n; do sleep 0.02; done; done"
    async with http.post(
        "/_sandbox/bash", json={"command": command, "mode": "background"}
    ) as answer:
        path = f"/_sandbox/tasks/{(await answer.json())['taskId']}/stream"

    async def read_until(stream: aiohttp.ClientResponse, wanted: str) -> str:
        seen = ""
        async with asyncio.timeout(30):
            while wanted not in seen:
                seen += (await stream.content.readline()).decode()
        return seen

    async with http.get(path) as one, http.get(path) as two:
        for reader in (one, two):
            await read_until(reader, "line 1")
        (repo / "go1").touch()
        for reader in (one, two):
            await read_until(reader, "line 2")
        async with http.get(path) as late:
            assert "line 1" in await read_until(late, "line 2")
            (repo / "go2").touch()
            for reader in (one, two, late):
                await read_until(reader, "line 3")
            (repo / "go3").touch()
            for reader in (one, two, late):
                await read_until(reader, "event: end")
    async with http.get(path) as after:
        everything = await read_until(after, "event: end")
        assert all(f"line {n}" in everything for n in (1, 2, 3))


def test_a_background_command_is_not_idle_while_it_runs(daemon: DaemonProcess) -> None:
    id_ = daemon.post("/bash", {"command": "sleep 1000", "mode": "background"})["taskId"]
    assert daemon.request("GET", "/idle").json()["idleMs"] == 0
    before = daemon.request("GET", "/idle").json()["activitySeq"]
    daemon.post(f"/tasks/{id_}/kill", {})
    assert daemon.request("GET", "/idle").json()["activitySeq"] > before


def test_a_shell_that_outlives_its_parent_leaves_no_zombie(daemon: DaemonProcess) -> None:
    daemon.post("/bash", {"command": "setsid sh -c 'sleep 0.1' & disown"})

    def zombies() -> list[int]:
        table = process_table().values()
        return [p.pid for p in table if p.parent == daemon.process.pid and p.dead]

    poll_until("orphans to be collected", lambda: not zombies(), 15)


def test_without_pidfds_all_is_the_same(root: Path) -> None:
    with DaemonProcess.running(root / "workspace", LIMPET_WITHOUT="pidfd") as daemon:
        done = daemon.post("/bash", {"command": "sleep 1000 & echo a; exit 2"})
        assert (done["stdout"], done["exitCode"]) == ("a\n", 2)
        assert daemon.post("/bash", {"command": "sleep 9", "timeout": 100})["exitCode"] == -1


@pytest.mark.parametrize("cwd", ["x" * 300, "a\0b", "a.txt", "missing", "x/" * 3000])
@pytest.mark.parametrize("route", ["/bash", "/pty"])
def test_a_folder_that_is_none_is_told(daemon: DaemonProcess, route: str, cwd: str) -> None:
    assert "cwd" in daemon.post(route, {"command": ":", "cwd": cwd}, 400)["error"]


def test_when_memory_runs_out_a_task_goes_before_the_daemon(daemon: DaemonProcess) -> None:
    until = 'until [ "$(cat /proc/$$/oom_score_adj)" = 500 ]; do :; done'
    assert daemon.post("/bash", {"command": until, "timeout": 20_000})["exitCode"] == 0
