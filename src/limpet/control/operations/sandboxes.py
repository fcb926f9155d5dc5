"""Operations on sandboxes and their snapshots; what they mean is SandboxService's."""

from limpet.branches import check_branch
from limpet.control.operations.models import (
    Restored,
    Sandbox,
    SandboxExec,
    SandboxExecResult,
    SandboxFilter,
    SandboxList,
    SandboxLogs,
    SandboxLogsResult,
    SandboxRef,
    SandboxStop,
    SandboxStopped,
    Snapshot,
    SnapshotList,
    SnapshotRestore,
    SnapshotSave,
    SnapshotsOf,
    VmDelete,
    VmDeleted,
    VmStart,
    VmStarted,
)
from limpet.control.operations.registry import Call, Operation
from limpet.ids import AgentId, Branch, Handle, SnapshotId


async def start(call: Call, wanted: VmStart) -> VmStarted:
    """Start or find the sandbox of (agent, branch)."""
    org = call.identity.org
    agent = await call.services.agents.get(org, AgentId(wanted.virtualMcpId))
    return await call.services.sandboxes.start(
        org,
        agent,
        _branch(wanted.branch),
        hold=wanted.hold,
        without_snapshot=wanted.withoutSnapshot,
    )


async def delete(call: Call, wanted: VmDelete) -> VmDeleted:
    """Save and delete the sandbox of (agent, branch)."""
    return await call.services.sandboxes.delete(
        call.identity.org,
        AgentId(wanted.virtualMcpId),
        _branch(wanted.branch),
        force=wanted.force,
    )


async def list_all(call: Call, wanted: SandboxFilter) -> SandboxList:
    """The org's sandboxes."""
    agent = AgentId(wanted.agent_id) if wanted.agent_id else None
    return SandboxList(sandboxes=list(await call.services.sandboxes.list(call.identity.org, agent)))


async def get(call: Call, wanted: SandboxRef) -> Sandbox:
    """One sandbox."""
    return await call.services.sandboxes.get(call.identity.org, Handle(wanted.handle))


async def stop(call: Call, wanted: SandboxStop) -> SandboxStopped:
    """Save and stop a sandbox."""
    return await call.services.sandboxes.stop(
        call.identity.org, Handle(wanted.handle), force=wanted.force
    )


async def execute(call: Call, wanted: SandboxExec) -> SandboxExecResult:
    """Run a command in a sandbox."""
    answer = await call.services.sandboxes.exec(
        call.identity.org,
        Handle(wanted.handle),
        wanted.command,
        timeout_ms=wanted.timeout_ms,
        cwd=wanted.cwd,
        env=wanted.env,
        mode=wanted.mode,
    )
    return SandboxExecResult.model_validate(answer)


async def logs(call: Call, wanted: SandboxLogs) -> SandboxLogsResult:
    """The logs of a sandbox."""
    answer = await call.services.sandboxes.logs(
        call.identity.org, Handle(wanted.handle), wanted.source
    )
    return SandboxLogsResult.model_validate(answer)


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


def _branch(name: str | None) -> Branch | None:
    return None if name is None else check_branch(name)


OPERATIONS = (
    Operation(
        "VM_START",
        "POST",
        "/vm/start",
        VmStart,
        VmStarted,
        start,
        "Start a sandbox, restoring its last snapshot",
    ),
    Operation(
        "VM_DELETE",
        "POST",
        "/vm/delete",
        VmDelete,
        VmDeleted,
        delete,
        "Delete a sandbox after a last save; its snapshots stay",
        destructive=True,
    ),
    Operation(
        "SANDBOX_LIST",
        "GET",
        "/sandboxes",
        SandboxFilter,
        SandboxList,
        list_all,
        "List the sandboxes",
    ),
    Operation(
        "SANDBOX_GET",
        "GET",
        "/sandboxes/{handle}",
        SandboxRef,
        Sandbox,
        get,
        "Look at a sandbox",
    ),
    Operation(
        "SANDBOX_STOP",
        "POST",
        "/sandboxes/{handle}/stop",
        SandboxStop,
        SandboxStopped,
        stop,
        "Stop a sandbox after a last save; its files stay",
    ),
    Operation(
        "SANDBOX_EXEC",
        "POST",
        "/sandboxes/{handle}/exec",
        SandboxExec,
        SandboxExecResult,
        execute,
        "Run a shell command in a sandbox",
        destructive=True,
    ),
    Operation(
        "SANDBOX_LOGS",
        "GET",
        "/sandboxes/{handle}/logs",
        SandboxLogs,
        SandboxLogsResult,
        logs,
        "Read a sandbox's logs",
    ),
    Operation(
        "SNAPSHOT_SAVE",
        "POST",
        "/agents/{agent_id}/snapshots",
        SnapshotSave,
        Snapshot,
        save,
        "Save a sandbox now",
    ),
    Operation(
        "SNAPSHOT_LIST",
        "GET",
        "/agents/{agent_id}/snapshots",
        SnapshotsOf,
        SnapshotList,
        snapshots,
        "List a branch's snapshots",
    ),
    Operation(
        "SNAPSHOT_RESTORE",
        "POST",
        "/agents/{agent_id}/snapshots/{snapshot_id}/restore",
        SnapshotRestore,
        Restored,
        restore,
        "Go back to a snapshot; the present is saved first",
        destructive=True,
    ),
)
