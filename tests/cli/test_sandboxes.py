"""start, stop, exec, logs, tasks."""

import os
import pty
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from tests.cli.conftest import SANDBOX, SNAPSHOT, STARTED, Cli, events, lifecycle
from tests.sdk.wire import Answer, Asked, Wire, error, sse

TASK = {"id": "task-77", "command": "npm run dev", "status": "running", "exitCode": None}
STREAM = "GET /sandboxes/calm-cove-0123/daemon/tasks/task-1/stream"


@pytest.fixture
def task(wire: Wire) -> None:
    wire.on("POST /sandboxes/calm-cove-0123/exec", {"taskId": "task-1", "status": "running"})


def output(wire: Wire, *told: tuple[str, object]) -> None:
    wire.on(STREAM, lambda _: Answer(sse(*told)))


def test_start_prints_the_preview_and_what_was_restored(wire: Wire, cli: Cli) -> None:
    events(wire)
    ran = cli("start", "My shop")
    assert ran.out == STARTED["previewUrl"] + "\n"
    assert "Restored." in ran.err


def test_start_held_waits_for_nothing(wire: Wire, cli: Cli) -> None:
    events(wire)
    ran = cli("start", "My shop", "--hold", "restored", "--wait", "--json")
    assert ran.json == STARTED
    assert wire.last("POST /vm/start").json["hold"] == "restored"


def test_start_waits_for_a_preview_that_is_up_already(wire: Wire, cli: Cli) -> None:
    known = threading.Event()

    def stream(_: Asked) -> Answer:
        def body() -> Iterator[bytes]:
            yield from sse(lifecycle("running"))
            known.set()
            threading.Event().wait(30)

        return Answer(body())

    def start(_: Asked) -> Answer:
        known.wait(10)
        return Answer(STARTED)

    wire.on("GET /vm-events", stream)
    wire.on("POST /vm/start", start)
    assert cli("start", "My shop", "--wait").code == 0


def test_start_follows_the_branch_that_was_given(wire: Wire, cli: Cli) -> None:
    events(wire, lifecycle("running"))
    assert cli("start", "My shop", "--branch", "b", "--wait").code == 0
    assert wire.last("GET /vm-events").query["branch"] == "b"


