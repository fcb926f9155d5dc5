"""Threads: everything that can be done with one, spoken to in the API's terms."""

import asyncio
import base64
import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Final

from sqlalchemy import delete as delete_rows
from sqlalchemy import or_, select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from limpet.branches import check_branch
from limpet.control.auth import Identity
from limpet.control.db import AgentRow, RunRow, ThreadEventRow, ThreadRow
from limpet.control.operations.thread_models import (
    ModelRef,
    Run,
    Thread,
    ThreadCreate,
    ThreadFilter,
    ThreadList,
    ThreadSend,
    ThreadSent,
    ThreadStop,
    ThreadUpdate,
)
from limpet.control.threads.harnesses import MODEL_OPTIONAL, command_of, require_harness
from limpet.control.threads.journal import add_events, locked
from limpet.control.threads.keys import (
    NoModelError,
    NotYoursError,
    RunKey,
    RunningError,
    ThreadKey,
    no_thread,
)
from limpet.control.threads.parts import ThreadParts
from limpet.control.threads.scheduler import Scheduler
from limpet.control.threads.views import run_of, threads_of
from limpet.errors import ConflictError, InvalidInputError, NotFoundError
from limpet.harness.events import RunFinished, UserMessage
from limpet.ids import AgentId, OrgId, new_id

DEFAULT_HARNESS: Final = "decopilot"
MAX_WAITING: Final = 50
TITLE_CHARS: Final = 60
DELETE_PATIENCE_S: Final = 30.0
_UNFINISHED: Final = ("queued", "running")
_LIKE_SPECIAL: Final = str.maketrans({"\\": "\\\\", "%": "\\%", "_": "\\_"})


