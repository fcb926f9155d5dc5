"""What is going to be deleted: records in the store, at least 24 hours old before it is done.

A record is created once and never changed: `v1/<org>/condemned/<id>`, JSON with a BLAKE3 of the
rest of it, which names objects by their keys. Only prune deletes what it names, and looks again
before it does. Until then no save may build upon a pack that is named here
(docs/decisions/0017-prune.md).
"""

import json
import secrets
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal, get_args

from blake3 import blake3

from limpet.errors import LimpetError
from limpet.ids import OrgId
from limpet.snapshots.ahead import each
from limpet.stores.base import SandboxStore, StoredObject
from limpet.stores.keys import check_key, condemned_key, condemned_prefix

Why = Literal["retention", "deleted", "unnamed"]
"""Too old for what is kept; a person's wish; a pack or tar that no snapshot names."""
GRACE: Final = timedelta(hours=24)
_VERSION: Final = 1
_MAX_KEYS: Final = 10_000
"""Of one record; what is more goes into another."""
_MAX_BYTES: Final = 16 << 20
_AT_ONCE: Final = 16


@dataclass(frozen=True, slots=True)
class Condemned:
    """One record: `at` by the clock of who wrote it, `stored_at_s` by the store's."""

    id: str
    why: Why
    at: datetime
    keys: frozenset[str]
    stored_at_s: float


class CondemnedObjects:
    """The records of one org. Every method may raise `StoreUnavailableError`."""

    def __init__(self, store: SandboxStore, org: OrgId) -> None:
        self._store = store
        self._org = org
        self._read: dict[tuple[str, str], Condemned] = {}
        self._unreadable: list[str] = []
        self.seen: frozenset[str] = frozenset()
        """The keys of everything that was condemned when `keys` was asked last."""

    async def records(self) -> list[Condemned]:
        """All that can be read, oldest first. Of one that cannot nothing will be deleted."""
        listed = [one async for one in self._store.list(condemned_prefix(self._org))]
        found = await each(listed, self._record, at_once=_AT_ONCE)
        self._read = {
            (one.key, one.etag): record
            for one, record in zip(listed, found, strict=True)
            if record is not None
        }
        pairs = zip(listed, found, strict=True)
        self._unreadable = [one.key for one, record in pairs if record is None]
        return sorted(self._read.values(), key=lambda record: (record.at, record.id))

    async def keys(self) -> frozenset[str]:
        """The keys of everything that is condemned."""
        self.seen = frozenset().union(*(record.keys for record in await self.records()))
        return self.seen

    async def add(self, why: Why, keys: Iterable[str], *, at: datetime | None = None) -> None:
        """Condemn objects; from `at` on (now), by the clock here and by the store's."""
        left = sorted(set(keys))
        while left:
            some, left = left[:_MAX_KEYS], left[_MAX_KEYS:]
            told = {
                "version": _VERSION,
                "why": why,
                "at": (at or datetime.now(UTC)).isoformat(),
                "keys": some,
            }
            body = json.dumps({**told, "check": _check(told)}, indent=1).encode()
            key = condemned_key(self._org, _new_id())
            await self._store.put(key, body, condition="create-only")

    async def holds(self, record: Condemned) -> bool:
        """Whether the record is there still."""
        return await self._store.head(condemned_key(self._org, record.id)) is not None

    async def drop(self, record: Condemned) -> None:
        """The record is done with."""
        await self._store.delete(condemned_key(self._org, record.id))

    async def drop_unreadable(self) -> int:
        """Delete the records that `records` could not read; how many there were.

        What they named is condemned anew when its time comes.
        """
        for key in self._unreadable:
            await self._store.delete(key)
        return len(self._unreadable)

    async def _record(self, one: StoredObject) -> Condemned | None:
        known = self._read.get((one.key, one.etag))
        if known is not None:
            return known
        chunks = await self._store.get(one.key, length=_MAX_BYTES + 1)
        if chunks is None:
            return None
        body = b"".join([chunk async for chunk in chunks])
        return _decoded(one, body)


def _decoded(one: StoredObject, body: bytes) -> Condemned | None:
    try:
        told: Any = json.loads(body)
        check = told.pop("check")
        at = datetime.fromisoformat(told["at"])
        keys: Sequence[Any] = told["keys"]
        if told["version"] != _VERSION or told["why"] not in get_args(Why) or at.tzinfo is None:
            return None
        if check != _check(told) or not all(isinstance(key, str) for key in keys):
            return None
        found = frozenset(check_key(key) for key in keys)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, LimpetError):
        return None
    return Condemned(one.key.rpartition("/")[2], told["why"], at, found, one.modified_at_s)


def _check(told: dict[str, Any]) -> str:
    plain = json.dumps(told, sort_keys=True, separators=(",", ":"))
    return blake3(plain.encode()).hexdigest()


def _new_id() -> str:
    """Ids sort by time."""
    return f"{time.strftime('%Y%m%dt%H%M%Sz', time.gmtime())}-{secrets.token_hex(6)}"
