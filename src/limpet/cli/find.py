"""The server to speak to, and which agent, sandbox or task is meant by what was typed."""

from typing import TYPE_CHECKING

from limpet.errors import ConflictError, NotFoundError

if TYPE_CHECKING:
    from limpet.sdk import Client
    from limpet.sdk.model_providers import Provider
    from limpet.sdk.models import Agent, Sandbox, Snapshot, Task
    from limpet.sdk.threads import Thread


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


def find_thread(limpet: "Client", typed: str) -> "Thread":
    """The thread with this id, else title, else beginning of an id."""
    threads = [*limpet.threads.all(), *limpet.threads.all(archived=True)]
    wanted = typed.casefold()
    for fits in (
        [t for t in threads if t["id"] == typed],
        [t for t in threads if t["title"].casefold() == wanted],
        [t for t in threads if typed and t["id"].startswith((typed, f"thrd_{typed}"))],
    ):
        if len(fits) == 1:
            return fits[0]
        if fits:
            listed = ", ".join(f"{t['id']} ({t['title']})" for t in fits[:10])
            raise AmbiguousError(
                f"{typed!r} fits {len(fits)} threads: {listed}{', ...' if len(fits) > 10 else ''}",
                hint="Use an id, or more of it.",
            )
    raise NotFoundError(f"There is no thread {typed!r}", hint="`limpet threads ls` lists them.")


def find_provider(limpet: "Client", typed: str) -> "Provider":
    """The model provider with this id, or this name."""
    providers = limpet.model_providers.all()
    fits = [p for p in providers if p["id"] == typed] or [
        p for p in providers if p["name"].casefold() == typed.casefold()
    ]
    if len(fits) > 1:
        raise AmbiguousError(f"{typed!r} fits {len(fits)} model providers", hint="Use an id.")
    if not fits:
        raise NotFoundError(
            f"There is no model provider {typed!r}", hint="`limpet models ls` lists them."
        )
    return fits[0]
