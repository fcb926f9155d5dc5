"""`limpet check`: whether everything that was saved is there and whole; and `--repair`.

Works without a server, on the configured store or on a folder that holds one.
"""

import os
from collections.abc import AsyncIterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from limpet.cli.output import Json, done, err, out, plain, print_json, print_table
from limpet.errors import InvalidInputError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from limpet.ids import OrgId
    from limpet.snapshots.check import OnProgress
    from limpet.snapshots.findings import Finding
    from limpet.snapshots.repair import RepairReport
    from limpet.stores.base import SandboxStore

_SHOWN = 200


def check(
    read_data: Annotated[
        bool,
        typer.Option(
            "--read-data", help="Read and hash every byte, not only what says what is where."
        ),
    ] = False,
    org: Annotated[str | None, typer.Option("--org", help="Only this org's snapshots.")] = None,
    store: Annotated[
        Path | None,
        typer.Option("--store", help="A folder with snapshots, not the configured store."),
    ] = None,
    repair: Annotated[
        bool,
        typer.Option(
            "--repair",
            help="Read every byte and mend what can be mended, while no server runs.",
        ),
    ] = False,
    json: Json = False,
) -> None:
    """Look for damage in all snapshots, and with --repair mend it.

    Without --repair nothing is written. Exit code 0: no damage; 1: damage.

    A repair deletes nothing. What can be whole is whole afterwards; of a
    snapshot that lost something the rest is kept aside; what is damaged is
    moved out of the way. It may be broken off at any time and done again.
    Exit code 0: nothing was damaged, or all of it is mended; 6: something
    is lost, and what.
    """
    if repair:
        _repair(store, org, json=json)
    else:
        _check(store, org, read_data=read_data, json=json)


def _check(store: Path | None, org: str | None, *, read_data: bool, json: bool) -> None:
    import anyio

    found: list[tuple[OrgId, Finding]] = []
    opened = _opened(store)

    async def run() -> int:
        orgs = await _orgs(opened, org)
        with _progress(quiet=json) as advance:
            found.extend([one async for one in _findings(opened, orgs, read_data, advance)])
        return len(orgs)

    orgs = anyio.run(run)
    if not orgs and not json:
        _say_that_there_is_nothing(opened)
        return
    _print(found, orgs, read_data=read_data, json=json)
    raise typer.Exit(1 if any(one.damage for _, one in found) else 0)


def _repair(store: Path | None, org: str | None, *, json: bool) -> None:
    import anyio

    from limpet.cli.repair import LOST_EXIT_CODE, alone, is_lost, print_repairs, repair_all
    from limpet.sdk.connection import data_folder

    reports: list[tuple[OrgId, RepairReport]] = []
    opened = _opened(store)

    async def run() -> int:
        orgs = await _orgs(opened, org)
        with _progress(quiet=json) as advance:
            reports.extend(await repair_all(opened, orgs, advance))
        return len(orgs)

    with alone(data_folder(os.environ), store):
        orgs = anyio.run(run)
    if not orgs and not json:
        _say_that_there_is_nothing(opened)
        return
    print_repairs(reports, orgs, json=json)
    raise typer.Exit(LOST_EXIT_CODE if is_lost(reports) else 0)


def _say_that_there_is_nothing(store: "SandboxStore") -> None:
    err.print(f"There are no snapshots in {store.where}", style="dim", soft_wrap=True)


async def _findings(
    store: "SandboxStore", orgs: "Sequence[OrgId]", read_data: bool, advance: "OnProgress"
) -> "AsyncIterator[tuple[OrgId, Finding]]":
    from limpet.snapshots.check import check as check_org

    for org in orgs:
        async for finding in check_org(store, org, read_data=read_data, on_progress=advance):
            yield org, finding


def _opened(folder: Path | None) -> "SandboxStore":
    from limpet.sdk.connection import data_folder
    from limpet.stores.degradable import DegradableStore
    from limpet.stores.local import LocalStore
    from limpet.stores.settings import open_store

    if folder is None:
        return DegradableStore(open_store(os.environ, data_folder(os.environ).absolute()))
    if not folder.is_dir():
        raise InvalidInputError(f"{folder} is no folder")
    if not (folder / "v1").is_dir():
        raise InvalidInputError(
            f"{folder} holds no snapshots",
            hint="It must be the folder in which `v1` lies; in a data folder, `sandbox-snapshots`.",
        )
    return LocalStore(folder.absolute())


async def _orgs(store: "SandboxStore", org: str | None) -> "Sequence[OrgId]":
    from limpet.ids import OrgId
    from limpet.snapshots.stored_heads import orgs_in

    return await orgs_in(store) if org is None else [OrgId(org)]


@contextmanager
def _progress(*, quiet: bool) -> "Iterator[OnProgress]":
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    with Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
        console=err, disable=quiet or not err.is_terminal, transient=True,
    ) as bar:  # fmt: skip
        task = bar.add_task("looking", total=None)

        def advance(phase: str, finished: int, total: int) -> None:
            doing = "repairing" if phase == "repairs" else f"checking {phase}"
            bar.update(task, description=doing, completed=finished, total=total)

        yield advance


def _print(
    found: "Sequence[tuple[OrgId, Finding]]", orgs: int, *, read_data: bool, json: bool
) -> None:
    damage = sum(one.damage for _, one in found)
    touched = _touched(found)
    if json:
        print_json(
            {
                "ok": not damage,
                "orgs": orgs,
                "read_data": read_data,
                "damage": damage,
                "information": len(found) - damage,
                "snapshots_touched": touched,
                "findings": [_as_json(org, one) for org, one in found],
            }
        )
        return
    shown = [one for _, one in found if one.damage or one.kind == "snapshot-set-aside"]
    if shown:
        rows = [(one.kind, one.key, one.what, _snapshots(one)) for one in shown[:_SHOWN]]
        print_table(("what", "object", "found", "snapshots"), rows, "", wrapped=("found",))
        if len(shown) > _SHOWN:
            out.print(f"… and {len(shown) - _SHOWN:,} more: --json tells all of them")
    others = len(found) - damage
    told = (
        f"{orgs} org{'' if orgs == 1 else 's'}, {'every byte read' if read_data else 'structure'}"
    )
    aside = f", {others:,} worth knowing" if others else ""
    if damage:
        out.print(plain(f"{told}: {damage:,} damaged, {touched:,} snapshots touched{aside}"))
        err.print(
            "`limpet check --repair` mends what can be mended, while no `limpet serve` runs.",
            markup=False, soft_wrap=True,
        )  # fmt: skip
    else:
        done(f"{told}: no damage{aside}")


def _snapshots(finding: "Finding") -> str:
    if finding.touched == 1:
        [place] = finding.snapshots
        return f"{place.branch} {place.snapshot}"
    return f"{finding.touched:,} of them" if finding.touched else ""


def _touched(found: "Sequence[tuple[OrgId, Finding]]") -> int:
    """How many snapshots damage touches: those listed, or more when one finding counts more."""
    listed = {(org, place) for org, one in found if one.damage for place in one.snapshots}
    return max([len(listed), *(one.touched for _, one in found if one.damage)])


def _as_json(org: "OrgId", finding: "Finding") -> dict[str, Any]:
    return {"org": org, "damage": finding.damage, **asdict(finding)}
