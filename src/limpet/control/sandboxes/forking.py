"""Forks: a branch that begins with a snapshot of another one. Of a packed snapshot nothing is
copied: the new branch's first head names the same packs.
"""

import asyncio
from typing import NoReturn

import structlog
from sqlalchemy import select

from limpet.branches import made_up_branch
from limpet.control.db import AgentRow, SandboxRow
from limpet.control.sandboxes.events import SandboxKey
from limpet.control.sandboxes.parts import Parts, ref_of
from limpet.control.sandboxes.rows import known_generation, known_snapshot
from limpet.control.sandboxes.views import stored_bytes
from limpet.errors import ConflictError, LimpetError
from limpet.ids import Branch, OrgId, new_id
from limpet.snapshots.repository import Head, SaveSupersededError
from limpet.snapshots.stored_heads import stored_head_key

log = structlog.get_logger(__name__)

_PLAIN_NAMES = 3
"""So many made-up names are tried before they get a few more characters."""


class BranchTakenError(ConflictError):
    """The branch cannot begin with a fork: something is there already, or it is another agent's."""

    code = "branch_taken"


class Forking:
    """Forks into branches that have nothing yet."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def fork(self, source: Head, to: SandboxKey, *, name: str | None = None) -> Head:
        """Let the branch `to` begin with the content of `source`; its next start restores it.

        `BranchTakenError` when the branch has snapshots, a sandbox that is up, or belongs to
        another agent; `SnapshotDamagedError` when the snapshot is not whole, with nothing made.
        """
        parts = self._parts
        parts.refuse_when_closing()
        async with parts.lifecycle.of(to), parts.saves.of(to):
            await self._refuse_another_agents(to)
            await self._refuse_used(to, await parts.rows.get(to))
            await parts.rows.make(to, parts.runner.kind)
            fencing = await parts.leases.take(to)
            try:
                if source.packed is None:  # a tar is copied
                    await parts.usage.require_room(to.org)
                head = await self._begin(source, to, name, fencing)
                parts.usage.added(to.org, stored_bytes(head))
            except BaseException:
                await asyncio.shield(self._forget_unused(to))
                raise
            await parts.rows.change(
                to, generation=head.generation, head_snapshot=head.snapshot, desired="stopped"
            )
            await parts.leases.release(to)
        log.info("forked", source=source.snapshot, snapshot=head.snapshot, branch=to.branch)
        parts.on_change(to)
        return head

    async def free_branch(self, org: OrgId) -> Branch:
        """A made-up name that no agent and no sandbox of the org has."""
        attempt = 0
        while True:
            more = f"-{new_id('')[1:7]}" if attempt >= _PLAIN_NAMES else ""
            branch = Branch(f"{made_up_branch()}{more}")
            attempt += 1
            async with self._parts.rows.db.reading() as session:
                agent = select(AgentRow.id).where(
                    AgentRow.org_id == org, AgentRow.default_branch == branch
                )
                box = select(SandboxRow.handle).where(
                    SandboxRow.org_id == org, SandboxRow.branch == branch
                )
                if (await session.scalar(agent) or await session.scalar(box)) is None:
                    return branch

    async def _begin(self, source: Head, to: SandboxKey, name: str | None, fencing: int) -> Head:
        repository, ref = self._parts.repository, ref_of(to)
        try:
            return await repository.adopt(
                source,
                ref=ref,
                reason="fork",
                parent=None,
                fencing=fencing,
                expected_generation=0,
                name=name,
            )
        except SaveSupersededError as error:
            # It came aside, and says nothing that the snapshot it is made from does not say.
            try:
                await repository.condemned(to.org).add("deleted", [stored_head_key(error.head)])
            except LimpetError as failed:
                log.warning("fork_left_aside", branch=to.branch, error=failed.message)
            self._refuse(to, "has a snapshot since a moment ago")

    async def _forget_unused(self, key: SandboxKey) -> None:
        """Let go of the row; one that was made for this fork, which failed, goes altogether."""
        parts = self._parts
        row = await parts.rows.get(key)
        assert row is not None
        if row.fencing == 1 and row.started_at is None and not row.generation:
            await parts.rows.remove(key)  # nobody else ever had it
        else:
            await parts.leases.release(key)

    async def _refuse_another_agents(self, key: SandboxKey) -> None:
        query = select(AgentRow.title).where(
            AgentRow.org_id == key.org,
            AgentRow.id != key.agent,
            AgentRow.default_branch == key.branch,
        )
        async with self._parts.rows.db.reading() as session:
            title = await session.scalar(query)
        if title is not None:
            self._refuse(key, f"is the branch of {title!r}, and two agents never share one")

    async def _refuse_used(self, key: SandboxKey, row: SandboxRow | None) -> None:
        if row is not None:
            if row.state not in ("stopped", "failed"):
                self._refuse(key, "has a sandbox that is up")
            if row.detached:
                self._refuse(key, "has a sandbox with work of its own")
            if known_generation(row) or known_snapshot(row) is not None:
                self._refuse(key, "has snapshots already")
        found = await self._parts.repository.lookup(ref_of(key))
        if found.head or found.damaged or await self._parts.repository.history(ref_of(key)):
            self._refuse(key, "has snapshots already")

    def _refuse(self, key: SandboxKey, why: str) -> NoReturn:
        raise BranchTakenError(
            f"The branch {key.branch!r} {why}",
            hint="Choose another name, or leave the name out: one is made up then.",
        )
