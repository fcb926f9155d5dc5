"""Other MCP servers of an agent as the API takes and gives them: headers go in, and never out."""

from datetime import datetime
from typing import Annotated

from pydantic import Field, SecretStr

from limpet.control.operations.models import AgentIdText, Problem
from limpet.control.operations.shapes import Input, Output
from limpet.control.operations.thread_models import BaseUrl

ServerName = Annotated[
    str,
    Field(
        pattern=r"^[a-z][a-z0-9-]{0,23}$",
        description="What its tools' names begin with; unique in the agent",
    ),
]


class McpServersOf(Input):
    """Those of one agent. Of their headers only the names are told."""

    agent_id: AgentIdText


class McpServerSet(Input):
    """Give an agent the tools of another MCP server (streamable HTTP), or change one that it has.

    The control plane connects to it for runs of the harness decopilot, from the next message on;
    sandboxes are given neither its address nor its headers. Headers, such as Authorization, are
    sealed and never told again. All of them are replaced; left out, they stay as they are, unless
    the url is another one.
    """

    agent_id: AgentIdText
    name: ServerName
    url: BaseUrl = Field(description="http or https, without credentials, query or fragment")
    headers: dict[str, SecretStr] | None = Field(
        default=None, description="Sent with every request to it, and nowhere else"
    )


class McpServerRef(Input):
    """One server of one agent."""

    agent_id: AgentIdText
    name: ServerName


class McpServerInfo(Output):
    """A server, without the values of its headers."""

    name: str
    url: str
    header_names: list[str]
    updated_at: datetime
    updated_by: str


class McpServerList(Output):
    """An agent's servers by name."""

    servers: list[McpServerInfo]


class McpServerTested(Output):
    """Whether it answers, and the names of its tools as it tells them."""

    ok: bool
    tools: list[str]
    problem: Problem | None
