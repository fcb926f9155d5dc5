"""Judging the trees of a snapshot before anything is made of them: what a restore relies on.

`decode_node` has judged what a node says by itself (names, kinds, sizes). Here: that everything is
there, that it is not too much, and that hard links mean a file or symlink that a walk meets
earlier, named by folders alone. Pure, but for the space on the disk, which the caller asks for.
"""

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

from limpet.errors import InvalidInputError
from limpet.snapshots.native import NameColumn
from limpet.snapshots.node import (
    EMPTY_FILE,
    FILE,
    FOLDER,
    LISTED_FILE,
    SYMLINK,
    BadNodeError,
    Entry,
    Root,
)
from limpet.snapshots.node_columns import FileColumns, file_columns
from limpet.snapshots.restore_tables import ROOT, FileTable, FolderTable
from limpet.snapshots.tar_format import show
from limpet.snapshots.tree import NOT_SAVED, RESERVED
from limpet.snapshots.trees import MAX_DEPTH, MAX_ENTRIES, MAX_PATH_BYTES, TreeBlobs

_BLOCK: Final = 4096
_COUNTED_EVERY: Final = 4096
"""Entries between two looks at the limits."""
_TOP_REFUSED: Final = frozenset({RESERVED.encode(), *(name.encode() for name in NOT_SAVED)})
_FILES: Final = frozenset({EMPTY_FILE, FILE, LISTED_FILE})


@dataclass(frozen=True, slots=True)
class RestoreLimits:
    """How much one snapshot may hold; beyond it the stream is refused before anything is made."""

    max_entries: int = MAX_ENTRIES
    max_bytes: int = 64 << 30
    """Of all data, holes not counted; a blob at two places counts twice."""
    max_sparse_bytes: int = 1 << 40
    """Of all files, holes counted."""
    max_depth: int = MAX_DEPTH
    max_names_bytes: int = 256 << 20
    """Of all names and link targets."""
    max_tree_bytes: int = 512 << 20
    """Of all tree blobs, decompressed."""
    max_stream_bytes: int = 80 << 30


class TooMuchError(InvalidInputError):
    """A snapshot that breaks one of the limits."""

    code = "snapshot_too_large"


class HardLink(NamedTuple):
    """One more name of a file, or of a symlink (`to_symlink`), that has another already."""

    folder: int
    name: bytes
    to_folder: int
    to_name: bytes
    to_symlink: bool


class SymlinkTable:
    """Symbolic links in walk order."""

    def __init__(self) -> None:
        self.folders = array("I")
        self.names = NameColumn()
        self.targets = NameColumn()
        self.mtimes = array("q")

    def __len__(self) -> int:
        return len(self.folders)

    def extend(self, folder: int, links: list[Entry]) -> None:
        """Append the symlinks of one folder."""
        self.folders.extend([folder] * len(links))
        self.names.extend([link.name for link in links])
        self.targets.extend([link.target or b"" for link in links])
        self.mtimes.extend([link.mtime_ns for link in links])


class JudgedTree:
    """A tree that may be made: every table in walk order, parents first."""

    def __init__(self, root: Root) -> None:
        self.root = root
        self.folders = FolderTable(root.mode, root.mtime_ns)
        self.files = FileTable()
        self.symlinks = SymlinkTable()
        self.hard_links: list[HardLink] = []
        self.entries = 0
        """All of them, the workspace folder not counted."""
        self.bytes = 0
        """Of all files, holes counted; a hard link counts nothing."""
        self.data_bytes = 0
        self.disk_bytes = 0
        """What the data needs in whole blocks."""


def judge_tree(root: Root, trees: TreeBlobs, limits: RestoreLimits) -> JudgedTree:
    """The tables of the tree at `root`; `trees` holds all of its tree blobs.

    Raises `SnapshotDamagedError` (`BadNodeError`) for what is missing or breaks a rule of the
    format, `TooMuchError` for what breaks a limit.
    """
    judging = Judging(JudgedTree(root), trees, limits)
    judging.add(ROOT, check_top(trees.entries(root.node)))
    judging.judge_links()
    return judging.tree


