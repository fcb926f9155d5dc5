"""A turn: ask the model, do what it calls for, ask again, until it has nothing more to do."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

from pydantic_ai.messages import (
    ModelMessage,
    ModelRequest,
    ModelResponse,
    ToolCallPart,
    ToolReturnPart,
    UserPromptPart,
)
from pydantic_ai.models import ModelRequestParameters
from pydantic_ai.tools import ToolDefinition

from limpet.harness.base import CappedError, ModelError, Turn
from limpet.harness.channel import Emit
from limpet.harness.decopilot import Decopilot
from limpet.harness.decopilot.asking import Answer, Asking, RejectedError, TooLongError
from limpet.harness.decopilot.calling import Calling
from limpet.harness.decopilot.compaction import (
    CHARS_PER_TOKEN,
    SUMMARISE,
    shortened,
    tokens_of,
    transcript,
    trimmed,
    where_to_cut,
)
from limpet.harness.decopilot.foreign import ForeignTools, foreign_tools, toolsets_of
from limpet.harness.decopilot.kept import Spent, Thread
from limpet.harness.decopilot.prompt import system_prompt
from limpet.harness.decopilot.providers import connected
from limpet.harness.events import Notice, StateKept, Usage
from limpet.harness.toolbox import BY_NAME, TOOLS
from limpet.harness.tools import SandboxTools

_UNKNOWN_WINDOW = 128_000
"""Tokens of context, where nobody knows the model: most hosted ones have this or more."""
_TAIL_SHARE = 0.2
"""Of the context, what stays word for word when a thread is compacted."""
_TRIMMED_CHARS = 3000

_STOPPED = "The user stopped the run before this was done, or while it was."
_MAY_HAVE = (
    "The control plane died while this was being done. It may have been done, in part or whole: "
    "look before you do it again."
)


@dataclass(slots=True)
class TurnLoop:
    """One turn of one thread."""

    harness: Decopilot
    turn: Turn
    tools: SandboxTools
    thread: Thread = field(init=False)
    _emit: Emit = field(init=False)
    _asking: Asking = field(init=False)
    _calling: Calling = field(init=False)
    _parameters: ModelRequestParameters = field(init=False)
    _instructions: str = field(init=False)
    _window: int = field(init=False)
    _began: float = field(init=False, default_factory=time.monotonic)
    _began_after_s: float = field(init=False, default=0.0)

    async def go(self, emit: Emit) -> None:
        """The whole turn, told to `emit`. Raises `CappedError` and `ModelError`."""
        self._emit = emit
        await self._take_up()
        self._began_after_s = self.thread.spent.elapsed_s
        async with (
            self._time_cap(),
            connected(self.turn.needed_model, self.harness.thinking) as (model, settings),
        ):
            self._asking = Asking(
                self.turn.needed_model,
                model,
                settings,
                self.harness.patience,
                emit,
                self.turn.caps.requests,
                self.thread.spent.requests,
            )
            window = self.harness.context_window or model.context_window
            self._window = window or _UNKNOWN_WINDOW
            toolsets = [*self.harness.toolsets, *toolsets_of(self.turn.servers)]
            async with foreign_tools(toolsets, model, BY_NAME) as foreign:
                for words in foreign.left_out:
                    await emit(Notice(text=words))
                self._calling = Calling(self.tools, foreign, emit)
                self._parameters = ModelRequestParameters(function_tools=_definitions(foreign))
                self._instructions = await system_prompt(self.turn.instructions, self.tools)
                await self._rounds()

    @asynccontextmanager
    async def _time_cap(self) -> AsyncIterator[None]:
        cap_s = self.turn.caps.time_s
        left_s = None if cap_s is None else max(cap_s - self._began_after_s, 0.0)
        try:
            async with asyncio.timeout(left_s) as limit:
                yield
        except TimeoutError:
            if not limit.expired():
                raise
            raise CappedError(f"The run took as long as it may: {cap_s:g} s.") from None

    async def _take_up(self) -> None:
        """The thread as it was left, brought to where the model can be asked."""
        turn = self.turn
        try:
            self.thread = Thread.of(turn.state)
        except ValueError:
            self.thread = Thread()
            await self._emit(
                Notice(
                    text="What was kept of the thread cannot be read; its turns are told in short."
                )
            )
        thread = self.thread
        if turn.resumes and thread.spent.run == turn.run and thread.messages:
            return
        for _, call in thread.unanswered():
            thread.add(_interrupted(call, _STOPPED))
        thread.tell(turn.history)
        thread.add(UserPromptPart(turn.prompt))
        thread.spent = Spent(run=turn.run)
        await self._keep()

    async def _rounds(self) -> None:
        await self._answer_what_is_open()
        if isinstance(self.thread.messages[-1], ModelResponse):
            return  # The death came after the last word.
        while True:
            self._hold_to_caps()
            if self._fills() > self.harness.compact_at * self._window:
                await self._compact()
                self._hold_to_caps()
            answer = await self._ask()
            response = answer.response
            if response.tool_calls or (response.text or "").strip():
                self.thread.respond(response, answer.calls)
            else:
                await self._emit(Notice(text="The model gave an empty answer."))
            await self._keep()
            if not response.tool_calls:
                await self._say_how_it_ended(answer)
                return
            await self._do(self.thread.unanswered(), cut_off=response.finish_reason == "length")

    async def _say_how_it_ended(self, answer: Answer) -> None:
        match answer.response.finish_reason:
            case "length":
                await self._emit(
                    Notice(text="The answer reached the model's limit and was cut there.")
                )
            case "content_filter":
                await self._emit(Notice(text="The provider's content filter ended the answer."))
            case _:
                pass

    # --- tools ---------------------------------------------------------------------------------

    async def _answer_what_is_open(self) -> None:
        """After a death: the calls that the last response asked for, and that got no answer.

        The first of them may have been at work. What only looks is looked at again; what may have
        changed something is not done twice, the model is told so.
        """
        pending = self.thread.unanswered()
        if not pending:
            return
        await self._emit(Notice(text="The run goes on where it was cut off."))
        event_id, first = pending[0]
        tool = BY_NAME.get(first.tool_name)
        if tool is None or not tool.looks:
            await self._calling.not_done(event_id, _MAY_HAVE)
            self.thread.add(_interrupted(first, _MAY_HAVE))
            await self._keep()
            pending = pending[1:]
        await self._do(pending, cut_off=False)

    async def _do(self, pending: Sequence[tuple[str, ToolCallPart]], *, cut_off: bool) -> None:
        """Do the calls one after the other, as a model means them; the state is kept after each."""
        for event_id, call in pending:
            self.thread.add(await self._calling.answer(event_id, call, cut_off=cut_off))
            self.thread.drop_pictures(keep_last=1)
            await self._keep()

    # --- the model -----------------------------------------------------------------------------

    async def _ask(self) -> Answer:
        """The next response; a thread that turns out too long is compacted, once."""
        compacted = False
        while True:
            try:
                answer = await self._asking.ask(self._messages(), self._parameters)
            except TooLongError as error:
                if compacted:
                    raise ModelError(
                        f"{error} Begin a new thread, or take another model."
                    ) from None
                await self._compact()
                compacted = True
                continue
            except RejectedError as error:
                if not self.thread.has_pictures():
                    raise ModelError(str(error)) from None
                self.thread.drop_pictures()
                await self._emit(Notice(text="The model takes no pictures; it goes on without."))
                continue
            await self._account(answer)
            usage = answer.response.usage
            self.thread.context_tokens = usage.input_tokens + usage.output_tokens
            return answer

    def _messages(self) -> list[ModelMessage]:
        """The thread with the instructions, which are not kept: they may change between turns."""
        last = self.thread.messages[-1]
        if not isinstance(last, ModelRequest):
            raise AssertionError("a model is asked only with a request")
        return [*self.thread.messages[:-1], replace(last, instructions=self._instructions)]

    async def _account(self, answer: Answer) -> None:
        spent = self.thread.spent
        usage = answer.response.usage
        spent.requests = self._asking.asked
        spent.input_tokens += usage.input_tokens
        spent.output_tokens += usage.output_tokens
        spent.cache_read_tokens += usage.cache_read_tokens
        if usage.cost is None:
            if spent.unpriced == 0 and self.turn.caps.cost_usd is not None:
                await self._emit(
                    Notice(
                        text="The model's price is not known: the run's cost cap cannot hold it."
                    )
                )
            spent.unpriced += 1
        else:
            spent.cost_usd += float(usage.cost)
        await self._emit(
            Usage(
                requests=spent.requests,
                input_tokens=spent.input_tokens,
                output_tokens=spent.output_tokens,
                cache_read_tokens=spent.cache_read_tokens,
                cost_usd=None if spent.unpriced else spent.cost_usd,
            )
        )

    def _hold_to_caps(self) -> None:
        caps, spent = self.turn.caps, self.thread.spent
        self._asking.hold_to_cap()
        if caps.cost_usd is not None and spent.cost_usd >= caps.cost_usd:
            raise CappedError(f"The run cost as much as it may: {caps.cost_usd:.2f} US dollars.")

    # --- compaction ----------------------------------------------------------------------------

    def _fills(self) -> int:
        """How many tokens of context the next request takes, counted as far as they were."""
        thread = self.thread
        if thread.context_tokens:
            newest = thread.messages[-1:] if isinstance(thread.messages[-1], ModelRequest) else []
            return thread.context_tokens + tokens_of(newest)
        return tokens_of(thread.messages) + round(len(self._instructions) / CHARS_PER_TOKEN)

    async def _compact(self) -> None:
        """A summary in place of the older part. The thread is valid before and after."""
        thread = self.thread
        at = where_to_cut(thread.messages, round(self._window * _TAIL_SHARE))
        words = "The tools' older output was shortened to fit the model."
        if at:
            summary = await self._summary(at)
            thread.messages = shortened(thread.messages, at, summary, self.turn.prompt)
            words = f"The thread was compacted: a summary stands for its first {at} messages."
        if tokens_of(thread.messages) > self.harness.compact_at * self._window:
            thread.messages = trimmed(thread.messages, _TRIMMED_CHARS)
        thread.context_tokens = 0
        await self._emit(Notice(text=words))
        await self._keep()

    async def _summary(self, at: int) -> str:
        share = 0.6
        while True:
            told = transcript(self.thread.messages[:at], round(self._window * share))
            ask = [ModelRequest(parts=[UserPromptPart(told)], instructions=SUMMARISE)]
            try:
                answer = await self._asking.ask(ask, ModelRequestParameters(), aloud=False)
            except TooLongError as error:
                share /= 2
                if share < 0.1:
                    raise ModelError(
                        f"{error} Begin a new thread, or take another model."
                    ) from None
                continue
            except RejectedError as error:
                raise ModelError(str(error)) from None
            await self._account(answer)
            return answer.response.text or "(The summary is empty.)"

    async def _keep(self) -> None:
        elapsed_s = time.monotonic() - self._began
        self.thread.spent.elapsed_s = self._began_after_s + elapsed_s
        await self._emit(StateKept(state=self.thread.keep()))


def _interrupted(call: ToolCallPart, words: str) -> ToolReturnPart:
    return ToolReturnPart(call.tool_name, words, call.tool_call_id, outcome="interrupted")


def _definitions(foreign: ForeignTools) -> list[ToolDefinition]:
    ours = [
        ToolDefinition(
            name=tool.name,
            description=tool.says,
            parameters_json_schema=tool.takes.model_json_schema(),
        )
        for tool in TOOLS
    ]
    return [*ours, *foreign.definitions]
