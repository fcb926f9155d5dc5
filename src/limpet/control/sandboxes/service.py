"""Sandboxes: everything that can be done with one, in one place for the API, MCP and the saver.

Each act is a file beside this one; here they are put together and spoken to in the API's terms.
"""

import asyncio
import os
import secrets as randomness
import socket
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import structlog

from limpet.branches import check_branch
from limpet.control.db import AgentRow, Database, SandboxRow
from limpet.control.env_secrets import EnvSecrets
from limpet.control.operations.models import (
    Restored,
    RestoreOutcome,
    Sandbox,
    SandboxStopped,
    Snapshot,
    VmDeleted,
    VmStarted,
)
from limpet.control.sandboxes import boot
from limpet.control.sandboxes.daemons import Daemons, NotRunningError, Reached, idle_of
from limpet.control.sandboxes.ending import Ending
from limpet.control.sandboxes.ends import Asker
from limpet.control.sandboxes.events import EventHub, SandboxKey, Subscription
from limpet.control.sandboxes.forking import Forking
from limpet.control.sandboxes.history import History
from limpet.control.sandboxes.inside import Inside
from limpet.control.sandboxes.keeping import Keeping, checked_name
from limpet.control.sandboxes.leases import Leases
from limpet.control.sandboxes.looking import Looking
from limpet.control.sandboxes.parts import Parts
from limpet.control.sandboxes.restoring import Restoring
from limpet.control.sandboxes.rows import SandboxRows, key_of
from limpet.control.sandboxes.saving import NothingToSaveError, Saving
from limpet.control.sandboxes.starting import Starting
from limpet.control.sandboxes.template_builds import TemplateBuilds
from limpet.control.sandboxes.unpacked_tars import UnpackedTars
from limpet.control.sandboxes.variables import Variables
from limpet.control.sandboxes.views import receipt_of, snapshot_of, snapshots_of
from limpet.control.saver import Idle, Tracked, has_unsaved
from limpet.control.secrets import SecretBox
from limpet.control.settings import Settings
from limpet.control.templates import TemplateCatalog
from limpet.control.usage import OrgUsage
from limpet.errors import LimpetError, NotFoundError
from limpet.ids import AgentId, Branch, Handle, OrgId, SnapshotId
from limpet.runners.base import Runner
from limpet.snapshots.repository import Head, SaveReason, SnapshotRepository
from limpet.snapshots.snapshot_names import TurnNote

log = structlog.get_logger(__name__)

LEASE_POLLS = 4
MIN_LEASE_S = 120.0
SAVES_AT_END = 4
SAVE_ALL_S = 300.0
EXEC_TIMEOUT_S = 130.0


@dataclass(frozen=True, slots=True)
class SnapshotSource:
    """Where a snapshot is: `branch` None means the agent's default one."""

    agent: AgentId
    branch: Branch | None
    snapshot: SnapshotId


