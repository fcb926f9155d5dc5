"""egress: where an agent's sandboxes may connect to."""

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from limpet.cli.find import connect, find_agent
from limpet.cli.output import AgentName, Json, done, out, plain, print_json

if TYPE_CHECKING:
    from limpet.sdk.models import Egress, EgressChoice

Mode = Literal["open", "listed", "closed"]
Allow = Annotated[
    list[str] | None,
    typer.Option(
        metavar="HOST", help="With 'listed': a host, or *.host for all below it; :port after it."
    ),
]
Registries = Annotated[
    bool,
    typer.Option("--registries/--no-registries", help="With 'listed': package registries too."),
]


def egress(
    agent: AgentName,
    mode: Annotated[
        Literal["open", "listed", "closed", "default"] | None,
        typer.Argument(help="None: show it. 'default': as the operator has set it."),
    ] = None,
    allow: Allow = None,
    registries: Registries = True,
    json: Json = False,
) -> None:
    """Show or change where an agent's sandboxes may connect to.

    A change counts from a sandbox's next start on. Examples: limpet egress "My shop";
    limpet egress "My shop" listed --allow api.example.com --allow "*.example.org"
    """
    with connect() as limpet:
        found = find_agent(limpet, agent)
        if mode == "default":
            _refuse_hosts(allow)
            found = limpet.update_agent(found["id"], egress="default")
        elif mode is not None or allow:
            choice = chosen(mode, allow, registries=registries)
            assert choice is not None
            found = limpet.update_agent(found["id"], egress=choice)
    if json:
        print_json(found["egress"])
        return
    out.print(plain(_sentence(found["egress"])), markup=False)
    if mode is not None or allow:
        done("A sandbox that runs keeps what it has until it is stopped and started.")


def chosen(
    mode: Mode | None, allow: list[str] | None, *, registries: bool
) -> "EgressChoice | None":
    """What was said on the command line; `typer.BadParameter` when it does not go together."""
    if mode != "listed":
        _refuse_hosts(allow)
        return None if mode is None else {"mode": mode}
    return {"mode": mode, "hosts": allow or [], "registries": registries}


def _refuse_hosts(allow: list[str] | None) -> None:
    if allow:
        raise typer.BadParameter("hosts are allowed with 'listed' alone", param_hint="--allow")


def _sentence(policy: "Egress") -> str:
    hosts = [*policy["hosts"], *(["package registries"] if policy["registries"] else [])]
    said = {
        "open": "open: everything but this machine, loopback and metadata addresses",
        "listed": f"listed: {', '.join(hosts) or 'nothing'}, and what it is cloned from",
        "closed": "closed: nothing",
    }[policy["mode"]]
    return f"{said} (the operator's default)" if policy["is_default"] else said
