"""Folders written as nodes: columns, and the cutting of big folders (docs/format.md). Pure."""

import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, TypeVar
from zlib import crc32

from limpet.snapshots.blobs import BlobHash, hash_of
from limpet.snapshots.node import (
    CONTENT,
    HEADER,
    LISTED_FILE,
    MAX_LEVEL,
    REFERENCE,
    SEGMENT,
    SIGNATURE,
    TABLE_REFERENCES,
    TABLE_SIGNATURE,
    Content,
    Entry,
    Reference,
)

SPLIT_ENTRIES: Final = 256
DIRECT_REFERENCES: Final = 64
TABLE_OF: Final = 4095
"""Blobs to a chunk table: what it stands for must fit 32 bits, were each of them 1 MiB."""
_SPLIT_BYTES: Final = 512 << 10
_SPLIT_BITS: Final = 7

Emit = Callable[[bytes, BlobHash], None]
T = TypeVar("T")


def encode_folder(entries: Iterable[Entry], emit: Emit) -> BlobHash:
    """Encode a folder as one node or more; `emit` gets each, children first. Gives the top one.

    `entries` must be in ascending order of their names.
    """
    every = tuple(entries)
    if len(every) <= SPLIT_ENTRIES:
        blob = encode_entries(every)
        if len(blob) <= _SPLIT_BYTES:
            name = hash_of(blob)
            emit(blob, name)
            return name
    firsts: list[bytes] = []
    children: list[BlobHash] = []
    for group in _split(every, 0, lambda entry: entry.name, _entry_bytes):
        blob = encode_entries(group)
        firsts.append(group[0].name)
        children.append(hash_of(blob))
        emit(blob, children[-1])
    level = 1
    while True:
        pairs = list(zip(firsts, children, strict=True))
        together: list[Sequence[tuple[bytes, BlobHash]]] = [pairs]
        if level < MAX_LEVEL and len(pairs) > SPLIT_ENTRIES:
            together = list(_split(pairs, level, lambda one: one[0], lambda one: len(one[0]) + 33))
        firsts, children = [], []
        for pair_group in together:
            blob = encode_branches(level, pair_group)
            firsts.append(pair_group[0][0])
            children.append(hash_of(blob))
            emit(blob, children[-1])
        if len(children) == 1:
            return children[0]
        level += 1


def _split(
    items: Sequence[T], level: int, name_of: Callable[[T], bytes], bytes_of: Callable[[T], int]
) -> Iterator[Sequence[T]]:
    mask = (1 << _SPLIT_BITS) - 1
    first, size = 0, 0
    for index, item in enumerate(items):
        length = bytes_of(item)
        if index > first and size + length > _SPLIT_BYTES:
            yield items[first:index]
            first, size = index, 0
        size += length
        if crc32(name_of(item)) >> (_SPLIT_BITS * level) & mask == mask:
            yield items[first : index + 1]
            first, size = index + 1, 0
    if first < len(items):
        yield items[first:]


def encode_content(content: Content) -> bytes:
    """The extra of a listed file."""
    return b"".join(
        (
            CONTENT.pack(len(content.segments), content.tables, bytes(3), len(content.references)),
            *(SEGMENT.pack(*segment) for segment in content.segments),
            *(REFERENCE.pack(*one) for one in content.references),
        )
    )


def encode_chunk_table(references: Sequence[Reference]) -> bytes:
    """A chunk table of at most `TABLE_REFERENCES` data blobs."""
    assert 0 < len(references) <= TABLE_REFERENCES
    packed = b"".join(REFERENCE.pack(*one) for one in references)
    return TABLE_SIGNATURE + struct.pack("<I", len(references)) + packed


def content_of(
    chunks: Sequence[Reference],
    segments: Sequence[tuple[int, int]],
    emit: Emit,
) -> Content:
    """The content of a listed file of these data blobs; `emit` gets the chunk tables it needs."""
    if len(chunks) <= DIRECT_REFERENCES:
        return Content(tuple(segments), False, tuple(chunks))
    tables = []
    for first in range(0, len(chunks), TABLE_OF):
        group = chunks[first : first + TABLE_OF]
        table = encode_chunk_table(group)
        name = hash_of(table)
        emit(table, name)
        tables.append(Reference(name, sum(one.length for one in group)))
    return Content(tuple(segments), True, tuple(tables))


def _extra_of(entry: Entry) -> bytes:
    if entry.content is not None:
        return encode_content(entry.content)
    assert entry.target is not None
    return entry.target


def _entry_bytes(entry: Entry) -> int:
    extra = 0
    if entry.content is not None:
        extra = 12 + 16 * len(entry.content.segments) + 36 * len(entry.content.references)
    elif entry.target is not None:
        extra = len(entry.target)
    return 56 + len(entry.name) + extra


def encode_entries(entries: Sequence[Entry]) -> bytes:
    """One node of level 0."""
    count = len(entries)
    if not count:
        return HEADER.pack(SIGNATURE, 0, bytes(3), 0)
    names, kinds, modes, mtimes, sizes, hashes, _, _ = zip(*entries, strict=True)
    parts = [
        HEADER.pack(SIGNATURE, 0, bytes(3), count),
        bytes(kinds),
        bytes(map(len, names)),
        struct.pack(f"<{count}H", *modes),
        struct.pack(f"<{count}q", *mtimes),
        struct.pack(f"<{count}Q", *sizes),
        *names,
        *(name for name in hashes if name is not None),
    ]
    for entry in entries:
        if entry.kind >= LISTED_FILE:
            extra = _extra_of(entry)
            parts += (struct.pack("<I", len(extra)), extra)
    return b"".join(parts)


def encode_columns(
    kinds: bytes,
    names: Sequence[bytes],
    modes: Sequence[int],
    mtimes: Sequence[int],
    sizes: Sequence[int],
    hashes: bytes,
) -> bytes | None:
    """One node of level 0 of files of one blob, empty files and folders: whose size is 0.

    None when they must be cut into several.
    """
    count = len(kinds)
    if count > SPLIT_ENTRIES:
        return None
    blob = b"".join(
        (
            HEADER.pack(SIGNATURE, 0, bytes(3), count),
            kinds,
            bytes(map(len, names)),
            struct.pack(f"<{count}H{count}q{count}Q", *modes, *mtimes, *sizes),
            *names,
            hashes,
        )
    )
    return blob if len(blob) <= _SPLIT_BYTES else None


def encode_branches(level: int, pairs: Sequence[tuple[bytes, BlobHash]]) -> bytes:
    """One node over others: the first name below each, and its hash."""
    return b"".join(
        (
            HEADER.pack(SIGNATURE, level, bytes(3), len(pairs)),
            bytes(len(first) for first, _ in pairs),
            *(first for first, _ in pairs),
            *(child for _, child in pairs),
        )
    )
