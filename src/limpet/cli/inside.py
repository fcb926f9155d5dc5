"""snapshots files, cat, download, diff: looking into snapshots with no sandbox running."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from limpet.cli.find import connect, find_agent, find_snapshot
from limpet.cli.output import (
    AgentName,
    Branch,
    Json,
    SnapshotName,
    busy,
    done,
    err,
    out,
    plain,
    print_json,
    print_table,
    size,
    transfer,
)

if TYPE_CHECKING:
    from limpet.sdk.models import SnapshotChange, SnapshotEntry

Path_ = Annotated[
    str, typer.Argument(metavar="PATH", help="Relative to the workspace, such as repo/README.md.")
]
_SIGNS = {"added": "+", "removed": "-", "changed": "~", "renamed": ">"}
_COLOURS = {"added": "green", "removed": "red", "changed": "yellow", "renamed": "cyan"}


def files(
    agent: AgentName,
    snapshot: SnapshotName,
    path: Annotated[
        str, typer.Argument(metavar="[PATH]", help="A folder; default: the workspace.")
    ] = "",
    recursive: Annotated[bool, typer.Option("--recursive", "-r", help="All below it.")] = False,
    branch: Branch = None,
    json: Json = False,
) -> None:
    """List the files of a snapshot."""
    with connect() as limpet:
        found = find_agent(limpet, agent)
        chosen = find_snapshot(limpet, found, snapshot, branch)
        listed = list(
            limpet.files(found["id"], chosen["id"], path, branch=branch, recursive=recursive)
        )
    if json:
        print_json({"snapshot": chosen["id"], "path": path, "entries": listed})
        return
    print_table(
        ("MODE", "SIZE", "MODIFIED", "PATH", "NOTE"),
        [
            (
                one["mode"],
                "" if one["type"] == "folder" else size(one["size_bytes"]),
                (one["modified_at"] or "")[:19].replace("T", " "),
                _shown(one),
                "may hold secrets" if one["secret"] else "",
            )
            for one in listed
        ],
        "The folder is empty.",
    )


def cat(agent: AgentName, snapshot: SnapshotName, path: Path_, branch: Branch = None) -> None:
    """Write a file of a snapshot to standard output, as it is."""
    with connect() as limpet:
        found = find_agent(limpet, agent)
        chosen = find_snapshot(limpet, found, snapshot, branch)
        # A folder would come as a tar: this says that it is none to be shown.
        limpet.read_file(found["id"], chosen["id"], path, branch=branch, limit=1)
        with limpet.contents(found["id"], chosen["id"], path, branch=branch) as stream:
            for chunk in stream:
                sys.stdout.buffer.write(chunk)
            sys.stdout.buffer.flush()


def download(
    agent: AgentName,
    snapshot: SnapshotName,
    path: Path_,
    file: Annotated[
        Path | None, typer.Argument(help="Where to; default: the same name here.")
    ] = None,
    branch: Branch = None,
    force: Annotated[bool, typer.Option(help="Replace the file if it is there.")] = False,
    json: Json = False,
) -> None:
    """Store a file of a snapshot here, or a folder as a plain tar."""
    with connect() as limpet:
        found = find_agent(limpet, agent)
        chosen = find_snapshot(limpet, found, snapshot, branch)
        name = path.rstrip("/").rpartition("/")[2] or chosen["id"]
        target = file or Path(name)
        if target.exists() and not force:
            raise typer.BadParameter(f"{target} is there already; say --force to replace it")
        if not target.absolute().parent.is_dir():
            raise typer.BadParameter(f"there is no folder {target.absolute().parent}")
        with transfer("Downloading", quiet=json) as progress:
            written = limpet.download(
                found["id"], chosen["id"], path, target.absolute(),
                branch=branch, progress=progress,
            )  # fmt: skip
    if json:
        print_json({"file": str(target), "size_bytes": written, "snapshot": chosen["id"]})
    else:
        done(f"{target}: {size(written)}")


def diff(
    agent: AgentName,
    snapshot: SnapshotName,
    other: Annotated[
        str | None,
        typer.Argument(metavar="[OTHER]", help="Default: the snapshot before it."),
    ] = None,
    path: Annotated[str, typer.Option("--path", "-p", help="Only what is below it.")] = "",
    names: Annotated[bool, typer.Option("--names", help="Only which files differ.")] = False,
    times: Annotated[bool, typer.Option("--times", help="Also where only the time differs.")] = (
        False
    ),
    expand: Annotated[bool, typer.Option("--all", help="Every file of whole new folders.")] = False,
    branch: Branch = None,
    json: Json = False,
) -> None:
    """Show what changed from OTHER to SNAPSHOT: files added, removed, changed, renamed."""
    with connect() as limpet:
        found = find_agent(limpet, agent)
        chosen = find_snapshot(limpet, found, snapshot, branch)
        against = find_snapshot(limpet, found, other, branch)["id"] if other else None
        with busy("Comparing", quiet=json):
            told = limpet.diff(
                found["id"], chosen["id"], against,
                branch=branch, path=path, text=not names, times=times, expand=expand,
            )  # fmt: skip
    if json:
        print_json(told)
        return
    if not told["changes"]:
        err.print("Nothing differs.", style="dim")
        return
    for change in told["changes"]:
        _print_change(change)
    counts = ", ".join(
        f"{told[kind]} {kind}" for kind in ("added", "removed", "changed", "renamed") if told[kind]
    )
    err.print(f"{counts}{', and more' if told['truncated'] else ''}", style="dim")


def _print_change(change: "SnapshotChange") -> None:
    path = plain(change["path"])
    if change["old_path"] is not None:
        path = f"{plain(change['old_path'])} -> {path}"
    if change["type"] == "folder":
        path += "/"
    what = [word for word in change["what"] if word != "time" or change["what"] == ["time"]]
    note = f" ({', '.join(what)})" if what and what != ["content"] else ""
    if change["binary"]:
        note += " (binary)"
    style = _COLOURS[change["kind"]]
    out.print(f"{_SIGNS[change['kind']]} {path}{note}", style=style, markup=False)
    for line in (change["diff"] or "").splitlines()[2:]:
        colour = {"+": "green", "-": "red", "@": "cyan"}.get(line[:1], "")
        out.print(f"    {plain(line)}", style=colour, markup=False)


def _shown(entry: "SnapshotEntry") -> str:
    if entry["type"] == "folder":
        return f"{entry['path']}/"
    return f"{entry['path']} -> {entry['target']}" if entry["target"] else entry["path"]


def register(snapshots: typer.Typer) -> None:
    """Add the commands to `limpet snapshots`."""
    for name, command in (("files", files), ("cat", cat), ("download", download), ("diff", diff)):
        snapshots.command(name)(command)
