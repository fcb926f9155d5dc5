"""Other MCP servers' tools beside the sandbox's: a real server over loopback HTTP."""

import asyncio
import base64
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from mcp import types
from mcp.server import Server, ServerRequestContext
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from pydantic_ai.toolsets import FunctionToolset
from starlette.types import Receive, Scope, Send

from limpet.harness.base import ProviderKind
from limpet.harness.decopilot.mcp_server import McpServer
from limpet.harness.events import Notice, ToolFinished, ToolStarted
from tests.harness.driving import PROTOCOLS, replies, staged
from tests.harness.test_streaming import PNG

pytestmark = pytest.mark.anyio
DONE = {"text": "Done."}
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}


async def list_tools(_context: Any, _params: Any) -> types.ListToolsResult:
    names = ["weather", "fails", "picture", "much"]
    return types.ListToolsResult(tools=[types.Tool(name=n, input_schema=SCHEMA) for n in names])


async def call_tool(
    _context: ServerRequestContext[Any], params: types.CallToolRequestParams
) -> types.CallToolResult:
    picture = types.ImageContent(data=base64.b64encode(PNG).decode(), mime_type="image/png")
    blocks: dict[str, list[types.ContentBlock]] = {
        "weather": [types.TextContent(text=f"Rain in {(params.arguments or {})['city']}.")],
        "fails": [types.TextContent(text="The weather service is down.")],
        "picture": [types.TextContent(text="A map."), picture],
        "much": [types.TextContent(text="x" * 500_000)],
    }
    return types.CallToolResult(content=blocks[params.name], is_error=params.name == "fails")


@asynccontextmanager
async def weather_server(token: str) -> AsyncIterator[str]:
    manager = StreamableHTTPSessionManager(
        Server("weather", on_list_tools=list_tools, on_call_tool=call_tool), stateless=True
    )

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        headers = dict(scope.get("headers", []))
        if headers.get(b"authorization") != f"Bearer {token}".encode():
            await send({"type": "http.response.start", "status": 401, "headers": []})
            await send({"type": "http.response.body", "body": b""})
            return
        await manager.handle_request(scope, receive, send)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = uvicorn.Server(uvicorn.Config(app, lifespan="off", log_level="error", workers=1))
        async with manager.run():
            serving = asyncio.create_task(server.serve(sockets=[listening]))
            try:
                yield f"http://127.0.0.1:{listening.getsockname()[1]}/mcp"
            finally:
                server.should_exit = True
                await serving


def call(tool: str, **given: object) -> dict[str, Any]:
    return {"calls": [{"tool": tool, "input": given}]}


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_another_servers_tools_are_called_beside_the_sandboxs(
    protocol: ProviderKind, tmp_path: Path
) -> None:
    script = replies(
        call("weather_weather", city="Lisbon"),
        call("weather_fails", city="Lisbon"),
        call("weather_picture", city="Lisbon"),
        call("weather_much", city="Lisbon"),
        call("glob", pattern="*"),
        DONE,
    )
    async with weather_server("its-token") as url:
        server = McpServer("weather", url, headers={"Authorization": "Bearer its-token"})
        async with staged(protocol, tmp_path, script, toolsets=[server]) as stage:
            took = await stage.take()
            took_again = await stage.take(state=took.state) if stage.models.replies else took
            asked = stage.models.asked
    finished = took_again.of(ToolFinished)
    assert [event.ok for event in finished] == [True, False, True, True, True]
    assert [event.output for event in finished[:3]] == [
        "Rain in Lisbon.",
        "The weather service is down.",
        "A map.",
    ]
    assert len(finished[3].output) < 40_000
    assert took.of(ToolStarted)[0].input == {"city": "Lisbon"}
    assert asked[3].pictures(base64.b64encode(PNG).decode()) == 1
    assert not any("its-token" in one.text for one in asked)


async def test_a_server_that_cannot_be_entered_is_said_and_the_turn_goes_on(tmp_path: Path) -> None:
    async with weather_server("its-token") as url:
        wrong = McpServer("weather", url, headers={"Authorization": "Bearer wrong-token"})
        away = McpServer("away", "http://127.0.0.1:1/mcp")
        async with staged("anthropic", tmp_path, replies(DONE), toolsets=[wrong, away]) as stage:
            took = await stage.take()
    assert took.answer == "Done."
    told = [event.text for event in took.of(Notice)]
    assert [("cannot be used" in text, "token" in text) for text in told] == [(True, False)] * 2


async def test_a_tool_that_has_a_name_of_ours_is_left_out(tmp_path: Path) -> None:
    def read(path: str) -> str:
        """Read."""
        return "the other one"

    toolset = FunctionToolset([read])
    script = replies(call("read", path="a.txt"), DONE)
    async with staged("openai", tmp_path, script, toolsets=[toolset]) as stage:
        (tmp_path / "a.txt").write_text("ours")
        took = await stage.take()
    assert "the name is taken" in took.of(Notice)[0].text
    assert "ours" in took.of(ToolFinished)[0].output
