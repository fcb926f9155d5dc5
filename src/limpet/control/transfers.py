"""Snapshots out and in as plain tars: the two streams that are no operations."""

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request
from starlette.responses import StreamingResponse

from limpet.branches import check_branch
from limpet.control.auth import identity_of
from limpet.control.operations.models import Snapshot
from limpet.control.sandboxes.service import SandboxService
from limpet.ids import AgentId, SnapshotId

BranchQuery = Annotated[str | None, Query(max_length=200)]
AgentPath = Annotated[str, Path(max_length=64)]


def transfers_router(sandboxes: SandboxService) -> APIRouter:
    """`GET .../snapshots/{snapshot_id}/export` and `POST .../snapshots/import`."""
    router = APIRouter(prefix="/api/{org}/agents/{agent_id}/snapshots", tags=["snapshot"])

    @router.get(
        "/{snapshot_id}/export",
        summary="A snapshot as a plain tar, verified while it streams",
        response_class=StreamingResponse,
        operation_id="SNAPSHOT_EXPORT",
    )
    async def export(
        request: Request,
        agent_id: AgentPath,
        snapshot_id: Annotated[str, Path(pattern=r"^[A-Za-z0-9-]{1,64}$")],
        branch: BranchQuery = None,
    ) -> StreamingResponse:
        snapshot, chunks = await sandboxes.export(
            identity_of(request).org,
            AgentId(agent_id),
            check_branch(branch) if branch else None,
            SnapshotId(snapshot_id),
        )
        return StreamingResponse(
            chunks,
            media_type="application/x-tar",
            headers={
                "Content-Length": str(snapshot.size_bytes),
                "Content-Disposition": f'attachment; filename="{snapshot.id}.tar"',
            },
        )

    @router.post(
        "/import",
        summary="Store a plain tar of a workspace as a snapshot; it is verified first",
        operation_id="SNAPSHOT_IMPORT",
    )
    async def import_(
        request: Request, agent_id: AgentPath, branch: BranchQuery = None
    ) -> Snapshot:
        async def chunks() -> AsyncIterator[bytes]:
            async for chunk in request.stream():
                if chunk:
                    yield chunk

        return await sandboxes.import_(
            identity_of(request).org,
            AgentId(agent_id),
            check_branch(branch) if branch else None,
            chunks(),
        )

    return router
