"""Nodes: folders as tree blobs (docs/format.md, 'Tree blobs'). Pure: entries to bytes and back.

A node names blobs by hash, so that an equal folder is an equal blob wherever it is, and a change
rewrites the path to it alone.
"""

import struct
from dataclasses import dataclass
from typing import Final, NamedTuple

from blake3 import blake3

from limpet.errors import SnapshotDamagedError
from limpet.snapshots.blobs import HASH_BYTES, MAX_BLOB_BYTES, BlobHash

EMPTY_FILE: Final = 0
FILE: Final = 1
FOLDER: Final = 2
LISTED_FILE: Final = 3
SYMLINK: Final = 4
HARD_LINK: Final = 5


MAX_MODE: Final = 0o1777
MAX_NAME_BYTES: Final = 255
MAX_TARGET_BYTES: Final = 4095
MAX_FILE_BYTES: Final = 1 << 50
MAX_SEGMENTS: Final = 4096
"""A file with more holes than that is saved as if it had none."""
TABLE_REFERENCES: Final = 8192
MAX_LEVEL: Final = 4
HEADER: Final = struct.Struct("<4sB3sI")
LEVEL_OFFSET: Final = 4
SIGNATURE: Final = b"LTN1"
TABLE_SIGNATURE: Final = b"LCT1"
REFERENCE: Final = struct.Struct(f"<{HASH_BYTES}sI")
SEGMENT: Final = struct.Struct("<QQ")
CONTENT: Final = struct.Struct("<IB3sI")


class Reference(NamedTuple):
    """A blob, and how many bytes of a file it (or the chunk table it is) stands for."""

    name: BlobHash
    length: int


@dataclass(frozen=True, slots=True)
class Content:
    """What a listed file consists of. `tables` when the references are chunk tables.

    `segments` (offset, length) say where the data lies; none means all of the file.
    """

    segments: tuple[tuple[int, int], ...]
    tables: bool
    references: tuple[Reference, ...]


class Entry(NamedTuple):
    """One entry of a folder. What it carries beside its columns depends on `kind`.

    `hash`: kinds 1 (the file's only blob) and 2 (the folder's node). `content`: kind 3.
    `target`: kind 4 (the link's target) and 5 (the path, from the root, of an earlier entry).
    """

    name: bytes
    kind: int
    mode: int
    mtime_ns: int
    size: int
    hash: BlobHash | None = None
    content: Content | None = None
    target: bytes | None = None


@dataclass(frozen=True, slots=True)
class Folder:
    """A node of level 0: entries in ascending order of their names."""

    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class Branches:
    """A node of a higher level: the first name below each child, and the child's hash."""

    level: int
    firsts: tuple[bytes, ...]
    children: tuple[BlobHash, ...]


Node = Folder | Branches


@dataclass(frozen=True, slots=True)
class Root:
    """A whole workspace: its top folder's node, and what the folder itself looks like."""

    node: BlobHash
    mode: int
    mtime_ns: int

    @property
    def digest(self) -> str:
        """The root digest, in hex: names this state."""
        told = b"limpet root 1\0" + self.node + struct.pack("<Hq", self.mode, self.mtime_ns)
        return blake3(told).hexdigest()


class BadNodeError(SnapshotDamagedError):
    """A tree blob that breaks a rule of the format."""

    code = "bad_node"


def decode_node(blob: bytes) -> Node:
    """The node that a tree blob is; `BadNodeError` when it breaks any rule of the format."""
    if len(blob) < HEADER.size or len(blob) > MAX_BLOB_BYTES:
        raise BadNodeError("A folder's node is cut off")
    signature, level, zeros, count = HEADER.unpack_from(blob)
    if signature != SIGNATURE or zeros != bytes(3) or level > MAX_LEVEL:
        raise BadNodeError("What should be a folder's node is none")
    if count > len(blob) // 2:
        raise BadNodeError("A folder's node is shorter than its entries")
    try:
        return _decode_branches(blob, level, count) if level else _decode_folder(blob, count)
    except struct.error as error:
        raise BadNodeError("A folder's node is cut off") from error


def decode_chunk_table(blob: bytes) -> tuple[Reference, ...]:
    """The data blobs of a chunk table; `BadNodeError` when it is none."""
    count, rest = divmod(len(blob) - 8, REFERENCE.size)
    if rest or blob[:4] != TABLE_SIGNATURE or not 0 < count <= TABLE_REFERENCES:
        raise BadNodeError("What should be a chunk table is none")
    if struct.unpack_from("<I", blob, 4) != (count,):
        raise BadNodeError("A chunk table is not as long as it says")
    return _references(blob, 8, count, MAX_BLOB_BYTES)


def is_chunk_table(blob: bytes) -> bool:
    """Whether a tree blob says that it is a chunk table."""
    return blob[:4] == TABLE_SIGNATURE


