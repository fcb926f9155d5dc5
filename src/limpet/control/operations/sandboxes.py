"""Operations on sandboxes; what they mean is SandboxService's."""

from limpet.branches import check_branch
from limpet.control.operations.models import (
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
    VmDelete,
    VmDeleted,
    VmStart,
    VmStarted,
)
from limpet.control.operations.registry import Call, Operation
from limpet.control.sandboxes.ends import Asker
from limpet.ids import AgentId, Branch, Handle


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
    who = call.identity
    return await call.services.sandboxes.stop(
        who.org, Handle(wanted.handle), Asker(who.user, who.by), force=wanted.force
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
)
