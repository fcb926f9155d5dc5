"""Judging the tree that a save brings: what a hostile sandbox must not get past.

Goes down beside the base's tree and only where the two differ, since what the base holds was judged
when it came. Every blob that is named was sent or is one of the base's tree (knowing a hash gives
no right to it), every size fits, hard links mean what is there, and the whole stays within what a
restore accepts. Pure.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Protocol

from limpet.errors import InvalidInputError
from limpet.snapshots.blobs import BlobHash
from limpet.snapshots.judge import RestoreLimits, TooMuchError
from limpet.snapshots.judge_links import LINKABLE, LinkJudge, join
from limpet.snapshots.named import NamedBlobs, named_blobs, unfolded_entries
from limpet.snapshots.node import (
    FILE,
    FOLDER,
    HARD_LINK,
    LEVEL_OFFSET,
    BadNodeError,
    Branches,
    Content,
    Entry,
    Reference,
    decode_chunk_table,
    decode_node,
)
from limpet.snapshots.node_columns import FileColumns, file_columns
from limpet.snapshots.tar_format import show
from limpet.snapshots.tree import NOT_SAVED, RESERVED
from limpet.snapshots.tree_counts import TreeCounts
from limpet.snapshots.trees import MAX_DEPTH, MAX_PATH_BYTES, TreeBlobs

_COUNTED_FROM: Final = 200_000
"""Entries that are looked at before the whole tree is counted, each folder once."""
_TOP_REFUSED: Final = frozenset({RESERVED.encode(), *(name.encode() for name in NOT_SAVED)})


class ForeignBlobError(InvalidInputError):
    """A save names a blob that it did not send and that its base does not hold."""

    code = "foreign_blob"


class SentBlobs(Protocol):
    """What came in the stream. Asking for a blob marks it as one that the tree names."""

    trees: TreeBlobs

    def use_data(self, name: BlobHash) -> int | None:
        """The size of a data blob that was sent, or None."""
        ...

    def use_all_data(self, names: Sequence[BlobHash], sizes: Sequence[int]) -> bool:
        """Whether all these data blobs were sent and are of these sizes; if not, none is marked."""
        ...

    def use_tree(self, name: BlobHash) -> bool:
        """Whether the tree blob was sent."""
        ...


class BaseTree:
    """The tree that a save builds upon; what it names in full is only read when it is needed."""

    def __init__(self, node: BlobHash, trees: TreeBlobs, counts: TreeCounts | None = None) -> None:
        self.node = node
        self.trees = trees
        self._counts = counts
        self._named: NamedBlobs | None = None

    @property
    def counts(self) -> TreeCounts:
        """What the tree holds."""
        if self._counts is None:
            self._counts = TreeCounts()
            for folder in self.trees.walk(self.node):
                self._counts.take(folder.entries)
        return self._counts

    @property
    def named(self) -> NamedBlobs:
        """Every blob of the tree."""
        if self._named is None:
            self._named = named_blobs([self.node], self.trees)
        return self._named


def judge_save(
    root: BlobHash,
    sent: SentBlobs,
    base: BaseTree | None,
    limits: RestoreLimits | None = None,
) -> TreeCounts:
    """What the tree at `root` holds, when it may be committed.

    Raises `ForeignBlobError`, `BadNodeError` for what breaks the format, `SnapshotDamagedError`
    when the base has lost something, `TooMuchError`.
    """
    return _Judging(root, sent, base, limits or RestoreLimits()).run()


class NewTrees(TreeBlobs):
    """The new tree's folders: what was sent, and below that what the base holds."""

    def __init__(self, sent: TreeBlobs, base: TreeBlobs | None) -> None:
        super().__init__()
        self._sent = sent
        self._base = base

    def blob(self, name: BlobHash) -> bytes:
        """See `TreeBlobs.blob`."""
        if self._base is None or name in self._sent:
            return self._sent.blob(name)
        return self._base.blob(name)


@dataclass(slots=True)
class _Place:
    """A folder that is to be looked at, and the base's one at the same path."""

    path: bytes
    depth: int
    node: BlobHash
    before: BlobHash | None


