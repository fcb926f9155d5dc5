"""What the three protocols have in common for the server."""

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any, Protocol

from tests.models.scenario import Error, Reply

PIECE_CHARS = 12


class InvalidRequestError(Exception):
    """The provider would refuse the request; the words are what it would say."""


class WireProtocol(Protocol):
    """One provider's wire protocol, its server's side."""

    path: str
    ends_with: str
    """What a stream ends with, beside the events."""

    def key_of(self, headers: dict[str, str]) -> str:
        """The key that a request has."""
        ...

    def check(self, body: dict[str, Any]) -> None:
        """Raise `InvalidRequestError` where the provider would."""
        ...

    def events(self, reply: Reply, model: str, number: int) -> Iterator[dict[str, Any]]:
        """The events of a streamed answer, the `number`th of this server."""
        ...

    def error(self, error: Error, key: str) -> dict[str, Any]:
        """The body of an error, which may name the key as some providers do."""
        ...

    def error_event(self, error: Error) -> dict[str, Any]:
        """The event of an error in an answer that has begun."""
        ...

    def frame(self, event: dict[str, Any]) -> str:
        """An event on the wire."""
        ...


def bearer(headers: dict[str, str]) -> str:
    """The key of a request."""
    return headers.get("authorization", "").removeprefix("Bearer ")


def pieces(text: str) -> list[str]:
    """A text as it is streamed."""
    return [text[at : at + PIECE_CHARS] for at in range(0, len(text), PIECE_CHARS)]


def arguments_of(raw: str | None, given: dict[str, Any]) -> str:
    """A call's arguments on the wire."""
    return json.dumps(given) if raw is None else raw


_PLAIN = re.compile(r"[a-zA-Z0-9_-]{1,64}")


def plain(names: Iterable[str], ids: Iterable[str]) -> None:
    """Refuse tools' names and calls' ids that providers refuse."""
    seen: set[str] = set()
    for name in names:
        if not _PLAIN.fullmatch(name):
            raise InvalidRequestError(f"name {name!r} does not match ^[a-zA-Z0-9_-]{{1,64}}$")
    for call_id in ids:
        if not _PLAIN.fullmatch(call_id) or call_id in seen:
            raise InvalidRequestError(f"tool_use ids must be plain and unique: {call_id!r}")
        seen.add(call_id)


def every_answered(asked: list[str], answered: list[str], what: str) -> None:
    """Refuse a history in which a call has no answer, or an answer no call."""
    if sorted(asked) != sorted(answered):
        raise InvalidRequestError(f"{what}: asked {asked}, answered {answered}")
