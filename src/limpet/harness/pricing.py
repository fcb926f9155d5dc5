"""What requests to models took and cost, as pydantic-ai's price list tells. Slow to import."""

import warnings
from collections.abc import Mapping
from decimal import Decimal
from typing import Literal

from pydantic_ai.messages import ModelResponse
from pydantic_ai.usage import RequestUsage

from limpet.harness.base import ModelChoice

ApiFlavor = Literal["default", "chat", "responses"]


def price_of(response: ModelResponse) -> Decimal | None:
    """US dollars; None where the price is not known."""
    if response.usage.cost is not None:
        return response.usage.cost
    try:
        return response.cost().total_price
    except (LookupError, ValueError, AssertionError):
        return None


def usage_of(
    choice: ModelChoice, own_url: str, flavor: ApiFlavor, told: Mapping[str, object]
) -> tuple[RequestUsage, Decimal | None]:
    """What a provider's own `usage` object says, as a harness of ours would count it; its price."""
    url = choice.base_url or own_url
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # one of an unknown shape counts as nothing
        usage = RequestUsage.extract(
            {"model": choice.name, "usage": dict(told)},
            provider=choice.provider,
            provider_url=url,
            provider_fallback="anthropic" if choice.provider == "anthropic" else "openai",
            api_flavor=flavor,
        )
    response = ModelResponse(
        parts=[],
        usage=usage,
        model_name=choice.name,
        provider_name=choice.provider,
        provider_url=url,
    )
    return usage, price_of(response)
