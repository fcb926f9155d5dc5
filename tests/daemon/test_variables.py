"""The config's variables: every task has them, nothing that is kept or told has their values."""

import asyncio
import json
from pathlib import Path

import aiohttp
import pytest

from tests.daemon.setup.projects import (
    events_now,
    lifecycle,
    manifest,
    setup_log,
    wait_phase,
)
from tests.daemon.test_terminals import open_terminal, shown_until
from tests.daemon_process import DaemonProcess
from tests.live import poll_until

pytestmark = pytest.mark.anyio

KEY = "sk-live/0123456789+é"
HALF = 'printf "begin %s" "${KEY:0:10}"; read _ < go; printf "%s end\\n" "${KEY:10}"'
"""Prints the value in two pieces: the second when somebody writes to the pipe `go`."""


@pytest.fixture
def given(daemon: DaemonProcess) -> DaemonProcess:
    daemon.post("/config", {"env": {"KEY": KEY}})
    daemon.post("/bash", {"command": "mkfifo go"})
    return daemon


def go_on(daemon: DaemonProcess) -> None:
    daemon.post("/bash", {"command": "echo > go"})


def bring_up(daemon: DaemonProcess, **scripts: str) -> None:
    """A project whose scripts are these, for bash."""
    for name, text in scripts.items():
        daemon.post("/write", {"path": f"{name}.sh", "content": f"{text}\n"})
    told = {name: f"bash {name}.sh" for name in {"dev", *scripts}}
    project = manifest(scripts=told, dependencies={})
    daemon.post("/write", {"path": "package.json", "content": project})
    daemon.post("/setup/clone", {})


def text_of(daemon: DaemonProcess, path: str) -> str:
    answer = daemon.request("GET", path)
    assert answer.status == 200
    return json.dumps(answer.json(), ensure_ascii=False)


def kept_in(root: Path) -> bytes:
    """All that lies beside the workspace: the config, logs, journals."""
    return b"".join(path.read_bytes() for path in (root / "state").rglob("*") if path.is_file())


def test_a_command_has_the_variables_and_its_own_come_first(given: DaemonProcess) -> None:
    test = '[ "$KEY" = "sk-live/0123456789+é" ] && echo "has it: ${#KEY}"'
    assert given.post("/bash", {"command": test})["stdout"] == "has it: 20\n"
    own = given.post("/bash", {"command": 'echo "$KEY"', "env": {"KEY": "own"}})
    assert own["stdout"] == "own\n"


def test_a_commands_answer_has_the_name_in_place_of_the_value(given: DaemonProcess) -> None:
    done = given.post("/bash", {"command": 'echo "a $KEY"; echo "b $KEY" >&2'})
    assert (done["stdout"], done["stderr"]) == ("a [hidden: KEY]\n", "b [hidden: KEY]\n")


def test_output_that_ends_like_a_value_begins_is_not_lost(given: DaemonProcess) -> None:
    done = given.post("/bash", {"command": "printf 'ends with sk-live'"})
    assert done["stdout"] == "ends with sk-live"


async def test_a_value_in_two_pieces_is_in_no_log_and_no_stream(
    given: DaemonProcess, http: aiohttp.ClientSession, root: Path
) -> None:
    id_ = given.post("/bash", {"command": HALF, "mode": "background"})["taskId"]
    output = f"/tasks/{id_}"
    poll_until("the first piece", lambda: "begin " in text_of(given, output), 20)
    async with http.get(f"/_sandbox/tasks/{id_}/stream") as stream:
        await asyncio.to_thread(go_on, given)
        async with asyncio.timeout(20):
            streamed = (await stream.read()).decode()
    assert given.request("GET", output).json()["stdout"] == "begin [hidden: KEY] end\n"
    assert "[hidden: KEY] end" in streamed
    assert KEY[:4] not in streamed
    log = root / "state" / "logs" / id_
    poll_until("the log", lambda: "end\n" in log.read_text(), 20)
    assert log.read_text().endswith("begin [hidden: KEY] end\n")


