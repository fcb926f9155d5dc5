"""What happens in a run, as one stream of events: kept in order, shown to people, replayed.

A thread is its events. They are JSON objects with a `kind`; the control plane numbers them, keeps
them, and sends each to every browser that follows the thread. Text comes in pieces: pieces of the
same `part` belong together.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, TypeAdapter

HowItEnded = Literal["done", "stopped", "capped", "failed", "interrupted"]


class _Event(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="forbid", json_schema_serialization_defaults_required=True
    )


class UserMessage(_Event):
    """What a person said. `queued`: a run goes on, and this is its turn's after it."""

    kind: Literal["user_message"] = "user_message"
    id: str
    text: str
    author: str
    queued: bool = False


class RunStarted(_Event):
    """A run took up a message."""

    kind: Literal["run_started"] = "run_started"
    run: str
    message: str
    harness: str
    model: str


class Text(_Event):
    """A piece of the answer."""

    kind: Literal["text"] = "text"
    part: str
    delta: str


class Thinking(_Event):
    """A piece of the model's reasoning, where a provider shows it."""

    kind: Literal["thinking"] = "thinking"
    part: str
    delta: str


class ToolInput(_Event):
    """A piece of a tool's input while the model writes it, as JSON; `ToolStarted` has it whole."""

    kind: Literal["tool_input"] = "tool_input"
    call: str
    name: str
    delta: str


class ToolStarted(_Event):
    """A tool is called; `input` is what the model gave, checked."""

    kind: Literal["tool_started"] = "tool_started"
    call: str
    name: str
    input: dict[str, JsonValue]
    title: str
    """One line for people, such as `Edit src/App.tsx` or `npm test`."""


class ToolOutput(_Event):
    """A piece of what a running tool prints."""

    kind: Literal["tool_output"] = "tool_output"
    call: str
    delta: str


class ToolFinished(_Event):
    """A tool has ended. `output` is what the model is told; `diff` a file's change, unified."""

    kind: Literal["tool_finished"] = "tool_finished"
    call: str
    ok: bool
    output: str
    diff: str | None = None


class Usage(_Event):
    """What the run has taken so far: tokens, and US dollars where the model's price is known."""

    kind: Literal["usage"] = "usage"
    requests: int
    input_tokens: int
    output_tokens: int
    cache_read_tokens: int = 0
    cost_usd: float | None = None


class Notice(_Event):
    """Something that a person should know: the sandbox was restored, the thread compacted."""

    kind: Literal["notice"] = "notice"
    text: str


class Checkpoint(_Event):
    """The workspace as it was before or after the run."""

    kind: Literal["checkpoint"] = "checkpoint"
    run: str
    when: Literal["before", "after"]
    snapshot: str
    commit: str | None = None


class StateKept(_Event):
    """Where a harness could go on after a death of the control plane; never shown to people.

    `state` is the harness' own: it gets it back as `Turn.state`.
    """

    kind: Literal["state_kept"] = "state_kept"
    state: JsonValue


class RunFinished(_Event):
    """A run has ended, and how; `error` says what to do, in words for people."""

    kind: Literal["run_finished"] = "run_finished"
    run: str
    how: HowItEnded
    error: str | None = None


Event = Annotated[
    UserMessage
    | RunStarted
    | Text
    | Thinking
    | ToolInput
    | ToolStarted
    | ToolOutput
    | ToolFinished
    | Usage
    | Notice
    | Checkpoint
    | StateKept
    | RunFinished,
    Field(discriminator="kind"),
]
HarnessEvent = (
    Text
    | Thinking
    | ToolInput
    | ToolStarted
    | ToolOutput
    | ToolFinished
    | Usage
    | Notice
    | StateKept
)
"""What a harness gives; the rest is the control plane's."""

EVENTS: TypeAdapter[Event] = TypeAdapter(Event)
