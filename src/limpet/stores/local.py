"""A folder as a blob store: every put is atomic and durable, and says so only when it is.

A put writes to a name of its own in the same folder, flushes it, and moves it in place: by link(2),
which fails when the name exists, for create-only; by rename(2) otherwise. Then the folder itself is
flushed. Nothing is ever written through a link that leads out of the base folder.
"""

import errno
import fcntl
import os
import secrets
import stat
import time
from collections.abc import AsyncIterable, AsyncIterator, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from anyio import CancelScope, to_thread

from limpet.errors import (
    InvalidInputError,
    NotEnoughSpaceError,
    PreconditionFailedError,
    StoreUnavailableError,
)
from limpet.stores.base import Condition, ReplaceIf, StoredObject
from limpet.stores.keys import check_key

CHUNK_BYTES = 1 << 20
STALE_AFTER_S = 24 * 3600.0
_SCRATCH = ".put-"
_LOCK = ".replace.lock"


class LocalStore:
    """A store in `base`, which is made when it is not there; safe for many processes at once."""

    kind = "local"

    def __init__(self, base: Path) -> None:
        self._base = base
        self._swept = False
        # A base that cannot be made is told by the first operation, as any broken store is.
        if not base.exists():
            try:
                base.mkdir(mode=0o700, parents=True)
                _flush_folder(base.parent)
            except OSError:
                return

    @property
    def conditional(self) -> bool:
        """See `SandboxStore.conditional`: `link(2)` never replaces."""
        return True

    @property
    def where(self) -> str:
        """The base folder."""
        return str(self._base)

    async def put(
        self,
        key: str,
        body: bytes | AsyncIterable[bytes],
        *,
        condition: Condition | None = None,
    ) -> StoredObject:
        """See `SandboxStore.put`."""
        check_key(key)
        with _told(key):
            path, scratch, file = await to_thread.run_sync(self._begin, key)
        try:
            if isinstance(body, bytes):
                with _told(key):
                    await to_thread.run_sync(_write, file, body)
            else:
                async for chunk in body:
                    with _told(key):
                        await to_thread.run_sync(_write, file, chunk)
            with _told(key):
                return await to_thread.run_sync(self._finish, key, path, scratch, file, condition)
        finally:
            with CancelScope(shield=True):
                await to_thread.run_sync(_discard, scratch, file)

    async def get(
        self, key: str, *, start: int = 0, length: int | None = None
    ) -> AsyncIterator[bytes] | None:
        """See `SandboxStore.get`."""
        if start < 0 or (length is not None and length < 0):
            raise InvalidInputError("A range begins at 0 or later and is not negative")
        check_key(key)
        with _told(key):
            file = await to_thread.run_sync(self._open, key)
        return None if file is None else self._chunks(key, file, start, length)

    async def head(self, key: str) -> StoredObject | None:
        """See `SandboxStore.head`."""
        check_key(key)
        with _told(key):
            return await to_thread.run_sync(lambda: self._stat(key, self._path(key)))

    async def delete(self, key: str) -> None:
        """See `SandboxStore.delete`."""
        check_key(key)

        def remove() -> None:
            path = self._path(key)
            if self._stat(key, path) is not None:
                path.unlink(missing_ok=True)
                _flush_folder(path.parent)

        with _told(key):
            await to_thread.run_sync(remove)

    async def list(self, prefix: str) -> AsyncIterator[StoredObject]:
        """See `SandboxStore.list`."""
        with _told(prefix):
            found = await to_thread.run_sync(self._list, prefix)
        for one in found:
            yield one

    def sweep(self, older_than_s: float = STALE_AFTER_S) -> int:
        """Delete what puts that were killed left behind; how many files that were.

        Blocks. A put that still writes keeps its file fresh. The first put of a process calls this.
        """
        before = time.time() - older_than_s
        swept = 0
        for folder, _, names in os.walk(self._base):
            for name in names:
                path = Path(folder) / name
                with suppress(FileNotFoundError):
                    if name.startswith(_SCRATCH) and path.lstat().st_mtime < before:
                        path.unlink()
                        swept += 1
        return swept

    # -- blocking halves -----------------------------------------------------------------------

    def _path(self, key: str) -> Path:
        """Where the key lies; its folder, links resolved, is below the base."""
        path = self._base / check_key(key)
        base = os.path.realpath(self._base)
        folder = os.path.realpath(path.parent)
        if folder != base and not folder.startswith(base + os.sep):
            raise InvalidInputError(f"{key!r} leads out of the store's folder")
        return path

    def _check_base(self) -> None:
        if not self._base.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, "is not a folder", str(self._base))

    def _begin(self, key: str) -> tuple[Path, Path, BinaryIO]:
        self._check_base()
        if not self._swept:
            self._swept = True
            self.sweep()
        path = self._path(key)
        missing = [p for p in (path.parent, *path.parent.parents) if not p.exists()]
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        for folder in missing:
            _flush_folder(folder.parent)
        scratch = path.with_name(_SCRATCH + secrets.token_hex(16))
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        return path, scratch, os.fdopen(os.open(scratch, flags, 0o600), "wb", buffering=0)

    def _finish(
        self, key: str, path: Path, scratch: Path, file: BinaryIO, condition: Condition | None
    ) -> StoredObject:
        os.fsync(file.fileno())
        seen = os.fstat(file.fileno())
        if path.is_dir():
            raise InvalidInputError(f"{key!r} is a prefix of other keys")
        if condition == "create-only":
            try:
                os.link(scratch, path, follow_symlinks=False)
            except FileExistsError:
                raise PreconditionFailedError(f"{key!r} exists already") from None
        elif isinstance(condition, ReplaceIf):
            with self._replacing(path.parent):
                now = self._stat(key, path)
                if now is None or now.etag != condition.etag:
                    raise PreconditionFailedError(f"{key!r} is not what it was")
                scratch.rename(path)
        else:
            scratch.rename(path)
        _flush_folder(path.parent)
        return _object(key, seen)

    @contextmanager
    def _replacing(self, folder: Path) -> Iterator[None]:
        """One replacer at a time in a folder, across processes."""
        lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    def _open(self, key: str) -> BinaryIO | None:
        self._check_base()
        path = self._path(key)
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        except FileNotFoundError:
            return None
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            return None
        return os.fdopen(descriptor, "rb", buffering=0)

    def _stat(self, key: str, path: Path) -> StoredObject | None:
        self._check_base()
        try:
            seen = path.lstat()
        except FileNotFoundError:
            return None
        return _object(key, seen) if stat.S_ISREG(seen.st_mode) else None

    def _list(self, prefix: str) -> Sequence[StoredObject]:
        self._check_base()
        folder = prefix.rpartition("/")[0]
        top = self._path(f"{folder}/x").parent if folder else self._base
        found = []
        for place, _, names in os.walk(top, onerror=_raise_unless_missing):
            for name in names:
                path = Path(place) / name
                key = path.relative_to(self._base).as_posix()
                if name.startswith(".") or not key.startswith(prefix):
                    continue
                one = self._stat(key, path)
                if one is not None:
                    found.append(one)
        return sorted(found, key=lambda one: one.key)

    async def _chunks(
        self, key: str, file: BinaryIO, start: int, length: int | None
    ) -> AsyncIterator[bytes]:
        left = length
        try:
            with _told(key):
                file.seek(start)
            while left is None or left > 0:
                wanted = CHUNK_BYTES if left is None else min(CHUNK_BYTES, left)
                with _told(key):
                    chunk = await to_thread.run_sync(file.read, wanted)
                if not chunk:
                    return
                if left is not None:
                    left -= len(chunk)
                yield chunk
        finally:
            file.close()


