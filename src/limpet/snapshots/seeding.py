"""A stat cache for a workspace that was just restored: what it holds is known, none of it is read.

So the first save after a restore costs what changed, as every other does.
"""

import os
import stat
from pathlib import Path

from limpet.snapshots.native import EntryStat, pack_records, parse_records
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
    CachedFolder,
    Chunks,
    EntryContent,
    LinkTarget,
    StatCaches,
    encode_contents,
)
from limpet.snapshots.survey import folders_of, open_workspace, survey
from limpet.snapshots.tree import NOT_SAVED, RESERVED, settled_clock_ns
from limpet.snapshots.trees import TreeBlobs


def seed(caches: StatCaches, workspace: Path, root: Root, trees: TreeBlobs) -> None:
    """Record `workspace`, where nobody else writes, as the state that `root` and `trees` tell.

    An entry that is not as it should be is left to be read at the next save. Raises `OSError`.
    """
    exclude_top = {os.fsencode(name) for name in (*NOT_SAVED, RESERVED)}
    nodes = {b"": root.node}
    workspace_fd = open_workspace(workspace)
    try:
        found = survey(workspace_fd, exclude_top, None, Remarks())
    finally:
        os.close(workspace_fd)
    with caches.create() as writer:
        for folder in found.folders:
            node = nodes.pop(folder.path, None)
            if node is None or folder.records is None:
                continue
            told = {entry.name: entry for entry in trees.entries(node)}
            for entry in told.values():
                if entry.kind == FOLDER and entry.hash is not None:
                    below = folder.path + b"/" + entry.name if folder.path else entry.name
                    nodes[below] = entry.hash
            stats = parse_records(folder.records)
            contents = [_content(one, told.get(one.name), trees, root) for one in stats]
            sure = [
                one if content is not None or stat.S_ISDIR(one.mode) else one._replace(ctime_ns=0)
                for one, content in zip(stats, contents, strict=True)
            ]
            known = CachedFolder(
                pack_records(sure),
                folders_of(stats),
                tuple(trees.nodes_of(node)),
                folder.files,
                folder.size_bytes,
                any(one.nlink > 1 and not stat.S_ISDIR(one.mode) for one in stats),
                encode_contents(contents),
            )
            writer.add(folder.path, known)
        # Whatever is written from here on must be told apart from what was seen.
        settled_clock_ns(caches.folder)
        writer.commit(root.digest)


def _content(status: EntryStat, entry: Entry | None, trees: TreeBlobs, root: Root) -> EntryContent:
    """What the trees say of an entry that looks as they say; None otherwise."""
    if entry is not None and entry.kind == HARD_LINK:
        assert entry.target is not None
        entry = trees.find(root.node, entry.target)
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
        return Chunks(entry.content.segments, tuple(trees.chunks(entry.content)))
    return None
