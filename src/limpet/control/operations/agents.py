"""Operations on agents and templates."""

from collections.abc import Mapping
from datetime import datetime

from limpet.control.agents import agent_of
from limpet.control.db import AgentRow
from limpet.control.operations.models import (
    Agent,
    AgentCreate,
    AgentList,
    AgentRef,
    AgentUpdate,
    Nothing,
    Ok,
    TemplateInfo,
    TemplateList,
)
from limpet.control.operations.registry import Call, Operation
from limpet.ids import AgentId
from limpet.stores.keys import thumbnail_key


async def create(call: Call, wanted: AgentCreate) -> Agent:
    """A new agent."""
    row = await call.services.agents.create(call.identity.org, call.identity.user, wanted)
    return _shown(call, row, {})


async def list_all(call: Call, _wanted: Nothing) -> AgentList:
    """The org's agents."""
    rows = await call.services.agents.list(call.identity.org)
    taken = await call.services.thumbnails.taken(call.identity.org)
    return AgentList(agents=[_shown(call, row, taken) for row in rows])


async def get(call: Call, wanted: AgentRef) -> Agent:
    """One agent."""
    row = await call.services.agents.get(call.identity.org, AgentId(wanted.agent_id))
    return _shown(call, row, await call.services.thumbnails.taken(call.identity.org))


async def update(call: Call, wanted: AgentUpdate) -> Agent:
    """Change an agent."""
    row = await call.services.agents.update(call.identity.org, wanted)
    return _shown(call, row, await call.services.thumbnails.taken(call.identity.org))


async def delete(call: Call, wanted: AgentRef) -> Ok:
    """Its threads and sandboxes go first, then the agent itself."""
    agent = AgentId(wanted.agent_id)
    await call.services.agents.get(call.identity.org, agent)
    await call.services.threads.delete_agent(call.identity.org, agent)
    await call.services.sandboxes.delete_agent(call.identity.org, agent)
    await call.services.agents.forget(call.identity.org, agent)
    await call.services.thumbnails.forget(call.identity.org, agent)
    return Ok()


async def list_templates(call: Call, _wanted: Nothing) -> TemplateList:
    """The bundled templates."""
    return TemplateList(
        templates=[
            TemplateInfo(name=t.name, title=t.title, description=t.description)
            for t in call.services.templates.list()
        ]
    )


def _shown(call: Call, row: AgentRow, taken: Mapping[str, datetime]) -> Agent:
    return agent_of(
        row,
        call.identity.org_slug,
        call.services.settings.egress,
        taken.get(thumbnail_key(call.identity.org, AgentId(row.id))),
    )


OPERATIONS = (
    Operation(
        "AGENT_CREATE",
        "POST",
        "/agents",
        AgentCreate,
        Agent,
        create,
        "Make an agent",
        keyed=True,
    ),
    Operation("AGENT_LIST", "GET", "/agents", Nothing, AgentList, list_all, "List the agents"),
    Operation("AGENT_GET", "GET", "/agents/{agent_id}", AgentRef, Agent, get, "Look at an agent"),
    Operation(
        "AGENT_UPDATE", "PATCH", "/agents/{agent_id}", AgentUpdate, Agent, update, "Change an agent"
    ),
    Operation(
        "AGENT_DELETE",
        "DELETE",
        "/agents/{agent_id}",
        AgentRef,
        Ok,
        delete,
        "Delete an agent, its threads, its sandboxes and, after a grace, its snapshots",
        destructive=True,
    ),
    Operation(
        "TEMPLATE_LIST",
        "GET",
        "/templates",
        Nothing,
        TemplateList,
        list_templates,
        "List the bundled templates",
    ),
)
