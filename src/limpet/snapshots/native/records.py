"""What the floor takes and gives: packed listings, batches of files to read and to write."""

import struct
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

ENTRY: Final = struct.Struct("<IIQQQqqQH")
"""st_mode, nlink, dev, ino, size, mtime_ns, ctime_ns, blocks of 512 bytes, length of the name."""
CHANGED: Final = -1
"""In `ReadFiles.errnos`: not a regular file, of another size, or written while it was read."""
MAX_NAME_BYTES: Final = 255
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
    """Room for files of these sizes."""
    count = len(sizes)
    offsets = array("Q")
    at = 0
    for size in sizes:
        if size < 0:
            raise ValueError("a size is negative")
        offsets.append(at)
        at += size

    def zeros(code: str) -> "array[int]":
        return array(code, bytes(array(code).itemsize * count))

    return ReadFiles(
        bytearray(at), offsets, zeros("Q"), zeros("i"), zeros("q"), zeros("q"), zeros("Q"),
        zeros("I"), zeros("I"), zeros("B"),
    )  # fmt: skip


@dataclass(slots=True)
class WriteJobs:
    """Files to be made out of one buffer: each a run of its bytes, in a folder, with its looks."""

    folder_fds: "array[int]" = field(default_factory=lambda: array("i"))
    names: list[bytes] = field(default_factory=list)
    offsets: "array[int]" = field(default_factory=lambda: array("Q"))
    lengths: "array[int]" = field(default_factory=lambda: array("Q"))
    modes: "array[int]" = field(default_factory=lambda: array("I"))
    mtimes_ns: "array[int]" = field(default_factory=lambda: array("q"))

    def add(
        self, folder_fd: int, name: bytes, offset: int, length: int, mode: int, mtime_ns: int
    ) -> None:
        """One file more."""
        self.folder_fds.append(folder_fd)
        self.names.append(name)
        self.offsets.append(offset)
        self.lengths.append(length)
        self.modes.append(mode)
        self.mtimes_ns.append(mtime_ns)

    def __len__(self) -> int:
        return len(self.names)

    def check(self, data_bytes: int) -> None:
        """Raises `ValueError` for a name that is none or bytes that the buffer does not have."""
        for name in self.names:
            check_name(name)
        for offset, length in zip(self.offsets, self.lengths, strict=True):
            if offset + length > data_bytes:
                raise ValueError("a file reaches beyond the buffer")


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
    return Written(
        array("i", bytes(4 * count)), array("Q", bytes(8 * count)), array("q", bytes(8 * count))
    )


def within(time_ns: int) -> int:
    """A time, or the nearest that can be told."""
    return max(FIRST_NS, min(time_ns, LAST_NS))


def check_name(name: bytes) -> None:
    """Raises `ValueError` unless the bytes can name an entry of a folder."""
    if not 0 < len(name) <= MAX_NAME_BYTES or b"/" in name or b"\0" in name:
        raise ValueError(f"{name[:80]!r} cannot name a file")
    if name in {b".", b".."}:
        raise ValueError(f"{name!r} names a folder, not a file in it")
