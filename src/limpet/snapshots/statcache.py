"""What a workspace looked like when it was last read: what lets a save read only what changed.

A cache belongs to one state, named by its root digest, and lies in the daemon's `state/`, never in
a snapshot. It holds each folder's packed listing, so that an unchanged folder is one comparison,
and beside it the folder's node and the content of each file. It is only ever a hint: one that is
missing, damaged or of another state means a full read; an entry that may lie (it was written so
late that a later write could leave its times as they are: git's 'racy' rule) is stored so that it
never compares equal.

A file of ours: magic; of each folder its listing, contents, sub-folders' names and nodes; a row for
each folder, their paths, sums, the root digest, and the BLAKE3 of all that.
"""

import contextlib
import mmap
import os
import re
import secrets
import stat
import struct
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple, Self

from blake3 import blake3

from limpet.snapshots.blobs import HASH_BYTES, BlobHash
from limpet.snapshots.entry_contents import (
    NO_DATA,
    Chunks,
    Drops,
    EntryContent,
    LinkTarget,
    NoData,
    chunked,
    decode_contents,
    decode_drops,
    encode_contents,
    has_chunked,
    small_blobs,
)
from limpet.snapshots.native import EntryStat, Listings, pack_records, parse_records
from limpet.snapshots.node_encode import content_of
from limpet.snapshots.tally import NOTHING, TALLY_FORMAT, Tally, Totals, tally_of

__all__ = [
    "NO_DATA", "CachedFolder", "Chunks", "Drops", "EntryContent", "LinkTarget", "NoData",
    "StatCache", "StatCacheWriter", "StatCaches", "cached_folder", "encode_contents", "folders_of",
    "never_equal",
]  # fmt: skip

MAGIC: Final = b"limpet stat cache 2\n"
_ROW: Final = struct.Struct("<QIIIIB3x" + TALLY_FORMAT)
"""Where a folder's part begins; the lengths of its listing, contents, names and nodes; whether to
look at it always; its tally."""
_END: Final = struct.Struct("<QIQ" + TALLY_FORMAT + "64s")
"""Where the rows begin, how many there are, the length of all paths; the sums; the root digest."""
_HELD: Final = 256
_LOOK, _CHUNKED = 1, 2
"""Flags of a row: to be looked at always; with files of several blobs."""
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")


def folders_of(entries: Sequence[EntryStat]) -> tuple[bytes, ...]:
    """The sub-folders by name, the last first: as a walk takes them from a stack."""
    return tuple(entry.name for entry in reversed(entries) if stat.S_ISDIR(entry.mode))


def never_equal(entry: EntryStat) -> EntryStat:
    """The entry as a cache keeps it when it must be read again whatever it looks like then."""
    return entry._replace(ctime_ns=0)


@dataclass(frozen=True, slots=True)
class CachedFolder:
    """One folder as it was. Its contents have one item for each entry of its listing, in order."""

    records: bytes
    folders: tuple[bytes, ...]
    """Its sub-folders, the last to be walked first."""
    nodes: tuple[BlobHash, ...]
    """The folder's node first, then those that it is cut into."""
    files: int
    size_bytes: int
    """How many files lie right in it, and their sizes together."""
    always_look: bool
    """Whether there is something in it that no listing tells: hard links, what was skipped."""
    packed_contents: bytes
    tally: Tally = NOTHING
    """What else lies right in it."""

    @property
    def node(self) -> BlobHash:
        """The folder's node."""
        return self.nodes[0]

    def contents(self) -> list[EntryContent]:
        """The content of each entry; None for a folder, and for what must be read again."""
        return decode_contents(self.packed_contents)

    def drops(self) -> dict[int, Drops]:
        """By their places, the entries with attributes that are not carried."""
        return decode_drops(self.packed_contents)


def cached_folder(
    entries: Sequence[EntryStat], contents: Sequence[EntryContent], nodes: Iterable[BlobHash]
) -> CachedFolder:
    """A folder that nobody writes to, as it was just listed.

    An entry without content that is no folder is kept so that it is read the next time.
    """
    sure = (
        one if content is not None or stat.S_ISDIR(one.mode) else never_equal(one)
        for one, content in zip(entries, contents, strict=True)
    )
    tally = tally_of(entries, {})
    return CachedFolder(
        pack_records(sure),
        folders_of(entries),
        tuple(nodes),
        tally.files,
        tally.size_bytes,
        any(one.nlink > 1 and not stat.S_ISDIR(one.mode) for one in entries),
        encode_contents(contents),
        tally,
    )


