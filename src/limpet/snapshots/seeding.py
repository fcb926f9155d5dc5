"""A stat cache for a workspace that was just restored: what it holds is known, none of it is read.

So the first save after a restore costs what changed, as every other does. Nobody waits for it: the
cache is written while the sandbox's processes run already. What they have touched is told by its
ctime, which no process can set back.
"""

import os
import stat
from pathlib import Path

from limpet.snapshots.blobs import BlobHash
from limpet.snapshots.entry_contents import encode_plain_contents
from limpet.snapshots.file_clock import FileClock
from limpet.snapshots.native import EntryStat, columns_of, parse_records
from limpet.snapshots.node import (
    EMPTY_FILE,
    FILE,
    FOLDER,
    HARD_LINK,
    LISTED_FILE,
    MAX_MODE,
    SYMLINK,
    Entry,
    Root,
)
from limpet.snapshots.node_columns import file_columns
from limpet.snapshots.remarks import Remarks
from limpet.snapshots.statcache import (
    NO_DATA,
    CachedFolder,
    Chunks,
    EntryContent,
    LinkTarget,
    StatCaches,
    cached_folder,
    never_equal,
)
from limpet.snapshots.survey import Looking, open_workspace, survey
from limpet.snapshots.tally import tally_of_columns
from limpet.snapshots.tree import NOT_SAVED, RESERVED
from limpet.snapshots.trees import TreeBlobs


class Seeding:
    """The state that a restore has made: `settle` before anybody writes there, `write` later."""

    def __init__(self, root: Root, trees: TreeBlobs) -> None:
        self._root = root
        self._trees = trees
        self._untouched_before_ns: int | None = None

    def settle(self, workspace: Path, spare: Path) -> None:
        """Take the instant from which on the workspace may be written to; may wait for some ms.

        `spare` is a folder for a short-lived file on the workspace's file system. Raises `OSError`.
        """
        workspace_fd = open_workspace(workspace)
        try:
            with FileClock(workspace_fd, spare) as clock:
                self._untouched_before_ns = clock.wait_until_after(clock.now_ns())
        finally:
            os.close(workspace_fd)

    def write(self, caches: StatCaches, workspace: Path) -> None:
        """Record what of the workspace is as it was restored; the rest is read at the next save.

        Raises `OSError`; then, and when it was not settled, there is no cache: the next save reads
        everything.
        """
        if self._untouched_before_ns is None:
            return
        exclude_top = frozenset(os.fsencode(name) for name in (*NOT_SAVED, RESERVED))
        nodes = {b"": self._root.node}
        workspace_fd = open_workspace(workspace)
        try:
            found = survey(Looking(workspace_fd, None, exclude_top), Remarks())
        finally:
            os.close(workspace_fd)
        told = _Told(self._root, self._trees, self._untouched_before_ns)
        with caches.create() as writer:
            for folder in found.folders:
                node = nodes.pop(folder.path, None)
                if node is None or folder.records is None:
                    continue
                plain = told.plain_folder(node, folder.records)
                if plain is not None:
                    cached, below = plain
                    nodes.update((folder.path_of(name), child) for name, child in below)
                    writer.add(folder.path, cached)
                    continue
                entries = {entry.name: entry for entry in self._trees.entries(node)}
                for entry in entries.values():
                    if entry.kind == FOLDER and entry.hash is not None:
                        nodes[folder.path_of(entry.name)] = entry.hash
                stats = parse_records(folder.records)
                listed = [told.entry(one, entries.get(one.name)) for one in stats]
                contents = [
                    None if stat.S_ISDIR(one.mode) else told.content(entry)
                    for one, entry in zip(stats, listed, strict=True)
                ]
                sure = [
                    one if told.is_as_restored(one, entry) else never_equal(one)
                    for one, entry in zip(stats, listed, strict=True)
                ]
                if len(entries) > sum(one.name in entries for one in stats):
                    # The node tells of what is gone, so nobody may take this folder as known.
                    if not sure:
                        continue
                    sure[0] = never_equal(sure[0])
                writer.add(folder.path, cached_folder(sure, contents, self._trees.nodes_of(node)))
            writer.commit(self._root.digest)