class ThreadService:
    """All threads of one control plane."""

    def __init__(self, parts: ThreadParts) -> None:
        self.parts = parts
        self.scheduler = Scheduler(parts)

    @contextlib.asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        """Take runs, and notice what other control planes write, for the length of the block."""
        tasks = [
            asyncio.create_task(self.scheduler.run(), name="runs"),
            asyncio.create_task(self.parts.hub.run(), name="threads"),
        ]
        try:
            yield
        finally:
            await self.close()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def close(self) -> None:
        """End the streams, and leave the runs to whoever comes next; safe to call twice."""
        self.parts.hub.close()
        await self.scheduler.close()

    # -- looking -------------------------------------------------------------------------------

    async def get(self, identity: Identity, thread: str) -> Thread:
        """One thread; `ThreadGoneError` when the org has none of that id."""
        async with self.parts.database.reading() as session:
            row = await session.get(ThreadRow, (identity.org, thread))
            if row is None:
                raise no_thread(thread)
            return (await threads_of(session, [row], identity.user))[0]

    async def search(self, identity: Identity, wanted: ThreadFilter) -> ThreadList:
        """The org's threads, the last used one first."""
        query = select(ThreadRow).where(ThreadRow.org_id == identity.org)
        if wanted.agent_id is not None:
            query = query.where(ThreadRow.agent_id == wanted.agent_id)
        if wanted.archived is not None:
            query = query.where(ThreadRow.archived == wanted.archived)
        if wanted.mine:
            query = query.where(ThreadRow.created_by == identity.user)
        if wanted.search:
            like = f"%{wanted.search.translate(_LIKE_SPECIAL)}%"
            said = select(RunRow.id).where(
                RunRow.org_id == ThreadRow.org_id,
                RunRow.thread_id == ThreadRow.id,
                or_(RunRow.prompt.ilike(like, escape="\\"), RunRow.answer.ilike(like, escape="\\")),
            )
            query = query.where(or_(ThreadRow.title.ilike(like, escape="\\"), said.exists()))
        if wanted.before is not None:
            query = query.where(
                tuple_(ThreadRow.used_at, ThreadRow.id) < tuple_(*_place_of(wanted.before))
            )
        query = query.order_by(ThreadRow.used_at.desc(), ThreadRow.id.desc())
        async with self.parts.database.reading() as session:
            rows = list(await session.scalars(query.limit(wanted.limit + 1)))
            shown = rows[: wanted.limit]
            threads = await threads_of(session, shown, identity.user)
        more = len(rows) > wanted.limit
        return ThreadList(threads=threads, next=_place(shown[-1]) if more else None)

    async def runs(self, org: OrgId, thread: str) -> list[Run]:
        """The thread's turns, the first one first."""
        async with self.parts.database.reading() as session:
            if await session.get(ThreadRow, (org, thread)) is None:
                raise no_thread(thread)
            rows = await session.scalars(
                select(RunRow)
                .where(RunRow.org_id == org, RunRow.thread_id == thread)
                .order_by(RunRow.position)
            )
            return [run_of(row) for row in rows]

    # -- writing -------------------------------------------------------------------------------

    async def create(self, identity: Identity, wanted: ThreadCreate) -> Thread:
        """A new thread, or, where the id is taken by one of the same person and agent, that one.

        `ConflictError` when the id is another thread's, `NoCommandError` when its harness would
        run a program that the agent does not name.
        """
        org = identity.org
        harness = wanted.harness or DEFAULT_HARNESS
        require_harness(self.parts.harnesses, harness)
        if wanted.model is not None:
            await self.parts.providers.resolve(org, wanted.model)
        thread = wanted.id or new_id("thrd")
        async with self.parts.database.session() as session:
            agent = await session.get(AgentRow, (org, wanted.agent_id), with_for_update=True)
            if agent is None:
                raise NotFoundError(f"There is no agent {wanted.agent_id!r}")
            row = await session.get(ThreadRow, (org, thread))
            if row is None:
                command_of(harness, agent)
                row = ThreadRow(
                    org_id=org,
                    id=thread,
                    agent_id=agent.id,
                    branch=branch_for(agent, thread, wanted.branch),
                    title=wanted.title or "",
                    harness=harness,
                    created_by=identity.user,
                )
                _choose_model(row, wanted.model)
                session.add(row)
                await session.flush()
            elif (row.agent_id, row.created_by) != (agent.id, identity.user):
                raise ConflictError("This id is another thread's", hint="Choose another one.")
            return (await threads_of(session, [row], identity.user))[0]

    async def update(self, identity: Identity, wanted: ThreadUpdate) -> Thread:
        """Change a thread of one's own; `NoCommandError` as in `create`."""
        said = wanted.model_fields_set
        if wanted.model is not None:
            await self.parts.providers.resolve(identity.org, wanted.model)
        async with self.parts.database.session() as session:
            row = await self.own(session, identity, wanted.thread_id)
            if wanted.title is not None:
                row.title = wanted.title
            if "model" in said:
                _choose_model(row, wanted.model)
            if wanted.harness is not None:
                require_harness(self.parts.harnesses, wanted.harness)
                agent = await session.get(AgentRow, (row.org_id, row.agent_id))
                if agent is not None:
                    command_of(wanted.harness, agent)
                row.harness = wanted.harness
            if wanted.archived is not None:
                row.archived = wanted.archived
            row.version += 1
            told = (await threads_of(session, [row], identity.user))[0]
        self.parts.journal.tell(ThreadKey(identity.org, wanted.thread_id))
        return told

    async def send(self, identity: Identity, wanted: ThreadSend) -> ThreadSent:
        """Say something: a run takes it up now, or after those before it.

        `NoModelError` when nothing could answer; `ConflictError` when the message's id was used for
        another text, or too many wait already.
        """
        self.parts.sandboxes.parts.refuse_when_closing()
        key = ThreadKey(identity.org, wanted.thread_id)
        thread = await self.get(identity, wanted.thread_id)
        model = await self._model_for(identity.org, thread)
        async with self.parts.database.session() as session:
            row = await self.own(session, identity, wanted.thread_id)
            runs = list(
                await session.scalars(
                    select(RunRow).where(RunRow.org_id == key.org, RunRow.thread_id == key.thread)
                )
            )
            run = next((run for run in runs if wanted.id and run.message == wanted.id), None)
            waiting = [one for one in runs if one.status in _UNFINISHED]
            if run is not None and run.prompt != wanted.text:
                raise ConflictError("This message's id was used for another one")
            if run is None:
                if len(waiting) >= MAX_WAITING:
                    raise ConflictError("Too many messages wait in this thread already")
                run = _new_run(row, wanted, model, len(runs) + 1)
                session.add(run)
                said = UserMessage(
                    id=run.message, text=wanted.text, author=identity.user, queued=bool(waiting)
                )
                add_events(session, row, None, [said])
                row.title = row.title or title_of(wanted.text)
                row.used_at, row.archived = datetime.now(UTC), False
                row.version += 1
                await session.flush()
            sent = ThreadSent(
                message=run.message,
                run=run.id,
                queued=any(one.position < run.position for one in waiting),
                thread=(await threads_of(session, [row], identity.user))[0],
            )
        self.parts.journal.tell(key)
        self.scheduler.stir(key)
        return sent

    async def _model_for(self, org: OrgId, thread: Thread) -> ModelRef | None:
        """What the next run is to answer with; None where its agent may have a model of its own."""
        try:
            return await self.parts.providers.resolve(org, thread.model)
        except NoModelError:
            if thread.harness in MODEL_OPTIONAL:
                return None
            raise

    async def stop(self, identity: Identity, wanted: ThreadStop) -> Thread:
        """End what goes on, here at once, on another server soon; nothing going on is no error."""
        key = ThreadKey(identity.org, wanted.thread_id)
        async with self.parts.database.session() as session:
            row = await self.own(session, identity, wanted.thread_id)
            running = await _stop_all(session, row, keep_queued=wanted.keep_queued)
            told = (await threads_of(session, [row], identity.user))[0]
        self.parts.journal.tell(key)
        for run in running:
            self.scheduler.stop(RunKey(key, run))
        return told

    async def delete(self, identity: Identity, thread: str) -> None:
        """Forget a thread of one's own, after its run has been ended."""
        await self.stop(identity, ThreadStop(thread_id=thread))
        await self._remove(ThreadKey(identity.org, thread))

    async def delete_agent(self, org: OrgId, agent: AgentId) -> None:
        """Forget all threads of an agent that is about to go."""
        async with self.parts.database.reading() as session:
            query = select(ThreadRow.id).where(ThreadRow.org_id == org, ThreadRow.agent_id == agent)
            threads = list(await session.scalars(query))
        for thread in threads:
            key = ThreadKey(org, thread)
            async with self.parts.database.session() as session:
                running = await _stop_all(session, await locked(session, key), keep_queued=False)
            for run in running:
                self.scheduler.stop(RunKey(key, run))
            await self._remove(key)

    async def _remove(self, key: ThreadKey) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DELETE_PATIENCE_S):
                await self.scheduler.settled(key)
        async with self.parts.database.session() as session:
            for table in (ThreadEventRow, RunRow):
                await session.execute(
                    delete_rows(table).where(table.org_id == key.org, table.thread_id == key.thread)
                )
            row = await session.get(ThreadRow, (key.org, key.thread))
            if row is not None:
                await session.delete(row)
        self.parts.journal.tell(key)

    async def own(self, session: AsyncSession, identity: Identity, thread: str) -> ThreadRow:
        """The thread, held until the transaction ends, if it is the caller's own.

        `ThreadGoneError` or `NotYoursError`.
        """
        row = await locked(session, ThreadKey(identity.org, thread))
        if row.created_by != identity.user:
            raise NotYoursError(
                "Only its owner writes to this thread", hint="Fork it to go on from there."
            )
        return row

    async def idle_run(self, session: AsyncSession, row: ThreadRow, run: str | None) -> RunRow:
        """A run of the thread by its id, by default the last one that is not undone.

        `RunningError` while anything goes on in the thread, `NotFoundError` without such a run.
        """
        rows = list(
            await session.scalars(
                select(RunRow)
                .where(RunRow.org_id == row.org_id, RunRow.thread_id == row.id)
                .order_by(RunRow.position)
            )
        )
        if any(one.status in _UNFINISHED for one in rows):
            raise RunningError("A run goes on in this thread", hint="Stop it, or wait for its end.")
        found = [one for one in rows if one.id == run] if run else [r for r in rows if not r.undone]
        if not found:
            raise NotFoundError(f"There is no turn {run!r} here" if run else "There is no turn yet")
        return found[-1]