class Seen(NamedTuple):
    """A folder of a cache that looks as it did."""

    row: int
    folders: tuple[bytes, ...]
    always_look: bool


class StatCache:
    """A cache that was opened; folders are looked up by path. Close it. Any thread may read."""

    def __init__(self, data: mmap.mmap, root_digest: str) -> None:
        self._data = data
        self.root_digest = root_digest
        self._rows_at, rows, paths_bytes, *told = _END.unpack_from(data, _end_of(data))
        self.sums = Tally(*told[:-1])
        """What the whole workspace holds."""
        paths_at = self._rows_at + _ROW.size * rows
        paths = data[paths_at : paths_at + paths_bytes].split(b"\0") if rows else []
        self._rows = dict(zip(paths, count(), strict=False))

    def close(self) -> None:
        """Let go of the file."""
        self._data.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __len__(self) -> int:
        return len(self._rows)

    def rows(self) -> Iterable[tuple[bytes, int]]:
        """Every folder's path and number, in the order in which they were written."""
        return self._rows.items()

    def row(self, path: bytes) -> int:
        """The number of the folder at a relative path; -1 when there is none."""
        return self._rows.get(path, -1)

    @property
    def listings(self) -> Listings:
        """The listings of all folders, by row. Let go of it before the cache is closed."""
        return Listings(self._data, self._rows_at, _ROW.size, len(self))

    def mentions(self, name: bytes) -> bool:
        """Whether an entry of that name may be in some listing."""
        return self._data.find(name) >= 0

    def seen(self, path: bytes, records: bytes) -> Seen | None:
        """The folder at a path, when this was its listing."""
        row = self._rows.get(path)
        if row is None:
            return None
        at, listing, *_ = _ROW.unpack_from(self._data, self._rows_at + _ROW.size * row)
        if listing != len(records) or self._data[at : at + listing] != records:
            return None
        return self.seen_at(row)

    def seen_at(self, row: int) -> Seen:
        """The folder of that number, which is listed as it was."""
        at, listing, contents, names, _, flags, *_ = _ROW.unpack_from(
            self._data, self._rows_at + _ROW.size * row
        )
        at += listing + contents
        below = tuple(self._data[at : at + names].split(b"/")) if names else ()
        return Seen(row, below, bool(flags & _LOOK))

    def at(self, row: int) -> CachedFolder:
        """The folder of that number."""
        at, listing, contents, names, nodes, flags, *told = _ROW.unpack_from(
            self._data, self._rows_at + _ROW.size * row
        )
        data = self._data
        records = data[at : at + listing]
        at += listing
        packed = data[at : at + contents]
        at += contents
        below = tuple(data[at : at + names].split(b"/")) if names else ()
        at += names
        hashes = tuple(
            BlobHash(data[start : start + HASH_BYTES])
            for start in range(at, at + HASH_BYTES * nodes, HASH_BYTES)
        )
        tally = Tally(*told)
        return CachedFolder(
            records,
            below,
            hashes,
            tally.files,
            tally.size_bytes,
            bool(flags & _LOOK),
            packed,
            tally,
        )

    def folder(self, path: bytes) -> CachedFolder | None:
        """What is known of the folder at a relative path, or None."""
        row = self._rows.get(path)
        return None if row is None else self.at(row)

    def folders(self) -> Iterator[tuple[bytes, CachedFolder]]:
        """Every folder, in the order in which they were written."""
        for path, row in self._rows.items():
            yield path, self.at(row)

    def tally(self, row: int) -> Sequence[int]:
        """What lies right in a folder, in the order of a `Tally`."""
        return _ROW.unpack_from(self._data, self._rows_at + _ROW.size * row)[6:]

    def node(self, row: int) -> BlobHash:
        """A folder's node."""
        at, listing, contents, names, *_ = _ROW.unpack_from(
            self._data, self._rows_at + _ROW.size * row
        )
        at += listing + contents + names
        return BlobHash(self._data[at : at + HASH_BYTES])

    def packed(self, row: int) -> tuple[tuple[int, ...], bytes]:
        """The folder of that number as it lies here, for another cache."""
        told = _ROW.unpack_from(self._data, self._rows_at + _ROW.size * row)
        at, listing, contents, names, nodes, *_ = told
        return told, self._data[at : at + listing + contents + names + HASH_BYTES * nodes]

    def looked_at(self) -> Iterator[tuple[bytes, int]]:
        """The folders of which a listing does not tell all, with their numbers."""
        for path, row in self._rows.items():
            if _ROW.unpack_from(self._data, self._rows_at + _ROW.size * row)[5] & _LOOK:
                yield path, row

    def data_blobs(self) -> set[bytes]:
        """The names of all data blobs of this state."""
        found: set[bytes] = set()
        further = self._further_names()
        for row in range(len(self)):
            _, packed, _, chunks = self._parts(row)
            if row in further:
                for content in _without(packed, further[row]):
                    if isinstance(content, bytes):
                        found.add(content)
                    elif isinstance(content, Chunks):
                        found.update(one.name for one in content.references)
                continue
            found.update(small_blobs(packed))
            if chunks:
                for content in chunked(packed):
                    found.update(one.name for one in content.references)
        return found

    def tree_blobs(self) -> set[bytes]:
        """The names of all tree blobs of this state: nodes and chunk tables."""
        found: set[bytes] = set()
        further = self._further_names()
        for row in range(len(self)):
            _, packed, nodes, chunks = self._parts(row)
            found.update(nodes[at : at + HASH_BYTES] for at in range(0, len(nodes), HASH_BYTES))
            if chunks:
                for content in _without(packed, further.get(row, set())):
                    if isinstance(content, Chunks):
                        content_of(content.references, (), lambda _, name: found.add(name))
        return found

    def _parts(self, row: int) -> tuple[bytes, bytes, bytes, bool]:
        """A folder's listing, contents and nodes, and whether it has files of several blobs."""
        data = self._data
        at, listing, contents, names, nodes, flags, *_ = _ROW.unpack_from(
            data, self._rows_at + _ROW.size * row
        )
        middle, end = at + listing, at + listing + contents
        after = end + names
        return (
            data[at:middle],
            data[middle:end],
            data[after : after + HASH_BYTES * nodes],
            bool(flags & _CHUNKED),
        )

    def _further_names(self) -> dict[int, set[int]]:
        """The places of hard links by row: of a file with several names all but the first one.

        The state holds what is known of the first. Of a further name that was read at another
        moment something else may be known, which is nowhere in the state.
        """
        first: dict[tuple[int, int], tuple[list[bytes], bytes, int, int]] = {}
        found: dict[int, set[int]] = {}
        for path, row in self.looked_at():
            parts = path.split(b"/")
            for place, entry in enumerate(parse_records(self._parts(row)[0])):
                if entry.nlink == 1 or stat.S_ISDIR(entry.mode):
                    continue
                this = parts, entry.name, row, place
                other = first.setdefault((entry.dev, entry.ino), this)
                if other is not this:
                    first[entry.dev, entry.ino] = min(this, other)
                    *_, row_of_later, later = max(this, other)
                    found.setdefault(row_of_later, set()).add(later)
        return found


