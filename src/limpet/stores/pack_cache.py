"""A bounded folder of packs in front of a bucket, so that most restores read this machine's disk.

Packs never change and are named by the BLAKE3 of their bytes: what is in the folder is either right
or not used. What is put goes through it, what is read whole is kept, and parts of what is there are
read from it. `head`, `list` and `delete` are always the bucket's own: what was deleted there is
gone for whoever asks, although its bytes may be read from here for a while
(docs/decisions/0016-a-cache-of-packs.md).
"""

import contextlib
import os
import re
import secrets
from collections.abc import AsyncIterable, AsyncIterator
from pathlib import Path
from typing import BinaryIO, Final

import structlog
from anyio import CancelScope, to_thread
from blake3 import blake3

from limpet.stores.base import Condition, SandboxStore, StoredObject

log = structlog.get_logger(__name__)

_PACK: Final = re.compile(r"v1/[^/]+/(?:packs|trees)/([0-9a-f]{64})")
_READ_BYTES: Final = 1 << 20
_SCRATCH: Final = ".part-"
_STALE_S: Final = 3600.0
_DOWN_TO: Final = 0.9
"""Of the bound: so much is left after packs were let go, so that this is not done for each one."""


class PackCache:
    """The folder. Blocks; for any number of processes at once. A disk that fails is no cache."""

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._verified: dict[str, tuple[int, int, int]] = {}
        self._said = False

    def open(self, key: str, name: str) -> BinaryIO | None:
        """The pack's file, verified, or None when it is not here or not right."""
        try:
            file = (self._folder / _file_name(key)).open("rb")
        except OSError:
            return None
        try:
            if self._is_right(key, name, file):
                os.utime(file.fileno())  # the one used longest ago goes first
                file.seek(0)
                return file
        except OSError as error:
            self.say(error)
        file.close()
        self.drop(key)
        return None

    def begin(self, key: str, name: str) -> "Filling | None":
        """Begin to keep a pack."""
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            path = self._folder / f"{_SCRATCH}{secrets.token_hex(8)}"
            return Filling(self, key, name, path, path.open("xb"))
        except OSError as error:
            self.say(error)
            return None

    def keep(self, key: str, scratch: Path) -> None:
        """Take in what was written whole."""
        scratch.replace(self._folder / _file_name(key))
        self._make_room()

    def drop(self, key: str) -> None:
        """Forget a pack."""
        self._verified.pop(key, None)
        with contextlib.suppress(OSError):
            (self._folder / _file_name(key)).unlink(missing_ok=True)

    @property
    def max_bytes(self) -> int:
        """What the folder may hold."""
        return self._max_bytes

    def _is_right(self, key: str, name: str, file: BinaryIO) -> bool:
        """Whether the bytes are the pack's; a file is hashed when it is met for the first time."""
        seen = os.fstat(file.fileno())
        stamp = (seen.st_dev, seen.st_ino, seen.st_size)
        if self._verified.get(key) == stamp:
            return True
        digest = blake3()
        while chunk := file.read(_READ_BYTES):
            digest.update(chunk)
        if digest.hexdigest() != name:
            return False
        self._verified[key] = stamp
        return True

    def _make_room(self) -> None:
        found: list[tuple[float, int, str]] = []
        with os.scandir(self._folder) as entries:
            for entry in entries:
                with contextlib.suppress(FileNotFoundError):
                    seen = entry.stat(follow_symlinks=False)
                    found.append((seen.st_mtime, seen.st_size, entry.name))
        total = sum(size for _, size, _ in found)
        if total <= self._max_bytes:
            return
        newest = max(when for when, _, _ in found)
        for when, size, name in sorted(found):
            if total <= self._max_bytes * _DOWN_TO:
                return
            if name.startswith(_SCRATCH) and when > newest - _STALE_S:
                continue  # being written
            (self._folder / name).unlink(missing_ok=True)
            total -= size

    def say(self, error: OSError) -> None:
        """Tell the log, once, that the folder cannot be used."""
        if not self._said:
            self._said = True
            log.warning("pack_cache_unusable", folder=str(self._folder), error=str(error))


