"""One turn with an agent: its program begun, a session found or made, the message, its end."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from acp import RequestError, schema
from acp.connection import Connection
from acp.meta import AGENT_METHODS
from pydantic import JsonValue

from limpet.errors import LimpetError
from limpet.harness.acp import Waits
from limpet.harness.acp.client import Client
from limpet.harness.acp.environment import KEYS, environment_of, variables_set
from limpet.harness.acp.files import Files
from limpet.harness.acp.kept import Kept, Spoken, in_words
from limpet.harness.acp.peer import Peer
from limpet.harness.acp.session import Session, opened
from limpet.harness.acp.terminals import open_terminals
from limpet.harness.acp.updates import Telling
from limpet.harness.acp.wire import Wire
from limpet.harness.base import CappedError, Exchange, ModelError, Turn
from limpet.harness.channel import Emit
from limpet.harness.events import Notice, StateKept, Usage
from limpet.harness.tools import (
    Folders,
    ModelGateway,
    PipedProcess,
    SandboxTools,
    ToolFailedError,
)

MAX_WAITING: Final = 64
"""Things that an agent told, not yet written down: beyond these it waits."""
WATCH_S: Final = 0.5
_RESUMED: Final = (
    "(The server that drives you ended in the middle of this. Some of it may have been done: look "
    "before you do it again, and go on. What was asked:)"
)
_INSTRUCTED: Final = "<instructions>\n{}\n</instructions>"
_ENDINGS: Final = {
    "max_tokens": "The answer reached the model's limit and was cut there.",
    "max_turn_requests": "The agent reached its own limit of requests in one turn.",
    "refusal": "The agent refused to go on with this.",
    "cancelled": "The agent broke off by itself.",
}


@dataclass(frozen=True, slots=True)
class _Printed:
    """A terminal of ours printed something."""

    terminal: str
    text: str


_Heard = dict[str, Any] | _Printed | Usage | Exception | None
"""An update, or something else of a turn in its order; None is the answer to the message."""


@dataclass
class AcpTurn:
    """One turn of one thread."""

    waits: Waits
    turn: Turn
    tools: SandboxTools
    _heard: "asyncio.Queue[_Heard]" = field(
        init=False, default_factory=lambda: asyncio.Queue(MAX_WAITING)
    )
    _listening_to: str | None = field(init=False, default=None)
    _gateway: ModelGateway | None = field(init=False, default=None)
    _usage: Usage | None = field(init=False, default=None)
    _end_by: float | None = field(init=False, default=None)
    _emit: Emit = field(init=False)

    async def go(self, emit: Emit) -> None:
        """The whole turn, told to `emit`. Raises `CappedError` and `ModelError`."""
        self._emit = emit
        turn, tools = self.turn, self.tools
        if not turn.command:
            raise ModelError("This agent has no command of an agent to run: set its acp_command.")
        async with AsyncExitStack() as stack:
            try:
                environment = await self._reach_model(stack)
                folders = await tools.folders()
                process = await stack.enter_async_context(
                    tools.process(turn.command, env=environment)
                )
            except ToolFailedError as error:
                raise ModelError(
                    f"The agent cannot be started: {error}. Its command is run inside the sandbox: "
                    "install it there, or change the agent's acp_command."
                ) from None
            try:
                await self._talk(process, folders)
            except ToolFailedError as error:
                raise ModelError(f"The sandbox went away from the agent: {error}") from None

    async def _talk(self, process: PipedProcess, folders: Folders) -> None:
        files = Files(self.tools, folders.repo)
        async with (
            open_terminals(self.tools, files, folders.repo, self._printed) as terminals,
            self._connected(process, Client(files, terminals, self._told, self._broke)) as peer,
        ):
            kept = Kept.of(self.turn.state)
            if self.turn.resumes:
                kept.turns = kept.turns[:-1]  # the last one is this very turn
            session = await opened(peer, self.turn, kept, folders.repo, self._emit)
            telling = Telling(self.turn.run, folders.repo)
            before = kept.turns + _spoken(self.turn.history)
            kept = Kept(
                session=session.id,
                command=list(self.turn.command),
                turns=[*before, Spoken(prompt=self.turn.prompt, answer="")],
                cost_usd=None if session.is_new else kept.cost_usd,
            )
            await self._emit(StateKept(state=kept.keep()))
            answer = await self._ask(peer, session, self._blocks(session, before), telling)
            async for event in telling.close():
                await self._emit(event)
            await self._account(answer, telling.cost_usd, kept.cost_usd or 0.0)
            kept.turns, kept.cost_usd = before, telling.cost_usd
            kept.add([Exchange(self.turn.prompt, telling.answer)])
            await self._emit(StateKept(state=kept.keep()))
            self._hold_to_caps()
            if (words := _ENDINGS.get(answer.stop_reason)) is not None:
                await self._emit(Notice(text=words))
            await asyncio.sleep(self.waits.settle_s)

    @asynccontextmanager
    async def _connected(self, process: PipedProcess, client: Client) -> AsyncIterator[Peer]:
        wire = Wire(process, self._told)
        connection = Connection(client.handle, wire)
        peer = Peer(connection, wire, process, self.tools, self.waits, self._gateway)
        try:
            yield peer
        finally:
            self._listening_to, client.over = None, True
            await connection.close()
            # What it has not written down yet it may write down now; then it is killed.
            with contextlib.suppress(TimeoutError, ToolFailedError, LimpetError):
                async with self._last_moments():
                    await process.end_input()
                    await process.wait()

    # -- the model ------------------------------------------------------------------------------

    async def _reach_model(self, stack: AsyncExitStack) -> dict[str, str]:
        """The run's gateway as the agent's environment. A key of the sandbox's own goes before."""
        model = self.turn.model
        if model is None or await variables_set(self.tools, KEYS[model.provider]):
            return {}
        try:
            self._gateway = await stack.enter_async_context(self.tools.gateway())
        except ModelError as error:
            await self._emit(
                Notice(text=f"The agent has to do with a model of its own: {error}".strip())
            )
            return {}
        return environment_of(model, self._gateway)

    def _hold_to_caps(self) -> None:
        if self._gateway is not None and (why := self._gateway.refused()) is not None:
            raise CappedError(why)

    async def _watch(self) -> None:
        """What the gateway lets through, as it does, and that it does no longer."""
        gateway = self._gateway
        if gateway is None:
            return
        while True:
            await asyncio.sleep(WATCH_S)
            usage = _spent(gateway)
            if usage.requests and usage != self._usage:
                self._usage = usage
                await self._hear(usage)
            if (why := gateway.refused()) is not None:
                await self._hear(CappedError(why))
                return

    async def _account(
        self, answer: schema.PromptResponse, cost_usd: float | None, before_usd: float
    ) -> None:
        """What the turn took: as the gateway counted it, else as the agent says.

        An agent tells what its session has cost in all; some begin anew with their process.
        """
        usage = _spent(self._gateway) if self._gateway is not None else None
        told = answer.usage if answer.usage and answer.usage.total_tokens else None
        if cost_usd is not None and cost_usd >= before_usd:
            cost_usd -= before_usd
        if (usage is None or not usage.requests) and (told or cost_usd is not None):
            usage = Usage(
                requests=0,  # how often a model was asked, the agent does not tell
                input_tokens=told.input_tokens if told else 0,
                output_tokens=told.output_tokens if told else 0,
                cache_read_tokens=(told.cached_read_tokens or 0) if told else 0,
                cost_usd=cost_usd,
            )
        if usage is not None and usage != self._usage:
            await self._emit(usage)

    # -- the message ----------------------------------------------------------------------------

    def _blocks(self, session: Session, before: Sequence[Spoken]) -> list[JsonValue]:
        """The message, after whatever the agent's session does not know yet."""
        turn = self.turn
        texts: list[str] = []
        if session.is_new and turn.instructions.strip():
            texts.append(_INSTRUCTED.format(turn.instructions.strip()))
        unknown = before if session.is_new else _spoken(turn.history)
        if unknown:
            texts.append(in_words(unknown))
        if turn.resumes:
            texts.append(_RESUMED)
        return [{"type": "text", "text": text} for text in [*texts, turn.prompt]]

    async def _ask(
        self, peer: Peer, session: Session, blocks: list[JsonValue], telling: Telling
    ) -> schema.PromptResponse:
        """Say it, and tell what comes until it is answered. A stop, or a cap, reaches the agent."""
        self._listening_to = session.id
        asking = asyncio.create_task(self._asked(peer, session, blocks))
        watching = asyncio.create_task(self._watch())
        try:
            while (heard := await self._heard.get()) is not None:
                await self._tell(heard, telling)
            return await asking
        except (asyncio.CancelledError, CappedError):
            await self._call_off(peer, session)
            raise
        finally:
            self._listening_to = None
            for task in (asking, watching):
                task.cancel()
            await asyncio.gather(asking, watching, return_exceptions=True)

    async def _asked(
        self, peer: Peer, session: Session, blocks: list[JsonValue]
    ) -> schema.PromptResponse:
        try:
            answer = await peer.ask(
                AGENT_METHODS["session_prompt"],
                {"sessionId": session.id, "prompt": blocks},
                within_s=None,
            )
            return peer.understood(schema.PromptResponse, answer)
        except RequestError as error:
            raise await peer.refusal(error) from None
        finally:
            await self._heard.put(None)

    async def _tell(self, heard: _Heard, telling: Telling) -> None:
        match heard:
            case Exception():
                raise heard
            case Usage():
                await self._emit(heard)
            case _Printed(terminal, text):
                async for event in telling.printed(terminal, text):
                    await self._emit(event)
            case dict():
                async for event in telling.events(heard):
                    await self._emit(event)

    async def _call_off(self, peer: Peer, session: Session) -> None:
        """Tell the agent to stop, and give it a moment to put its session away."""
        self._listening_to = None
        with contextlib.suppress(TimeoutError, ConnectionError):
            async with self._last_moments():
                await peer.tell(AGENT_METHODS["session_cancel"], {"sessionId": session.id})
                while await self._heard.get() is not None:
                    pass

    def _last_moments(self) -> asyncio.Timeout:
        """What an agent has in all to put its things away, from the first time on."""
        if self._end_by is None:
            self._end_by = asyncio.get_running_loop().time() + self.waits.end_s
        return asyncio.timeout_at(self._end_by)

    # -- what comes from the agent ----------------------------------------------------------------

    async def _hear(self, heard: _Heard) -> None:
        if self._listening_to is not None:
            await self._heard.put(heard)

    async def _told(self, params: dict[str, Any]) -> None:
        """An update. What is told of another session, or before we ask, is not of this turn."""
        update = params.get("update")
        if isinstance(update, dict) and params.get("sessionId") == self._listening_to:
            await self._hear(update)

    async def _printed(self, terminal: str, text: str) -> None:
        await self._hear(_Printed(terminal, text))

    def _broke(self, error: Exception) -> None:
        """Something that ends the run; there is always room for it."""
        with contextlib.suppress(asyncio.QueueEmpty):
            if self._heard.full():
                self._heard.get_nowait()
        self._heard.put_nowait(error)


def _spoken(exchanges: Sequence[Exchange]) -> list[Spoken]:
    told = Kept()
    told.add(exchanges)
    return told.turns


def _spent(gateway: ModelGateway) -> Usage:
    spent = gateway.spent()
    return Usage(
        requests=spent.requests,
        input_tokens=spent.input_tokens,
        output_tokens=spent.output_tokens,
        cache_read_tokens=spent.cache_read_tokens,
        cost_usd=spent.cost_usd,
    )
