"""Reading files that may be in use, one or a few that belong together: of one moment, or torn.

A file counts as whole when it looks the same after reading as before, and was not stamped with the
very instant at which reading began. Else it is read again, up to three times.
"""

import contextlib
import os
import stat
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Final

from limpet.snapshots.attributes import drops_of
from limpet.snapshots.blobs import MAX_BLOB_BYTES, BlobHash, hash_of
from limpet.snapshots.chunking import cut
from limpet.snapshots.entry_contents import NO_DATA, Chunks, Drops, EntryContent
from limpet.snapshots.file_clock import SETTLED_NS, FileClock
from limpet.snapshots.looks import NO_DROPS, FileRead, identity
from limpet.snapshots.mapped import MappedFiles
from limpet.snapshots.native import EntryStat
from limpet.snapshots.native.records import within
from limpet.snapshots.node import MAX_FILE_BYTES, MAX_SEGMENTS, Reference
from limpet.snapshots.outgoing import Outgoing
from limpet.snapshots.reading import OPEN_FILE, READS, SegmentReader, changed, segments_of
from limpet.snapshots.remarks import Remarks
from limpet.snapshots.sparse import Segments

_NOT_YET_NS: Final = 100_000_000
"""A stamp further ahead of its clock than this is wrong, and any write will change it."""


@dataclass(slots=True)
class Wanted:
    """A file to be read: its path, its listing, and its content where it is known already."""

    path: bytes
    entry: EntryStat
    content: EntryContent = None
    drops: Drops = NO_DROPS


@dataclass(slots=True)
class _Opened:
    """A file that is being read. `small` is what is sent once it is known to be whole."""

    wanted: Wanted
    fd: int
    drops: Drops
    before: os.stat_result
    content: EntryContent = None
    small: tuple[memoryview, BlobHash] | None = None
    short: bool = False


