"""acp: the program that speaks the Agent Client Protocol for an agent."""

from typing import Any

from tests.cli.conftest import AGENT, Cli
from tests.sdk.wire import Wire

COMMAND = "npx -y @google/gemini-cli --experimental-acp"


def answer(wire: Wire, before: str | None, after: str | None) -> None:
    def agent(command: str | None) -> dict[str, Any]:
        return {**AGENT, "metadata": {**AGENT["metadata"], "acp_command": command}}

    wire.on("GET /agents", {"agents": [agent(before)]})
    wire.on("PATCH /agents/agt_abc123", agent(after))


def test_it_is_shown(wire: Wire, cli: Cli) -> None:
    answer(wire, None, None)
    assert cli("acp", "My shop").out.strip() == "none"
    answer(wire, COMMAND, None)
    assert cli("acp", "My shop").out.strip() == COMMAND
    assert cli("acp", "My shop", "--json").json == {"acp_command": COMMAND}


def test_it_is_set_and_taken_away(wire: Wire, cli: Cli) -> None:
    answer(wire, None, COMMAND)
    ran = cli("acp", "My shop", COMMAND)
    assert wire.last("PATCH /agents/agt_abc123").json == {"acp_command": COMMAND}
    assert ran.out.strip() == COMMAND
    assert "next message" in ran.err
    answer(wire, COMMAND, None)
    assert cli("acp", "My shop", "--none").out.strip() == "none"
    assert wire.last("PATCH /agents/agt_abc123").json == {"acp_command": None}


def test_a_command_and_none_do_not_go_together(wire: Wire, cli: Cli) -> None:
    answer(wire, None, None)
    assert cli("acp", "My shop", COMMAND, "--none").code == 2
