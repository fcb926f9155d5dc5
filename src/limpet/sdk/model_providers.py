"""Model providers and their models."""

from typing import Literal, TypedDict, cast
from urllib.parse import quote

from limpet.sdk.connection import Connection

Kind = Literal["anthropic", "openai", "openai-compatible", "google", "bedrock"]


class Provider(TypedDict):
    """Where models are to be had; its key is never told."""

    id: str
    kind: Kind
    name: str
    base_url: str | None
    has_api_key: bool
    models: list[str]
    default_model: str | None
    is_default: bool
    created_at: str
    updated_at: str


class Model(TypedDict):
    """A model that threads can take."""

    provider_id: str
    provider_name: str
    kind: Kind
    name: str
    is_default: bool


class Tested(TypedDict):
    """Whether a provider answers, and the models that it names."""

    ok: bool
    models: list[str]
    problem: dict[str, str] | None


class ModelProviders:
    """The operations on model providers of one org. Every method raises a `LimpetError`."""

    def __init__(self, line: Connection) -> None:
        self._line = line

    def add(
        self,
        kind: Kind,
        *,
        name: str | None = None,
        base_url: str | None = None,
        api_key: str | None = None,
        models: list[str] | None = None,
        default_model: str | None = None,
        is_default: bool | None = None,
    ) -> Provider:
        """A new provider; its key is sealed and never told again."""
        said: dict[str, object | None] = {
            "kind": kind,
            "name": name,
            "base_url": base_url,
            "api_key": api_key,
            "models": models,
            "default_model": default_model,
            "is_default": is_default,
        }
        told = {key: value for key, value in said.items() if value is not None}
        return cast(Provider, self._line.send("POST", "/model-providers", told))

    def all(self) -> list[Provider]:
        """The org's providers, the default one first."""
        return cast(list[Provider], self._line.send("GET", "/model-providers")["providers"])

    def delete(self, provider_id: str) -> None:
        """Delete a provider and its key."""
        self._line.send("DELETE", _one(provider_id))

    def test(self, provider_id: str) -> Tested:
        """Ask a provider for its models."""
        return cast(Tested, self._line.send("POST", f"{_one(provider_id)}/test", {}))

    def models(self) -> list[Model]:
        """The models of all providers, the default one first."""
        return cast(list[Model], self._line.send("GET", "/models")["models"])


def _one(provider_id: str) -> str:
    return f"/model-providers/{quote(provider_id, safe='')}"
