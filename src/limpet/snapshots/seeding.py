"""A stat cache for a workspace that was just restored: what it holds is known, none of it is read.

So the first save after a restore costs what changed, as every other does. Nobody waits for it: the
cache is written while the sandbox's processes run already. What they have touched is told by its
ctime, which no process can set back.
"""

import os
import stat
from pathlib import Path

from limpet.snapshots.file_clock import FileClock
from limpet.snapshots.native import EntryStat, parse_records
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
from limpet.snapshots.remarks import Remarks
from limpet.snapshots.statcache import (
    NO_DATA,
    Chunks,
    EntryContent,
    LinkTarget,
    StatCaches,
    cached_folder,
    never_equal,
)
from limpet.snapshots.survey import Looking, open_workspace, survey
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
