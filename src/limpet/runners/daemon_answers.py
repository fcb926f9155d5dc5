"""What a daemon answers, before it is believed: bounded in size, checked in shape, or an error."""

import json
from typing import Final, TypeVar

from limpet.errors import DaemonError, DaemonUnreachableError
from limpet.runners.base import DaemonResponse

MAX_JSON_BYTES: Final = 64 * 1024 * 1024
_MAX_ERROR_BYTES: Final = 64 * 1024
_MAX_REASON_CHARS: Final = 2000

Json = dict[str, object]
_T = TypeVar("_T")


async def _read(answer: DaemonResponse, limit_bytes: int) -> bytes:
    read = bytearray()
    async for chunk in answer.body:
        read += chunk
        if len(read) > limit_bytes:
            raise DaemonError(
                f"The daemon's answer is over {limit_bytes} bytes", daemon_status=answer.status
            )
    return bytes(read)


async def json_of(answer: DaemonResponse) -> Json:
    """The JSON object of an answer; `DaemonError` when it is an error, or none."""
    if not 200 <= answer.status < 300:
        raise await error_of(answer)
    read = await _read(answer, MAX_JSON_BYTES)
    try:
        value = json.loads(read) if read else {}
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise DaemonError("The daemon answered no JSON object", daemon_status=answer.status)
    return value


async def error_of(answer: DaemonResponse) -> DaemonError:
    """The daemon's own words for what went wrong, out of `{error}`."""
    reason = hint = ""
    try:
        value = json.loads(await _read(answer, _MAX_ERROR_BYTES))
        if isinstance(value, dict) and isinstance(value.get("error"), str):
            reason = value["error"][:_MAX_REASON_CHARS]
            if isinstance(value.get("hint"), str):
                hint = value["hint"][:_MAX_REASON_CHARS]
    except (ValueError, RecursionError, DaemonError):
        reason = ""
    return DaemonError(
        reason or f"The daemon answered with status {answer.status}",
        daemon_status=answer.status,
        hint=hint,
    )


def field_of(answer: Json, name: str, kind: type[_T]) -> _T:
    """One field of an answer; `DaemonError` when it is not of its kind."""
    value = answer.get(name)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise DaemonError(f"The daemon's answer has no sound {name!r}", daemon_status=200)
    return value


def unreachable(url: str, path: str, error: BaseException) -> DaemonUnreachableError:
    """The error of a daemon that does not answer, or breaks off."""
    reason = "no answer in time" if isinstance(error, TimeoutError) else str(error)
    return DaemonUnreachableError(
        f"The sandbox's daemon at {url} does not answer {path}: {reason or type(error).__name__}",
        hint="Start the sandbox again; its files are kept.",
    )
