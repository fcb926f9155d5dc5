"""What every blob store does: put, get, head, delete and list by key, with conditional puts."""

from collections.abc import AsyncIterable, AsyncIterator
from dataclasses import dataclass
from typing import Literal, Protocol

from limpet.errors import StoreUnavailableError


@dataclass(frozen=True, slots=True)
class StoredObject:
    """What a store knows of one object. `etag` changes whenever the bytes do."""

    key: str
    size_bytes: int
    etag: str
    modified_at_s: float


@dataclass(frozen=True, slots=True)
class ReplaceIf:
    """Put only if the key holds the object with this etag now."""

    etag: str


BucketKind = Literal["s3", "gcs", "azure"]
"""Whose bucket it is: S3's and what speaks its protocol, Google's, Azure's."""
Condition = Literal["create-only"] | ReplaceIf


class ConditionsRefusedError(StoreUnavailableError):
    """The store says that it cannot put on a condition."""

    code = "conditions_refused"


class SandboxStore(Protocol):
    """A blob store. Every method may raise `StoreUnavailableError`.

    Keys are `/`-separated safe names (limpet.stores.keys); a key that could leave the store's own
    space raises `InvalidInputError`.
    """

    @property
    def kind(self) -> str:
        """`local`, `s3`, `gcs` or `azure`."""
        ...

    @property
    def where(self) -> str:
        """The folder or bucket, for people to read; never holds a secret."""
        ...

    @property
    def conditional(self) -> bool:
        """Whether a put on a condition that does not hold stores nothing, as far as is known.

        False makes the store a *degraded* one: two writers of one key can both count as the first.
        """
        ...

    async def put(
        self,
        key: str,
        body: bytes | AsyncIterable[bytes],
        *,
        condition: Condition | None = None,
    ) -> StoredObject:
        """Store `body` atomically; `PreconditionFailedError` when `condition` does not hold.

        Raises `ConditionsRefusedError` where the store takes no conditions at all.

        A store whose answers may get lost counts a condition as met where the key holds exactly
        this body already.

        If `body` raises half way, nothing is stored and what was there stays.
        """
        ...

    async def get(
        self, key: str, *, start: int = 0, length: int | None = None
    ) -> AsyncIterator[bytes] | None:
        """The object's bytes from `start` (at most `length` of them), or None when missing."""
        ...

    async def head(self, key: str) -> StoredObject | None:
        """What is known of the object, or None when missing."""
        ...

    async def delete(self, key: str) -> None:
        """Delete the object; a missing key is no error."""
        ...

    def list(self, prefix: str) -> AsyncIterator[StoredObject]:
        """All objects whose key starts with `prefix`, in key order."""
        ...
