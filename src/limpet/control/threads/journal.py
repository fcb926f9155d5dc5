"""A thread's events in the database: numbered as they come, joined when a run ends, read again.

Whoever writes holds the thread's row for the length of a transaction, so that numbers have no
gaps on any database. What a run writes is refused once its lease is another's.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncSession

from limpet.control.db import Database, RunRow, ThreadEventRow, ThreadRow
from limpet.control.operations.thread_models import KeptEvent
from limpet.control.threads.keys import RunKey, ThreadKey, no_thread
from limpet.errors import FencedError
from limpet.harness.events import EVENTS, Event

JOINED: Final = {
    "text": "part",
    "thinking": "part",
    "tool_input": "call",
    "tool_output": "call",
}
"""Kinds that come in pieces, and the field that says which pieces belong together."""
MAX_JOINED_CHARS: Final = 256 * 1024
"""Of one event that pieces are joined to; what is longer stays in several."""
_JOIN_AT_ONCE: Final = 2000


async def locked(session: AsyncSession, key: ThreadKey) -> ThreadRow:
    """The thread's row, held until the transaction ends; `ThreadGoneError`."""
    row = await session.get(ThreadRow, (key.org, key.thread), with_for_update=True)
    if row is None:
        raise no_thread(key.thread)
    return row


def add_events(
    session: AsyncSession, thread: ThreadRow, run: str | None, events: Iterable[Event]
) -> None:
    """Number the events and add them; `thread` is locked."""
    for event in events:
        thread.last_seq += 1
        session.add(
            ThreadEventRow(
                org_id=thread.org_id,
                thread_id=thread.id,
                seq=thread.last_seq,
                first_seq=thread.last_seq,
                run_id=run,
                kind=event.kind,
                data=event.model_dump(mode="json"),
            )
        )


async def owned_run(session: AsyncSession, key: RunKey, owner: str) -> RunRow:
    """The run, which `owner` does now; `FencedError` when it is another's or has ended."""
    row = await session.get(RunRow, (key.thread.org, key.thread.thread, key.run))
    if row is None or row.status != "running" or row.lease_owner != owner:
        raise FencedError("Another Limpet server goes on with this run, or it has ended")
    return row


class Journal:
    """Events of all threads. `told` is called after each write, with the thread's key."""

    def __init__(self, database: Database, told: Callable[[ThreadKey], None]) -> None:
        self.database = database
        self._told = told

    def tell(self, key: ThreadKey) -> None:
        """Something about the thread was written."""
        self._told(key)

    async def append(
        self,
        key: RunKey,
        owner: str,
        events: Sequence[Event],
        change: Callable[[RunRow], None] | None = None,
    ) -> None:
        """Add what a run of `owner`'s did, and change its row, in one transaction.

        `FencedError` when the run is not the owner's any more, `ThreadGoneError` when the thread
        was deleted; nothing is written then.
        """
        async with self.database.session() as session:
            thread = await locked(session, key.thread)
            run = await owned_run(session, key, owner)
            add_events(session, thread, key.run, events)
            if change is not None:
                change(run)
                thread.version += 1
        self.tell(key.thread)

    async def read(self, key: ThreadKey, *, after: int, limit: int) -> tuple[list[KeptEvent], bool]:
        """At most `limit` events after number `after`, and whether there are more.

        Of an event that was joined of pieces only those after `after` are given.
        """
        query = (
            select(ThreadEventRow)
            .where(
                ThreadEventRow.org_id == key.org,
                ThreadEventRow.thread_id == key.thread,
                ThreadEventRow.seq > after,
            )
            .order_by(ThreadEventRow.seq)
            .limit(limit + 1)
        )
        async with self.database.reading() as session:
            rows = list(await session.scalars(query))
        return [_kept(row, after) for row in rows[:limit]], len(rows) > limit

    async def of_run(self, key: RunKey) -> list[Event]:
        """All events of one run."""
        query = (
            select(ThreadEventRow.data)
            .where(
                ThreadEventRow.org_id == key.thread.org,
                ThreadEventRow.thread_id == key.thread.thread,
                ThreadEventRow.run_id == key.run,
            )
            .order_by(ThreadEventRow.seq)
        )
        async with self.database.reading() as session:
            return [EVENTS.validate_python(data) for data in await session.scalars(query)]

    async def join(self, key: RunKey) -> None:
        """Make one event of pieces that follow each other; a run's, when it has ended."""
        after = 0
        while True:
            async with self.database.session() as session:
                query = (
                    select(ThreadEventRow)
                    .where(
                        ThreadEventRow.org_id == key.thread.org,
                        ThreadEventRow.thread_id == key.thread.thread,
                        ThreadEventRow.run_id == key.run,
                        ThreadEventRow.kind.in_(JOINED),
                        ThreadEventRow.seq > after,
                    )
                    .order_by(ThreadEventRow.seq)
                    .limit(_JOIN_AT_ONCE)
                )
                rows = list(await session.scalars(query))
                gone = [row.seq for group in _groups(rows) for row in _joined(group)]
                if gone:
                    await session.execute(
                        delete(ThreadEventRow).where(
                            ThreadEventRow.org_id == key.thread.org,
                            ThreadEventRow.thread_id == key.thread.thread,
                            ThreadEventRow.seq.in_(gone),
                        )
                    )
            if len(rows) < _JOIN_AT_ONCE:
                return
            after = rows[-1].seq


def _groups(rows: Sequence[ThreadEventRow]) -> list[list[ThreadEventRow]]:
    """Pieces of one part that follow each other with nothing between them."""
    groups: list[list[ThreadEventRow]] = []
    size = 0
    for row in rows:
        length = len(row.data["delta"])
        last = groups[-1][-1] if groups else None
        field = JOINED[row.kind]
        if (
            last is not None
            and last.kind == row.kind
            and last.seq + 1 == row.first_seq
            and last.data[field] == row.data[field]
            and size + length <= MAX_JOINED_CHARS
        ):
            groups[-1].append(row)
            size += length
        else:
            groups.append([row])
            size = length
    return groups


def _joined(group: Sequence[ThreadEventRow]) -> Sequence[ThreadEventRow]:
    """Put all of the group into its last row; gives those that are to go."""
    if len(group) == 1:
        return ()
    *others, last = group
    pieces: list[list[int]] = []
    text = ""
    for row in group:
        pieces += [[seq, len(text) + end] for seq, end in _pieces(row)]
        text += row.data["delta"]
    last.data = {**last.data, "delta": text}
    last.first_seq, last.pieces = group[0].first_seq, pieces
    last.at = group[0].at
    return others


def _pieces(row: ThreadEventRow) -> list[list[int]]:
    return row.pieces or [[row.seq, len(row.data["delta"])]]


def _kept(row: ThreadEventRow, after: int) -> KeptEvent:
    data: dict[str, Any] = row.data
    if row.pieces and row.first_seq <= after:
        had = max((end for seq, end in row.pieces if seq <= after), default=0)
        data = {**data, "delta": data["delta"][had:]}
    return KeptEvent(seq=row.seq, run=row.run_id, at=row.at, event=EVENTS.validate_python(data))
