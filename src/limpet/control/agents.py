"""Agents: making, finding and changing them."""

from datetime import datetime

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from limpet.branches import made_up_branch
from limpet.control.clone_url import clone_url_of, parse_clone_url, seal_credentials
from limpet.control.db import AgentRow, Database, SandboxRow
from limpet.control.egress import egress_of, stored_egress
from limpet.control.env_secrets import copy_secrets, forget_secrets
from limpet.control.mcp_servers import copy_servers, forget_servers
from limpet.control.operations.models import (
    Agent,
    AgentCreate,
    AgentMetadata,
    AgentUi,
    AgentUpdate,
    Layout,
)
from limpet.control.secrets import SecretBox
from limpet.control.templates import TemplateCatalog
from limpet.errors import ConflictError, InvalidInputError, NotFoundError
from limpet.ids import AgentId, Branch, OrgId, UserId, new_id
from limpet.runners.egress import EgressMode

_BRANCH_ATTEMPTS = 8
_COPIED = (
    "description", "icon", "status", "pinned", "instructions", "default_main_view", "chat_side",
    "template", "clone_url", "clone_credentials_sealed", "github_repo", "start_command",
    "acp_command", "retention", "egress", "run_caps",
)  # fmt: skip
_TITLE_KEPT = 240


class Agents:
    """The agents of all orgs; every call names the org that it is for."""

    def __init__(self, database: Database, box: SecretBox, templates: TemplateCatalog) -> None:
        self._database = database
        self._box = box
        self._templates = templates

    async def create(self, org: OrgId, user: UserId, wanted: AgentCreate) -> AgentRow:
        """A new agent with a default branch of its own.

        What is not said follows from the source: an agent with one opens on its preview, with the
        chat docked on its left; one from a template is pinned and knows how to work on it.
        """
        row = AgentRow(
            org_id=org, id=new_id("agt"), created_by=user, title="New agent", description=""
        )
        if wanted.template is not None:
            template = self._templates.get(wanted.template)
            row.template, row.title = template.name, template.title
            row.description, row.instructions = template.description, template.instructions
            row.pinned = True
        elif wanted.clone_url is not None:
            password = wanted.clone_password
            url = parse_clone_url(
                wanted.clone_url,
                username=wanted.clone_username,
                password=password.get_secret_value() if password else None,
            )
            row.clone_url, row.title = url.public, url.title[:255]
            row.description = url.display_name
            row.clone_credentials_sealed = seal_credentials(url.credentials, self._box, org)
        if row.has_source:
            row.default_main_view, row.chat_side = "preview", "left"
        _choose(row, wanted)
        async with self._database.session() as session:
            row.default_branch = await _free_branch(session, org)
            session.add(row)
        return row

    async def copy(
        self,
        org: OrgId,
        user: UserId,
        agent: AgentId,
        *,
        title: str | None = None,
        branch: Branch | None = None,
    ) -> AgentRow:
        """A new agent with another one's settings, secrets and MCP servers, on a branch of its own.

        `ConflictError` when `branch` is given and another agent has it.
        """
        async with self._database.session() as session:
            other = await _get(session, org, agent)
            row = AgentRow(org_id=org, id=new_id("agt"), created_by=user)
            for name in _COPIED:
                setattr(row, name, getattr(other, name))
            row.title = title or f"{other.title[:_TITLE_KEPT]} (fork)"
            if branch is not None and await _has_branch(session, org, branch):
                raise ConflictError(
                    f"The branch {branch!r} is another agent's, and two agents never share one",
                    hint="Choose another name, or leave the name out: one is made up then.",
                )
            row.default_branch = branch or await _free_branch(session, org)
            session.add(row)
            await session.flush()
            await copy_secrets(session, org, agent, AgentId(row.id))
            await copy_servers(session, org, agent, AgentId(row.id))
        return row

    async def list(self, org: OrgId) -> list[AgentRow]:
        """The org's agents: pinned ones first, then the newest."""
        async with self._database.reading() as session:
            found = await session.scalars(
                select(AgentRow)
                .where(AgentRow.org_id == org)
                .order_by(AgentRow.pinned.desc(), AgentRow.created_at.desc(), AgentRow.id)
            )
            return list(found)

    async def get(self, org: OrgId, agent: AgentId) -> AgentRow:
        """The agent, or `NotFoundError`, also when it is another org's."""
        async with self._database.reading() as session:
            return await _get(session, org, agent)

    async def update(self, org: OrgId, wanted: AgentUpdate) -> AgentRow:
        """The agent with what was said of it changed."""
        async with self._database.session() as session:
            row = await _get(session, org, AgentId(wanted.agent_id))
            _choose(row, wanted)
            if wanted.status is not None:
                row.status = wanted.status
            if wanted.model_fields_set & {"clone_username", "clone_password"}:
                self._replace_credentials(row, wanted)
        return row

    def _replace_credentials(self, row: AgentRow, wanted: AgentUpdate) -> None:
        if row.clone_url is None:
            raise InvalidInputError("This agent has no clone URL that credentials could be for")
        password = wanted.clone_password
        url = parse_clone_url(
            row.clone_url,
            username=wanted.clone_username,
            password=password.get_secret_value() if password else None,
        )
        row.clone_credentials_sealed = seal_credentials(url.credentials, self._box, row.org_id)

    async def forget(self, org: OrgId, agent: AgentId) -> None:
        """Delete the agent's row; `ConflictError` while it still has sandboxes."""
        async with self._database.session() as session:
            row = await session.get(AgentRow, (org, agent))
            if row is None:
                return
            left = await session.scalar(
                select(SandboxRow.handle)
                .where(SandboxRow.org_id == org, SandboxRow.agent_id == agent)
                .limit(1)
            )
            if left is not None:
                raise ConflictError(
                    "The agent has a sandbox again; it was not deleted",
                    hint="Delete the agent once more.",
                )
            await forget_secrets(session, org, agent)
            await forget_servers(session, org, agent)
            await session.delete(row)

    def clone_url_with_credentials(self, row: AgentRow) -> str | None:
        """What git shall clone, for the daemon's configuration alone: never log it."""
        url = clone_url_of(row, self._box)
        return url.authenticated if url else None


