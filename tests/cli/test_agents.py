"""new, ls, rm, open, and how an agent is named."""

import json

import pytest

from tests.cli.conftest import AGENT, SANDBOX, STARTED, Cli, events, lifecycle
from tests.sdk.wire import Answer, Wire, error

BOOT = (
    ("phase", {"kind": "claiming"}),
    ("phase", {"kind": "restoring", "bytes": 5, "total": 10}),
    lifecycle("installing"),
    ("log", {"source": "setup", "data": "added 412 packages\r\n"}),
    lifecycle("starting"),
    lifecycle("running", port=5173),
)


def test_new_makes_starts_and_follows_until_the_preview_is_up(wire: Wire, cli: Cli) -> None:
    events(wire, *BOOT)
    ran = cli("new", "webapp", "--name", "My shop")
    assert ran.code == 0, ran.err
    assert ran.out == STARTED["previewUrl"] + "\n"
    assert "Made My shop (agt_abc123)" in ran.err
    assert "The preview is up" in ran.err
    assert wire.last("POST /agents").json == {"title": "My shop", "template": "webapp"}
    assert wire.last("POST /vm/start").json == {"virtualMcpId": "agt_abc123"}


def test_new_tells_the_end_of_the_failing_steps_log(wire: Wire, cli: Cli) -> None:
    failing = ("log", {"source": "setup", "data": "\x1b[31mnpm error\x1b[0m code [E404]\n"})
    events(wire, lifecycle("installing"), failing, lifecycle("install-failed", error="exit code 1"))
    ran = cli("new", "webapp")
    assert ran.code == 1
    assert "Installing dependencies did not work" in ran.err
    assert "npm error code [E404]" in ran.err
    assert "exit code 1" in ran.err
    assert "limpet start agt_abc123 --wait" in ran.err


def test_new_with_json_prints_json_alone(wire: Wire, cli: Cli) -> None:
    events(wire, *BOOT)
    ran = cli("new", "webapp", "--json")
    assert ran.json == {"agent": AGENT, **STARTED}
    assert ran.err == ""


def test_new_from_a_clone_url_takes_the_password_from_the_environment(wire: Wire, cli: Cli) -> None:
    events(wire, lifecycle("cloning"), lifecycle("idle"))
    url = "https://git.example.org/me/site.git"
    ran = cli("new", "--clone-url", url, "--user", "me", "--password-env", "PW", env={"PW": "s3"})
    assert ran.code == 0, ran.err
    assert "Nothing to preview" in ran.err
    sent = wire.last("POST /agents").json
    assert sent == {"clone_url": url, "clone_username": "me", "clone_password": "s3"}


def test_new_hands_a_start_command_on(wire: Wire, cli: Cli) -> None:
    events(wire, *BOOT)
    ran = cli("new", "webapp", "--start-command", "npm run serve -- --port $PORT")
    assert ran.code == 0, ran.err
    sent = wire.last("POST /agents").json
    assert sent == {"template": "webapp", "start_command": "npm run serve -- --port $PORT"}


def test_new_hands_an_acp_command_on(wire: Wire, cli: Cli) -> None:
    events(wire, *BOOT)
    ran = cli("new", "webapp", "--acp-command", "opencode acp")
    assert ran.code == 0, ran.err
    assert wire.last("POST /agents").json == {"template": "webapp", "acp_command": "opencode acp"}


@pytest.mark.parametrize(
    "arguments",
    [
        ("new", "webapp", "--clone-url", "https://x/y"),
        ("new", "--clone-url", "https://x/y", "--password-env", "LIMPET_UNSET"),
        ("start", "My shop", "--hold", "running"),
        ("rm", "My shop"),
        ("exec", "--env", "novalue", "My shop", "ls"),
        ("snapshots", "import", "My shop", "no-such-file.tar"),
        ("no-such-command",),
        ("ls", "--no-such-option"),
    ],
)
def test_wrong_use_ends_with_2(cli: Cli, arguments: tuple[str, ...]) -> None:
    assert cli(*arguments).code == 2


def test_an_unknown_template_is_told_before_an_agent_is_made(wire: Wire, cli: Cli) -> None:
    ran = cli("new", "no-such")
    assert ran.code == 4
    assert "webapp" in ran.err
    assert not [a for a in wire.asked if a.method == "POST"]


def test_new_opens_the_agents_page_where_there_is_a_browser(wire: Wire, cli: Cli) -> None:
    events(wire, *BOOT)
    wire.on("POST /api/sign-in-links", {"url": "http://127.0.0.1:7070/sign-in?token=t"})
    opener = cli.folder / "browser"
    opener.write_text(f'#!/bin/sh\necho "$1" > {cli.folder}/opened\n')
    opener.chmod(0o755)
    ran = cli("new", "webapp", "--open", env={"BROWSER": str(opener)})
    assert ran.code == 0, ran.err
    opened = (cli.folder / "opened").read_text()
    assert opened == "http://127.0.0.1:7070/sign-in?token=t&next=/local/agents/agt_abc123\n"