class Filling:
    """One pack on its way into the folder. Blocks."""

    def __init__(self, cache: PackCache, key: str, name: str, path: Path, file: BinaryIO) -> None:
        self._cache = cache
        self._key = key
        self._name = name
        self._path = path
        self._file: BinaryIO | None = file
        self._digest = blake3()
        self._size_bytes = 0

    def write(self, chunk: bytes) -> None:
        """The next bytes."""
        if self._file is None:
            return
        self._size_bytes += len(chunk)
        if self._size_bytes > self._cache.max_bytes:
            self.discard()
            return
        try:
            self._file.write(chunk)
            self._digest.update(chunk)
        except OSError as error:
            self._cache.say(error)
            self.discard()

    def finish(self) -> None:
        """All bytes were there: keep the pack, if they are its own."""
        if self._file is None:
            return
        try:
            self._file.close()
            if self._digest.hexdigest() == self._name:
                self._file = None
                self._cache.keep(self._key, self._path)
        except OSError as error:
            self._cache.say(error)
        self.discard()

    def discard(self) -> None:
        """Keep nothing of it, unless it was finished."""
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.close()
            self._file = None
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)


class CachedStore:
    """What `store` does, with its packs read from a cache where they are there."""

    def __init__(self, store: SandboxStore, cache: PackCache) -> None:
        self._store = store
        self._cache = cache

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
        """See `SandboxStore.conditional`."""
        return self._store.conditional

    async def put(
        self,
        key: str,
        body: bytes | AsyncIterable[bytes],
        *,
        condition: Condition | None = None,
    ) -> StoredObject:
        """See `SandboxStore.put`; a pack that was stored is at hand from then on."""
        filling = await self._begin(key)
        if filling is None:
            return await self._store.put(key, body, condition=condition)
        try:
            if isinstance(body, bytes):
                stored = await self._store.put(key, body, condition=condition)
                await to_thread.run_sync(filling.write, body)
            else:
                passing = _through(body, filling)
                stored = await self._store.put(key, passing, condition=condition)
            await to_thread.run_sync(filling.finish)
            return stored
        finally:
            await _discarded(filling)

    async def get(
        self, key: str, *, start: int = 0, length: int | None = None
    ) -> AsyncIterator[bytes] | None:
        """See `SandboxStore.get`; a pack that is read from its beginning is kept when all came."""
        name = _name_of(key)
        if name is None:
            return await self._store.get(key, start=start, length=length)
        file = await to_thread.run_sync(self._cache.open, key, name)
        if file is not None:
            return _part(file, start, length)
        chunks = await self._store.get(key, start=start, length=length)
        if chunks is None or start:
            return chunks
        filling = await self._begin(key)
        return chunks if filling is None else _kept(chunks, filling)

    async def head(self, key: str) -> StoredObject | None:
        """See `SandboxStore.head`."""
        return await self._store.head(key)

    async def delete(self, key: str) -> None:
        """See `SandboxStore.delete`."""
        await self._store.delete(key)
        if _name_of(key) is not None:
            await to_thread.run_sync(self._cache.drop, key)

    def list(self, prefix: str) -> AsyncIterator[StoredObject]:
        """See `SandboxStore.list`."""
        return self._store.list(prefix)

    async def _begin(self, key: str) -> Filling | None:
        name = _name_of(key)
        return None if name is None else await to_thread.run_sync(self._cache.begin, key, name)


def _name_of(key: str) -> str | None:
    """The hash that the object's bytes must have; None for what is no pack."""
    found = _PACK.fullmatch(key)
    return found[1] if found else None


def _file_name(key: str) -> str:
    """A key as one name: `@` is in no key."""
    return key.replace("/", "@")


async def _through(body: AsyncIterable[bytes], filling: Filling) -> AsyncIterator[bytes]:
    async for chunk in body:
        await to_thread.run_sync(filling.write, chunk)
        yield chunk


async def _kept(chunks: AsyncIterator[bytes], filling: Filling) -> AsyncIterator[bytes]:
    try:
        async for chunk in chunks:
            await to_thread.run_sync(filling.write, chunk)
            yield chunk
        await to_thread.run_sync(filling.finish)
    finally:
        await _discarded(filling)


async def _part(file: BinaryIO, start: int, length: int | None) -> AsyncIterator[bytes]:
    left = length
    try:
        await to_thread.run_sync(file.seek, start)
        while left is None or left > 0:
            wanted = _READ_BYTES if left is None else min(_READ_BYTES, left)
            chunk = await to_thread.run_sync(file.read, wanted)
            if not chunk:
                return
            if left is not None:
                left -= len(chunk)
            yield chunk
    finally:
        with CancelScope(shield=True):
            await to_thread.run_sync(file.close)


async def _discarded(filling: Filling) -> None:
    with CancelScope(shield=True):
        await to_thread.run_sync(filling.discard)
