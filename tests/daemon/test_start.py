"""What the daemon loads before it answers: its start is waited for by everybody."""

import subprocess
import sys

LATE = (
    "aiohttp",
    "limpet.daemon.gateway",
    "limpet.daemon.pipes",
    "limpet.daemon.preview",
    "limpet.daemon.restore",
    "limpet.daemon.save",
    "limpet.snapshots.delta",
    "limpet.snapshots.judge",
    "limpet.snapshots.statcache",
    "limpet.snapshots.swap",
    "websockets",
)


def test_the_start_loads_neither_the_engine_nor_the_http_client() -> None:
    told = f"""
import asyncio, sys
from limpet.daemon.main import Server
async def app(scope, receive, send): pass
async def start(): Server(app).config.load()
asyncio.run(start())
print([m for m in {LATE!r} if m in sys.modules])
"""
    ran = subprocess.run(
        [sys.executable, "-c", told], capture_output=True, text=True, check=True, timeout=60
    )
    assert ran.stdout == "[]\n"
