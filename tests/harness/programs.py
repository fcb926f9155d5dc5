"""Harnesses' programs for tests: installed once for all checkouts of a machine, by one process."""

import asyncio
import fcntl
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from limpet.control.threads.npm_programs import NpmPrograms
from limpet.harness.tools import NpmProgram

FOLDER = Path(os.environ.get("LIMPET_TEST_SERVERS") or "~/.cache/limpet-test-servers").expanduser()


async def installed(program: NpmProgram, tell: Callable[[str], Awaitable[None]]) -> str:
    """The program's path; whoever comes second waits for whoever came first."""
    async with _alone(FOLDER):
        path = await NpmPrograms(FOLDER).install(program, tell)
    return str(FOLDER / path)


@asynccontextmanager
async def _alone(folder: Path) -> AsyncIterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "harness-programs.lock").open("w") as lock:
        await asyncio.to_thread(fcntl.flock, lock, fcntl.LOCK_EX)
        yield
