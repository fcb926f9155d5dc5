"""Asking a provider which models it has: whether it answers, and takes the key.

What it answers is bounded, and nothing of it but names of models is passed on: a `base_url` may
name anything that this machine reaches.
"""

import json
from typing import Any, Final

import aiohttp

from limpet.errors import InvalidInputError, UnreachableError
from limpet.harness.base import ModelChoice

TIMEOUT_S: Final = 15.0
MAX_BYTES: Final = 4 * 1024 * 1024
MAX_NAME: Final = 200
_OWN: Final = {
    "anthropic": "https://api.anthropic.com",
    "openai": "https://api.openai.com/v1",
    "google": "https://generativelanguage.googleapis.com",
}


class ProviderRefusesError(InvalidInputError):
    """The provider answers, and says no."""

    code = "provider_refuses"


class ProviderUnreachableError(UnreachableError):
    """The provider does not answer."""

    code = "provider_unreachable"


async def models_of(choice: ModelChoice) -> list[str]:
    """Names of the provider's models, in its order.

    Raises `ProviderRefusesError` and `ProviderUnreachableError`, whose words hold no key.
    """
    url, headers = _asked(choice)
    try:
        async with (
            aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=TIMEOUT_S), trust_env=True
            ) as session,
            session.get(url, headers=headers, allow_redirects=False) as answer,
        ):
            body = await answer.content.read(MAX_BYTES)
            while len(body) < MAX_BYTES and (more := await answer.content.read(MAX_BYTES)):
                body += more
            status = answer.status
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
        raise ProviderUnreachableError(
            f"The provider does not answer: {type(error).__name__}",
            hint="Check the base_url, and that the server runs.",
        ) from error
    if status in {401, 403}:
        raise ProviderRefusesError("The provider refuses the key", hint="Check the API key.")
    if status != 200:
        raise ProviderRefusesError(
            f"The provider answers with {status}", hint="Check the base_url."
        )
    return _names(body)


def _asked(choice: ModelChoice) -> tuple[str, dict[str, str]]:
    key = choice.api_key or ""
    if choice.provider == "bedrock":
        raise ProviderRefusesError(
            "Bedrock is tried by the first message", hint="Name its models by hand."
        )
    base = (choice.base_url or _OWN.get(choice.provider, "")).rstrip("/")
    if choice.provider == "anthropic":
        headers = {"anthropic-version": "2023-06-01"} | ({"x-api-key": key} if key else {})
        return f"{base.removesuffix('/v1')}/v1/models?limit=1000", headers
    if choice.provider == "google":
        headers = {"x-goog-api-key": key} if key else {}
        return f"{base.removesuffix('/v1beta')}/v1beta/models?pageSize=1000", headers
    return f"{base}/models", {"Authorization": f"Bearer {key}"} if key else {}


def _names(body: bytes) -> list[str]:
    try:
        told: Any = json.loads(body)
        listed = told.get("data", told.get("models"))
        names = [str(one.get("id") or one["name"]).removeprefix("models/") for one in listed]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ProviderRefusesError(
            "What answers is no model provider", hint="Check the base_url."
        ) from error
    return list(dict.fromkeys(name for name in names if 0 < len(name) <= MAX_NAME))
