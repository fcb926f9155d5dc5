"""A control plane for the browser's tests, whose model does as it is told; says where it is."""

import asyncio
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from limpet.control.system import sign_in_url
from limpet.control.threads.harnesses import HARNESSES
from tests.control.live_app import live_app
from tests.control.threads.scripted import Scripted


async def main(data_dir: str, templates_dir: str) -> None:
    async with live_app(
        Path(data_dir),
        harnesses={**HARNESSES, "decopilot": Scripted()},
        isolation="none",
        templates_dir=Path(templates_dir),
        template_builds=False,
    ) as app:
        told = {"url": app.url, "key": app.key, "sign_in_url": sign_in_url(app.limpet.services)}
        sys.stdout.write(json.dumps(told) + "\n")
        sys.stdout.flush()
        await asyncio.Event().wait()


asyncio.run(main(*sys.argv[1:]))
