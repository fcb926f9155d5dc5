"""Agents that speak the Agent Client Protocol, such as `opencode acp` or `gemini`, in our chat.

The agent is a program in the sandbox; we are its client, over its standard input and output. This
module is cheap to import: the protocol's library is loaded with the first turn, in a thread.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from limpet.harness.base import HarnessName, ModelError, Turn
from limpet.harness.channel import events_of
from limpet.harness.events import HarnessEvent
from limpet.harness.tools import SandboxTools

if TYPE_CHECKING:
    from limpet.harness.acp.turn import AcpTurn


@dataclass(frozen=True, slots=True)
class Waits:
    """How long an agent may take, in seconds, for what is no work on the message itself.

    `start_s` is long: `npx` may have to fetch the agent first. `settle_s` is what it is left in
    peace after its answer, since agents write their sessions down a moment later, and do not say
    when. `end_s` is what it has to end once it was told to stop, or nothing more is said to it;
    then it is killed.
    """

    start_s: float = 240.0
    session_s: float = 120.0
    settle_s: float = 1.0
    end_s: float = 2.0


class AcpAgent:
    """The harness: runs `Turn.command` in the sandbox and speaks the protocol with it."""

    name: HarnessName = "acp"

    def __init__(self, *, waits: Waits | None = None) -> None:
        self.waits = waits or Waits()

    async def run(self, turn: Turn, tools: SandboxTools) -> AsyncGenerator[HarnessEvent]:
        """Everything that happens in a turn; raises `CappedError` and `ModelError`."""
        work = (await asyncio.to_thread(_load))(self.waits, turn, tools)
        async with aclosing(events_of(work.go)) as events:
            async for event in events:
                yield event


def _load() -> "type[AcpTurn]":
    try:
        from limpet.harness.acp.turn import AcpTurn
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("limpet"):
            raise
        raise ModelError(
            "The library that speaks to agents is not installed: pip install 'limpet[harness]'."
        ) from None
    return AcpTurn
