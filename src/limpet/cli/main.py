"""The `limpet` command: what there is, and how errors become exit codes."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from limpet import __version__
from limpet.cli import agents, sandboxes
from limpet.cli.doctor import doctor
from limpet.cli.output import err
from limpet.cli.snapshots import snapshots
from limpet.errors import LimpetError

HELP = """A computer for every coding agent, that always comes home.

[bold]limpet serve[/] starts it; [bold]limpet new webapp --open[/] makes your first web app.
Every command takes --json.

Exit codes: 0 done, 1 failed, 2 wrong use, 3 not reachable or not signed in, 4 not found,
5 conflict, 6 a snapshot is damaged; `limpet exec` ends with the command's own code.
"""

app = typer.Typer(
    help=HELP, no_args_is_help=True, rich_markup_mode="rich", pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)  # fmt: skip
app.command()(agents.new)
app.command()(agents.ls)
app.command()(sandboxes.start)
app.command()(sandboxes.stop)
app.command()(agents.rm)
app.command(
    "exec", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False}
)(sandboxes.execute)
app.command()(sandboxes.logs)
app.command("open")(agents.open_page)
app.add_typer(snapshots, name="snapshots")
app.add_typer(sandboxes.tasks, name="tasks")
app.command()(doctor)


@app.command()
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
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    return 0


def _tell(message: str, hint: str, code: str) -> None:
    """An error: as JSON on standard error where JSON was asked for, else in words."""
    if "--json" in sys.argv:
        import json

        body = {"error": {"code": code, "message": message, "hint": hint}}
        print(json.dumps(body), file=sys.stderr)  # noqa: T201 - the command's error output
        return
    err.print(f"limpet: {message}", style="red", markup=False, soft_wrap=True)
    if hint:
        err.print(hint, markup=False, soft_wrap=True)
