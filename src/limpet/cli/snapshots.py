"""snapshots ls, save, restore, export, import; the others are registered here."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from limpet.cli import history, inside
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
    print_table,
    receipt_line,
    size,
    transfer,
    until,
)

if TYPE_CHECKING:
    from limpet.sdk.models import Snapshot

snapshots = typer.Typer(no_args_is_help=True, help="What was saved of an agent's workspace.")


@snapshots.command("ls")
def list_snapshots(agent: AgentName, branch: Branch = None, json: Json = False) -> None:
    """List an agent's snapshots with their receipts, newest first.

    '*' is what a start restores; ASIDE says why work was kept beside the branch's own line, GOES
    when one that was deleted, or is too old to be kept, goes.
    """
    with connect() as limpet:
        found = find_agent(limpet, agent)
        listed = limpet.snapshots(found["id"], branch)
    if json:
        print_json({"snapshots": listed})
        return
    rows = [
        (
            ("* " if s["is_head"] and s["lineage"] == "main" else "  ") + s["id"],
            ago(s["created_at"]),
            _why(s),
            "" if s["lineage"] == "main" else s["side_reason"] or "aside",
            size(s["size_bytes"]),
            receipt_line(s),
            until(s["deleted_after"]) if s["condemned_at"] else "",
            s["name"] or "",
        )
        for s in listed
    ]
    print_table(
        ("  SNAPSHOT", "WHEN", "WHY", "ASIDE", "SIZE", "RECEIPT", "GOES", "NAME"),
        rows,
        "No snapshots yet. A sandbox is saved when it falls idle, or: limpet snapshots save AGENT",
        wrapped=("RECEIPT", "NAME"),
    )
    aside = [s["id"] for s in listed if s["adoptable"] and not s["condemned_at"]]
    if aside:
        err.print(
            f"{len(aside)} kept aside. To make one the head: "
            f"limpet snapshots restore {found['id']} {aside[0]}{_on(branch)}",
            markup=False,
            soft_wrap=True,
        )


@snapshots.command("save")
def save(
    agent: AgentName,
    name: Annotated[str | None, typer.Option("--name", "-n", help="A name to keep it by.")] = None,
    branch: Branch = None,
    json: Json = False,
) -> None:
    """Save an agent's sandbox now.

    All of its workspace but tmp/, and what files called .limpetignore leave out.

    They are written as a .gitignore is. What is left out is not there after a restore.
    """
    with connect() as limpet:
        found = find_agent(limpet, agent)
        with busy("Saving the workspace", quiet=json):
            saved = limpet.save(found["id"], branch, name=name)
    if json:
        print_json(saved)
        return
    done(f"Saved {saved['id']}: {size(saved['size_bytes'])}, {receipt_line(saved)}")


@snapshots.command("restore")
def restore(
    agent: AgentName,
    snapshot: SnapshotName,
    branch: Branch = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    json: Json = False,
) -> None:
    """Go back to a snapshot, or make one that was kept aside the head.

    What is there now is saved first. What tmp/ holds, and what .limpetignore files leave out, is
    in no snapshot and is gone afterwards.
    """
    with connect() as limpet:
        found = find_agent(limpet, agent)
        chosen = find_snapshot(limpet, found, snapshot, branch)
        confirm(
            f"Bring {found['title']!r} back to {chosen['id']} ({ago(chosen['created_at'])})? "
            "What is there now is saved first.",
            yes=yes,
        )
        with busy("Saving the present, restoring the past", quiet=json):
            restored = limpet.restore(found["id"], chosen["id"], branch)
    if json:
        print_json(restored)
        return
    first = restored["saved_first"]
    done(f"{found['title']} is back at {chosen['id']}")
    if first:
        back = f"limpet snapshots restore {found['id']} {first['id']}{_on(branch)}"
        err.print(f"  What was there before: {back}", markup=False, soft_wrap=True)


@snapshots.command("export")
def export(
    agent: AgentName,
    snapshot: SnapshotName,
    file: Annotated[Path, typer.Argument(help="The tar to write; any tar can read it.")],
    branch: Branch = None,
    force: Annotated[bool, typer.Option(help="Replace the file if it is there.")] = False,
    json: Json = False,
) -> None:
    """Write a snapshot to a plain tar."""
    if file.exists() and not force:
        raise typer.BadParameter(f"{file} is there already; say --force to replace it")
    if not file.absolute().parent.is_dir():
        raise typer.BadParameter(f"there is no folder {file.absolute().parent}")
    with connect() as limpet:
        found = find_agent(limpet, agent)
        chosen = find_snapshot(limpet, found, snapshot, branch)
        with transfer("Exporting", quiet=json) as progress:
            written = limpet.export(
                found["id"],
                chosen["id"],
                file.absolute(),
                branch=branch,
                progress=lambda so_far, _: progress(so_far, chosen["size_bytes"]),
            )
    if json:
        print_json({"file": str(file), "size_bytes": written, "snapshot": chosen["id"]})
    else:
        done(f"{file}: {size(written)}")


@snapshots.command("import")
def import_(
    agent: AgentName,
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="A plain tar.")],
    branch: Branch = None,
    json: Json = False,
) -> None:
    """Make a plain tar of a workspace the agent's newest snapshot."""
    with connect() as limpet:
        found = find_agent(limpet, agent)
        with transfer("Importing", quiet=json) as progress:
            made = limpet.import_tar(found["id"], file, branch=branch, progress=progress)
    if json:
        print_json(made)
    else:
        done(f"Stored as {made['id']}: {size(made['size_bytes'])}, {receipt_line(made)}")
        if made["lineage"] != "main":
            err.print(
                "  It lies aside while the sandbox runs. To use it: "
                f"limpet snapshots restore {found['id']} {made['id']}",
                markup=False,
                soft_wrap=True,
            )


def _why(snapshot: "Snapshot") -> str:
    """Why it was made, and of a fork, or of going back, from which snapshot."""
    made_from = snapshot["made_from"]
    if made_from is None:
        return snapshot["reason"]
    if (made_from["agent_id"], made_from["branch"]) == (snapshot["agent_id"], snapshot["branch"]):
        return f"{snapshot['reason']} to {made_from['snapshot_id']}"
    agent = made_from["agent_id"]
    whose = "" if agent == snapshot["agent_id"] else f"{agent} "
    return f"{snapshot['reason']} of {whose}{made_from['branch']} {made_from['snapshot_id']}"


def _on(branch: str | None) -> str:
    return f" -b {branch}" if branch else ""


history.register(snapshots)
inside.register(snapshots)
