"""Other MCP servers that agents have tools of.

Their headers hold secrets: sealed when they come in, and opened only for a run or a test, which the
control plane does itself. No sandbox and no answer of the API has them.
"""

import json
import re
from collections.abc import Mapping
from typing import Final

from sqlalchemy import Select, delete, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from limpet.control.db import AgentRow, Database, McpServerRow
from limpet.control.db.models import utc_now
from limpet.control.secrets import SecretBox, UnsealError
from limpet.errors import ConflictError, InvalidInputError, NotFoundError
from limpet.harness.base import ToolServer
from limpet.ids import AgentId, OrgId, UserId

PURPOSE: Final = "MCP server headers"
MAX_SERVERS: Final = 16
MAX_HEADERS: Final = 16
MAX_NAME_LENGTH: Final = 128
MAX_VALUE_LENGTH: Final = 8192
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE: Final = re.compile(r"[\x21-\x7e](?:[\x20-\x7e\t]*[\x21-\x7e])?")
_OURS: Final = frozenset(
    {"accept", "accept-encoding", "connection", "content-encoding", "content-length",
     "content-type", "expect", "host", "keep-alive", "last-event-id", "mcp-method", "mcp-name",
     "mcp-protocol-version", "mcp-session-id", "proxy-authorization", "proxy-connection", "te",
     "trailer", "transfer-encoding", "upgrade"}
)  # fmt: skip
"""What the connection and the protocol set by themselves."""


class McpServers:
    """The servers of all orgs' agents; every call names the org."""

    def __init__(self, database: Database, box: SecretBox) -> None:
        self._database = database
        self._box = box

    async def all(self, org: OrgId, agent: AgentId) -> list[McpServerRow]:
        """The agent's, by name; `NotFoundError` when there is no such agent."""
        async with self._database.reading() as session:
            await _require_agent(session, org, agent)
            return list(await session.scalars(_of(org, agent)))

    async def set(
        self,
        org: OrgId,
        agent: AgentId,
        name: str,
        url: str,
        headers: Mapping[str, str] | None,
        user: UserId,
    ) -> McpServerRow:
        """Add one or change it. `headers` None: those that it has, if it stays at its `url`.

        `InvalidInputError` for headers that cannot be sent, and where they would follow to another
        url; `ConflictError` beyond `MAX_SERVERS`; `NotFoundError` when there is no such agent.
        """
        if headers is not None:
            _check(headers)
        async with self._database.session() as session:
            await _require_agent(session, org, agent)
            row = await session.get(McpServerRow, (org, agent, name))
            if row is None:
                await _require_room(session, org, agent)
                row = McpServerRow(org_id=org, agent_id=agent, name=name, header_names=[])
                session.add(row)
            elif headers is None and row.headers_sealed is not None and row.url != url:
                raise InvalidInputError(
                    "Another url needs the headers anew: they are sent nowhere but where they were "
                    "meant for",
                    hint="Give headers together with url; {} for none.",
                )
            if headers is not None:
                row.header_names = sorted(headers)
                row.headers_sealed = self._sealed(org, headers) if headers else None
            row.url, row.updated_at, row.updated_by = url, utc_now(), user
        return row

    async def delete(self, org: OrgId, agent: AgentId, name: str) -> None:
        """Forget one and its headers; `NotFoundError` when there is none."""
        async with self._database.session() as session:
            await session.delete(await _get(session, org, agent, name))

    async def opened(self, org: OrgId, agent: AgentId, name: str) -> ToolServer:
        """One with its headers, for a test; `NotFoundError`, `UnsealError`."""
        async with self._database.reading() as session:
            return self._open(await _get(session, org, agent, name))

    async def for_run(self, org: OrgId, agent: AgentId) -> tuple[list[ToolServer], list[str]]:
        """All of the agent's with their headers, and in words those whose headers do not open."""
        async with self._database.reading() as session:
            rows = list(await session.scalars(_of(org, agent)))
        opened: list[ToolServer] = []
        left_out: list[str] = []
        for row in rows:
            try:
                opened.append(self._open(row))
            except UnsealError as error:
                left_out.append(f"The MCP server {row.name} cannot be used: {error.message}.")
        return opened, left_out

    def _sealed(self, org: OrgId, headers: Mapping[str, str]) -> bytes:
        return self._box.seal(json.dumps(dict(headers)), purpose=PURPOSE, org=org)

    def _open(self, row: McpServerRow) -> ToolServer:
        headers: dict[str, str] = {}
        if row.headers_sealed is not None:
            plain = self._box.open(row.headers_sealed, purpose=PURPOSE, org=row.org_id)
            headers = json.loads(plain)
        return ToolServer(row.name, row.url, headers)


