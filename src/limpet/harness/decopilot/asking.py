"""One request to a model, streamed, asked again as long as there is patience."""

import asyncio
import json
import random
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import httpx2
from pydantic_ai.direct import model_request_stream
from pydantic_ai.exceptions import AgentRunError, UserError
from pydantic_ai.messages import (
    ModelMessage,
    ModelResponse,
    ModelResponseStreamEvent,
    PartDeltaEvent,
    PartStartEvent,
    TextPart,
    TextPartDelta,
    ThinkingPart,
    ThinkingPartDelta,
    ToolCallPart,
    ToolCallPartDelta,
)
from pydantic_ai.models import Model, ModelRequestParameters
from pydantic_ai.settings import ModelSettings

from limpet.harness.base import CappedError, ModelChoice, ModelError
from limpet.harness.channel import Emit
from limpet.harness.decopilot import Patience
from limpet.harness.decopilot.failures import CutOffError, Failure, failure_of
from limpet.harness.events import HarnessEvent, Notice, Text, Thinking, ToolInput
from limpet.harness.pricing import price_of


class TooLongError(Exception):
    """The thread does not fit the model."""


class RejectedError(Exception):
    """The model refuses this request; its words are for people."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model answered, and the events' ids of its tool calls, in order."""

    response: ModelResponse
    calls: list[str]


@dataclass(slots=True)
class Asking:
    """Asks one model. `asked` counts the requests, failed ones too, and never passes `most`."""

    choice: ModelChoice
    model: Model
    settings: ModelSettings
    patience: Patience
    emit: Emit
    most: int | None = None
    asked: int = 0

    def hold_to_cap(self) -> None:
        """Raise `CappedError` where the model may not be asked once more."""
        if self.most is not None and self.asked >= self.most:
            raise CappedError(f"The run asked the model as often as it may: {self.most} times.")

    async def ask(
        self,
        messages: Sequence[ModelMessage],
        parameters: ModelRequestParameters,
        *,
        aloud: bool = True,
    ) -> Answer:
        """The model's whole answer; people see it come, if `aloud`.

        Raises `TooLongError`, `RejectedError`, `CappedError`, and `ModelError` when patience has
        ended.
        """
        pause_s = self.patience.first_s
        for left in range(self.patience.tries - 1, -1, -1):
            try:
                return await self._once(messages, parameters, aloud)
            except (AgentRunError, CutOffError, UserError, httpx2.HTTPError) as error:
                failure = failure_of(error, self.choice)
            if failure.too_long:
                raise TooLongError(failure.words)
            if failure.rejected:
                raise RejectedError(failure.words)
            if not failure.again or not left:
                raise ModelError(_last_words(failure))
            wait_s = self._wait_s(failure, pause_s)
            await self.emit(Notice(text=f"{failure.words} Asking again in {wait_s:.0f} s."))
            await asyncio.sleep(wait_s)
            pause_s *= 2
        raise AssertionError("patience has at least one try")

    def _wait_s(self, failure: Failure, pause_s: float) -> float:
        most_s = self.patience.most_s
        if failure.wait_s is not None:
            return min(max(failure.wait_s, 0.0), most_s) + random.uniform(0, self.patience.first_s)  # noqa: S311
        return min(pause_s, most_s) * random.uniform(0.5, 1.0)  # noqa: S311

    async def _once(
        self, messages: Sequence[ModelMessage], parameters: ModelRequestParameters, aloud: bool
    ) -> Answer:
        self.hold_to_cap()
        self.asked += 1
        telling = _Telling(secrets.token_hex(6))
        async with model_request_stream(
            self.model,
            messages,
            model_settings=self.settings,
            model_request_parameters=parameters,
        ) as stream:
            async for event in stream:
                told = telling.of(event)
                if told is not None and aloud:
                    await self.emit(told)
            response = stream.get()
        if response.state != "complete" or response.finish_reason is None:
            raise CutOffError
        if response.usage.cost is None:
            response = replace(response, usage=replace(response.usage, cost=price_of(response)))
        return Answer(response, telling.ids_of(response))


def _last_words(failure: Failure) -> str:
    if not failure.again:
        return failure.words
    return f"{failure.words} It was asked several times in vain: try later, or take another model."


@dataclass(slots=True)
class _Telling:
    """Turns the parts of a streamed response into events."""

    token: str
    names: dict[int, str] = field(default_factory=dict)

    def of(self, event: ModelResponseStreamEvent) -> HarnessEvent | None:
        if isinstance(event, PartStartEvent):
            return self._begun(event)
        if isinstance(event, PartDeltaEvent):
            return self._went_on(event)
        return None

    def _begun(self, event: PartStartEvent) -> HarnessEvent | None:
        part_id = self._id(event.index)
        match event.part:
            case TextPart(content=text) if text:
                return Text(part=part_id, delta=text)
            case ThinkingPart(content=text) if text:
                return Thinking(part=part_id, delta=text)
            case ToolCallPart(tool_name=name, args=arguments):
                self.names[event.index] = name
                return ToolInput(call=part_id, name=name, delta=_as_json(arguments))
            case _:
                return None

    def _went_on(self, event: PartDeltaEvent) -> HarnessEvent | None:
        part_id = self._id(event.index)
        match event.delta:
            case TextPartDelta(content_delta=text) if text:
                return Text(part=part_id, delta=text)
            case ThinkingPartDelta(content_delta=str(text)) if text:
                return Thinking(part=part_id, delta=text)
            case ToolCallPartDelta(args_delta=arguments) if arguments:
                name = self.names.get(event.index, "")
                return ToolInput(call=part_id, name=name, delta=_as_json(arguments))
            case _:
                return None

    def ids_of(self, response: ModelResponse) -> list[str]:
        """The ids of the response's tool calls, in order."""
        told = [self._id(index) for index in sorted(self.names)]
        calls = response.tool_calls
        if len(told) == len(calls):
            return told
        return [f"{self.token}-call{number}" for number in range(len(calls))]

    def _id(self, index: int) -> str:
        return f"{self.token}-{index}"


def _as_json(arguments: object) -> str:
    if isinstance(arguments, str):
        return arguments
    return json.dumps(arguments) if arguments else ""
