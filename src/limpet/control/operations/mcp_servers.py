"""Operations on other MCP servers that an agent has tools of."""

from limpet.control.mcp_probe import tool_names
from limpet.control.operations.mcp_server_models import (
    McpServerInfo,
    McpServerList,
    McpServerRef,
    McpServerSet,
    McpServersOf,
    McpServerTested,
)
from limpet.control.operations.models import Ok
from limpet.control.operations.registry import Call, Operation
from limpet.errors import LimpetError, NotFoundError
from limpet.ids import AgentId


async def list_all(call: Call, wanted: McpServersOf) -> McpServerList:
    """The agent's servers."""
    rows = await call.services.mcp_servers.all(call.identity.org, AgentId(wanted.agent_id))
    return McpServerList(servers=[McpServerInfo.model_validate(row) for row in rows])


async def put(call: Call, wanted: McpServerSet) -> McpServerInfo:
    """Add a server or change it."""
    headers = wanted.headers
    row = await call.services.mcp_servers.set(
        call.identity.org,
        AgentId(wanted.agent_id),
        wanted.name,
        wanted.url,
        None if headers is None else {k: v.get_secret_value() for k, v in headers.items()},
        call.identity.user,
    )
    return McpServerInfo.model_validate(row)


async def delete(call: Call, wanted: McpServerRef) -> Ok:
    """Forget a server and its headers."""
    await call.services.mcp_servers.delete(call.identity.org, AgentId(wanted.agent_id), wanted.name)
    return Ok()


async def test(call: Call, wanted: McpServerRef) -> McpServerTested:
    """Ask a server for its tools."""
    try:
        server = await call.services.mcp_servers.opened(
            call.identity.org, AgentId(wanted.agent_id), wanted.name
        )
        return McpServerTested(ok=True, tools=await tool_names(server), problem=None)
    except NotFoundError:
        raise
    except LimpetError as error:
        return McpServerTested.model_validate(
            {"ok": False, "tools": [], "problem": error.as_dict()}
        )


_SERVERS = "/agents/{agent_id}/mcp-servers"
_ONE = f"{_SERVERS}/{{name}}"

OPERATIONS = (
    Operation(
        "MCP_SERVER_LIST",
        "GET",
        _SERVERS,
        McpServersOf,
        McpServerList,
        list_all,
        "List the other MCP servers that an agent has tools of",
    ),
    Operation(
        "MCP_SERVER_SET",
        "POST",
        _SERVERS,
        McpServerSet,
        McpServerInfo,
        put,
        "Add an MCP server to an agent, or change it",
    ),
    Operation(
        "MCP_SERVER_DELETE",
        "DELETE",
        _ONE,
        McpServerRef,
        Ok,
        delete,
        "Take an MCP server from an agent, and forget its headers",
        destructive=True,
    ),
    Operation(
        "MCP_SERVER_TEST",
        "POST",
        f"{_ONE}/test",
        McpServerRef,
        McpServerTested,
        test,
        "Ask an MCP server for its tools, to see that it answers",
    ),
)
