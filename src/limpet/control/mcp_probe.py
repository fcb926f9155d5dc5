"""Asking another MCP server for its tools: whether it answers, and takes its headers.

Of what it answers only the names of tools are passed on, bounded: its url may name anything that
this machine reaches, and an error's words may hold an address or a header.
"""

import asyncio
import importlib
from contextlib import aclosing
from typing import Final

from limpet.errors import InvalidInputError, UnreachableError
from limpet.harness.base import ToolServer

TIMEOUT_S: Final = 15.0
MAX_TOOLS: Final = 500
MAX_NAME: Final = 128


class McpServerRefusesError(InvalidInputError):
    """The server answers, and says no."""

    code = "mcp_server_refuses"


class McpServerUnreachableError(UnreachableError):
    """The server does not answer."""

    code = "mcp_server_unreachable"


async def tool_names(server: ToolServer, timeout_s: float = TIMEOUT_S) -> list[str]:
    """The names of the server's tools, in its order.

    Raises `McpServerRefusesError` and `McpServerUnreachableError`, whose words hold no header.
    """
    # The client takes long to load: only where it is wanted, and while the loop goes on.
    await asyncio.to_thread(importlib.import_module, "limpet.harness.mcp_connection")
    from limpet.harness.mcp_connection import connected, tools_of

    statuses: list[int] = []
    names: list[str] = []
    try:
        async with (
            asyncio.timeout(timeout_s),
            connected(
                server.url, server.headers, timeout_s=timeout_s, heard=statuses.append
            ) as client,
            aclosing(tools_of(client)) as tools,
        ):
            async for tool in tools:
                if len(names) == MAX_TOOLS:
                    break
                names.append(tool.name[:MAX_NAME])
    except Exception as error:
        raise _problem(statuses, error) from error
    return names


def _problem(statuses: list[int], error: Exception) -> InvalidInputError | UnreachableError:
    """What is wrong, by the first answer that was none: what follows it is the client's trying."""
    status = next((status for status in statuses if status >= 300), None)
    if isinstance(error, TimeoutError) or not statuses:
        return McpServerUnreachableError(
            "The MCP server does not answer", hint="Check the url, and that the server runs."
        )
    if status in {401, 403}:
        return McpServerRefusesError(
            "The MCP server refuses what it is sent", hint="Check the Authorization header."
        )
    if status is not None and status < 400:
        return McpServerRefusesError(
            "The MCP server sends elsewhere, where its headers do not follow",
            hint="Give the url that it leads to.",
        )
    if status is not None:
        return McpServerRefusesError(
            f"The MCP server answers with {status}",
            hint="Check the url; that of streamable HTTP often ends with /mcp.",
        )
    return McpServerRefusesError(
        "What answers is no MCP server", hint="Check the url; it often ends with /mcp."
    )
