"""new, ls, rm, open: agents and where to see them."""

import os
import webbrowser
from typing import Annotated

import typer

from limpet.cli.boot import start_and_follow
from limpet.cli.find import find_agent
from limpet.cli.output import (
    AgentName,
    Branch,
    Json,
    ago,
    confirm,
    err,
    out,
    print_json,
    print_table,
)
from limpet.sdk import Client


def new(
    template: Annotated[
        str | None, typer.Argument(help="A bundled template, such as 'webapp'.")
    ] = None,
    name: Annotated[str | None, typer.Option("--name", "-n", help="The agent's title.")] = None,
    clone_url: Annotated[
        str | None, typer.Option(help="Start from this https repository instead of a template.")
    ] = None,
    user: Annotated[str | None, typer.Option(help="User name for the clone URL.")] = None,
    password_env: Annotated[
        str | None,
        typer.Option(help="The environment variable that holds the clone URL's password or token."),
    ] = None,
    open_: Annotated[bool, typer.Option("--open", help="Open the agent in the browser.")] = False,
    wait: Annotated[bool, typer.Option(help="Follow the boot until the preview is up.")] = True,
    json: Json = False,
) -> None:
    """Make an agent, start its sandbox and follow the boot until its preview is up."""
    if template and clone_url:
        raise typer.BadParameter("give a template or --clone-url, not both")
    if password_env and password_env not in os.environ:
        raise typer.BadParameter(f"{password_env} is not set", param_hint="--password-env")
    with Client.discover() as limpet:
        agent = limpet.create_agent(
            title=name,
            template=template,
            clone_url=clone_url,
            clone_username=user,
            clone_password=os.environ[password_env] if password_env else None,
        )
        if not json:
            err.print(f"[green]✓[/] {agent['title']}  [dim]{agent['id']}[/]")
        has_source = bool(template or clone_url)
        started = start_and_follow(
            limpet,
            agent["id"],
            lambda: limpet.start(agent["id"]),
            wait=wait and has_source,
            quiet=json,
        )
        if json:
            print_json({"agent": agent, **started})
        else:
            out.print(started["previewUrl"] or "")
        if open_:
            _open(limpet, agent["id"])


def ls(json: Json = False) -> None:
    """List the agents and their sandboxes."""
    with Client.discover() as limpet:
        agents, boxes = limpet.agents(), limpet.sandboxes()
    if json:
        print_json({"agents": agents, "sandboxes": boxes})
        return
    rows = []
    for agent in agents:
        own = [box for box in boxes if box["agent_id"] == agent["id"]]
        for box in own:
            phase = f" ({box['phase']})" if box["phase"] and box["state"] == "running" else ""
            last = box["last_save"]
            saved = "saving…" if box["saving"] else ago(last["created_at"] if last else None)
            marks = " detached" if box["detached"] else ""
            marks += " unsaved work" if box["unsaved"] else ""
            rows.append(
                (agent["title"], agent["id"], box["branch"], box["state"] + phase, saved + marks)
            )
        if not own:
            rows.append((agent["title"], agent["id"], agent["default_branch"], "never started", ""))
    print_table(
        ("AGENT", "ID", "BRANCH", "STATE", "SAVED"),
        rows,
        "No agents yet. Make one: limpet new webapp --open",
    )


def rm(
    agent: AgentName,
    sandbox: Annotated[
        bool, typer.Option("--sandbox", help="Only its sandbox; the agent and snapshots stay.")
    ] = False,
    force: Annotated[bool, typer.Option(help="Even when the last save fails.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    branch: Branch = None,
    json: Json = False,
) -> None:
    """Delete an agent with its sandboxes, or only its sandbox."""
    with Client.discover() as limpet:
        found = find_agent(limpet, agent)
        if sandbox:
            deleted = limpet.delete_sandbox(found["id"], branch, force=force)
            answer: dict[str, object] = dict(deleted)
        else:
            confirm(f"Delete {found['title']!r}, its sandboxes and its snapshots?", yes=yes)
            limpet.delete_agent(found["id"])
            answer = {"success": True, "agent": found["id"]}
    if json:
        print_json(answer)
    else:
        err.print(f"[green]✓[/] Deleted {'the sandbox of ' if sandbox else ''}{found['title']}")


def open_page(
    agent: Annotated[
        str | None, typer.Argument(metavar="[AGENT]", help="Its id or title; none: the home page.")
    ] = None,
    json: Json = False,
) -> None:
    """Open the web app in the browser, signed in."""
    with Client.discover() as limpet:
        found = find_agent(limpet, agent) if agent else None
        url = _link(limpet, found["id"] if found else None)
        if json:
            print_json({"url": url})
            return
        out.print(url)
        webbrowser.open(url)


def _open(limpet: Client, agent_id: str) -> None:
    webbrowser.open(_link(limpet, agent_id))


def _link(limpet: Client, agent_id: str | None) -> str:
    """A URL that signs the browser in and leads to the agent's page."""
    link = limpet.sign_in_link()
    return f"{link}&next=/local/agents/{agent_id}" if agent_id else link
