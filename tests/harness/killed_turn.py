"""A turn in a process of its own, to be killed: prints the state whenever it is kept."""

import asyncio
import json
import sys
from contextlib import aclosing
from pathlib import Path

from limpet.harness.base import ModelChoice, ProviderKind, Turn
from limpet.harness.decopilot import Decopilot
from limpet.harness.events import StateKept, ToolStarted
from tests.harness.folder_tools import FolderTools


async def main(
    provider: ProviderKind, name: str, key: str, url: str, folder: str, run: str
) -> None:
    turn = Turn(run, "Go.", "You build web apps.", ModelChoice(provider, name, key, url))
    async with aclosing(Decopilot().run(turn, FolderTools(Path(folder)))) as events:
        async for event in events:
            if isinstance(event, StateKept | ToolStarted):
                print(json.dumps(event.model_dump(mode="json")), flush=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))  # type: ignore[arg-type]
