"""The `limpet` command: what there is, and how errors become exit codes."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from limpet import __version__
from limpet.cli import agents, sandboxes
from limpet.cli.acp import acp
from limpet.cli.chat import chat
from limpet.cli.check import check
from limpet.cli.doctor import doctor
from limpet.cli.egress import egress
from limpet.cli.mcp import mcp
from limpet.cli.models import models
from limpet.cli.output import err
from limpet.cli.secrets import secrets
from limpet.cli.share import share
from limpet.cli.snapshots import snapshots
from limpet.cli.store import store
from limpet.cli.threads import threads
from limpet.errors import LimpetError

HELP = (
    "A computer for every coding agent, that always comes home.\n\n"
    "[bold]limpet serve[/] starts it on this machine; [bold]limpet new webapp --open[/] makes your "
    "first web app and shows it. An AGENT is named by its id, the beginning of its id, or its "
    "title. Every command takes --json."
)
EXIT_CODES = (
    "Exit codes: [bold]0[/] done, [bold]1[/] failed, [bold]2[/] wrong use, [bold]3[/] not "
    "reachable, not running or not signed in, [bold]4[/] not found, [bold]5[/] conflict or "
    "ambiguous, [bold]6[/] a snapshot is damaged, [bold]130[/] interrupted. [bold]limpet exec[/] "
    "ends with the command's own code."
)
_AGENTS, _INSIDE, _MACHINE = "Agents", "What is in a sandbox", "This machine"

app = typer.Typer(
    help=HELP, epilog=EXIT_CODES, no_args_is_help=True, rich_markup_mode="rich",
    pretty_exceptions_enable=False, context_settings={"help_option_names": ["-h", "--help"]},
)  # fmt: skip
app.command(rich_help_panel=_AGENTS)(agents.new)
app.command(rich_help_panel=_AGENTS)(agents.ls)
app.command(rich_help_panel=_AGENTS)(sandboxes.start)
app.command(rich_help_panel=_AGENTS)(sandboxes.stop)
app.command("open", rich_help_panel=_AGENTS)(agents.open_page)
app.command(rich_help_panel=_AGENTS)(share)
app.command(rich_help_panel=_AGENTS)(agents.rm)
app.command(rich_help_panel=_AGENTS)(chat)
app.add_typer(threads, name="threads", rich_help_panel=_AGENTS)
app.add_typer(models, name="models", rich_help_panel=_AGENTS)
app.add_typer(mcp, name="mcp", rich_help_panel=_AGENTS)
app.command(rich_help_panel=_AGENTS)(acp)
app.command(rich_help_panel=_AGENTS)(egress)
app.add_typer(secrets, name="secrets", rich_help_panel=_AGENTS)
app.command(
    "exec",
    rich_help_panel=_INSIDE,
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
)(sandboxes.execute)
app.command(rich_help_panel=_INSIDE)(sandboxes.logs)
app.add_typer(sandboxes.tasks, name="tasks", rich_help_panel=_INSIDE)
app.add_typer(snapshots, name="snapshots", rich_help_panel=_INSIDE)


@app.command(rich_help_panel=_MACHINE)
def serve(
    port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, help="Default: 7070, or the next free one; 0: any."),
    ] = None,
    data_dir: Annotated[
        Path | None, typer.Option(help="Default: LIMPET_DATA_DIR, or ~/.local/share/limpet.")
    ] = None,
) -> None:
    """Serve Limpet on this machine until Ctrl-C, which saves every sandbox first."""
    from limpet.control.serve import main as serve_control_plane

    raise typer.Exit(serve_control_plane(port=port, data_dir=data_dir))


app.command(rich_help_panel=_MACHINE)(doctor)
app.command(rich_help_panel=_MACHINE)(check)
app.add_typer(store, name="store", rich_help_panel=_MACHINE)


@app.callback(invoke_without_command=True)
def _root(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        typer.echo(f"limpet {__version__}")
        raise typer.Exit


def main() -> int:
    """Run the command line; the exit code."""
    try:
        app()
    except LimpetError as error:
        _tell(error.message, error.hint, error.code)
        return error.exit_code
    except OSError as error:
        _tell(f"{error.filename or 'this machine'}: {error.strerror or error}", "", "os_error")
        return 1
    except KeyboardInterrupt:
        return 130
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    return 0


def _tell(message: str, hint: str, code: str) -> None:
    """An error: as JSON on standard error where JSON was asked for, else in words."""
    own = sys.argv[: sys.argv.index("--")] if "--" in sys.argv else sys.argv
    if "--json" in own:
        import json

        body = {"error": {"code": code, "message": message, "hint": hint}}
        print(json.dumps(body), file=sys.stderr)  # noqa: T201 - the command's error output
        return
    err.print(f"limpet: {message}", style="red", markup=False, soft_wrap=True)
    if hint:
        err.print(hint, markup=False, soft_wrap=True)
