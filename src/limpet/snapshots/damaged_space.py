"""`v1/<org>/damaged/`: what a repair took out of the way, and what it noted of snapshots.

Nothing is ever deleted by a repair: a damaged object is kept here, byte for byte, and a head that
cannot be whole any more stays where it is, with a note here of what it lost.
"""

import json
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any, Final

from anyio import to_thread
from blake3 import blake3

from limpet.errors import PreconditionFailedError, StoreUnavailableError
from limpet.ids import OrgId
from limpet.stores.base import SandboxStore
from limpet.stores.keys import safe_org

_NOTE: Final = ".note"
_MAX_NOTE_BYTES: Final = 1 << 20
_DIGITS: Final = 16


@dataclass(frozen=True, slots=True)
class HeadNote:
    """What is known of a head that cannot be whole; of just these bytes of it (`head_blake3`)."""

    key: str
    head_blake3: str
    what: str
    lost: int
    paths: tuple[str, ...]
    kept_in: str | None
    """The lineage that holds the rest of it."""


def note_key(head_key: str) -> str:
    """Where the note of a head lies."""
    version, space, rest = head_key.split("/", 2)
    return f"{version}/{space}/damaged/{rest}{_NOTE}"


class DamagedSpace:
    """One org's space for what is damaged."""

    def __init__(self, store: SandboxStore, org: OrgId) -> None:
        self._store = store
        self._org = f"v1/{safe_org(org)}/"
        self.prefix = f"{self._org}damaged/"

    async def note_of(self, key: str, body: bytes) -> HeadNote | None:
        """The note of the head at `key`, if there is one of just these bytes."""
        chunks = await self._store.get(self._place(key) + _NOTE, length=_MAX_NOTE_BYTES)
        if chunks is None:
            return None
        try:
            told: Any = json.loads(b"".join([chunk async for chunk in chunks]))
            note = HeadNote(**{**told, "paths": tuple(told["paths"])})
        except (ValueError, TypeError, KeyError):
            return None
        return note if note.head_blake3 == blake3(body).hexdigest() else None

    async def note(self, note: HeadNote) -> None:
        """Keep a note; the one before it of this head, if any, is of no use any more."""
        body = json.dumps(asdict(note), indent=1).encode()
        await self._store.put(self._place(note.key) + _NOTE, body)

    async def noted(self) -> set[str]:
        """The keys of the heads of which there is a note."""
        return {
            self._org + one.key.removeprefix(self.prefix).removesuffix(_NOTE)
            async for one in self._store.list(self.prefix)
            if one.key.endswith(_NOTE)
        }

    async def keep_copy(self, key: str, body: bytes) -> None:
        """Keep these bytes of an object that is going to be changed."""
        place = self._copy_of(key, blake3(body).hexdigest())
        with suppress(PreconditionFailedError):  # kept by a repair that was cut short
            await self._store.put(place, body, condition="create-only")

    async def take_away(self, key: str) -> None:
        """Move an object here. When that is cut short it can be done again."""
        seen = await self._store.head(key)
        if seen is None:
            return
        digest = blake3()
        async for chunk in self._chunks(key):
            await to_thread.run_sync(digest.update, chunk)
        place = self._copy_of(key, digest.hexdigest())
        with suppress(PreconditionFailedError):  # moved by a repair that was cut short
            await self._store.put(place, self._chunks(key), condition="create-only")
        kept = await self._store.head(place)
        if kept is None or kept.size_bytes != seen.size_bytes:
            raise StoreUnavailableError(
                f"The store did not keep {place} as it was put",
                hint="`limpet doctor --store` looks for what is wrong.",
            )
        await self._store.delete(key)

    async def _chunks(self, key: str) -> AsyncIterator[bytes]:
        chunks = await self._store.get(key)
        if chunks is not None:
            async for chunk in chunks:
                yield chunk

    def _copy_of(self, key: str, digest: str) -> str:
        return f"{self._place(key)}.{digest[:_DIGITS]}"

    def _place(self, key: str) -> str:
        return self.prefix + key.removeprefix(self._org)
