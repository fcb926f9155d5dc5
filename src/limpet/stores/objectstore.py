"""A bucket as a blob store: S3 and what speaks its protocol, Google Cloud Storage, Azure.

Requests, credentials, retries with jitter and uploads in parts are obstore's. Here is what it
leaves open: a put on a condition whose answer got lost was made all the same, a range that begins
beyond the end is empty, a bucket that is not there is no empty one, and errors say what to do.

Its blocking calls are used, in threads of ours: the asynchronous ones answer from threads of its
own, which bring an interpreter down that ends at that moment.
"""

import time
from collections.abc import AsyncIterable, AsyncIterator, Iterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import obstore
from anyio import from_thread, to_thread
from obstore.exceptions import AlreadyExistsError, BaseError, PreconditionError

from limpet.errors import InvalidInputError, PreconditionFailedError
from limpet.stores.base import (
    BucketKind,
    Condition,
    ConditionsRefusedError,
    ReplaceIf,
    StoredObject,
)
from limpet.stores.bucket_errors import (
    is_no_bucket,
    is_not_implemented,
    is_out_of_range,
    store_error,
)
from limpet.stores.keys import check_key

if TYPE_CHECKING:
    from obstore.store import AzureStore, GCSStore, S3Store

CHUNK_BYTES: Final = 1 << 20
PART_BYTES: Final = 8 << 20
"""Of an upload in parts; what is no longer goes up in one request."""
WHOLE_BYTES: Final = 64 << 20
"""What is put on a condition goes up in one request up to here, from memory: no pack is longer."""
_PARTS_AT_ONCE: Final = 4
_COMPARED_BYTES: Final = 1 << 20

CLIENT: Final[dict[str, Any]] = {
    "connect_timeout": "5s",
    "read_timeout": "30s",
    "timeout": "300s",
    "user_agent": "limpet",
}
RETRIES: Final[dict[str, Any]] = {
    "max_retries": 8,
    "retry_timeout": timedelta(seconds=60),
    "backoff": {
        "init_backoff": timedelta(milliseconds=100),
        "max_backoff": timedelta(seconds=10),
        "base": 2,
    },
}
"""For what a store answers with 5xx, or not at all: waits are random up to a growing bound."""


