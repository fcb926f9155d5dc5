"""From what the CLI says to events. Kinds of messages that we do not know are no events."""

import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from claude_agent_sdk import (
    AssistantMessage,
    Message,
    ResultMessage,
    StreamEvent,
    SystemMessage,
    TextBlock,
    ToolResultBlock,
    ToolUseBlock,
    UserMessage,
)

from limpet.harness.base import ModelChoice
from limpet.harness.bounds import cut
from limpet.harness.claude_code.failures import ApiFailure, passing_words
from limpet.harness.claude_code.showing import diff_of, short_name, title_of
from limpet.harness.events import (
    HarnessEvent,
    Notice,
    Text,
    Thinking,
    ToolFinished,
    ToolInput,
    ToolOutput,
    ToolStarted,
)

_SYNTHETIC = "<synthetic>"
"""The model of what the CLI says itself."""
_STOPS = {
    "max_tokens": "The answer reached the model's limit and was cut there.",
    "refusal": "The provider's safety filter ended the answer.",
}


@dataclass(frozen=True, slots=True)
class _Call:
    event_id: str
    name: str
    title: str
    given: dict[str, Any]


@dataclass(slots=True)
class Telling:
    """Tells one turn. `answer` is all that was said to people; `failure` why the CLI gave up.

    What subagents do is told within the call that started them: their words as its output, their
    tool calls as calls, titled with its title.
    """

    choice: ModelChoice
    repo: str
    answer: str = ""
    failure: ApiFailure | None = None
    hopeless: bool = False
    """Whether asking again is of no use until people mend something."""
    begun: bool = False
    """Whether a model has answered at all: then the message is in the session."""
    _token: str = field(default_factory=lambda: secrets.token_hex(4))
    _messages: int = 0
    _calls: int = 0
    _gap: str = ""
    _streamed: set[str] = field(default_factory=set)
    _blocks: dict[int, tuple[str, str]] = field(default_factory=dict)
    _names: dict[str, str] = field(default_factory=dict)
    """Events' ids by the calls' own, which no server promises to give once only."""
    _open: dict[str, _Call] = field(default_factory=dict)

    def events(self, message: Message) -> Iterator[HarnessEvent]:
        """What a message means."""
        match message:
            case StreamEvent(parent_tool_use_id=None):
                yield from self._piece(message.event)
            case AssistantMessage():
                yield from self._whole(message)
            case UserMessage(content=list(blocks)):
                for block in blocks:
                    if isinstance(block, ToolResultBlock):
                        yield from self._result(block, message.tool_use_result)
            case SystemMessage(subtype="api_retry", data=data):
                yield from self._retry(data)
            case ResultMessage():
                yield from self._end(message)
            case _:
                return

    def _piece(self, event: dict[str, Any]) -> Iterator[HarnessEvent]:
        part = f"{self._token}.{self._messages}.{event.get('index', 0)}"
        match event:
            case {"type": "message_start", "message": {"id": str(message)}}:
                self.begun = True
                self._messages += 1
                self._streamed.add(message)
                self._blocks = {}
                self._gap = "\n\n" if self.answer else ""
            case {
                "type": "content_block_start",
                "index": int(index),
                "content_block": {"type": "tool_use", "id": str(call), "name": str(name)},
            }:
                self._names[call] = self._fresh(call)
                self._blocks[index] = (self._names[call], short_name(name))
            case {"delta": {"type": "text_delta", "text": str(text)}}:
                yield self._said(part, text)
            case {"delta": {"type": "thinking_delta", "thinking": str(text)}}:
                yield Thinking(part=part, delta=text)
            case {"index": int(index), "delta": {"partial_json": str(text)}}:
                written = self._blocks.get(index)
                if written is not None:
                    yield ToolInput(call=written[0], name=written[1], delta=text)
            case _:
                return

    def _said(self, part: str, text: str) -> Text:
        self.answer += self._gap + text
        self._gap = ""
        return Text(part=part, delta=text)

    def _fresh(self, call: str) -> str:
        self._calls += 1
        return f"{self._token}-{self._calls}-{call}"[:120]

    def _whole(self, message: AssistantMessage) -> Iterator[HarnessEvent]:
        if message.model == _SYNTHETIC or message.error:
            said = " ".join(b.text for b in message.content if isinstance(b, TextBlock))
            self.failure = ApiFailure(kind=message.error or "", said=said)
            return
        parent = self._open.get(message.parent_tool_use_id or "")
        streamed = (message.message_id or "") in self._streamed
        for number, block in enumerate(message.content):
            match block:
                case TextBlock(text=text) if parent is not None:
                    yield ToolOutput(call=parent.event_id, delta=f"{text}\n")
                case TextBlock(text=text) if not streamed:
                    yield self._said(f"{self._token}.{message.uuid}.{number}", text)
                case ToolUseBlock():
                    yield self._started(block, parent)
                case _:
                    pass

    def _started(self, block: ToolUseBlock, parent: _Call | None) -> ToolStarted:
        event_id = self._names.get(block.id) or self._fresh(block.id)
        given = block.input if isinstance(block.input, dict) else {}
        title = title_of(block.name, given, self.repo)
        shown = f"{parent.title}: {title}" if parent is not None else title
        call = _Call(event_id, short_name(block.name), title, given)
        self._open[block.id] = call
        return ToolStarted(call=event_id, name=call.name, input=given, title=shown)

    def _result(self, block: ToolResultBlock, told: object) -> Iterator[HarnessEvent]:
        call = self._open.pop(block.tool_use_id, None)
        self._names.pop(block.tool_use_id, None)
        if call is None:
            return
        ok = not block.is_error
        diff = diff_of(call.name, call.given, told, self.repo) if ok else None
        yield ToolFinished(call=call.event_id, ok=ok, output=cut(_words(block)), diff=diff)

    def _retry(self, data: dict[str, Any]) -> Iterator[HarnessEvent]:
        status = data.get("error_status")
        failure = ApiFailure(str(data.get("error") or ""), status or None)
        if failure.for_people:
            self.failure, self.hopeless = failure, True
            return
        words = passing_words(failure, self.choice)
        delay = data.get("retry_delay_ms")
        if words and isinstance(delay, int | float):
            yield Notice(text=f"{words} Asking again in {delay / 1000:.0f} s.")

    def _end(self, message: ResultMessage) -> Iterator[HarnessEvent]:
        if not message.is_error:
            self.failure = None
            stopped = _STOPS.get(message.stop_reason or "")
            if stopped:
                yield Notice(text=stopped)
            return
        before = self.failure or ApiFailure()
        said = "; ".join(message.errors or []) or message.result or before.said
        self.failure = ApiFailure(
            before.kind, message.api_error_status, said, message.terminal_reason or ""
        )


def _words(block: ToolResultBlock) -> str:
    """What the model is told, without the marks that are the CLI's own."""
    content = block.content
    if isinstance(content, list):
        content = "\n".join(
            str(item.get("text", "")) if item.get("type") == "text" else "[A picture.]"
            for item in content
        )
    words = (content or "").strip()
    return words.removeprefix("<tool_use_error>").removesuffix("</tool_use_error>")
