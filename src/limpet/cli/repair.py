"""`limpet check --repair`: what it did, in words or as JSON, and who must not run beside it."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from limpet.cli.output import done, err, out, plain, print_json, print_table
from limpet.errors import SnapshotDamagedError

if TYPE_CHECKING:
    from limpet.ids import OrgId
    from limpet.snapshots.check import OnProgress
    from limpet.snapshots.repair import RepairReport
    from limpet.stores.base import SandboxStore

    Reports = Sequence[tuple[OrgId, RepairReport]]

LOST_EXIT_CODE = SnapshotDamagedError.exit_code
BUSY_HINT = (
    "Stop it first: a repair must be the only one that writes snapshots. "
    "`limpet check` without --repair may run beside it."
)
_PATHS_SHOWN = 3


@contextmanager
def alone(data_folder: Path, store: Path | None) -> Iterator[None]:
    """Hold the data folder, or, when a store is named, the one that it lies in, if any.

    `DataFolderBusyError` while a server runs on it.
    """
    from limpet.control.data_folder import LOCK, DataFolderBusyError, held

    folder = data_folder if store is None else store.resolve().parent
    with ExitStack() as stack:
        if folder.is_dir() if store is None else (folder / LOCK).exists():
            try:
                stack.enter_context(held(folder, local_only=False))
            except DataFolderBusyError as error:
                raise DataFolderBusyError(error.message, hint=BUSY_HINT) from None
        yield


async def repair_all(
    store: "SandboxStore", orgs: "Sequence[OrgId]", advance: "OnProgress"
) -> "Reports":
    """Repair one org after another; those where there was nothing to do are left out."""
    from limpet.snapshots.repair import RepairReport, repair

    reports = [(org, await repair(store, org, on_progress=advance)) for org in orgs]
    return [(org, report) for org, report in reports if report != RepairReport()]


def is_lost(reports: "Reports") -> bool:
    """Whether something was found that cannot be repaired."""
    return any(report.incomplete or report.left for _, report in reports)


def print_repairs(reports: "Reports", orgs: int, *, json: bool) -> None:
    """What was done and what is to be done now."""
    if json:
        told = [{"org": org, **asdict(report)} for org, report in reports]
        print_json({"ok": not is_lost(reports), "orgs": orgs, "repairs": told})
        return
    looked = f"{orgs} org{'' if orgs == 1 else 's'}, every byte read"
    if not reports:
        done(f"{looked}: nothing to repair")
        return
    notes = [note for _, report in reports for note in report.incomplete]
    if notes:
        rows = [(note.key, note.what, _first(note.paths, note.lost)) for note in notes]
        print_table(("snapshot", "found", "lost"), rows, "", wrapped=("found", "lost"))
    for _, report in reports:
        for left in report.left:
            out.print(plain(f"{left.key}: {left.what}; a repair can do nothing about it"))
    put_back = sum(len(report.put_back) for _, report in reports)
    whole = sum(len(report.whole_again) for _, report in reports)
    moved = sum(len(report.moved) for _, report in reports)
    counts = {
        "made again to the byte": _of(put_back, "pack"),
        "whole again": _of(whole, "snapshot"),
        "not whole any more": _of(len(notes), "snapshot"),
    }
    said = ", ".join(f"{what} {how}" for how, what in counts.items() if what)
    out.print(plain(f"{looked}: {said or 'what was damaged is out of the way'}"))
    if moved:
        err.print(
            f"Nothing was deleted: {_of(moved, 'damaged object')} moved to `damaged/` in the org's "
            "part of the store. Delete it when you need nothing of it.",
            markup=False, soft_wrap=True,
        )  # fmt: skip
    if any(note.kept_in for note in notes):
        err.print(
            "The rest of what lost something is kept aside, in the history of its branch: "
            "`limpet snapshots ls AGENT` shows it, `limpet snapshots restore` brings it back.",
            markup=False, soft_wrap=True,
        )  # fmt: skip


def _of(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}" if count else ""


def _first(paths: Sequence[str], count: int) -> str:
    more = count - len(paths[:_PATHS_SHOWN])
    return ", ".join(paths[:_PATHS_SHOWN]) + (f" and {more:,} more" if more else "")
