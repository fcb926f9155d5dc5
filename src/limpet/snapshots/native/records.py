"""What the floor gives: packed listings, and files that were read in a batch."""

import mmap
import stat
import struct
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate, compress
from operator import add
from typing import Final, NamedTuple

ENTRY: Final = struct.Struct("<IIQQQqqQH")
"""st_mode, nlink, dev, ino, size, mtime_ns, ctime_ns, blocks of 512 bytes, length of the name."""
_KIND: Final = struct.Struct("<I52xH")
"""Of an entry, its mode and the length of its name alone."""
_SIZE: Final = struct.Struct("<I20xQ24xH")
"""Of an entry, its mode, its size and the length of its name."""
CHANGED: Final = -1
"""In `ReadFiles.errnos`: not a regular file, of another size, or written while it was read."""
HASH_BYTES: Final = 32
_ITEM_BYTES: Final = {code: array(code).itemsize for code in "iIqQB"}
FIRST_NS: Final = -(1 << 63)
LAST_NS: Final = (1 << 63) - 1
"""Times lie between these (the years 1677 and 2262); one beyond comes as the nearer of them."""
_FORMAT: Final = 0o170000


class EntryStat(NamedTuple):
    """One entry of a folder, as `lstat` saw it."""

    mode: int
    nlink: int
    dev: int
    ino: int
    size: int
    mtime_ns: int
    ctime_ns: int
    blocks: int
    name: bytes


class Listing(NamedTuple):
    """A folder's entries, packed and by name; `errors` are (name, errno) of those not looked at."""

    records: bytes
    errors: tuple[tuple[bytes, int], ...]


_PLACE: Final = struct.Struct("<QI")
"""How a row of `Listings` begins: where a listing lies, and its length."""


@dataclass(frozen=True, slots=True)
class Listings:
    """Listings in a buffer that can be written to, and a table of where: rows of `stride` bytes.

    `rows_at` is where the table begins, `rows` how many there are.
    """

    data: mmap.mmap | bytearray
    rows_at: int
    stride: int
    rows: int

    def rows_from(self, first: int, count: int) -> int:
        """Where in `data` so many rows begin; `ValueError` unless they are there."""
        if not 0 <= first <= first + count <= self.rows:
            raise ValueError("there are no such rows")
        at = self.rows_at + self.stride * first
        if self.stride < _PLACE.size or not 0 <= at <= len(self.data) - self.stride * count:
            raise ValueError("the table reaches beyond the buffer")
        return at

    def listing(self, row: int) -> bytes | None:
        """One listing; None when it reaches beyond the buffer."""
        at, length = _PLACE.unpack_from(self.data, self.rows_from(row, 1))
        return bytes(self.data[at : at + length]) if at + length <= len(self.data) else None


def joined(paths: Sequence[bytes]) -> bytes:
    """Paths, a NUL after each; `ValueError` when one has a NUL byte in it."""
    text = b"\0".join([*paths, b""])
    if text.count(b"\0") != len(paths):
        raise ValueError("a path has a NUL byte in it")
    return text


def parse_records(records: bytes) -> list[EntryStat]:
    """The entries that `pack_records` packed."""
    found = []
    at = 0
    step = ENTRY.size
    unpack = ENTRY.unpack_from
    while at < len(records):
        mode, nlink, dev, ino, size, mtime_ns, ctime_ns, blocks, length = unpack(records, at)
        at += step
        name = records[at : at + length]
        found.append(EntryStat(mode, nlink, dev, ino, size, mtime_ns, ctime_ns, blocks, name))
        at += length
    return found


def kinds_of(records: bytes) -> dict[bytes, bool]:
    """The names of the entries, and of each whether it is a folder: all that rules ask for."""
    found = {}
    at = 0
    step = _KIND.size
    unpack = _KIND.unpack_from
    while at < len(records):
        mode, length = unpack(records, at)
        at += step
        found[records[at : at + length]] = mode & _FORMAT == stat.S_IFDIR
        at += length
    return found


def sub_folders_of(records: bytes) -> tuple[list[bytes], int]:
    """The sub-folders by name, the last first, and the sizes of all files together.

    All that a walk asks of a listing.
    """
    folders = []
    size_bytes = 0
    at = 0
    step = _SIZE.size
    unpack = _SIZE.unpack_from
    while at < len(records):
        mode, size, length = unpack(records, at)
        at += step
        kind = mode & _FORMAT
        if kind == stat.S_IFREG:
            size_bytes += size
        elif kind == stat.S_IFDIR:
            folders.append(records[at : at + length])
        at += length
    return folders[::-1], size_bytes