def agent_of(
    row: AgentRow,
    org_slug: str,
    default_egress: EgressMode,
    thumbnail_at: datetime | None = None,
) -> Agent:
    """The agent as the API shows it: without secrets."""
    return Agent(
        id=row.id,
        org=org_slug,
        title=row.title,
        description=row.description,
        icon=row.icon,
        status="active" if row.status == "active" else "inactive",
        pinned=row.pinned,
        metadata=AgentMetadata(
            instructions=row.instructions,
            ui=AgentUi(
                layout=Layout.model_validate(
                    {"default_main_view": row.default_main_view, "chat_side": row.chat_side}
                )
            ),
            github_repo=row.github_repo,
            clone_url=row.clone_url,
            clone_url_has_credentials=row.clone_credentials_sealed is not None,
            template=row.template,
            start_command=row.start_command,
            acp_command=row.acp_command,
        ),
        egress=egress_of(row, default_egress),
        default_branch=row.default_branch,
        thumbnail_at=thumbnail_at,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


def _choose(row: AgentRow, wanted: AgentCreate | AgentUpdate) -> None:
    for name in ("title", "description", "instructions", "pinned"):
        value = getattr(wanted, name)
        if value is not None:
            setattr(row, name, value)
    for name in ("icon", "start_command", "acp_command"):
        if name in wanted.model_fields_set:
            setattr(row, name, getattr(wanted, name))
    if "egress" in wanted.model_fields_set:
        row.egress = stored_egress(wanted.egress)
    if wanted.ui is not None:
        said = wanted.ui.layout.model_fields_set
        if "default_main_view" in said:
            row.default_main_view = wanted.ui.layout.default_main_view
        if "chat_side" in said:
            row.chat_side = wanted.ui.layout.chat_side


async def _get(session: AsyncSession, org: OrgId, agent: AgentId) -> AgentRow:
    row = await session.get(AgentRow, (org, agent))
    if row is None:
        raise NotFoundError(f"There is no agent {agent!r}", hint="`limpet ls` lists the agents.")
    return row


async def _free_branch(session: AsyncSession, org: OrgId) -> str:
    """A default branch that no other agent of the org has."""
    for attempt in range(_BRANCH_ATTEMPTS):
        branch = made_up_branch() + (f"-{new_id('')[1:7]}" if attempt > 2 else "")
        if not await _has_branch(session, org, branch):
            return branch
    raise ConflictError("No free name for the agent's branch was found; try again")


async def _has_branch(session: AsyncSession, org: OrgId, branch: str) -> bool:
    """Whether it is the default branch of an agent of the org."""
    found = await session.scalar(
        select(AgentRow.id).where(AgentRow.org_id == org, AgentRow.default_branch == branch)
    )
    return found is not None
