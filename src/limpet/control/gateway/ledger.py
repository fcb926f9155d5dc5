"""What one run's gateways have let through, and when they let through nothing more."""

from collections.abc import Mapping
from typing import Final

import structlog

from limpet.control.gateway.protocols import OWN_URLS, Flavor
from limpet.harness.base import Caps, ModelChoice
from limpet.harness.pricing import ApiFlavor, usage_of
from limpet.harness.tools import NOTHING_SPENT, Spent

log = structlog.get_logger(__name__)

_FLAVORS: Final[Mapping[Flavor, ApiFlavor]] = {
    "messages": "default",
    "count": "default",
    "chat": "chat",
    "responses": "responses",
}


class Ledger:
    """Of one run, however often its gateway is opened. `before` is what the run took under a
    control plane that died: caps are those of the whole run."""

    def __init__(self, choice: ModelChoice, caps: Caps, before: Spent = NOTHING_SPENT) -> None:
        self._choice = choice
        self._caps = caps
        self._requests = before.requests
        self._input_tokens = before.input_tokens
        self._output_tokens = before.output_tokens
        self._cache_read_tokens = before.cache_read_tokens
        self._cost_usd = before.cost_usd or 0.0
        self._unpriced = int(before.requests > 0 and before.cost_usd is None)
        self.refused: str | None = None
        """Why a request was refused, if one was."""

    def refusal(self) -> str | None:
        """Why no more requests are let through, and remembered; None while they are."""
        caps = self._caps
        if caps.requests is not None and self._requests >= caps.requests:
            self.refused = f"The run asked the model as often as it may: {caps.requests} times."
        elif caps.cost_usd is not None and self._cost_usd >= caps.cost_usd:
            self.refused = f"The run cost as much as it may: {caps.cost_usd:.2f} US dollars."
        return self.refused

    def begin(self) -> None:
        """A request goes to the provider."""
        self._requests += 1

    def count(self, flavor: Flavor, told: Mapping[str, object]) -> None:
        """What an answer took, in the provider's own words; none where it did not tell."""
        try:
            usage, price = usage_of(
                self._choice, OWN_URLS.get(self._choice.provider, ""), _FLAVORS[flavor], told
            )
        except (ValueError, TypeError, ArithmeticError) as error:
            log.warning("usage_not_understood", error=str(error))
            self._unpriced += 1
            return
        self._input_tokens += usage.input_tokens
        self._output_tokens += usage.output_tokens
        self._cache_read_tokens += usage.cache_read_tokens
        if price is None or not told:
            self._unpriced += 1
        else:
            self._cost_usd += float(price)

    def spent(self) -> Spent:
        """Everything so far; the cost is None where the price of a part of it is not known."""
        return Spent(
            requests=self._requests,
            input_tokens=self._input_tokens,
            output_tokens=self._output_tokens,
            cache_read_tokens=self._cache_read_tokens,
            cost_usd=None if self._unpriced else self._cost_usd,
        )