def test_a_command_that_spells_the_value_out_is_shown_without_it(
    given: DaemonProcess, root: Path
) -> None:
    given.post("/bash", {"command": f"true '{KEY}'"})
    assert "true '[hidden: KEY]'" in text_of(given, "/tasks")
    poll_until("the log", lambda: b"true '[hidden" in kept_in(root), 20)
    assert KEY.encode() not in kept_in(root)


async def test_who_looks_at_a_terminal_sees_the_value_and_its_log_does_not(
    given: DaemonProcess, http: aiohttp.ClientSession, root: Path
) -> None:
    id_ = await open_terminal(http, command=f"{HALF}; echo done; cat")
    for _ in range(2):  # live, and again as it was on the screen
        async with http.ws_connect(f"/_sandbox/pty/{id_}") as ws:
            shown = await shown_until(ws, "begin ")
            if KEY not in shown:
                await asyncio.to_thread(go_on, given)
                shown += await shown_until(ws, "done")
            assert KEY in shown
    assert "begin [hidden: KEY] end" in text_of(given, f"/tasks/{id_}")
    log = root / "state" / "logs" / id_
    poll_until("the log", lambda: "done" in log.read_text(), 20)
    assert "begin [hidden: KEY] end" in log.read_text()


def test_a_dev_server_on_a_terminal_is_masked_in_its_log_and_in_events(
    given: DaemonProcess, root: Path
) -> None:
    bring_up(given, dev=HALF)
    poll_until("the first piece", lambda: "begin " in text_of(given, "/logs?source=dev"), 60)
    go_on(given)
    wait_phase(given, "start-failed")
    assert "begin [hidden: KEY] end" in setup_log(given, "dev")
    assert "begin [hidden: KEY] end" in lifecycle(given)["error"]
    for told in (text_of(given, "/logs"), json.dumps(events_now(given), ensure_ascii=False)):
        assert KEY not in told
    assert KEY.encode() not in kept_in(root)


def test_an_install_has_the_variables_and_its_log_and_error_are_masked(
    given: DaemonProcess, root: Path
) -> None:
    bring_up(given, preinstall='printf "%s" "${KEY:0:10}"; printf "%s\\n" "${KEY:10}"; exit 9')
    wait_phase(given, "install-failed")
    assert "[hidden: KEY]" in setup_log(given)
    assert "[hidden: KEY]" in lifecycle(given)["error"]
    assert KEY not in json.dumps(events_now(given), ensure_ascii=False)
    assert KEY.encode() not in kept_in(root)


def test_a_value_that_was_replaced_stays_masked(given: DaemonProcess) -> None:
    changed = given.post("/config", {"env": {"KEY": "another-value"}})
    assert changed["transition"] == "env-change"
    told = given.post("/bash", {"command": f"echo '{KEY}' $KEY"})["stdout"]
    assert told == "[hidden: KEY] [hidden: KEY]\n"


def test_a_variable_that_is_taken_away_is_gone(given: DaemonProcess) -> None:
    given.post("/config", {"env": {"KEY": None}})
    assert given.post("/bash", {"command": 'echo "<$KEY>"'})["stdout"] == "<>\n"
    assert given.request("GET", "/config").json()["envKeys"] == []


def test_a_restarted_daemon_names_what_must_be_posted_again(root: Path) -> None:
    with DaemonProcess.running(root / "workspace") as daemon:
        daemon.post("/config", {"env": {"KEY": KEY}})
        daemon.process.kill()
        daemon.process.wait()
    assert KEY.encode() not in kept_in(root)
    with DaemonProcess.running(root / "workspace", DAEMON_AWAIT_CONFIG="1") as daemon:
        now = daemon.request("GET", "/config").json()
        assert (now["envKeys"], now["missingEnv"]) == (["KEY"], ["KEY"])
        daemon.post("/config", {"env": {"KEY": KEY}})
        assert daemon.request("GET", "/config").json()["missingEnv"] == []
        assert daemon.post("/bash", {"command": "echo $KEY"})["stdout"] == "[hidden: KEY]\n"
        daemon.process.terminate()
        daemon.process.wait(30)
