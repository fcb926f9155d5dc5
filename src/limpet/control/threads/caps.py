"""When a run ends by itself: what the agent says, else the org, else the server."""

from dataclasses import asdict

from limpet.control.db import AgentRow, Database, OrgRow
from limpet.control.operations.thread_models import RunCaps
from limpet.errors import NotFoundError
from limpet.harness.base import Caps
from limpet.ids import AgentId, OrgId


class CapsBook:
    """The caps of all orgs and their agents."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, org: OrgId, agent: AgentId | None) -> RunCaps:
        """The caps of a run of the agent, or of the org; `NotFoundError` without that agent."""
        async with self._database.reading() as session:
            of_org = await session.get(OrgRow, org)
            of_agent = await session.get(AgentRow, (org, agent)) if agent else None
        if agent is not None and of_agent is None:
            raise NotFoundError(f"There is no agent {agent[:80]!r}")
        if of_agent is not None and of_agent.run_caps is not None:
            return RunCaps.model_validate({**of_agent.run_caps, "source": "agent"})
        if of_org is not None and of_org.run_caps is not None:
            return RunCaps.model_validate({**of_org.run_caps, "source": "org"})
        return RunCaps.model_validate({**asdict(Caps()), "source": "server"})

    async def set(self, org: OrgId, agent: AgentId | None, caps: Caps | None) -> None:
        """Say the caps of the agent, or of the org; None: no more than what stands above says."""
        async with self._database.session() as session:
            row = (
                await session.get(AgentRow, (org, agent))
                if agent
                else await session.get(OrgRow, org)
            )
            if row is None:
                raise NotFoundError(f"There is no agent {str(agent)[:80]!r}")
            row.run_caps = asdict(caps) if caps is not None else None
