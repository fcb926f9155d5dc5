"""A harness whose model is the message itself: each line of it is something to do.

say TEXT            a piece of the answer
think TEXT
read PATH, write PATH TEXT, bash COMMAND, preview PATH, save NAME, back SNAPSHOT
wait GATE           until the test opens the gate, or the turn is cancelled
keep                the state as it is, to go on from: the lines done so far
cost USD            what was spent so far
break               an error that nobody foresaw
refuse WORDS        a model that says no
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from limpet.harness.base import HarnessName, ModelError, Turn
from limpet.harness.events import (
    HarnessEvent,
    StateKept,
    Text,
    Thinking,
    ToolFinished,
    ToolInput,
    ToolOutput,
    ToolStarted,
    Usage,
)
from limpet.harness.tools import Said, SandboxTools, ToolFailedError


@dataclass
class Scripted:
    """One harness for all runs of a test. `turns` are those that it was given."""

    turns: list[Turn] = field(default_factory=list)
    name: HarnessName = "decopilot"

    def __post_init__(self) -> None:
        self._gates: dict[str, tuple[asyncio.Event, asyncio.Event]] = {}
        self.cancelled: list[str] = []

    def __call__(self) -> "Scripted":
        return self

    def _gate(self, name: str) -> tuple[asyncio.Event, asyncio.Event]:
        return self._gates.setdefault(name, (asyncio.Event(), asyncio.Event()))

    async def reached(self, gate: str) -> None:
        """Wait until a run stands at the gate."""
        await asyncio.wait_for(self._gate(gate)[0].wait(), 60)

    def open(self, gate: str) -> None:
        """Let runs through."""
        self._gate(gate)[1].set()

    async def run(self, turn: Turn, tools: SandboxTools) -> AsyncIterator[HarnessEvent]:
        self.turns.append(turn)
        lines = turn.prompt.splitlines()
        done = list(turn.state["lines"]) if isinstance(turn.state, dict) else []
        begin = turn.state["at"] if turn.resumes and isinstance(turn.state, dict) else 0
        for number, line in enumerate(lines[begin:], start=begin):
            verb, _, rest = line.partition(" ")
            if verb == "say":
                yield Text(part=f"{turn.run}-text", delta=rest)
            elif verb == "think":
                yield Thinking(part=f"{turn.run}-thought", delta=rest)
            elif verb == "draft":
                yield ToolInput(call=f"{turn.run}-draft", name="write", delta=rest)
            elif verb == "wait":
                arrived, opened = self._gate(rest)
                arrived.set()
                try:
                    await opened.wait()
                except asyncio.CancelledError:
                    self.cancelled.append(rest)
                    raise
            elif verb == "keep":
                yield StateKept(state={"lines": [*done, *lines[: number + 1]], "at": number + 1})
            elif verb == "cost":
                yield Usage(requests=number, input_tokens=10, output_tokens=2, cost_usd=float(rest))
            elif verb == "break":
                raise RuntimeError("nobody foresaw this")
            elif verb == "refuse":
                raise ModelError(rest)
            elif verb in {"read", "write", "bash", "preview", "save", "back", "task", "git"}:
                async for event in self._tool(f"{turn.run}-{number}", verb, rest, tools):
                    yield event
        yield StateKept(state={"lines": [*done, *lines], "at": len(lines)})

    async def _tool(
        self, call: str, verb: str, rest: str, tools: SandboxTools
    ) -> AsyncIterator[HarnessEvent]:
        yield ToolStarted(call=call, name=verb, input={"rest": rest}, title=f"{verb} {rest}")
        output, diff, ok = "", None, True
        try:
            if verb == "bash":
                async for told in tools.bash(rest):
                    if isinstance(told, Said):
                        yield ToolOutput(call=call, delta=told.text)
                    else:
                        output, ok = told.output, told.code == 0
            elif verb == "write":
                path, _, content = rest.partition(" ")
                diff = (await tools.write(path, content + "\n")).diff
            else:
                output = await _asked(verb, rest, tools)
        except ToolFailedError as error:
            output, ok = str(error), False
        yield ToolFinished(call=call, ok=ok, output=output, diff=diff)


async def _asked(verb: str, rest: str, tools: SandboxTools) -> str:
    answers: dict[str, Any] = {
        "read": lambda: tools.read(rest),
        "save": lambda: tools.save(rest),
        "back": lambda: tools.roll_back(rest),
        "task": lambda: tools.start_task(rest),
        "git": lambda: tools.git(rest.split()),
        "preview": lambda: tools.preview(path=rest),
    }
    return str(await answers[verb]())
