"""The MCP side of the operations: each is a tool at `/mcp`, over streamable HTTP.

Requests carry the same credentials as REST and were checked before they come here. A failed call
is a tool result with `is_error` and the same `{"error": ...}` that REST answers with.
"""

import contextlib
import json
from collections.abc import AsyncIterator, Iterable
from typing import Any

import structlog
from mcp import types
from mcp.server import Server, ServerRequestContext
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from starlette.requests import HTTPConnection
from starlette.types import Receive, Scope, Send

from limpet import __version__
from limpet.control.auth import identity_of
from limpet.control.operations.registry import Call
from limpet.control.operations.rest import AnyOperation
from limpet.control.operations.services import Services
from limpet.errors import LimpetError

INSTRUCTIONS = (
    "Limpet gives coding agents sandboxes that are saved whole and come home. Make an agent, start "
    "its sandbox with VM_START, run commands with SANDBOX_EXEC, save and go back with SNAPSHOT_*."
)


class McpEndpoint:
    """An ASGI app; it answers while `running()` is entered, which can be done once."""

    def __init__(self, operations: Iterable[AnyOperation], services: Services) -> None:
        self._operations = {operation.name: operation for operation in operations}
        self._services = services
        server: Server[dict[str, Any]] = Server(
            "limpet",
            version=__version__,
            title="Limpet",
            instructions=INSTRUCTIONS,
            on_list_tools=self._list_tools,
            on_call_tool=self._call_tool,
            get_tool_input_schema=self._input_schema,
        )
        self._manager = StreamableHTTPSessionManager(
            server,
            stateless=True,
            json_response=True,
            max_request_body_size=services.settings.max_request_bytes,
        )

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Serve for the length of the block; streams end with it."""
        async with self._manager.run():
            yield

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        await self._manager.handle_request(scope, receive, send)

    async def _list_tools(
        self,
        _context: ServerRequestContext[dict[str, Any]],
        _params: types.PaginatedRequestParams | None,
    ) -> types.ListToolsResult:
        tools = [_tool(operation) for operation in self._operations.values()]
        return types.ListToolsResult(tools=tools)

    def _input_schema(self, name: str) -> dict[str, Any] | None:
        operation = self._operations.get(name)
        return operation.input_schema if operation else None

    async def _call_tool(
        self, context: ServerRequestContext[dict[str, Any]], params: types.CallToolRequestParams
    ) -> types.CallToolResult:
        operation = self._operations.get(params.name)
        if operation is None:
            return _failed({"code": "not_found", "message": "There is no such tool", "hint": ""})
        if not isinstance(context.request, HTTPConnection):
            raise TypeError("the transport gave no HTTP request")
        try:
            call = Call(identity_of(context.request), self._services)
            answer = await operation.call(call, dict(params.arguments or {}))
        except LimpetError as error:
            return _failed(error.as_dict())
        except Exception:  # noqa: BLE001 - the one place where a tool's crash becomes its answer
            structlog.get_logger().exception("tool_failed", tool=params.name)
            return _failed(
                {"code": "internal", "message": "Something went wrong inside Limpet", "hint": ""}
            )
        given = answer.model_dump(mode="json")
        return types.CallToolResult(
            content=[types.TextContent(type="text", text=json.dumps(given))],
            structured_content=given,
        )


def _tool(operation: AnyOperation) -> types.Tool:
    reads = operation.method == "GET"
    return types.Tool(
        name=operation.name,
        title=operation.summary,
        description=operation.description,
        input_schema=operation.input_schema,
        output_schema=operation.output_schema,
        annotations=types.ToolAnnotations(
            read_only_hint=reads, destructive_hint=operation.destructive and not reads
        ),
    )


def _failed(error: dict[str, str]) -> types.CallToolResult:
    body = {"error": error}
    return types.CallToolResult(
        content=[types.TextContent(type="text", text=json.dumps(body))],
        structured_content=body,
        is_error=True,
    )