class SandboxService:
    """All sandboxes of one control plane. Close it when done."""

    def __init__(
        self,
        db: Database,
        runner: Runner,
        repository: SnapshotRepository,
        settings: Settings,
        templates: TemplateCatalog,
        secrets: SecretBox,
        usage: OrgUsage,
    ) -> None:
        owner = f"{socket.gethostname()[:32]}-{os.getpid()}-{randomness.token_hex(4)}"
        ttl_s = max(MIN_LEASE_S, LEASE_POLLS * settings.poll_s)
        daemons = Daemons(runner)
        self.parts = Parts(
            rows=SandboxRows(db),
            leases=Leases(db, owner, ttl_s=ttl_s, exclusive=settings.uses_sqlite),
            runner=runner,
            repository=repository,
            settings=settings,
            templates=templates,
            secrets=secrets,
            env_secrets=EnvSecrets(db, secrets),
            events=EventHub(),
            daemons=daemons,
            template_builds=TemplateBuilds(runner, repository, settings, daemons),
            usage=usage,
        )
        self._saving = Saving(self.parts)
        restoring = Restoring(self.parts, self._saving)
        self.variables = Variables(self.parts)
        self._starting = Starting(self.parts, restoring, self.variables)
        self._ending = Ending(self.parts, self._saving)
        self._history = History(self.parts, self._saving, restoring)
        self._keeping = Keeping(self.parts, self._history)
        self._forking = Forking(self.parts)
        self.looking = Looking(self.parts)
        tars = UnpackedTars(repository, self._history.scratch)
        self.inside = Inside(repository, self._history, tars)
        self._closed = False

    # -- life ----------------------------------------------------------------------------------

    async def start(
        self,
        org: OrgId,
        agent: AgentRow,
        branch: Branch | None,
        *,
        hold: Literal["restored"] | None = None,
        without_snapshot: bool = False,
    ) -> VmStarted:
        """The sandbox of (agent, branch), running; see limpet.control.sandboxes.starting."""
        key = SandboxKey(org, AgentId(agent.id), _branch_of(agent, branch))
        begun = await self._starting.start(
            key, agent, hold=hold is not None, without_snapshot=without_snapshot
        )
        return VmStarted(
            previewUrl=self.looking.preview_url(begun.row.handle),
            vmId=begun.row.handle,
            branch=key.branch,
            isNewVm=begun.is_new,
            runnerKind=begun.row.runner_kind,
            restore=RestoreOutcome.model_validate(begun.restore),
        )

    async def stop(
        self, org: OrgId, handle: Handle, asker: Asker, *, force: bool = False
    ) -> SandboxStopped:
        """Save it, end its processes, keep its files; `FinalSaveFailedError` unless forced."""
        row = await self.parts.rows.by_handle(org, handle)
        saved = await self._ending.stop(key_of(row), asker, force=force)
        return SandboxStopped(sandbox=await self.get(org, handle), saved=_shown(saved))

    async def delete(
        self, org: OrgId, agent_id: AgentId, branch: Branch | None, *, force: bool = False
    ) -> VmDeleted:
        """Save it, end it, delete its files; its snapshots stay. Nothing there is no error."""
        try:
            key = await self.key(org, agent_id, branch)
        except NotFoundError:
            return VmDeleted(saved=None)
        return VmDeleted(saved=_shown(await self._ending.delete(key, force=force)))

    async def delete_agent(self, org: OrgId, agent_id: AgentId) -> None:
        """Delete all sandboxes of an agent that is about to go, without a last save, and condemn
        its snapshots. `StoreUnavailableError` when that cannot be done, with nothing deleted.
        """
        await self._keeping.require_store(org, agent_id)
        await self._ending.delete_agent(org, agent_id)
        await self._keeping.condemn_agent(org, agent_id)

    # -- looking -------------------------------------------------------------------------------

    async def list(self, org: OrgId, agent_id: AgentId | None = None) -> list[Sandbox]:
        """The org's sandboxes as they are now, oldest first."""
        return await self.looking.all(org, await self.parts.rows.list(org, agent_id))

    async def get(self, org: OrgId, handle: Handle) -> Sandbox:
        """One sandbox as it is now, or `NotFoundError`."""
        return await self.looking.at(await self.parts.rows.by_handle(org, handle))

    async def subscribe(
        self, org: OrgId, agent_id: AgentId, branch: Branch | None
    ) -> tuple[SandboxKey, Subscription]:
        """Events of one sandbox from now on; the last phase comes first."""
        key = await self.key(org, agent_id, branch)
        return key, self.parts.events.subscribe(key)

    async def find_anywhere(self, handle: str) -> SandboxRow | None:
        """The sandbox of a preview host, which knows no org."""
        return await self.parts.rows.anywhere(handle)

    async def reach(self, org: OrgId, handle: Handle) -> Reached:
        """The daemon of a running sandbox, or `NotRunningError`."""
        row = await self.parts.rows.by_handle(org, handle)
        return await self.reach_row(row)

    async def running_rows(self) -> dict[str, SandboxRow]:
        """All sandboxes that run, in every org, by their handles."""
        rows = await self.parts.rows.tracked()
        return {row.handle: row for row in rows if row.state == "running"}

    # -- snapshots -----------------------------------------------------------------------------

    async def save(
        self,
        org: OrgId,
        agent_id: AgentId,
        branch: Branch | None,
        *,
        name: str | None = None,
        reason: SaveReason = "manual",
    ) -> Snapshot:
        """Save the running sandbox now. One that is detached saves to its side lineage."""
        self.parts.refuse_when_closing()
        key = await self.key(org, agent_id, branch)
        row = await self.parts.rows.get(key)
        if row is None:
            raise NotRunningError("The sandbox is not running", hint="Start it first.")
        reached = await self.reach_row(row)
        head = await self._saving.save(key, reached.client, reason, name=name)
        if head is None:
            raise NothingToSaveError("There is nothing in the workspace to save")
        return snapshot_of(head, is_head=True)

    async def snapshots(
        self, org: OrgId, agent_id: AgentId, branch: Branch | None
    ) -> Sequence[Snapshot]:
        """Every snapshot of the branch, all lineages, newest first."""
        key = await self.key(org, agent_id, branch)
        heads, usable = await self._history.all(key)
        return snapshots_of(heads, usable, await self._keeping.marks(key))

    async def snapshot(
        self, org: OrgId, agent_id: AgentId, branch: Branch | None, snapshot: SnapshotId
    ) -> Snapshot:
        """One snapshot of the branch; `NotFoundError` when it has none of that id."""
        for one in await self.snapshots(org, agent_id, branch):
            if one.id == snapshot:
                return one
        raise NotFoundError(f"There is no snapshot {snapshot!r} of this branch")

    async def restore(
        self, org: OrgId, agent_id: AgentId, branch: Branch | None, snapshot: SnapshotId
    ) -> Restored:
        """Go back to a snapshot, or adopt one of a side lineage; the present is saved first."""
        key = await self.key(org, agent_id, branch)
        done = await self._history.go_back(key, snapshot)
        self.looking.forget_stored(key)
        return Restored(
            head=snapshot_of(done.head, is_head=True),
            saved_first=snapshot_of(done.saved_first, is_head=False) if done.saved_first else None,
            receipt=receipt_of(done.receipt) if done.receipt else None,
        )

    async def fork(
        self,
        org: OrgId,
        source: SnapshotSource,
        to: AgentId,
        to_branch: Branch | None,
        *,
        name: str | None = None,
    ) -> Snapshot:
        """Let a branch of `to` begin with a snapshot; without `to_branch` one of a made-up name.

        Gives the branch's first snapshot; its start restores it.
        """
        head = await self.find_snapshot(org, source)
        if to_branch is None:
            to_branch = await self._forking.free_branch(org)
        key = await self.key(org, to, to_branch)
        made = await self._forking.fork(head, key, name=checked_name(name))
        self.looking.forget_stored(key)
        return snapshot_of(made, is_head=True)

    async def find_snapshot(self, org: OrgId, source: SnapshotSource) -> Head:
        """A snapshot of the org, or `NotFoundError`."""
        key = await self.key(org, source.agent, source.branch)
        return await self._history.one(key, source.snapshot)

    async def name_snapshot(self, org: OrgId, source: SnapshotSource, name: str | None) -> Snapshot:
        """Give a snapshot a name, or take it away; a named one is kept until it is deleted."""
        key = await self.key(org, source.agent, source.branch)
        await self._keeping.name(key, source.snapshot, name)
        self.looking.forget_stored(key)
        return await self.snapshot(org, source.agent, source.branch, source.snapshot)

    async def note_turn(
        self, org: OrgId, source: SnapshotSource, name: str, turn: TurnNote
    ) -> None:
        """Note which turn a snapshot shows, and name it so, unless it has a name already."""
        key = await self.key(org, source.agent, source.branch)
        await self._keeping.note_turn(key, source.snapshot, name, turn)
        self.looking.forget_stored(key)

    async def delete_snapshot(self, org: OrgId, source: SnapshotSource) -> Snapshot:
        """Condemn a snapshot, unless something stands on it; a name keeps it after all."""
        key = await self.key(org, source.agent, source.branch)
        await self._keeping.delete(key, source.snapshot)
        self.looking.forget_stored(key)
        return await self.snapshot(org, source.agent, source.branch, source.snapshot)

    async def export(
        self, org: OrgId, agent_id: AgentId, branch: Branch | None, snapshot: SnapshotId
    ) -> tuple[Snapshot, AsyncIterator[bytes]]:
        """A snapshot and its tar, verified while it streams."""
        key = await self.key(org, agent_id, branch)
        head = await self._history.one(key, snapshot)
        return snapshot_of(head, is_head=False), await self.parts.repository.open_tar(head)

    async def import_(
        self, org: OrgId, agent_id: AgentId, branch: Branch | None, chunks: AsyncIterator[bytes]
    ) -> Snapshot:
        """Store a tar as a snapshot: the head, or a side lineage while the sandbox runs."""
        key = await self.key(org, agent_id, branch)
        head = await self._history.put_in(key, chunks)
        self.looking.forget_stored(key)
        return snapshot_of(head, is_head=True)

    # -- inside --------------------------------------------------------------------------------

    async def exec(
        self,
        org: OrgId,
        handle: Handle,
        command: str,
        *,
        timeout_ms: int | None = None,
        cwd: str | None = None,
        env: Mapping[str, str] | None = None,
        mode: Literal["await", "background"] | None = None,
    ) -> dict[str, Any]:
        """Run a shell command in the sandbox; the daemon's own answer."""
        reached = await self.reach(org, handle)
        asked = {"command": command, "timeout": timeout_ms, "cwd": cwd, "env": env, "mode": mode}
        body = {name: value for name, value in asked.items() if value is not None}
        wait_s = EXEC_TIMEOUT_S if timeout_ms is None else timeout_ms / 1000 + 10
        return await reached.client.call("POST", "/_sandbox/bash", json=body, timeout_s=wait_s)

    async def logs(self, org: OrgId, handle: Handle, source: str | None = None) -> dict[str, Any]:
        """The last part of each log of the sandbox, or of one."""
        reached = await self.reach(org, handle)
        told = await reached.client.call("GET", "/_sandbox/logs")
        found = told.get("logs")
        logs = dict(found) if isinstance(found, dict) else {}
        if source is not None:
            if source not in logs:
                raise NotFoundError(
                    f"There is no log {source[:80]!r}",
                    hint=f"There are: {', '.join(sorted(logs)) or 'none yet'}.",
                )
            logs = {source: logs[source]}
        return {"sources": sorted(logs), "logs": logs}

    # -- the saver's ---------------------------------------------------------------------------

    async def tracked(self) -> Sequence[Tracked]:
        """The sandboxes that the saver looks after, their leases renewed."""
        await self.parts.leases.renew_all()
        return [
            Tracked(key_of(row), row.activity_seq_saved)
            for row in await self.parts.rows.tracked()
            if row.lease_owner == self.parts.leases.owner
        ]

    async def idle(self, key: SandboxKey) -> Idle | None:
        """The daemon's answer; None when it is gone, or the sandbox is starting or stopping."""
        if self.parts.lifecycle.taken(key) or self.parts.closing:
            return None
        row = await self.parts.rows.get(key)
        if row is None or row.state != "running":
            return None
        found = await self.parts.daemons.find(row.handle)
        if found is None:
            await self.looking.notice_gone(row)
            return None
        return await idle_of(found.client)

    async def save_for(self, key: SandboxKey, reason: Literal["idle", "interval"]) -> None:
        """Save it on the saver's behalf; errors are recorded on the sandbox, then raised."""
        row = await self.parts.rows.get(key)
        found = await self.parts.daemons.find(row.handle) if row else None
        if found is not None:
            await self._saving.save(key, found.client, reason)

    # -- beginning and end ---------------------------------------------------------------------

    async def adopt_at_boot(self) -> None:
        """Find the sandboxes that survived us, and write down which did not."""
        await asyncio.to_thread(self._history.forget_imports)
        for key, wish in await boot.adopt_all(self.parts):
            try:
                await (
                    self._ending.delete(key, force=False)
                    if wish == "deleted"
                    else self._ending.stop(key, None, force=False)
                )
            except LimpetError as error:
                log.warning("unfinished_end_not_finished", branch=key.branch, error=error.message)

    async def save_all_and_close(self) -> None:
        """Refuse new work, end streams, save all that is unsaved, let go. Sandboxes run on."""
        parts = self.parts
        parts.closing = True
        rows = await parts.rows.tracked()
        parts.stop_wanted.update(key_of(row) for row in await parts.rows.everywhere())
        parts.events.close()
        at_once = asyncio.Semaphore(SAVES_AT_END)

        async def save(row: SandboxRow) -> None:
            async with at_once:
                try:
                    await self._save_at_end(row)
                except LimpetError as error:
                    log.error("not_saved_at_shutdown", handle=row.handle, error=error.message)

        try:
            async with asyncio.timeout(SAVE_ALL_S):
                await self._starting.settle()
                await asyncio.gather(*(save(row) for row in rows))
        except TimeoutError:
            log.error("shutdown_saves_took_too_long", limit_s=SAVE_ALL_S)
        for row in rows:
            await parts.leases.release(key_of(row))
        await self.close()

    async def close(self) -> None:
        """Let go of connections without saving; safe to call twice."""
        if self._closed:
            return
        self._closed = True
        self.parts.closing = True
        self.parts.events.close()
        await self._starting.settle()
        await self.parts.template_builds.close()
        await self.looking.close()
        await self.parts.daemons.close()

    async def _save_at_end(self, row: SandboxRow) -> None:
        found = await self.parts.daemons.find(row.handle)
        if found is None:
            return
        idle = await idle_of(found.client)
        if has_unsaved(idle.activity_seq, row.activity_seq_saved):
            await self._saving.save(key_of(row), found.client, "shutdown")

    async def reach_row(self, row: SandboxRow) -> Reached:
        """The daemon of the row's sandbox; one that is dead is noticed and `NotRunningError`."""
        if row.state not in ("running", "stopping"):
            raise NotRunningError("The sandbox is not running", hint="Start it first.")
        found = await self.parts.daemons.find(row.handle)
        if found is None:
            await self.looking.notice_gone(row)
            raise NotRunningError("The sandbox is not running any more", hint="Start it again.")
        return found

    async def key(self, org: OrgId, agent_id: AgentId, branch: Branch | None) -> SandboxKey:
        """The sandbox of an agent's branch, or of its default one."""
        agent = await self.parts.rows.agent(org, agent_id)
        return SandboxKey(org, AgentId(agent.id), _branch_of(agent, branch))


def _branch_of(agent: AgentRow, branch: Branch | None) -> Branch:
    return check_branch(branch if branch is not None else agent.default_branch)


def _shown(head: Head | None) -> Snapshot | None:
    return snapshot_of(head, is_head=True) if head else None
