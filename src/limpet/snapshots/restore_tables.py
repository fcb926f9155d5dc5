"""What a restore has to make, in columns: folders, files, and where each data blob goes.

Columns rather than objects, so that hundreds of thousands of files need tens of megabytes.
Pure, and filled by who judges a tree (limpet.snapshots.judge).
"""

from array import array
from collections.abc import Iterable, Iterator, Sequence
from itertools import compress, count
from typing import Final, NamedTuple

from limpet.snapshots.blobs import BlobHash
from limpet.snapshots.native import NameColumn, NewFiles
from limpet.snapshots.node import Entry
from limpet.snapshots.node_columns import FileColumns

ROOT: Final = 0
"""The number of the top folder."""
_NONE: Final = 0xFFFF_FFFF
Segments = tuple[tuple[int, int], ...]


class FolderTable:
    """Folders, each after the folder that it lies in; number 0 is the top one."""

    def __init__(self, mode: int, mtime_ns: int) -> None:
        self.parents = array("I", [ROOT])
        self.modes = array("H", [mode])
        self.mtimes = array("q", [mtime_ns])
        self.names = NameColumn()
        self.names.append(b"")

    def __len__(self) -> int:
        return len(self.parents)

    def add(self, parent: int, name: bytes, mode: int, mtime_ns: int) -> int:
        """A folder in `parent`; gives its number."""
        self.parents.append(parent)
        self.modes.append(mode)
        self.mtimes.append(mtime_ns)
        self.names.append(name)
        return len(self.parents) - 1

    def path_of(self, folder: int) -> bytes:
        """The path from the top folder; for messages."""
        parts = []
        while folder != ROOT:
            parts.append(self.names[folder])
            folder = self.parents[folder]
        return b"/".join(reversed(parts))


class Piece(NamedTuple):
    """A blob that is a part of a file: so many bytes of its data from `offset` on, holes not
    counted. `blob` is its place among those that were asked for."""

    blob: int
    file: int
    offset: int
    length: int


class Places(NamedTuple):
    """Where blobs belong. Of those that are whole files: which blob, among those asked for, and
    which file; and those that are pieces of one."""

    blobs: list[int]
    files: list[int]
    pieces: list[Piece]


class FileTable(NewFiles):
    """Files to be made, and which blobs they are made of.

    `take` may be called from several threads; everything else before that.
    """

    def __init__(self) -> None:
        super().__init__()
        self.folders = array("I")
        self.empty = array("I")
        """Files without data."""
        self.listed: dict[int, Segments] = {}
        """Files that are written piece by piece, and where they have data; none: everywhere."""
        self._first_place: dict[BlobHash, int] = {}
        self._place_files = array("I")
        self._place_next = array("I")
        self._pieces: dict[int, tuple[int, int]] = {}

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

    def take(self, blobs: Sequence[BlobHash]) -> Places:
        """Every place of each of the blobs, once: none when it is not wanted, or not any more."""
        found = Places([], [], [])
        whole_blobs, whole_files, pieces = found
        pop, files, following = self._first_place.pop, self._place_files, self._place_next
        piece_at = self._pieces.get
        for number, blob in enumerate(blobs):
            place = pop(blob, _NONE)
            while place != _NONE:
                piece = piece_at(place)
                if piece is None:
                    whole_blobs.append(number)
                    whole_files.append(files[place])
                else:
                    pieces.append(Piece(number, files[place], *piece))
                place = following[place]
        return found

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
            self.empty.extend(compress(count(len(self)), [not size for size in sizes]))
        self.add_columns(names, sizes, modes, mtimes)
        self.folders.extend([folder] * len(sizes))

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
