"""What a harness is: it drives a model through one turn, and tells what happens as it does."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from pydantic import JsonValue

from limpet.harness.events import HarnessEvent
from limpet.harness.tools import SandboxTools

HarnessName = Literal["decopilot", "claude-code", "acp"]
ProviderKind = Literal["anthropic", "openai", "openai-compatible", "google", "bedrock"]


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """Which model, and how it is reached. `base_url` None: the provider's own."""

    provider: ProviderKind
    name: str
    api_key: str | None = field(default=None, repr=False)
    base_url: str | None = None


@dataclass(frozen=True, slots=True)
class Caps:
    """When a run ends by itself. None: never."""

    time_s: float | None = 1800.0
    cost_usd: float | None = None
    requests: int | None = 200


@dataclass(frozen=True, slots=True)
class ToolServer:
    """Another MCP server, whose tools stand beside the sandbox's.

    `headers` go with every request to it; they are for the control plane alone.
    """

    name: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Exchange:
    """A finished turn in plain words, for a harness that has no state of its own of it."""

    prompt: str
    answer: str


@dataclass(frozen=True, slots=True)
class Turn:
    """One message of a person's, and all that a harness needs to answer it.

    `instructions` are the agent's and the project's. `model` is None only for a harness whose agent
    may have one of its own. `state` is what this harness last gave as `StateKept` in this thread;
    None at its first turn there. `resumes`: the control plane died in this very turn, `state` is
    from its middle, and `prompt` is in it already. `command` starts the agent's own program, for a
    harness that runs one. `servers` are for a harness that works outside of the sandbox.
    """

    run: str
    prompt: str
    instructions: str
    model: ModelChoice | None
    caps: Caps = field(default_factory=Caps)
    history: Sequence[Exchange] = ()
    state: JsonValue = None
    resumes: bool = False
    command: Sequence[str] = ()
    servers: Sequence[ToolServer] = ()

    @property
    def needed_model(self) -> ModelChoice:
        """The model; `ModelError` where none was chosen."""
        if self.model is None:
            raise ModelError("No model was chosen. Choose one and send the message again.")
        return self.model


class CappedError(Exception):
    """The run reached one of its caps; the words say which."""


class ModelError(Exception):
    """The model cannot be reached or refuses; the words are for people and say what to do."""


class Harness(Protocol):
    """Drives a model. Cancelling its iteration stops it at once."""

    @property
    def name(self) -> HarnessName: ...

    def run(self, turn: Turn, tools: SandboxTools) -> AsyncIterator[HarnessEvent]:
        """Everything that happens, until the model has nothing more to do.

        Raises `CappedError` and `ModelError`.
        """
        ...
