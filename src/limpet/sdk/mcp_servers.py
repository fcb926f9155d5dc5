"""Other MCP servers that agents have tools of."""

from collections.abc import Mapping
from typing import TypedDict, cast
from urllib.parse import quote

from limpet.sdk.connection import Connection


class McpServer(TypedDict):
    """An MCP server of an agent; the values of its headers are never told."""

    name: str
    url: str
    header_names: list[str]
    updated_at: str
    updated_by: str


class McpServerTested(TypedDict):
    """Whether a server answers, and the names of its tools."""

    ok: bool
    tools: list[str]
    problem: dict[str, str] | None


class McpServers:
    """The operations on MCP servers of one org's agents. Every method raises a `LimpetError`."""

    def __init__(self, line: Connection) -> None:
        self._line = line

    def all(self, agent_id: str) -> list[McpServer]:
        """The agent's, by name."""
        return cast(list[McpServer], self._line.send("GET", _of(agent_id))["servers"])

    def set(
        self, agent_id: str, name: str, url: str, headers: Mapping[str, str] | None = None
    ) -> McpServer:
        """Add one or change it; `headers` are sealed and never told again.

        None leaves those that it has, an empty mapping takes them away.
        """
        body: dict[str, object] = {"name": name, "url": url}
        if headers is not None:
            body["headers"] = dict(headers)
        return cast(McpServer, self._line.send("POST", _of(agent_id), body))

    def delete(self, agent_id: str, name: str) -> None:
        """Take one from the agent, and forget its headers."""
        self._line.send("DELETE", _one(agent_id, name))

    def test(self, agent_id: str, name: str) -> McpServerTested:
        """Ask one for its tools."""
        return cast(McpServerTested, self._line.send("POST", f"{_one(agent_id, name)}/test", {}))


def _of(agent_id: str) -> str:
    return f"/agents/{quote(agent_id, safe='')}/mcp-servers"


def _one(agent_id: str, name: str) -> str:
    return f"{_of(agent_id)}/{quote(name, safe='')}"
