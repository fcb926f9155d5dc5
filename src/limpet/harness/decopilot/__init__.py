"""Decopilot: our own loop around a model, on pydantic-ai.

This module is cheap to import. pydantic-ai and the providers' libraries are loaded with the first
turn, in a thread, so that no server's or command's start waits for them.
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from limpet.harness.base import HarnessName, ModelError, Turn
from limpet.harness.channel import events_of
from limpet.harness.events import HarnessEvent
from limpet.harness.tools import SandboxTools

if TYPE_CHECKING:
    from pydantic_ai.settings import ThinkingLevel
    from pydantic_ai.toolsets import AbstractToolset

    from limpet.harness.decopilot.loop import TurnLoop


@dataclass(frozen=True, slots=True)
class Patience:
    """How often a model is asked again that is overloaded or breaks off, and after which pauses.

    Pauses double from `first_s` up to `most_s`, each cut at random so that many runs do not come
    back in one moment. A provider that says how long to wait is believed up to `most_s`.
    """

    tries: int = 6
    first_s: float = 1.0
    most_s: float = 60.0


class Decopilot:
    """Our own harness: any provider's model with the sandbox's tools.

    `toolsets` are tools of others, entered for the length of each turn, beside those of the turn's
    own servers. A thread is compacted once it fills `compact_at` of the model's context;
    `context_window` says how many tokens that is where neither pydantic-ai nor its price list know,
    as for a local model. `thinking`: how much a model that can reason does; None leaves it to the
    provider.
    """

    name: HarnessName = "decopilot"

    def __init__(
        self,
        *,
        toolsets: "Sequence[AbstractToolset[None]]" = (),
        patience: Patience | None = None,
        compact_at: float = 0.7,
        context_window: int | None = None,
        thinking: "ThinkingLevel | None" = None,
    ) -> None:
        self.toolsets = tuple(toolsets)
        self.patience = patience or Patience()
        self.compact_at = compact_at
        self.context_window = context_window
        self.thinking = thinking

    async def run(self, turn: Turn, tools: SandboxTools) -> AsyncGenerator[HarnessEvent]:
        """Everything that happens in a turn; raises `CappedError` and `ModelError`.

        Nothing goes on before what was given last is taken: who keeps a `StateKept` before asking
        for more has kept it before a tool changes anything.
        """
        loop = (await asyncio.to_thread(_load))(self, turn, tools)
        async with aclosing(events_of(loop.go)) as events:
            async for event in events:
                yield event


def _load() -> "type[TurnLoop]":
    try:
        from limpet.harness.decopilot.loop import TurnLoop
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("limpet"):
            raise
        raise ModelError(
            "The libraries that speak to models are not installed: pip install 'limpet[harness]'."
        ) from None
    return TurnLoop
