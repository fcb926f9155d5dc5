"""Reading what changed: small files many at a time, large ones in pieces, torn ones again.

Gives each file's content and sends its blobs on the way. A file that changes while it is read is
read again, up to three times, and then said to be torn.
"""

import contextlib
import os
import stat
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Final

from limpet.snapshots.blobs import MAX_BLOB_BYTES, BlobHash, hash_of
from limpet.snapshots.chunking import cut
from limpet.snapshots.native import CHANGED, EntryStat, ReadFiles, read_files
from limpet.snapshots.native.records import within
from limpet.snapshots.node import MAX_SEGMENTS, Reference
from limpet.snapshots.outgoing import Outgoing
from limpet.snapshots.reading import (
    OPEN_FILE,
    RACY_NS,
    Content,
    changed,
    pieces_of,
    read_together,
    segments_of,
)
from limpet.snapshots.remarks import Remarks
from limpet.snapshots.sparse import Segments
from limpet.snapshots.statcache import NO_DATA, Chunks, EntryContent

BATCH_BYTES: Final = 512 << 10
BATCH_FILES: Final = 256
_BATCHES_AHEAD: Final = 6
_HOLES_FROM_BYTES: Final = 4096
_BLOCK: Final = 512


@dataclass(slots=True)
class Wanted:
    """A file to be read: where it stands in the survey, its path and its folder's listing of it."""

    folder: int
    index: int
    path: bytes
    entry: EntryStat


@dataclass(slots=True)
class Done:
    """A file that was read. `entry` is what it looked like then; None when it is gone.

    `sure` when no later write can leave it looking as it does: then a cache may vouch for it.
    """

    wanted: Wanted
    entry: EntryStat | None
    content: EntryContent
    sure: bool = False


Hashed = tuple[ReadFiles, list[BlobHash | None]]


@dataclass(slots=True)
class _Batch:
    """Small files, by open folder."""

    parts: list[tuple[int, list[Wanted]]]
    read_at_ns: int = 0

    def read(self) -> list[Hashed]:
        """Read and hash them; in a thread."""
        self.read_at_ns = time.time_ns()
        return [_read_and_hash(folder_fd, wanted) for folder_fd, wanted in self.parts]

    def close(self) -> None:
        for folder_fd, _ in self.parts:
            os.close(folder_fd)


