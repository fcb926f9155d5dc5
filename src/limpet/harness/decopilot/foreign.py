"""Other MCP servers' tools, beside the sandbox's."""

from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

import pydantic_core
from pydantic import JsonValue, ValidationError
from pydantic_ai.exceptions import ModelRetry, ToolFailed
from pydantic_ai.messages import BinaryContent
from pydantic_ai.models import Model
from pydantic_ai.tools import RunContext, ToolDefinition
from pydantic_ai.toolsets import AbstractToolset, ToolsetTool
from pydantic_ai.usage import RunUsage

from limpet.harness.base import ToolServer
from limpet.harness.toolbox import Outcome
from limpet.harness.tools import ToolFailedError


class ForeignTools:
    """The tools of the toolsets that could be entered."""

    def __init__(self, context: RunContext[None]) -> None:
        self._context = context
        self._tools: dict[str, ToolsetTool[None]] = {}
        self.left_out: list[str] = []
        """What could not be had, in words for people."""

    @property
    def definitions(self) -> list[ToolDefinition]:
        """In an order that stays, so that a cached prompt does."""
        return [self._tools[name].tool_def for name in sorted(self._tools)]

    def __contains__(self, name: str) -> bool:
        return name in self._tools

    async def add(self, toolset: AbstractToolset[None], taken: Collection[str]) -> None:
        """Take up a toolset's tools, but for those whose names are taken."""
        for name, tool in (await toolset.get_tools(self._context)).items():
            if name in taken or name in self._tools:
                self.left_out.append(f"The tool {name} of {toolset.label}: the name is taken.")
            else:
                self._tools[name] = tool

    async def call(self, name: str, arguments: dict[str, JsonValue]) -> Outcome:
        """Call one. Whatever goes wrong over there is a `ToolFailedError`, not our failure."""
        tool = self._tools[name]
        try:
            checked = tool.args_validator.validate_python(arguments)
            result = await tool.toolset.call_tool(name, checked, self._context, tool)
        except ValidationError as error:
            raise ToolFailedError(f"The arguments do not fit: {error}") from error
        except ToolFailedError:
            raise
        except (ModelRetry, ToolFailed) as error:
            raise ToolFailedError(error.message) from error
        except Exception as error:
            # Its words may hold an address with a secret in it.
            raise ToolFailedError(
                f"{tool.toolset.label} failed ({type(error).__name__})."
            ) from error
        return _outcome(result)


def _outcome(result: object) -> Outcome:
    items = result if isinstance(result, list) else [result]
    pictures = [item for item in items if isinstance(item, BinaryContent)]
    rest = [item for item in items if not isinstance(item, BinaryContent)]
    words = "\n".join(
        item if isinstance(item, str) else pydantic_core.to_json(item, fallback=str).decode()
        for item in rest
    )
    png = next((item.data for item in pictures if item.media_type == "image/png"), None)
    if pictures and png is None:
        words += "\n[It gave a file that cannot be shown here.]"
    return Outcome(words or "[It gave nothing.]", png=png)


def toolsets_of(servers: Sequence[ToolServer]) -> list[AbstractToolset[None]]:
    """A toolset of each server. The MCP client is loaded only where there is a server."""
    if not servers:
        return []
    from limpet.harness.decopilot.mcp_server import McpServer

    return [McpServer(one.name, one.url, headers=one.headers) for one in servers]


@asynccontextmanager
async def foreign_tools(
    toolsets: Sequence[AbstractToolset[None]], model: Model, taken: Collection[str]
) -> AsyncIterator[ForeignTools]:
    """The toolsets' tools, entered. One that cannot be entered is left out, and said."""
    tools = ForeignTools(RunContext(deps=None, model=model, usage=RunUsage()))
    async with AsyncExitStack() as stack:
        for toolset in toolsets:
            try:
                await stack.enter_async_context(toolset)
                await tools.add(toolset, taken)
            except Exception:  # noqa: BLE001 - a server that is away ends no run
                tools.left_out.append(f"{toolset.label} cannot be used: it is away, or refuses.")
        yield tools
