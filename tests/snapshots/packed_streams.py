"""`save` streams for tests, made the plain way: what a tree has and its base has not."""

from collections.abc import AsyncIterator, Collection, Iterable, Mapping
from dataclasses import dataclass, field

from limpet.snapshots.blobs import BlobHash, hash_of
from limpet.snapshots.lineage import root_fields
from limpet.snapshots.node import EMPTY_FILE, FILE, FOLDER, HARD_LINK, SYMLINK, Entry, Root
from limpet.snapshots.node_encode import encode_folder
from limpet.snapshots.wire import StreamFrame, StreamHeader, StreamReader, StreamWriter
from tests.snapshots.packed_trees import PackedTree, frames

Tree = Mapping[str, object]
"""Names to contents: bytes for a file, a mapping for a folder, a `Link`, a `Hard`, an `Entry`."""
RECEIPT = {"operation": "save", "complete": True, "live": False}


@dataclass(frozen=True)
class Link:
    to: str


@dataclass(frozen=True)
class Hard:
    to: str


def tree_of(tree: Tree, *, mtime_ns: int = 1, mode: int = 0o755) -> PackedTree:
    """The snapshot of a description."""
    made = PackedTree(Root(BlobHash(bytes(32)), mode, mtime_ns))

    def data(blob: bytes) -> BlobHash:
        made.data[hash_of(blob)] = blob
        return hash_of(blob)

    def folder(content: Tree) -> BlobHash:
        entries = (entry(name.encode(), content[name]) for name in sorted(content, key=str.encode))
        return encode_folder(entries, lambda blob, name: made.trees.update({name: blob}))

    def entry(name: bytes, content: object) -> Entry:
        if isinstance(content, Entry):
            return content._replace(name=name)
        if isinstance(content, Link):
            return Entry(name, SYMLINK, 0, mtime_ns, 0, target=content.to.encode())
        if isinstance(content, Hard):
            return Entry(name, HARD_LINK, 0, 0, 0, target=content.to.encode())
        if isinstance(content, bytes):
            if not content:
                return Entry(name, EMPTY_FILE, 0o644, mtime_ns, 0)
            return Entry(name, FILE, 0o644, mtime_ns, len(content), data(content))
        assert isinstance(content, Mapping)
        return Entry(name, FOLDER, 0o755, mtime_ns, 0, folder(content))

    node = folder(tree)
    made.root = Root(node, mode, mtime_ns)
    return made


def save_stream(
    tree: PackedTree,
    base: PackedTree | None = None,
    *,
    without: Collection[BlobHash] = (),
    more_data: Iterable[bytes] = (),
    more_trees: Iterable[bytes] = (),
    frame_bytes: int = 1 << 16,
    header: Mapping[str, object] | None = None,
    end: Mapping[str, object] | None = None,
) -> bytes:
    """What a daemon sends of `tree` when the control plane holds `base`.

    `without` leaves blobs out, `more_...` adds some; `header` and `end` overwrite their fields.
    """
    held_data = base.data if base else {}
    held_trees = base.trees if base else {}
    data = [b for n, b in tree.data.items() if n not in held_data and n not in without]
    trees = [b for n, b in tree.trees.items() if n not in held_trees and n not in without]
    writer = StreamWriter("save")
    told = {"base": base.root.digest if base else None, "activity_seq": 7, "boot_id": "boot"}
    out = [writer.header({**told, **(header or {})})]
    out += map(writer.frames, frames("data", [*data, *more_data], frame_bytes))
    out += map(writer.frames, frames("tree", [*trees, *more_trees], frame_bytes))
    ending = {"root": root_fields(tree.root), "receipt": RECEIPT, **(end or {})}
    out.append(writer.end(ending))
    return b"".join(out)


async def in_pieces(stream: bytes, size: int = 5000) -> AsyncIterator[bytes]:
    for start in range(0, len(stream), size):
        yield stream[start : start + size]


@dataclass
class Opened:
    """A stream that was read whole: its header, and what its frames hold."""

    header: dict[str, object]
    end: dict[str, object]
    data: dict[BlobHash, bytes] = field(default_factory=dict)
    trees: dict[BlobHash, bytes] = field(default_factory=dict)
    frames: list[bytes] = field(default_factory=list)


async def opened(chunks: AsyncIterator[bytes]) -> Opened:
    """Read a `restore` or `plan` stream to its end."""
    from limpet.snapshots.frame import decode_frame

    reader = StreamReader("restore", "plan")
    found = Opened({}, {})
    async for chunk in chunks:
        for record in reader.feed(chunk):
            if isinstance(record, StreamHeader):
                found.header = record.fields
            elif isinstance(record, StreamFrame):
                decoded = decode_frame(record.data)
                assert decoded.kind == "data" or not found.data, "folders come first"
                into = found.trees if decoded.kind == "tree" else found.data
                into.update(decoded.blobs())
                found.frames.append(record.data)
            else:
                found.end = record.fields
    reader.finish()
    return found
