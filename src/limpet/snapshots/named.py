"""Which blobs a tree names: read from the nodes' columns, each node once, no path and no entry.

For trees that were verified when they arrived: it trusts what `decode_node` has judged before.
"""

import struct
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import compress
from typing import Final

from limpet.snapshots.blobs import HASH_BYTES, BlobHash
from limpet.snapshots.node import (
    CONTENT,
    FILE,
    FOLDER,
    HARD_LINK,
    HEADER,
    LISTED_FILE,
    REFERENCE,
    SEGMENT,
    BadNodeError,
    decode_chunk_table,
)
from limpet.snapshots.trees import TreeBlobs

_IS_FILE: Final = bytes(kind == FILE for kind in range(256))
_IS_FOLDER: Final = bytes(kind == FOLDER for kind in range(256))
_NOT_HASHED: Final = bytes(set(range(256)) - {FILE, FOLDER})
_WITHOUT_EXTRA: Final = bytes(set(range(256)) - set(range(LISTED_FILE, HARD_LINK + 1)))


@dataclass(slots=True)
class NamedBlobs:
    """Everything that a walk meets, in the order in which it does."""

    data: dict[BlobHash, int] = field(default_factory=dict)
    """Data blobs and their sizes."""
    nodes: dict[BlobHash, None] = field(default_factory=dict)
    tables: dict[BlobHash, int] = field(default_factory=dict)
    """Chunk tables, and how many bytes each stands for."""
    link_targets: set[bytes] = field(default_factory=set)
    """The paths that hard links mean."""

    def names_tree(self, name: BlobHash) -> bool:
        """Whether a tree blob of this name is among them."""
        return name in self.nodes or name in self.tables


def named_blobs(
    roots: Iterable[BlobHash], trees: TreeBlobs, into: NamedBlobs | None = None
) -> NamedBlobs:
    """What the trees below these nodes name, added to `into`.

    Raises `SnapshotDamagedError` (`BadNodeError`) for what is missing or no node.
    """
    named = into if into is not None else NamedBlobs()
    todo = list(roots)[::-1]
    while todo:
        node = todo.pop()
        if node in named.nodes:
            continue
        named.nodes[node] = None
        try:
            todo += _read_node(trees.blob(node), trees, named)[::-1]
        except (struct.error, IndexError, ValueError) as error:
            raise BadNodeError("What should be a folder's node is none") from error
    return named


def _read_node(blob: bytes, trees: TreeBlobs, named: NamedBlobs) -> list[BlobHash]:
    """Take in what a node names; gives the nodes below it."""
    _, level, _, count = HEADER.unpack_from(blob)
    at = HEADER.size
    if level:
        at += count + sum(blob[at : at + count])
        return _hashes(blob, at, count)
    kinds = blob[at : at + count]
    sizes_at = at + 12 * count
    names_at = at + 20 * count
    at = names_at + sum(blob[HEADER.size + count : HEADER.size + 2 * count])
    is_file = kinds.translate(_IS_FILE)
    files, folders = is_file.count(1), kinds.count(FOLDER)
    hashes = _hashes(blob, at, files + folders)
    at += HASH_BYTES * (files + folders)
    if files:
        sizes = compress(struct.unpack_from(f"<{count}Q", blob, sizes_at), is_file)
        blobs: Iterable[BlobHash] = hashes
        if folders:
            blobs = compress(hashes, kinds.translate(_IS_FILE, _NOT_HASHED))
        named.data.update(zip(blobs, sizes, strict=True))
    for kind in kinds.translate(None, _WITHOUT_EXTRA):
        (length,) = struct.unpack_from("<I", blob, at)
        at += 4
        if kind == LISTED_FILE:
            _read_content(blob, at, trees, named)
        elif kind == HARD_LINK:
            named.link_targets.add(blob[at : at + length])
        at += length
    if not folders:
        return []
    return hashes if not files else list(compress(hashes, kinds.translate(_IS_FOLDER, _NOT_HASHED)))


def _hashes(blob: bytes, at: int, count: int) -> list[BlobHash]:
    end = at + HASH_BYTES * count
    if len(blob) < end:
        raise BadNodeError("A folder's node is cut off")
    return [BlobHash(blob[start : start + HASH_BYTES]) for start in range(at, end, HASH_BYTES)]


def _read_content(blob: bytes, at: int, trees: TreeBlobs, named: NamedBlobs) -> None:
    segments, tables, _, count = CONTENT.unpack_from(blob, at)
    at += CONTENT.size + SEGMENT.size * segments
    for name, length in REFERENCE.iter_unpack(blob[at : at + REFERENCE.size * count]):
        if tables:
            if name not in named.tables:
                named.tables[name] = length
                named.data.update(decode_chunk_table(trees.blob(name)))
        else:
            named.data[name] = length
