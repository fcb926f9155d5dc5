"""new, ls, rm, open: agents and where to see them."""

import os
import webbrowser
from typing import TYPE_CHECKING, Annotated

import typer

from limpet.cli.egress import Allow, Mode, Registries, chosen
from limpet.cli.find import connect, find_agent, find_sandbox
from limpet.cli.output import (
    AgentName,
    Branch,
    Json,
    ago,
    busy,
    confirm,
    done,
    err,
    out,
    print_json,
    print_table,
)
from limpet.errors import NotFoundError

if TYPE_CHECKING:
    from limpet.sdk import Client
    from limpet.sdk.models import Sandbox

_ENDS = {"gone": "ended by itself", "interrupted": "its start was cut off"}


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
    start_command: Annotated[
        str | None,
        typer.Option(help="What a shell runs to start the app, in place of what is detected."),
    ] = None,
    acp_command: Annotated[
        str | None,
        typer.Option(help="What starts an agent that speaks the Agent Client Protocol."),
    ] = None,
    egress: Annotated[Mode | None, typer.Option(help="Where its sandboxes may connect to.")] = None,
    allow: Allow = None,
    registries: Registries = True,
    open_: Annotated[bool, typer.Option("--open", help="Open the agent in the browser.")] = False,
    wait: Annotated[
        bool, typer.Option("--wait/--no-wait", help="Follow the boot until the preview is up.")
    ] = True,
    json: Json = False,
) -> None:
    """Make an agent, start its sandbox and follow the boot until its preview is up.

    Prints the preview's URL. Examples: limpet new webapp --open;
    limpet new --clone-url https://git.example.org/me/site.git
    """
    from limpet.cli.boot import start_and_follow

    if template and clone_url:
        raise typer.BadParameter("give a template or --clone-url, not both")
    if password_env and password_env not in os.environ:
        raise typer.BadParameter(f"{password_env} is not set", param_hint="--password-env")
    with connect() as limpet:
        if template and template not in (known := [t["name"] for t in limpet.templates()]):
            raise NotFoundError(
                f"There is no template {template!r}", hint=f"There is: {', '.join(known) or 'none'}"
            )
        agent = limpet.create_agent(
            title=name,
            template=template,
            clone_url=clone_url,
            clone_username=user,
            clone_password=os.environ[password_env] if password_env else None,
            start_command=start_command,
            acp_command=acp_command,
            egress=chosen(egress, allow, registries=registries),
        )
        if not json:
            done(f"Made {agent['title']} ({agent['id']})")
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
        elif started["previewUrl"]:
            out.print(started["previewUrl"], markup=False)
        if open_:
            _open(limpet, agent["id"], quiet=json)


def ls(json: Json = False) -> None:
    """List the agents and their sandboxes."""
    with connect() as limpet:
        agents, boxes = limpet.agents(), limpet.sandboxes()
    if json:
        print_json({"agents": agents, "sandboxes": boxes})
        return
    rows = []
    for agent in agents:
        own = [box for box in boxes if box["agent_id"] == agent["id"]]
        for box in own:
            last = box["last_save"]
            saved = [
                "saving…" if box["saving"] else ago(last["created_at"] if last else None),
                "unsaved work" if box["unsaved"] else "",
                "detached" if box["detached"] else "",
                f"{len(box['side_snapshots'])} kept aside" if box["side_snapshots"] else "",
                "last save failed" if box["last_save_error"] else "",
            ]
            saves = ", ".join(part for part in saved if part)
            rows.append((agent["title"], agent["id"], box["branch"], _state(box), saves))
        if not own:
            rows.append((agent["title"], agent["id"], agent["default_branch"], "never started", ""))
    print_table(
        ("AGENT", "ID", "BRANCH", "STATE", "SAVED"),
        rows,
        "No agents yet. Make one: limpet new webapp --open",
        wrapped=("AGENT", "BRANCH", "SAVED"),
    )


def _state(box: "Sandbox") -> str:
    """How it is, and more where that is not what somebody wanted."""
    more = None
    if box["state"] == "running":
        more = box["phase"] if box["phase"] != "running" else None
    elif box["state"] == "stopped" and box["ended"]:
        more = _ENDS.get(box["ended"]["reason"])
    return f"{box['state']} ({more})" if more else box["state"]


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
    with connect() as limpet:
        found = find_agent(limpet, agent)
        if sandbox:
            with busy("Saving, then deleting the sandbox", quiet=json):
                deleted = limpet.delete_sandbox(found["id"], branch, force=force)
            answer: dict[str, object] = dict(deleted)
        else:
            confirm(f"Delete {found['title']!r}, its sandboxes and its snapshots?", yes=yes)
            with busy("Deleting", quiet=json):
                limpet.delete_agent(found["id"])
            answer = {"success": True, "agent": found["id"]}
    if json:
        print_json(answer)
    else:
        done(f"Deleted {'the sandbox of ' if sandbox else ''}{found['title']}")


def open_page(
    agent: Annotated[
        str | None, typer.Argument(metavar="[AGENT]", help="Its id or title; none: the home page.")
    ] = None,
    preview: Annotated[
        bool,
        typer.Option("--preview", help="Its preview alone, in a tab of its own."),
    ] = False,
    branch: Branch = None,
    json: Json = False,
) -> None:
    """Open the web app in the browser, signed in; or an agent's preview, private ones too."""
    if agent is None and (preview or branch):
        raise typer.BadParameter("say whose preview", param_hint="AGENT")
    if branch and not preview:
        raise typer.BadParameter("it is for --preview", param_hint="--branch")
    with connect() as limpet:
        found = find_agent(limpet, agent) if agent else None
        if found and preview:
            box = find_sandbox(limpet, found, branch)
            url = limpet.previews.open(box["handle"])["url"]
        else:
            url = _link(limpet, found["id"] if found else None)
        if json:
            print_json({"url": url})
            return
        out.print(url, markup=False)
        if not webbrowser.open(url):
            err.print("No browser could be opened here; open that URL in yours.", style="dim")


def _open(limpet: "Client", agent_id: str, *, quiet: bool) -> None:
    """The agent's page in the browser, where there is one."""
    url = _link(limpet, agent_id)
    if not webbrowser.open(url) and not quiet:
        err.print("No browser could be opened here. Open this in yours:", style="dim")
        err.print(url, markup=False, soft_wrap=True)


def _link(limpet: "Client", agent_id: str | None) -> str:
    """A URL that signs the browser in and leads to the agent's page."""
    link = limpet.sign_in_link()
    return f"{link}&next=/local/agents/{agent_id}" if agent_id else link