def branch_for(agent: AgentRow, thread: str, wanted: str | None) -> str:
    """The branch of a new thread: its agent's, or one of its own where there is no source."""
    if wanted is not None:
        return check_branch(wanted)
    return agent.default_branch if agent.has_source else check_branch(f"thread:{thread}")


def title_of(message: str) -> str:
    """How a thread is called after its first message."""
    line = " ".join(message.split())
    return line if len(line) <= TITLE_CHARS else f"{line[: TITLE_CHARS - 1].rstrip()}…"


def _choose_model(row: ThreadRow, model: ModelRef | None) -> None:
    row.provider_id = model.provider_id if model else None
    row.model_name = model.name if model else None


def _new_run(
    thread: ThreadRow, wanted: ThreadSend, model: ModelRef | None, position: int
) -> RunRow:
    return RunRow(
        org_id=thread.org_id,
        thread_id=thread.id,
        id=new_id("run"),
        position=position,
        message=wanted.id or new_id("msg"),
        prompt=wanted.text,
        harness=thread.harness,
        provider_id=model.provider_id if model else None,
        model_name=model.name if model else None,
    )


async def _stop_all(session: AsyncSession, row: ThreadRow, *, keep_queued: bool) -> list[str]:
    """Write down that what goes on is to end, and end what waits; the runs that go on."""
    runs = list(
        await session.scalars(
            select(RunRow)
            .where(
                RunRow.org_id == row.org_id,
                RunRow.thread_id == row.id,
                RunRow.status.in_(_UNFINISHED),
            )
            .order_by(RunRow.position)
        )
    )
    for run in runs:
        if run.status == "running":
            run.stop_wanted = True
        elif not keep_queued:
            run.status, run.finished_at = "stopped", datetime.now(UTC)
            add_events(session, row, run.id, [RunFinished(run=run.id, how="stopped")])
    row.version += 1
    return [run.id for run in runs if run.status == "running"]


def _place(row: ThreadRow) -> str:
    return base64.urlsafe_b64encode(f"{row.used_at.isoformat()} {row.id}".encode()).decode()


def _place_of(text: str) -> tuple[datetime, str]:
    try:
        at, _, thread = base64.urlsafe_b64decode(text.encode()).decode().partition(" ")
        moment = datetime.fromisoformat(at)
        if moment.tzinfo is None:
            raise ValueError("no zone")
    except ValueError:
        raise InvalidInputError("before: is no `next` of a page") from None
    return moment, thread
