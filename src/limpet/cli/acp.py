"""acp: which agent answers in an agent's threads whose harness is `acp`."""

from typing import Annotated

import typer

from limpet.cli.find import connect, find_agent
from limpet.cli.output import AgentName, Json, done, out, plain, print_json


def acp(
    agent: AgentName,
    command: Annotated[
        str | None,
        typer.Argument(help="What starts it inside the sandbox, in quotes. None: show it."),
    ] = None,
    none: Annotated[bool, typer.Option("--none", help="Take it away.")] = False,
    json: Json = False,
) -> None:
    """Show or change the program that speaks the Agent Client Protocol for an agent.

    Threads use it that choose the harness 'acp'. Examples: limpet acp shop "npx -y
    @google/gemini-cli --experimental-acp"; limpet chat shop --harness acp "What is this?"
    """
    if none and command:
        raise typer.BadParameter("give a command or --none, not both")
    with connect() as limpet:
        found = find_agent(limpet, agent)
        if none or command is not None:
            found = limpet.update_agent(found["id"], acp_command="" if none else command)
    now = found["metadata"]["acp_command"]
    if json:
        print_json({"acp_command": now})
        return
    out.print(plain(now or "none"), markup=False, soft_wrap=True)
    if command is not None:
        done("It counts from the next message on.")
