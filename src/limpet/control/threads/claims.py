"""Whose run is whose: runs wait in their thread's order, and one at a time is taken by a lease.

A lease is renewed while its run goes on. When its holder dies, whoever may work on the thread's
sandbox takes the run over; so the control plane that has a sandbox also does the runs in it.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from limpet.control.db import Database, RunRow, SandboxRow, ThreadRow
from limpet.control.threads.journal import locked, owned_run
from limpet.control.threads.keys import RunKey, ThreadKey
from limpet.ids import OrgId

LEASE_S: Final = 30.0
_UNFINISHED: Final = ("queued", "running")


@dataclass(frozen=True, slots=True)
class Claimed:
    """A run that is ours now; `resumes`: another control plane died in it."""

    key: RunKey
    thread: ThreadRow
    run: RunRow
    resumes: bool


class Claims:
    """The runs that one control plane, `owner`, has taken.

    `exclusive`: no other control plane can be alive on this database.
    """

    def __init__(
        self, database: Database, owner: str, *, exclusive: bool, lease_s: float = LEASE_S
    ) -> None:
        self._database = database
        self.owner = owner
        self._exclusive = exclusive
        self.lease_s = lease_s

    async def waiting(self) -> list[ThreadKey]:
        """Threads with a run that waits, or that nobody else is known to be at."""
        now = datetime.now(UTC)
        query = select(RunRow).where(RunRow.status.in_(_UNFINISHED)).order_by(RunRow.created_at)
        async with self._database.reading() as session:
            rows = list(await session.scalars(query))
        keys = [
            ThreadKey(OrgId(row.org_id), row.thread_id)
            for row in rows
            if row.status == "queued"
            or row.lease_owner == self.owner
            or not self._is_held(row, now)
        ]
        return list(dict.fromkeys(keys))

    async def stops_wanted(self) -> list[RunKey]:
        """Runs of ours that somebody wants to end."""
        query = select(RunRow).where(
            RunRow.status == "running", RunRow.stop_wanted, RunRow.lease_owner == self.owner
        )
        async with self._database.reading() as session:
            return [run_key(row) for row in await session.scalars(query)]

    async def take(self, key: ThreadKey) -> Claimed | None:
        """The thread's next run, ours from now on; None when there is none to be had now.

        The one that was left in the middle comes first. None, too, while another control plane
        has the sandbox of the thread's branch, or another run works in it. Ask only while nothing
        goes on here in the thread: a run that is ours then was broken off, and is taken up again.
        """
        async with self._database.session() as session:
            thread = await locked(session, key)
            runs = list(
                await session.scalars(
                    select(RunRow)
                    .where(
                        RunRow.org_id == key.org,
                        RunRow.thread_id == key.thread,
                        RunRow.status.in_(_UNFINISHED),
                    )
                    .order_by(RunRow.position)
                )
            )
            now = datetime.now(UTC)
            run = next((run for run in runs if run.status == "running"), None)
            if run is not None and run.lease_owner != self.owner and self._is_held(run, now):
                return None
            resumes = run is not None
            run = run or next(iter(runs), None)
            if run is None or await self._is_elsewhere(session, thread, now):
                return None
            run.lease_owner, run.lease_until = self.owner, now + timedelta(seconds=self.lease_s)
            run.status = "running"
            run.started_at = run.started_at or now
            run.takeovers += resumes
            thread.version += 1
            return Claimed(run_key(run), thread, run, resumes)

    async def renew(self, key: RunKey) -> None:
        """Hold on to a run of ours; `FencedError` when it is not ours any more."""
        async with self._database.session() as session:
            run = await owned_run(session, key, self.owner)
            run.lease_until = datetime.now(UTC) + timedelta(seconds=self.lease_s)

    async def let_go(self, key: RunKey) -> None:
        """Leave a run in its middle to whoever comes next."""
        async with self._database.session() as session:
            run = await owned_run(session, key, self.owner)
            run.lease_owner = run.lease_until = None

    def _is_held(self, row: RunRow | SandboxRow, now: datetime) -> bool:
        """Whether somebody who may be alive has it."""
        if row.lease_owner is None or row.lease_until is None:
            return False
        if self._exclusive and row.lease_owner != self.owner:
            return False
        return row.lease_until > now

    async def _is_elsewhere(self, session: AsyncSession, thread: ThreadRow, now: datetime) -> bool:
        box = await session.get(SandboxRow, (thread.org_id, thread.agent_id, thread.branch))
        if box is not None and box.lease_owner != self.owner and self._is_held(box, now):
            return True
        others = await session.scalars(
            select(RunRow)
            .join(
                ThreadRow,
                (ThreadRow.org_id == RunRow.org_id) & (ThreadRow.id == RunRow.thread_id),
            )
            .where(
                RunRow.org_id == thread.org_id,
                RunRow.status == "running",
                ThreadRow.agent_id == thread.agent_id,
                ThreadRow.branch == thread.branch,
                ThreadRow.id != thread.id,
            )
        )
        return any(self._is_held(other, now) for other in others)


def run_key(row: RunRow) -> RunKey:
    """Which run the row is about."""
    return RunKey(ThreadKey(OrgId(row.org_id), row.thread_id), row.id)
