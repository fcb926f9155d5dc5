"""Secrets in environment variables, given to sandboxes that run."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import structlog

from limpet.control.sandboxes.events import SandboxKey
from limpet.control.sandboxes.parts import Parts
from limpet.control.sandboxes.rows import key_of
from limpet.control.sandboxes.turns import Turns
from limpet.errors import LimpetError
from limpet.ids import AgentId, Handle, OrgId
from limpet.runners.daemon_client import DaemonClient

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Told:
    """Which running sandboxes have what was changed."""

    given_to: list[Handle] = field(default_factory=list)
    not_reached: list[Handle] = field(default_factory=list)


class Variables:
    """Brings what the database has into daemons. What is stored is read in the sandbox's turn, so
    that the last to come brings the newest."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._turns: Turns[SandboxKey] = Turns()

    async def tell(self, org: OrgId, agent: AgentId | None) -> Told:
        """Bring them to the running sandboxes of an agent, or of the org. Never raises.

        One that is starting, or held before its config, gets them with that.
        """
        told = Told()
        for row in await self._parts.rows.list(org, agent):
            key = key_of(row)
            if row.state != "running" or key in self._parts.held:
                continue
            try:
                found = await self._parts.daemons.reach(row.handle)
                await self.bring(key, found.client)
            except LimpetError as error:
                log.warning("variables_not_brought", handle=row.handle, error=error.message)
                told.not_reached.append(Handle(row.handle))
            else:
                told.given_to.append(Handle(row.handle))
        return told

    async def bring(self, key: SandboxKey, client: DaemonClient) -> None:
        """Let the daemon have exactly what is stored; `LimpetError` when that cannot be."""
        async with self._turns.of(key):
            wanted = await self._parts.env_secrets.environment(key.org, key.agent)
            gone = set(_names(await client.config(), "envKeys")) - wanted.keys()
            if wanted or gone:
                await client.post_config({"env": {**wanted, **dict.fromkeys(gone)}})

    @staticmethod
    async def lost(client: DaemonClient) -> bool:
        """Whether the daemon restarted by itself and waits for values that it had."""
        return bool(_names(await client.config(), "missingEnv"))


def _names(config: dict[str, Any], name: str) -> Sequence[str]:
    found = config.get(name)
    return found if isinstance(found, list) else ()
