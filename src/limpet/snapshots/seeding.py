"""A stat cache for a workspace that was just restored: what it holds is known, none of it is read.

So the first save after a restore costs what changed, as every other does.
"""

import os
import stat
from pathlib import Path

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
)
from limpet.snapshots.survey import Looking, open_workspace, survey
from limpet.snapshots.tree import NOT_SAVED, RESERVED, settled_clock_ns
from limpet.snapshots.trees import TreeBlobs


def seed(caches: StatCaches, workspace: Path, root: Root, trees: TreeBlobs) -> None:
    """Record `workspace`, where nobody else writes, as the state that `root` and `trees` tell.

    An entry that is not as it should be is left to be read at the next save. Raises `OSError`.
    """
    exclude_top = frozenset(os.fsencode(name) for name in (*NOT_SAVED, RESERVED))
    nodes = {b"": root.node}
    workspace_fd = open_workspace(workspace)
    try:
        found = survey(Looking(workspace_fd, None, exclude_top), Remarks())
    finally:
        os.close(workspace_fd)
    told = _Told(root, trees)
    with caches.create() as writer:
        for folder in found.folders:
            node = nodes.pop(folder.path, None)
            if node is None or folder.records is None:
                continue
            entries = {entry.name: entry for entry in trees.entries(node)}
            for entry in entries.values():
                if entry.kind == FOLDER and entry.hash is not None:
                    nodes[folder.path_of(entry.name)] = entry.hash
            stats = parse_records(folder.records)
            contents = [told.content(one, entries.get(one.name)) for one in stats]
            writer.add(folder.path, cached_folder(stats, contents, trees.nodes_of(node)))
        # Whatever is written from here on must be told apart from what was seen.
        settled_clock_ns(caches.folder)
        writer.commit(root.digest)


class _Told:
    """What the trees say of entries that look as they say."""

    def __init__(self, root: Root, trees: TreeBlobs) -> None:
        self._root = root
        self._trees = trees
        self._files: dict[tuple[int, int], Entry] = {}
        """Files with several names, by device and inode."""

    def content(self, status: EntryStat, entry: Entry | None) -> EntryContent:
        """What an entry holds; None for a folder, and for what is not as it should be."""
        if entry is not None and status.nlink > 1 and not stat.S_ISDIR(status.mode):
            key = status.dev, status.ino
            if entry.kind != HARD_LINK:
                self._files[key] = entry
            elif key in self._files:
                entry = self._files[key]
            else:
                assert entry.target is not None
                entry = self._trees.find(self._root.node, entry.target)
        if entry is None or entry.mtime_ns != status.mtime_ns:
            return None
        if entry.kind == SYMLINK:
            assert entry.target is not None
            return LinkTarget(entry.target) if stat.S_ISLNK(status.mode) else None
        looks = stat.S_ISREG(status.mode), status.size, status.mode & MAX_MODE
        if looks != (True, entry.size, entry.mode):
            return None
        if entry.kind == EMPTY_FILE:
            return NO_DATA
        if entry.kind == FILE:
            return entry.hash
        if entry.kind == LISTED_FILE and entry.content is not None:
            return Chunks(entry.content.segments, tuple(self._trees.chunks(entry.content)))
        return None
