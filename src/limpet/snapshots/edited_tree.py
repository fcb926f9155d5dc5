"""A snapshot's tree with some small files changed, as the save stream of that state. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from limpet.errors import InvalidInputError
from limpet.snapshots.blobs import MAX_BLOB_BYTES, BlobHash, hash_of
from limpet.snapshots.frame import encode_frame
from limpet.snapshots.lineage import root_fields
from limpet.snapshots.node import EMPTY_FILE, FILE, FOLDER, MAX_MODE, Entry, Root
from limpet.snapshots.node_encode import encode_folder
from limpet.snapshots.receipt import Receipt
from limpet.snapshots.trees import TreeBlobs
from limpet.snapshots.wire import StreamWriter

_FILE_MODE = 0o644
_FOLDER_MODE = 0o755


@dataclass(frozen=True, slots=True)
class Moved:
    """What lies at another path goes here, as it is; there it is no more."""

    path: bytes


Edit = bytes | Moved | None
"""A file's new content, or what is moved to its place, or None: it is removed."""


@dataclass(slots=True)
class _Level:
    """The edits below one folder, by name."""

    here: dict[bytes, Entry | None] = field(default_factory=dict)
    below: dict[bytes, "_Level"] = field(default_factory=dict)


def edited_stream(
    root: Root, trees: TreeBlobs, edits: Mapping[bytes, Edit], *, mtime_ns: int
) -> Iterator[bytes]:
    """The `save` stream of the tree at `root` with `edits` (by path), built upon that state.

    New files and folders get ordinary modes and `mtime_ns`. Raises `InvalidInputError` when what
    is to be moved is not there, or a content is larger than a blob.
    """
    data: dict[BlobHash, bytes] = {}
    top = _Level()
    for path, edit in edits.items():
        if isinstance(edit, Moved):
            entry = trees.find(root.node, edit.path)
            if entry is None:
                raise InvalidInputError(f"There is no {edit.path!r} in the snapshot")
            _put(top, edit.path, None)
            _put(top, path, entry._replace(name=_name(path)))
        elif edit is None:
            _put(top, path, None)
        else:
            _put(top, path, _file(path, edit, mtime_ns, data))
    nodes: dict[BlobHash, bytes] = {}
    node = _edited(trees, root.node, top, mtime_ns, nodes)
    state = Root(node, root.mode & MAX_MODE, root.mtime_ns)
    writer = StreamWriter("save")
    yield writer.header({"base": root.digest, "activity_seq": 0, "boot_id": ""})
    if data:
        yield writer.frames(encode_frame("data", list(data.values())))
    if nodes:
        yield writer.frames(encode_frame("tree", list(nodes.values())))
    receipt = Receipt("save", complete=True, live=False, blake3=state.digest)
    yield writer.end({"root": root_fields(state), "receipt": receipt.as_dict()})


def _name(path: bytes) -> bytes:
    return path.rpartition(b"/")[2]


def _file(path: bytes, content: bytes, mtime_ns: int, data: dict[BlobHash, bytes]) -> Entry:
    if len(content) > MAX_BLOB_BYTES:
        raise InvalidInputError(f"{path!r} is too large for an edit: {len(content):,} bytes")
    if not content:
        return Entry(_name(path), EMPTY_FILE, _FILE_MODE, mtime_ns, 0)
    name = hash_of(content)
    data[name] = content
    return Entry(_name(path), FILE, _FILE_MODE, mtime_ns, len(content), name)


def _put(level: _Level, path: bytes, entry: Entry | None) -> None:
    *folders, name = path.split(b"/")
    for folder in folders:
        level = level.below.setdefault(folder, _Level())
    level.here[name] = entry


def _edited(
    trees: TreeBlobs,
    node: BlobHash | None,
    level: _Level,
    mtime_ns: int,
    nodes: dict[BlobHash, bytes],
) -> BlobHash:
    """The folder with the edits below it; without a node, a new one."""
    entries = {} if node is None else {entry.name: entry for entry in trees.entries(node)}
    for name, entry in level.here.items():
        if entry is None:
            entries.pop(name, None)
        else:
            entries[name] = entry
    for name, below in level.below.items():
        old = entries.get(name)
        folder = old if old is not None and old.kind == FOLDER else None
        made = _edited(trees, folder.hash if folder else None, below, mtime_ns, nodes)
        mode = folder.mode if folder else _FOLDER_MODE
        entries[name] = Entry(name, FOLDER, mode, mtime_ns, 0, made)
    found: dict[BlobHash, bytes] = {}
    made = encode_folder(
        sorted(entries.values(), key=lambda entry: entry.name),
        lambda blob, name: found.update({name: blob}),
    )
    nodes.update(found)
    return made
