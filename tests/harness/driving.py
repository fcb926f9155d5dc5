"""Driving a harness in tests: a scenario, a protocol, and what came of the turn."""

import itertools
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from limpet.harness.base import Caps, ModelChoice, ProviderKind, Turn
from limpet.harness.decopilot import Decopilot, Patience
from limpet.harness.events import HarnessEvent, StateKept, Text
from tests.harness.folder_tools import FolderTools
from tests.models.scenario import Reply
from tests.models.server import KEY, ScriptedModels, scripted

E = TypeVar("E")
PROTOCOLS: tuple[ProviderKind, ...] = ("anthropic", "openai", "openai-compatible", "google")
MODELS = {
    "anthropic": "claude-sonnet-4-6",
    "openai": "gpt-5.2",
    "openai-compatible": "qwen3-coder",
    "google": "gemini-2.5-pro",
}
QUICK = Patience(tries=5, first_s=0.0, most_s=0.0)
_runs = itertools.count(1)


def chosen(protocol: ProviderKind, models: ScriptedModels, **changed: Any) -> ModelChoice:
    """The scripted server as a choice of model."""
    base_url = models.url if protocol in {"anthropic", "google"} else f"{models.url}/v1"
    given = {"name": MODELS[protocol], "api_key": KEY, "base_url": base_url, **changed}
    return ModelChoice(protocol, **given)


def turn_of(choice: ModelChoice, prompt: str = "Go.", **given: Any) -> Turn:
    """A turn with a run of its own."""
    given = {"run": f"run-{next(_runs)}", "instructions": "You build web apps.", **given}
    return Turn(prompt=prompt, model=choice, **given)


@dataclass
class Took:
    """The events of a turn."""

    events: list[HarnessEvent] = field(default_factory=list)

    def of(self, kind: type[E]) -> list[E]:
        """The events of a kind."""
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def answer(self) -> str:
        """All of the text."""
        return "".join(event.delta for event in self.of(Text))

    @property
    def state(self) -> Any:
        """What was kept last."""
        return self.of(StateKept)[-1].state


async def take(
    harness: Decopilot, turn: Turn, tools: FolderTools, took: Took | None = None
) -> Took:
    """A whole turn; what was given before an exception is in `took`."""
    took = took or Took()
    async with aclosing(harness.run(turn, tools)) as events:
        async for event in events:
            took.events.append(event)
    return took


@dataclass
class Stage:
    """A scripted server and a folder."""

    protocol: ProviderKind
    models: ScriptedModels
    tools: FolderTools
    harness: Decopilot

    async def take(self, prompt: str = "Go.", took: Took | None = None, **given: Any) -> Took:
        """A turn here."""
        turn = turn_of(chosen(self.protocol, self.models), prompt, **given)
        return await take(self.harness, turn, self.tools, took)


@asynccontextmanager
async def staged(
    protocol: ProviderKind, folder: Path, replies: Iterable[Reply], **harness: Any
) -> AsyncIterator[Stage]:
    """Everything that a turn needs."""
    async with scripted(replies) as models:
        made = Decopilot(**{"patience": QUICK, **harness})
        yield Stage(protocol, models, FolderTools(folder), made)
        assert models.refused == []


def put(folder: Path, files: dict[str, str]) -> None:
    """Files of a project."""
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def replies(*each: dict[str, Any]) -> Sequence[Reply]:
    """Replies in short."""
    return [Reply.model_validate(reply) for reply in each]


def no_caps(**given: Any) -> Caps:
    """Caps, none but the given."""
    return Caps(**{"time_s": None, "cost_usd": None, "requests": None, **given})