def test_ctrl_c_while_following_says_that_the_sandbox_goes_on(wire: Wire, cli: Cli) -> None:
    events(wire, lifecycle("installing"))
    asked = threading.Event()

    def start(_: Asked) -> Answer:
        asked.set()
        return Answer(STARTED)

    wire.on("POST /vm/start", start)
    running = subprocess.Popen(
        [sys.executable, "-m", "limpet.cli", "start", "My shop", "--wait"],
        env=cli.environ(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert asked.wait(30)
    running.send_signal(signal.SIGINT)
    _, told = running.communicate(timeout=30)
    assert running.returncode == 130
    assert "limpet start agt_abc123 --wait" in told
    assert "Traceback" not in told


def test_a_store_that_cannot_be_reached_ends_with_3_at_once(wire: Wire, cli: Cli) -> None:
    events(wire)
    wire.on("POST /vm/start", error(503, "store_unreachable", "No store", "start without it"))
    ran = cli("start", "My shop", "--wait")
    assert ran.code == 3
    assert "start without it" in ran.err
    wire.on("POST /vm/start", STARTED)
    assert cli("start", "My shop", "--without-snapshot").code == 0
    assert wire.last("POST /vm/start").json["withoutSnapshot"] is True


def test_stop_tells_what_was_saved(wire: Wire, cli: Cli) -> None:
    route = "POST /sandboxes/calm-cove-0123/stop"
    wire.on(route, {"sandbox": SANDBOX, "saved": SNAPSHOT})
    ran = cli("stop", "My shop", "--force")
    assert SNAPSHOT["id"] in ran.err
    assert "40,000 entries, complete" in ran.err
    assert wire.last(route).json == {"force": True}
    wire.on(route, {"sandbox": SANDBOX, "saved": None})
    assert "nothing new to save" in cli("stop", "My shop").err


# -- exec -----------------------------------------------------------------------------------------


@pytest.mark.usefixtures("task")
def test_exec_is_the_command_as_far_as_its_caller_can_tell(wire: Wire, cli: Cli) -> None:
    output(
        wire,
        ("stdout", {"data": "out é\n"}),
        ("stderr", {"data": "bad\n"}),
        ("end", {"exitCode": 7}),
    )
    ran = cli("exec", "--cwd", "src", "-e", "A=b=c", "My shop", "--", "sh", "-c", "echo $A; exit 7")
    assert (ran.code, ran.out, ran.err) == (7, "out é\n", "bad\n")
    sent = wire.last("POST /sandboxes/calm-cove-0123/exec").json
    assert sent["command"] == "sh -c 'echo $A; exit 7'"
    assert (sent["cwd"], sent["env"], sent["mode"]) == ("src", {"A": "b=c"}, "background")


@pytest.mark.usefixtures("task")
def test_options_after_the_agent_are_the_commands_own(wire: Wire, cli: Cli) -> None:
    output(wire, ("end", {"exitCode": 0}))
    assert cli("exec", "My shop", "ls", "--json", "-la").code == 0
    assert wire.last("POST /sandboxes/calm-cove-0123/exec").json["command"] == "ls --json -la"


@pytest.mark.usefixtures("task")
def test_exec_with_json_collects(wire: Wire, cli: Cli) -> None:
    output(wire, ("stdout", {"data": "a"}), ("stdout", {"data": "b"}), ("end", {"exitCode": 3}))
    ran = cli("exec", "--json", "My shop", "x")
    assert ran.code == 3
    assert ran.json == {"taskId": "task-1", "stdout": "ab", "stderr": "", "exitCode": 3}


@pytest.mark.usefixtures("task")
@pytest.mark.parametrize(
    ("end", "code"),
    [({"exitCode": -1, "timedOut": True}, 124), ({"exitCode": 137}, 137), ({"exitCode": None}, 1)],
)
def test_exec_ends_as_shells_do(wire: Wire, cli: Cli, end: object, code: int) -> None:
    output(wire, ("end", end))
    assert cli("exec", "My shop", "x").code == code


@pytest.mark.usefixtures("task")
def test_output_that_breaks_off_is_not_success(wire: Wire, cli: Cli) -> None:
    output(wire, ("stdout", {"data": "half"}))
    assert cli("exec", "My shop", "x").code == 1
    wire.on(STREAM, lambda _: Answer(sse(("stdout", {"data": "half"})), cut=True))
    assert cli("exec", "My shop", "x").code == 3


@pytest.mark.usefixtures("task")
def test_exec_in_the_background_prints_the_task(cli: Cli) -> None:
    assert cli("exec", "--background", "My shop", "x").out == "task-1\n"


@pytest.mark.usefixtures("task")
def test_ctrl_c_ends_the_command(wire: Wire, cli: Cli) -> None:
    kill = "POST /sandboxes/calm-cove-0123/daemon/tasks/task-1/kill"
    killed = threading.Event()

    def stream(_: Asked) -> Answer:
        def body() -> Iterator[bytes]:
            yield from sse(("stdout", {"data": "ready\n"}))
            killed.wait(30)

        return Answer(body())

    def end(_: Asked) -> Answer:
        killed.set()
        return Answer({"ok": True})

    wire.on(STREAM, stream)
    wire.on(kill, end)
    running = subprocess.Popen(
        [sys.executable, "-m", "limpet.cli", "exec", "My shop", "x"],
        env=cli.environ(), stdout=subprocess.PIPE,
    )  # fmt: skip
    assert running.stdout is not None
    with running.stdout as stdout:
        assert stdout.readline() == b"ready\n"
        running.send_signal(signal.SIGINT)
        assert running.wait(30) == 130
    assert killed.is_set()


@pytest.mark.usefixtures("task")
def test_a_reader_that_leaves_ends_the_command(wire: Wire, cli: Cli) -> None:
    killed = threading.Event()

    def stream(_: Asked) -> Answer:
        def body() -> Iterator[bytes]:
            while not killed.is_set():
                yield from sse(("stdout", {"data": "y\n" * 10_000}))

        return Answer(body())

    def end(_: Asked) -> Answer:
        killed.set()
        return Answer({"ok": True})

    wire.on(STREAM, stream)
    wire.on("POST /sandboxes/calm-cove-0123/daemon/tasks/task-1/kill", end)
    piped = subprocess.run(
        ["bash", "-o", "pipefail", "-c",
         f"{sys.executable} -m limpet.cli exec 'My shop' yes | head -n 1"],
        env=cli.environ(), capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (piped.returncode, piped.stdout, piped.stderr) == (141, "y\n", "")
    assert killed.is_set()


# -- logs and tasks -------------------------------------------------------------------------------


def test_logs_of_one_source_or_of_all(wire: Wire, cli: Cli) -> None:
    told = {"sources": ["dev", "setup"], "logs": {"dev": "up\n", "setup": "ok"}}
    wire.on("GET /sandboxes/calm-cove-0123/logs", told)
    ran = cli("logs", "My shop")
    assert ran.out == "up\nok\n"
    assert "── dev" in ran.err
    assert cli("logs", "My shop", "--json").json == told
    assert cli("logs", "My shop", "--source", "none").code == 4


def test_logs_are_followed_across_a_broken_stream(wire: Wire, cli: Cli) -> None:
    streams = [
        Answer(sse(("log", {"source": "dev", "data": "one\n"}, "b-1")), cut=True),
        Answer(sse(("log", {"source": "setup", "data": "no\n"}), ("tasks", {}))),
        Answer(sse(("log", {"source": "dev", "data": "two\n"}, "b-2"), ("bye", {}))),
    ]
    wire.on("GET /vm-events", lambda _: streams.pop(0))
    ran = cli("logs", "-f", "My shop", "-s", "dev")
    assert (ran.code, ran.out) == (0, "one\ntwo\n")


def test_tasks_are_listed_and_ended(wire: Wire, cli: Cli) -> None:
    below = "/sandboxes/calm-cove-0123/daemon/tasks"
    wire.on(f"GET {below}", {"tasks": [TASK, {**TASK, "id": "task-99", "exitCode": 1}]})
    wire.on(f"POST {below}/task-77/kill", {"ok": True})
    wire.on(f"POST {below}/kill-all", {"ok": True, "killed": 2})
    assert "npm run dev" in cli("tasks", "ls", "My shop").out
    assert cli("tasks", "kill", "My shop", "task-7", "--json").json == {"killed": "task-77"}
    assert cli("tasks", "kill", "My shop", "task").code == 5
    assert cli("tasks", "kill", "My shop", "nope").code == 4
    assert "Ended 2 tasks" in cli("tasks", "kill-all", "My shop").err


def test_a_terminal_shows_the_boot_as_it_goes(wire: Wire, cli: Cli) -> None:
    """On a terminal: the step, how far it is, and the last lines of its log."""
    shown = threading.Event()

    def stream(_: Asked) -> Answer:
        def body() -> Iterator[bytes]:
            yield from sse(
                ("phase", {"kind": "restoring", "bytes": 5_000_000, "total": 10_000_000}),
                ("log", {"source": "setup", "data": "a line of [the] log\n"}),
            )
            shown.wait(20)
            yield from sse(lifecycle("running"))
            threading.Event().wait(30)

        return Answer(body())

    wire.on("GET /vm-events", stream)
    ours, theirs = pty.openpty()
    running = subprocess.Popen(
        [sys.executable, "-m", "limpet.cli", "start", "My shop", "--wait"],
        env=cli.environ({"TERM": "xterm"}), stdout=subprocess.DEVNULL, stderr=theirs,
    )  # fmt: skip
    os.close(theirs)
    seen = b""
    try:
        while chunk := os.read(ours, 65536):
            seen += chunk
            if b"a line of [the] log" in seen and b"5.0 MB of 10.0 MB" in seen:
                shown.set()
    except OSError:  # the terminal closes with its last user
        pass
    finally:
        os.close(ours)
    assert running.wait(30) == 0
    assert shown.is_set(), seen
    assert "The preview is up" in seen.decode()
