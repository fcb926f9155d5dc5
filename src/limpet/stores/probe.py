"""Tries a store with a scratch key: all of it, for `limpet doctor --store`, or conditions alone."""

import contextlib
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

from limpet.errors import LimpetError, PreconditionFailedError
from limpet.stores.base import ConditionsRefusedError, ReplaceIf, SandboxStore

_BODY = b"limpet store probe"
_OTHER = b"other"
_IGNORED = "ignored the condition"
_REFUSED = "refused the condition"
_NEEDS = {
    "put": "write objects (s3:PutObject)",
    "get": "read objects (s3:GetObject)",
    "range get": "read objects (s3:GetObject)",
    "head": "read objects (s3:GetObject)",
    "list": "list the bucket (s3:ListBucket)",
    "create-only put": "write objects on a condition (s3:PutObject with If-None-Match)",
    "replace-if put": "write objects on a condition (s3:PutObject with If-Match)",
    "delete": "delete objects (s3:DeleteObject)",
}


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """One operation: whether it did what it must, what it did instead, and what may mend it.

    `permission` is what the operation needs, in words and as S3 calls it. `degraded` says that the
    store can be used all the same, as one that knows no conditions.
    """

    operation: str
    ok: bool
    detail: str = ""
    hint: str = ""
    permission: str = ""
    degraded: bool = False


async def _collect(chunks: AsyncIterator[bytes] | None) -> bytes | None:
    return None if chunks is None else b"".join([chunk async for chunk in chunks])


async def conditions_honoured(store: SandboxStore) -> bool:
    """Whether the store keeps to `create-only`; False where it ignores or refuses conditions.

    Three requests, on a key of its own that is deleted again if that is allowed. Two writers at the
    very same moment are not tried. Raises `StoreUnavailableError`.
    """
    key = f"{_scratch()}/conditions"
    await store.put(key, _BODY)
    try:
        await store.put(key, _OTHER, condition="create-only")
    except PreconditionFailedError:
        return True
    except ConditionsRefusedError:
        return False
    finally:
        with contextlib.suppress(LimpetError):  # what stays is small, and never read
            await store.delete(key)
    return False


def _scratch() -> str:
    """A folder that no other probe has."""
    return f"v1/_doctor/{secrets.token_hex(8)}"


async def probe_store(store: SandboxStore) -> list[ProbeResult]:
    """Put, get, range, head, list, both conditional puts and delete, in this order.

    When nothing can be put, the others are not tried. Nothing stays behind where deleting works.
    """
    prefix = _scratch()
    key = f"{prefix}/probe"

    async def put() -> str:
        return (await store.put(key, _BODY)).etag and ""

    async def get() -> str:
        return "" if await _collect(await store.get(key)) == _BODY else "gave other bytes back"

    async def ranged() -> str:
        part = await _collect(await store.get(key, start=7, length=5))
        return "" if part == _BODY[7:12] else "gave other bytes back"

    async def head() -> str:
        seen = await store.head(key)
        return "" if seen and seen.size_bytes == len(_BODY) else "told another size"

    async def listed() -> str:
        keys = [one.key async for one in store.list(f"{prefix}/")]
        return "" if keys == [key] else f"listed {len(keys)} keys instead of one"

    async def create_only() -> str:
        try:
            await store.put(key, _OTHER, condition="create-only")
        except PreconditionFailedError:
            return ""
        return f"{_IGNORED}: two savers could overwrite each other"

    async def replace_if() -> str:
        seen = await store.head(key)
        if seen is None:
            return "lost the object"
        await store.put(key, _BODY + b"!", condition=ReplaceIf(seen.etag))
        try:
            await store.put(key, _BODY, condition=ReplaceIf(seen.etag))
        except PreconditionFailedError:
            return ""
        return _IGNORED

    async def delete() -> str:
        await store.delete(key)
        await store.delete(key)
        return "" if await store.head(key) is None else "left the object there"

    tries: list[tuple[str, Callable[[], Awaitable[str]]]] = [
        ("put", put), ("get", get), ("range get", ranged), ("head", head), ("list", listed),
        ("create-only put", create_only), ("replace-if put", replace_if), ("delete", delete),
    ]  # fmt: skip
    results = []
    for operation, attempt in tries:
        try:
            wrong = await attempt()
            needs = _NEEDS[operation]
            degraded = wrong.startswith(_IGNORED)
            results.append(ProbeResult(operation, not wrong, wrong, "", needs, degraded))
        except ConditionsRefusedError:
            results.append(ProbeResult(operation, False, _REFUSED, degraded=True))
        except LimpetError as error:
            needs = _NEEDS[operation]
            results.append(ProbeResult(operation, False, error.message, error.hint, needs))
            if operation == "put":
                break
    return results
