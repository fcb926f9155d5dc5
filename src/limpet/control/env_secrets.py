"""Secrets in environment variables: set by users, sealed in the database, opened for daemons alone.

An agent's own come before those that its org gives to all agents. Nothing here gives a value back
to who set it. Since nobody can look at a value, none may decide what code runs, or be what the
sandbox itself works with: such names are refused.
"""

from collections.abc import Sequence
from typing import Final

from sqlalchemy import Select, delete, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from limpet.control.db import AgentRow, Database, EnvSecretRow
from limpet.control.db.models import utc_now
from limpet.control.secrets import SecretBox
from limpet.errors import ConflictError, InvalidInputError, NotFoundError
from limpet.ids import AgentId, OrgId, UserId

PURPOSE: Final = "environment variable"
MAX_VALUE_BYTES: Final = 32 * 1024
MAX_SECRETS: Final = 100
MAX_TOTAL_BYTES: Final = 256 * 1024
"""Of an agent's own together, or of an org's; sealed, which is a few bytes more each."""
RESERVED: Final = frozenset(
    {
        # What the sandbox sets itself.
        "APP_ROOT", "HOME", "LOGNAME", "OLDPWD", "PATH", "PWD", "SHELL", "SHLVL", "TERM", "TMPDIR",
        "USER", "_",
        # What makes shells, git and languages run code.
        "BASHOPTS", "BASH_ENV", "ENV", "GIT_ASKPASS", "GIT_EXEC_PATH", "IFS", "JAVA_TOOL_OPTIONS",
        "NODE_OPTIONS", "NODE_PATH", "PERL5LIB", "PERL5OPT", "PROMPT_COMMAND", "PS4", "PYTHONHOME",
        "PYTHONPATH", "PYTHONSTARTUP", "RUBYLIB", "RUBYOPT", "SHELLOPTS", "SSH_ASKPASS",
    }
)  # fmt: skip
RESERVED_PREFIXES: Final = ("DAEMON_", "LIMPET_", "SANDBOX_", "OFFLOAD_", "LD_", "DYLD_")
PROXIES: Final = frozenset(
    {"ALL_PROXY", "FTP_PROXY", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "NODE_USE_ENV_PROXY",
     "NPM_CONFIG_HTTPS_PROXY", "NPM_CONFIG_PROXY", "YARN_HTTPS_PROXY", "YARN_HTTP_PROXY"}
)  # fmt: skip
"""In any case: runners set them where a sandbox reaches the network through a proxy."""
_ORG_WIDE: Final = ""


class ReservedNameError(InvalidInputError):
    """The variable is the sandbox's own, or decides what code runs."""

    code = "reserved_name"


class EnvSecrets:
    """The secrets of all orgs; every call names the org. `agent` None means all of its agents."""

    def __init__(self, database: Database, box: SecretBox) -> None:
        self._database = database
        self._box = box

    async def list(self, org: OrgId, agent: AgentId | None) -> Sequence[EnvSecretRow]:
        """By name: the org's, or what the agent's sandboxes have. Values stay sealed.

        `NotFoundError` when there is no such agent.
        """
        async with self._database.reading() as session:
            if agent is not None:
                await _require_agent(session, org, agent)
            found = await _effective(session, org, agent)
        return [found[name] for name in sorted(found)]

    async def set(
        self, org: OrgId, agent: AgentId | None, name: str, value: str, user: UserId
    ) -> EnvSecretRow:
        """Set or replace one.

        `InvalidInputError` for a name or value that cannot be taken, `ConflictError` beyond
        `MAX_SECRETS` or `MAX_TOTAL_BYTES`, `NotFoundError` when there is no such agent.
        """
        _check(name, value)
        row = EnvSecretRow(
            org_id=org,
            agent_id=agent or _ORG_WIDE,
            name=name,
            value_sealed=self._box.seal(value, purpose=PURPOSE, org=org),
            updated_at=utc_now(),
            updated_by=user,
        )
        async with self._database.session() as session:
            if agent is not None:
                await _require_agent(session, org, agent)
            await _require_room(session, row)
            return await session.merge(row)

    async def delete(self, org: OrgId, agent: AgentId | None, name: str) -> None:
        """Forget one; `NotFoundError` when there is none."""
        async with self._database.session() as session:
            row = await session.get(EnvSecretRow, (org, agent or _ORG_WIDE, name))
            if row is None:
                raise NotFoundError(f"There is no secret {name[:128]!r} here")
            await session.delete(row)

    async def environment(self, org: OrgId, agent: AgentId) -> dict[str, str]:
        """What the agent's sandboxes are given, opened: for daemons alone, never log it.

        `UnsealError` when one was sealed with a key that is gone.
        """
        async with self._database.reading() as session:
            found = await _effective(session, org, agent)
        return {
            name: self._box.open(row.value_sealed, purpose=PURPOSE, org=org).decode()
            for name, row in found.items()
        }


