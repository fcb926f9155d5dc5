"""One tool call of a model: checked, done, told, bounded, watched for circles."""

import json
from dataclasses import dataclass, field

from pydantic import JsonValue, TypeAdapter, ValidationError
from pydantic_ai.messages import BinaryContent, ToolCallPart, ToolReturnPart

from limpet.harness.base import CappedError
from limpet.harness.bounds import cut
from limpet.harness.channel import Emit
from limpet.harness.decopilot.foreign import ForeignTools
from limpet.harness.decopilot.repetition import NOTICE_AT, STOP_AT, Repetition
from limpet.harness.events import Notice, ToolFinished, ToolOutput, ToolStarted
from limpet.harness.toolbox import BY_NAME, Arguments, Outcome, Tool
from limpet.harness.tools import SandboxTools, ToolFailedError

_OBJECT: TypeAdapter[dict[str, JsonValue]] = TypeAdapter(dict[str, JsonValue])
_CIRCLING = (
    f"\n\n[You have done the same {NOTICE_AT} times and got the same. Doing it again changes "
    "nothing: try something else, or tell the user what keeps you.]"
)
_CUT_OFF = " Your answer reached its limit in the middle of the call: write less at once."
_MOST_TITLE_CHARS = 200


@dataclass(slots=True)
class Calling:
    """Does a run's tool calls."""

    tools: SandboxTools
    foreign: ForeignTools
    emit: Emit
    repetition: Repetition = field(default_factory=Repetition)

    async def answer(self, event_id: str, call: ToolCallPart, *, cut_off: bool) -> ToolReturnPart:
        """What the model is told about its call. Whatever is wrong with a call is told, not raised.

        Raises `CappedError` when the model goes round in circles for good.
        """
        outcome = await self._outcome(event_id, call, cut_off)
        output = cut(outcome.output)
        verdict = self.repetition.saw(call.tool_name, call.args_as_json_str(), output)
        if verdict == "circling":
            output += _CIRCLING
        await self.emit(
            ToolFinished(call=event_id, ok=outcome.ok, output=output, diff=outcome.diff)
        )
        if verdict == "circling":
            await self.emit(Notice(text="The model repeats itself; it was told so."))
        elif verdict == "hopeless":
            raise CappedError(f"The model did the same {STOP_AT} times over and got the same.")
        picture = [BinaryContent(outcome.png, media_type="image/png")] if outcome.png else []
        return ToolReturnPart(
            call.tool_name,
            [output, *picture] if picture else output,
            call.tool_call_id,
            outcome="success" if outcome.ok else "failed",
        )

    async def not_done(self, event_id: str, words: str) -> None:
        """Tell people of a call that is not done."""
        await self.emit(ToolFinished(call=event_id, ok=False, output=words))

    async def _outcome(self, event_id: str, call: ToolCallPart, cut_off: bool) -> Outcome:
        name = call.tool_name
        tool = BY_NAME.get(name)
        try:
            arguments = _arguments(call, cut_off)
        except ToolFailedError as error:
            await self._started(event_id, name, {}, name)
            return Outcome(str(error), ok=False)
        try:
            if tool is not None:
                return await self._ours(event_id, tool, arguments)
            await self._started(event_id, name, arguments, name)
            if name in self.foreign:
                return await self.foreign.call(name, arguments)
            known = ", ".join(BY_NAME)
            raise ToolFailedError(f"There is no tool {name!r}. Yours are: {known}.")
        except ToolFailedError as error:
            return Outcome(str(error), ok=False)

    async def _ours(
        self, event_id: str, tool: Tool[Arguments], arguments: dict[str, JsonValue]
    ) -> Outcome:
        try:
            given = tool.takes.model_validate(arguments)
        except ValidationError as error:
            await self._started(event_id, tool.name, arguments, tool.name)
            raise ToolFailedError(_what_does_not_fit(error)) from error
        await self._started(event_id, tool.name, given.model_dump(mode="json"), tool.title(given))

        async def show(text: str) -> None:
            await self.emit(ToolOutput(call=event_id, delta=text))

        return await tool.do(given, self.tools, show)

    async def _started(
        self, event_id: str, name: str, arguments: dict[str, JsonValue], title: str
    ) -> None:
        title = title[:_MOST_TITLE_CHARS]
        await self.emit(ToolStarted(call=event_id, name=name, input=arguments, title=title))


def _arguments(call: ToolCallPart, cut_off: bool) -> dict[str, JsonValue]:
    given = call.args
    if isinstance(given, str) and given.strip():
        try:
            given = json.loads(given)
        except (ValueError, RecursionError) as error:
            said = f"The arguments of {call.tool_name} are not valid JSON: {error}."
            raise ToolFailedError(said + (_CUT_OFF if cut_off else "")) from error
    if isinstance(given, str) or given is None:
        return {}
    if not isinstance(given, dict):
        raise ToolFailedError("The arguments must be a JSON object.")
    try:
        return _OBJECT.validate_json(json.dumps(given, ensure_ascii=False))
    except (ValueError, RecursionError) as error:
        raise ToolFailedError(
            "The arguments hold half a character, or are nested too deep."
        ) from error


def _what_does_not_fit(error: ValidationError) -> str:
    wrong = [
        f"{'.'.join(str(step) for step in problem['loc']) or 'arguments'}: {problem['msg']}"
        for problem in error.errors(include_url=False, include_input=False)[:10]
    ]
    return "The arguments do not fit. " + "; ".join(wrong) + "."
