"""Operations on snapshots and on histories; what they mean is SandboxService's."""

import asyncio

from limpet.branches import check_branch
from limpet.control.agents import agent_of
from limpet.control.operations.models import (
    Restored,
    Snapshot,
    SnapshotDelete,
    SnapshotFork,
    SnapshotForked,
    SnapshotList,
    SnapshotName,
    SnapshotRestore,
    SnapshotSave,
    SnapshotsOf,
)
from limpet.control.operations.registry import Call, Operation
from limpet.control.sandboxes.service import SnapshotSource
from limpet.ids import AgentId, Branch, SnapshotId


async def save(call: Call, wanted: SnapshotSave) -> Snapshot:
    """Save the branch's sandbox now."""
    return await call.services.sandboxes.save(
        call.identity.org,
        AgentId(wanted.agent_id),
        _branch(wanted.branch),
        name=wanted.name,
        reason="manual",
    )


async def snapshots(call: Call, wanted: SnapshotsOf) -> SnapshotList:
    """The snapshots of a branch."""
    found = await call.services.sandboxes.snapshots(
        call.identity.org, AgentId(wanted.agent_id), _branch(wanted.branch)
    )
    return SnapshotList(snapshots=list(found))


async def restore(call: Call, wanted: SnapshotRestore) -> Restored:
    """Go back to a snapshot."""
    return await call.services.sandboxes.restore(
        call.identity.org,
        AgentId(wanted.agent_id),
        _branch(wanted.branch),
        SnapshotId(wanted.snapshot_id),
    )


async def fork(call: Call, wanted: SnapshotFork) -> SnapshotForked:
    """Let another branch begin with a snapshot."""
    org, agents, sandboxes = call.identity.org, call.services.agents, call.services.sandboxes
    source, to_branch = _source(wanted), _branch(wanted.to_branch)
    await sandboxes.find_snapshot(org, source)
    if wanted.new_agent is None:
        to = AgentId(wanted.to_agent_id) if wanted.to_agent_id else source.agent
        agent = await agents.get(org, to)
        head = await sandboxes.fork(org, source, to, to_branch, name=wanted.name)
    else:
        title = wanted.new_agent.title
        agent = await agents.copy(
            org, call.identity.user, source.agent, title=title, branch=to_branch
        )
        to, own = AgentId(agent.id), Branch(agent.default_branch)
        try:
            head = await sandboxes.fork(org, source, to, own, name=wanted.name)
        except BaseException:
            await asyncio.shield(agents.forget(org, to))
            raise
    return SnapshotForked(
        agent=agent_of(agent, call.identity.org_slug, call.services.settings.egress),
        branch=head.branch,
        is_new_agent=wanted.new_agent is not None,
        head=head,
    )


async def name(call: Call, wanted: SnapshotName) -> Snapshot:
    """Give a snapshot a name, or take it away."""
    return await call.services.sandboxes.name_snapshot(
        call.identity.org, _source(wanted), wanted.name
    )


async def delete(call: Call, wanted: SnapshotDelete) -> Snapshot:
    """Condemn a snapshot."""
    return await call.services.sandboxes.delete_snapshot(call.identity.org, _source(wanted))


def _source(wanted: SnapshotFork | SnapshotName | SnapshotDelete) -> SnapshotSource:
    return SnapshotSource(
        AgentId(wanted.agent_id), _branch(wanted.branch), SnapshotId(wanted.snapshot_id)
    )


def _branch(name: str | None) -> Branch | None:
    return None if name is None else check_branch(name)


_ALL = "/agents/{agent_id}/snapshots"
_ONE = f"{_ALL}/{{snapshot_id}}"
OPERATIONS = (
    Operation("SNAPSHOT_SAVE", "POST", _ALL, SnapshotSave, Snapshot, save, "Save a sandbox now"),
    Operation(
        "SNAPSHOT_LIST",
        "GET",
        _ALL,
        SnapshotsOf,
        SnapshotList,
        snapshots,
        "List a branch's snapshots",
    ),
    Operation(
        "SNAPSHOT_RESTORE",
        "POST",
        f"{_ONE}/restore",
        SnapshotRestore,
        Restored,
        restore,
        "Go back to a snapshot; the present is saved first",
        destructive=True,
    ),
    Operation(
        "SNAPSHOT_FORK",
        "POST",
        f"{_ONE}/fork",
        SnapshotFork,
        SnapshotForked,
        fork,
        "Begin a branch, or a new agent, with a snapshot",
        keyed=True,
    ),
    Operation(
        "SNAPSHOT_NAME",
        "PATCH",
        _ONE,
        SnapshotName,
        Snapshot,
        name,
        "Name a snapshot, which keeps it",
    ),
    Operation(
        "SNAPSHOT_DELETE",
        "DELETE",
        _ONE,
        SnapshotDelete,
        Snapshot,
        delete,
        "Delete a snapshot, after a grace of 24 hours",
        destructive=True,
    ),
)
