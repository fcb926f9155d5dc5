"""secrets ls, set, rm: environment variables of sandboxes, whose values nobody can read again."""

import os
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from limpet.cli.find import connect, find_agent
from limpet.cli.output import Json, ago, confirm, done, err, print_json, print_table

if TYPE_CHECKING:
    from limpet.sdk import Client
    from limpet.sdk.secrets import SecretChanged

secrets = typer.Typer(
    no_args_is_help=True,
    help="Secrets in environment variables. Values go in and are never shown again.",
)

Name = Annotated[str, typer.Argument(metavar="NAME", help="The environment variable's name.")]
OfAgent = Annotated[
    str | None, typer.Option("--agent", "-a", help="The agent whose sandboxes have it.")
]
OfOrg = Annotated[bool, typer.Option("--org", help="For all agents of the org.")]


@secrets.command("ls")
def ls(
    agent: Annotated[
        str | None,
        typer.Argument(metavar="[AGENT]", help="What its sandboxes have; none: what all have."),
    ] = None,
    json: Json = False,
) -> None:
    """List names, when they were set, and by whom."""
    with connect() as limpet:
        listed = limpet.secrets.list(find_agent(limpet, agent)["id"] if agent else None)
    if json:
        print_json({"secrets": listed})
        return
    print_table(
        ("NAME", "FOR", "SET", "BY"),
        [
            (
                one["name"],
                "this agent" if one["agent_id"] else "all agents",
                ago(one["updated_at"]),
                one["updated_by"],
            )
            for one in listed
        ],
        "No secrets yet. Set one: limpet secrets set NAME --agent AGENT",
    )


@secrets.command("set")
def put(
    name: Name,
    agent: OfAgent = None,
    org: OfOrg = False,
    from_env: Annotated[
        str | None,
        typer.Option(metavar="VARIABLE", help="Take the value from this environment variable."),
    ] = None,
    json: Json = False,
) -> None:
    """Set a secret; its value is read from standard input, or asked for.

    One line break at its end is not part of it. Tasks that start from now on have it, those that
    run keep what they had. Examples: limpet secrets set API_KEY --agent "My shop" < key.txt;
    limpet secrets set NPM_TOKEN --org --from-env NPM_TOKEN
    """
    value = _value(name, from_env)
    with connect() as limpet:
        changed = limpet.secrets.set(name, value, _scope(limpet, agent, org=org))
    if json:
        print_json(changed)
        return
    done(f"Set {name}{_where(changed)}")
    _say_rest(changed)


@secrets.command("rm")
def rm(
    name: Name,
    agent: OfAgent = None,
    org: OfOrg = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    json: Json = False,
) -> None:
    """Delete a secret."""
    with connect() as limpet:
        scope = _scope(limpet, agent, org=org)
        confirm(f"Delete the secret {name}? Its value cannot be had again.", yes=yes)
        changed = limpet.secrets.delete(name, scope)
    if json:
        print_json(changed)
        return
    done(f"Deleted {name}{_where(changed)}")
    _say_rest(changed)


def _scope(limpet: "Client", agent: str | None, *, org: bool) -> str | None:
    if (agent is None) != org:
        raise typer.BadParameter("give --agent AGENT, or --org for all agents")
    return find_agent(limpet, agent)["id"] if agent is not None else None


def _value(name: str, from_env: str | None) -> str:
    if from_env is not None:
        if from_env not in os.environ:
            raise typer.BadParameter(f"{from_env} is not set", param_hint="--from-env")
        return os.environ[from_env]
    if sys.stdin.isatty():
        asked: str = typer.prompt(f"Value of {name}", hide_input=True, err=True)
        return asked
    try:
        value = sys.stdin.buffer.read().decode()
    except UnicodeDecodeError:
        raise typer.BadParameter("the value on standard input is not UTF-8") from None
    return value.removesuffix("\n").removesuffix("\r")


def _where(changed: "SecretChanged") -> str:
    count = len(changed["given_to"])
    return f", also in {count} running sandbox{'es' if count > 1 else ''}" if count else ""


def _say_rest(changed: "SecretChanged") -> None:
    if changed["given_to"]:
        err.print(changed["note"], style="dim", soft_wrap=True)
    for handle in changed["not_reached"]:
        err.print(
            f"{handle} did not answer: it has the change when it is started again.",
            style="yellow", markup=False, soft_wrap=True,
        )  # fmt: skip
