"""A workspace that is saved again and again, and the other side, which has what it was sent.

What a state holds is rebuilt from blobs by a reader of its own, without a disk.
"""

from dataclasses import dataclass, field
from pathlib import Path

from limpet.snapshots.blobs import BlobHash
from limpet.snapshots.delta import Freezer, stream_delta
from limpet.snapshots.frame import decode_frame, encode_frame
from limpet.snapshots.node import (
    EMPTY_FILE,
    FILE,
    FOLDER,
    HARD_LINK,
    SYMLINK,
    Content,
    Entry,
    Root,
    decode_chunk_table,
)
from limpet.snapshots.receipt import Receipt
from limpet.snapshots.statcache import StatCaches
from limpet.snapshots.trees import TreeBlobs
from limpet.snapshots.wire import StreamEnd, StreamFrame, StreamHeader, StreamReader
from tests.snapshots.trees import Description

Blobs = dict[BlobHash, bytes]


@dataclass
class State:
    """What a save came to: its root, the blobs below it, and what was sent for it."""

    root: Root
    receipt: Receipt
    base: str | None
    """As the stream's header says."""
    unchanged: bool
    sent_data: Blobs
    sent_trees: Blobs
    sent_bytes: int
    sent_twice: bool
    """Whether a blob came more than once."""
    data: Blobs = field(default_factory=dict)
    trees: Blobs = field(default_factory=dict)
    tree: Description = field(default_factory=dict)

    @property
    def digest(self) -> str:
        return self.root.digest


class Saves:
    """Saves one workspace; `last` is the state of the last save."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.workspace = folder / "workspace"
        self.caches = StatCaches(folder / "caches")
        self.last: State | None = None
        self._full = 0

    def save(self, *, freezer: Freezer | None = None, limit_bytes: int | None = None) -> State:
        """As a delta to the last state."""
        self.last = self.save_from(self.last, freezer=freezer, limit_bytes=limit_bytes)
        return self.last

    def save_from(
        self,
        base: State | None,
        *,
        caches: StatCaches | None = None,
        freezer: Freezer | None = None,
        limit_bytes: int | None = None,
    ) -> State:
        """As a delta to some state; what came and what the base holds is all that there is."""
        stream = stream_delta(
            self.workspace,
            caches=caches or self.caches,
            base=base.digest if base is not None else None,
            fields={},
            freezer=freezer,
            limit_bytes=limit_bytes,
        )
        reader = StreamReader("save")
        sent: dict[str, Blobs] = {"data": {}, "tree": {}}
        said: str | None = None
        size, twice = 0, False
        end: StreamEnd | None = None
        for chunk in stream:
            size += len(chunk)
            for record in reader.feed(chunk):
                if isinstance(record, StreamHeader):
                    said = record.fields["base"]
                elif isinstance(record, StreamFrame):
                    frame = decode_frame(record.data)
                    for name, blob in frame.blobs():
                        twice = twice or name in sent[frame.kind]
                        sent[frame.kind][name] = blob
                else:
                    assert isinstance(record, StreamEnd)
                    end = record
        reader.finish()
        assert end is not None
        assert end.fields["root"]["node"] == stream.root.node.hex()
        state = State(
            stream.root, stream.receipt, said, stream.unchanged, sent["data"], sent["tree"],
            size, twice,
        )  # fmt: skip
        held = base if base is not None and said is not None else None
        assert said in {None, held.digest if held else None}
        data = {**(held.data if held else {}), **state.sent_data}
        trees = {**(held.trees if held else {}), **state.sent_trees}
        Rebuilt(state, data, trees)
        return state

    def full(self) -> State:
        """What a full read says, with no cache at hand."""
        self._full += 1
        return self.save_from(None, caches=StatCaches(self.folder / f"no-cache-{self._full}"))


class Rebuilt:
    """Fills in a state's `tree`, and of all blobs at hand those that it needs."""

    def __init__(self, state: State, data: Blobs, trees: Blobs) -> None:
        self._state = state
        self._data = data
        self._all_trees = trees
        self._blobs = TreeBlobs()
        for blob in trees.values():
            self._blobs.add_frame(encode_frame("tree", [blob]))
        self._names: dict[bytes, list[bytes]] = {}
        root = state.root
        state.tree[b""] = ("folder", root.mode, root.mtime_ns)
        self._folder(b"", root.node)
        for first, others in self._names.items():
            names = tuple(sorted([first, *others]))
            for name in names:
                state.tree[name] = (*state.tree[first][: _length(state.tree[first])], names)

    def _folder(self, path: bytes, node: BlobHash) -> None:
        for one in self._blobs.nodes_of(node):
            self._state.trees[one] = self._all_trees[one]
        entries = self._blobs.entries(node)
        files = [entry for entry in entries if entry.kind != FOLDER]
        for entry in [*files, *(entry for entry in entries if entry.kind == FOLDER)]:
            where = path + b"/" + entry.name
            if entry.kind == FOLDER:
                assert entry.hash is not None
                self._state.tree[where] = ("folder", entry.mode, entry.mtime_ns)
                self._folder(where, entry.hash)
            elif entry.kind == HARD_LINK:
                assert entry.target is not None
                first = b"/" + entry.target
                assert first in self._state.tree, "a link to what a walk has not met"
                assert self._state.tree[first][0] in {"file", "link"}
                assert first not in {name for names in self._names.values() for name in names}
                self._names.setdefault(first, []).append(where)
                self._state.tree[where] = self._state.tree[first]
            elif entry.kind == SYMLINK:
                self._state.tree[where] = ("link", entry.target, entry.mtime_ns)
            else:
                content = self._content(entry)
                assert len(content) == entry.size
                self._state.tree[where] = ("file", content, entry.mode, entry.mtime_ns)

    def _content(self, entry: Entry) -> bytes:
        if entry.kind == EMPTY_FILE:
            return b""
        if entry.kind == FILE:
            assert entry.hash is not None
            return self._blob(entry.hash)
        assert entry.content is not None
        data = b"".join(self._blob(one) for one in self._chunks(entry.content))
        if not entry.content.segments:
            return data
        content = bytearray(entry.size)
        at = 0
        for offset, length in entry.content.segments:
            content[offset : offset + length] = data[at : at + length]
            at += length
        assert at == len(data)
        return bytes(content)

    def _chunks(self, content: Content) -> list[BlobHash]:
        if not content.tables:
            return [one.name for one in content.references]
        found = []
        for table in content.references:
            self._state.trees[table.name] = self._all_trees[table.name]
            found += [one.name for one in decode_chunk_table(self._all_trees[table.name])]
        return found

    def _blob(self, name: BlobHash) -> bytes:
        self._state.data[name] = self._data[name]
        return self._data[name]


def _length(told: tuple[object, ...]) -> int:
    return 4 if told[0] == "file" else 3
