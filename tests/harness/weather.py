"""An MCP server over loopback HTTP: the weather, and some tools that behave oddly."""

import asyncio
import base64
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from mcp import types
from mcp.server import Server, ServerRequestContext
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from starlette.types import Receive, Scope, Send

from tests.harness.test_streaming import PNG

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}


NAMES = ("weather", "fails", "picture", "much", "headers")


@dataclass
class Weather:
    """Where it is, and the headers of each request that it took."""

    url: str
    asked: list[dict[str, str]] = field(default_factory=list)


async def call_tool(
    context: ServerRequestContext[Any], params: types.CallToolRequestParams
) -> types.CallToolResult:
    picture = types.ImageContent(data=base64.b64encode(PNG).decode(), mime_type="image/png")
    blocks: dict[str, list[types.ContentBlock]] = {
        "weather": [types.TextContent(text=f"Rain in {(params.arguments or {})['city']}.")],
        "fails": [types.TextContent(text="The weather service is down.")],
        "picture": [types.TextContent(text="A map."), picture],
        "much": [types.TextContent(text="x" * 500_000)],
        "headers": [
            types.TextContent(
                text=f"You sent {(sent := _authorization(context))}, which ends with "
                f"{sent.partition(' ')[2]}."
            )
        ],
    }
    other: list[types.ContentBlock] = [
        types.TextContent(text=f"{params.name} of {(params.arguments or {})['city']}")
    ]
    return types.CallToolResult(
        content=blocks.get(params.name, other), is_error=params.name == "fails"
    )


def _authorization(context: ServerRequestContext[Any]) -> str:
    return str(context.request.headers["authorization"]) if context.request else ""


@asynccontextmanager
async def weather_server(token: str | None, *names: str) -> AsyncIterator[Weather]:
    """A server that wants the token, if there is one, and has tools of these names, or `NAMES`."""
    tools = [types.Tool(name=name, input_schema=SCHEMA) for name in names or NAMES]

    async def list_tools(_context: Any, _params: Any) -> types.ListToolsResult:
        return types.ListToolsResult(tools=tools)

    manager = StreamableHTTPSessionManager(
        Server("weather", on_list_tools=list_tools, on_call_tool=call_tool), stateless=True
    )

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        headers = {name.decode(): value.decode() for name, value in scope.get("headers", [])}
        weather.asked.append(headers)
        if token is not None and headers.get("authorization") != f"Bearer {token}":
            await send({"type": "http.response.start", "status": 401, "headers": []})
            await send({"type": "http.response.body", "body": b""})
            return
        await manager.handle_request(scope, receive, send)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        weather = Weather(f"http://127.0.0.1:{listening.getsockname()[1]}/mcp")
        server = uvicorn.Server(uvicorn.Config(app, lifespan="off", log_level="error", workers=1))
        async with manager.run():
            serving = asyncio.create_task(server.serve(sockets=[listening]))
            try:
                yield weather
            finally:
                server.should_exit = True
                await serving
