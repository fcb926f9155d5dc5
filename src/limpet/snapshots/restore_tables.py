"""What a restore has to make, in columns: folders, files, and where each data blob goes.

Columns rather than objects, so that hundreds of thousands of files need tens of megabytes.
Pure, and filled by who judges a tree (limpet.snapshots.judge).
"""

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, compress, count, islice
from typing import Final

from limpet.snapshots.blobs import BlobHash
from limpet.snapshots.node import Entry
from limpet.snapshots.node_columns import FileColumns

ROOT: Final = 0
"""The number of the top folder."""
_NONE: Final = 0xFFFF_FFFF
Segments = tuple[tuple[int, int], ...]


class NameColumn:
    """Byte strings by number, one after another in one buffer."""

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._ends = array("I", [0])

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, number: int) -> bytes:
        return bytes(self._bytes[self._ends[number] : self._ends[number + 1]])

    def __iter__(self) -> Iterator[bytes]:
        return (self[number] for number in range(len(self)))

    @property
    def size_bytes(self) -> int:
        """Of all names together."""
        return len(self._bytes)

    def extend(self, names: Iterable[bytes]) -> None:
        """Append them all."""
        more = list(names)
        ends = accumulate(map(len, more), initial=len(self._bytes))
        self._ends.extend(islice(ends, 1, None))
        self._bytes += b"".join(more)

    def find(self, name: bytes, first: int, end: int) -> int | None:
        """The number of a name among those from `first` to before `end`, which ascend."""
        number = bisect_left(range(first, end), name, key=self.__getitem__) + first
        return number if number < end and self[number] == name else None


class FolderTable:
    """Folders, each after the folder that it lies in; number 0 is the top one."""

    def __init__(self, mode: int, mtime_ns: int) -> None:
        self.parents = array("I", [ROOT])
        self.modes = array("H", [mode])
        self.mtimes = array("q", [mtime_ns])
        self.names = NameColumn()
        self.names.extend([b""])

    def __len__(self) -> int:
        return len(self.parents)

    def add(self, parent: int, name: bytes, mode: int, mtime_ns: int) -> int:
        """A folder in `parent`; gives its number."""
        self.parents.append(parent)
        self.modes.append(mode)
        self.mtimes.append(mtime_ns)
        self.names.extend([name])
        return len(self.parents) - 1

    def path_of(self, folder: int) -> bytes:
        """The path from the top folder; for messages."""
        parts = []
        while folder != ROOT:
            parts.append(self.names[folder])
            folder = self.parents[folder]
        return b"/".join(reversed(parts))


class FileTable:
    """Files to be made, and which blobs they are made of.

    `take` may be called from several threads; everything else before that.
    """

    def __init__(self) -> None:
        self.folders = array("I")
        self.names = NameColumn()
        self.modes = array("H")
        self.mtimes = array("q")
        self.sizes = array("Q")
        self.empty = array("I")
        """Files without data."""
        self.listed: dict[int, Segments] = {}
        """Files that are written piece by piece, and where they have data; none: everywhere."""
        self._first_place: dict[BlobHash, int] = {}
        self._place_files = array("I")
        self._place_next = array("I")
        self._pieces: dict[int, tuple[int, int]] = {}

    def __len__(self) -> int:
        return len(self.folders)

    @property
    def missing(self) -> int:
        """How many blobs have not been taken yet."""
        return len(self._first_place)

    def any_missing(self) -> BlobHash | None:
        """One of them, for a message."""
        return next(iter(self._first_place), None)

    def extend(self, folder: int, entries: Sequence[Entry]) -> int:
        """Append files (entries of kind 0, 1 or 3) of one folder; gives the first one's number.

        A file that is one blob wants it; `want_pieces` is for the others.
        """
        first = len(self.folders)
        names, _, modes, mtimes, sizes, hashes, _, _ = zip(*entries, strict=True)
        self._extend(folder, names, modes, mtimes, sizes)
        wanted = [(file, blob) for file, blob in enumerate(hashes, first) if blob is not None]
        self._want([file for file, _ in wanted], [blob for _, blob in wanted])
        return first

    def extend_columns(self, folder: int, columns: FileColumns) -> None:
        """The same for files that are one blob each, or empty."""
        first = len(self.folders)
        self._extend(folder, columns.names, columns.modes, columns.mtimes, columns.sizes)
        files: Iterable[int] = range(first, len(self.folders))
        if len(columns.hashes) != len(columns.sizes):
            files = compress(files, columns.sizes)
        self._want(files, columns.hashes)

    def want_pieces(
        self, file: int, segments: Segments, pieces: Iterable[tuple[BlobHash, int]]
    ) -> None:
        """The file's data is these blobs, of such lengths, one after another."""
        self.listed[file] = segments
        offset = 0
        for blob, length in pieces:
            self._pieces[len(self._place_files)] = (offset, length)
            self._want((file,), (blob,))
            offset += length

    def take(self, blob: BlobHash) -> list[tuple[int, int | None, int]]:
        """Every place of a blob, once: nothing when it is not wanted, or not any more.

        A place is (file, offset, length): all of the file when the offset is None, else so many
        bytes of its data from there on, holes not counted.
        """
        place = self._first_place.pop(blob, _NONE)
        places: list[tuple[int, int | None, int]] = []
        while place != _NONE:
            file = self._place_files[place]
            piece = self._pieces.get(place) if self._pieces else None
            places.append((file, None, self.sizes[file]) if piece is None else (file, *piece))
            place = self._place_next[place]
        return places

    def wants(self, blob: BlobHash) -> bool:
        """Whether the blob has a place and was not taken yet."""
        return blob in self._first_place

    def wanted(self) -> Iterator[BlobHash]:
        """Every blob that was not taken yet."""
        return iter(self._first_place)

    def wanted_bytes(self) -> int:
        """What they come to."""
        total = 0
        for place in self._first_place.values():
            total += self._pieces.get(place, (0, self.sizes[self._place_files[place]]))[1]
        return total

    def _extend(
        self,
        folder: int,
        names: Sequence[bytes],
        modes: Sequence[int],
        mtimes: Sequence[int],
        sizes: Sequence[int],
    ) -> None:
        if 0 in sizes:
            self.empty.extend(compress(count(len(self.folders)), [not size for size in sizes]))
        self.folders.extend([folder] * len(sizes))
        self.names.extend(names)
        self.modes.extend(modes)
        self.mtimes.extend(mtimes)
        self.sizes.extend(sizes)

    def _want(self, files: Iterable[int], blobs: Sequence[BlobHash]) -> None:
        """A place more for each of the blobs, in a file each."""
        first = len(self._place_files)
        self._place_files.extend(files)
        self._place_next.extend([_NONE] * len(blobs))
        first_place = self._first_place.setdefault
        for place, blob in enumerate(blobs, first):
            earlier = first_place(blob, place)
            if earlier != place:
                self._place_next[place] = self._place_next[earlier]
                self._place_next[earlier] = place
