"""A control plane to be killed: ensures one sandbox, prints what it got, and waits."""

import asyncio
import json
import os
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent.parent))

from limpet.runners.base import EnsureOptions
from tests.runners.engine import given_engine
from tests.runners.places import nothing, place_of
from tests.runners.support import SANDBOX


def die(*_args: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


async def main(data_dir: str, mode: str, die_at: str) -> None:
    place = place_of(mode, Path(data_dir), given_engine())
    if die_at == "spawned":
        place.die_when_spawned(die)
    runner = await place.runner(before_put=die if die_at == "before-state" else nothing)
    found = await runner.ensure(SANDBOX, EnsureOptions())
    sys.stdout.write(json.dumps([found.daemon_url, found.daemon_token, found.boot_id]) + "\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


asyncio.run(main(*sys.argv[1:]))
