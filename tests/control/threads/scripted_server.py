"""A control plane to be killed: serves with the scripted harness, says where, and waits."""

import asyncio
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3]))

from tests.control.live_app import live_app
from tests.control.threads.scripted import Scripted


async def main(data_dir: str) -> None:
    async with live_app(
        Path(data_dir), harnesses={"decopilot": Scripted()}, isolation="none"
    ) as app:
        sys.stdout.write(json.dumps([app.url, app.key]) + "\n")
        sys.stdout.flush()
        await asyncio.Event().wait()


asyncio.run(main(*sys.argv[1:]))
