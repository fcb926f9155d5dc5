"""A turn in a process of its own, to be killed: prints the state, and the pids of what it runs."""

import asyncio
import json
import sys
from contextlib import aclosing
from pathlib import Path

from limpet.harness.base import ModelChoice, Turn
from limpet.harness.claude_code import ClaudeCode
from limpet.harness.events import StateKept, ToolStarted
from tests.harness.folder_tools import FolderTools, StraightGateway


async def main(name: str, key: str, url: str, folder: str, run: str) -> None:
    turn = Turn(run, "Go.", "You build web apps.", ModelChoice("anthropic", name, key, url))
    tools = FolderTools(Path(folder), models=StraightGateway(url, key))
    async with aclosing(ClaudeCode().run(turn, tools)) as events:
        async for event in events:
            if isinstance(event, StateKept | ToolStarted):
                told = {**event.model_dump(mode="json"), "groups": tools.shells}
                sys.stdout.write(f"{json.dumps(told)}\n")
                sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
