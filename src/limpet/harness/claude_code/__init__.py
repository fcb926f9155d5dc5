"""Claude Code: the CLI itself, in the sandbox, driven through its SDK over a pipe.

This module is cheap to import: the SDK is loaded with the first turn, in a thread.
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
    from limpet.harness.claude_code.turning import ClaudeTurn


@dataclass(frozen=True, slots=True)
class Patience:
    """How long the CLI is waited for, in seconds, and how often it may ask a failing model again.

    `start_s`: until it answers for the first time. `stop_s`: until it has stopped what it does,
    when it is asked to; then it is ended.
    """

    start_s: float = 90.0
    stop_s: float = 2.0
    tries: int = 6


class ClaudeCode:
    """The harness `claude-code`: for models of Anthropic, or of who speaks its protocol."""

    name: HarnessName = "claude-code"

    def __init__(self, *, patience: Patience | None = None) -> None:
        self.patience = patience or Patience()

    async def run(self, turn: Turn, tools: SandboxTools) -> AsyncGenerator[HarnessEvent]:
        """Everything that happens in a turn; raises `CappedError` and `ModelError`.

        Nothing begins before the first `StateKept` is taken.
        """
        made = (await asyncio.to_thread(_load))(self.patience, turn, tools)
        async with aclosing(events_of(made.go)) as events:
            async for event in events:
                yield event


def _load() -> "type[ClaudeTurn]":
    try:
        from limpet.harness.claude_code.turning import ClaudeTurn
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("limpet"):
            raise
        raise ModelError(
            "The library that drives Claude Code is not installed: pip install 'limpet[harness]'."
        ) from None
    return ClaudeTurn
