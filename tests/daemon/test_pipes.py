"""Programs on pipes over WebSocket: their bytes, their end, and the end of all they started."""

import asyncio
import contextlib
import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from limpet.daemon.pipes import WINDOW_BYTES
from tests.daemon.piping import Piping, lives, piping
from tests.daemon_process import TOKEN, DaemonProcess
from tests.live import poll_until

pytestmark = pytest.mark.anyio

FAMILY = """
import os, subprocess, sys, time
nap = [sys.executable, "-c", "import time; time.sleep(1000)"]
same = subprocess.Popen(nap)
own = subprocess.Popen(nap, start_new_session=True)
orphan = int(subprocess.check_output([sys.executable, "-c", f'''
import subprocess, sys
print(subprocess.Popen({nap!r}, start_new_session=True, stdout=subprocess.DEVNULL).pid)
''']))
print(os.getpid(), same.pid, own.pid, orphan, sep="\\n", flush=True)
time.sleep(1000)
"""
"""Prints the pids of itself, a child, one in a session of its own, and one that lost its parent."""


async def gone(*pids: int) -> None:
    await asyncio.to_thread(
        poll_until, f"the end of {pids}", lambda: not any(map(lives, pids)), 30, 0.02
    )


async def test_bytes_go_in_and_come_out_as_they_are(
    http: aiohttp.ClientSession, repo: Path
) -> None:
    sent = bytes(range(256)) * 4096
    async with piping(http, ["cat"]) as program:
        started = await program.until_told("started")
        assert started["window"] == WINDOW_BYTES

        async def feed() -> None:
            room = WINDOW_BYTES
            for at in range(0, len(sent), 65536):
                piece = sent[at : at + 65536]
                while room < len(piece):
                    before = len(program.all("taken"))
                    await program.until(lambda before=before: len(program.all("taken")) > before)
                    room += sum(one["bytes"] for one in program.all("taken")[before:])
                room -= len(piece)
                await program.ws.send_bytes(piece)
            await program.say(type="end")

        await feed()
        assert await program.until_closed() == 1000
        assert bytes(program.output) == sent
        assert program.all("exit") == [
            {"type": "exit", "exitCode": 0, "status": "exited", "reason": None}
        ]
    async with piping(http, ["pwd"]) as program:
        await program.until_closed()
        assert program.output.decode() == f"{repo}\n"


async def test_errors_are_apart_and_the_code_is_told(http: aiohttp.ClientSession) -> None:
    script = "echo out; echo err >&2; echo $GIVEN >&2; exit 7"
    async with piping(http, ["sh", "-c", script], {"GIVEN": "given"}) as program:
        await program.until_closed()
    assert program.output == b"out\n"
    assert program.stderr == "err\ngiven\n"
    assert program.all("exit")[0]["exitCode"] == 7


async def test_output_is_neither_masked_nor_kept_and_errors_are_both(
    http: aiohttp.ClientSession, daemon: DaemonProcess, root: Path
) -> None:
    daemon.post("/config", {"env": {"SECRET": "sesame-open-sesame"}})
    script = 'echo "$((6 * 7)) $SECRET"; echo "err $SECRET" >&2'
    async with piping(http, ["sh", "-c", script]) as program:
        id_ = (await program.until_told("started"))["id"]
        await program.until_closed()
    assert program.output == b"42 sesame-open-sesame\n"
    assert program.stderr == "err [hidden: SECRET]\n"
    task = json.loads(daemon.request("GET", f"/tasks/{id_}").data)
    assert (task["stdout"], task["stderr"]) == ("", "err [hidden: SECRET]\n")
    logs = root / "state" / "logs"
    await asyncio.to_thread(
        poll_until, "the log", lambda: "err [hid" in (logs / id_).read_text(), 30, 0.02
    )
    kept = "".join(log.read_text() for log in logs.iterdir())
    kept += daemon.request("GET", "/logs").data.decode()
    assert "sesame-open-sesame" not in kept
    assert "42 " not in kept


