"""One run, from its sandbox's start to its last event, whatever comes between.

The work is a task of its own: a stop, a cap, a lost lease and the server's end all cancel it at
once, and what is left to say is said afterwards.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator
from datetime import UTC, datetime
from typing import Final, Literal

import structlog

from limpet.control.db import AgentRow, RunRow
from limpet.control.sandboxes.leases import LeaseHeldError
from limpet.control.threads.checkpoints import Taken, checkpoint
from limpet.control.threads.claims import Claimed
from limpet.control.threads.harnesses import MODEL_OPTIONAL, OUTSIDE, command_of, harness_of
from limpet.control.threads.journal import locked
from limpet.control.threads.keys import NoModelError, ThreadGoneError
from limpet.control.threads.parts import ThreadParts, sandbox_key
from limpet.control.threads.past import past_of
from limpet.control.threads.portable import storable
from limpet.control.threads.prompts import UNDONE, instructions_of, project_instructions
from limpet.control.threads.recorder import Recorder
from limpet.control.threads.run_model import RunModel
from limpet.control.threads.sandbox_tools import DaemonTools
from limpet.control.threads.views import model_of
from limpet.errors import FencedError, LimpetError
from limpet.harness.base import CappedError, Caps, ModelError, ToolServer, Turn
from limpet.harness.events import (
    Checkpoint,
    HarnessEvent,
    HowItEnded,
    Notice,
    RunFinished,
    RunStarted,
    Text,
    Thinking,
    ToolFinished,
    ToolStarted,
)
from limpet.harness.tools import Spent
from limpet.ids import AgentId

log = structlog.get_logger(__name__)

RENEWALS_PER_LEASE: Final = 3
READY_S: Final = 180.0
READY_POLL_S: Final = 0.1
MAX_READY_POLL_S: Final = 1.0
LAST_CHECKPOINT_S: Final = 120.0
SANDBOX_LEASE_S: Final = 180.0
MAX_TAKEOVERS: Final = 3
_RESTORED: Final = {
    "restored": "The sandbox was restored from its last snapshot.",
    "damaged-used-older": "The sandbox was restored from an older snapshot: the last one is "
    "damaged.",
}
_SETTLED: Final = frozenset(
    {"", "idle", "running", "crashed", "clone-failed", "install-failed", "start-failed",
     "needs-credentials"}
)  # fmt: skip

Ending = Literal["stopped", "given-up"]


class Execution:
    """A run that we have taken. `run` does it; `end` cuts it short."""

    def __init__(self, parts: ThreadParts, claimed: Claimed) -> None:
        self._parts = parts
        self._claimed = claimed
        self.key = claimed.key
        self._sandbox = sandbox_key(claimed.thread)
        self._ending: Ending | None = None
        self._ended = asyncio.Event()

    def end(self, why: Ending) -> None:
        """Cut it short: `stopped` for good, `given-up` for another control plane to go on with."""
        self._ending = self._ending or why
        self._ended.set()

    async def run(self) -> None:
        """Do it. Nothing is raised: what goes wrong is the run's end, or logged."""
        try:
            caps = await self._caps()
            recorder = Recorder(self._parts.journal, self.key, self._parts.claims.owner, caps)
            how, error = await self._worked(recorder, caps)
            if how is None:
                await recorder.flush()
                await self._parts.claims.let_go(self.key)
                return
            await self._finish(recorder, how, error)
        except (FencedError, ThreadGoneError) as error:
            log.info("run_is_anothers", run=self.key.run, why=error.message)
        except LimpetError as error:
            log.error("run_left", run=self.key.run, error=error.message)

    async def _caps(self) -> Caps:
        told = await self._parts.caps.get(
            self.key.thread.org, AgentId(self._claimed.thread.agent_id)
        )
        return Caps(time_s=told.time_s, cost_usd=told.cost_usd, requests=told.requests)

    # -- the work and what watches over it -----------------------------------------------------

    async def _worked(self, recorder: Recorder, caps: Caps) -> tuple[HowItEnded | None, str | None]:
        """How it ended, and in words why not well; None: it was given up, and goes on elsewhere."""
        if self._claimed.run.stop_wanted:
            return "stopped", None
        if self._claimed.resumes and (reason := await self._why_not_resumed(recorder)):
            return "interrupted", reason
        working = asyncio.create_task(self._work(recorder, caps))
        watching = [
            asyncio.create_task(self._keep_lease()),
            asyncio.create_task(recorder.flushing()),
            asyncio.create_task(self._ended.wait()),
        ]
        try:
            await asyncio.wait(
                [working, *watching],
                timeout=self._time_left(caps),
                return_when=asyncio.FIRST_COMPLETED,
            )
        finally:
            over = [task for task in watching if task.done()]
            finished = working.done()
            for task in (working, *watching):
                task.cancel()
            await asyncio.gather(working, *watching, return_exceptions=True)
        for task in over:
            if not task.cancelled() and (failed := task.exception()) is not None:
                return _how(failed)
        if not finished:
            if self._ending == "given-up":
                return None, None
            if self._ending == "stopped":
                return "stopped", None
            return "capped", f"This turn has taken {caps.time_s:.0f} s, its limit"
        failure = working.exception() if not working.cancelled() else None
        return ("done", None) if failure is None else _how(failure)

    async def _why_not_resumed(self, recorder: Recorder) -> str | None:
        """None: the turn can be gone on with, or begun anew since nothing was done in it yet."""
        run, begun = self._claimed.run, False
        for event in await self._parts.journal.of_run(self.key):
            begun = begun or isinstance(event, Text | Thinking | ToolStarted)
            if isinstance(event, ToolStarted):
                recorder.open_calls[event.call] = event.name
            elif isinstance(event, ToolFinished):
                recorder.open_calls.pop(event.call, None)
        if run.takeovers > MAX_TAKEOVERS:
            return "The server ended several times in the middle of this turn; it was given up."
        if begun and not run.state_is_new:
            return (
                "The server ended in the middle of this turn. What was done is kept; send a "
                "message to go on."
            )
        return None

    def _time_left(self, caps: Caps) -> float | None:
        if caps.time_s is None:
            return None
        begun = self._claimed.run.started_at
        gone = (datetime.now(UTC) - begun).total_seconds() if begun else 0.0
        return max(1.0, caps.time_s - gone)

    async def _keep_lease(self) -> None:
        while True:
            await asyncio.sleep(self._parts.claims.lease_s / RENEWALS_PER_LEASE)
            await self._parts.claims.renew(self.key)

    async def _work(self, recorder: Recorder, caps: Caps) -> None:
        claimed, parts = self._claimed, self._parts
        run, thread = claimed.run, claimed.thread
        await self._open(recorder)
        agent = await parts.sandboxes.parts.rows.agent(
            self.key.thread.org, AgentId(thread.agent_id)
        )
        harness = harness_of(parts.harnesses, run.harness)
        command = command_of(run.harness, agent)
        ref = model_of(run)
        if ref is None and run.harness not in MODEL_OPTIONAL:
            raise NoModelError("No model was chosen", hint="Choose one and send the message again.")
        model = await parts.providers.choice(self.key.thread.org, ref) if ref else None
        await self._ensure(agent, recorder)
        await self._wait_until_ready(recorder)
        if run.checkpoint_before is None:
            await self._checkpoint(recorder, "before")
        tools = DaemonTools(
            parts.sandboxes,
            self._sandbox,
            parts.consoles,
            lambda: self._ensure(agent, recorder),
            RunModel(model, caps, _taken_before(run)) if model else None,
            parts.programs,
            parts.pictures,
        )
        past = await past_of(parts.database, run)
        prompt = f"{UNDONE}\n\n{run.prompt}" if past.undone else run.prompt
        turn = Turn(
            run=run.id,
            prompt=prompt,
            instructions=instructions_of(
                agent.instructions, await project_instructions(tools, run.harness)
            ),
            model=model,
            caps=caps,
            history=past.history,
            state=run.state if run.state_is_new else past.state,
            resumes=claimed.resumes and run.state_is_new,
            command=command,
            servers=await self._servers(agent, recorder),
        )
        async with contextlib.aclosing(_closable(harness.run(turn, tools))) as events:
            async for event in events:
                await recorder.add(event)

    async def _servers(self, agent: AgentRow, recorder: Recorder) -> list[ToolServer]:
        """The agent's MCP servers, for a harness that keeps their headers out of the sandbox."""
        if self._claimed.run.harness not in OUTSIDE:
            return []
        servers, left_out = await self._parts.servers.for_run(
            self.key.thread.org, AgentId(agent.id)
        )
        await recorder.write(*(Notice(text=words) for words in left_out))
        return servers

    async def _open(self, recorder: Recorder) -> None:
        run = self._claimed.run
        if not self._claimed.resumes:
            started = RunStarted(
                run=run.id, message=run.message, harness=run.harness, model=run.model_name or ""
            )
            await recorder.write(started)
            return
        left_open, recorder.open_calls = recorder.open_calls, {}
        await recorder.write(
            *(_cut_short(call, "The server ended while this ran.") for call in left_open),
            Notice(text="The server was started again in the middle of this turn; it goes on."),
        )

    # -- the sandbox ---------------------------------------------------------------------------

    async def _ensure(self, agent: AgentRow, recorder: Recorder) -> None:
        """The sandbox of the thread's branch, as VM_START brings it up."""
        key = self._sandbox
        patience = asyncio.get_running_loop().time() + SANDBOX_LEASE_S
        while True:
            try:
                begun = await self._parts.sandboxes.start(key.org, agent, key.branch)
                break
            except LeaseHeldError:  # of a control plane that died a moment ago
                if asyncio.get_running_loop().time() > patience:
                    raise
                await asyncio.sleep(MAX_READY_POLL_S)
        told = _RESTORED.get(begun.restore.outcome) if begun.restore else None
        if told is not None:
            await recorder.write(Notice(text=told))

    async def _wait_until_ready(self, recorder: Recorder) -> None:
        """Wait until what clones, installs and starts has come to an end, good or bad."""
        row = await self._parts.sandboxes.parts.rows.get(self._sandbox)
        assert row is not None
        client = (await self._parts.sandboxes.reach_row(row)).client
        pause = READY_POLL_S
        try:
            async with asyncio.timeout(READY_S):
                while True:
                    health = await client.health(timeout_s=5.0)
                    settled = health.running is None and not health.pending
                    if health.configured and settled and health.phase in _SETTLED:
                        break
                    await asyncio.sleep(pause)
                    pause = min(MAX_READY_POLL_S, pause * 1.5)
        except TimeoutError:
            await recorder.write(Notice(text="The project's set-up still goes on."))
            return
        if health.phase.endswith("failed") or health.phase == "crashed":
            await recorder.write(
                Notice(text=f"The project's set-up did not go well ({health.phase}).")
            )

    async def _checkpoint(self, recorder: Recorder, when: Literal["before", "after"]) -> None:
        run = self._claimed.run
        try:
            taken = await checkpoint(
                self._parts.sandboxes,
                self._sandbox,
                when,
                run=run,
                author=self._claimed.thread.created_by,
            )
        except FencedError:
            raise
        except LimpetError as error:
            log.warning("no_checkpoint", run=run.id, when=when, error=error.message)
            await recorder.write(
                Notice(text=f"The workspace {when} this turn could not be saved: {error.message}")
            )
            return
        if taken is None:
            return
        event = Checkpoint(run=run.id, when=when, snapshot=taken.snapshot, commit=taken.commit)
        await recorder.write(event, change=lambda row: _keep_checkpoint(row, when, taken))

    # -- the end -------------------------------------------------------------------------------

    async def _finish(self, recorder: Recorder, how: HowItEnded, error: str | None) -> None:
        parts, key = self._parts, self.key
        await recorder.flush()
        if recorder.open_calls:
            words = "Stopped." if how == "stopped" else "The turn ended while this ran."
            await recorder.write(*(_cut_short(call, words) for call in recorder.open_calls))
        row = await parts.sandboxes.parts.rows.get(self._sandbox)
        if row is not None and row.state == "running" and how != "interrupted":
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LAST_CHECKPOINT_S):
                    await self._checkpoint(recorder, "after")

        said = "".join(
            event.delta for event in await parts.journal.of_run(key) if isinstance(event, Text)
        )

        def change(run: RunRow) -> None:
            run.status, run.error, run.answer = how, error, storable(said)
            run.finished_at = datetime.now(UTC)
            run.lease_owner = run.lease_until = None

        await recorder.write(RunFinished(run=key.run, how=how, error=error), change=change)
        await parts.journal.join(key)
        async with parts.database.session() as session:
            thread = await locked(session, key.thread)
            thread.status = "failed" if how in ("failed", "interrupted") else "idle"
            thread.used_at = datetime.now(UTC)
            thread.version += 1
        parts.journal.tell(key.thread)


