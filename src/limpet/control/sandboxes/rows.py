"""The sandboxes' rows: the one place that reads and writes them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from sqlalchemy import select

from limpet.control.db import AgentRow, Database, SandboxRow
from limpet.control.preview_address import PreviewAccess
from limpet.control.sandboxes.events import SandboxKey
from limpet.errors import NotFoundError
from limpet.ids import AgentId, Branch, OrgId, SnapshotId, handle_for


def key_of(row: SandboxRow) -> SandboxKey:
    """Which sandbox the row is about."""
    return SandboxKey(OrgId(row.org_id), AgentId(row.agent_id), Branch(row.branch))


def known_snapshot(row: SandboxRow) -> SnapshotId | None:
    """A snapshot that the branch's main lineage certainly has; of a detached sandbox the one that
    it runs without.
    """
    known = row.pinned_snapshot if row.detached else row.head_snapshot
    return SnapshotId(known) if known else None


def known_generation(row: SandboxRow) -> int:
    """The generation that every new head of the main lineage must come after.

    Also in a store that does not have it: when the right store is back, the newer work must not
    stand below the older.
    """
    return 0 if row.detached else row.generation


def access_of(row: SandboxRow, default: PreviewAccess) -> PreviewAccess:
    """Who sees the sandbox's preview; `default` where nobody has said it."""
    return default if row.preview_access is None else cast(PreviewAccess, row.preview_access)


class SandboxRows:
    """Rows by key and by handle. What is given out is detached: read it, never write to it."""

    def __init__(self, db: Database) -> None:
        self.db = db

    async def get(self, key: SandboxKey) -> SandboxRow | None:
        """The sandbox's row, if it was ever started."""
        async with self.db.reading() as session:
            return await session.get(SandboxRow, (key.org, key.agent, key.branch))

    async def by_handle(self, org: OrgId, handle: str) -> SandboxRow:
        """The org's sandbox of that handle, or `NotFoundError`."""
        async with self.db.reading() as session:
            row = await session.scalar(
                select(SandboxRow).where(SandboxRow.org_id == org, SandboxRow.handle == handle)
            )
        if row is None or is_deleted(row):
            raise NotFoundError(f"There is no sandbox {handle[:80]!r}")
        return row

    async def anywhere(self, handle: str) -> SandboxRow | None:
        """The sandbox of that handle in any org: for preview hosts, which know no org."""
        async with self.db.reading() as session:
            row = await session.scalar(select(SandboxRow).where(SandboxRow.handle == handle))
        return None if row is None or is_deleted(row) else row

    async def list(self, org: OrgId, agent: AgentId | None = None) -> Sequence[SandboxRow]:
        """The org's sandboxes, oldest first."""
        query = select(SandboxRow).where(SandboxRow.org_id == org)
        if agent is not None:
            query = query.where(SandboxRow.agent_id == agent)
        async with self.db.reading() as session:
            rows = await session.scalars(query.order_by(SandboxRow.created_at, SandboxRow.handle))
            return [row for row in rows if not is_deleted(row)]

    async def all_of_agent(self, org: OrgId, agent: AgentId) -> Sequence[SandboxRow]:
        """Every row of the agent, those of deleted sandboxes too."""
        query = select(SandboxRow).where(SandboxRow.org_id == org, SandboxRow.agent_id == agent)
        async with self.db.reading() as session:
            return list(await session.scalars(query))

    async def everywhere(self) -> Sequence[SandboxRow]:
        """All rows of all orgs."""
        async with self.db.reading() as session:
            return list(await session.scalars(select(SandboxRow)))

    async def tracked(self) -> Sequence[SandboxRow]:
        """Those that the saver looks after."""
        async with self.db.reading() as session:
            return list(await session.scalars(select(SandboxRow).where(SandboxRow.tracked)))

    async def titles(self, org: OrgId) -> dict[str, str]:
        """The titles of the org's agents by id."""
        async with self.db.reading() as session:
            rows = await session.execute(
                select(AgentRow.id, AgentRow.title).where(AgentRow.org_id == org)
            )
            return {str(agent): str(title) for agent, title in rows}

    async def agent(self, org: OrgId, agent: AgentId) -> AgentRow:
        """The org's agent, or `NotFoundError`."""
        async with self.db.reading() as session:
            row = await session.get(AgentRow, (org, agent))
        if row is None:
            raise NotFoundError(f"There is no agent {agent[:80]!r}")
        return row

    async def make(self, key: SandboxKey, runner_kind: str) -> SandboxRow:
        """The sandbox's row, made when there is none yet."""
        async with self.db.session() as session:
            row = await session.get(SandboxRow, (key.org, key.agent, key.branch))
            if row is None:
                row = SandboxRow(
                    org_id=key.org,
                    agent_id=key.agent,
                    branch=key.branch,
                    handle=handle_for(key.org, key.agent, key.branch),
                    runner_kind=runner_kind,
                    state="stopped",
                    desired="stopped",
                )
                session.add(row)
        return row

    async def change(self, key: SandboxKey, **values: Any) -> SandboxRow:
        """Set columns of a row that is there; gives the row as it is then."""
        return await self.revise(key, lambda _row: values)

    async def revise(
        self, key: SandboxKey, values: Callable[[SandboxRow], Mapping[str, Any]]
    ) -> SandboxRow:
        """Set columns to what follows from the row as it is, with nobody in between."""
        async with self.db.session() as session:
            whole = (key.org, key.agent, key.branch)
            row = await session.get(SandboxRow, whole, with_for_update=True)
            if row is None:
                raise NotFoundError(f"There is no sandbox on {key.branch!r}")
            for name, value in values(row).items():
                setattr(row, name, value)
        return row

    async def remove(self, key: SandboxKey) -> None:
        """Forget the sandbox altogether; only when its agent goes."""
        async with self.db.session() as session:
            row = await session.get(SandboxRow, (key.org, key.agent, key.branch))
            if row is not None:
                await session.delete(row)


def is_deleted(row: SandboxRow) -> bool:
    """Whether the user deleted it; the row stays, so that its fencing number only ever grows."""
    return row.desired == "deleted" and row.state == "stopped"