class ObjectStore:
    """One bucket, below one prefix. `where` is what people read of it; it holds no secret."""

    def __init__(
        self, kind: BucketKind, where: str, bucket: "S3Store | GCSStore | AzureStore"
    ) -> None:
        self._kind: BucketKind = kind
        self._where = where
        self._bucket = bucket
        self._is_there = False

    @property
    def kind(self) -> str:
        """See `SandboxStore.kind`."""
        return self._kind

    @property
    def where(self) -> str:
        """See `SandboxStore.where`."""
        return self._where

    @property
    def conditional(self) -> bool:
        """See `SandboxStore.conditional`: so it is with every cloud; `DegradableStore` asks."""
        return True

    async def put(
        self,
        key: str,
        body: bytes | AsyncIterable[bytes],
        *,
        condition: Condition | None = None,
    ) -> StoredObject:
        """See `SandboxStore.put`.

        Where the key turns out to hold these very bytes, a condition counts as met: an answer that
        was lost on its way looks just like that. Uploads in parts know no condition: what is
        create-only and longer than `WHOLE_BYTES` goes up when nothing is there at its beginning.
        """
        check_key(key)
        taken = _Body(body)
        start = await taken.take(WHOLE_BYTES if condition else PART_BYTES)
        if condition and not taken.ended:
            if isinstance(condition, ReplaceIf):
                raise InvalidInputError(f"Over {WHOLE_BYTES >> 20} MiB cannot replace an object")
            if await self.head(key) is not None:
                raise PreconditionFailedError(f"{key!r} exists already")
        try:
            if taken.ended:
                put = await to_thread.run_sync(self._put_whole, key, start, condition)
            else:
                put = await to_thread.run_sync(self._put_parts, key, taken.rest(start))
        except (AlreadyExistsError, PreconditionError) as error:
            there = await self._same(key, start)
            if there is None:
                raise PreconditionFailedError(f"{key!r} is not as it was expected") from error
            return there
        except (BaseError, OSError) as error:
            if taken.error is not None:
                raise taken.error from None
            if condition and is_not_implemented(error):
                raise ConditionsRefusedError(
                    f"The store {self._where} refuses to write on a condition",
                    hint="`limpet doctor --store` tells what that means.",
                ) from error
            raise self._error(error, f"write {key!r}") from error
        self._is_there = True
        etag = self._etag(put)
        if not etag:  # a few servers tell it only when asked
            seen = await self.head(key)
            etag = seen.etag if seen else ""
        return StoredObject(key, taken.size_bytes, etag, time.time())

    async def get(
        self, key: str, *, start: int = 0, length: int | None = None
    ) -> AsyncIterator[bytes] | None:
        """See `SandboxStore.get`."""
        if start < 0 or (length is not None and length < 0):
            raise InvalidInputError("A range begins at 0 or later and is not negative")
        check_key(key)
        if length == 0:
            return None if await self.head(key) is None else _nothing()
        options: dict[str, Any] = {}
        if length is not None:
            options["range"] = (start, start + length)
        elif start:
            options["range"] = {"offset": start}
        try:
            found = await to_thread.run_sync(self._get, key, options)
        except FileNotFoundError as error:
            await self._missing(error)
            return None
        except (BaseError, OSError) as error:
            if is_out_of_range(error):
                return _nothing()
            raise self._error(error, f"read {key!r}") from error
        self._is_there = True
        first, end = found.range
        return self._chunks(key, found, end - first)

    async def head(self, key: str) -> StoredObject | None:
        """See `SandboxStore.head`."""
        check_key(key)
        try:
            seen = await to_thread.run_sync(obstore.head, self._bucket, key)
        except FileNotFoundError as error:
            await self._missing(error)
            return None
        except (BaseError, OSError) as error:
            raise self._error(error, f"look at {key!r}") from error
        self._is_there = True
        return self._stored(key, seen)

    async def delete(self, key: str) -> None:
        """See `SandboxStore.delete`."""
        check_key(key)
        try:
            await to_thread.run_sync(obstore.delete, self._bucket, key)
        except FileNotFoundError as error:
            await self._missing(error)
        except (BaseError, OSError) as error:
            raise self._error(error, f"delete {key!r}") from error

    async def list(self, prefix: str) -> AsyncIterator[StoredObject]:
        """See `SandboxStore.list`."""
        folder = prefix.rpartition("/")[0]
        try:
            pages = await to_thread.run_sync(obstore.list, self._bucket, folder or None)
            while (page := await to_thread.run_sync(next, pages, None)) is not None:
                self._is_there = True
                for seen in page:
                    if seen["path"].startswith(prefix):
                        yield self._stored(seen["path"], seen)
        except (BaseError, OSError) as error:
            raise self._error(error, "list what is there") from error

    # -- blocking halves -----------------------------------------------------------------------

    def _put_whole(self, key: str, body: bytes, condition: Condition | None) -> Any:
        mode = self._mode(condition)
        return obstore.put(self._bucket, key, body, mode=mode, use_multipart=False)

    def _put_parts(self, key: str, chunks: AsyncIterator[bytes]) -> Any:
        def pulled() -> Iterator[bytes]:
            while (chunk := from_thread.run(_next_async, chunks)) is not None:
                yield chunk

        return obstore.put(
            self._bucket, key, pulled(), chunk_size=PART_BYTES, max_concurrency=_PARTS_AT_ONCE
        )

    def _get(self, key: str, options: Any) -> Any:
        return obstore.get(self._bucket, key, options=options or None)

    # -- inside --------------------------------------------------------------------------------

    async def _chunks(self, key: str, found: Any, size_bytes: int) -> AsyncIterator[bytes]:
        got = 0
        try:
            stream = iter(found.stream(min_chunk_size=CHUNK_BYTES))
            while (chunk := await to_thread.run_sync(_next, stream)) is not None:
                got += len(chunk)
                yield chunk
        except (BaseError, OSError) as error:
            raise self._error(error, f"read {key!r}") from error
        if got != size_bytes:
            raise self._error(None, f"read {key!r}: {got:,} of {size_bytes:,} bytes came")

    async def _same(self, key: str, whole: bytes) -> StoredObject | None:
        """What is known of the key, if it holds exactly this."""
        if len(whole) > _COMPARED_BYTES:
            return None
        seen = await self.head(key)
        if seen is None or seen.size_bytes != len(whole):
            return None
        chunks = await self.get(key)
        if chunks is None or b"".join([chunk async for chunk in chunks]) != whole:
            return None
        return seen

    async def _missing(self, error: FileNotFoundError) -> None:
        """Raise when it is the bucket that is missing: a bare 404 does not say."""
        if is_no_bucket(error):
            raise self._error(error, "find the bucket") from error
        if not self._is_there:
            await anext(self.list("v1/"), None)
            self._is_there = True

    def _etag(self, told: Any) -> str:
        """What changes with the object: Google's conditions go by its generation."""
        return told["version" if self._kind == "gcs" else "e_tag"] or ""

    def _mode(self, condition: Condition | None) -> Any:
        if isinstance(condition, ReplaceIf):
            return {"version" if self._kind == "gcs" else "e_tag": condition.etag}
        return "create" if condition else "overwrite"

    def _stored(self, key: str, seen: Any) -> StoredObject:
        modified: datetime = seen["last_modified"]
        return StoredObject(key, seen["size"], self._etag(seen), modified.timestamp())

    def _error(self, error: Exception | None, doing: str) -> Exception:
        return store_error(error, doing, self._where)


class _Body:
    """What is put: taken up to a size first, and the rest while it goes up.

    An error of the body's own is kept, so that it can be told from one of the store's.
    """

    def __init__(self, body: bytes | AsyncIterable[bytes]) -> None:
        self.size_bytes = 0
        self.ended = isinstance(body, bytes)
        self.error: BaseException | None = None
        self._whole = body if isinstance(body, bytes) else b""
        self._chunks = _nothing() if isinstance(body, bytes) else aiter(body)

    async def take(self, most: int) -> bytes:
        """All of it, or a little more than `most` bytes."""
        if self.ended:
            self.size_bytes = len(self._whole)
            return self._whole
        parts = []
        async for chunk in self._chunks:
            parts.append(chunk)
            self.size_bytes += len(chunk)
            if self.size_bytes >= most:
                return b"".join(parts)
        self.ended = True
        return b"".join(parts)

    async def rest(self, start: bytes) -> AsyncIterator[bytes]:
        """What was taken, and then the rest."""
        yield start
        try:
            async for chunk in self._chunks:
                self.size_bytes += len(chunk)
                yield chunk
        except BaseException as error:
            self.error = error
            raise


def _next(chunks: Iterator[Any]) -> bytes | None:
    chunk = next(chunks, None)
    return None if chunk is None else bytes(chunk)


async def _next_async(chunks: AsyncIterator[bytes]) -> bytes | None:
    return await anext(chunks, None)


async def _nothing() -> AsyncIterator[bytes]:
    for chunk in [b""][:0]:
        yield chunk
