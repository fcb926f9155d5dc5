"""The server to speak to, and which agent, sandbox or task is meant by what was typed."""

from typing import TYPE_CHECKING

from limpet.errors import ConflictError, NotFoundError

if TYPE_CHECKING:
    from limpet.sdk import Client
    from limpet.sdk.models import Agent, Sandbox, Snapshot, Task


class AmbiguousError(ConflictError):
    """More than one thing fits what was typed."""

    code = "ambiguous"


def connect() -> "Client":
    """The control plane; imported here, since the HTTP client takes longer than `--help` should."""
    from limpet.sdk import Client

    return Client.discover()


def find_agent(limpet: "Client", typed: str) -> "Agent":
    """The agent with this id, else title, else beginning of an id; `AmbiguousError` lists them."""
    agents = limpet.agents()
    wanted = typed.casefold()
    for fits in (
        [a for a in agents if a["id"] == typed],
        [a for a in agents if a["title"].casefold() == wanted],
        [a for a in agents if typed and a["id"].startswith((typed, f"agt_{typed}"))],
    ):
        if len(fits) == 1:
            return fits[0]
        if fits:
            listed = ", ".join(f"{a['id']} ({a['title']})" for a in fits[:10])
            raise AmbiguousError(
                f"{typed!r} fits {len(fits)} agents: {listed}{', ...' if len(fits) > 10 else ''}",
                hint="Use an id, or more of it.",
            )
    raise NotFoundError(f"There is no agent {typed!r}", hint="`limpet ls` lists them.")


def find_sandbox(limpet: "Client", agent: "Agent", branch: str | None) -> "Sandbox":
    """The agent's sandbox on its default branch, or on the one that was given."""
    wanted = branch or agent["default_branch"]
    for box in limpet.sandboxes(agent["id"]):
        if box["branch"] == wanted:
            return box
    raise NotFoundError(
        f"{agent['title']!r} has no sandbox on {wanted}",
        hint=f"Start one: limpet start {agent['id']}",
    )


def find_task(limpet: "Client", handle: str, typed: str) -> "Task":
    """The task with this id, or the one whose id begins so."""
    tasks = limpet.tasks(handle)
    fits = [t for t in tasks if t["id"] == typed] or [
        t for t in tasks if typed and t["id"].startswith(typed)
    ]
    if len(fits) > 1:
        listed = ", ".join(f"{t['id']} ({t['command'][:40]})" for t in fits[:10])
        raise AmbiguousError(f"{typed!r} fits {len(fits)} tasks: {listed}", hint="Use an id.")
    if not fits:
        raise NotFoundError(f"There is no task {typed!r}", hint="`limpet tasks ls` lists them.")
    return fits[0]


def find_snapshot(limpet: "Client", agent: "Agent", typed: str, branch: str | None) -> "Snapshot":
    """The snapshot that is meant: its id, the beginning of its id, its name, or `latest`."""
    listed = limpet.snapshots(agent["id"], branch)
    if typed == "latest":
        fits = [s for s in listed if s["is_head"] and s["lineage"] == "main"]
    else:
        fits = [s for s in listed if typed in (s["id"], s["name"])]
    if not fits and len(typed) >= 4:
        fits = [s for s in listed if s["id"].startswith(typed)]
        if len(fits) > 1:
            raise AmbiguousError(f"{typed!r} fits {len(fits)} snapshots", hint="Use the whole id.")
    if not fits:
        raise NotFoundError(
            f"{agent['title']!r} has no snapshot {typed!r}",
            hint=f"limpet snapshots ls {agent['id']} lists them.",
        )
    return fits[0]
