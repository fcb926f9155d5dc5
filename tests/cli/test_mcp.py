"""mcp: headers come by the environment or standard input, never by an argument."""

import subprocess
import sys
from typing import Any

import pytest

from tests.cli.conftest import Cli
from tests.sdk.wire import Wire, error

SERVERS = "/agents/agt_abc123/mcp-servers"
SERVER: dict[str, Any] = {
    "name": "crm", "url": "https://crm.example.com/mcp",
    "header_names": ["Authorization", "X-Team"], "updated_at": "2026-01-01T00:00:00Z",
    "updated_by": "owner",
}  # fmt: skip
ADD = ("mcp", "add", "My shop", "crm", "https://crm.example.com/mcp")


@pytest.fixture(autouse=True)
def answers(wire: Wire) -> None:
    wire.on(f"GET {SERVERS}", {"servers": [SERVER]})
    wire.on(f"POST {SERVERS}", SERVER)
    wire.on(f"DELETE {SERVERS}/crm", {"ok": True})


def test_servers_are_listed_with_the_names_of_their_headers(wire: Wire, cli: Cli) -> None:
    lines = cli("mcp", "ls", "My shop").out.splitlines()
    assert lines[1].split()[:4] == [
        "crm", "https://crm.example.com/mcp", "Authorization,", "X-Team",
    ]  # fmt: skip
    assert cli("mcp", "ls", "My shop", "--json").json == {"servers": [SERVER]}
    wire.on(f"GET {SERVERS}", {"servers": []})
    assert "limpet mcp add" in (ran := cli("mcp", "ls", "My shop")).out + ran.err


def test_headers_come_from_the_environment(wire: Wire, cli: Cli) -> None:
    options = ("--header-env", "Authorization=CRM_AUTH", "--header-env", "X-Team=TEAM")
    env = {"CRM_AUTH": "Bearer sk-live\n", "TEAM": "a=b"}
    ran = cli(*ADD, *options, "--json", env=env)
    assert (ran.code, ran.json) == (0, SERVER)
    assert wire.last(f"POST {SERVERS}").json == {
        "name": "crm", "url": "https://crm.example.com/mcp",
        "headers": {"Authorization": "Bearer sk-live", "X-Team": "a=b"},
    }  # fmt: skip
    told = cli(*ADD, *options, env=env)
    assert "My shop has the MCP server crm" in told.err
    assert "sk-live" not in told.out + told.err


def test_headers_come_by_standard_input_a_line_each(wire: Wire, cli: Cli) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "limpet.cli", *ADD, "--header", "Authorization", "--header", "X-T"],
        env=cli.environ(), cwd=cli.folder, input=b"Bearer sk-live\nteam\n", capture_output=True,
        timeout=60, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    sent = wire.last(f"POST {SERVERS}").json
    assert sent["headers"] == {"Authorization": "Bearer sk-live", "X-T": "team"}


def test_headers_stay_where_none_is_said_and_can_be_taken_away(wire: Wire, cli: Cli) -> None:
    assert cli(*ADD).code == 0
    assert "headers" not in wire.last(f"POST {SERVERS}").json
    assert cli(*ADD, "--no-headers").code == 0
    assert wire.last(f"POST {SERVERS}").json["headers"] == {}


@pytest.mark.parametrize(
    "options",
    [
        ("--header-env", "Authorization"), ("--header-env", "=X"), ("--header-env", "A="),
        ("--header-env", "Authorization=sk-live"), ("--header", "Authorization: sk-live"),
        ("--header", "A=sk-live"), ("--header", "Authorization"),
        ("--no-headers", "--header-env", "A=CRM_AUTH"),
    ],
)  # fmt: skip
def test_wrong_use_is_told_and_no_value_is_repeated(
    wire: Wire, cli: Cli, options: tuple[str, ...]
) -> None:
    ran = cli(*ADD, *options, env={"CRM_AUTH": "Bearer sk-live"})
    assert ran.code == 2
    assert "sk-live" not in ran.out + ran.err
    assert [asked.method for asked in wire.asked if asked.method == "POST"] == []


def test_one_is_tried(wire: Wire, cli: Cli) -> None:
    told = {"ok": True, "tools": ["find", "odd\x1b[31m"], "problem": None}
    wire.on(f"POST {SERVERS}/crm/test", told)
    ran = cli("mcp", "test", "My shop", "crm")
    assert (ran.code, ran.out.splitlines()) == (0, ["find", "odd [31m"])
    assert "2 tools" in ran.err
    assert cli("mcp", "test", "My shop", "crm", "--json").json == told


def test_one_that_is_away_fails_with_what_to_do(wire: Wire, cli: Cli) -> None:
    problem = {"code": "mcp_server_unreachable", "message": "It does not answer", "hint": "Check."}
    wire.on(f"POST {SERVERS}/crm/test", {"ok": False, "tools": [], "problem": problem})
    ran = cli("mcp", "test", "My shop", "crm")
    assert (ran.code, ran.err.strip()) == (1, "It does not answer. Check.")
    assert cli("mcp", "test", "My shop", "crm", "--json").json["problem"] == problem


def test_one_is_taken_away_once_it_was_said(wire: Wire, cli: Cli) -> None:
    assert cli("mcp", "rm", "My shop", "crm").code == 2
    assert [asked.method for asked in wire.asked if asked.method == "DELETE"] == []
    assert cli("mcp", "rm", "My shop", "crm", "--yes", "--json").json == {"deleted": "crm"}
    wire.on(f"DELETE {SERVERS}/crm", error(404, "not_found", "There is none"))
    assert cli("mcp", "rm", "My shop", "crm", "--yes").code == 4


@pytest.mark.parametrize("command", ["ls", "add", "test", "rm"])
def test_every_command_explains_itself(cli: Cli, command: str) -> None:
    ran = cli("mcp", command, "--help")
    assert (ran.code, "--json" in ran.out) == (0, True)
