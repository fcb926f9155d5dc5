"""Snapshots, and files of them, out and in: the streams that are no operations."""

from collections.abc import AsyncIterator
from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Path, Query, Request
from starlette.responses import StreamingResponse

from limpet.branches import check_branch
from limpet.control.auth import identity_of
from limpet.control.operations.inside import path_of
from limpet.control.operations.models import Snapshot
from limpet.control.sandboxes.service import SandboxService
from limpet.ids import AgentId, SnapshotId
from limpet.snapshots.node import FOLDER

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
                # How large the tar of a packed snapshot will be is not known beforehand.
                **({"Content-Length": str(snapshot.size_bytes)} if snapshot.kind == "tar" else {}),
                "Content-Disposition": f'attachment; filename="{snapshot.id}.tar"',
            },
        )

    @router.get(
        "/{snapshot_id}/download",
        summary="One file of a snapshot as it is, or a folder as a plain tar",
        response_class=StreamingResponse,
        operation_id="SNAPSHOT_DOWNLOAD",
    )
    async def download(
        request: Request,
        agent_id: AgentPath,
        snapshot_id: Annotated[str, Path(pattern=r"^[A-Za-z0-9-]{1,64}$")],
        path: Annotated[str, Query(max_length=8192)] = "",
        raw: Annotated[str | None, Query(max_length=16_384)] = None,
        branch: BranchQuery = None,
    ) -> StreamingResponse:
        key = await sandboxes.key(
            identity_of(request).org, AgentId(agent_id), check_branch(branch) if branch else None
        )
        place = await sandboxes.inside.find(key, SnapshotId(snapshot_id), path_of(path, raw))
        name = place.path.rpartition(b"/")[2].decode("utf-8", "replace") or snapshot_id
        if place.entry.kind == FOLDER:
            chunks = await sandboxes.inside.folder_tar(place)
            return StreamingResponse(
                chunks, media_type="application/x-tar", headers=_attachment(f"{name}.tar")
            )
        size = await sandboxes.inside.size_of(place)
        return StreamingResponse(
            await sandboxes.inside.content(place),
            media_type="application/octet-stream",
            headers={**_attachment(name), "Content-Length": str(size)},
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


def _attachment(name: str) -> dict[str, str]:
    """Headers that make a browser store what comes, never show or run it."""
    return {
        "Content-Disposition": f"attachment; filename*=UTF-8''{quote(name, safe='')}",
        "X-Content-Type-Options": "nosniff",
    }
