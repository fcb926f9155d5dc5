"""What goes over the socket: one JSON object a message, told apart by `op` and by `kind`."""

from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from limpet.control.errors import ErrorDetail, invalid_input

MAX_NUMBER: Final = (1 << 53) - 1

Number = Annotated[int, Field(ge=1, le=MAX_NUMBER, strict=True)]


class _Asked(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class FollowSandbox(_Asked):
    """Begin to follow a sandbox, as `GET /vm-events` does; `sub` names the subscription."""

    op: Literal["follow-sandbox"]
    sub: Number
    virtual_mcp_id: Annotated[str, Field(min_length=1, max_length=64)]
    branch: Annotated[str | None, Field(max_length=200)] = None
    last_event_id: Annotated[str | None, Field(max_length=255)] = None


class FollowThread(_Asked):
    """Begin to follow a thread after an event, as `GET /threads/{thread_id}/events` does."""

    op: Literal["follow-thread"]
    sub: Number
    thread_id: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{8,64}$")]
    after: Annotated[int, Field(ge=0, le=MAX_NUMBER, strict=True)] = 0


class Leave(_Asked):
    """Follow it no more; nothing is answered."""

    op: Literal["leave"]
    sub: Number


class Ack(_Asked):
    """The subscription's events up to number `n` were taken."""

    op: Literal["ack"]
    sub: Number
    n: Number


class Ping(_Asked):
    """Is anybody there?"""

    op: Literal["ping"]


Follow = FollowSandbox | FollowThread
Asked = Annotated[Follow | Leave | Ack | Ping, Field(discriminator="op")]
_ASKED: TypeAdapter[Follow | Leave | Ack | Ping] = TypeAdapter(Asked)


def read_asked(text: str) -> Follow | Leave | Ack | Ping:
    """What a client asks; `InvalidInputError` says which field does not fit."""
    try:
        return _ASKED.validate_json(text)
    except ValidationError as error:
        raise invalid_input(error.errors()) from error


class Opened(BaseModel):
    """The subscription is there; its events follow."""

    kind: Literal["opened"] = "opened"
    sub: int


class Event(BaseModel):
    """One event of a subscription, counted from 1; `data` is the JSON text that came with it."""

    kind: Literal["event"] = "event"
    sub: int
    n: int
    id: str | None
    event: str
    data: str


class Refused(BaseModel):
    """The subscription is not to be had; `status` is what the stream's own route answers."""

    kind: Literal["refused"] = "refused"
    sub: int
    status: int
    error: ErrorDetail


class Ended(BaseModel):
    """The subscription is over: its stream came to its end, broke off, or was not taken in time.

    Who still wants it asks again, with the last id that came.
    """

    kind: Literal["ended"] = "ended"
    sub: int
    why: Literal["over", "lost", "resync"]


class Alive(BaseModel):
    """Nothing else was to be said for a while (`keepalive`), or a `ping` is answered (`pong`)."""

    kind: Literal["keepalive", "pong"]


class Bye(BaseModel):
    """The server ends the connection: come back later, or sign in."""

    kind: Literal["bye"] = "bye"
    why: Literal["stopping", "signed-out"]


Told = Opened | Event | Refused | Ended | Alive | Bye
