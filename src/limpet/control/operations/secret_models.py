"""Secrets in environment variables as the API takes and gives them: values go in, and never out."""

from datetime import datetime
from typing import Annotated

from pydantic import Field, SecretStr

from limpet.control.operations.models import AgentIdText
from limpet.control.operations.shapes import Input, Output
from limpet.ids import Handle

NameText = Annotated[
    str,
    Field(
        min_length=1,
        max_length=128,
        pattern=r"^[A-Za-z_][A-Za-z0-9_]*$",
        description="The environment variable's name",
    ),
]
Scope = Annotated[
    AgentIdText | None,
    Field(default=None, description="The agent's id; left out: for all agents of the org"),
]


class SecretsOf(Input):
    """Those of an agent and what it has of its org, or, without `agent_id`, those of the org.

    Names only: nobody can read a value that was set.
    """

    agent_id: Scope


class SecretSet(Input):
    """Set an environment variable of an agent's sandboxes, or of all agents of the org.

    Every task in them has it: the dev server, installs, commands, terminals. Sandboxes that run are
    given it at once; what runs in them already keeps what it has until it is started again. An
    agent's own comes before the org's. In logs and events its value is masked when it has 8
    characters or more.
    """

    name: NameText
    value: SecretStr = Field(min_length=1)
    agent_id: Scope


class SecretRef(Input):
    """A secret of an agent, or, without `agent_id`, of the org."""

    name: NameText
    agent_id: Scope


class SecretInfo(Output):
    """A secret, without its value. `agent_id` null: it is for all agents of the org."""

    name: str
    agent_id: str | None
    updated_at: datetime
    updated_by: str


class SecretList(Output):
    """Secrets by name."""

    secrets: list[SecretInfo]


class SecretChanged(Output):
    """What was changed, and which running sandboxes have it.

    `not_reached` did not answer; they have it when they are started again.
    """

    secret: SecretInfo | None
    given_to: list[Handle]
    not_reached: list[Handle]
    note: str
