"""The same operations through the official client."""

import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from limpet.control.operations.catalog import OPERATIONS
from tests.control.live_app import LiveApp

pytestmark = pytest.mark.anyio


@contextlib.asynccontextmanager
async def connected(live: LiveApp, mode: str) -> AsyncIterator[Client]:
    headers = {"Authorization": f"Bearer {live.key}"}
    async with httpx2.AsyncClient(headers=headers) as http:
        transport = streamable_http_client(f"{live.url}/mcp", http_client=http)
        async with Client(transport, mode=mode) as client:
            yield client


@pytest.mark.parametrize("mode", ["legacy", "auto"])
async def test_every_operation_is_a_tool_with_its_schemas(live: LiveApp, mode: str) -> None:
    async with connected(live, mode) as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
    assert set(tools) == {operation.name for operation in OPERATIONS}
    start = tools["VM_START"]
    assert start.input_schema["required"] == ["virtualMcpId"]
    assert set((start.output_schema or {})["properties"]) >= {
        "previewUrl", "vmId", "branch", "isNewVm", "runnerKind",
    }  # fmt: skip
    assert tools["AGENT_LIST"].annotations
    assert tools["AGENT_LIST"].annotations.read_only_hint
    assert tools["AGENT_DELETE"].annotations
    assert tools["AGENT_DELETE"].annotations.destructive_hint


@pytest.mark.parametrize("mode", ["legacy", "auto"])
async def test_a_tool_and_a_route_do_and_say_the_same(live: LiveApp, mode: str) -> None:
    async with connected(live, mode) as client:
        made = await client.call_tool("AGENT_CREATE", {"template": "webapp", "title": "By tool"})
        assert not made.is_error
        agent: Any = made.structured_content
        assert json.loads(made.content[0].text) == agent  # type: ignore[union-attr]
        assert await live.api("GET", f"/agents/{agent['id']}") == (200, agent)
        changed = await client.call_tool("AGENT_UPDATE", {"agent_id": agent["id"], "title": "New"})
        assert (await live.api("GET", f"/agents/{agent['id']}"))[1] == changed.structured_content
        listed = await client.call_tool("AGENT_LIST", {})
        assert listed.structured_content == (await live.api("GET", "/agents"))[1]


@pytest.mark.parametrize(
    ("tool", "arguments", "method", "path", "body"),
    [
        ("AGENT_GET", {"agent_id": "agt_x"}, "GET", "/agents/agt_x", None),
        ("AGENT_CREATE", {"clone_url": "ext::x"}, "POST", "/agents", {"clone_url": "ext::x"}),
        ("AGENT_CREATE", {"tittle": "x"}, "POST", "/agents", {"tittle": "x"}),
        ("VM_START", {}, "POST", "/vm/start", {}),
        ("VM_START", {"virtualMcpId": "x"}, "POST", "/vm/start", {"virtualMcpId": "x"}),
        (
            "VM_DELETE",
            {"virtualMcpId": "x", "branch": "a..b"},
            "POST",
            "/vm/delete",
            {"virtualMcpId": "x", "branch": "a..b"},
        ),
        ("SANDBOX_GET", {"handle": "s-0123"}, "GET", "/sandboxes/s-0123", None),
    ],
)
async def test_a_tool_fails_with_the_routes_error(
    live: LiveApp, tool: str, arguments: dict[str, Any], method: str, path: str, body: Any
) -> None:
    async with connected(live, "auto") as client:
        failed = await client.call_tool(tool, arguments)
    status, answer = await live.api(method, path, body)
    assert failed.is_error
    assert status in {400, 404}
    assert failed.structured_content == answer


async def test_without_a_key_the_endpoint_is_shut(live: LiveApp) -> None:
    message = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
    accept = {"Accept": "application/json, text/event-stream"}
    status, _, answer = await live.raw("POST", "/mcp", json=message, headers=accept)
    assert (status, answer["error"]["code"]) == (401, "unauthorized")
