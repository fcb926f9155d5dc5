"""From what an agent tells of itself to a thread's events. Pure but for keeping count."""

import asyncio
import difflib
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from acp import schema
from pydantic import JsonValue, TypeAdapter, ValidationError

from limpet.harness.base import ModelError
from limpet.harness.bounds import MAX_SHOWN_CHARS, cut
from limpet.harness.events import (
    HarnessEvent,
    Notice,
    Text,
    Thinking,
    ToolFinished,
    ToolOutput,
    ToolStarted,
)

MAX_CALLS: Final = 5000
MAX_TITLE_CHARS: Final = 300
MAX_INPUT_CHARS: Final = 100_000
MAX_DIFF_CHARS: Final = 200_000
MAX_PLAN_CHARS: Final = 4000
_NAMES: Final = {"execute": "bash", "read": "read", "edit": "edit", "search": "search"}
_MARKS: Final = {"completed": "✓", "in_progress": "▸", "pending": "○"}
_NO_WORDS: Final = "The agent did not tell how this ended."

_TOLD: Final[TypeAdapter[Any]] = TypeAdapter(
    schema.AgentMessageChunk
    | schema.AgentThoughtChunk
    | schema.ToolCallStart
    | schema.ToolCallProgress
    | schema.AgentPlanUpdate
    | schema.UsageUpdate
)
_KINDS: Final = frozenset(
    {"agent_message_chunk", "agent_thought_chunk", "tool_call", "tool_call_update", "plan",
     "usage_update"}
)  # fmt: skip
_Content = (
    schema.ContentToolCallContent | schema.FileEditToolCallContent | schema.TerminalToolCallContent
)


@dataclass
class _Call:
    """A tool call. `shown` is the output that people have been shown of it."""

    event: str
    title: str = ""
    kind: str = "other"
    status: str = "pending"
    input: Any = None
    content: Sequence[_Content] = ()
    output: Any = None
    shown: str = ""
    whole: bool = False
    started: bool = False
    finished: bool = False

    def take(self, told: schema.ToolCallStart | schema.ToolCallProgress) -> None:
        self.title = (told.title or self.title)[:MAX_TITLE_CHARS]
        self.kind = told.kind or self.kind
        self.status = told.status or self.status
        self.input = told.raw_input or self.input
        self.content = self.content if told.content is None else told.content
        self.output = self.output if told.raw_output is None else told.raw_output
        self.whole = self.whole or isinstance(told, schema.ToolCallProgress)

    @property
    def begun(self) -> bool:
        """Whether there is enough to show: agents name a call before they know its whole input."""
        return bool(self.status != "pending" or self.content or (self.input and self.whole))


