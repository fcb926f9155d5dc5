"""What the floor takes and gives: packed listings, batches of files to read and to write."""

import struct
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from operator import add
from typing import Final, NamedTuple

ENTRY: Final = struct.Struct("<IIQQQqqQH")
"""st_mode, nlink, dev, ino, size, mtime_ns, ctime_ns, blocks of 512 bytes, length of the name."""
CHANGED: Final = -1
"""In `ReadFiles.errnos`: not a regular file, of another size, or written while it was read."""
MAX_NAME_BYTES: Final = 255
_COLUMN_TYPES: Final = ["i", "Q", "Q", "I", "q"]
_ITEM_BYTES: Final = {code: array(code).itemsize for code in "iIqQB"}
_NO_NAMES: Final = frozenset({b".", b".."})
FIRST_NS: Final = -(1 << 63)
LAST_NS: Final = (1 << 63) - 1
"""Times lie between these (the years 1677 and 2262); one beyond comes as the nearer of them."""


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


def _zeros(code: str, count: int) -> "array[int]":
    return array(code, bytes(_ITEM_BYTES[code] * count))


@dataclass(slots=True)
class WriteJobs:
    """Files to be made out of one buffer: each a run of its bytes, in a folder, with its looks.

    `modes` are permission bits and the sticky bit; set-id bits are never made. Only added to.
    """

    folder_fds: "array[int]" = field(default_factory=lambda: array("i"))
    names: list[bytes] = field(default_factory=list)
    offsets: "array[int]" = field(default_factory=lambda: array("Q"))
    lengths: "array[int]" = field(default_factory=lambda: array("Q"))
    modes: "array[int]" = field(default_factory=lambda: array("I"))
    mtimes_ns: "array[int]" = field(default_factory=lambda: array("q"))

    def add(
        self, folder_fd: int, name: bytes, offset: int, length: int, mode: int, mtime_ns: int
    ) -> None:
        """One file more. Raises `ValueError` for a number that cannot be, and then adds nothing."""
        try:
            self.folder_fds.append(folder_fd)
            self.offsets.append(offset)
            self.lengths.append(length)
            self.modes.append(mode)
            self.mtimes_ns.append(mtime_ns)
        except OverflowError as error:
            for column in self._columns():
                del column[len(self.names) :]
            raise ValueError("a number of a file to be made is out of range") from error
        self.names.append(name)

    def __len__(self) -> int:
        return len(self.names)

    def copy(self) -> "WriteJobs":
        """The same jobs, which nobody else can add to."""
        folder_fds, offsets, lengths, modes, mtimes_ns = (column[:] for column in self._columns())
        return WriteJobs(folder_fds, self.names[:], offsets, lengths, modes, mtimes_ns)

    def check(self, data_bytes: int) -> bytes:
        """The names, a NUL after each, when all that C relies on holds.

        Raises `ValueError` for a name that is none, bytes that the buffer does not have, or columns
        that do not fit together.
        """
        columns = self._columns()
        if [column.typecode for column in columns] != _COLUMN_TYPES:
            raise ValueError("a column of the files to be made is of another type")
        if {len(self.names), *map(len, columns)} != {len(self.names)}:
            raise ValueError("the columns of the files to be made are not equally long")
        if max(map(add, self.offsets, self.lengths), default=0) > data_bytes:
            raise ValueError("a file reaches beyond the buffer")
        return check_names(self.names, len(self.names))

    def _columns(self) -> "tuple[array[int], ...]":
        return self.folder_fds, self.offsets, self.lengths, self.modes, self.mtimes_ns


@dataclass(slots=True)
class Written:
    """What became of the jobs. After the first that failed none was begun (`ECANCELED`)."""

    errnos: "array[int]"
    inos: "array[int]"
    ctimes_ns: "array[int]"

    def first_error(self) -> tuple[int, int] | None:
        """The job that failed, and its errno; None when all files are made."""
        for job, error in enumerate(self.errnos):
            if error:
                return job, error
        return None


def no_results(count: int) -> Written:
    """Room for the results of so many jobs."""
    return Written(_zeros("i", count), _zeros("Q", count), _zeros("q", count))


def within(time_ns: int) -> int:
    """A time, or the nearest that can be told."""
    return max(FIRST_NS, min(time_ns, LAST_NS))


def check_names(names: Sequence[bytes], count: int) -> bytes:
    """The names, a NUL after each.

    Raises `ValueError` unless there are so many and each can name an entry of a folder.
    """
    if len(names) != count:
        raise ValueError(f"there are {len(names)} names for {count} files")
    for name in names:
        if not 0 < len(name) <= MAX_NAME_BYTES or name in _NO_NAMES or b"/" in name:
            raise ValueError(f"{name[:80]!r} cannot name a file")
    text = b"\0".join([*names, b""])
    if text.count(b"\0") != count:
        raise ValueError("a name with a NUL byte in it cannot name a file")
    return text
