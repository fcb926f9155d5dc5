"""Folders of nothing but small files and sub-folders, of which nothing is known: in columns.

Nearly every folder of a first save is one. It is read as a whole, and where all files turn out to
be as they were listed, its listing is all that must be kept of them. What is not sure of that is
for who looks at each entry (limpet.snapshots.looks). Pure.
"""

import stat
import struct
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate, compress
from typing import Final

from limpet.snapshots.blobs import MAX_BLOB_BYTES, BlobHash, names_in
from limpet.snapshots.entry_contents import encode_plain_contents
from limpet.snapshots.file_clock import SETTLED_NS
from limpet.snapshots.looks import NO_DROPS
from limpet.snapshots.native import ENTRY, ReadFiles, columns_of
from limpet.snapshots.statcache import CachedFolder
from limpet.snapshots.survey import SurveyedFolder

_LOGS: Final = (b"-wal", b"-journal")
_HOLES_FROM_BYTES: Final = 4096
_BLOCK: Final = 512
_CTIME: Final = struct.Struct("<q")
_CTIME_AT: Final = 40
"""Where in an entry of a listing its ctime is."""


@dataclass(slots=True)
class FileLooks:
    """How the files of a folder were listed."""

    sizes: list[int]
    inos: "array[int]"
    modes: "array[int]"
    mtimes: "array[int]"
    ctimes: "array[int]"


@dataclass(slots=True, eq=False)
class PlainFolder:
    """`names` are its files'. `failed` once one of them is not as it was listed."""

    folder: SurveyedFolder
    records: bytes
    is_file: list[bool]
    """Of each entry; those that are none are folders."""
    names: list[bytes]
    looks: FileLooks
    ends: list[int]
    """The sizes of all files up to each of them, itself among them."""
    hashes: list[BlobHash] = field(default_factory=list)
    unsure: list[int] = field(default_factory=list)
    """Files that a later write can leave looking as they do."""
    taken: int = 0
    failed: bool = False

    @property
    def done(self) -> bool:
        """Whether all of its files were read."""
        return self.taken == len(self.names)

    def take(
        self,
        read: ReadFiles,
        first: int,
        count: int,
        read_at_ns: int,
        mapped: frozenset[int],
    ) -> tuple[memoryview, Sequence[int], list[BlobHash]] | None:
        """So many files more, which were read together with others and begin at number `first`.

        Gives their bytes, sizes and names, without the empty ones; None when one of the folder's is
        not as it was listed.
        """
        some, own = slice(first, first + count), slice(self.taken, self.taken + count)
        self.taken += count
        looks = self.looks
        ctimes = read.ctimes_ns[some]
        newest = max(ctimes)
        if (
            any(read.errnos[some])
            or any(read.xattrs[some])
            or max(read.nlinks[some]) > 1
            or read.inos[some] != looks.inos[own]
            or read.modes[some] != looks.modes[own]
            or read.mtimes_ns[some] != looks.mtimes[own]
            or ctimes != looks.ctimes[own]
            or newest >= read_at_ns
        ):
            self.failed = True
        if self.failed:
            return None
        if newest >= read_at_ns - SETTLED_NS or not mapped.isdisjoint(looks.inos[own]):
            self.unsure += [
                number
                for number, ctime_ns in enumerate(ctimes, own.start)
                if ctime_ns >= read_at_ns - SETTLED_NS or looks.inos[number] in mapped
            ]
        sizes = looks.sizes[own]
        hashes = names_in(read.hashes[32 * first : 32 * (first + count)])
        if 0 in sizes:
            hashes = list(compress(hashes, sizes))
        self.hashes += hashes
        at = read.offsets[first]
        view = memoryview(read.data)[at : at + sum(sizes)].toreadonly()
        return view, list(filter(None, sizes)), hashes

    def packed(self) -> CachedFolder:
        """What a node and a cache need; its node is not made yet."""
        records = self.records
        if self.unsure:
            starts = self._starts()
            edited = bytearray(records)
            for number in self.unsure:
                _CTIME.pack_into(edited, starts[number] + _CTIME_AT, 0)
            records = bytes(edited)
        sizes = iter(self.looks.sizes)
        contents = encode_plain_contents(
            [next(sizes) if is_file else None for is_file in self.is_file], self.hashes
        )
        return CachedFolder(records, (), (), 0, 0, False, contents)

    def _starts(self) -> list[int]:
        """Where in the listing each file is."""
        starts = []
        at = 0
        while at < len(self.records):
            starts.append(at)
            at += ENTRY.size + ENTRY.unpack_from(self.records, at)[8]
        return list(compress(starts, self.is_file))


def plain_folder(folder: SurveyedFolder) -> PlainFolder | None:
    """The folder in columns; None when something in it needs more care than that."""
    records = folder.records
    if not records or any(log in records for log in _LOGS):
        return None
    if any(child.drops not in {None, NO_DROPS} for child in folder.below):
        return None
    columns = columns_of(records)
    is_file = list(map(stat.S_ISREG, columns.modes))
    if not all(is_file):
        if not all(map(stat.S_ISDIR, compress(columns.modes, [not one for one in is_file]))):
            return None
        columns = columns.those(is_file)
    names, modes, nlinks, _, inos, sizes, mtimes, ctimes, blocks = columns
    if (
        not names
        or max(nlinks) > 1
        or max(sizes) > MAX_BLOB_BYTES
        or any(
            held * _BLOCK < size and size >= _HOLES_FROM_BYTES
            for held, size in zip(blocks, sizes, strict=True)
        )
    ):
        return None
    looks = FileLooks(
        list(sizes), array("Q", inos), array("I", modes), array("q", mtimes), array("q", ctimes)
    )
    return PlainFolder(folder, records, is_file, names, looks, list(accumulate(sizes)))
