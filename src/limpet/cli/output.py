"""What the command line prints: tables and sentences for people, JSON for programs.

Results go to standard output, progress and errors to standard error.
"""

import json
import re
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from limpet.sdk.models import Snapshot

TransferProgress = Callable[[int, int | None], None]

Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
Branch = Annotated[
    str | None, typer.Option("--branch", "-b", help="Another branch than the agent's default one.")
]
AgentName = Annotated[
    str, typer.Argument(metavar="AGENT", help="Its id, the beginning of its id, or its title.")
]

SnapshotName = Annotated[
    str, typer.Argument(metavar="SNAPSHOT", help="Its id or name, or 'latest'.")
]

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False)
_WIDE = 10_000
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def print_json(value: object) -> None:
    """One JSON document."""
    json.dump(value, sys.stdout, indent=2, ensure_ascii=False)
    sys.stdout.write("\n")


def plain(text: str) -> str:
    """`text` without what a terminal would obey; line breaks become blanks."""
    return _CONTROL.sub(" ", text)


def done(text: str) -> None:
    """Say that something is done."""
    err.print(Text.assemble(("✓ ", "green"), plain(text)), soft_wrap=True)


def busy(what: str, *, quiet: bool) -> AbstractContextManager[object]:
    """A spinner while something takes its time; nothing when `quiet` or not on a terminal."""
    return nullcontext() if quiet or not err.is_terminal else err.status(what)


def print_table(
    columns: Sequence[str],
    rows: Iterable[Sequence[str]],
    empty: str,
    *,
    wrapped: Collection[str] = (),
) -> None:
    """A table, or what to do when there is nothing to show.

    Columns without a value are left out. Only `wrapped` ones are broken into lines, and on
    terminals alone: what is not shown to a person has one line a row.
    """
    listed = list(rows)
    if not listed:
        err.print(empty, style="dim", soft_wrap=True)
        return
    kept = [n for n in range(len(columns)) if any(row[n] for row in listed)]
    table = Table(box=None, header_style="bold", pad_edge=False)
    for n in kept:
        table.add_column(columns[n], overflow="fold", no_wrap=columns[n] not in wrapped)
    for row in listed:
        table.add_row(*(Text(plain(row[n])) for n in kept))
    console = out if out.is_terminal else Console(width=_WIDE, highlight=False)
    console.print(table, soft_wrap=False)


def size(count: int) -> str:
    """A number of bytes as people read it."""
    amount = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 1000:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} TB"


def ago(moment: str | None) -> str:
    """How long ago an ISO 8601 time was."""
    if not moment:
        return "never"
    then = datetime.fromisoformat(moment)
    if then.tzinfo is None:
        then = then.replace(tzinfo=UTC)
    seconds = max(0, int((datetime.now(UTC) - then).total_seconds()))
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds // length} {unit} ago"
    return f"{seconds} s ago"


def until(moment: str | None) -> str:
    """How long it is until an ISO 8601 time."""
    if not moment:
        return "some time"
    seconds = int((datetime.fromisoformat(moment) - datetime.now(UTC)).total_seconds())
    if seconds <= 0:
        return "any time now"
    hours, minutes = divmod(-(-seconds // 60), 60)
    return f"in {hours} h" if hours else f"in {minutes} min"


def receipt_line(snapshot: "Snapshot") -> str:
    """A save's receipt in one line."""
    receipt = snapshot["receipt"]
    if receipt is None:
        return "no receipt"
    told = [f"{receipt['entries']:,} entries"]
    told.append("complete" if receipt["complete"] else "INCOMPLETE")
    for word, remarks in (
        ("skipped", receipt["skipped"]),
        ("torn", receipt["torn"]),
        ("healed", receipt["healed"]),
    ):
        if remarks:
            told.append(f"{receipt['counts'].get(word, len(remarks))} {word}")
    if left_out := receipt["counts"].get("ignored"):
        told.append(f"{left_out} left out by rules")
    if unfit := receipt["counts"].get("ignore_files_not_followed"):
        told.append(f"{unfit} ignore files NOT FOLLOWED")
    return ", ".join(told)


@contextmanager
def transfer(what: str, *, quiet: bool) -> Iterator[TransferProgress]:
    """A progress bar for bytes, on terminals only."""
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    with Progress(
        TextColumn(what), BarColumn(), DownloadColumn(), TransferSpeedColumn(),
        console=err, disable=quiet or not err.is_terminal, transient=True,
    ) as bar:  # fmt: skip
        task = bar.add_task(what, total=None)

        def advance(done: int, total: int | None) -> None:
            bar.update(task, completed=done, total=total)

        yield advance


def confirm(question: str, *, yes: bool) -> None:
    """Ask before something is replaced; without a terminal, `--yes` must be said."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise typer.BadParameter("there is no terminal to ask; say --yes", param_hint="--yes")
    typer.confirm(question, abort=True, err=True)
