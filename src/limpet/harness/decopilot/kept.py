"""A thread as decopilot keeps it: the messages, and what its last run has taken so far.

It is valid at every moment: whatever the last model response asked for and got no answer to is
known by position, so that the next run can answer it, after a stop as after a death.
"""

import re
import secrets
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError
from pydantic_ai.messages import (
    BinaryContent,
    ModelMessage,
    ModelMessagesTypeAdapter,
    ModelRequest,
    ModelRequestPart,
    ModelResponse,
    ModelResponsePart,
    TextPart,
    ThinkingPart,
    ToolCallPart,
    ToolReturnPart,
    UserPromptPart,
)

from limpet.harness.base import Exchange
from limpet.harness.bounds import showable, showable_text

_ODD = re.compile(r"[^A-Za-z0-9_-]")
_MOST_NAME_CHARS = 64
_MOST_ID_CHARS = 64
_PICTURE_GONE = "[The picture is not kept.]"


class Spent(BaseModel):
    """What a run has taken so far."""

    run: str = ""
    requests: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cost_usd: float = 0.0
    unpriced: int = 0
    """Requests whose price nobody knows."""
    elapsed_s: float = 0.0


class _Kept(BaseModel):
    """The JSON of it."""

    model_config = ConfigDict(extra="forbid")

    version: Literal[1] = 1
    messages: list[JsonValue]
    calls: list[str] = Field(default_factory=list)
    context_tokens: int = 0
    spent: Spent = Field(default_factory=Spent)


class Thread:
    """The messages of a thread, in order: requests and responses take turns.

    `calls` are the events' ids of the last response's tool calls. `context_tokens` is what the last
    request and its answer took of the model's context; 0 where that is not known any more.
    """

    def __init__(self) -> None:
        self.messages: list[ModelMessage] = []
        self.calls: list[str] = []
        self.context_tokens = 0
        self.spent = Spent()

    @classmethod
    def of(cls, state: JsonValue) -> "Thread":
        """The thread that was kept. Raises `ValueError` for what was never ours."""
        thread = cls()
        if state is None:
            return thread
        try:
            kept = _Kept.model_validate(state)
            thread.messages = list(ModelMessagesTypeAdapter.validate_python(kept.messages))
        except ValidationError as error:
            raise ValueError("not a thread of decopilot") from error
        thread.calls = kept.calls
        thread.context_tokens = kept.context_tokens
        thread.spent = kept.spent
        return thread

    def keep(self) -> JsonValue:
        """What `of` takes."""
        kept = _Kept(
            messages=ModelMessagesTypeAdapter.dump_python(self.messages, mode="json"),
            calls=self.calls,
            context_tokens=self.context_tokens,
            spent=self.spent,
        )
        return kept.model_dump(mode="json")

    def unanswered(self) -> list[tuple[str, ToolCallPart]]:
        """The last response's tool calls that got no answer, each with its event's id."""
        answered = 0
        for message in reversed(self.messages):
            if isinstance(message, ModelResponse):
                calls = message.tool_calls
                ids = (
                    self.calls if len(self.calls) == len(calls) else [c.tool_call_id for c in calls]
                )
                return list(zip(ids, calls, strict=True))[answered:]
            answered += sum(isinstance(part, ToolReturnPart) for part in message.parts)
        return []

    def _calls(self) -> Iterator[ToolCallPart]:
        for message in self.messages:
            if isinstance(message, ModelResponse):
                yield from message.tool_calls

    def add(self, *parts: ModelRequestPart) -> None:
        """To the request that comes next; one is begun where a response is last."""
        last = self.messages[-1] if self.messages else None
        if isinstance(last, ModelRequest):
            self.messages[-1] = replace(last, parts=[*last.parts, *parts])
        else:
            self.messages.append(ModelRequest(parts=list(parts)))

    def respond(self, response: ModelResponse, calls: list[str]) -> None:
        """Take up what the model answered, as any provider takes it back.

        None takes blank text, halves of characters, a tool's name or a call's id with odd
        characters, or an id twice; models and servers make all of them.
        """
        taken = {call.tool_call_id for call in self._calls()}
        parts: list[ModelResponsePart] = []
        for part in response.parts:
            match part:
                case TextPart(content=text) if not text.strip():
                    continue
                case TextPart(content=text) | ThinkingPart(content=text):
                    part = replace(part, content=showable_text(text))
                case ToolCallPart():
                    part = _sound(part, taken)
                    taken.add(part.tool_call_id)
                case _:
                    pass
            parts.append(part)
        self.messages.append(replace(response, parts=parts))
        self.calls = calls

    def tell(self, history: Sequence[Exchange]) -> None:
        """Take up turns that another harness had."""
        for exchange in history:
            self.add(UserPromptPart(exchange.prompt))
            self.respond(ModelResponse(parts=[TextPart(exchange.answer or "(no answer)")]), [])

    def has_pictures(self) -> bool:
        """Whether a tool's answer holds a picture."""
        return any(_pictures_in(part) for m in self.messages for part in m.parts)

    def drop_pictures(self, *, keep_last: int = 0) -> None:
        """Take the pictures out of the tools' answers, the latest ones aside."""
        for index in range(len(self.messages) - 1, -1, -1):
            message = self.messages[index]
            if not isinstance(message, ModelRequest):
                continue
            parts: list[ModelRequestPart] = []
            for part in reversed(message.parts):
                if isinstance(part, ToolReturnPart) and _pictures_in(part):
                    keep_last -= 1
                    parts.append(part if keep_last >= 0 else _without_pictures(part))
                else:
                    parts.append(part)
            self.messages[index] = replace(message, parts=parts[::-1])


def _sound(call: ToolCallPart, taken: Collection[str]) -> ToolCallPart:
    name = _ODD.sub("_", call.tool_name)[:_MOST_NAME_CHARS] or "unnamed"
    call_id = _ODD.sub("_", call.tool_call_id)[:_MOST_ID_CHARS]
    if not call_id or call_id in taken:
        call_id = f"call_{secrets.token_hex(8)}"
    arguments = call.args
    if isinstance(arguments, dict):
        arguments = {showable_text(key): showable(value) for key, value in arguments.items()}
    return replace(call, tool_name=name, tool_call_id=call_id, args=arguments)


def _pictures_in(part: object) -> bool:
    content = part.content if isinstance(part, ToolReturnPart) else None
    return isinstance(content, list) and any(isinstance(item, BinaryContent) for item in content)


def _without_pictures(part: ToolReturnPart) -> ToolReturnPart:
    content = part.content if isinstance(part.content, list) else [part.content]
    words = [item for item in content if isinstance(item, str)]
    return replace(part, content="\n".join([*words, _PICTURE_GONE]))
