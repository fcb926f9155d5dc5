"""Another MCP server as a toolset, through the official client."""

from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import Any, Self

import httpx2
from mcp import Client, types
from mcp.client.streamable_http import streamable_http_client
from pydantic_ai.messages import BinaryContent
from pydantic_ai.tools import RunContext, ToolDefinition
from pydantic_ai.toolsets import AbstractToolset, ToolsetTool
from pydantic_core import SchemaValidator, core_schema

from limpet.harness.tools import ToolFailedError

_OBJECT = SchemaValidator(core_schema.dict_schema(core_schema.str_schema()))
"""The server itself checks what its tools are given; here it need only be an object."""
_MOST_PAGES = 20


class McpServer(AbstractToolset[None]):
    """The tools of the server at `url`, each named `<name>_<tool>` so that no two servers clash.

    `headers` go with every request to it, such as its authorization. Entered once at a time.
    """

    def __init__(
        self,
        name: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        timeout_s: float = 60.0,
    ) -> None:
        self._name = name
        self._url = url
        self._headers = dict(headers or {})
        self._timeout_s = timeout_s
        self._stack = AsyncExitStack()
        self._client: Client | None = None

    @property
    def id(self) -> str:
        """The name that its tools begin with."""
        return self._name

    @property
    def label(self) -> str:
        """For people."""
        return f"The MCP server {self._name}"

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            timeout = httpx2.Timeout(self._timeout_s)
            http = await stack.enter_async_context(
                httpx2.AsyncClient(headers=self._headers, timeout=timeout, trust_env=False)
            )
            transport = streamable_http_client(self._url, http_client=http)
            client = Client(transport, read_timeout_seconds=self._timeout_s)
            self._client = await stack.enter_async_context(client)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *args: Any) -> None:
        self._client = None
        await self._stack.aclose()

    async def get_tools(self, ctx: RunContext[None]) -> dict[str, ToolsetTool[None]]:  # noqa: ARG002
        """All of its tools, page by page."""
        found: dict[str, ToolsetTool[None]] = {}
        cursor = None
        for _ in range(_MOST_PAGES):
            page = await self._connected.list_tools(cursor=cursor)
            for tool in page.tools:
                name = f"{self._name}_{tool.name}"
                found[name] = ToolsetTool(
                    toolset=self,
                    tool_def=ToolDefinition(
                        name=name,
                        description=tool.description or tool.title,
                        parameters_json_schema=tool.input_schema,
                    ),
                    max_retries=0,
                    args_validator=_OBJECT,
                )
            cursor = page.next_cursor
            if cursor is None:
                break
        return found

    async def call_tool(
        self,
        name: str,
        tool_args: dict[str, Any],
        ctx: RunContext[None],  # noqa: ARG002
        tool: ToolsetTool[None],  # noqa: ARG002
    ) -> list[str | BinaryContent]:
        """What the tool gave: its texts, and its pictures. Raises `ToolFailedError`."""
        result = await self._connected.call_tool(name.removeprefix(f"{self._name}_"), tool_args)
        given = [_given(block) for block in result.content]
        if result.is_error:
            raise ToolFailedError("\n".join(item for item in given if isinstance(item, str)))
        return given

    @property
    def _connected(self) -> Client:
        if self._client is None:
            raise RuntimeError("the MCP server is not entered")
        return self._client


def _given(block: types.ContentBlock) -> str | BinaryContent:
    match block:
        case types.TextContent(text=text):
            return text
        case types.ImageContent(data=data, mime_type=media_type):
            return BinaryContent.from_data_uri(f"data:{media_type};base64,{data}")
        case _:
            return f"[{block.type} that cannot be shown here]"
