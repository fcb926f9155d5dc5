"""Small files, read and hashed many at a time in threads, given back in their order."""

import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from limpet.snapshots.attributes import drops_of
from limpet.snapshots.blobs import BlobHash, names_in
from limpet.snapshots.entry_contents import NO_DATA, Drops
from limpet.snapshots.file_clock import SETTLED_NS, FileClock
from limpet.snapshots.looks import NO_DROPS, FileRead, Look
from limpet.snapshots.mapped import MappedFiles
from limpet.snapshots.native import CHANGED, EntryStat, ReadFiles, read_files
from limpet.snapshots.outgoing import Outgoing
from limpet.snapshots.reading import OPEN_FILE

BATCH_BYTES: Final = 512 << 10
BATCH_FILES: Final = 256
BATCH_FOLDERS: Final = 24
_BATCHES_AHEAD: Final = 4


class Outcome(NamedTuple):
    """What became of a file: read, or an errno, or (both None) it must be read with more care."""

    look: Look
    place: int
    read: FileRead | None
    errno: int | None


@dataclass(slots=True)
class _Part:
    """Files of one folder."""

    folder_fd: int
    look: Look
    places: list[int]
    entries: list[EntryStat]


class Hashed(NamedTuple):
    """What was read of a part. `drops` are those of files that have any, by their numbers."""

    read: ReadFiles
    names: list[BlobHash | None]
    drops: dict[int, Drops]


@dataclass(slots=True)
class _Batch:
    clock: FileClock
    mapped: frozenset[int]
    parts: list[_Part] = field(default_factory=list)
    files: int = 0
    size_bytes: int = 0
    read_at_ns: int = 0

    @property
    def full(self) -> bool:
        return (
            self.size_bytes >= BATCH_BYTES
            or self.files >= BATCH_FILES
            or len(self.parts) >= BATCH_FOLDERS
        )

    def read(self) -> list[Hashed]:
        """Read and hash them, and let go of the folders; in a thread."""
        self.read_at_ns = self.clock.now_ns()
        try:
            return [_read_and_hash(part) for part in self.parts]
        finally:
            self.close()

    def close(self) -> None:
        for part in self.parts:
            if part.folder_fd >= 0:
                os.close(part.folder_fd)
                part.folder_fd = -1


class SmallFiles:
    """Reads files and sends what they hold. Close it."""

    def __init__(self, outgoing: Outgoing, clock: FileClock, mapped: MappedFiles) -> None:
        self._outgoing = outgoing
        self._clock = clock
        self._mapped = mapped
        self._gathered = _Batch(clock, frozenset())
        self._reading: deque[tuple[_Batch, Future[list[Hashed]]]] = deque()

    def want(self, folder_fd: int, look: Look, places: Sequence[int]) -> Iterator[Outcome]:
        """Read files of a folder; gives what is done by now, of earlier folders mostly.

        `folder_fd` is taken over.
        """
        part: _Part | None = None
        rest = len(places)
        if not rest:
            os.close(folder_fd)
        for place in places:
            entry = look.entry(place)
            if part is None:
                part = _Part(folder_fd, look, [], [])
                self._gathered.parts.append(part)
            rest -= 1
            part.places.append(place)
            part.entries.append(entry)
            self._gathered.files += 1
            self._gathered.size_bytes += entry.size
            if self._gathered.full:
                # It is closed once these were read; a folder's other files need their own.
                folder_fd = os.dup(folder_fd) if rest else -1
                self._begin()
                part = None
        if self._gathered.full:
            self._begin()
        while len(self._reading) > _BATCHES_AHEAD:
            yield from self._take()

    def rest(self) -> Iterator[Outcome]:
        """All that is still being read."""
        self._begin()
        while self._reading:
            yield from self._take()

    def close(self) -> None:
        """Let go of every descriptor, also when not all was read."""
        for batch, future in self._reading:
            if not future.cancel():
                future.exception()
            batch.close()
        self._reading.clear()
        self._gathered.close()

    def _begin(self) -> None:
        if self._gathered.parts:
            batch, self._gathered = self._gathered, _Batch(self._clock, frozenset())
            batch.mapped = self._mapped.inodes()
            self._reading.append((batch, self._outgoing.submit(batch.read)))

    def _take(self) -> Iterator[Outcome]:
        batch, future = self._reading[0]
        results = future.result()
        self._reading.popleft()
        for part, (read, names, drops) in zip(batch.parts, results, strict=True):
            view = memoryview(read.data).toreadonly()
            for number, (place, entry) in enumerate(zip(part.places, part.entries, strict=True)):
                error = read.errnos[number]
                if error > 0:
                    yield Outcome(part.look, place, None, error)
                    continue
                now = _as_read(entry, read, number)
                if error == CHANGED or now.ctime_ns >= batch.read_at_ns:
                    yield Outcome(part.look, place, None, None)
                    continue
                name = names[number]
                if name is not None:
                    at = read.offsets[number]
                    self._outgoing.data(view[at : at + entry.size], name)
                settled = now.ctime_ns < batch.read_at_ns - SETTLED_NS
                sure = settled and now.ino not in batch.mapped
                content = NO_DATA if name is None else name
                found = FileRead(now, content, sure, drops.get(number, NO_DROPS))
                yield Outcome(part.look, place, found, None)


def _read_and_hash(part: _Part) -> Hashed:
    names = [entry.name for entry in part.entries]
    read = read_files(part.folder_fd, names, [entry.size for entry in part.entries])
    hashes = [
        name if length else None
        for name, length in zip(names_in(read.hashes), read.lengths, strict=True)
    ]
    drops = {
        number: _drops(part.folder_fd, name)
        for number, name in enumerate(names)
        if read.xattrs[number]
    }
    return Hashed(read, hashes, drops)


def _as_read(entry: EntryStat, read: ReadFiles, number: int) -> EntryStat:
    """What the file looked like when it was read: mostly as it was listed."""
    mtime_ns, ctime_ns = read.mtimes_ns[number], read.ctimes_ns[number]
    ino, mode = read.inos[number], read.modes[number]
    nlink = read.nlinks[number]
    if entry[5:7] == (mtime_ns, ctime_ns) and entry[:4] == (mode, nlink, entry.dev, ino):
        return entry
    return entry._replace(mode=mode, nlink=nlink, ino=ino, mtime_ns=mtime_ns, ctime_ns=ctime_ns)


def _drops(folder_fd: int, name: bytes) -> Drops:
    try:
        fd = os.open(name, OPEN_FILE, dir_fd=folder_fd)
    except OSError:
        return NO_DROPS
    try:
        return drops_of(fd)
    finally:
        os.close(fd)
