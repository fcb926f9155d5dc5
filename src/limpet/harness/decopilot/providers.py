"""From a choice of model to a connection: one HTTP client, one key, nothing of this process' own.

The providers' libraries would also read keys, headers and organizations out of the environment.
Those are the operator's, and a base URL is an org's to choose: what is sent is held to a list.
"""

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import httpx2
from pydantic_ai.exceptions import UserError
from pydantic_ai.models import Model, create_async_httpx2_client
from pydantic_ai.settings import ModelSettings, ThinkingLevel

from limpet.harness.base import ModelChoice, ModelError

NAMES = {
    "anthropic": "Anthropic",
    "openai": "OpenAI",
    "openai-compatible": "the OpenAI-compatible server",
    "google": "Google",
    "bedrock": "Amazon Bedrock",
}
_NO_KEY = "none"
"""What a keyless local server is sent: the library wants some key."""

_SENT_HEADERS = frozenset(
    [
        "accept",
        "accept-encoding",
        "anthropic-beta",
        "anthropic-version",
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "host",
        "transfer-encoding",
        "user-agent",
    ]
)
_KEY_HEADERS = frozenset(["authorization", "x-api-key", "x-goog-api-key"])


@asynccontextmanager
async def connected(
    choice: ModelChoice, thinking: ThinkingLevel | None
) -> AsyncIterator[tuple[Model, ModelSettings]]:
    """The model and the settings of its requests; what it is reached by is closed at the end.

    Raises `ModelError` where the choice lacks something.
    """
    where = NAMES[choice.provider]
    if not choice.api_key and choice.provider != "openai-compatible":
        raise ModelError(f"There is no key for {where}. Add one in the settings of models.")
    if not choice.base_url and choice.provider == "openai-compatible":
        raise ModelError(
            "An OpenAI-compatible server needs its base URL, such as http://host:8000/v1."
        )
    _check_url(choice)
    key = choice.api_key or _NO_KEY
    async with create_async_httpx2_client() as client:
        client.event_hooks["request"].append(_only_ours(key))
        try:
            model = _model(choice, key, client)
        except ImportError:
            raise ModelError(_missing(choice)) from None
        except (UserError, ValueError, httpx2.InvalidURL):
            raise ModelError(
                f"The settings of {where} cannot be used: check the base URL and the model's name."
            ) from None
        yield model, _settings(choice, thinking)


def _check_url(choice: ModelChoice) -> None:
    try:
        url = httpx2.URL(choice.base_url or "https://provider")
    except httpx2.InvalidURL:
        url = httpx2.URL("")
    if url.scheme not in {"http", "https"} or not url.host:
        raise ModelError(f"The base URL of {NAMES[choice.provider]} must be an http or https URL.")


def _only_ours(key: str) -> Callable[[httpx2.Request], Awaitable[None]]:
    async def hook(request: httpx2.Request) -> None:
        for name, value in list(request.headers.items()):
            kept = key in value if name.lower() in _KEY_HEADERS else name.lower() in _SENT_HEADERS
            if not kept:
                del request.headers[name]

    return hook


def _model(choice: ModelChoice, key: str, client: httpx2.AsyncClient) -> Model:
    match choice.provider:
        case "anthropic":
            from pydantic_ai.models.anthropic import AnthropicModel
            from pydantic_ai.providers.anthropic import AnthropicProvider

            url = choice.base_url or "https://api.anthropic.com"
            return AnthropicModel(
                choice.name,
                provider=AnthropicProvider(api_key=key, base_url=url, http_client=client),
            )
        case "openai":
            from pydantic_ai.models.openai import OpenAIResponsesModel
            from pydantic_ai.providers.openai import OpenAIProvider

            url = choice.base_url or "https://api.openai.com/v1"
            return OpenAIResponsesModel(
                choice.name,
                provider=OpenAIProvider(api_key=key, base_url=url, http_client=client),
            )
        case "openai-compatible":
            from pydantic_ai.models.openai import OpenAIChatModel
            from pydantic_ai.providers.openai_compatible import OpenAICompatibleProvider

            return OpenAIChatModel(
                choice.name,
                provider=OpenAICompatibleProvider(
                    "openai-compatible",
                    api_key=key,
                    base_url=choice.base_url or "",
                    http_client=client,
                ),
            )
        case "google":
            from pydantic_ai.models.google import GoogleModel
            from pydantic_ai.providers.google import GoogleProvider

            return GoogleModel(
                choice.name,
                provider=GoogleProvider(
                    api_key=key,
                    base_url=choice.base_url or "https://generativelanguage.googleapis.com",
                    http_client=client,
                ),
            )
        case "bedrock":
            return _bedrock(choice, key)


def _bedrock(choice: ModelChoice, key: str) -> Model:
    region = re.search(r"\b([a-z]{2}(?:-[a-z]+)+-\d)\b", choice.base_url or "")
    if region is None or not (choice.base_url or "").startswith("https://"):
        raise ModelError(
            "Amazon Bedrock needs the base URL of its region, such as "
            "https://bedrock-runtime.eu-central-1.amazonaws.com."
        )
    from pydantic_ai.models.bedrock import BedrockConverseModel
    from pydantic_ai.providers.bedrock import BedrockProvider

    provider = BedrockProvider(api_key=key, base_url=choice.base_url, region_name=region[1])
    return BedrockConverseModel(choice.name, provider=provider)


def _missing(choice: ModelChoice) -> str:
    extra = "bedrock" if choice.provider == "bedrock" else "harness"
    return (
        f"The library that speaks to {NAMES[choice.provider]} is not installed: "
        f"pip install 'limpet[{extra}]'."
    )


def _settings(choice: ModelChoice, thinking: ThinkingLevel | None) -> ModelSettings:
    """Retries are ours to make; prompts are cached; what OpenAI would keep, it is asked not to."""
    settings: ModelSettings
    match choice.provider:
        case "anthropic":
            from pydantic_ai.models.anthropic import AnthropicModelSettings

            settings = AnthropicModelSettings(
                anthropic_cache_instructions=True,
                anthropic_cache_tool_definitions=True,
                anthropic_cache_messages=True,
                # Else a written file comes in one piece. What stands in for it may not know this.
                anthropic_eager_input_streaming=choice.base_url is None,
            )
        case "openai":
            from pydantic_ai.models.openai import OpenAIResponsesModelSettings

            private = OpenAIResponsesModelSettings(openai_store=False, cache=True)
            if thinking:
                private["openai_reasoning_summary"] = "auto"
            settings = private
        case "bedrock":
            settings = ModelSettings(cache=True)
        case "openai-compatible" | "google":
            settings = ModelSettings()
    if choice.provider != "bedrock":
        settings["max_retries"] = 0
    if thinking is not None:
        settings["thinking"] = thinking
    return settings