@dataclass
class Telling:
    """The events of one turn. `repo` is the repository's absolute path, `run` the run's id.

    `cost_usd` is what the agent says that its session has cost so far, in US dollars.
    """

    run: str
    repo: str
    cost_usd: float | None = None
    answer: str = ""
    _part: int = 0
    _last: tuple[str, str | None] | None = None
    _calls: dict[str, _Call] = field(default_factory=dict)
    _terminals: dict[str, str] = field(default_factory=dict)
    _plan: str = ""

    async def events(self, update: JsonValue) -> AsyncIterator[HarnessEvent]:
        """What an update of the agent's means. Raises `ModelError` where it floods us with calls.

        What is no update that we know, or not of its shape, means nothing.
        """
        if not isinstance(update, dict) or update.get("sessionUpdate") not in _KINDS:
            return
        try:
            told = _TOLD.validate_python(update)
        except ValidationError:
            return
        match told:
            case schema.AgentMessageChunk() | schema.AgentThoughtChunk():
                if said := self._said(told):
                    yield said
            case schema.ToolCallStart() | schema.ToolCallProgress():
                self._last = None
                async for event in self._called(told):
                    yield event
            case schema.AgentPlanUpdate():
                if notice := self._planned(told):
                    yield notice
            case schema.UsageUpdate():
                if told.cost is not None and told.cost.currency == "USD":
                    self.cost_usd = told.cost.amount

    async def printed(self, terminal: str, text: str) -> AsyncIterator[HarnessEvent]:
        """A terminal of ours printed something: it belongs to the call that shows it."""
        known = self._terminals.get(terminal, "") + text
        self._terminals[terminal] = known[-MAX_SHOWN_CHARS:]
        for call in self._calls.values():
            if call.started and not call.finished and terminal in _terminals_of(call):
                for event in self._output(call):
                    yield event

    async def close(self) -> AsyncIterator[HarnessEvent]:
        """The turn is over: what is open ends."""
        for call in self._calls.values():
            if not call.started:
                yield self._start(call)
            if not call.finished:
                call.finished = True
                yield ToolFinished(call=call.event, ok=False, output=_NO_WORDS)

    # -- what is said ---------------------------------------------------------------------------

    def _said(
        self, told: schema.AgentMessageChunk | schema.AgentThoughtChunk
    ) -> HarnessEvent | None:
        text = _text(told.content)
        if not text:
            return None
        kind = told.session_update
        if self._last != (kind, told.message_id):
            self._part += 1
            self._last = (kind, told.message_id)
        part = f"{self.run}-{self._part}"
        if kind == "agent_thought_chunk":
            return Thinking(part=part, delta=text)
        if len(self.answer) < MAX_SHOWN_CHARS:
            self.answer += text
        return Text(part=part, delta=text)

    def _planned(self, told: schema.AgentPlanUpdate) -> Notice | None:
        entries = [f"{_MARKS.get(one.status, '○')} {one.content}" for one in told.entries]
        plan = cut("Plan: " + " · ".join(entries), MAX_PLAN_CHARS)
        if not entries or plan == self._plan:
            return None
        self._plan = plan
        return Notice(text=plan)

    # -- what is done ---------------------------------------------------------------------------

    async def _called(
        self, told: schema.ToolCallStart | schema.ToolCallProgress
    ) -> AsyncIterator[HarnessEvent]:
        call = self._calls.get(told.tool_call_id)
        if call is None:
            if len(self._calls) >= MAX_CALLS:
                raise ModelError(f"The agent told of more than {MAX_CALLS} tool calls in one turn.")
            call = _Call(event=f"{self.run}-call-{len(self._calls) + 1}")
            self._calls[told.tool_call_id] = call
        if call.finished:
            return
        call.take(told)
        if not call.started:
            if not call.begun:
                return
            yield self._start(call)
        if call.status in {"completed", "failed"}:
            call.finished = True
            yield await self._finish(call)
            return
        for event in self._output(call):
            yield event

    def _start(self, call: _Call) -> ToolStarted:
        call.started = True
        name = _NAMES.get(call.kind, call.kind)
        return ToolStarted(
            call=call.event, name=name, input=_input(call.input), title=call.title or name
        )

    def _output(self, call: _Call) -> Sequence[HarnessEvent]:
        """What is new of its output; one that is told in place of another is shown at the end."""
        text = self._text_of(call)[:MAX_SHOWN_CHARS]
        if not text.startswith(call.shown) or len(text) == len(call.shown):
            return ()
        delta = text[len(call.shown) :]
        call.shown = text
        return (ToolOutput(call=call.event, delta=delta),)

    async def _finish(self, call: _Call) -> ToolFinished:
        # What is told for people may be in Markdown; as text the raw output is the thing itself.
        raw = call.output
        output = raw if isinstance(raw, str) else self._text_of(call)
        if not output and raw:
            output = json.dumps(raw, ensure_ascii=False)
        edits = [one for one in call.content if isinstance(one, schema.FileEditToolCallContent)]
        diff = await asyncio.to_thread(self._diff, edits) if edits else None
        return ToolFinished(
            call=call.event, ok=call.status == "completed", output=cut(output), diff=diff or None
        )

    def _text_of(self, call: _Call) -> str:
        parts = []
        for one in call.content:
            match one:
                case schema.ContentToolCallContent():
                    parts.append(_text(one.content))
                case schema.TerminalToolCallContent():
                    parts.append(self._terminals.get(one.terminal_id, ""))
                case _:
                    pass
        return "\n".join(part for part in parts if part)

    def _diff(self, edits: Sequence[schema.FileEditToolCallContent]) -> str:
        lines: list[str] = []
        for edit in edits:
            path = edit.path.removeprefix(f"{self.repo}/")
            before, after = edit.old_text or "", edit.new_text
            if len(before) + len(after) > MAX_DIFF_CHARS:
                continue
            lines += difflib.unified_diff(
                before.splitlines(keepends=True),
                after.splitlines(keepends=True),
                "/dev/null" if edit.old_text is None else f"a/{path}",
                f"b/{path}",
            )
        return "".join(
            line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n"
            for line in lines
        )


def _terminals_of(call: _Call) -> set[str]:
    shown = (one for one in call.content if isinstance(one, schema.TerminalToolCallContent))
    return {one.terminal_id for one in shown}


def _text(content: object) -> str:
    match content:
        case schema.TextContentBlock():
            return content.text
        case schema.ResourceContentBlock():
            return f"[{content.title or content.name}]({content.uri})"
        case schema.EmbeddedResourceContentBlock(resource=schema.TextResourceContents() as text):
            return text.text
        case _:
            return ""


def _input(raw: Any) -> dict[str, JsonValue]:
    given: dict[str, JsonValue] = raw if isinstance(raw, dict) else {}
    if raw is not None and not isinstance(raw, dict):
        given = {"input": raw}
    text = json.dumps(given, ensure_ascii=False, default=str)
    return given if len(text) <= MAX_INPUT_CHARS else {"input": cut(text, MAX_INPUT_CHARS)}
