"""Operations on secrets in environment variables: set, list by name, delete; never read."""

from limpet.control.db import EnvSecretRow
from limpet.control.operations.registry import Call, Operation
from limpet.control.operations.secret_models import (
    SecretChanged,
    SecretInfo,
    SecretList,
    SecretRef,
    SecretSet,
    SecretsOf,
)
from limpet.ids import AgentId

_NOTE = (
    "What starts in a sandbox from now on has it so; what runs there already keeps what it had "
    "until it is started again."
)


async def list_all(call: Call, wanted: SecretsOf) -> SecretList:
    """The secrets of an agent or of the org, by name."""
    rows = await call.services.env_secrets.list(call.identity.org, _agent(wanted.agent_id))
    return SecretList(secrets=[_shown(row) for row in rows])


async def put(call: Call, wanted: SecretSet) -> SecretChanged:
    """Set a secret, and give it to the sandboxes that run."""
    row = await call.services.env_secrets.set(
        call.identity.org,
        _agent(wanted.agent_id),
        wanted.name,
        wanted.value.get_secret_value(),
        call.identity.user,
    )
    return await _told(call, wanted.agent_id, _shown(row))


async def delete(call: Call, wanted: SecretRef) -> SecretChanged:
    """Delete a secret, and take it from the sandboxes that run."""
    agent = _agent(wanted.agent_id)
    await call.services.env_secrets.delete(call.identity.org, agent, wanted.name)
    return await _told(call, wanted.agent_id, None)


async def _told(call: Call, agent_id: str | None, secret: SecretInfo | None) -> SecretChanged:
    told = await call.services.sandboxes.variables.tell(call.identity.org, _agent(agent_id))
    return SecretChanged(
        secret=secret, given_to=told.given_to, not_reached=told.not_reached, note=_NOTE
    )


def _agent(agent_id: str | None) -> AgentId | None:
    return None if agent_id is None else AgentId(agent_id)


def _shown(row: EnvSecretRow) -> SecretInfo:
    return SecretInfo(
        name=row.name,
        agent_id=row.agent_id or None,
        updated_at=row.updated_at,
        updated_by=row.updated_by,
    )


OPERATIONS = (
    Operation(
        "SECRET_LIST",
        "GET",
        "/secrets",
        SecretsOf,
        SecretList,
        list_all,
        "List the secrets in environment variables, without their values",
    ),
    Operation(
        "SECRET_SET",
        "POST",
        "/secrets",
        SecretSet,
        SecretChanged,
        put,
        "Set a secret in an environment variable",
    ),
    Operation(
        "SECRET_DELETE",
        "DELETE",
        "/secrets/{name}",
        SecretRef,
        SecretChanged,
        delete,
        "Delete a secret in an environment variable",
        destructive=True,
    ),
)
