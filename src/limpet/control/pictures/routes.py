"""The route that gives out thumbnails: bytes, and so no operation."""

import hashlib
import re
from typing import Annotated

from fastapi import APIRouter, Path, Request
from starlette.responses import Response

from limpet.control.auth import identity_of
from limpet.control.operations.services import Services
from limpet.ids import AgentId

_TAGS = re.compile(r'(?:W/)?("[^"]*")')


def thumbnail_router(services: Services) -> APIRouter:
    """`GET /api/{org}/agents/{agent_id}/thumbnail`."""
    router = APIRouter(prefix="/api/{org}/agents/{agent_id}", tags=["agent"])

    @router.get(
        "/thumbnail",
        summary="A small picture of the agent's preview after its last save",
        operation_id="AGENT_THUMBNAIL",
        response_class=Response,
        responses={
            200: {"content": {"image/webp": {}}, "description": "The picture"},
            304: {"description": "The caller has it already"},
        },
    )
    async def thumbnail(
        request: Request, agent_id: Annotated[str, Path(max_length=64)]
    ) -> Response:
        org, agent = identity_of(request).org, AgentId(agent_id)
        await services.agents.get(org, agent)
        known = _TAGS.findall(request.headers.get("if-none-match", ""))
        if known and _tag(etag := await services.thumbnails.etag(org, agent)) in known:
            return Response(status_code=304, headers=_headers(etag))
        found = await services.thumbnails.get(org, agent)
        return Response(found.image, media_type="image/webp", headers=_headers(found.etag))

    return router


def _tag(etag: str) -> str:
    """A store's etag may hold anything; ours is safe in a header."""
    return f'"{hashlib.sha256(etag.encode()).hexdigest()[:32]}"'


def _headers(etag: str) -> dict[str, str]:
    return {
        "ETag": _tag(etag),
        "Cache-Control": "private, no-cache",
        "X-Content-Type-Options": "nosniff",
    }
