"""What a workspace looked like when it was last read: what lets a save read only what changed.

A cache belongs to one state, named by its root digest, and lies in the daemon's `state/`, never in
a snapshot. It holds each folder's packed listing, so that an unchanged folder is one comparison,
and beside it the folder's node and the content of each file. It is only ever a hint: one that is
missing, damaged or of another state means a full read; one entry that may lie (it was written so
late that a later write could leave its times as they are: git's 'racy' rule) is stored so that it
never compares equal.
"""

import contextlib
import mmap
import os
import re
import secrets
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final, Self

from blake3 import blake3

from limpet.snapshots.blobs import HASH_BYTES, BlobHash
from limpet.snapshots.node import Reference

MAGIC: Final = b"limpet stat cache 1\n"
_FOLDER: Final = struct.Struct("<IIIIIIQB")
"""Lengths of path, records, sub-folders, nodes and contents; files, their bytes; flags."""
_SEGMENT: Final = struct.Struct("<QQ")
_REFERENCE: Final = struct.Struct("<32sI")
_ALWAYS_LOOK: Final = 1
_NONE, _EMPTY, _BLOB, _LISTED, _TARGET = 0, 1, 2, 3, 4
_NAME: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class LinkTarget:
    """What a symlink says."""

    target: bytes


@dataclass(frozen=True, slots=True)
class Chunks:
    """A file of several blobs, or with holes: where its data lies, and all its data blobs."""

    segments: tuple[tuple[int, int], ...]
    references: tuple[Reference, ...]


@dataclass(frozen=True, slots=True)
class NoData:
    """The content of an empty file."""


NO_DATA: Final = NoData()
EntryContent = BlobHash | Chunks | NoData | LinkTarget | None
"""A file's only blob, the list of its blobs, nothing in it, a link's target; None: not known."""


@dataclass(frozen=True, slots=True)
class CachedFolder:
    """One folder as it was. `contents` has one item for each entry of the listing, in its order."""

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

    @property
    def node(self) -> BlobHash:
        """The folder's node."""
        return self.nodes[0]

    def contents(self) -> list[EntryContent]:
        """The content of each entry; None for a folder, and for what must be read again."""
        found: list[EntryContent] = []
        data, at = self.packed_contents, 0
        while at < len(data):
            kind = data[at]
            at += 1
            if kind == _NONE:
                found.append(None)
            elif kind == _EMPTY:
                found.append(NO_DATA)
            elif kind == _BLOB:
                found.append(BlobHash(data[at : at + HASH_BYTES]))
                at += HASH_BYTES
            else:
                (length,) = struct.unpack_from("<I", data, at)
                at += 4
                extra = data[at : at + length]
                at += length
                found.append(LinkTarget(extra) if kind == _TARGET else _chunks_of(extra))
        return found


class StatCache:
    """A cache that was opened; folders are looked up by path. Close it."""

    def __init__(self, data: mmap.mmap, places: dict[bytes, int], root_digest: str) -> None:
        self._data = data
        self._places = places
        self.root_digest = root_digest

    def close(self) -> None:
        """Let go of the file."""
        self._data.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __len__(self) -> int:
        return len(self._places)

    def folder(self, path: bytes) -> CachedFolder | None:
        """What is known of the folder at a relative path, or None."""
        at = self._places.get(path)
        if at is None:
            return None
        return _folder_at(self._data, at)[1]

    def folders(self) -> Iterator[tuple[bytes, CachedFolder]]:
        """Every folder, in the order in which it was walked."""
        for at in self._places.values():
            yield _folder_at(self._data, at)


class StatCaches:
    """The caches of one workspace, one for each state that a save may build upon."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def open(self, root_digest: str) -> StatCache | None:
        """The cache of a state; None when there is none, or when it is not whole."""
        if not _NAME.fullmatch(root_digest):
            return None
        try:
            with (self.folder / root_digest).open("rb") as file:
                data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError):
            return None
        try:
            places = _places(data, root_digest)
            if places is not None:
                return StatCache(data, places, root_digest)
        except struct.error:
            pass
        data.close()
        return None

    def create(self) -> "StatCacheWriter":
        """A cache to be written; nothing is to be seen of it before `commit`."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return StatCacheWriter(self.folder)

    def copy(self, cache: "StatCache", root_digest: str) -> None:
        """The same folders under another root digest: only the top's own looks differ."""
        with self.create() as writer:
            for path, folder in cache.folders():
                writer.add(path, folder)
            writer.commit(root_digest)

    def forget_all_but(self, *root_digests: str) -> None:
        """Delete every cache but these, and what writers that died left."""
        with contextlib.suppress(FileNotFoundError):
            for path in self.folder.iterdir():
                if path.name not in root_digests:
                    path.unlink(missing_ok=True)