class _Told:
    """What the trees say of the entries of a workspace."""

    def __init__(self, root: Root, trees: TreeBlobs, untouched_before_ns: int) -> None:
        self._root = root
        self._trees = trees
        self._untouched_before_ns = untouched_before_ns
        self._files: dict[tuple[int, int], Entry] = {}
        """Files with several names, by device and inode."""

    def plain_folder(
        self, node: BlobHash, records: bytes
    ) -> tuple[CachedFolder, list[tuple[bytes, BlobHash]]] | None:
        """A folder whose listing says that all is as it was restored, and its sub-folders' nodes.

        None when something is not, or is none of what nearly every folder holds alone: small files
        of one name, and folders. Then each entry is looked at by itself.
        """
        there = file_columns(self._trees.blob(node))
        if there is None:
            return None
        now = columns_of(records)
        is_file = list(map(stat.S_ISREG, now.modes))
        files = now if all(is_file) else now.those(is_file)
        folders = [
            (name, mode & MAX_MODE, mtime_ns)
            for name, mode, mtime_ns in zip(now.names, now.modes, now.mtimes, strict=True)
            if stat.S_ISDIR(mode)
        ]
        if (
            files.names != there.names
            or list(files.sizes) != there.sizes
            or list(files.mtimes) != there.mtimes
            or [mode & MAX_MODE for mode in files.modes] != there.modes
            or len(files.names) + len(folders) != len(now.names)
            or max(files.nlinks, default=1) > 1
            or max(files.ctimes, default=0) >= self._untouched_before_ns
            or folders != [(one.name, one.mode, one.mtime_ns) for one in there.folders]
        ):
            return None
        tally = tally_of_columns(now.modes, now.mtimes, files.sizes)
        contents = encode_plain_contents(
            [size if one else None for size, one in zip(now.sizes, is_file, strict=True)],
            there.hashes,
        )
        below = [(one.name, one.hash) for one in there.folders if one.hash is not None]
        names = tuple(name for name, *_ in reversed(folders))
        return CachedFolder(
            records, names, (node,), tally.files, tally.size_bytes, False, contents, tally
        ), below

    def entry(self, status: EntryStat, entry: Entry | None) -> Entry | None:
        """What an entry is; a hard link what it means."""
        if entry is None or status.nlink < 2 or stat.S_ISDIR(status.mode):
            return None if entry is not None and entry.kind == HARD_LINK else entry
        key = status.dev, status.ino
        if entry.kind != HARD_LINK:
            self._files[key] = entry
            return entry
        if key in self._files:
            return self._files[key]
        assert entry.target is not None
        return self._trees.find(self._root.node, entry.target)

    def is_as_restored(self, status: EntryStat, entry: Entry | None) -> bool:
        """Whether nobody has touched it since."""
        if entry is None or entry.mtime_ns != status.mtime_ns:
            return False
        mode = status.mode & MAX_MODE
        if entry.kind == FOLDER:
            return stat.S_ISDIR(status.mode) and mode == entry.mode
        if status.ctime_ns >= self._untouched_before_ns:
            return False
        if entry.kind == SYMLINK:
            return stat.S_ISLNK(status.mode)
        return (stat.S_ISREG(status.mode), status.size, mode) == (True, entry.size, entry.mode)

    def content(self, entry: Entry | None) -> EntryContent:
        """What an entry holds; None for a folder, and for what nobody knows."""
        if entry is None:
            return None
        if entry.kind == SYMLINK:
            assert entry.target is not None
            return LinkTarget(entry.target)
        if entry.kind == EMPTY_FILE:
            return NO_DATA
        if entry.kind == FILE:
            return entry.hash
        if entry.kind == LISTED_FILE and entry.content is not None:
            return Chunks(entry.content.segments, tuple(self._trees.chunks(entry.content)))
        return None