class Contents:
    """Reads files and sends what they hold. `want` and `want_together` give what is done."""

    def __init__(self, outgoing: Outgoing, remarks: Remarks) -> None:
        self._outgoing = outgoing
        self._remarks = remarks
        self._gathered = _Batch([])
        self._bytes = 0
        self._files = 0
        self._reading: deque[tuple[_Batch, Future[list[Hashed]]]] = deque()

    def want(self, folder_fd: int, wanted: list[Wanted]) -> Iterator[Done]:
        """Read files of one folder; gives those that are done by now, of earlier folders mostly."""
        small: list[Wanted] = []
        for one in wanted:
            if one.entry.size > MAX_BLOB_BYTES or _may_have_holes(one.entry):
                yield self._with_care(folder_fd, one)
                continue
            small.append(one)
            self._bytes += one.entry.size
            self._files += 1
            if self._bytes >= BATCH_BYTES or self._files >= BATCH_FILES:
                self._gathered.parts.append((os.dup(folder_fd), small))
                small = []
                self._begin()
        if small:
            self._gathered.parts.append((os.dup(folder_fd), small))
        while len(self._reading) > _BATCHES_AHEAD:
            yield from self._take()

    def want_together(self, folder_fd: int, wanted: list[Wanted]) -> Iterator[Done]:
        """Read files of one folder that belong together, such as a database and its log."""
        with contextlib.ExitStack() as opened:
            fds = []
            try:
                for one in wanted:
                    fds.append(os.open(one.entry.name, OPEN_FILE, dir_fd=folder_fd))
                    opened.callback(os.close, fds[-1])
                plain = all(stat.S_ISREG(os.fstat(fd).st_mode) for fd in fds)
                read = read_together(fds) if plain else None
            except OSError:
                read = None
            if read is not None:
                contents, torn = read
                for one, fd, content in zip(wanted, fds, contents, strict=True):
                    self._note_xattrs(fd)
                    yield self._whole(one, content, torn=torn)
                return
        before = _status(folder_fd, wanted[-1].entry.name)
        done = [self._with_care(folder_fd, one) for one in reversed(wanted)]
        after = _status(folder_fd, wanted[-1].entry.name)
        if before is None or after is None or changed(before, after):
            self._remarks.tear(wanted[0].path, "was written to while it was read")
        yield from done

    def rest(self) -> Iterator[Done]:
        """All that is still being read."""
        self._begin()
        while self._reading:
            yield from self._take()

    def close(self) -> None:
        """Let go of every descriptor, also when not all was read."""
        for batch, future in self._reading:
            with contextlib.suppress(BaseException):
                future.result()
            batch.close()
        self._reading.clear()
        self._gathered.close()
        self._gathered = _Batch([])

    # -- small files --------------------------------------------------------------------------

    def _begin(self) -> None:
        if self._gathered.parts:
            batch, self._gathered = self._gathered, _Batch([])
            self._reading.append((batch, self._outgoing.submit(batch.read)))
        self._bytes = self._files = 0

    def _take(self) -> Iterator[Done]:
        batch, future = self._reading[0]
        results = future.result()
        self._reading.popleft()
        try:
            for (folder_fd, wanted), (read, names) in zip(batch.parts, results, strict=True):
                view = memoryview(read.data).toreadonly()
                for place, one in enumerate(wanted):
                    yield self._small(folder_fd, one, place, read, names, view, batch.read_at_ns)
        finally:
            batch.close()

    def _small(
        self,
        folder_fd: int,
        one: Wanted,
        place: int,
        read: ReadFiles,
        names: list[BlobHash | None],
        view: memoryview,
        read_at_ns: int,
    ) -> Done:
        error = read.errnos[place]
        if error > 0:
            return self._failed(one, OSError(error, os.strerror(error)))
        sure = error == 0 and read.ctimes_ns[place] <= read_at_ns - RACY_NS
        if error == CHANGED or not sure:
            return self._with_care(folder_fd, one)
        if read.xattrs[place]:
            self._note_xattrs_of(folder_fd, one.entry.name)
        entry = one.entry._replace(
            mode=read.modes[place],
            nlink=read.nlinks[place],
            ino=read.inos[place],
            mtime_ns=read.mtimes_ns[place],
            ctime_ns=read.ctimes_ns[place],
        )
        name = names[place]
        if name is None:
            return Done(one, entry, NO_DATA, sure=True)
        at = read.offsets[place]
        self._outgoing.data(view[at : at + read.lengths[place]], name)
        return Done(one, entry, name, sure=True)

    # -- with care ----------------------------------------------------------------------------

    def _with_care(self, folder_fd: int, one: Wanted) -> Done:
        """Read one file by itself, again when it changes meanwhile."""
        try:
            fd = os.open(one.entry.name, OPEN_FILE, dir_fd=folder_fd)
        except OSError as error:
            return self._failed(one, error)
        try:
            status = os.fstat(fd)
            if not stat.S_ISREG(status.st_mode):
                self._remarks.skip(one.path, "changed its kind while it was read")
                return Done(one, None, None)
            self._note_xattrs(fd)
            read = read_together([fd])
            if read is None:
                return self._streamed(fd, one)
            [content], torn = read
            return self._whole(one, content, torn=torn)
        except OSError as error:
            return self._failed(one, error)
        finally:
            os.close(fd)

    def _whole(self, one: Wanted, content: Content, *, torn: bool) -> Done:
        """A file that is in memory; what is missing of a torn one is zeros."""
        if torn:
            self._remarks.tear(one.path, "kept changing while it was read")
        entry = entry_of(one.entry.name, content.status)
        missing = content.data_bytes - sum(map(len, content.pieces))
        pieces = [*content.pieces, bytes(missing)] if missing else content.pieces
        found = self._send(iter(pieces), content.segments, entry.size)
        # What was read twice and was the same is sure for now; a later write may still hide.
        return Done(one, entry, found, sure=not torn and not _is_recent(content.status))

    def _streamed(self, fd: int, one: Wanted) -> Done:
        """A file too large to hold."""
        status = os.fstat(fd)
        segments = segments_of(fd, status)
        total = sum(length for _, length in segments)
        left = total

        def pieces() -> Iterator[bytes]:
            nonlocal left
            for piece in pieces_of(fd, segments):
                left -= len(piece)
                yield piece
            while left > 0:
                zeros = bytes(min(left, MAX_BLOB_BYTES))
                left -= len(zeros)
                missing.append(len(zeros))
                yield zeros

        missing: list[int] = []
        content = self._send(pieces(), segments, status.st_size)
        torn = bool(missing) or changed(status, os.fstat(fd))
        if torn:
            self._remarks.tear(one.path, "changed while it was read")
        entry = entry_of(one.entry.name, status)
        return Done(one, entry, content, sure=not torn and not _is_recent(status))

    def _send(self, pieces: Iterator[bytes], segments: Segments, size: int) -> EntryContent:
        if size == 0:
            return NO_DATA
        whole = segments == [(0, size)]
        if len(segments) > MAX_SEGMENTS:
            pieces, whole = _filled(pieces, segments, size), True
        if whole and size <= MAX_BLOB_BYTES:
            blob = b"".join(pieces)
            name = hash_of(blob)
            self._outgoing.data(blob, name)
            return name
        references = []
        for chunk in cut(pieces):
            name = hash_of(chunk)
            self._outgoing.data(chunk, name)
            references.append(Reference(name, len(chunk)))
        return Chunks(() if whole else _kept(segments, size), tuple(references))

    def _failed(self, one: Wanted, error: OSError) -> Done:
        if isinstance(error, FileNotFoundError):
            self._remarks.count("vanished")
        else:
            self._remarks.unreadable(one.path, error.strerror or str(error))
        return Done(one, None, None)

    # -- what is never carried ----------------------------------------------------------------

    def _note_xattrs_of(self, folder_fd: int, name: bytes) -> None:
        with contextlib.suppress(OSError):
            fd = os.open(name, OPEN_FILE, dir_fd=folder_fd)
            try:
                self._note_xattrs(fd)
            finally:
                os.close(fd)

    def _note_xattrs(self, fd: int) -> None:
        with contextlib.suppress(OSError):
            for name in os.listxattr(fd):
                if name.startswith("system.posix_acl"):
                    self._remarks.drop("acls")
                elif name != "security.selinux":
                    self._remarks.drop("xattrs")