async def copy_servers(session: AsyncSession, org: OrgId, agent: AgentId, to: AgentId) -> None:
    """Give another agent of the org the same ones, their headers still sealed."""
    for row in await session.scalars(_of(org, agent)):
        session.add(
            McpServerRow(
                org_id=org,
                agent_id=to,
                name=row.name,
                url=row.url,
                header_names=row.header_names,
                headers_sealed=row.headers_sealed,
                updated_at=row.updated_at,
                updated_by=row.updated_by,
            )
        )


async def forget_servers(session: AsyncSession, org: OrgId, agent: AgentId) -> None:
    """Delete an agent's."""
    await session.execute(
        delete(McpServerRow).where(McpServerRow.org_id == org, McpServerRow.agent_id == agent)
    )


def _of(org: OrgId, agent: AgentId) -> Select[McpServerRow]:
    return (
        select(McpServerRow)
        .where(McpServerRow.org_id == org, McpServerRow.agent_id == agent)
        .order_by(McpServerRow.name)
    )


async def _get(session: AsyncSession, org: OrgId, agent: AgentId, name: str) -> McpServerRow:
    row = await session.get(McpServerRow, (org, agent, name))
    if row is None:
        raise NotFoundError(
            f"The agent has no MCP server {name!r}", hint="`limpet mcp ls AGENT` lists them."
        )
    return row


async def _require_agent(session: AsyncSession, org: OrgId, agent: AgentId) -> None:
    if await session.get(AgentRow, (org, agent)) is None:
        raise NotFoundError(f"There is no agent {agent[:80]!r}", hint="`limpet ls` lists them.")


async def _require_room(session: AsyncSession, org: OrgId, agent: AgentId) -> None:
    count = await session.scalar(
        select(func.count())
        .select_from(McpServerRow)
        .where(McpServerRow.org_id == org, McpServerRow.agent_id == agent)
    )
    if (count or 0) >= MAX_SERVERS:
        raise ConflictError(
            f"The agent has {MAX_SERVERS} MCP servers already, and no more fit",
            hint="Delete one: `limpet mcp rm AGENT NAME`.",
        )


def _check(headers: Mapping[str, str]) -> None:
    """Whether they can be sent. A wrong name is not repeated: it may be the value."""
    if len(headers) > MAX_HEADERS:
        raise InvalidInputError(f"A server has at most {MAX_HEADERS} headers")
    if len({name.lower() for name in headers}) < len(headers):
        raise InvalidInputError("A header is there twice: its name counts in any case")
    for name, value in headers.items():
        if len(name) > MAX_NAME_LENGTH or not _TOKEN.fullmatch(name):
            raise InvalidInputError(
                "The name of a header is none: letters, digits and dashes, such as X-Api-Key"
            )
        if name.lower() in _OURS:
            raise InvalidInputError(f"The header {name} is set by the connection itself")
        if len(value) > MAX_VALUE_LENGTH:
            raise InvalidInputError(
                f"The value of the header {name} is over {MAX_VALUE_LENGTH} characters"
            )
        if not _VALUE.fullmatch(value):
            raise InvalidInputError(
                f"The value of the header {name} cannot be sent: it is empty, begins or ends with "
                "a blank, or holds a line break or another character that no header can have"
            )
