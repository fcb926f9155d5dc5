"""A thread out as one JSON document, and in again."""

from typing import Final

from limpet.control.auth import Identity
from limpet.control.db import AgentRow, RunRow, ThreadEventRow, ThreadRow
from limpet.control.operations.thread_models import (
    ExportedThread,
    KeptEvent,
    Thread,
    ThreadExport,
    ThreadImport,
)
from limpet.control.threads.keys import ThreadKey, no_thread
from limpet.control.threads.portable import checked_document, renamed, storable, turns_of
from limpet.control.threads.service import DEFAULT_HARNESS, ThreadService, branch_for
from limpet.control.threads.views import UNTITLED, threads_of
from limpet.errors import ConflictError, NotFoundError
from limpet.ids import new_id

MAX_TITLE: Final = 255
_PAGE: Final = 1000


async def export(threads: ThreadService, identity: Identity, thread: str) -> ThreadExport:
    """The whole thread. It holds what was said and done: no files, keys, ids of the org."""
    async with threads.parts.database.reading() as session:
        row = await session.get(ThreadRow, (identity.org, thread))
        if row is None:
            raise no_thread(thread)
        agent = await session.get(AgentRow, (identity.org, row.agent_id))
    events: list[KeptEvent] = []
    more = True
    while more:
        after = events[-1].seq if events else 0
        page, more = await threads.parts.journal.read(
            ThreadKey(identity.org, thread), after=after, limit=_PAGE
        )
        events += page
    return ThreadExport(
        format="limpet.thread.v1",
        thread=ExportedThread(
            title=row.title or UNTITLED,
            agent_title=agent.title if agent else "",
            branch=row.branch,
            harness=row.harness,
            model=row.model_name,
            created_at=row.created_at,
        ),
        events=events,
    )


async def import_(threads: ThreadService, identity: Identity, wanted: ThreadImport) -> Thread:
    """The document as a thread of the caller's, with numbers and ids of its own."""
    told = checked_document(wanted.document)
    events = renamed(told.events)
    thread = wanted.id or new_id("thrd")
    async with threads.parts.database.session() as session:
        agent = await session.get(AgentRow, (identity.org, wanted.agent_id), with_for_update=True)
        if agent is None:
            raise NotFoundError(f"There is no agent {wanted.agent_id!r}")
        if await session.get(ThreadRow, (identity.org, thread)) is not None:
            raise ConflictError("This id is another thread's", hint="Choose another one.")
        row = ThreadRow(
            org_id=identity.org,
            id=thread,
            agent_id=agent.id,
            branch=branch_for(agent, thread, None),
            title=storable(told.thread.title)[:MAX_TITLE],
            harness=DEFAULT_HARNESS,
            created_by=identity.user,
            last_seq=len(events),
        )
        session.add(row)
        await session.flush()
        session.add_all(
            ThreadEventRow(
                org_id=identity.org,
                thread_id=thread,
                seq=number,
                first_seq=number,
                run_id=run,
                kind=event.kind,
                data=event.model_dump(mode="json"),
                at=at,
            )
            for number, (run, at, event) in enumerate(events, start=1)
        )
        session.add_all(
            RunRow(
                org_id=identity.org,
                thread_id=thread,
                id=turn.run,
                position=position,
                message=turn.message,
                prompt=turn.prompt,
                answer=turn.answer,
                status=turn.status,
                error=turn.error,
                harness=DEFAULT_HARNESS,
                created_at=turn.at,
                started_at=turn.at,
                finished_at=turn.at,
            )
            for position, turn in enumerate(turns_of(events), start=1)
        )
        await session.flush()
        return (await threads_of(session, [row], identity.user))[0]