def _taken_before(run: RunRow) -> Spent:
    return Spent(
        run.requests, run.input_tokens, run.output_tokens, run.cache_read_tokens, run.cost_usd
    )


def _keep_checkpoint(row: RunRow, when: Literal["before", "after"], taken: Taken) -> None:
    if when == "before":
        row.checkpoint_before = taken.snapshot
    else:
        row.checkpoint_after = taken.snapshot


def _cut_short(call: str, words: str) -> ToolFinished:
    return ToolFinished(call=call, ok=False, output=words)


def _how(failure: BaseException) -> tuple[HowItEnded, str | None]:
    """How a run ended that raised; a lost lease is raised on."""
    if isinstance(failure, FencedError | ThreadGoneError):
        raise failure
    if isinstance(failure, CappedError):
        return "capped", str(failure)
    if isinstance(failure, ModelError):
        return "failed", str(failure)
    if isinstance(failure, LimpetError):
        return "failed", f"{failure.message} {failure.hint}".strip()
    log.error("run_broke", exc_info=failure)
    return "failed", f"Something went wrong inside Limpet: {type(failure).__name__}"


async def _closable(events: AsyncIterator[HarnessEvent]) -> AsyncGenerator[HarnessEvent]:
    """The events, from something that can be closed, whatever the harness gave."""
    try:
        async for event in events:
            yield event
    finally:
        close = getattr(events, "aclose", None)
        if close is not None:
            await close()
