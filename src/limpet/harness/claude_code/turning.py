"""A turn of Claude Code: the CLI begun or resumed, asked, listened to, stopped; its caps held."""

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

import anyio
from claude_agent_sdk import ClaudeAgentOptions, ClaudeSDKClient, ClaudeSDKError, ResultMessage

from limpet.harness.base import CappedError, ModelError, Turn
from limpet.harness.channel import Emit
from limpet.harness.claude_code import Patience, command
from limpet.harness.claude_code.failures import final_words
from limpet.harness.claude_code.kept import Kept, going_on, rolled_back, with_earlier
from limpet.harness.claude_code.limpet_server import LimpetServer
from limpet.harness.claude_code.pipe_transport import CliBrokeError, PipeTransport
from limpet.harness.claude_code.release import CLAUDE_CODE
from limpet.harness.claude_code.telling import Telling
from limpet.harness.events import HarnessEvent, Notice, StateKept, Usage
from limpet.harness.tools import ModelGateway, SandboxTools, Spent, ToolFailedError

_NO_SESSION: Final = "No conversation found"
_MOST_ROLL_BACKS: Final = 3
_MOST_SAID: Final = 500


class _SessionGoneError(Exception):
    """The session that should go on is not in the sandbox's home."""


@dataclass(slots=True)
class ClaudeTurn:
    """One turn of one thread."""

    patience: Patience
    turn: Turn
    tools: SandboxTools
    _emit: Emit = field(init=False)
    _kept: Kept = field(init=False, default_factory=Kept)
    _gateway: ModelGateway = field(init=False)
    _told: Spent = field(init=False, default_factory=Spent)
    _program: str = field(init=False, default="")
    _answer: str = field(init=False, default="")

    async def go(self, emit: Emit) -> None:
        """The whole turn, told to `emit`. Raises `CappedError`, `ModelError`, `LimpetError`."""
        self._emit = emit
        choice = self.turn.needed_model
        if choice.provider != "anthropic":
            raise ModelError(
                f"Claude Code speaks Anthropic's protocol, and {choice.name} is reached by another "
                "one. Choose a model of an Anthropic provider, or the harness decopilot."
            )
        resumes, prompt = await self._take_up()
        async with self._time_cap():
            self._program = await self.tools.program(CLAUDE_CODE, self._notice)
            for _ in range(_MOST_ROLL_BACKS):
                words = await self._session(prompt, resumes=resumes)
                if words is None:
                    break
                resumes, prompt = True, rolled_back(self.turn.prompt, words)
            else:
                raise CappedError("The model rolled the workspace back again and again.")
        self._kept.answer(self._answer)
        await self._keep()

    async def _take_up(self) -> tuple[bool, str]:
        """Whether there is a session to resume, and what to ask in it."""
        turn = self.turn
        try:
            self._kept = Kept.of(turn.state)
        except ValueError:
            words = "What was kept of the thread cannot be read; its turns are told in short."
            await self._notice(words)
        kept = self._kept
        again = turn.resumes and kept.run == turn.run and bool(kept.said)
        was_asked = again and kept.asked
        if again:
            kept.said.pop()
        if again and not kept.asked and not kept.said:
            kept.session = ""  # it was never begun
        kept.tell(turn.history)
        resumes = bool(kept.session)
        prompt = going_on(turn.prompt) if was_asked else turn.prompt
        if resumes:
            prompt = with_earlier(kept.said[len(kept.said) - len(turn.history) :], prompt)
        else:
            prompt = with_earlier(kept.said, prompt)
            kept.session = str(uuid.uuid4())
        kept.begin(turn.prompt)
        kept.run, kept.asked = turn.run, was_asked
        await self._keep()
        return resumes, prompt

    @asynccontextmanager
    async def _time_cap(self) -> AsyncIterator[None]:
        cap_s = self.turn.caps.time_s
        try:
            async with asyncio.timeout(cap_s) as limit:
                yield
        except TimeoutError:
            if not limit.expired():
                raise
            raise CappedError(f"The run took as long as it may: {cap_s:g} s.") from None

    # --- one process ---------------------------------------------------------------------------

    async def _session(self, prompt: str, *, resumes: bool) -> str | None:
        """Ask in the session, a new one where it is gone; words about a roll-back, or None."""
        try:
            return await self._process(prompt, resumes=resumes)
        except _SessionGoneError:
            await self._notice(
                "Claude Code's session of this thread is not in the workspace any more; "
                "a new one begins, which is told the thread in short."
            )
        self._kept.session = str(uuid.uuid4())
        await self._keep()
        prompt = with_earlier(self._kept.said[:-1], self._new_prompt())
        return await self._process(prompt, resumes=False)

    def _new_prompt(self) -> str:
        return going_on(self.turn.prompt) if self._kept.asked else self.turn.prompt

    async def _process(self, prompt: str, *, resumes: bool) -> str | None:
        async with self.tools.gateway() as self._gateway:
            return await self._run(prompt, resumes=resumes)

    async def _run(self, prompt: str, *, resumes: bool) -> str | None:
        model = self.turn.needed_model.name
        argv = command.command(
            self._program,
            model=model,
            instructions=self.turn.instructions,
            gateway=self._gateway,
            session=self._kept.session,
            resumes=resumes,
        )
        env = command.environment(model=model, gateway=self._gateway, tries=self.patience.tries)
        folders = await self.tools.folders()
        server = LimpetServer(self.tools)
        telling = Telling(self.turn.needed_model, folders.repo)
        try:
            async with self.tools.process(argv, env=env) as process:
                transport = PipeTransport(process)
                options = ClaudeAgentOptions(
                    mcp_servers={command.SERVER: server.config}, verbatim_prompts=True
                )
                client = ClaudeSDKClient(options, transport)
                try:
                    await self._asked(client, prompt, telling)
                except BaseException:
                    transport.flush_s = self.patience.stop_s
                    raise
                finally:
                    with anyio.CancelScope(shield=True):
                        await client.disconnect()
        except ToolFailedError as error:
            raise ModelError(f"Claude Code cannot be started: {error}") from error
        except CliBrokeError as error:
            words = await server.rolled_back()
            if words is not None:
                return words
            if resumes and _NO_SESSION in error.said:
                raise _SessionGoneError from None
            raise ModelError(_broken(error)) from error
        except ClaudeSDKError as error:
            raise ModelError(f"Claude Code said what its SDK does not know: {error}") from error
        finally:
            with anyio.CancelScope(shield=True):
                await server.settle()
            self._answer += telling.answer
        return None

    async def _asked(self, client: ClaudeSDKClient, prompt: str, telling: Telling) -> None:
        """Ask, and tell what comes of it; whatever ends this early stops the CLI first."""
        over = False
        try:
            await self._connect(client)
            await client.query(prompt)
            async for message in client.receive_messages():
                for event in telling.events(message):
                    await self._emit(event)
                over = isinstance(message, ResultMessage)
                await self._look(telling, over=over)
                if over:
                    return
            raise CliBrokeError("Claude Code ended without an answer.")
        except (CliBrokeError, ClaudeSDKError):
            over = True
            raise
        finally:
            if not over:
                await self._interrupt(client)

    async def _connect(self, client: ClaudeSDKClient) -> None:
        limit_s = self.patience.start_s
        try:
            async with asyncio.timeout(limit_s):
                await client.connect()
        except TimeoutError:
            raise ModelError(
                f"Claude Code started, and did not answer within {limit_s:g} s. Send the message "
                "again; if it stays so, look at the sandbox's memory and processors."
            ) from None

    async def _interrupt(self, client: ClaudeSDKClient) -> None:
        with (
            anyio.move_on_after(self.patience.stop_s, shield=True),
            contextlib.suppress(Exception),
        ):
            await client.interrupt()

    async def _look(self, telling: Telling, *, over: bool) -> None:
        """What was spent, whether a cap is reached, whether the model is lost."""
        if telling.begun and not self._kept.asked:
            self._kept.asked = True
            await self._keep()
        await self._account()
        refused = self._gateway.refused()
        if refused is not None and (not over or telling.failure is not None):
            raise CappedError(refused)
        if telling.failure is not None and (over or telling.hopeless):
            raise ModelError(final_words(telling.failure, self.turn.needed_model))

    async def _account(self) -> None:
        spent = self._gateway.spent()
        if spent == self._told:
            return
        self._told = spent
        await self._emit(
            Usage(
                requests=spent.requests,
                input_tokens=spent.input_tokens,
                output_tokens=spent.output_tokens,
                cache_read_tokens=spent.cache_read_tokens,
                cost_usd=spent.cost_usd,
            )
        )
        caps = self.turn.caps
        if caps.requests is not None and spent.requests > caps.requests:
            raise CappedError(f"The run asked the model as often as it may: {caps.requests} times.")

    async def _notice(self, words: str) -> None:
        await self._emit(Notice(text=words))

    async def _keep(self) -> None:
        event: HarnessEvent = StateKept(state=self._kept.keep())
        await self._emit(event)


def _broken(error: CliBrokeError) -> str:
    said = " ".join(error.said.split())[-_MOST_SAID:]
    return f"{error}{f' It said: {said}' if said else ''}"
