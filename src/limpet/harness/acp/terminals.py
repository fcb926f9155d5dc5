"""Commands that an agent has us run: begun, looked at, waited for, ended, let go of."""

import asyncio
import codecs
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

from limpet.errors import LimpetError
from limpet.harness.acp.files import Files
from limpet.harness.tools import SandboxTools, ToolFailedError

Heard = Callable[[str, str], Awaitable[None]]
"""A terminal's id, and a piece of what it prints."""

MAX_TERMINALS: Final = 32
MAX_OUTPUT_BYTES: Final = 1024 * 1024
_IN_FOLDER: Final = 'cd -- "$1" && shift && exec "$@" 2>&1'
_SHELL_LINE: Final = 'cd -- "$1" && eval "$2" 2>&1'


@dataclass
class Terminal:
    """One command. `code` is None while it runs, and after it was killed."""

    limit: int
    output: bytearray = field(default_factory=bytearray)
    truncated: bool = False
    code: int | None = None
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    task: "asyncio.Task[None] | None" = None

    @property
    def text(self) -> str:
        """The last of what it printed, as much as was asked for."""
        return self.output.decode(errors="replace")

    def add(self, text: str) -> None:
        self.output += text.encode(errors="replace")
        if len(self.output) > self.limit:
            self.truncated = True
            begin = len(self.output) - self.limit
            while begin < len(self.output) and self.output[begin] & 0xC0 == 0x80:
                begin += 1  # the middle of a character
            del self.output[:begin]


class Terminals:
    """The terminals of one turn; all of them end with the block of `open_terminals`."""

    def __init__(self, tools: SandboxTools, files: Files, repo: str, heard: Heard) -> None:
        self._tools, self._files, self._repo, self._heard = tools, files, repo, heard
        self._open: dict[str, Terminal] = {}
        self._begun = 0

    async def create(
        self,
        command: str,
        args: Sequence[str],
        env: Mapping[str, str],
        cwd: str | None,
        limit: int | None,
    ) -> str:
        """Begin a command; its terminal's id. Without arguments it is a line for a shell."""
        if len(self._open) >= MAX_TERMINALS:
            raise ToolFailedError(f"{MAX_TERMINALS} terminals are open already: release some")
        folder = "."
        if cwd is not None and cwd.rstrip("/") != self._repo:
            folder = f"./{self._files.relative(cwd)}"
        argv = (
            ["sh", "-c", _IN_FOLDER, "sh", folder, command, *args]
            if args
            else ["sh", "-c", _SHELL_LINE, "sh", folder, command]
        )
        self._begun += 1
        name = f"term-{self._begun}"
        terminal = Terminal(MAX_OUTPUT_BYTES if limit is None else min(limit, MAX_OUTPUT_BYTES))
        self._open[name] = terminal
        terminal.task = asyncio.create_task(self._run(name, terminal, argv, env))
        return name

    async def _run(
        self, name: str, terminal: Terminal, argv: Sequence[str], env: Mapping[str, str]
    ) -> None:
        decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        try:
            async with self._tools.process(argv, env=env) as process:
                await process.end_input()
                async for piece in process.output():
                    if text := decoder.decode(piece):
                        terminal.add(text)
                        await self._heard(name, text)
                terminal.code = await process.wait()
        except (ToolFailedError, LimpetError) as error:
            terminal.add(f"{error}\n")
            terminal.code = 127
        finally:
            terminal.ended.set()

    def get(self, name: str) -> Terminal:
        """An open terminal; `ToolFailedError` without."""
        terminal = self._open.get(name)
        if terminal is None:
            raise ToolFailedError(f"There is no terminal {name[:80]!r}")
        return terminal

    async def kill(self, name: str) -> None:
        """End its command, and all that this began; what it printed stays."""
        await _ended(self.get(name))

    async def release(self, name: str) -> None:
        """End it and forget it."""
        await _ended(self.get(name))
        self._open.pop(name, None)

    async def close(self) -> None:
        """End all of them."""
        for terminal in self._open.values():
            if terminal.task is not None:
                terminal.task.cancel()
        tasks = [one.task for one in self._open.values() if one.task is not None]
        await asyncio.gather(*tasks, return_exceptions=True)


@asynccontextmanager
async def open_terminals(
    tools: SandboxTools, files: Files, repo: str, heard: Heard
) -> AsyncIterator[Terminals]:
    """Terminals for the length of the block."""
    terminals = Terminals(tools, files, repo, heard)
    try:
        yield terminals
    finally:
        await terminals.close()


async def _ended(terminal: Terminal) -> None:
    if terminal.task is not None:
        terminal.task.cancel()
        await asyncio.wait([terminal.task])
