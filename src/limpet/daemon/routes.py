"""How a native route is declared: typed data that makes routing, validation and openapi.json.

A module of routes gives `routes(ctx) -> list[Route]`; app.py assembles them. docs/protocol.md is
compared with the same data.
"""

import asyncio
import base64
import binascii
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_args

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from limpet.errors import InvalidInputError, LimpetError

if TYPE_CHECKING:
    from limpet.daemon.context import DaemonContext

MAX_BODY_BYTES = 64 * 1024 * 1024
BODY_STALL_S = 60.0
"""How long a body may stand still before it is given up."""
SSE = "text/event-stream"
SSE_HEADERS = {"Cache-Control": "no-cache, no-transform", "X-Accel-Buffering": "no"}
_PARAMETER = re.compile(r"\{([a-z_]+)\}")

StructT = TypeVar("StructT", bound=msgspec.Struct)
Answer = msgspec.Struct | Response | dict[str, Any]
Handler = Callable[["DaemonContext", Any, Request], Awaitable[Answer]]


class Done(msgspec.Struct):
    """It is done."""

    ok: bool


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


class BodyStalledError(LimpetError):
    """The client stopped sending its body, without going away."""

    code = "body_stalled"
    status = 408


class ErrorAnswer(msgspec.Struct, omit_defaults=True):
    """What every route answers when it cannot do it; some add fields that tell more."""

    error: str
    code: str = ""
    hint: str = ""


Activity = Literal["work", "unless polled", "none"]
"""Whether a call counts as work; `unless polled`: not with `X-Limpet-Poll: 1`."""


@dataclass(frozen=True, slots=True)
class Route:
    """One native route.

    `path` is without the prefix and may hold `{name}` parts, found in `request.path_params`.
    `input` is what a POST/PUT body is decoded into, `query` what the query is; the handler gets
    the one that is declared. `headers` are those that mean something to the route alone.
    `body` is the media types of a body that the handler reads itself, `patch` what a JSON one of
    these is laid over: null takes any of its fields away. `media` those of an answer
    that is not JSON. A Struct answer, or one of a union of them, is sent as JSON with 200.
    `statuses` are what it answers beside 200 and what `answers` adds for every route of its kind.
    `auth` asks for the token; `activity` tells whether a call counts as work.
    """

    methods: tuple[str, ...]
    path: str
    handler: Handler
    input: type[msgspec.Struct] | None = None
    output: Any = None
    query: type[msgspec.Struct] | None = None
    headers: tuple[str, ...] = ()
    body: tuple[str, ...] = ()
    patch: type[msgspec.Struct] | None = None
    media: tuple[str, ...] = ()
    statuses: tuple[int, ...] = ()
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

    @property
    def outputs(self) -> tuple[type[msgspec.Struct], ...]:
        """The Structs that it may answer with."""
        if self.output is None:
            return ()
        return get_args(self.output) or (self.output,)

    @property
    def answers(self) -> tuple[int, ...]:
        """Every status that it may answer, in order; 500 is never meant."""
        found = {200, *self.statuses}
        if self.path != "/health":
            found.add(401)  # open routes too where DAEMON_REQUIRE_TOKEN is set
        if self.input is not None:
            found |= {400, 408, 413}
        if self.query is not None:
            found.add(400)
        return tuple(sorted(found))

    @property
    def counts(self) -> Activity:
        """Whether a call of it counts as work."""
        if not self.activity:
            return "none"
        return "unless polled" if "GET" in self.methods else "work"


async def chunks_of(request: Request, *, stall_s: float = BODY_STALL_S) -> AsyncIterator[bytes]:
    """The body as it comes; `BodyStalledError` when nothing comes for `stall_s`."""
    stream = request.stream()
    while True:
        try:
            async with asyncio.timeout(stall_s):
                chunk = await anext(stream, None)
        except TimeoutError:
            raise BodyStalledError(f"nothing came for {stall_s:g} s") from None
        if chunk is None:
            return
        yield chunk


async def read_body(request: Request, limit: int = MAX_BODY_BYTES) -> bytes:
    """The whole body; `BodyTooLargeError` past `limit` bytes."""
    parts: list[bytes] = []
    size = 0
    async for chunk in chunks_of(request):
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
    except RecursionError:
        raise InvalidInputError("the body is nested too deeply") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        if isinstance(error, msgspec.ValidationError) and b"null" in text:
            with suppress(msgspec.ValidationError, RecursionError):
                given = msgspec.json.decode(text)
                if isinstance(given, dict):
                    given = {name: value for name, value in given.items() if value is not None}
                return msgspec.convert(given, type=type_)
        raise InvalidInputError(f"the body does not fit: {error}") from error


def decode_query(request: Request, type_: type[StructT]) -> StructT:
    """The query as `type_`; of a name that comes twice the last one counts."""
    try:
        return msgspec.convert(dict(request.query_params), type=type_, strict=False)
    except msgspec.ValidationError as error:
        raise InvalidInputError(f"the query does not fit: {error}") from error
