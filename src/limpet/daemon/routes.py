"""How a native route is declared: typed data that makes routing, validation and openapi.json.

A module of routes gives `routes(ctx) -> list[Route]`; app.py assembles them.
"""

import base64
import binascii
import re
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from limpet.errors import InvalidInputError, LimpetError

if TYPE_CHECKING:
    from limpet.daemon.context import DaemonContext

MAX_BODY_BYTES = 64 * 1024 * 1024
_PARAMETER = re.compile(r"\{([a-z_]+)\}")

StructT = TypeVar("StructT", bound=msgspec.Struct)
Answer = msgspec.Struct | Response | dict[str, Any]
Handler = Callable[["DaemonContext", Any, Request], Awaitable[Answer]]


class RouteError(LimpetError):
    """An answer `{error: message, **extra}` with a status of the route's own."""

    code = "daemon"

    def __init__(self, message: str, *, status: int = 400, **extra: object) -> None:
        super().__init__(message)
        self.http_status = status
        self.extra = extra


class BodyTooLargeError(LimpetError):
    """A request's body is larger than the route takes."""

    code = "too_large"
    status = 413


class Nothing(msgspec.Struct):
    """The input of routes that take none; whatever is sent is ignored."""


@dataclass(frozen=True, slots=True)
class Route:
    """One native route.

    `path` is without the prefix and may hold `{name}` parts, found in `request.path_params`.
    `input` is what a POST/PUT body is decoded into (None: the handler reads the request itself).
    `auth` asks for the token; `activity` counts a call as work. A Struct or dict answer is sent
    as JSON with 200.
    """

    methods: tuple[str, ...]
    path: str
    handler: Handler
    input: type[msgspec.Struct] | None = None
    output: type[msgspec.Struct] | None = None
    auth: bool = True
    activity: bool = True
    summary: str = ""
    pattern: re.Pattern[str] | None = field(init=False, repr=False)

    def __post_init__(self) -> None:
        pattern = None
        if "{" in self.path:
            literal = re.escape(self.path).replace(r"\{", "{").replace(r"\}", "}")
            pattern = re.compile(_PARAMETER.sub(r"(?P<\1>[^/]+)", literal))
        object.__setattr__(self, "pattern", pattern)


async def read_body(request: Request, limit: int = MAX_BODY_BYTES) -> bytes:
    """The whole body; `BodyTooLargeError` past `limit` bytes."""
    parts: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > limit:
            raise BodyTooLargeError(f"the body is larger than {limit} bytes")
        parts.append(chunk)
    return b"".join(parts)


def json_bytes(body: bytes) -> bytes:
    """JSON as it came, or out of base64 where the body does not begin like JSON; 400 otherwise."""
    stripped = body.strip()
    if not stripped:
        return b"{}"
    if stripped[:1] in b'{["' or stripped in {b"null", b"true", b"false"}:
        return stripped
    try:
        decoded = base64.b64decode(stripped, validate=True).strip()
    except (binascii.Error, ValueError):
        raise InvalidInputError("the body is neither JSON nor base64 of JSON") from None
    return decoded


def decode_body(body: bytes, type_: type[StructT]) -> StructT:
    """The body as `type_`; a null counts as left out. `InvalidInputError` tells what is wrong."""
    text = json_bytes(body)
    try:
        return msgspec.json.decode(text, type=type_)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        if isinstance(error, msgspec.ValidationError) and b"null" in text:
            with suppress(msgspec.ValidationError):
                given = msgspec.json.decode(text)
                if isinstance(given, dict):
                    given = {name: value for name, value in given.items() if value is not None}
                return msgspec.convert(given, type=type_)
        raise InvalidInputError(f"the body does not fit: {error}") from error
