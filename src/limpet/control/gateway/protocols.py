"""The providers' protocols as far as a gateway must know them: paths, bodies, errors. Pure.

What is let through is a list, not what is left of one: paths, headers in both directions. A body is
read and written anew, so that what was judged is what is sent.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from limpet.errors import InvalidInputError
from limpet.harness.base import ModelChoice, ModelError

Dialect = Literal["anthropic", "openai"]
Flavor = Literal["messages", "count", "chat", "responses"]
Headers = Sequence[tuple[str, str]]

OWN_URLS: Final = {
    "anthropic": "https://api.anthropic.com",
    "openai": "https://api.openai.com/v1",
}
_ROUTES: Final[Mapping[Dialect, Mapping[str, Flavor]]] = {
    "anthropic": {"/v1/messages": "messages", "/v1/messages/count_tokens": "count"},
    "openai": {"/v1/chat/completions": "chat", "/v1/responses": "responses"},
}
_QUERY = re.compile(r"[\w.=&-]{0,200}")
_KINDS: Final = {
    400: "invalid_request_error",
    401: "authentication_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
}
_ASKED: Final = frozenset(
    ["accept", "anthropic-beta", "anthropic-version", "content-type", "openai-beta", "user-agent"]
)
_ANSWERED: Final = frozenset(
    [
        "content-type",
        "request-id",
        "retry-after",
        "retry-after-ms",
        "x-request-id",
        "x-should-retry",
    ]
)


@dataclass(frozen=True, slots=True)
class Target:
    """Where a request goes. `flavor` tells how its body is made and its answer counted."""

    flavor: Flavor
    url: str


@dataclass(frozen=True, slots=True)
class Prepared:
    """A body as it is sent. `hides_usage`: whoever asked wants no usage in the stream."""

    body: bytes
    hides_usage: bool = False


def dialect_of(choice: ModelChoice, name: str) -> Dialect:
    """The protocol of a provider, `name` for people; `ModelError` where it is none that we hand on,
    or the choice lacks something.
    """
    if choice.provider in {"google", "bedrock"}:
        raise ModelError(
            f"This harness needs a provider that speaks as Anthropic or OpenAI do; {name} does "
            "not. Choose another model, or another harness."
        )
    if not choice.api_key and choice.provider != "openai-compatible":
        raise ModelError(f"There is no key for {name}. Add one in the settings of models.")
    if not re.match(r"https?://[^/?#\s]", choice.base_url or OWN_URLS.get(choice.provider, "")):
        raise ModelError(f"The base URL of {name} must be an http or https URL.")
    return "anthropic" if choice.provider == "anthropic" else "openai"


def target_of(choice: ModelChoice, dialect: Dialect, path: str) -> Target | None:
    """Where a POST to `path` goes; None for what is not let through."""
    path, _, query = path.partition("?")
    flavor = _ROUTES[dialect].get(path)
    if flavor is None or not _QUERY.fullmatch(query):
        return None
    base = (choice.base_url or OWN_URLS[choice.provider]).rstrip("/")
    if dialect == "anthropic":
        url = base.removesuffix("/v1") + path
    else:
        url = base + path.removeprefix("/v1")
    return Target(flavor, f"{url}?{query}" if query else url)


def key_headers(choice: ModelChoice, dialect: Dialect) -> dict[str, str]:
    """The key, as the provider wants it."""
    key = choice.api_key
    if not key:
        return {}
    return {"x-api-key": key} if dialect == "anthropic" else {"authorization": f"Bearer {key}"}


def asked_headers(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Of a request's headers those that are sent on."""
    return {name: value for name, value in headers if name in _ASKED}


def answered_headers(headers: Iterable[tuple[str, str]]) -> Headers:
    """Of an answer's headers those that are sent back."""
    return [(name.lower(), value) for name, value in headers if name.lower() in _ANSWERED]


def token_of(headers: Iterable[tuple[str, str]]) -> str:
    """What a request has in place of the provider's key."""
    told = dict(headers)
    bearer = told.get("authorization", "")
    scheme, _, token = bearer.partition(" ")
    return told.get("x-api-key") or (token.strip() if scheme.lower() == "bearer" else "")


def prepared(body: bytes, flavor: Flavor, model: str) -> Prepared:
    """The body for the chosen model; `InvalidInputError` for one that cannot be let through."""
    try:
        wanted = json.loads(body)
    except (ValueError, RecursionError):
        wanted = None
    if not isinstance(wanted, dict):
        raise InvalidInputError("The body is no JSON object")
    wanted["model"] = model
    wanted.pop("service_tier", None)  # which may cost a multiple of what is counted
    if flavor == "responses":
        if wanted.get("background"):
            raise InvalidInputError("Answers in the background are not handed through")
        wanted["store"] = False  # the provider is asked to keep nothing, as by our own harness
    elif flavor == "chat":
        wanted.pop("store", None)
    hides_usage = False
    if flavor == "chat" and wanted.get("stream"):
        options = wanted.get("stream_options")
        options = options if isinstance(options, dict) else {}
        hides_usage = not options.get("include_usage")
        wanted["stream_options"] = {**options, "include_usage": True}
    return Prepared(json.dumps(wanted, ensure_ascii=False).encode(errors="replace"), hides_usage)


def error_body(dialect: Dialect, status: int, words: str) -> bytes:
    """An error as the provider itself would say it."""
    kind = _KINDS.get(status, "api_error")
    error: dict[str, Any] = {"type": kind, "message": words}
    if dialect == "openai":
        return json.dumps({"error": {**error, "param": None, "code": None}}).encode()
    return json.dumps({"type": "error", "error": error}).encode()


def models_body(model: str) -> bytes:
    """The answer to a question for the models of an OpenAI-like provider."""
    one = {"id": model, "object": "model", "created": 0, "owned_by": "limpet"}
    return json.dumps({"object": "list", "data": [one]}).encode()
