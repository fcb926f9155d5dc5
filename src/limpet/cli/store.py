"""store stats, prune, retention."""

from typing import TYPE_CHECKING, Annotated

import typer

from limpet.cli.find import connect, find_agent
from limpet.cli.output import Json, ago, busy, confirm, done, out, print_json, size

if TYPE_CHECKING:
    from limpet.sdk.store import Pruned, Retention, StoreStats

store = typer.Typer(no_args_is_help=True, help="What the snapshots come to, and what is kept.")


@store.command("stats")
def stats(
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Measure now; else some minutes ago at most.")
    ] = False,
    json: Json = False,
) -> None:
    """Show what the snapshots take, what they share and what is about to go."""
    with connect() as limpet, busy("Measuring the store", quiet=json):
        told = limpet.store.stats(fresh=fresh)
    if json:
        print_json(told)
        return
    quota = f" of {size(told['quota_bytes'])}" if told["quota_bytes"] else ""
    _line("store", f"{told['where']} ({told['kind']})")
    _line("snapshots", f"{told['snapshots']:,}, {size(told['logical_bytes'])} of files in them")
    _line("stored", f"{size(told['stored_bytes'])}{quota}{_times(told)}")
    if told["shared_bytes"]:
        _line("shared", f"{size(told['shared_bytes'])} of templates, which all orgs share")
    if told["condemned_bytes"]:
        _line("going", f"{size(told['condemned_bytes'])} that nothing needs any more")
    _line("kept", _sentence(told["retention"]))
    last = told["last_prune"]
    if last is None:
        _line("pruned", "never yet")
        return
    _line("pruned", ago(last["finished_at"] or last["started_at"]))
    if last["error"]:
        _line("", f"failed: {last['error']['message']} {last['error']['hint']}")


@store.command("prune")
def prune(
    dry_run: Annotated[
        bool, typer.Option("--dry-run", "-n", help="Say what would be done, and do nothing.")
    ] = False,
    json: Json = False,
) -> None:
    """Condemn what is not kept, and delete what was condemned over 24 hours ago.

    The server does this by itself every few hours.
    """
    with connect() as limpet, busy("Reading what the snapshots need", quiet=json):
        told = limpet.store.prune(dry_run=dry_run)
    if json:
        print_json(told)
        return
    for sentence in _pruned(told):
        done(sentence)


@store.command("retention")
def retention(
    agent: Annotated[
        str | None,
        typer.Argument(
            metavar="[AGENT]", help="Of this agent alone; else of all that say nothing."
        ),
    ] = None,
    last: Annotated[int | None, typer.Option(help="Keep the last so many, at least 1.")] = None,
    hours: Annotated[
        int | None, typer.Option(help="Of so many last hours keep one an hour.")
    ] = None,
    days: Annotated[int | None, typer.Option(help="Of so many last days keep one a day.")] = None,
    turns: Annotated[
        int | None, typer.Option(help="Keep the last so many from before and after a turn.")
    ] = None,
    reset: Annotated[bool, typer.Option("--reset", help="Back to what holds for all.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    json: Json = False,
) -> None:
    """Show or change how many snapshots of each branch are kept.

    Snapshots that people named are kept until they are deleted, and so is the newest of each
    branch. Turns whose snapshots are gone cannot be undone any more.

    Examples: limpet store retention --last 20; limpet store retention "My app" --days 90
    """
    with connect() as limpet:
        found = find_agent(limpet, agent) if agent else None
        agent_id = found["id"] if found else None
        before = limpet.store.retention(agent_id)
        if reset or any(value is not None for value in (last, hours, days, turns)):
            if any(
                wanted is not None and wanted < kept
                for wanted, kept in (
                    (last, before["last"]),
                    (hours, before["hours"]),
                    (days, before["days"]),
                    (turns, before["turns"]),
                )
            ):
                confirm(
                    "Fewer snapshots will be kept: those beyond it are deleted a day after the "
                    "next prune. Go on?",
                    yes=yes,
                )
            before = limpet.store.set_retention(
                agent_id, last=last, hours=hours, days=days, turns=turns, reset=reset
            )
    if json:
        print_json(before)
        return
    out.print(_sentence(before), markup=False)


def _line(name: str, value: str) -> None:
    out.print(f"{name:<10} {value}", markup=False)


def _times(told: "StoreStats") -> str:
    stored, logical = told["stored_bytes"], told["logical_bytes"]
    return f", {logical / stored:.1f} times less than its files" if 0 < stored < logical else ""


def _sentence(kept: "Retention") -> str:
    told = [f"the last {kept['last']}"]
    if kept["hours"]:
        told.append(f"one an hour for {kept['hours']} hours")
    if kept["days"]:
        told.append(f"one a day for {kept['days']} days")
    if kept["turns"]:
        told.append(f"the last {kept['turns']} from before and after turns")
    who = {"server": "as the server is set", "org": "for this org", "agent": "for this agent"}
    return f"{', '.join(told)}, and what people named ({who[kept['source']]})"


def _pruned(told: "Pruned") -> list[str]:
    """What a prune did, or would do, a sentence for each thing that there was."""
    would = "would be " if told["dry_run"] else ""
    sentences = []
    for snapshots, objects, size_bytes, done_so in (
        (
            told["deleted_snapshots"],
            told["deleted_objects"],
            told["deleted_bytes"],
            f"{would}deleted",
        ),
        (
            told["condemned_snapshots"],
            told["condemned_objects"],
            told["condemned_bytes"],
            f"{would}condemned, to be deleted in 24 h at the earliest",
        ),
    ):
        things = [_count(snapshots, "snapshot")] if snapshots else []
        things += [f"{_count(objects, 'object')} ({size(size_bytes)})"] if objects else []
        if things:
            sentences.append(f"{' and '.join(things)} {done_so}")
    if told["spared"]:
        sentences.append(f"Needed again and not deleted: {told['spared']:,}")
    if told["waiting"]:
        sentences.append(f"Condemned before, and not long enough ago: {told['waiting']:,}")
    kept = _count(told["snapshots"] - told["deleted_snapshots"], "snapshot")
    return sentences or [f"Nothing to delete: {kept}, all of them kept"]


def _count(number: int, thing: str) -> str:
    return f"{number:,} {thing}" if number == 1 else f"{number:,} {thing}s"
