"""mcp: ls, add, rm, test: other MCP servers that an agent has tools of."""

import os
import re
import sys
from typing import Annotated

import typer

from limpet.cli.find import connect, find_agent
from limpet.cli.output import Json, ago, busy, confirm, done, err, plain, print_json, print_table
from limpet.errors import InvalidInputError

mcp = typer.Typer(
    no_args_is_help=True,
    help="Other MCP servers that an agent has tools of, beside its sandbox's.",
)
AgentName = Annotated[
    str, typer.Argument(metavar="AGENT", help="Its id, the beginning of its id, or its title.")
]
_HEADER = re.compile(r"[A-Za-z0-9_-]{1,128}")
Name = Annotated[str, typer.Argument(metavar="NAME", help="Its tools' names begin with it.")]


@mcp.command("ls")
def ls(agent: AgentName, json: Json = False) -> None:
    """List an agent's MCP servers; of their headers the names."""
    with connect() as limpet:
        servers = limpet.mcp_servers.all(find_agent(limpet, agent)["id"])
    if json:
        print_json({"servers": servers})
        return
    print_table(
        ("NAME", "URL", "HEADERS", "SET", "BY"),
        (
            (
                one["name"],
                one["url"],
                ", ".join(one["header_names"]),
                ago(one["updated_at"]),
                one["updated_by"],
            )
            for one in servers
        ),
        "No MCP servers. Add one: limpet mcp add AGENT NAME URL",
        wrapped=("URL",),
    )


@mcp.command("add")
def add(
    agent: AgentName,
    name: Name,
    url: Annotated[str, typer.Argument(help="Such as https://mcp.example.com/mcp.")],
    from_env: Annotated[
        list[str] | None,
        typer.Option(
            "--header-env",
            metavar="HEADER=VARIABLE",
            help="A header, and the variable that holds its value; again for more.",
        ),
    ] = None,
    asked: Annotated[
        list[str] | None,
        typer.Option(
            "--header",
            metavar="HEADER",
            help="A header whose value is asked for, or is a line of standard input.",
        ),
    ] = None,
    no_headers: Annotated[
        bool, typer.Option("--no-headers", help="Take away the headers that it has.")
    ] = False,
    json: Json = False,
) -> None:
    """Give an agent the tools of an MCP server (streamable HTTP), or change one that it has.

    The server connects to it itself, for its own loop (decopilot); no sandbox sees the headers.
    Without a header option those that it has stay.

    Examples:

      limpet mcp add "My shop" docs https://mcp.example.com/mcp

      limpet mcp add "My shop" crm https://crm.example.com/mcp --header-env Authorization=CRM_AUTH
    """
    if no_headers and (from_env or asked):
        raise typer.BadParameter("give headers, or --no-headers", param_hint="--no-headers")
    headers = _headers(from_env or [], asked or [])
    with connect() as limpet:
        found = find_agent(limpet, agent)
        made = limpet.mcp_servers.set(
            found["id"], name, url, headers if headers or no_headers else None
        )
    if json:
        print_json(made)
        return
    done(f"{found['title']} has the MCP server {made['name']} from the next message on")
    err.print(f"limpet mcp test {found['id']} {made['name']} asks it for its tools.", style="dim")


@mcp.command("test")
def ask(agent: AgentName, name: Name, json: Json = False) -> None:
    """Ask an MCP server for its tools, to see that it answers and takes its headers."""
    with connect() as limpet:
        found = find_agent(limpet, agent)
        with busy(f"Asking {plain(name)}", quiet=json):
            told = limpet.mcp_servers.test(found["id"], name)
    if json:
        print_json(told)
    elif told["ok"]:
        done(f"{name} answers; it has {len(told['tools'])} tools")
        for one in told["tools"]:
            typer.echo(plain(one))
    else:
        problem = told["problem"] or {}
        words = f"{problem.get('message', '')}. {problem.get('hint', '')}"
        err.print(plain(words), style="red", markup=False, soft_wrap=True)
    if not told["ok"]:
        raise typer.Exit(1)


@mcp.command("rm")
def rm(
    agent: AgentName,
    name: Name,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    json: Json = False,
) -> None:
    """Take an MCP server from an agent, and forget its headers."""
    with connect() as limpet:
        found = find_agent(limpet, agent)
        confirm(f"Take {plain(name)} from {found['title']}, and forget its headers?", yes=yes)
        limpet.mcp_servers.delete(found["id"], name)
    if json:
        print_json({"deleted": name})
        return
    done(f"{found['title']} does not have {name} any more")


def _headers(from_env: list[str], asked: list[str]) -> dict[str, str]:
    """The headers; no value is an argument, which others on the machine could see."""
    found: dict[str, str] = {}
    for pair in from_env:
        header, is_pair, variable = pair.partition("=")
        if not (header and is_pair and variable):
            raise typer.BadParameter(
                "say HEADER=VARIABLE, such as Authorization=CRM_AUTH", param_hint="--header-env"
            )
        value = os.environ.get(variable, "").strip()
        if not value:
            # What was typed may be the value itself: it is not repeated.
            raise InvalidInputError(
                f"The variable for the header {header} is not set",
                hint="Give the variable's name, not its value: --header-env HEADER=VARIABLE.",
            )
        found[header] = value
    if any(not _HEADER.fullmatch(header) for header in asked):
        raise typer.BadParameter(
            "give the header's name alone, such as Authorization: its value is asked for",
            param_hint="--header",
        )
    for header in asked:
        found[header] = _asked(header)
    return found


def _asked(header: str) -> str:
    if sys.stdin.isatty():
        told: str = typer.prompt(f"Value of {header}", hide_input=True, err=True)
        return told.strip()
    value = sys.stdin.readline().strip()
    if not value:
        raise InvalidInputError(
            f"The header {header} has no value",
            hint="Give it on standard input, one line for each --header, or by --header-env.",
        )
    return value
