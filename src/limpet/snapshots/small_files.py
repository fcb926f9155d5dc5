"""Small files, read and hashed many at a time in threads, given back in their order."""

import os
from array import array
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from itertools import accumulate, compress, repeat
from typing import Final, NamedTuple

from limpet.snapshots.attributes import drops_of
from limpet.snapshots.blobs import HASH_BYTES, names_in
from limpet.snapshots.entry_contents import NO_DATA, Drops
from limpet.snapshots.file_clock import SETTLED_NS, FileClock
from limpet.snapshots.looks import NO_DROPS, FileRead, Look
from limpet.snapshots.mapped import MappedFiles
from limpet.snapshots.native import CHANGED, EntryStat, ReadFiles, read_files
from limpet.snapshots.outgoing import Outgoing
from limpet.snapshots.plain_folders import PlainFolder
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
    """Files of one folder: of a plain one so many more, else those at the given places."""

    folder_fd: int
    names: Sequence[bytes]
    sizes: Sequence[int]
    look: Look | None
    places: Sequence[int]
    plain: PlainFolder | None


class Hashed(NamedTuple):
    """What was read. `drops` are those of files that have any, by their numbers."""

    read: ReadFiles
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

    def add(self, part: _Part) -> None:
        self.parts.append(part)
        self.files += len(part.sizes)
        self.size_bytes += sum(part.sizes)

    def read(self) -> Hashed:
        """Read and hash them, and let go of the folders; in a thread."""
        self.read_at_ns = self.clock.now_ns()
        try:
            folders = array("i")
            names: list[bytes] = []
            sizes: list[int] = []
            for part in self.parts:
                folders.extend(repeat(part.folder_fd, len(part.sizes)))
                names += part.names
                sizes += part.sizes
            read = read_files(folders, names, sizes)
            drops = {
                number: _drops(folders[number], names[number])
                for number in compress(range(len(names)), read.xattrs)
            }
            return Hashed(read, drops)
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
        self._reading: deque[tuple[_Batch, Future[Hashed]]] = deque()

    def want(
        self, folder_fd: int, look: Look, places: Sequence[int]
    ) -> Iterator[Outcome | PlainFolder]:
        """Read files of a folder; gives what is done by now, of earlier folders mostly.

        `folder_fd` is taken over.
        """
        entries = [look.entry(place) for place in places]
        names, sizes = [one.name for one in entries], [one.size for one in entries]
        self._gather(
            folder_fd,
            list(accumulate(sizes)),
            lambda some: _Part(-1, names[some], sizes[some], look, places[some], None),
        )
        yield from self._until_few()

    def want_all(self, folder_fd: int, plain: PlainFolder) -> Iterator[Outcome | PlainFolder]:
        """Read all files of a plain folder, which is given once that is done."""
        names, sizes = plain.names, plain.looks.sizes
        self._gather(
            folder_fd,
            plain.ends,
            lambda some: _Part(-1, names[some], sizes[some], None, (), plain),
        )
        yield from self._until_few()

    def rest(self) -> Iterator[Outcome | PlainFolder]:
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

    def _gather(
        self, folder_fd: int, ends: Sequence[int], part_of: Callable[[slice], _Part]
    ) -> None:
        """Put the files of a folder into batches; `ends` are their sizes, added up."""
        first = at = 0
        while first < len(ends):
            batch = self._gathered
            last = bisect_left(ends, at + BATCH_BYTES - batch.size_bytes, first) + 1
            last = min(last, first + BATCH_FILES - batch.files, len(ends))
            part = part_of(slice(first, last))
            first, at = last, ends[last - 1]
            part.folder_fd = folder_fd
            batch.add(part)
            # It is closed once these were read; a folder's other files need their own.
            folder_fd = os.dup(folder_fd) if first < len(ends) else -1
            if batch.full:
                self._begin()
        if folder_fd >= 0:
            os.close(folder_fd)

    def _begin(self) -> None:
        if self._gathered.parts:
            batch, self._gathered = self._gathered, _Batch(self._clock, frozenset())
            batch.mapped = self._mapped.inodes()
            self._reading.append((batch, self._outgoing.submit(batch.read)))

    def _until_few(self) -> Iterator[Outcome | PlainFolder]:
        while len(self._reading) > _BATCHES_AHEAD:
            yield from self._take()

    def _take(self) -> Iterator[Outcome | PlainFolder]:
        batch, future = self._reading[0]
        hashed = future.result()
        self._reading.popleft()
        first = 0
        for part in batch.parts:
            if part.plain is None:
                yield from self._each(batch, part, hashed, first)
            else:
                plain, count = part.plain, len(part.sizes)
                found = plain.take(hashed.read, first, count, batch.read_at_ns, batch.mapped)
                if found is not None and found[1]:
                    self._outgoing.data_run(*found)
                if plain.done:
                    yield plain
            first += len(part.sizes)

    def _each(self, batch: _Batch, part: _Part, hashed: Hashed, first: int) -> Iterator[Outcome]:
        read, drops = hashed
        look = part.look
        assert look is not None
        names = names_in(read.hashes[HASH_BYTES * first :][: HASH_BYTES * len(part.places)])
        view = memoryview(read.data).toreadonly()
        for number, (place, name) in enumerate(zip(part.places, names, strict=True), first):
            entry = look.entry(place)
            error = read.errnos[number]
            if error > 0:
                yield Outcome(look, place, None, error)
                continue
            now = _as_read(entry, read, number)
            if error == CHANGED or now.ctime_ns >= batch.read_at_ns:
                yield Outcome(look, place, None, None)
                continue
            if entry.size:
                at = read.offsets[number]
                self._outgoing.data(view[at : at + entry.size], name)
            settled = now.ctime_ns < batch.read_at_ns - SETTLED_NS
            sure = settled and now.ino not in batch.mapped
            content = name if entry.size else NO_DATA
            found = FileRead(now, content, sure, drops.get(number, NO_DROPS))
            yield Outcome(look, place, found, None)


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
