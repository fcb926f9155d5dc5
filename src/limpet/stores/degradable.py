"""A store that may turn out to ignore conditions, as some S3 servers silently do.

It is asked once, before the first put on a condition. Where conditions are ignored or refused, the
store is *degraded*: what lies at a key is looked at before each such put. That is no guard against
another writer at the same moment: who must not lose to one (limpet.snapshots.heads) looks again
after it, and the database's lease keeps a second writer away.
"""

from collections.abc import AsyncIterable, AsyncIterator, Callable
from typing import Final

from limpet.errors import PreconditionFailedError
from limpet.stores.base import Condition, ReplaceIf, SandboxStore, StoredObject
from limpet.stores.probe import conditions_honoured

DEGRADED_MEANS: Final = (
    "it ignores conditions on a put, so that nothing in it keeps two writers of one branch apart."
    " Limpet runs: its database's lease does so, and each save looks again at what it wrote"
)
DEGRADED_HINT: Final = (
    "Let only servers that share one database use this bucket, or take a store that honours"
    " If-None-Match (AWS S3, Google Cloud Storage and Azure do)."
)


class DegradableStore:
    """What `store` does; on one that ignores conditions, as much of them as looking first gives.

    `degraded` is called once, when it turns out so. The local folder is never degraded.
    """

    def __init__(self, store: SandboxStore, degraded: Callable[[], None] | None = None) -> None:
        self._store = store
        self._tell = degraded
        self._honoured: bool | None = True if store.kind == "local" else None

    @property
    def kind(self) -> str:
        """See `SandboxStore.kind`."""
        return self._store.kind

    @property
    def where(self) -> str:
        """See `SandboxStore.where`."""
        return self._store.where

    @property
    def conditional(self) -> bool:
        """See `SandboxStore.conditional`; True until it is known, which every save waits for."""
        return self._honoured is not False

    async def learn(self) -> bool:
        """Whether the store honours conditions; it is asked only until it has answered once.

        Raises `StoreUnavailableError`.
        """
        if self._honoured is None:
            honoured = await conditions_honoured(self._store)
            if self._honoured is None:
                self._honoured = honoured
                if not honoured and self._tell is not None:
                    self._tell()
        return self._honoured

    async def put(
        self,
        key: str,
        body: bytes | AsyncIterable[bytes],
        *,
        condition: Condition | None = None,
    ) -> StoredObject:
        """See `SandboxStore.put`; on a degraded store, `condition` held a moment before."""
        if condition is None or await self.learn():
            return await self._store.put(key, body, condition=condition)
        seen = await self._store.head(key)
        wanted = condition.etag if isinstance(condition, ReplaceIf) else None
        if (seen.etag if seen else None) != wanted:
            raise PreconditionFailedError(f"{key!r} is not as it was expected")
        return await self._store.put(key, body)

    async def get(
        self, key: str, *, start: int = 0, length: int | None = None
    ) -> AsyncIterator[bytes] | None:
        """See `SandboxStore.get`."""
        return await self._store.get(key, start=start, length=length)

    async def head(self, key: str) -> StoredObject | None:
        """See `SandboxStore.head`."""
        return await self._store.head(key)

    async def delete(self, key: str) -> None:
        """See `SandboxStore.delete`."""
        await self._store.delete(key)

    def list(self, prefix: str) -> AsyncIterator[StoredObject]:
        """See `SandboxStore.list`."""
        return self._store.list(prefix)