async def test_who_reads_nothing_is_sent_no_more_than_a_window(
    http: aiohttp.ClientSession, daemon: DaemonProcess
) -> None:
    async with piping(http, ["sh", "-c", "echo $$; exec yes"], acknowledges=False) as program:
        await program.until(lambda: len(program.output) >= WINDOW_BYTES)
        before = memory_kib(daemon.process.pid)
        for _ in range(512):  # 32 MiB more go through
            await program.say(type="taken", bytes=65536)
            want = len(program.output) + 65536
            await program.until(lambda want=want: len(program.output) >= want)
        assert memory_kib(daemon.process.pid) - before < 8 * 1024
        await program.until(lambda: len(program.output) == WINDOW_BYTES + 512 * 65536)
        [pid] = await program.pids(1)
        assert lives(pid)
        await program.say(type="kill")
        await program.until_told("exit")
        # It had written more; what was not asked for did not come before that.
        assert len(program.output) == WINDOW_BYTES + 512 * 65536
    await gone(pid)


async def test_what_reads_nothing_is_sent_no_more_than_a_window(
    http: aiohttp.ClientSession,
) -> None:
    async with piping(http, ["sleep", "1000"]) as program:
        await program.until_told("started")
        await program.ws.send_bytes(bytes(WINDOW_BYTES))
        taken = (await program.until_told("taken"))["bytes"]
        assert 0 < taken < WINDOW_BYTES  # what a pipe of the kernel's holds
        await program.ws.send_bytes(bytes(taken + 1))
        assert await program.until_closed() == 1008
        assert "window" in program.all("error")[0]["error"]


async def test_its_end_is_told_before_its_output_is_taken(http: aiohttp.ClientSession) -> None:
    script = f"head -c {WINDOW_BYTES + 4000} /dev/zero; exit 3"
    async with piping(http, ["sh", "-c", script], acknowledges=False) as program:
        assert (await program.until_told("exit"))["exitCode"] == 3
        assert not program.all("end")
        await program.until(lambda: len(program.output) == WINDOW_BYTES)
        await program.say(type="taken", bytes=WINDOW_BYTES)
        assert await program.until_closed() == 1000
        assert len(program.output) == WINDOW_BYTES + 4000


async def test_a_program_that_closes_its_input_is_told(http: aiohttp.ClientSession) -> None:
    async with piping(http, ["sh", "-c", "exec <&-; echo shut; sleep 1000"]) as program:
        await program.until(lambda: program.output == b"shut\n")
        await program.ws.send_bytes(b"x")
        await program.until_told("closed")
        assert (await program.until_told("taken"))["bytes"] == 1
        await program.say(type="kill")
        assert await program.until_closed() == 1000
        assert program.all("exit")[0]["exitCode"] == 128 + signal.SIGKILL


@pytest.mark.parametrize("how", ["kill", "close", "cut off"])
async def test_it_ends_with_all_that_it_started(http: aiohttp.ClientSession, how: str) -> None:
    async with piping(http, [sys.executable, "-c", FAMILY]) as program:
        pids = await program.pids(4)
        assert all(map(lives, pids))
        if how == "kill":
            await program.say(type="kill")
            await program.until_told("exit")
            assert not any(map(lives, pids))
        elif how == "close":
            await program.ws.close()
        else:
            connection = program.ws.get_extra_info("socket")
            assert connection is not None
            transport: Any = program.ws._response.connection.transport  # type: ignore[union-attr]
            transport.abort()
    await gone(*pids)


async def test_one_that_ends_by_itself_takes_along_what_it_left(
    http: aiohttp.ClientSession,
) -> None:
    script = FAMILY.replace("time.sleep(1000)\n", "")
    async with piping(http, [sys.executable, "-c", script]) as program:
        pids = await program.pids(4)
        assert (await program.until_told("exit"))["exitCode"] == 0
        assert not any(map(lives, pids))


