"""What a control plane finds when it starts: sandboxes that survived, and those that did not."""

import asyncio
from typing import Any, Literal

import structlog

from limpet.control.db import SandboxRow
from limpet.control.sandboxes.ends import gone, interrupted
from limpet.control.sandboxes.events import SandboxKey
from limpet.control.sandboxes.leases import LeaseHeldError
from limpet.control.sandboxes.parts import Parts
from limpet.control.sandboxes.rows import key_of
from limpet.errors import LimpetError

log = structlog.get_logger(__name__)

ADOPTIONS_AT_ONCE = 16
Wish = Literal["stopped", "deleted"]


async def adopt_all(parts: Parts) -> list[tuple[SandboxKey, Wish]]:
    """Adopt what lives and mark the rest stopped; gives those whose end we did not finish."""
    at_once = asyncio.Semaphore(ADOPTIONS_AT_ONCE)

    async def one(row: SandboxRow) -> tuple[SandboxKey, Wish] | None:
        async with at_once:
            try:
                return await _adopt(parts, row)
            except LeaseHeldError:
                return None
            except LimpetError as error:
                log.warning("not_adopted", handle=row.handle, error=error.message)
                return None

    rows = [row for row in await parts.rows.everywhere() if row.tracked or row.state != "stopped"]
    done = await asyncio.gather(*(one(row) for row in rows))
    return [unfinished for unfinished in done if unfinished is not None]


async def _adopt(parts: Parts, row: SandboxRow) -> tuple[SandboxKey, Wish] | None:
    key = key_of(row)
    found = await parts.daemons.find(row.handle)
    if row.desired == "deleted":
        await parts.leases.take(key)
        return key, "deleted"
    if found is None:
        await parts.leases.take(key)
        await parts.rows.change(key, tracked=False, **_not_there(row))
        await parts.leases.release(key)
        return None
    await parts.leases.take(key)
    health = await found.client.health()
    same_boot = health.boot_id == row.boot_id
    if row.state == "stopping" and row.desired == "stopped":
        await parts.rows.change(key, state="running", tracked=True)
        return key, "stopped"
    if row.state == "starting" or not same_boot:
        # Killed in the middle of a start: the next one looks at the workspace again.
        await parts.runner.stop(found.provisioned.handle)
        await parts.rows.change(key, tracked=False, **_not_there(row))
        await parts.leases.release(key)
        return None
    agent = await parts.rows.agent(key.org, key.agent)
    if agent.has_source and not health.configured:
        parts.held.add(key)
    columns: dict[str, Any] = {"state": "running", "desired": "running", "tracked": True}
    await parts.rows.change(key, **columns)
    log.info("sandbox_adopted", handle=row.handle)
    return None


def _not_there(row: SandboxRow) -> dict[str, Any]:
    """What to write down of a sandbox that is not there, or is not the one that we knew."""
    match row.state:
        case "failed":
            return {}
        case "stopping":  # as it was asked to
            return {"state": "stopped"}
        case "starting":
            return {"state": "stopped", "ended": interrupted()}
        case _:
            return {"state": "stopped", "ended": gone()}
