"""The pruner: condemns and deletes what retention does not keep, an org at a time, now and then.

One server at a time prunes an org, by a lease in the database; a second one would do no harm in a
store that honours conditions, and in one that does not it must not be. What a policy is lies with
the org and with the agent; where they say nothing, the server's settings hold.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Final, Literal

import structlog
from sqlalchemy import select

from limpet.control.db import AgentRow, Database, OrgRow, PruneRow, SandboxRow
from limpet.control.settings import Settings
from limpet.errors import ConflictError, LimpetError, NotFoundError
from limpet.ids import AgentId, OrgId, SnapshotId
from limpet.snapshots.prune import PruneReport, PruneRules, prune
from limpet.snapshots.retention import Dated, RetentionPolicy
from limpet.stores.base import SandboxStore
from limpet.stores.keys import TEMPLATES_ORG

log = structlog.get_logger(__name__)

LEASE: Final = timedelta(minutes=10)
LOOK_EVERY_S: Final = 300.0
TEMPLATES_KEPT: Final = timedelta(days=90)
"""For so long a template's installed snapshot stays that this server has no use for."""
Source = Literal["server", "org", "agent"]


class PruneBusyError(ConflictError):
    """The org's snapshots are being pruned already."""

    code = "prune_busy"


class Pruner:
    """Prunes. `templates_in_use` tells which of the templates' snapshots this server wants."""

    def __init__(
        self,
        database: Database,
        store: SandboxStore,
        settings: Settings,
        owner: str,
        templates_in_use: Callable[[], Awaitable[set[SnapshotId]]],
    ) -> None:
        self._database = database
        self._store = store
        self._settings = settings
        self._owner = owner
        self._templates_in_use = templates_in_use
        self._running: set[OrgId] = set()

    async def run(self) -> None:
        """Prune every org when its time has come, until cancelled."""
        every_s = self._settings.prune_every_s
        while every_s:
            await asyncio.sleep(min(LOOK_EVERY_S, every_s))
            try:
                for org in await self.due(timedelta(seconds=every_s)):
                    with contextlib.suppress(LimpetError):  # it is logged and kept
                        await self.prune(org)
            except Exception:
                log.exception("pruner_broke")

    async def due(self, every: timedelta) -> Sequence[OrgId]:
        """The orgs, and the templates' space, that nobody has begun to prune for so long."""
        async with self._database.reading() as session:
            orgs = [OrgId(org) for org in await session.scalars(select(OrgRow.id))]
            rows = {row.org_id: row for row in await session.scalars(select(PruneRow))}
        before = datetime.now(UTC) - every
        return [
            org
            for org in (*orgs, TEMPLATES_ORG)
            if (row := rows.get(org)) is None or (row.started_at or before) <= before
        ]

    async def prune(self, org: OrgId, *, dry_run: bool = False) -> PruneReport:
        """One run over an org now. Its failure is logged and kept as the org's, then raised.

        Raises `PruneBusyError` and what `limpet.snapshots.prune.prune` does.
        """
        rules = await self._rules(org)
        if dry_run:
            return await prune(self._store, org, rules, dry_run=True)
        if org in self._running:
            raise _busy()
        self._running.add(org)
        try:
            await self._take(org)
            report = await prune(self._store, org, rules, still_ours=lambda: self._renew(org))
        except PruneBusyError:
            raise
        except Exception as error:
            told = error.as_dict() if isinstance(error, LimpetError) else None
            log.warning("prune_failed", org=org, error=told or repr(error))
            await self._finish(org, error=told or {"code": "internal", "message": "", "hint": ""})
            raise
        finally:
            self._running.discard(org)
        log.info("pruned", org=org, **asdict(report))
        await self._finish(org, report=report)
        return report

    async def last(self, org: OrgId) -> PruneRow | None:
        """What is known of the org's last prune."""
        async with self._database.reading() as session:
            return await session.get(PruneRow, org)

    # -- policies ------------------------------------------------------------------------------

    async def policy(self, org: OrgId, agent: AgentId | None) -> tuple[RetentionPolicy, Source]:
        """What is kept of the agent's branches, or of those that say nothing, and who says so.

        Raises `NotFoundError` when there is no such agent.
        """
        async with self._database.reading() as session:
            if agent is not None:
                row = await session.get(AgentRow, (org, agent))
                if row is None:
                    raise NotFoundError(f"There is no agent {agent!r}")
                if row.retention is not None:
                    return RetentionPolicy.from_dict(row.retention), "agent"
            of_org = await session.get(OrgRow, org)
        if of_org is not None and of_org.retention is not None:
            return RetentionPolicy.from_dict(of_org.retention), "org"
        return self._settings.retention, "server"

    async def set_policy(
        self, org: OrgId, agent: AgentId | None, policy: RetentionPolicy | None
    ) -> None:
        """Keep this much from now on; None: what the org, or the server, says."""
        async with self._database.session() as session:
            row: AgentRow | OrgRow | None
            if agent is not None:
                row = await session.get(AgentRow, (org, agent))
            else:
                row = await session.get(OrgRow, org)
            if row is None:
                raise NotFoundError(f"There is no agent {agent!r}")
            row.retention = policy.as_dict() if policy is not None else None

    async def _rules(self, org: OrgId) -> PruneRules:
        if org == TEMPLATES_ORG:
            wanted = await self._templates_in_use()
            before = datetime.now(UTC) - TEMPLATES_KEPT

            def given_up(newest: Dated) -> bool:
                return newest.snapshot not in wanted and newest.created_at < before

            return PruneRules(lambda _agent: RetentionPolicy(1, 0, 0), wanted, given_up)
        async with self._database.reading() as session:
            of_org = await session.get(OrgRow, org)
            agents = await session.execute(
                select(AgentRow.id, AgentRow.retention).where(
                    AgentRow.org_id == org, AgentRow.retention.is_not(None)
                )
            )
            own = {AgentId(agent): RetentionPolicy.from_dict(told) for agent, told in agents}
            used = await session.execute(
                select(SandboxRow.head_snapshot, SandboxRow.pinned_snapshot).where(
                    SandboxRow.org_id == org
                )
            )
            keep = {SnapshotId(snapshot) for row in used for snapshot in row if snapshot}
        told = of_org.retention if of_org is not None else None
        general = RetentionPolicy.from_dict(told) if told else self._settings.retention
        return PruneRules(lambda agent: own.get(agent, general), keep)

    # -- the lease -----------------------------------------------------------------------------

    async def _take(self, org: OrgId) -> None:
        now = datetime.now(UTC)
        async with self._database.session() as session:
            row = await session.get(PruneRow, org)
            if row is None:
                row = PruneRow(org_id=org)
                session.add(row)
            elif not self._settings.uses_sqlite and _held_by_another(row, self._owner, now):
                raise _busy()
            row.lease_owner, row.lease_until = self._owner, now + LEASE
            row.started_at = now

    async def _renew(self, org: OrgId) -> None:
        async with self._database.session() as session:
            row = await session.get(PruneRow, org)
            if row is None or row.lease_owner != self._owner:
                raise _busy()
            row.lease_until = datetime.now(UTC) + LEASE

    async def _finish(
        self, org: OrgId, *, report: PruneReport | None = None, error: dict[str, str] | None = None
    ) -> None:
        async with self._database.session() as session:
            row = await session.get(PruneRow, org)
            if row is None or row.lease_owner != self._owner:
                return
            row.lease_owner = row.lease_until = None
            row.finished_at, row.error = datetime.now(UTC), error
            if report is not None:
                row.report = asdict(report)


def _held_by_another(row: PruneRow, owner: str, now: datetime) -> bool:
    return (
        row.lease_owner not in (None, owner)
        and row.lease_until is not None
        and row.lease_until > now
    )


def _busy() -> PruneBusyError:
    return PruneBusyError("The snapshots are being pruned already", hint="Wait until that is done.")