async def test_it_ends_when_the_client_is_killed(daemon: DaemonProcess, tmp_path: Path) -> None:
    client = f"""
import asyncio, aiohttp
async def main():
    async with aiohttp.ClientSession() as http, http.ws_connect(
        "{daemon.url}/_sandbox/pipe", headers={{"X-Limpet-Token": "{TOKEN}"}}
    ) as ws:
        await ws.send_json({{"type": "start", "argv": ["sh", "-c", "echo $$; exec sleep 1000"]}})
        await ws.send_bytes(b"x" * 200_000)
        while True:
            message = await ws.receive()
            if message.type == aiohttp.WSMsgType.BINARY:
                print(message.data.split()[0].decode(), flush=True)
                await asyncio.sleep(1000)  # with input that nobody reads yet
asyncio.run(main())
"""
    process = await asyncio.to_thread(
        subprocess.Popen, [sys.executable, "-c", client], stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        pid = int(await asyncio.to_thread(process.stdout.readline))
        assert lives(pid)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    await gone(pid)


async def test_a_daemon_that_is_killed_is_missed_at_once(root: Path) -> None:
    with DaemonProcess.running(root / "workspace") as daemon:
        headers = {"Authorization": f"Bearer {TOKEN}"}
        async with (
            aiohttp.ClientSession(daemon.url, headers=headers) as http,
            piping(http, ["sh", "-c", "echo $$; exec cat"]) as program,
        ):
            [pid] = await program.pids(1)
            daemon.process.kill()
            await program.until_closed()
            assert not program.all("exit")
        await gone(pid)  # its input has ended


async def test_what_cannot_be_started_is_said(http: aiohttp.ClientSession, repo: Path) -> None:
    (repo / "data").write_text("no program")
    for argv, env, words in (
        (["no-such-program"], {}, "No such file"),
        (["./data"], {}, "Permission denied"),
        (["true", "a" * 300_000], {}, "Argument list too long"),
        (["true"], {"V": "x" * 200_000}, "Argument list too long"),
        (["true"], {"A=B": "c"}, "not a variable"),
        (["true"], {"A": "b\0"}, "not a variable"),
        (["tr\0ue"], {}, "NUL"),
        ([], {}, "no program"),
        ([""], {}, "no program"),
    ):
        async with piping(http, argv, env) as program:
            assert await program.until_closed() == 1008, words
            assert words in program.all("error")[0]["error"]
            assert not program.all("started")


NONSENSE: list[tuple[str | bytes, int]] = [
    ("{", 1003),
    ("[]", 1003),
    ('{"type": "start"}', 1003),
    ('{"type": "start", "argv": "cat"}', 1003),
    ('{"type": "taken", "bytes": 5}', 1003),
    ('{"type": "kill"}', 1003),
    (b"bytes", 1003),
    ("[" * 100_000, 1003),
    (json.dumps({"type": "start", "argv": ["x" * 3_000_000]}), 1009),
]


async def test_a_first_frame_that_is_no_start_is_told(http: aiohttp.ClientSession) -> None:
    for frame, code in NONSENSE:
        async with http.ws_connect("/_sandbox/pipe") as ws:
            await (ws.send_str(frame) if isinstance(frame, str) else ws.send_bytes(frame))
            program = Piping(ws)
            assert await program.until_closed() == code, frame[:100]
            assert program.all("error")


OUT_OF_PLACE: list[list[str | bytes]] = [
    ['{"type": "start", "argv": ["true"]}'],
    ['{"type": "taken", "bytes": 1000000}'],
    ['{"type": "taken", "bytes": -1}'],
    ['{"type": "taken"}'],
    ["nonsense"],
    [bytes(WINDOW_BYTES + 1)],
    [bytes(5_000_000)],
    ['{"type": "end"}', b"more"],
]


async def test_a_frame_that_does_not_belong_there_ends_the_program(
    http: aiohttp.ClientSession,
) -> None:
    for frames in OUT_OF_PLACE:
        async with piping(http, ["sh", "-c", "echo $$; exec sleep 1000"]) as program:
            [pid] = await program.pids(1)
            for frame in frames:
                with contextlib.suppress(ConnectionError):
                    await (
                        program.ws.send_str(frame)
                        if isinstance(frame, str)
                        else program.ws.send_bytes(frame)
                    )
            await program.until_closed()
            assert program.all("error"), frames[0][:100]
        await gone(pid)


async def test_many_run_at_once_and_too_many_are_refused(http: aiohttp.ClientSession) -> None:
    async with contextlib.AsyncExitStack() as stack:
        programs = [await stack.enter_async_context(piping(http, ["cat"])) for _ in range(32)]
        for program in programs:
            await program.until_told("started")
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await http.ws_connect("/_sandbox/pipe")
        assert refused.value.status == 429
        for number, program in enumerate(programs):
            await program.ws.send_bytes(b"%d\n" % number)
        for number, program in enumerate(programs):
            await program.until(lambda p=program: p.output.endswith(b"\n"))
            assert int(program.output) == number
    async with piping(http, ["true"]) as program:
        assert await program.until_closed() == 1000


async def test_only_the_token_starts_one_and_never_a_browser(
    http: aiohttp.ClientSession, daemon: DaemonProcess
) -> None:
    async with aiohttp.ClientSession() as stranger:
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await stranger.ws_connect(f"{daemon.url}/_sandbox/pipe")
        assert refused.value.status == 401
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await http.ws_connect("/_sandbox/pipe", origin="http://page.example")
    assert refused.value.status == 403
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await http.ws_connect("/_sandbox/pipes")
    assert refused.value.status == 404


async def test_it_is_work_for_as_long_as_it_runs(http: aiohttp.ClientSession) -> None:
    async def idle() -> dict[str, Any]:
        async with http.get("/_sandbox/idle") as answer:
            told: dict[str, Any] = await answer.json()
            return told

    before = (await idle())["activitySeq"]
    async with piping(http, ["cat"]) as program:
        await program.until_told("started")
        running = await idle()
        assert running["activitySeq"] > before
        await asyncio.sleep(0.05)
        assert (await idle())["idleMs"] == 0
        await program.say(type="end")
        await program.until_closed()
    while not (told := await idle())["idleMs"]:
        await asyncio.sleep(0.01)
    assert told["activitySeq"] > running["activitySeq"]


async def test_a_restore_ends_it_and_says_why(
    http: aiohttp.ClientSession, daemon: DaemonProcess, repo: Path
) -> None:
    (repo / "file").write_text("kept")
    tar = daemon.create()
    async with piping(http, [sys.executable, "-c", FAMILY]) as program:
        pids = await program.pids(4)
        assert daemon.restore(tar).status == 200
        assert not any(map(lives, pids))
        told = await program.until_told("exit")
        assert told["reason"] == "the workspace is being restored"
        assert await program.until_closed() == 1000


async def test_it_is_a_task_that_can_be_killed_and_ends_with_the_daemon(
    http: aiohttp.ClientSession, daemon: DaemonProcess
) -> None:
    async with piping(http, ["cat"]) as program, piping(http, ["cat"]) as other:
        id_ = (await program.until_told("started"))["id"]
        await other.until_told("started")
        listed = json.loads(daemon.request("GET", "/tasks").data)["tasks"]
        assert {"cat"} == {task["command"] for task in listed}
        daemon.post(f"/tasks/{id_}/kill", {})
        assert (await program.until_told("exit"))["status"] == "killed"
        daemon.process.terminate()
        assert (await other.until_told("exit"))["status"] == "killed"
    assert await asyncio.to_thread(daemon.process.wait, 30) == 0


async def test_where_processes_cannot_be_seen_it_still_ends(root: Path) -> None:
    with DaemonProcess.running(root / "workspace", LIMPET_WITHOUT="proc,pidfd") as daemon:
        headers = {"Authorization": f"Bearer {TOKEN}"}
        async with aiohttp.ClientSession(daemon.url, headers=headers) as http:
            async with piping(http, ["sh", "-c", "echo $$; sleep 1000 & wait"]) as program:
                [pid] = await program.pids(1)
            await gone(pid)


def memory_kib(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1])
    raise AssertionError(f"{pid} is gone")


def test_the_folders_are_told(daemon: DaemonProcess, root: Path) -> None:
    told = json.loads(daemon.request("GET", "/folders").data)
    workspace = root / "workspace"
    assert told == {"repo": str(workspace / "repo"), "home": str(workspace / "home")}
    assert Path(told["home"]).is_dir()
