"""Which ports the sandbox's processes listen on: each has a preview of its own.

`GET /previews` looks at once; the state `previews` on the event stream follows by itself while
somebody listens. The daemon's own port is never among them.
"""

import asyncio
import contextlib
import os
from pathlib import Path
from typing import Final

import msgspec
from starlette.requests import Request

from limpet.daemon.context import DaemonContext
from limpet.daemon.routes import Route
from limpet.daemon.setup.ports import listeners_of_descendants

LOOK_S: Final = 2.0
MAX_NAME: Final = 80


class PreviewPort(msgspec.Struct):
    """One port; `process` names the program that listens, `main` is what the preview shows."""

    port: int
    process: str
    main: bool


class Previews(msgspec.Struct):
    """Every port that something in the sandbox listens on, in order."""

    ports: list[PreviewPort]


class PreviewPorts:
    """Looks now and then, for as long as somebody listens to events; `close` ends that."""

    def __init__(self, ctx: DaemonContext) -> None:
        self._ctx = ctx
        self._listened = asyncio.Event()
        ctx.events.on_subscribed = self._listened.set
        self._looking = asyncio.create_task(self._look_now_and_then())

    async def close(self) -> None:
        """Look no more."""
        self._looking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._looking

    async def now(self) -> Previews:
        """The ports as they are; told on the event stream when they are others than before."""
        main = self._ctx.setup.dev_port
        found = await asyncio.to_thread(_ports, main)
        self._ctx.events.set_state("previews", msgspec.to_builtins(found))
        return found

    async def _look_now_and_then(self) -> None:
        self._ctx.events.set_state("previews", {"ports": []})
        while True:
            await self._listened.wait()
            self._listened.clear()
            while self._ctx.events.clients:
                await self.now()
                await asyncio.sleep(LOOK_S)


def _ports(main: int | None) -> Previews:
    listeners = listeners_of_descendants(os.getpid())
    return Previews(
        [
            PreviewPort(port, program_of(pid), port == main)
            for port, pid in sorted(listeners.items())
        ]
    )


def program_of(pid: int) -> str:
    """What a process is called: its program, and the script that it runs; never its arguments."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:  # it ended meanwhile
        return ""
    program = _name(words[0])
    script = _name(words[1]) if len(words) > 1 and not words[1].startswith(b"-") else ""
    return f"{program} {script}".strip()[:MAX_NAME]


def _name(word: bytes) -> str:
    return word.decode(errors="replace").rpartition("/")[2]


async def previews(ctx: DaemonContext, _: object, __: Request) -> Previews:
    """`GET /previews`."""
    return await ctx.previews.now()


def routes(_: DaemonContext) -> list[Route]:
    """The one route."""
    return [
        Route(
            ("GET",),
            "/previews",
            previews,
            output=Previews,
            activity=False,
            summary="The ports that have a preview",
        )
    ]
