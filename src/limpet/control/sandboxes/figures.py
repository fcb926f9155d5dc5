"""What running sandboxes take: asked of their runner and their daemons, and kept nowhere."""

import asyncio

import structlog

from limpet.control.db import SandboxRow
from limpet.control.operations.machine_models import SandboxFigures
from limpet.control.sandboxes.daemons import idle_of
from limpet.control.sandboxes.parts import Parts
from limpet.errors import LimpetError
from limpet.ids import Handle, OrgId

log = structlog.get_logger(__name__)
_AT_ONCE = 16


async def figures_of(parts: Parts, org: OrgId) -> list[SandboxFigures]:
    """The figures of the org's running sandboxes. What one does not tell is None, and no error."""
    at_once = asyncio.Semaphore(_AT_ONCE)

    async def one(row: SandboxRow) -> SandboxFigures:
        async with at_once:
            return SandboxFigures(
                handle=row.handle,
                memory_bytes=await _memory_of(parts, row),
                idle_ms=await _idle_of(parts, row),
            )

    running = [row for row in await parts.rows.list(org, None) if row.state == "running"]
    return list(await asyncio.gather(*(one(row) for row in running)))


async def _memory_of(parts: Parts, row: SandboxRow) -> int | None:
    try:
        return await parts.runner.memory_bytes(Handle(row.handle))
    except LimpetError as error:
        log.warning("memory_not_told", handle=row.handle, error=error.message)
        return None


async def _idle_of(parts: Parts, row: SandboxRow) -> int | None:
    try:
        found = await parts.daemons.find(row.handle)
        return None if found is None else (await idle_of(found.client)).idle_ms
    except LimpetError as error:
        log.warning("idle_time_not_told", handle=row.handle, error=error.message)
        return None