class Columns(NamedTuple):
    """A listing's entries in columns, for who looks at all of them at once."""

    names: list[bytes]
    modes: tuple[int, ...]
    nlinks: tuple[int, ...]
    devs: tuple[int, ...]
    inos: tuple[int, ...]
    sizes: tuple[int, ...]
    mtimes: tuple[int, ...]
    ctimes: tuple[int, ...]
    blocks: tuple[int, ...]

    def those(self, which: Sequence[bool]) -> "Columns":
        """The entries for which it says so."""
        names, *numbers = self
        return Columns(
            list(compress(names, which)), *(tuple(compress(one, which)) for one in numbers)
        )


def columns_of(records: bytes) -> Columns:
    """The entries that `pack_records` packed, in columns."""
    names = []
    rows = []
    at = 0
    step = ENTRY.size
    unpack = ENTRY.unpack_from
    while at < len(records):
        row = unpack(records, at)
        at += step
        end = at + row[8]
        names.append(records[at:end])
        rows.append(row)
        at = end
    if not rows:
        return Columns([], (), (), (), (), (), (), (), ())
    modes, nlinks, devs, inos, sizes, mtimes, ctimes, blocks, _ = zip(*rows, strict=True)
    return Columns(names, modes, nlinks, devs, inos, sizes, mtimes, ctimes, blocks)


def pack_records(entries: Iterable[EntryStat]) -> bytes:
    """Entries, in ascending order of their names, as one string of bytes."""
    parts = []
    for entry in entries:
        parts.append(ENTRY.pack(*entry[:8], len(entry.name)))
        parts.append(entry.name)
    return b"".join(parts)


@dataclass(slots=True)
class ReadFiles:
    """Files that were read, one item each in the order asked; `data` holds them all.

    `errnos`: 0 for a file that was read whole, an errno, or `CHANGED`; its length is 0 then. The
    other columns are from the `fstat` after the read; `xattrs` is 1 where there are any.
    """

    data: bytearray
    offsets: "array[int]"
    lengths: "array[int]"
    errnos: "array[int]"
    mtimes_ns: "array[int]"
    ctimes_ns: "array[int]"
    inos: "array[int]"
    modes: "array[int]"
    nlinks: "array[int]"
    xattrs: "array[int]"
    hashes: bytes = b""
    """32 bytes of BLAKE3 for each; of one that was not read whole, those of nothing."""


def room_for(sizes: Sequence[int]) -> ReadFiles:
    """Room for files of these sizes; `ValueError` when one is negative."""
    if min(sizes, default=0) < 0:
        raise ValueError("a size is negative")
    offsets = list(accumulate(sizes, initial=0))
    data = bytearray(offsets.pop())
    count = len(sizes)
    return ReadFiles(
        data, array("Q", offsets), _zeros("Q", count), _zeros("i", count), _zeros("q", count),
        _zeros("q", count), _zeros("Q", count), _zeros("I", count), _zeros("I", count),
        _zeros("B", count),
    )  # fmt: skip


def folders_for(folders: int | Sequence[int], count: int) -> "array[int]":
    """Descriptors of the folders in which so many files lie: one for all of them, or one each.

    Raises `ValueError` when there are not so many.
    """
    found = array("i", [folders]) * count if isinstance(folders, int) else array("i", folders)
    if len(found) != count:
        raise ValueError(f"there are {len(found)} folders for {count} files")
    return found


def within_bytes(offsets: Sequence[int], lengths: Sequence[int], data_bytes: int) -> None:
    """Raise `ValueError` unless each of these parts lies within so many bytes."""
    if len(offsets) != len(lengths):
        raise ValueError("the offsets and lengths are not equally many")
    if min(offsets, default=0) < 0 or min(lengths, default=0) < 0:
        raise ValueError("an offset or a length is negative")
    if max(map(add, offsets, lengths), default=0) > data_bytes:
        raise ValueError("a part reaches beyond the buffer")


def _zeros(code: str, count: int) -> "array[int]":
    return array(code, bytes(_ITEM_BYTES[code] * count))


def within(time_ns: int) -> int:
    """A time, or the nearest that can be told."""
    return max(FIRST_NS, min(time_ns, LAST_NS))