class CarefulReader:
    """Reads files and sends what they hold."""

    def __init__(
        self, outgoing: Outgoing, remarks: Remarks, clock: FileClock, mapped: MappedFiles
    ) -> None:
        self._outgoing = outgoing
        self._remarks = remarks
        self._clock = clock
        self._mapped = mapped

    def read(
        self, folder_fd: int, files: Sequence[Wanted]
    ) -> Generator[None, None, list[FileRead | None]]:
        """Read files of one folder as of one moment; stops now and then so that others go on.

        None stands for what cannot be read, or is no file any more, which is remarked.
        """
        with contextlib.ExitStack() as opened:
            found = {
                at: one
                for at, wanted in enumerate(files)
                if (one := self._open(folder_fd, wanted, opened)) is not None
            }
            reads: list[FileRead | None] = [None] * len(files)
            if found:
                try:
                    sure = yield from self._until_whole([*found.values()])
                except OSError as error:
                    if len(files) == 1:
                        self.failed(files[0].path, error)
                        return reads
                    alone = []
                    for wanted in files:
                        alone += yield from self.read(folder_fd, [wanted])
                    return alone
                for at, one in found.items():
                    entry = entry_of(one.wanted.entry.name, one.before)
                    unmapped = entry.ino not in self._mapped.inodes()
                    reads[at] = FileRead(entry, one.content, sure and unmapped, one.drops)
            return reads

    def failed(self, path: bytes, error: OSError) -> None:
        """Remark that an entry could not be read."""
        if isinstance(error, FileNotFoundError):
            self._remarks.count("vanished")
        else:
            self._remarks.unreadable(path, error.strerror or str(error))

    def _open(self, folder_fd: int, wanted: Wanted, opened: contextlib.ExitStack) -> _Opened | None:
        try:
            fd = os.open(wanted.entry.name, OPEN_FILE, dir_fd=folder_fd)
        except OSError as error:
            self.failed(wanted.path, error)
            return None
        opened.callback(os.close, fd)
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            self._remarks.skip(wanted.path, "changed its kind while it was read")
            return None
        if status.st_size > MAX_FILE_BYTES:
            self._remarks.unreadable(wanted.path, "is larger than any file may be")
            return None
        return _Opened(wanted, fd, drops_of(fd), status)

    def _until_whole(self, files: list[_Opened]) -> Generator[None, None, bool]:
        """Read them; gives whether a cache may vouch for them."""
        settled = False
        whole = False
        for _ in range(READS):
            for one in files:
                one.before = os.fstat(one.fd)
            newest = max(one.before.st_ctime_ns for one in files)
            now_ns = self._clock.now_ns()
            if now_ns <= newest < now_ns + _NOT_YET_NS:
                now_ns = self._clock.wait_until_after(newest)
            for one in files:
                yield from self._read(one)
            settled = newest < now_ns - SETTLED_NS
            torn = [one for one in files if one.short or changed(one.before, os.fstat(one.fd))]
            whole = not torn
            if whole:
                break
        for one in files:
            if one.small is not None:
                self._outgoing.data(*one.small)
        if not whole:
            self._remarks.tear(torn[0].wanted.path, "kept changing while it was read")
        return whole and settled

    def _read(self, one: _Opened) -> Generator[None, None, None]:
        status, wanted = one.before, one.wanted
        size = status.st_size
        one.small, one.short = None, False
        if wanted.content is not None and identity(entry_of(b"", status)) == identity(wanted.entry):
            one.content = wanted.content
            return
        if not size:
            one.content = NO_DATA
            return
        segments = _at_most(MAX_SEGMENTS, segments_of(one.fd, status))
        reader = SegmentReader(one.fd, segments)
        if segments == [(0, size)] and size <= MAX_BLOB_BYTES:
            blob = bytearray(size)
            reader.fill(memoryview(blob))
            name = hash_of(blob)
            one.content, one.small = name, (memoryview(blob), name)
        else:
            references = []
            for chunks, names in self._named(cut(reader.fill)):
                for chunk, name in zip(chunks, names, strict=True):
                    self._outgoing.data(chunk, name)
                    references.append(Reference(name, len(chunk)))
                yield
            one.content = Chunks(_kept(segments, size), tuple(references))
        one.short = reader.short

    def _named(
        self, groups: Iterable[list[memoryview]]
    ) -> Iterator[tuple[list[memoryview], list[BlobHash]]]:
        """Groups of chunks with their names; the next is read and cut while a thread hashes one."""
        before: tuple[list[memoryview], Future[list[BlobHash]]] | None = None
        for chunks in groups:
            hashing = chunks, self._outgoing.submit(partial(_names_of, chunks))
            if before is not None:
                yield before[0], before[1].result()
            before = hashing
        if before is not None:
            yield before[0], before[1].result()


def _names_of(chunks: list[memoryview]) -> list[BlobHash]:
    return list(map(hash_of, chunks))


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


def _kept(segments: Segments, size: int) -> tuple[tuple[int, int], ...]:
    """The segments as a node has them: none is empty, but for a file that is nothing but a hole."""
    if segments == [(0, size)]:
        return ()
    kept = tuple((offset, length) for offset, length in segments if length)
    return kept or ((size, 0),)


def _at_most(count: int, segments: Segments) -> Segments:
    """The segments with the smallest holes between them filled, so that there are few enough."""
    kept = [(offset, length) for offset, length in segments if length]
    if len(kept) <= count:
        return segments
    holes = [after[0] - sum(before) for before, after in pairwise(kept)]
    widest = sorted(range(len(holes)), key=holes.__getitem__, reverse=True)[: count - 1]
    cuts = sorted(widest)
    firsts = [0, *(place + 1 for place in cuts)]
    lasts = [*cuts, len(kept) - 1]
    return [
        (kept[first][0], sum(kept[last]) - kept[first][0])
        for first, last in zip(firsts, lasts, strict=True)
    ]
