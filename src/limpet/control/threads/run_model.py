"""The model of one run, for what asks it from inside the sandbox; loaded when that is wanted."""

import asyncio
import importlib
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from limpet.control.gateway.protocols import dialect_of
from limpet.control.threads.providers import TITLES
from limpet.harness.base import Caps, ModelChoice
from limpet.harness.tools import NOTHING_SPENT, Spent

if TYPE_CHECKING:
    from limpet.control.gateway.ledger import Ledger
    from limpet.control.gateway.run_gateway import RunGateway


class RunModel:
    """The choice, the caps, and one ledger for however many gateways the run opens.

    `before` is what the run took already, under a control plane that died.
    """

    def __init__(self, choice: ModelChoice, caps: Caps, before: Spent = NOTHING_SPENT) -> None:
        self._choice = choice
        self._caps = caps
        self._before = before
        self._ledger: Ledger | None = None

    @asynccontextmanager
    async def gateway(self) -> AsyncGenerator["RunGateway"]:
        """A gateway with a token of its own; `ModelError` where the protocol is none of its."""
        dialect = dialect_of(self._choice, TITLES[self._choice.provider])
        await asyncio.to_thread(importlib.import_module, "limpet.control.gateway.ledger")
        from limpet.control.gateway.ledger import Ledger
        from limpet.control.gateway.run_gateway import run_gateway

        self._ledger = self._ledger or Ledger(self._choice, self._caps, self._before)
        async with run_gateway(self._choice, dialect, self._ledger) as gateway:
            yield gateway
