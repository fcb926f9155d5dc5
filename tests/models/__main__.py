"""`python -m tests.models SCENARIO`: serve a scenario on loopback until interrupted."""

import asyncio
import sys

from tests.models.scenario import load, names
from tests.models.server import KEY, PROTOCOLS, scripted


async def serve(name: str) -> None:
    """Print where it listens and with which key, and answer."""
    async with scripted(load(name).replies) as models:
        paths = ", ".join(protocol.path for protocol in PROTOCOLS)
        print(f"{models.url} speaks {paths}; key {KEY}", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1] not in names():
        sys.exit(f"usage: python -m tests.models {{{','.join(names())}}}")
    try:
        asyncio.run(serve(sys.argv[1]))
    except KeyboardInterrupt:
        sys.exit(130)