class _Judging:
    def __init__(
        self,
        root: BlobHash,
        sent: SentBlobs,
        base: BaseTree | None,
        limits: RestoreLimits,
    ) -> None:
        self._root = root
        self._sent = sent
        self._base = base
        self._trees = NewTrees(sent.trees, base.trees if base else None)
        self._counts = replace(base.counts) if base else TreeCounts()
        self._limits = limits
        self._met = 0
        self._links = LinkJudge()

    def run(self) -> TreeCounts:
        todo = [_Place(b"", 0, self._root, self._base.node if self._base else None)]
        while todo:
            place = todo.pop()
            if place.node == place.before:
                self._links.keep(place.node)
            else:
                todo += self._folder(place)
        self._keep_within_limits()
        self._links.judge_new(self._root, self._trees)
        if self._base is not None and self._base.counts.hard_links:
            self._links.judge_kept(self._base.trees)
        return self._counts

    # -- folders -------------------------------------------------------------------------------

    def _folder(self, place: _Place) -> list[_Place]:
        """Judge one folder that is new or changed; gives its sub-folders, the last one first."""
        self._require_nodes(place)
        if place.before is None and place.depth:
            columns = file_columns(self._trees.blob(place.node))
            if columns is not None and self._sent.use_all_data(
                columns.hashes, list(filter(None, columns.sizes))
            ):
                return self._new_folder(place, columns)
        entries = self._trees.entries(place.node)
        self._count_ahead(len(entries))
        self._counts.take(entries)
        before: dict[bytes, Entry] = {}
        if place.before is not None:
            assert self._base is not None
            old = self._base.trees.entries(place.before)
            self._counts.take(old, -1)
            before = {entry.name: entry for entry in old}
        folders = []
        for entry in entries:
            was = before.pop(entry.name, None)
            if not place.depth and entry.name in _TOP_REFUSED:
                raise BadNodeError("The snapshot holds a name that is never saved")
            if entry.kind == FOLDER:
                folders.append(self._sub_folder(place, entry, was))
            elif entry.kind == HARD_LINK:
                self._links.meet(place.path, entry, was)
            else:
                self._data_of(place, entry, was)
            if was is not None:
                self._replaced(place, was, entry)
        for gone in before.values():
            self._gone(place, gone)
        return self._below(place, folders)

    def _new_folder(self, place: _Place, columns: FileColumns) -> list[_Place]:
        """A folder of files and folders that the base has not, of which all data was sent."""
        folders, sizes = columns.folders, columns.sizes
        self._count_ahead(len(sizes) + len(folders))
        self._counts.take(folders)
        self._counts.take_files(sum(map(len, columns.names)), sizes)
        return self._below(place, [self._sub_folder(place, entry, None) for entry in folders])

    @staticmethod
    def _below(place: _Place, folders: list[_Place]) -> list[_Place]:
        if folders and (place.depth >= MAX_DEPTH or len(place.path) >= MAX_PATH_BYTES):
            raise TooMuchError(f"The snapshot is more than {MAX_DEPTH:,} folders deep.")
        return folders[::-1]

    def _count_ahead(self, entries: int) -> None:
        """Folders may name folders over and over: a tree that is too large is told in time."""
        before, self._met = self._met, self._met + entries
        if before < _COUNTED_FROM <= self._met:
            most = self._limits.max_entries
            if unfolded_entries(self._root, self._trees) > most:
                raise _too_many("entries", most)

    def _require_nodes(self, place: _Place) -> None:
        """Every node of the folder was sent or is the base's; none is read before that is sure."""
        before: set[BlobHash] | None = None
        seen: set[BlobHash] = set()
        todo = [place.node]
        while todo:
            name = todo.pop()
            if name in seen:
                continue
            seen.add(name)
            if not self._sent.use_tree(name):
                if before is None:
                    before = self._nodes_before(place)
                if name not in before and not (self._base and name in self._base.named.nodes):
                    raise _foreign(place.path, "folder")
            blob = self._trees.blob(name)
            if blob[LEVEL_OFFSET : LEVEL_OFFSET + 1] != b"\0":
                node = decode_node(blob)
                assert isinstance(node, Branches)
                todo += node.children

    def _nodes_before(self, place: _Place) -> set[BlobHash]:
        if place.before is None or self._base is None:
            return set()
        return set(self._base.trees.nodes_of(place.before))

    def _sub_folder(self, place: _Place, entry: Entry, was: Entry | None) -> _Place:
        assert entry.hash is not None
        before = was.hash if was is not None and was.kind == FOLDER else None
        return _Place(join(place.path, entry.name), place.depth + 1, entry.hash, before)

    def _replaced(self, place: _Place, was: Entry, entry: Entry) -> None:
        if was.kind == FOLDER:
            if entry.kind != FOLDER:
                self._gone(place, was)
        elif was.kind in LINKABLE and entry.kind not in LINKABLE:
            self._links.lose_name(join(place.path, entry.name))

    def _gone(self, place: _Place, was: Entry) -> None:
        """An entry of the base is not there any more: neither it nor what lies below counts."""
        path = join(place.path, was.name)
        if was.kind in LINKABLE:
            self._links.lose_name(path)
        if was.kind != FOLDER:
            return
        self._links.lose_folder(path)
        assert was.hash is not None
        assert self._base is not None
        todo = [was.hash]
        while todo:
            entries = self._base.trees.entries(todo.pop())
            self._counts.take(entries, -1)
            todo += [entry.hash for entry in entries if entry.kind == FOLDER and entry.hash]

    # -- contents ------------------------------------------------------------------------------

    def _data_of(self, place: _Place, entry: Entry, was: Entry | None) -> None:
        if entry.kind == FILE:
            assert entry.hash is not None
            wanted = Reference(entry.hash, entry.size)
            if was is None or was.kind != FILE or (was.hash, was.size) != wanted:
                self._require_data(place, entry, wanted)
        elif entry.content is not None:
            self._require_content(place, entry, entry.content, was)

    def _require_content(
        self, place: _Place, entry: Entry, content: Content, was: Entry | None
    ) -> None:
        old = was.content if was is not None else None
        if old is not None and (old.tables, old.references) == (content.tables, content.references):
            return
        held: frozenset[Reference] = frozenset()
        held_tables: frozenset[Reference] = frozenset()
        if old is not None and self._base is not None:
            held = frozenset(self._base.trees.chunks(old))
            held_tables = frozenset(old.references if old.tables else ())
        if content.tables:
            new = [one for one in content.references if one not in held_tables]
            references = [one for table in new for one in self._table(place, entry, table)]
        else:
            references = list(content.references)
        for reference in references:
            if reference not in held:
                self._require_data(place, entry, reference)

    def _table(self, place: _Place, entry: Entry, table: Reference) -> tuple[Reference, ...]:
        """What a chunk table names; the table was sent or is the base's."""
        if not self._sent.use_tree(table.name) and not (
            self._base and table.name in self._base.named.tables
        ):
            raise _foreign(join(place.path, entry.name), "chunk table")
        references = decode_chunk_table(self._trees.blob(table.name))
        if sum(one.length for one in references) != table.length:
            raise BadNodeError("A chunk table is not as long as the file says")
        return references

    def _require_data(self, place: _Place, entry: Entry, wanted: Reference) -> None:
        """The blob was sent or is the base's, and is as long as the tree says."""
        size = self._sent.use_data(wanted.name)
        if size is None and self._base is not None:
            size = self._base.named.data.get(wanted.name)
        if size is None:
            raise _foreign(join(place.path, entry.name), "content")
        if size != wanted.length:
            path = show(join(place.path, entry.name))
            raise BadNodeError(f"The content of {path!r} is not as long as its folder says")

    # -- limits --------------------------------------------------------------------------------

    def _keep_within_limits(self) -> None:
        counts, limits = self._counts, self._limits
        for what, found, most in (
            ("entries", counts.entries, limits.max_entries),
            ("bytes of data", counts.data_bytes, limits.max_bytes),
            ("bytes in sparse files", counts.bytes, limits.max_sparse_bytes),
            ("bytes of names", counts.names_bytes, limits.max_names_bytes),
        ):
            if found > most:
                raise _too_many(what, most)


def _foreign(path: bytes, what: str) -> ForeignBlobError:
    return ForeignBlobError(
        f"The save names a {what} at {show(path)!r} that was neither sent nor in its base",
        hint="Save again in full.",
    )


def _too_many(what: str, most: int) -> TooMuchError:
    return TooMuchError(f"The snapshot holds more than {most:,} {what}.")