def _without(packed: bytes, places: Collection[int]) -> Iterator[EntryContent]:
    for place, content in enumerate(decode_contents(packed)):
        if place not in places:
            yield content


class StatCaches:
    """The caches of one workspace, one for each state that a save may build upon."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def open(self, root_digest: str) -> StatCache | None:
        """The cache of a state; None when there is none, or when it is not whole."""
        if not _DIGEST.fullmatch(root_digest):
            return None
        try:
            with (self.folder / root_digest).open("rb") as file:
                # Nothing is written; but only of what might be does C get the address.
                data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
        except (OSError, ValueError):
            return None
        if _is_whole(data, root_digest):
            return StatCache(data, root_digest)
        data.close()
        return None

    def newest(self) -> str | None:
        """The root digest of the state that was noted last: of all, the workspace is nearest to it.

        None when there is none. Whether its cache is whole is for `open` to tell.
        """
        noted: list[tuple[int, str]] = []
        with contextlib.suppress(OSError), os.scandir(self.folder) as found:
            for one in found:
                if _DIGEST.fullmatch(one.name):
                    with contextlib.suppress(FileNotFoundError):
                        noted.append((one.stat().st_mtime_ns, one.name))
        return max(noted)[1] if noted else None

    def create(self, sums: Tally | None = None) -> "StatCacheWriter":
        """A cache to be written; nothing is to be seen of it before `commit`.

        `sums` is what the whole workspace holds, where that is known already.
        """
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return StatCacheWriter(self.folder, sums)

    def copy(self, cache: "StatCache", root_digest: str) -> None:
        """The same folders under another root digest: only the top's own looks differ."""
        with self.create(cache.sums) as writer:
            for path, row in cache.rows():
                writer.copy(path, cache, row)
            writer.commit(root_digest)

    def forget_all_but(self, *root_digests: str) -> None:
        """Delete every cache but these, and what writers that died left."""
        with contextlib.suppress(FileNotFoundError):
            for path in self.folder.iterdir():
                if path.name not in root_digests:
                    path.unlink(missing_ok=True)


