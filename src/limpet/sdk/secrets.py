"""Secrets in environment variables: set, listed by name, deleted; nobody can read them."""

from collections.abc import Sequence
from typing import TypedDict, cast
from urllib.parse import quote

from limpet.sdk.connection import Connection


class Secret(TypedDict):
    """A secret in an environment variable; `agent_id` None: of all agents of the org."""

    name: str
    agent_id: str | None
    updated_at: str
    updated_by: str


class SecretChanged(TypedDict):
    """Which running sandboxes have a change of a secret."""

    secret: Secret | None
    given_to: list[str]
    not_reached: list[str]
    note: str


class Secrets:
    """The operations on the secrets of one org. Every method raises a `LimpetError`.

    Without `agent_id` they are about what the org gives to all of its agents.
    """

    def __init__(self, line: Connection) -> None:
        self._line = line

    def list(self, agent_id: str | None = None) -> Sequence[Secret]:
        """By name; of an agent, what its sandboxes have: its own, and the org's beside them."""
        answer = self._line.send("GET", "/secrets", query={"agent_id": agent_id})
        return cast(Sequence[Secret], answer["secrets"])

    def set(self, name: str, value: str, agent_id: str | None = None) -> SecretChanged:
        """Set or replace one, and give it to the sandboxes that run."""
        body = {"name": name, "value": value, "agent_id": agent_id}
        return cast(SecretChanged, self._line.send("POST", "/secrets", body))

    def delete(self, name: str, agent_id: str | None = None) -> SecretChanged:
        """Delete one, and take it from the sandboxes that run."""
        path = f"/secrets/{quote(name, safe='')}"
        query = {"agent_id": agent_id}
        return cast(SecretChanged, self._line.send("DELETE", path, query=query))