async def copy_secrets(session: AsyncSession, org: OrgId, agent: AgentId, to: AgentId) -> None:
    """Give another agent of the org the same ones, still sealed."""
    for row in await session.scalars(_of(org, agent)):
        session.add(
            EnvSecretRow(
                org_id=org,
                agent_id=to,
                name=row.name,
                value_sealed=row.value_sealed,
                updated_at=row.updated_at,
                updated_by=row.updated_by,
            )
        )


async def forget_secrets(session: AsyncSession, org: OrgId, agent: AgentId) -> None:
    """Delete an agent's own."""
    await session.execute(
        delete(EnvSecretRow).where(EnvSecretRow.org_id == org, EnvSecretRow.agent_id == agent)
    )


def _of(org: OrgId, agent: str) -> Select[EnvSecretRow]:
    return select(EnvSecretRow).where(EnvSecretRow.org_id == org, EnvSecretRow.agent_id == agent)


async def _effective(
    session: AsyncSession, org: OrgId, agent: AgentId | None
) -> dict[str, EnvSecretRow]:
    found = {row.name: row for row in await session.scalars(_of(org, _ORG_WIDE))}
    if agent is not None:
        found |= {row.name: row for row in await session.scalars(_of(org, agent))}
    return found


async def _require_agent(session: AsyncSession, org: OrgId, agent: AgentId) -> None:
    if await session.get(AgentRow, (org, agent)) is None:
        raise NotFoundError(f"There is no agent {agent[:80]!r}")


async def _require_room(session: AsyncSession, row: EnvSecretRow) -> None:
    """Room for one more, or for another value of one that is there."""
    count, size = (
        await session.execute(
            select(func.count(), func.coalesce(func.sum(func.length(EnvSecretRow.value_sealed)), 0))
            .where(EnvSecretRow.org_id == row.org_id, EnvSecretRow.agent_id == row.agent_id)
            .where(EnvSecretRow.name != row.name)
        )
    ).one()
    if count >= MAX_SECRETS:
        raise ConflictError(f"There are {MAX_SECRETS} secrets already, and no more fit")
    if size + len(row.value_sealed) > MAX_TOTAL_BYTES:
        raise ConflictError(
            f"All secrets together would be over {MAX_TOTAL_BYTES // 1024} KiB",
            hint="Put what is large into a file of the workspace.",
        )


def _check(name: str, value: str) -> None:
    if name in RESERVED or name.startswith(RESERVED_PREFIXES) or name.upper() in PROXIES:
        raise ReservedNameError(
            f"{name} cannot be set as a secret: the sandbox itself uses it, or it decides what "
            "code runs",
            hint="Choose another name, or set it in the project's own scripts.",
        )
    try:
        size_bytes = len(value.encode())
    except UnicodeEncodeError:
        raise InvalidInputError("The value holds characters that no variable can have") from None
    if "\0" in value:
        raise InvalidInputError("The value holds a NUL, which no variable can have")
    if size_bytes > MAX_VALUE_BYTES:
        raise InvalidInputError(
            f"The value is over {MAX_VALUE_BYTES // 1024} KiB",
            hint="Put what is large into a file of the workspace.",
        )