class StatCacheWriter:
    """Takes folders and keeps little of them in memory. Close it."""

    def __init__(self, folder: Path, sums: Tally | None) -> None:
        self._folder = folder
        self._sums = sums
        self._path = folder / f".new-{secrets.token_hex(8)}"
        fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        self._file: BinaryIO = os.fdopen(fd, "wb")
        self._digest = blake3()
        self._at = 0
        self._held: list[bytes | bytearray] = []
        self._rows = bytearray()
        self._paths: list[bytes] = []
        self._totals = Totals()
        self._put(MAGIC)

    def add(self, path: bytes, folder: CachedFolder) -> None:
        """One folder; in any order, but each once."""
        names = b"/".join(folder.folders)
        tally = folder.tally._replace(files=folder.files, size_bytes=folder.size_bytes)
        self._rows += _ROW.pack(
            self._at,
            len(folder.records),
            len(folder.packed_contents),
            len(names),
            len(folder.nodes),
            _LOOK * folder.always_look | _CHUNKED * has_chunked(folder.packed_contents),
            *tally,
        )
        self._paths.append(path)
        if self._sums is None:
            self._totals.add(tally)
            if folder.always_look:
                self._totals.add_links(parse_records(folder.records), folder.drops())
        self._put(b"".join((folder.records, folder.packed_contents, names, *folder.nodes)))

    def copy(self, path: bytes, cache: StatCache, row: int) -> None:
        """One folder as another cache has it."""
        if self._sums is None:
            self.add(path, cache.at(row))
            return
        told, data = cache.packed(row)
        self._rows += _ROW.pack(self._at, *told[1:])
        self._paths.append(path)
        self._put(data)

    def commit(self, root_digest: str) -> None:
        """All folders are in: this is the cache of that state."""
        paths = b"\0".join(self._paths)
        sums = self._totals.whole() if self._sums is None else self._sums
        end = _END.pack(self._at, len(self._paths), len(paths), *sums, root_digest.encode())
        self._put(self._rows)
        self._put(paths)
        self._put(end)
        self._flush()
        self._file.write(self._digest.digest())
        self._file.close()
        self._path.rename(self._folder / root_digest)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Without a commit before, nothing is left."""
        try:
            self._file.close()
        finally:
            self._path.unlink(missing_ok=True)

    def _put(self, data: bytes | bytearray) -> None:
        self._held.append(data)
        self._at += len(data)
        if len(self._held) >= _HELD:
            self._flush()

    def _flush(self) -> None:
        held, self._held = b"".join(self._held), []
        self._digest.update(held)
        self._file.write(held)


def _end_of(data: mmap.mmap) -> int:
    return len(data) - HASH_BYTES - _END.size


def _is_whole(data: mmap.mmap, root_digest: str) -> bool:
    """Whether this is the whole cache of that state."""
    at = _end_of(data)
    if at < len(MAGIC) or data[: len(MAGIC)] != MAGIC:
        return False
    end = len(data) - HASH_BYTES
    with memoryview(data) as view, view[:end] as whole:
        digest = blake3(whole).digest()
    return digest == data[end:] and data[end - 64 : end] == root_digest.encode()
