"""Another MCP server as a toolset, through the official client."""

import asyncio
import re
from collections.abc import Container, Mapping
from contextlib import AsyncExitStack
from typing import Any, Self

from mcp import Client, types
from pydantic_ai.messages import BinaryContent
from pydantic_ai.tools import RunContext, ToolDefinition
from pydantic_ai.toolsets import AbstractToolset, ToolsetTool
from pydantic_core import SchemaValidator, core_schema

from limpet.harness.mcp_connection import connected, tools_of
from limpet.harness.tools import ToolFailedError

_OBJECT = SchemaValidator(core_schema.dict_schema(core_schema.str_schema()))
"""The server itself checks what its tools are given; here it need only be an object."""
_UNUSUAL = re.compile(r"[^A-Za-z0-9_-]")
_LONGEST_NAME = 64
"""What every provider takes as a tool's name; one that it does not take fails the whole request."""
_SHORTEST_MASKED = 8
_MASK = "***"


class McpServer(AbstractToolset[None]):
    """The tools of the server at `url`, each named `<name>_<tool>` so that no two servers clash.

    `headers` go with every request to it, such as its authorization; where the server says their
    values again, they are masked. It is entered once at a time, in at most `greeting_s`.
    """

    def __init__(
        self,
        name: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        timeout_s: float = 60.0,
        greeting_s: float = 15.0,
    ) -> None:
        self._name = name
        self._url = url
        self._headers = dict(headers or {})
        self._timeout_s = timeout_s
        self._greeting_s = greeting_s
        self._masked = _secrets_of(self._headers)
        self._own_names: dict[str, str] = {}
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
            line = connected(self._url, self._headers, timeout_s=self._timeout_s)
            async with asyncio.timeout(self._greeting_s):
                self._client = await stack.enter_async_context(line)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *args: Any) -> None:
        self._client = None
        await self._stack.aclose()

    async def get_tools(self, ctx: RunContext[None]) -> dict[str, ToolsetTool[None]]:  # noqa: ARG002
        """All of its tools, named as every provider takes it."""
        found: dict[str, ToolsetTool[None]] = {}
        async for tool in tools_of(self._connected):
            name = self._shown(tool.name, found)
            self._own_names[name] = tool.name
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
        return found

    def _shown(self, tool: str, taken: Container[str]) -> str:
        plain = _UNUSUAL.sub("_", f"{self._name}_{tool}")
        name, number = plain[:_LONGEST_NAME], 2
        while name in taken:
            ending = f"_{number}"
            name, number = plain[: _LONGEST_NAME - len(ending)] + ending, number + 1
        return name

    async def call_tool(
        self,
        name: str,
        tool_args: dict[str, Any],
        ctx: RunContext[None],  # noqa: ARG002
        tool: ToolsetTool[None],  # noqa: ARG002
    ) -> list[str | BinaryContent]:
        """What the tool gave: its texts, and its pictures. Raises `ToolFailedError`."""
        result = await self._connected.call_tool(self._own_names[name], tool_args)
        given = [self._masking(_given(block)) for block in result.content]
        if result.is_error:
            raise ToolFailedError("\n".join(item for item in given if isinstance(item, str)))
        return given

    def _masking(self, item: str | BinaryContent) -> str | BinaryContent:
        if isinstance(item, str):
            for secret in self._masked:
                item = item.replace(secret, _MASK)
        return item

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


def _secrets_of(headers: Mapping[str, str]) -> list[str]:
    """The values, and what follows a word such as `Bearer` in them, the longest first."""
    parts = {part for value in headers.values() for part in (value, value.rpartition(" ")[2])}
    return sorted((part for part in parts if len(part) >= _SHORTEST_MASKED), key=len, reverse=True)