def test_ls_shows_agents_and_their_sandboxes(wire: Wire, cli: Cli) -> None:
    idle = {**AGENT, "id": "agt_zzz", "title": "[red]Odd\x1b[2J", "default_branch": "main"}
    wire.on("GET /agents", {"agents": [AGENT, idle]})
    ran = cli("ls")
    first, second = ran.out.splitlines()[1:]
    assert "My shop" in first
    assert "running" in first
    assert "unsaved work" in first
    assert "[red]Odd [2J" in second
    assert "never started" in second
    assert cli("ls", "--json").json == {"agents": [AGENT, idle], "sandboxes": [SANDBOX]}


@pytest.mark.parametrize(
    ("reason", "shown"),
    [
        ("asked", "stopped  "),
        ("gone", "stopped (ended by itself)"),
        ("interrupted", "stopped (its start was cut off)"),
    ],
)
def test_ls_says_when_a_sandbox_ended_without_being_asked_to(
    wire: Wire, cli: Cli, reason: str, shown: str
) -> None:
    ended = {"reason": reason, "at": "2026-01-01T00:00:00Z", "by": None, "through": None}
    box = {**SANDBOX, "state": "stopped", "phase": None, "ended": ended}
    wire.on("GET /sandboxes", {"sandboxes": [box]})
    assert shown in cli("ls").out.splitlines()[1]


def test_what_programs_read_is_never_broken_into_lines(wire: Wire, cli: Cli) -> None:
    wire.on("GET /agents", {"agents": [{**AGENT, "title": "A rather long title " * 10}]})
    _, row = cli("ls", env={"COLUMNS": "40"}).out.splitlines()
    assert "agt_abc123" in row
    assert "limpet/calm-cove" in row


def test_ls_says_what_to_do_first(wire: Wire, cli: Cli) -> None:
    wire.on("GET /agents", {"agents": []})
    ran = cli("ls")
    assert (ran.code, ran.out) == (0, "")
    assert "limpet new webapp" in ran.err


@pytest.mark.parametrize("typed", ["agt_abc123", "agt_abc", "abc", "my SHOP"])
def test_an_agent_is_named_by_id_beginning_or_title(wire: Wire, cli: Cli, typed: str) -> None:
    wire.on("GET /agents", {"agents": [AGENT, {**AGENT, "id": "agt_xyz", "title": "Other"}]})
    wire.on("DELETE /agents/agt_abc123", {"ok": True})
    assert cli("rm", typed, "--yes").code == 0


def test_an_ambiguous_name_ends_with_5_and_the_list(wire: Wire, cli: Cli) -> None:
    wire.on("GET /agents", {"agents": [AGENT, {**AGENT, "id": "agt_abd999"}]})
    for typed in ("My shop", "agt_ab"):
        ran = cli("rm", typed, "--yes")
        assert ran.code == 5
        assert "agt_abc123" in ran.err
        assert "agt_abd999" in ran.err


def test_what_is_not_there_ends_with_4(wire: Wire, cli: Cli) -> None:
    assert cli("stop", "nobody").code == 4
    assert cli("exec", "My shop", "-b", "x").code in (1, 4)
    wire.on("GET /sandboxes", {"sandboxes": []})
    ran = cli("stop", "My shop")
    assert ran.code == 4
    assert "limpet start agt_abc123" in ran.err


def test_rm_sandbox_keeps_the_agent(wire: Wire, cli: Cli) -> None:
    wire.on("POST /vm/delete", {"success": True, "saved": None})
    assert cli("rm", "My shop", "--sandbox", "--json").json == {"success": True, "saved": None}
    assert wire.last("POST /vm/delete").json == {"virtualMcpId": "agt_abc123", "force": False}


def test_open_prints_a_link_that_signs_in(wire: Wire, cli: Cli) -> None:
    wire.on("POST /api/sign-in-links", {"url": "http://127.0.0.1:7070/sign-in?token=t"})
    assert cli("open").out == "http://127.0.0.1:7070/sign-in?token=t\n"
    assert cli("open", "My shop", "--json").json["url"].endswith("/local/agents/agt_abc123")


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (error(500, "internal"), 1),
        (error(401, "unauthorized"), 3),
        (error(503, "stopping"), 3),
        (error(409, "fenced"), 5),
        (error(409, "not_running"), 3),
        (error(422, "snapshot_damaged"), 6),
    ],
)
def test_exit_codes_mean_something(wire: Wire, cli: Cli, answer: Answer, code: int) -> None:
    wire.on("GET /agents", answer)
    assert cli("ls").code == code


def test_errors_are_json_where_json_was_asked_for(wire: Wire, cli: Cli) -> None:
    wire.on("GET /agents", error(503, "stopping", "It stops", "Wait"))
    ran = cli("ls", "--json")
    assert json.loads(ran.err) == {
        "error": {"code": "stopping", "message": "It stops", "hint": "Wait"}
    }
    assert ran.out == ""


def test_no_server_ends_with_3_and_says_how_to_start_one(cli: Cli) -> None:
    ran = cli("ls", env={"LIMPET_URL": ""})
    assert ran.code == 3
    assert "limpet serve" in ran.err
