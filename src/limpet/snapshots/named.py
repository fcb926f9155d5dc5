"""Which blobs a tree names: read from the nodes' columns, each node once, no path and no entry.

For trees that were verified when they arrived: it trusts what `decode_node` has judged before.
"""

import struct
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import compress
from typing import Final, NamedTuple

from limpet.snapshots.blobs import HASH_BYTES, BlobHash, names_in
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
        read = _read(node, trees)
        try:
            _take(read, trees, named)
        except (struct.error, ValueError) as error:
            raise BadNodeError("What should be a folder's node is none") from error
        todo += read.folders()[::-1]
    return named


def unfolded_entries(root: BlobHash, trees: TreeBlobs) -> int:
    """How many entries a walk from this node would meet; each node is read once.

    Raises what `named_blobs` does.
    """
    counts: dict[BlobHash, int] = {}
    todo: list[tuple[BlobHash, tuple[int, list[BlobHash]] | None]] = [(root, None)]
    while todo:
        name, read = todo.pop()
        if name in counts:
            continue
        if read is None:
            node = _read(name, trees)
            below = node.folders()
            todo.append((name, (len(node.kinds), below)))
            todo += [(child, None) for child in below if child not in counts]
        else:
            own, below = read
            counts[name] = own + sum(counts[child] for child in below)
    return counts[root]


class _Columns(NamedTuple):
    """What is needed of a node. One of a higher level has no kinds, and its hashes are nodes."""

    blob: bytes
    kinds: bytes
    hashes: list[BlobHash]
    sizes_at: int
    extras_at: int

    def folders(self) -> list[BlobHash]:
        """The nodes below this one."""
        kinds = self.kinds
        if not kinds or FILE not in kinds:
            return self.hashes
        return list(compress(self.hashes, kinds.translate(_IS_FOLDER, _NOT_HASHED)))


def _read(name: BlobHash, trees: TreeBlobs) -> _Columns:
    blob = trees.blob(name)
    try:
        _, level, _, count = HEADER.unpack_from(blob)
    except struct.error as error:
        raise BadNodeError("What should be a folder's node is none") from error
    at = HEADER.size
    if level:
        at += count + sum(blob[at : at + count])
        return _Columns(blob, b"", _hashes(blob, at, count), 0, 0)
    kinds = blob[at : at + count]
    hashes_at = at + 20 * count + sum(blob[at + count : at + 2 * count])
    hashes = _hashes(blob, hashes_at, kinds.count(FILE) + kinds.count(FOLDER))
    return _Columns(blob, kinds, hashes, at + 12 * count, hashes_at + HASH_BYTES * len(hashes))


def _take(node: _Columns, trees: TreeBlobs, named: NamedBlobs) -> None:
    """Take in the contents that a folder's node names."""
    blob, kinds = node.blob, node.kinds
    if FILE in kinds:
        sizes = struct.unpack_from(f"<{len(kinds)}Q", blob, node.sizes_at)
        blobs = compress(node.hashes, kinds.translate(_IS_FILE, _NOT_HASHED))
        named.data.update(zip(blobs, compress(sizes, kinds.translate(_IS_FILE)), strict=True))
    at = node.extras_at
    for kind in kinds.translate(None, _WITHOUT_EXTRA):
        (length,) = struct.unpack_from("<I", blob, at)
        at += 4
        if kind == LISTED_FILE:
            _take_content(blob, at, trees, named)
        elif kind == HARD_LINK:
            named.link_targets.add(blob[at : at + length])
        at += length


def _hashes(blob: bytes, at: int, count: int) -> list[BlobHash]:
    end = at + HASH_BYTES * count
    if len(blob) < end:
        raise BadNodeError("A folder's node is cut off")
    return names_in(blob[at:end])


def _take_content(blob: bytes, at: int, trees: TreeBlobs, named: NamedBlobs) -> None:
    segments, tables, _, count = CONTENT.unpack_from(blob, at)
    at += CONTENT.size + SEGMENT.size * segments
    for name, length in REFERENCE.iter_unpack(blob[at : at + REFERENCE.size * count]):
        if tables:
            if name not in named.tables:
                named.tables[name] = length
                named.data.update(decode_chunk_table(trees.blob(name)))
        else:
            named.data[name] = length
