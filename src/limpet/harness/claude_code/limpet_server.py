"""What the CLI's own tools cannot do: an MCP server in our process, reached by the CLI's pipe."""

import asyncio
import base64
from typing import Any, Final

from claude_agent_sdk import McpSdkServerConfig, SdkMcpTool, create_sdk_mcp_server
from pydantic import ValidationError

from limpet.harness.bounds import cut
from limpet.harness.claude_code.command import SERVER
from limpet.harness.toolbox import BY_NAME, Tool
from limpet.harness.tools import SandboxTools, ToolFailedError

NAMES: Final = ("preview", "start_task", "task_log", "stop_task", "save", "roll_back")


class LimpetServer:
    """The server of one turn.

    A roll-back brings the whole workspace back and ends all that runs in it, the CLI that asked
    for it included: it is a task of this object's, that lives on. `rolling_back` is that task.
    """

    def __init__(self, tools: SandboxTools) -> None:
        self._tools = tools
        self.rolling_back: asyncio.Task[str] | None = None

    @property
    def config(self) -> McpSdkServerConfig:
        """What the SDK takes."""
        offered = [self._offered(BY_NAME[name]) for name in NAMES]
        return create_sdk_mcp_server(SERVER, tools=offered)

    def _offered(self, tool: Tool[Any]) -> SdkMcpTool[Any]:
        async def handler(given: dict[str, Any]) -> dict[str, Any]:
            return await self._call(tool, given)

        return SdkMcpTool(tool.name, tool.says, tool.takes.model_json_schema(), handler)

    async def _call(self, tool: Tool[Any], given: dict[str, Any]) -> dict[str, Any]:
        try:
            arguments = tool.takes.model_validate(given)
            if tool.name == "roll_back":
                return _answer(await self._roll_back(arguments.snapshot))
            outcome = await tool.do(arguments, self._tools, _unheard)
        except ValidationError as error:
            wrong = error.errors(include_url=False, include_input=False)[:10]
            said = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in wrong)
            return _answer(f"The arguments do not fit. {said}.", ok=False)
        except ToolFailedError as error:
            return _answer(str(error), ok=False)
        return _answer(outcome.output, ok=outcome.ok, png=outcome.png)

    async def _roll_back(self, snapshot: str) -> str:
        if self.rolling_back is not None and not self.rolling_back.done():
            raise ToolFailedError("A roll-back goes on.")
        self.rolling_back = asyncio.create_task(self._tools.roll_back(snapshot))
        return await asyncio.shield(self.rolling_back)

    async def rolled_back(self) -> str | None:
        """Wait for a roll-back that was begun: words about it; None where there was none.

        A failed one counts as none: the CLI lives, and was told.
        """
        if self.rolling_back is None:
            return None
        try:
            return await asyncio.shield(self.rolling_back)
        except ToolFailedError:
            return None

    async def settle(self) -> None:
        """Wait for the end of whatever still goes on: half a roll-back is none."""
        if self.rolling_back is not None:
            await asyncio.wait([self.rolling_back])


async def _unheard(_text: str) -> None:
    """None of these tools prints while it works."""


def _answer(text: str, *, ok: bool = True, png: bytes | None = None) -> dict[str, Any]:
    content: list[dict[str, str]] = [{"type": "text", "text": cut(text)}]
    if png is not None:
        picture = base64.b64encode(png).decode()
        content.append({"type": "image", "data": picture, "mimeType": "image/png"})
    return {"content": content, "is_error": not ok}
