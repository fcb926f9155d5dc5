"""Turns with the scripted agent, or another one, on this machine."""

import json
import sys
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from limpet.harness.acp import AcpAgent, Waits
from limpet.harness.base import ModelChoice, Turn
from tests.harness.driving import Took
from tests.harness.folder_tools import FolderTools

AGENT = Path(__file__).with_name("agent.py")
QUICK = Waits(start_s=20.0, session_s=20.0, settle_s=0.0, end_s=1.0)
HASTY = replace(QUICK, end_s=0.2)
"""For agents that do not end by themselves."""


@dataclass
class Stand:
    """A repository, a home, and the harness. `how` are the scripted agent's arguments."""

    folder: Path
    how: Sequence[str] = ()
    waits: Waits = QUICK
    tools: FolderTools = field(init=False)
    took: Took = field(init=False, default_factory=Took)
    turns: int = 0

    def __post_init__(self) -> None:
        repo = self.folder / "repo"
        repo.mkdir(exist_ok=True)
        self.tools = FolderTools(repo)

    @property
    def repo(self) -> Path:
        return self.tools.folder

    @property
    def home(self) -> Path:
        return self.folder / "home"

    def turn(self, *lines: str, **given: Any) -> Turn:
        self.turns += 1
        command = given.pop("command", [sys.executable, str(AGENT), *self.how])
        given = {"instructions": "", "model": None, **given}
        return Turn(run=f"run-{self.turns}", prompt="\n".join(lines), command=command, **given)

    async def take(self, *lines: str, **given: Any) -> Took:
        """A whole turn; what came before an exception is in `took`."""
        self.took = took = Took()
        async with aclosing(
            AcpAgent(waits=self.waits).run(self.turn(*lines, **given), self.tools)
        ) as events:
            async for event in events:
                took.events.append(event)
        return took

    def noted(self, name: str) -> list[Any]:
        """What the agent has written down."""
        file = self.home / name
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    def asked(self, method: str) -> list[Any]:
        """The requests of a method that the agent got."""
        return [one for one in self.noted("asked") if one["method"] == method]


CLAUDE = ModelChoice("anthropic", "claude-sonnet-4-6")
