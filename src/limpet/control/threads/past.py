"""What a run goes on from: what the harness kept last, and the turns that it knows nothing of."""

from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import JsonValue
from sqlalchemy import select
from sqlalchemy.orm import defer

from limpet.control.db import Database, RunRow
from limpet.harness.base import Exchange

_UNFINISHED = ("queued", "running")


@dataclass(frozen=True, slots=True)
class Past:
    """The turns before a run. `undone`: the files are not as the last one left them."""

    state: JsonValue
    history: Sequence[Exchange]
    undone: bool


async def past_of(database: Database, run: RunRow) -> Past:
    """The past of `run`: the newest state of its harness, and the turns after that one."""
    earlier = (
        select(RunRow)
        .where(
            RunRow.org_id == run.org_id,
            RunRow.thread_id == run.thread_id,
            RunRow.position < run.position,
            RunRow.status.not_in(_UNFINISHED),
        )
        .order_by(RunRow.position)
    )
    async with database.reading() as session:
        rows = list(await session.scalars(earlier.options(defer(RunRow.state))))
        kept = next(
            (row for row in reversed(rows) if row.state_is_new and row.harness == run.harness), None
        )
        state: JsonValue = None
        if kept is not None:
            await session.refresh(kept, ["state"])
            state = kept.state
    after = kept.position if kept is not None else 0
    return Past(
        state=state,
        history=tuple(Exchange(r.prompt, r.answer) for r in rows if r.position > after),
        undone=bool(rows) and rows[-1].undone,
    )
