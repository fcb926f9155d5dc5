"""The rest of a snapshot that lost something: the same tree without what is lost. Pure.

A file is dropped when any of its content is lost, a folder when its own blob is, a hard link when
what it means is not there any more. Everything else stays as it was, times included.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from limpet.errors import SnapshotDamagedError
from limpet.snapshots.blobs import BlobHash
from limpet.snapshots.frame import encode_frame
from limpet.snapshots.judge import RestoreLimits, TooMuchError, judge_tree
from limpet.snapshots.node import FOLDER, HARD_LINK, Branches, Entry, Root, decode_node
from limpet.snapshots.node_encode import encode_folder
from limpet.snapshots.sound_packs import Needed, content_of
from limpet.snapshots.tree_counts import TreeCounts
from limpet.snapshots.trees import TreeBlobs


@dataclass(frozen=True, slots=True)
class Salvaged:
    """What is left of a snapshot. `new` are the tree blobs that it needs beside those it had."""

    root: Root
    counts: TreeCounts
    new: Mapping[BlobHash, bytes]
    dropped: tuple[bytes, ...]
    """What is not in it any more; a folder for all below it, one with a slash at its end for names
    in it that nobody knows."""


def lost_of(root: Root, found: Needed) -> tuple[bytes, ...]:
    """What `Salvaged.dropped` would say; the workspace's folder itself when nothing is left."""
    rest = _rest(root, found)
    return tuple(sorted(rest.dropped)) if rest is not None else (b".",)


def salvage(root: Root, found: Needed) -> Salvaged | None:
    """The tree at `root` without what is lost; None when nothing of it is left."""
    rest = _rest(root, found)
    if rest is None:
        return None
    top, new = rest.encoded()
    for blob in new.values():
        found.trees.add_frame(encode_frame("tree", [blob]))
    left = Root(top, root.mode, root.mtime_ns)
    try:
        judge_tree(left, found.trees, RestoreLimits())
        counts = TreeCounts()
        for folder in found.trees.walk(top):
            counts.take(folder.entries)
    except (SnapshotDamagedError, TooMuchError):
        return None
    return Salvaged(left, counts, new, tuple(sorted(rest.dropped)))


def _rest(root: Root, found: Needed) -> "_Rest | None":
    if _readable(found.trees, root.node) is None:
        return None
    rest = _Rest(root, found)
    rest.drop_lost()
    rest.drop_links()
    return rest


@dataclass(slots=True)
class _Rest:
    root: Root
    found: Needed
    dropped: set[bytes] = field(default_factory=set)
    changed: defaultdict[bytes, dict[bytes, BlobHash | None]] = field(
        default_factory=lambda: defaultdict(dict)
    )
    """By folder: names that go (None), sub-folders that are another node now."""

    def drop_lost(self) -> None:
        """What has lost content, and folders that cannot be read."""
        for path, entries, whole in self._folders():
            if not whole:
                self.dropped.add((path or b".") + b"/")
                self.changed[path] = self.changed[path]
            for entry in entries:
                if not self._is_there(entry):
                    self._drop(path, entry.name)

    def drop_links(self) -> None:
        """Hard links that mean what is not there any more."""
        links: dict[bytes, list[tuple[bytes, bytes]]] = {}
        for path, entries, _ in self._folders():
            for entry in entries:
                if entry.kind == HARD_LINK and entry.target is not None:
                    links.setdefault(entry.target, []).append((path, entry.name))
        for path, entries, _ in self._folders() if links else ():
            for entry in entries:
                if entry.kind not in {HARD_LINK, FOLDER}:
                    links.pop(_join(path, entry.name), None)
        for names in links.values():
            for path, name in names:
                self._drop(path, name)

    def encoded(self) -> tuple[BlobHash, dict[BlobHash, bytes]]:
        """The top node of what is left, and every node that is new."""
        new: dict[BlobHash, bytes] = {}
        top = self.root.node
        for path, node in self._innermost_first():
            readable = _readable(self.found.trees, node)
            assert readable is not None
            entries = _without(readable[0], self.changed[path])
            made = encode_folder(entries, lambda blob, name: new.update({name: blob}))
            if path:
                above, _, name = path.rpartition(b"/")
                self.changed[above][name] = made
            else:
                top = made
        return top, new

    def _drop(self, folder: bytes, name: bytes) -> None:
        self.dropped.add(_join(folder, name))
        self.changed[folder][name] = None

    def _is_there(self, entry: Entry) -> bool:
        if entry.kind == FOLDER:
            return entry.hash is not None and _readable(self.found.trees, entry.hash) is not None
        content = content_of(entry, self.found.trees)
        return not content.tables and content.data <= self.found.data

    def _folders(self) -> Iterator[tuple[bytes, list[Entry], bool]]:
        """Every folder that can be read: its path, what of it is kept, whether that was all."""
        todo = [(b"", self.root.node)]
        while todo:
            path, node = todo.pop()
            readable = _readable(self.found.trees, node)
            if readable is None:
                continue
            gone = self.changed.get(path, {})
            entries = [entry for entry in readable[0] if entry.name not in gone]
            yield path, entries, readable[1]
            todo += [
                (_join(path, entry.name), entry.hash)
                for entry in entries
                if entry.kind == FOLDER and entry.hash is not None
            ]

    def _innermost_first(self) -> list[tuple[bytes, BlobHash]]:
        """The folders in which something changes, and all above them."""
        wanted = {b""}
        for path in list(self.changed):
            while path:
                wanted.add(path)
                path = path.rpartition(b"/")[0]
        found = [(b"", self.root.node)]
        for path, node in found:
            readable = _readable(self.found.trees, node)
            for entry in readable[0] if readable is not None else ():
                below = _join(path, entry.name)
                if entry.kind == FOLDER and entry.hash is not None and below in wanted:
                    found.append((below, entry.hash))
        return found[::-1]


def _readable(trees: TreeBlobs, node: BlobHash) -> tuple[list[Entry], bool] | None:
    """What can be read of a folder, and whether that is all of it; None when nothing can."""
    try:
        top = decode_node(trees.blob(node))
    except SnapshotDamagedError:
        return None
    if not isinstance(top, Branches):
        return list(top.entries), True
    entries: list[Entry] = []
    whole = True
    for child in top.children:
        below = _readable(trees, child)
        entries += below[0] if below is not None else ()
        whole = whole and below is not None and below[1]
    return entries, whole


def _without(entries: list[Entry], changes: Mapping[bytes, BlobHash | None]) -> list[Entry]:
    kept = []
    for entry in entries:
        if entry.name not in changes:
            kept.append(entry)
        elif (node := changes[entry.name]) is not None:
            kept.append(entry._replace(hash=node))
    return kept


def _join(folder: bytes, name: bytes) -> bytes:
    return folder + b"/" + name if folder else name