def _write(file: BinaryIO, chunk: bytes) -> None:
    """All of the chunk: an unbuffered write may take less (on a disk that fills, a signal)."""
    left = memoryview(chunk)
    while left:
        left = left[file.write(left) :]


def _discard(scratch: Path, file: BinaryIO) -> None:
    with suppress(OSError):
        file.close()
    with suppress(OSError):  # what cannot be deleted now is swept later
        scratch.unlink(missing_ok=True)


def _object(key: str, seen: os.stat_result) -> StoredObject:
    etag = f"{seen.st_mtime_ns:x}-{seen.st_size:x}-{seen.st_ino:x}"
    return StoredObject(key, seen.st_size, etag, seen.st_mtime)


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _raise_unless_missing(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error


@contextmanager
def _told(key: str) -> Iterator[None]:
    """What the operating system says, in our words."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise NotEnoughSpaceError(
                "The disk that holds the snapshots is full",
                hint="Free some room, then try again; what was stored before is whole.",
            ) from error
        denied = error.errno in (errno.EACCES, errno.EPERM, errno.EROFS)
        raise StoreUnavailableError(
            f"The snapshot folder failed at {key!r}: {error.strerror or error}",
            hint="Its folders must be readable and writable by the user that Limpet runs as."
            if denied
            else "`limpet doctor --store` looks for what is wrong.",
        ) from error
