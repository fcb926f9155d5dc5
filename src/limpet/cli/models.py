"""models: ls, add, rm, test: where models are to be had."""

import os
import sys
from typing import TYPE_CHECKING, Annotated, cast

import typer

from limpet.cli.find import connect, find_provider
from limpet.cli.output import Json, busy, confirm, done, err, plain, print_json, print_table
from limpet.errors import InvalidInputError

if TYPE_CHECKING:
    from limpet.sdk.model_providers import Kind

models = typer.Typer(help="Model providers, and the models they have.", no_args_is_help=True)
KINDS = ("anthropic", "openai", "openai-compatible", "google", "bedrock")
KEYLESS = ("openai-compatible", "bedrock")
ProviderName = Annotated[
    str, typer.Argument(metavar="PROVIDER", help="Its id or its name; see `limpet models ls`.")
]


@models.command("ls")
def ls(json: Json = False) -> None:
    """List model providers and their models, the default one first."""
    with connect() as limpet:
        providers = limpet.model_providers.all()
    if json:
        print_json(providers)
        return
    print_table(
        ("ID", "KIND", "NAME", "URL", "KEY", "MODELS"),
        (
            (
                one["id"],
                one["kind"],
                f"{one['name']}{' (default)' if one['is_default'] else ''}",
                one["base_url"] or "",
                "yes" if one["has_api_key"] else "no",
                ", ".join(_named(one["default_model"], one["models"])),
            )
            for one in providers
        ),
        "No model providers. `limpet models add anthropic` adds one.",
        wrapped=("MODELS",),
    )


@models.command("add")
def add(
    kind: Annotated[str, typer.Argument(help=f"One of: {', '.join(KINDS)}.")],
    base_url: Annotated[
        str | None, typer.Option("--url", help="Such as http://127.0.0.1:11434/v1 for Ollama.")
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option("--model", "-m", help="A model, the first one the default; again for more."),
    ] = None,
    name: Annotated[str | None, typer.Option("--name", "-n", help="What to call it.")] = None,
    default: Annotated[
        bool, typer.Option("--default", help="Threads that say nothing take this one.")
    ] = False,
    key_variable: Annotated[
        str | None, typer.Option("--key-env", help="The variable that holds the key.")
    ] = None,
    json: Json = False,
) -> None:
    """Add a model provider. The key is asked for, or comes by --key-env or standard input.

    Examples:

      limpet models add anthropic -m claude-sonnet-4-5 --key-env ANTHROPIC_API_KEY

      limpet models add openai-compatible --url http://127.0.0.1:11434/v1 -m qwen3
    """
    if kind not in KINDS:
        raise typer.BadParameter(f"{kind!r} is none of {', '.join(KINDS)}", param_hint="KIND")
    key = _key(kind, key_variable)
    with connect() as limpet:
        made = limpet.model_providers.add(
            cast("Kind", kind),
            name=name,
            base_url=base_url,
            api_key=key,
            models=model,
            default_model=model[0] if model else None,
            is_default=True if default else None,
        )
    if json:
        print_json(made)
        return
    done(f"Added {made['name']} as {made['id']}")
    if not made["models"]:
        err.print(f"limpet models test {made['id']} asks it for its models.", style="dim")


@models.command("test")
def ask(provider: ProviderName, json: Json = False) -> None:
    """Ask a provider for its models, to see that it answers and takes the key."""
    with connect() as limpet:
        found = find_provider(limpet, provider)
        with busy(f"Asking {found['name']}", quiet=json):
            told = limpet.model_providers.test(found["id"])
    if json:
        print_json(told)
    elif told["ok"]:
        done(f"{found['name']} answers; it has {len(told['models'])} models")
        for one in told["models"]:
            typer.echo(plain(one))
    else:
        problem = told["problem"] or {}
        err.print(plain(f"{problem.get('message', '')} {problem.get('hint', '')}"), style="red")
    if not told["ok"]:
        raise typer.Exit(1)


@models.command("rm")
def rm(
    provider: ProviderName,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    json: Json = False,
) -> None:
    """Delete a model provider and its key."""
    with connect() as limpet:
        found = find_provider(limpet, provider)
        confirm(f"Delete {found['name']} and its key?", yes=yes or json)
        limpet.model_providers.delete(found["id"])
    if json:
        print_json({"deleted": found["id"]})
        return
    done(f"Deleted {found['name']}")


def _key(kind: str, variable: str | None) -> str | None:
    """The key; never an argument, which others on the machine could see."""
    if variable is not None:
        value = os.environ.get(variable, "").strip()
        if not value:
            raise InvalidInputError(f"The variable {variable} is not set")
        return value
    if sys.stdin.isatty():
        asked = typer.prompt("Key (empty: none)", hide_input=True, default="", show_default=False)
        return str(asked).strip() or None
    given = sys.stdin.readline().strip()
    if not given and kind not in KEYLESS:
        raise InvalidInputError(
            "A key is needed", hint="Give it by --key-env VARIABLE, or on standard input."
        )
    return given or None


def _named(default: str | None, others: list[str]) -> list[str]:
    first = [default] if default else []
    return list(dict.fromkeys([*first, *others]))