class StatCacheWriter:
    """Takes folders and keeps none of them in memory. Close it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path = folder / f".new-{secrets.token_hex(8)}"
        fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        self._file: BinaryIO = os.fdopen(fd, "wb", buffering=1 << 20)
        self._digest = blake3()
        self._put(MAGIC)

    def add(self, path: bytes, folder: CachedFolder) -> None:
        """One folder; in any order, but each once."""
        names = b"\0".join(folder.folders)
        header = _FOLDER.pack(
            len(path),
            len(folder.records),
            len(names),
            len(folder.nodes),
            len(folder.packed_contents),
            folder.files,
            folder.size_bytes,
            _ALWAYS_LOOK if folder.always_look else 0,
        )
        self._put(
            b"".join((header, path, folder.records, names, *folder.nodes, folder.packed_contents))
        )

    def commit(self, root_digest: str) -> None:
        """All folders are in: this is the cache of that state."""
        self._put(_FOLDER.pack(0xFFFFFFFF, 0, 0, 0, 0, 0, 0, 0))
        self._put(root_digest.encode())
        self._file.write(self._digest.digest())
        self._file.close()
        self._path.rename(self._folder / root_digest)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Without a commit before, nothing is left."""
        self._file.close()
        self._path.unlink(missing_ok=True)

    def _put(self, data: bytes) -> None:
        self._digest.update(data)
        self._file.write(data)


def encode_contents(contents: Iterable[EntryContent]) -> bytes:
    """The contents of a folder's entries, in their order, as a cache holds them."""
    parts: list[bytes] = []
    for content in contents:
        if isinstance(content, bytes):
            parts.append(b"\x02" + content)
        elif content is None:
            parts.append(b"\x00")
        elif isinstance(content, NoData):
            parts.append(b"\x01")
        elif isinstance(content, Chunks):
            extra = b"".join(
                (
                    struct.pack("<I", len(content.segments)),
                    *(_SEGMENT.pack(*segment) for segment in content.segments),
                    *(_REFERENCE.pack(*one) for one in content.references),
                )
            )
            parts.append(b"\x03" + struct.pack("<I", len(extra)) + extra)
        else:
            parts.append(b"\x04" + struct.pack("<I", len(content.target)) + content.target)
    return b"".join(parts)


def _chunks_of(extra: bytes) -> Chunks:
    (count,) = struct.unpack_from("<I", extra)
    at = 4 + _SEGMENT.size * count
    references = _REFERENCE.iter_unpack(extra[at:])
    return Chunks(
        tuple(_SEGMENT.iter_unpack(extra[4:at])),
        tuple(Reference(BlobHash(name), length) for name, length in references),
    )


def _folder_at(data: mmap.mmap, at: int) -> tuple[bytes, CachedFolder]:
    told = _FOLDER.unpack_from(data, at)
    path_bytes, record_bytes, name_bytes, node_count, content_bytes, files, size, flags = told
    at += _FOLDER.size
    path = data[at : at + path_bytes]
    at += path_bytes
    records = data[at : at + record_bytes]
    at += record_bytes
    names = data[at : at + name_bytes]
    at += name_bytes
    nodes = tuple(
        BlobHash(data[start : start + HASH_BYTES])
        for start in range(at, at + HASH_BYTES * node_count, HASH_BYTES)
    )
    at += HASH_BYTES * node_count
    folders = tuple(names.split(b"\0")) if names else ()
    contents = data[at : at + content_bytes]
    always_look = bool(flags & _ALWAYS_LOOK)
    return path, CachedFolder(records, folders, nodes, files, size, always_look, contents)


def _places(data: mmap.mmap, root_digest: str) -> dict[bytes, int] | None:
    """Where each folder begins; None when the file is not the whole cache of that state."""
    end = len(data) - HASH_BYTES
    if end < len(MAGIC) or data[: len(MAGIC)] != MAGIC:
        return None
    with memoryview(data) as view, view[:end] as whole:
        digest = blake3(whole).digest()
    if digest != data[end:]:
        return None
    places: dict[bytes, int] = {}
    at = len(MAGIC)
    while True:
        path, records, names, nodes, contents, _, _, _ = _FOLDER.unpack_from(data, at)
        if path == 0xFFFFFFFF:
            break
        start = at + _FOLDER.size
        places[data[start : start + path]] = at
        at = start + path + records + names + HASH_BYTES * nodes + contents
    return places if data[at + _FOLDER.size : end] == root_digest.encode() else None