def check_top(entries: list[Entry]) -> list[Entry]:
    """The entries of the workspace's top folder; `BadNodeError` when one is never saved."""
    if any(entry.name in _TOP_REFUSED for entry in entries):
        raise BadNodeError("The snapshot holds a name that is never saved")
    return entries


class Judging:
    """Fills the tables of a tree, folder by folder; `judge_links` at the end."""

    def __init__(self, tree: JudgedTree, trees: TreeBlobs, limits: RestoreLimits) -> None:
        self.tree = tree
        self._trees = trees
        self._limits = limits
        self._link_folders = array("I")
        self._link_names = NameColumn()
        self._link_targets = NameColumn()
        self._counted_at = 0
        self._names = (
            tree.folders.names, tree.files.names, tree.symlinks.names, tree.symlinks.targets,
            self._link_names, self._link_targets,
        )  # fmt: skip

    def add(self, folder: int, entries: list[Entry]) -> None:
        """Take entries of a folder in, and all that lies below its sub-folders."""
        self._counted_at = 0
        todo = self._folder(folder, entries, 0, 0)
        while todo:
            parent, entry, depth, path_bytes = todo.pop()
            assert entry.hash is not None
            below = self.tree.folders.add(parent, entry.name, entry.mode, entry.mtime_ns)
            columns = file_columns(self._trees.blob(entry.hash))
            if columns is None:
                entries = self._trees.entries(entry.hash)
                todo += self._folder(below, entries, depth, path_bytes)
            else:
                self._columns(below, columns)
                todo += self._below(below, columns.folders, depth, path_bytes)
        self._keep_within_limits()

    def link_targets(self, first: int = 0) -> Iterator[bytes]:
        """What the hard links that were taken in say, from the given one on."""
        return (self._link_targets[number] for number in range(first, len(self._link_targets)))

    def judge_links(self, place_of: Callable[[bytes], bytes] | None = None) -> None:
        """Find what each hard link means, and make the table of them.

        Where the tables hold parts of a tree, `place_of` gives the path in them of a path in the
        tree, and no order is asked for. Raises `BadNodeError`.
        """
        if not self._link_folders:
            return
        finder = _Finder(self.tree)
        for folder, name, target in zip(
            self._link_folders, self._link_names, self._link_targets, strict=True
        ):
            link = finder.hard_link(folder, name, place_of(target) if place_of else target)
            ordered = place_of is not None or (
                link is not None and (link.to_folder, link.to_name) < (folder, name)
            )
            if link is None or not ordered:
                above = show(self.tree.folders.path_of(folder))
                raise BadNodeError(
                    f"The hard link {show(name)!r} in {above!r} means {show(target)!r}, which is"
                    " no file or symlink before it"
                )
            self.tree.hard_links.append(link)

    def _folder(
        self, folder: int, entries: list[Entry], depth: int, path_bytes: int
    ) -> list[tuple[int, Entry, int, int]]:
        """Take a folder's entries in; gives the sub-folders, the last one first."""
        files, links, hard_links, folders = [], [], [], []
        for entry in entries:
            kind = entry.kind
            if kind in _FILES:
                files.append(entry)
            elif kind == FOLDER:
                folders.append(entry)
            elif kind == SYMLINK:
                links.append(entry)
            else:
                hard_links.append(entry)
        if files:
            self._files(folder, files)
        if links:
            self.tree.symlinks.extend(folder, links)
        for link in hard_links:
            self._link_folders.append(folder)
            self._link_names.append(link.name)
            self._link_targets.append(link.target or b"")
        self.tree.entries += len(entries)
        return self._below(folder, folders, depth, path_bytes)

    def _below(
        self, folder: int, folders: list[Entry], depth: int, path_bytes: int
    ) -> list[tuple[int, Entry, int, int]]:
        """What is to be done about sub-folders, once all else of their folder is in."""
        if folders and (depth >= self._limits.max_depth or path_bytes > MAX_PATH_BYTES):
            raise TooMuchError(f"The snapshot is more than {self._limits.max_depth:,} deep.")
        if self.tree.entries >= self._counted_at:
            self._counted_at = self.tree.entries + _COUNTED_EVERY
            self._keep_within_limits()
        return [
            (folder, entry, depth + 1, path_bytes + 1 + len(entry.name))
            for entry in reversed(folders)
        ]

    def _columns(self, folder: int, columns: FileColumns) -> None:
        tree, sizes = self.tree, columns.sizes
        tree.files.extend_columns(folder, columns)
        tree.entries += len(sizes) + len(columns.folders)
        tree.bytes += sum(sizes)
        self._count_data(sizes)

    def _files(self, folder: int, files: list[Entry]) -> None:
        tree = self.tree
        first = tree.files.extend(folder, files)
        data_sizes = [entry.size for entry in files]
        tree.bytes += sum(data_sizes)
        for index, entry in enumerate(files):
            content = entry.content
            if content is not None:
                if content.segments:
                    data_sizes[index] = sum(length for _, length in content.segments)
                pieces = self._trees.chunks(content)
                tree.files.want_pieces(first + index, content.segments, pieces)
        self._count_data(data_sizes)

    def _count_data(self, sizes: list[int]) -> None:
        self.tree.data_bytes += sum(sizes)
        self.tree.disk_bytes += _BLOCK * sum([(size + _BLOCK - 1) // _BLOCK for size in sizes])

    def _keep_within_limits(self) -> None:
        tree, limits = self.tree, self._limits
        names_bytes = sum([names.size_bytes for names in self._names])
        for what, found, most in (
            ("entries", tree.entries, limits.max_entries),
            ("bytes of data", tree.data_bytes, limits.max_bytes),
            ("bytes in sparse files", tree.bytes, limits.max_sparse_bytes),
            ("bytes of names", names_bytes, limits.max_names_bytes),
        ):
            if found > most:
                raise TooMuchError(f"The snapshot holds more than {most:,} {what}.")


class _Finder:
    """Finds what hard links mean, in the tables of a whole tree."""

    def __init__(self, tree: JudgedTree) -> None:
        self._tree = tree
        parents = tree.folders.parents
        self._by_parent = array("I", sorted(range(1, len(parents)), key=parents.__getitem__))
        self._last: tuple[bytes, int] = (b"", ROOT)

    def hard_link(self, folder: int, name: bytes, target: bytes) -> HardLink | None:
        """The link to `target`; None when that is no file or symlink."""
        path, _, to_name = target.rpartition(b"/")
        to_folder = self._folder_at(path)
        if to_folder is not None:
            for table, to_symlink in ((self._tree.files, False), (self._tree.symlinks, True)):
                first = bisect_left(table.folders, to_folder)
                end = bisect_right(table.folders, to_folder)
                if table.names.find(to_name, first, end) is not None:
                    return HardLink(folder, name, to_folder, to_name, to_symlink)
        return None

    def _folder_at(self, path: bytes) -> int | None:
        if not path or path == self._last[0]:
            return self._last[1] if path else ROOT
        folder = ROOT
        parents, names = self._tree.folders.parents, self._tree.folders.names
        for part in path.split(b"/"):
            first = bisect_left(self._by_parent, folder, key=parents.__getitem__)
            end = bisect_right(self._by_parent, folder, key=parents.__getitem__)
            at = bisect_left(self._by_parent, part, first, end, key=names.__getitem__)
            if at == end or names[self._by_parent[at]] != part:
                return None
            folder = self._by_parent[at]
        self._last = (path, folder)
        return folder
