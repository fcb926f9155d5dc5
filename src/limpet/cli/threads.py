"""threads: ls, show, export, import, rm."""

import json as json_text
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from limpet.cli.chat import Screen
from limpet.cli.find import connect, find_agent, find_thread
from limpet.cli.output import AgentName, Json, ago, confirm, done, print_json, print_table
from limpet.errors import InvalidInputError

threads = typer.Typer(help="Conversations with agents.", no_args_is_help=True)
ThreadName = Annotated[
    str, typer.Argument(metavar="THREAD", help="Its id, the beginning of its id, or its title.")
]
_MAX_BYTES = 64 << 20


@threads.command("ls")
def ls(
    agent: Annotated[str | None, typer.Argument(help="Of this agent alone.")] = None,
    search: Annotated[
        str | None, typer.Option("--search", "-s", help="Whose title or messages hold this.")
    ] = None,
    archived: Annotated[bool, typer.Option("--archived", help="Those put away.")] = False,
    json: Json = False,
) -> None:
    """List threads, the last used one first."""
    with connect() as limpet:
        agent_id = find_agent(limpet, agent)["id"] if agent else None
        found = limpet.threads.all(agent_id=agent_id, search=search, archived=archived)
        if json:
            print_json(found)
            return
        titles = {one["id"]: one["title"] for one in limpet.agents()}
    print_table(
        ("ID", "AGENT", "TITLE", "STATUS", "COST", "USED"),
        (
            (
                thread["id"],
                titles.get(thread["agent_id"], ""),
                thread["title"],
                thread["status"],
                _cost(thread["usage"]["cost_usd"]),
                ago(thread["updated_at"]),
            )
            for thread in found
        ),
        "No threads. `limpet chat AGENT` begins one.",
        wrapped=("TITLE",),
    )


@threads.command("show")
def show(thread: ThreadName, json: Json = False) -> None:
    """Show what was said and done in a thread."""
    with connect() as limpet:
        found = find_thread(limpet, thread)
        events = limpet.threads.events(found["id"])
    if json:
        print_json(events)
        return
    screen = Screen(json=False)
    for kept in events:
        screen.show(dict(kept), whole=True)


@threads.command("export")
def export(
    thread: ThreadName,
    to: Annotated[
        Path | None, typer.Option("--to", "-o", help="A file; default: standard output.")
    ] = None,
) -> None:
    """Write a thread as one JSON document."""
    with connect() as limpet:
        document = limpet.threads.export(find_thread(limpet, thread)["id"])
    if to is None:
        print_json(document)
        return
    to.write_text(json_text.dumps(document, indent=1, ensure_ascii=False), encoding="utf-8")
    done(f"Exported {document['thread']['title']!r} to {to}")


@threads.command("import")
def import_(
    agent: AgentName,
    file: Annotated[Path, typer.Argument(help="An exported thread, or - for standard input.")],
    json: Json = False,
) -> None:
    """Take in an exported thread as one of the agent's, and go on with it."""
    document = _document(file)
    with connect() as limpet:
        made = limpet.threads.import_(find_agent(limpet, agent)["id"], document)
    if json:
        print_json(made)
        return
    done(f"Imported {made['title']!r} as {made['id']}")


@threads.command("rm")
def rm(
    thread: ThreadName,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    json: Json = False,
) -> None:
    """Delete a thread. Its branch and its snapshots stay."""
    with connect() as limpet:
        found = find_thread(limpet, thread)
        confirm(f"Delete {found['title']!r}?", yes=yes or json)
        limpet.threads.delete(found["id"])
    if json:
        print_json({"deleted": found["id"]})
        return
    done(f"Deleted {found['title']!r}")


def _document(file: Path) -> dict[str, Any]:
    if str(file) == "-":
        text = sys.stdin.read(_MAX_BYTES)
    else:
        with file.open(encoding="utf-8", errors="replace") as opened:
            text = opened.read(_MAX_BYTES)
    try:
        told = json_text.loads(text)
    except ValueError as error:
        raise InvalidInputError(f"{file} is no JSON: {error}") from None
    if not isinstance(told, dict):
        raise InvalidInputError(f"{file} is no exported thread")
    return told


def _cost(usd: float | None) -> str:
    return "" if usd is None else f"${usd:.2f}"
