"""secrets: values come by standard input or the environment, never by an argument."""

import subprocess
import sys
from typing import Any

import pytest

from tests.cli.conftest import Cli
from tests.sdk.wire import Wire, error

SECRET = {
    "name": "API_KEY", "agent_id": "agt_abc123", "updated_at": "2026-01-01T00:00:00Z",
    "updated_by": "owner",
}  # fmt: skip
CHANGED: dict[str, Any] = {
    "secret": SECRET, "given_to": ["calm-cove-0123"], "not_reached": [], "note": "What runs keeps.",
}  # fmt: skip


@pytest.fixture(autouse=True)
def answers(wire: Wire) -> None:
    wire.on("GET /secrets", {"secrets": [SECRET, {**SECRET, "name": "B", "agent_id": None}]})
    wire.on("POST /secrets", CHANGED)
    wire.on("DELETE /secrets/API_KEY", {**CHANGED, "secret": None})


def with_input(cli: Cli, given: bytes, *arguments: str) -> tuple[int, str]:
    ran = subprocess.run(
        [sys.executable, "-m", "limpet.cli", *arguments],
        env=cli.environ(), cwd=cli.folder, input=given, capture_output=True, timeout=60,
        check=False,
    )  # fmt: skip
    assert b"Traceback" not in ran.stderr
    return ran.returncode, (ran.stdout + ran.stderr).decode()


def test_names_are_listed_with_whom_they_are_for(wire: Wire, cli: Cli) -> None:
    lines = cli("secrets", "ls", "My shop").out.splitlines()
    assert [line.split()[:3] for line in lines[1:]] == [
        ["API_KEY", "this", "agent"], ["B", "all", "agents"],
    ]  # fmt: skip
    assert wire.last("GET /secrets").query == {"agent_id": "agt_abc123"}
    assert cli("secrets", "ls", "--json").json["secrets"][0] == SECRET
    assert wire.last("GET /secrets").query == {}


@pytest.mark.parametrize(
    ("given", "value"),
    [
        (b"sk-live", "sk-live"), (b"sk-live\n", "sk-live"), (b"sk-live\r\n", "sk-live"),
        (b"one\ntwo\n\n", "one\ntwo\n"), ("é".encode(), "é"),
    ],
)  # fmt: skip
def test_a_value_is_read_from_standard_input(
    wire: Wire, cli: Cli, given: bytes, value: str
) -> None:
    code, told = with_input(cli, given, "secrets", "set", "API_KEY", "-a", "My shop")
    assert code == 0, told
    assert wire.last("POST /secrets").json == {
        "name": "API_KEY", "value": value, "agent_id": "agt_abc123",
    }  # fmt: skip
    assert "Set API_KEY, also in 1 running sandbox" in told
    assert "What runs keeps." in told
    assert "sk-live" not in told


def test_a_value_may_come_from_the_environment_for_all_of_the_org(wire: Wire, cli: Cli) -> None:
    arguments = ("secrets", "set", "API_KEY", "--org", "--from-env", "MINE")
    ran = cli(*arguments, "--json", env={"MINE": "sk-live\n"})
    assert ran.json == CHANGED
    assert wire.last("POST /secrets").json == {
        "name": "API_KEY", "value": "sk-live\n", "agent_id": None,
    }  # fmt: skip
    missing = cli(*arguments)
    assert missing.code == 2
    assert "MINE is not set" in missing.err


@pytest.mark.parametrize("scope", [(), ("--org", "-a", "My shop")])
def test_whom_it_is_for_must_be_said(wire: Wire, cli: Cli, scope: tuple[str, ...]) -> None:
    code, told = with_input(cli, b"sk-live", "secrets", "set", "API_KEY", *scope)
    assert code == 2
    assert "--org" in told
    assert "sk-live" not in told


def test_a_value_that_is_no_text_is_refused(cli: Cli) -> None:
    code, told = with_input(cli, b"\xff\xfe", "secrets", "set", "API_KEY", "--org")
    assert code == 2
    assert "not UTF-8" in told


def test_a_secret_is_deleted_when_that_is_said_twice(wire: Wire, cli: Cli) -> None:
    assert cli("secrets", "rm", "API_KEY", "-a", "My shop").code == 2
    ran = cli("secrets", "rm", "API_KEY", "-a", "My shop", "--yes")
    assert ran.code == 0
    assert "Deleted API_KEY" in ran.err
    assert wire.last("DELETE /secrets/API_KEY").query == {"agent_id": "agt_abc123"}


def test_a_sandbox_that_was_not_reached_is_named(wire: Wire, cli: Cli) -> None:
    wire.on("POST /secrets", {**CHANGED, "given_to": [], "not_reached": ["calm-cove-0123"]})
    _, told = with_input(cli, b"sk-live", "secrets", "set", "API_KEY", "--org")
    assert "calm-cove-0123 did not answer" in told


def test_a_refusal_is_told(wire: Wire, cli: Cli) -> None:
    wire.on("POST /secrets", error(400, "reserved_name", "PATH cannot be set as a secret"))
    code, told = with_input(cli, b"sk-live", "secrets", "set", "PATH", "--org")
    assert code == 2
    assert "PATH cannot be set as a secret" in told
