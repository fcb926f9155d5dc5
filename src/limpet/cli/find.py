"""Which agent or sandbox is meant by what was typed."""

from limpet.errors import ConflictError, NotFoundError
from limpet.sdk import Client
from limpet.sdk.models import Agent, Sandbox


class AmbiguousError(ConflictError):
    """More than one thing fits what was typed."""

    code = "ambiguous"


def find_agent(limpet: Client, typed: str) -> Agent:
    """The agent with this id, else title, else beginning of an id."""
    agents = limpet.agents()
    wanted = typed.casefold()
    for fits in (
        [a for a in agents if a["id"] == typed],
        [a for a in agents if a["title"].casefold() == wanted],
        [a for a in agents if a["id"].startswith((typed, f"agt_{typed}"))],
    ):
        if len(fits) == 1:
            return fits[0]
        if fits:
            listed = ", ".join(f"{a['id']} ({a['title']})" for a in fits[:10])
            raise AmbiguousError(f"{typed!r} fits {len(fits)} agents: {listed}", hint="Use an id.")
    raise NotFoundError(f"There is no agent {typed!r}", hint="`limpet ls` lists them.")


def find_sandbox(limpet: Client, agent: Agent, branch: str | None) -> Sandbox:
    """The agent's sandbox on its default branch, or on the one that was given."""
    wanted = branch or agent["default_branch"]
    for box in limpet.sandboxes(agent["id"]):
        if box["branch"] == wanted:
            return box
    raise NotFoundError(
        f"{agent['title']!r} has no sandbox on {wanted}",
        hint=f"Start one: limpet start {agent['id']}",
    )
