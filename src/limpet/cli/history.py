"""snapshots fork, name, delete: what becomes of a branch's history."""

from typing import Annotated

import typer

from limpet.cli.find import connect, find_agent, find_snapshot
from limpet.cli.output import (
    AgentName,
    Branch,
    Json,
    SnapshotName,
    ago,
    busy,
    confirm,
    done,
    err,
    print_json,
    until,
)


def fork(
    agent: AgentName,
    snapshot: SnapshotName,
    to_branch: Annotated[
        str | None, typer.Option("--to", "-t", help="The branch to begin; default: a made-up name.")
    ] = None,
    new_agent: Annotated[
        bool, typer.Option("--new-agent", help="For a new agent with the same settings.")
    ] = False,
    title: Annotated[
        str | None, typer.Option("--title", help="What to call the new agent.")
    ] = None,
    to_agent: Annotated[
        str | None, typer.Option("--to-agent", help="For another agent that is there.")
    ] = None,
    name: Annotated[
        str | None, typer.Option("--name", "-n", help="A name for the new snapshot.")
    ] = None,
    branch: Branch = None,
    json: Json = False,
) -> None:
    """Begin another branch, or a new agent, with a snapshot. Nothing is copied.

    Examples:

      limpet snapshots fork shop latest --to trial/colours

      limpet snapshots fork shop "before the move" --new-agent --title "Shop, moved"
    """
    if title is not None and not new_agent:
        raise typer.BadParameter("is for a new agent; say --new-agent too", param_hint="--title")
    if new_agent and to_agent is not None:
        raise typer.BadParameter("say one of --new-agent and --to-agent", param_hint="--to-agent")
    with connect() as limpet:
        found = find_agent(limpet, agent)
        other = find_agent(limpet, to_agent)["id"] if to_agent is not None else None
        chosen = find_snapshot(limpet, found, snapshot, branch)
        with busy("Forking", quiet=json):
            made = limpet.fork(
                found["id"],
                chosen["id"],
                branch,
                to_branch=to_branch,
                to_agent_id=other,
                new_agent=new_agent,
                title=title,
                name=name,
            )
    if json:
        print_json(made)
        return
    whose = made["agent"]
    what = f"{whose['title']} ({whose['id']})" if made["is_new_agent"] else made["branch"]
    done(f"{what} begins with {chosen['id']} ({ago(chosen['created_at'])})")
    other_branch = "" if made["branch"] == whose["default_branch"] else f" -b {made['branch']}"
    _say(f"Start it: limpet start {whose['id']}{other_branch}")


def name(
    agent: AgentName,
    snapshot: SnapshotName,
    to: Annotated[str | None, typer.Argument(metavar="[NAME]", help="1 to 100 characters.")] = None,
    none: Annotated[bool, typer.Option("--none", help="Take its name away.")] = False,
    branch: Branch = None,
    json: Json = False,
) -> None:
    """Name a snapshot, which keeps it until it is deleted; one that was deleted is kept after all.

    Examples:

      limpet snapshots name shop latest "before the move"

      limpet snapshots name shop "before the move" --none
    """
    if (to is None) != none:
        raise typer.BadParameter("give a NAME, or --none", param_hint="NAME")
    with connect() as limpet:
        found = find_agent(limpet, agent)
        chosen = find_snapshot(limpet, found, snapshot, branch)
        named = limpet.name_snapshot(found["id"], chosen["id"], to, branch)
    if json:
        print_json(named)
    elif named["name"] is None:
        done(f"{named['id']} has no name any more; it is kept as long as others of its age")
    else:
        done(f"{named['id']} is {named['name']!r} and is kept until you delete it")


def delete(
    agent: AgentName,
    snapshot: SnapshotName,
    branch: Branch = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    json: Json = False,
) -> None:
    """Delete a snapshot. Its bytes go 24 hours later at the earliest; a name keeps it until then.

    Example:

      limpet snapshots delete shop 20261124t101500z-0123456789ab
    """
    with connect() as limpet:
        found = find_agent(limpet, agent)
        chosen = find_snapshot(limpet, found, snapshot, branch)
        called = f" {chosen['name']!r}" if chosen["name"] else ""
        confirm(
            f"Delete the snapshot{called} {chosen['id']} ({ago(chosen['created_at'])}) of "
            f"{found['title']!r}?",
            yes=yes,
        )
        gone = limpet.delete_snapshot(found["id"], chosen["id"], branch)
    if json:
        print_json(gone)
        return
    done(f"{gone['id']} is going to be deleted {until(gone['deleted_after'])}")
    other_branch = f" -b {branch}" if branch else ""
    _say(f"To keep it: limpet snapshots name {found['id']} {gone['id']} NAME{other_branch}")


def register(snapshots: typer.Typer) -> None:
    """Add the commands to `limpet snapshots`."""
    snapshots.command("fork")(fork)
    snapshots.command("name")(name)
    snapshots.command("delete")(delete)


def _say(text: str) -> None:
    err.print(f"  {text}", markup=False, soft_wrap=True)
