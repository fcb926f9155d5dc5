"""What is known of a folder's entries beyond their listing, as a stat cache holds it.

In columns, one item for each entry of the listing in its order, so that the names of all blobs are
read out without looking at a single entry.
"""

import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from limpet.snapshots.blobs import HASH_BYTES, BlobHash
from limpet.snapshots.node import EMPTY_FILE, FILE, FOLDER, REFERENCE, SEGMENT, Reference

_NONE, _EMPTY, _BLOB, _LISTED, _TARGET = range(5)
_DROPS: Final = 0x80
_COUNT: Final = struct.Struct("<I")
_PLAIN: Final = bytes((_NONE, _EMPTY, _BLOB))
_NODE_KINDS: Final = bytes.maketrans(_PLAIN, bytes((FOLDER, EMPTY_FILE, FILE)))


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


class Drops(NamedTuple):
    """How many attributes of an entry are not carried."""

    xattrs: int
    acls: int


def encode_contents(
    contents: Iterable[EntryContent], drops: Mapping[int, Drops] | None = None
) -> bytes:
    """The contents of a folder's entries, in their order; `drops` by their place."""
    kinds = bytearray()
    hashes: list[bytes] = []
    extras: list[bytes] = []
    for content in contents:
        if isinstance(content, bytes):
            kinds.append(_BLOB)
            hashes.append(content)
        elif content is None:
            kinds.append(_NONE)
        elif isinstance(content, NoData):
            kinds.append(_EMPTY)
        else:
            listed = isinstance(content, Chunks)
            kinds.append(_LISTED if listed else _TARGET)
            extra = _extra_of(content) if isinstance(content, Chunks) else content.target
            extras += (_COUNT.pack(len(extra)), extra)
    last: list[bytes] = []
    for place in sorted(drops or {}):
        assert drops is not None
        kinds[place] |= _DROPS
        last.append(bytes(min(one, 255) for one in drops[place]))
    return b"".join((_COUNT.pack(len(kinds)), kinds, *hashes, *extras, *last))


def encode_plain_contents(sizes: Sequence[int | None], hashes: Iterable[BlobHash]) -> bytes:
    """As `encode_contents`, of files that are one blob or empty, by size, and folders (None).

    `hashes` are those of the files that are not empty.
    """
    kinds = bytes(_NONE if size is None else _BLOB if size else _EMPTY for size in sizes)
    return b"".join((_COUNT.pack(len(kinds)), kinds, *hashes))


def plain_contents(packed: bytes) -> tuple[bytes, bytes] | None:
    """The node's kind of each entry, and the hashes of the files that are one blob.

    None when there is anything but such files, empty ones, and what is a folder or not known.
    """
    (count,) = _COUNT.unpack_from(packed)
    end = _COUNT.size + count
    kinds = packed[_COUNT.size : end]
    if kinds.translate(None, _PLAIN):
        return None
    return kinds.translate(_NODE_KINDS), packed[end:]


def decode_contents(packed: bytes) -> list[EntryContent]:
    """The content of each entry; None for a folder, and for what must be read again."""
    kinds, at = _kinds(packed)
    hashes = iter(small_blobs(packed))
    at += HASH_BYTES * kinds.count(_BLOB)
    found: list[EntryContent] = []
    for kind in kinds:
        if kind == _BLOB:
            found.append(BlobHash(next(hashes)))
        elif kind == _NONE:
            found.append(None)
        elif kind == _EMPTY:
            found.append(NO_DATA)
        else:
            (length,) = _COUNT.unpack_from(packed, at)
            at += _COUNT.size
            extra = packed[at : at + length]
            at += length
            found.append(LinkTarget(extra) if kind == _TARGET else _chunks_of(extra))
    return found


def decode_drops(packed: bytes) -> dict[int, Drops]:
    """What is not carried of entries, by their place; mostly nothing."""
    (count,) = _COUNT.unpack_from(packed)
    marked = packed[_COUNT.size : _COUNT.size + count]
    if max(marked, default=0) < _DROPS:
        return {}
    places = [place for place, kind in enumerate(marked) if kind & _DROPS]
    last = packed[len(packed) - 2 * len(places) :]
    return {place: Drops(*last[2 * n : 2 * n + 2]) for n, place in enumerate(places)}


def small_blobs(packed: bytes) -> Sequence[bytes]:
    """The names of the data blobs that are whole files."""
    kinds, at = _kinds(packed)
    count = kinds.count(_BLOB)
    names: Sequence[bytes] = struct.unpack_from("32s" * count, packed, at) if count else ()
    return names


def has_chunked(packed: bytes) -> bool:
    """Whether there is a file of several blobs."""
    return _LISTED in _kinds(packed)[0]


def chunked(packed: bytes) -> Iterator[Chunks]:
    """The files of several blobs."""
    for content in decode_contents(packed):
        if isinstance(content, Chunks):
            yield content


_WITHOUT_DROPS: Final = bytes(kind & ~_DROPS for kind in range(256))


def _kinds(packed: bytes) -> tuple[bytes, int]:
    """The kinds of all entries, and where the hashes begin."""
    (count,) = _COUNT.unpack_from(packed)
    end = _COUNT.size + count
    return packed[_COUNT.size : end].translate(_WITHOUT_DROPS), end


def _extra_of(content: Chunks) -> bytes:
    return b"".join(
        (
            _COUNT.pack(len(content.segments)),
            *(SEGMENT.pack(*segment) for segment in content.segments),
            *(REFERENCE.pack(*one) for one in content.references),
        )
    )


def _chunks_of(extra: bytes) -> Chunks:
    (count,) = _COUNT.unpack_from(extra)
    at = _COUNT.size + SEGMENT.size * count
    return Chunks(
        tuple(SEGMENT.iter_unpack(extra[_COUNT.size : at])),
        tuple(
            Reference(BlobHash(name), length) for name, length in REFERENCE.iter_unpack(extra[at:])
        ),
    )