def decode_content(extra: bytes, size: int) -> Content:
    """The content of a listed file of `size` bytes; `BadNodeError` when it does not fit."""
    if len(extra) < CONTENT.size:
        raise BadNodeError("A file's content is cut off")
    segment_count, tables, zeros, count = CONTENT.unpack_from(extra)
    at = CONTENT.size + SEGMENT.size * segment_count
    if (
        segment_count > MAX_SEGMENTS
        or tables > 1
        or zeros != bytes(3)
        or count > TABLE_REFERENCES
        or len(extra) != at + REFERENCE.size * count
    ):
        raise BadNodeError("A file's content is none")
    segments = tuple(SEGMENT.iter_unpack(extra[CONTENT.size : at]))
    references = _references(extra, at, count, MAX_FILE_BYTES if tables else MAX_BLOB_BYTES)
    end = -1
    for offset, length in segments:
        only_hole = segment_count == 1 and (offset, length) == (size, 0)
        if offset <= end or (not length and not only_hole) or offset + length > size:
            raise BadNodeError("A file's segments do not fit the file")
        end = offset + length
    data = sum(length for _, length in segments) if segments else size
    if sum(one.length for one in references) != data:
        raise BadNodeError("A file's content is not as long as the file")
    return Content(segments, bool(tables), references)


def _references(data: bytes, at: int, count: int, most: int) -> tuple[Reference, ...]:
    packed = data[at : at + REFERENCE.size * count]
    references = tuple(
        Reference(BlobHash(name), length) for name, length in REFERENCE.iter_unpack(packed)
    )
    if any(not 0 < one.length <= most for one in references):
        raise BadNodeError("A file's content names a blob that cannot be")
    return references


def _names(blob: bytes, at: int, lengths: bytes) -> list[bytes]:
    names = []
    before = b""
    for length in lengths:
        name = blob[at : at + length]
        at += length
        if name <= before or len(name) != length:
            raise BadNodeError("A folder's names are not in order")
        names.append(name)
        before = name
    for name in names:
        if b"/" in name or b"\0" in name or name in {b".", b".."}:
            raise BadNodeError("A folder holds a name that leads elsewhere")
    return names


def _decode_branches(blob: bytes, level: int, count: int) -> Branches:
    at = HEADER.size
    lengths = blob[at : at + count]
    names = _names(blob, at + count, lengths)
    at += count + sum(lengths)
    if not count or len(blob) != at + HASH_BYTES * count:
        raise BadNodeError("A node is not as long as it says")
    children = tuple(
        BlobHash(blob[start : start + HASH_BYTES]) for start in range(at, len(blob), HASH_BYTES)
    )
    return Branches(level, tuple(names), children)


def _decode_folder(blob: bytes, count: int) -> Folder:
    at = HEADER.size
    kinds = blob[at : at + count]
    lengths = blob[at + count : at + 2 * count]
    at += 2 * count
    modes = struct.unpack_from(f"<{count}H", blob, at)
    mtimes = struct.unpack_from(f"<{count}q", blob, at + 2 * count)
    sizes = struct.unpack_from(f"<{count}Q", blob, at + 10 * count)
    at += 18 * count
    names = _names(blob, at, lengths)
    at += sum(lengths)
    entries = []
    hash_at = at
    at += HASH_BYTES * (kinds.count(FILE) + kinds.count(FOLDER))
    for name, kind, mode, mtime_ns, size in zip(names, kinds, modes, mtimes, sizes, strict=True):
        if mode > MAX_MODE or size > MAX_FILE_BYTES:
            raise BadNodeError("An entry's mode or size cannot be")
        if kind in {FILE, FOLDER}:
            if kind == FILE and not 0 < size <= MAX_BLOB_BYTES:
                raise BadNodeError("A file of one blob has a size that cannot be")
            if kind == FOLDER and size:
                raise BadNodeError("A folder has a size")
            hashed = BlobHash(blob[hash_at : hash_at + HASH_BYTES])
            hash_at += HASH_BYTES
            entries.append(Entry(name, kind, mode, mtime_ns, size, hashed))
            continue
        if kind == EMPTY_FILE:
            if size:
                raise BadNodeError("A file without data has a size")
            entries.append(Entry(name, kind, mode, mtime_ns, size))
            continue
        (length,) = struct.unpack_from("<I", blob, at)
        extra = blob[at + 4 : at + 4 + length]
        at += 4 + length
        if len(extra) != length:
            raise BadNodeError("A folder's node is cut off")
        entries.append(_extra_entry(name, kind, mode, mtime_ns, size, extra))
    if len(blob) != at:
        raise BadNodeError("A folder's node is longer than its entries")
    return Folder(tuple(entries))


def _extra_entry(
    name: bytes, kind: int, mode: int, mtime_ns: int, size: int, extra: bytes
) -> Entry:
    if kind == LISTED_FILE:
        if not size:
            raise BadNodeError("A listed file has no size")
        content = decode_content(extra, size)
        return Entry(name, LISTED_FILE, mode, mtime_ns, size, content=content)
    if mode or size:
        raise BadNodeError("A link has a mode or a size")
    if kind == SYMLINK:
        if not 0 < len(extra) <= MAX_TARGET_BYTES or b"\0" in extra:
            raise BadNodeError("A link's target cannot be")
        return Entry(name, SYMLINK, 0, mtime_ns, 0, target=extra)
    if kind == HARD_LINK:
        if mtime_ns:
            raise BadNodeError("A hard link has a time")
        parts = extra.split(b"/")
        if any(part in {b"", b".", b".."} or len(part) > MAX_NAME_BYTES for part in parts):
            raise BadNodeError("A hard link's target leads elsewhere")
        if b"\0" in extra:
            raise BadNodeError("A hard link's target leads elsewhere")
        return Entry(name, HARD_LINK, 0, 0, 0, target=extra)
    raise BadNodeError("An entry is of a kind that this version does not know")
