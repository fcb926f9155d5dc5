"""A turn of the real CLI, or of what stands in for it, beside the scripted models."""

from collections.abc import AsyncIterator, Iterable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from limpet.harness.claude_code import ClaudeCode, Patience
from tests.harness.driving import Took, chosen, turn_of
from tests.harness.folder_tools import FolderTools, StraightGateway
from tests.models.scenario import Reply
from tests.models.server import KEY, ScriptedModels, scripted

IMPATIENT = Patience(start_s=60.0, stop_s=2.0, tries=1)


@dataclass
class Stage:
    """A scripted server, a repository in a folder, a home beside it."""

    models: ScriptedModels
    tools: FolderTools
    gateway: StraightGateway
    patience: Patience = IMPATIENT

    @property
    def repo(self) -> Path:
        return self.tools.folder

    @property
    def home(self) -> Path:
        return self.tools.folder.parent / "home"

    @property
    def sessions(self) -> list[Path]:
        return sorted((self.home / ".claude/projects").glob("*/*.jsonl"))

    def asked(self, number: int = -1) -> str:
        """All that the model was sent in a request, its tools aside."""
        body = self.models.asked[number].body
        return str([body["system"], body["messages"]])

    async def take(self, prompt: str = "Go.", took: Took | None = None, **given: Any) -> Took:
        """A whole turn; what was given before an exception is in `took`."""
        took = took or Took()
        turn = turn_of(chosen("anthropic", self.models), prompt, **given)
        async with aclosing(ClaudeCode(patience=self.patience).run(turn, self.tools)) as events:
            async for event in events:
                took.events.append(event)
        return took


@asynccontextmanager
async def staged(folder: Path, replies: Iterable[Reply], **tools: Any) -> AsyncIterator[Stage]:
    """Everything that a turn needs."""
    repo = folder / "repo"
    repo.mkdir(exist_ok=True)
    async with scripted(replies) as models:
        gateway = StraightGateway(models.url, KEY)
        yield Stage(models, FolderTools(repo, models=gateway, **tools), gateway)
        assert models.refused == []


def call(tool: str, **given: Any) -> dict[str, Any]:
    """A reply that is one call."""
    return {"calls": [{"tool": tool, "input": given}]}