def entry_of(name: bytes, status: os.stat_result) -> EntryStat:
    """A status as a listing has it."""
    return EntryStat(
        status.st_mode,
        status.st_nlink,
        status.st_dev,
        status.st_ino,
        status.st_size,
        within(status.st_mtime_ns),
        within(status.st_ctime_ns),
        status.st_blocks,
        name,
    )


def _read_and_hash(folder_fd: int, wanted: list[Wanted]) -> Hashed:
    names = [one.entry.name for one in wanted]
    read = read_files(folder_fd, names, [one.entry.size for one in wanted])
    with memoryview(read.data) as view:
        hashes = [
            hash_of(view[at : at + length]) if length else None
            for at, length in zip(read.offsets, read.lengths, strict=True)
        ]
    return read, hashes


def _may_have_holes(entry: EntryStat) -> bool:
    return entry.blocks * _BLOCK < entry.size and entry.size >= _HOLES_FROM_BYTES


def _is_recent(status: os.stat_result) -> bool:
    return status.st_ctime_ns > time.time_ns() - RACY_NS


def _status(folder_fd: int, name: bytes) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=folder_fd, follow_symlinks=False)
    except OSError:
        return None


def _kept(segments: Segments, size: int) -> tuple[tuple[int, int], ...]:
    """The segments as a node has them: none is empty, but for a file that is nothing but a hole."""
    kept = tuple((offset, length) for offset, length in segments if length)
    return kept or ((size, 0),)


def _filled(pieces: Iterator[bytes], segments: Segments, size: int) -> Iterator[bytes]:
    """The bytes of a file with too many holes to tell, its holes as zeros."""
    at = 0
    held = b""
    for offset, length in segments:
        while at < offset:
            zeros = bytes(min(offset - at, MAX_BLOB_BYTES))
            at += len(zeros)
            yield zeros
        left = length
        while left:
            piece = held or next(pieces)
            taken, held = piece[:left], piece[left:]
            left -= len(taken)
            at += len(taken)
            yield taken
    while at < size:
        zeros = bytes(min(size - at, MAX_BLOB_BYTES))
        at += len(zeros)
        yield zeros
