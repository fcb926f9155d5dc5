"""Turning back: a turn undone, and another thread that goes on from one. Nothing newer is lost."""

from typing import Final

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from limpet.branches import check_branch
from limpet.control.auth import Identity
from limpet.control.db import AgentRow, RunRow, ThreadEventRow, ThreadRow
from limpet.control.operations.thread_models import Thread, ThreadFork, ThreadUndo, ThreadUndone
from limpet.control.sandboxes.service import SnapshotSource
from limpet.control.threads.journal import add_events, locked
from limpet.control.threads.keys import ThreadKey, no_thread
from limpet.control.threads.service import ThreadService
from limpet.control.threads.views import threads_of
from limpet.errors import ConflictError, NotFoundError
from limpet.harness.events import Notice
from limpet.ids import AgentId, Branch, OrgId, SnapshotId, new_id

MAX_TITLE: Final = 240
_UNFINISHED: Final = ("queued", "running")


class NoCheckpointError(ConflictError):
    """The workspace was not saved at that moment."""

    code = "no_checkpoint"


async def undo(threads: ThreadService, identity: Identity, wanted: ThreadUndo) -> ThreadUndone:
    """Bring the workspace back to what it was before a turn, and so before all after it.

    Raises `RunningError` while anything goes on, `NoCheckpointError`, and what going back raises.
    """
    parts, key = threads.parts, ThreadKey(identity.org, wanted.thread_id)
    async with parts.database.session() as session:
        row = await threads.own(session, identity, wanted.thread_id)
        run = await threads.idle_run(session, row, wanted.run)
    source = SnapshotSource(AgentId(row.agent_id), Branch(row.branch), _checkpoint(run, "before"))
    await _require(threads, key.org, source, "before")
    restored = await parts.sandboxes.restore(key.org, source.agent, source.branch, source.snapshot)
    async with parts.database.session() as session:
        row = await locked(session, key)
        later = await session.scalars(
            select(RunRow).where(
                RunRow.org_id == key.org,
                RunRow.thread_id == key.thread,
                RunRow.position >= run.position,
                RunRow.status.not_in(_UNFINISHED),
            )
        )
        for one in later:
            one.undone = True
        said = f"Turn {run.position} was undone: the files are as they were before it."
        add_events(session, row, None, [Notice(text=said)])
        row.version += 1
        thread = (await threads_of(session, [row], identity.user))[0]
    parts.journal.tell(key)
    return ThreadUndone(run=run.id, restored=restored, thread=thread)


async def fork(threads: ThreadService, identity: Identity, wanted: ThreadFork) -> Thread:
    """Another thread with the turns up to one, on another branch that begins with its files.

    Any member may fork any thread: what is made is theirs. Raises `NoCheckpointError`, and what a
    fork of a snapshot raises.
    """
    parts, org = threads.parts, identity.org
    async with parts.database.reading() as session:
        source = await session.get(ThreadRow, (org, wanted.thread_id))
        if source is None:
            raise no_thread(wanted.thread_id)
        run = await session.get(RunRow, (org, wanted.thread_id, wanted.run))
        agent = await session.get(AgentRow, (org, source.agent_id))
    if run is None or agent is None:
        raise NotFoundError(f"There is no turn {wanted.run!r} here")
    if run.status in _UNFINISHED:
        raise ConflictError("This turn goes on", hint="Wait for its end, or stop it.")
    thread = new_id("thrd")
    to = check_branch(wanted.to_branch) if wanted.to_branch is not None else None
    if to is None and not agent.has_source:
        to = check_branch(f"thread:{thread}")
    agent_id = AgentId(agent.id)
    begun = SnapshotSource(agent_id, Branch(source.branch), _checkpoint(run, wanted.when))
    await _require(threads, org, begun, wanted.when)
    made = await parts.sandboxes.fork(org, begun, agent_id, to, name=wanted.name)
    async with parts.database.session() as session:
        row = ThreadRow(
            org_id=org,
            id=thread,
            agent_id=source.agent_id,
            branch=made.branch,
            title=wanted.title or f"{source.title[:MAX_TITLE]} (fork)".strip(),
            harness=source.harness,
            provider_id=source.provider_id,
            model_name=source.model_name,
            created_by=identity.user,
        )
        session.add(row)
        await session.flush()
        last = run.position if wanted.when == "after" else run.position - 1
        row.last_seq = await _copy(session, source, row, last)
        add_events(session, row, None, [Notice(text=f"Forked from {source.title!r}.")])
        await session.flush()
        return (await threads_of(session, [row], identity.user))[0]


def _checkpoint(run: RunRow, when: str) -> SnapshotId:
    kept = run.checkpoint_before if when == "before" else run.checkpoint_after
    if kept is None:
        raise NoCheckpointError(
            f"The workspace was not saved {when} this turn",
            hint="The history of the branch shows what there is.",
        )
    return SnapshotId(kept)


async def _require(threads: ThreadService, org: OrgId, source: SnapshotSource, when: str) -> None:
    """`NoCheckpointError` when retention has let the snapshot go."""
    try:
        await threads.parts.sandboxes.find_snapshot(org, source)
    except NotFoundError as error:
        raise NoCheckpointError(
            f"The workspace {when} this turn is not kept any more",
            hint="`limpet store retention --turns` says how many are.",
        ) from error


async def _copy(session: AsyncSession, source: ThreadRow, to: ThreadRow, last: int) -> int:
    """Copy the turns up to number `last`, and what was said and done in them; the last number.

    Their checkpoints are snapshots of the other branch and stay behind; what they cost was paid
    there.
    """
    mine = (RunRow.org_id == source.org_id, RunRow.thread_id == source.id)
    runs = list(await session.scalars(select(RunRow).where(*mine, RunRow.position <= last)))
    for run in runs:
        session.add(
            _copied(
                run, thread_id=to.id, checkpoint_before=None, checkpoint_after=None, requests=0,
                input_tokens=0, output_tokens=0, cache_read_tokens=0, cost_usd=None,
            )
        )  # fmt: skip
    known = {run.id for run in runs} | {None}
    messages = {run.message for run in runs}
    events = await session.scalars(
        select(ThreadEventRow)
        .where(ThreadEventRow.org_id == source.org_id, ThreadEventRow.thread_id == source.id)
        .order_by(ThreadEventRow.seq)
    )
    seq = 0
    for event in events:
        if event.run_id not in known or event.kind == "checkpoint":
            continue
        if event.kind == "user_message" and event.data["id"] not in messages:
            continue
        seq += 1
        session.add(_copied(event, thread_id=to.id, seq=seq, first_seq=seq, pieces=None))
    return seq


def _copied(row: RunRow | ThreadEventRow, **changed: object) -> RunRow | ThreadEventRow:
    values = {a.key: getattr(row, a.key) for a in row.__mapper__.column_attrs}
    return type(row)(**{**values, **changed})
