"""Whether a patched workspace is the target: every changed folder is listed and held against it.

What did not change was looked at when everything stood still already. What is seen is also what the
stat cache of the new state holds of these folders.
"""

import os
import stat
from collections.abc import Iterator

from limpet.snapshots.blobs import BlobHash
from limpet.snapshots.native import EntryStat, pack_records, parse_records, scan_folder
from limpet.snapshots.node import (
    EMPTY_FILE,
    FILE,
    FOLDER,
    HARD_LINK,
    LISTED_FILE,
    SYMLINK,
    Entry,
    Root,
)
from limpet.snapshots.patch_compare import Comparing, Comparison, moved_on
from limpet.snapshots.present import LEFT_OUT, Present, join
from limpet.snapshots.statcache import (
    NO_DATA,
    CachedFolder,
    Chunks,
    EntryContent,
    LinkTarget,
    StatCaches,
    encode_contents,
    folders_of,
)
from limpet.snapshots.survey import open_below
from limpet.snapshots.tree import settled_clock_ns
from limpet.snapshots.trees import TreeBlobs


class Verified:
    """What was seen of the changed folders, by path, as a stat cache holds it."""

    def __init__(self, root: Root, trees: TreeBlobs, workspace_fd: int) -> None:
        self.folders: dict[bytes, CachedFolder] = {}
        self.files = self.bytes = 0
        """Of the whole workspace, once the cache is written."""
        self._root = root
        self._trees = trees
        self._workspace_fd = workspace_fd

    def verify(self, comparison: Comparison) -> None:
        """List what the comparison said would change; `ConflictError` when one is not as it should.

        Nothing may run in the workspace.
        """
        status = os.fstat(self._workspace_fd)
        if (stat.S_IMODE(status.st_mode), status.st_mtime_ns) != (
            self._root.mode,
            self._root.mtime_ns,
        ):
            raise moved_on(b"")
        for path in comparison.numbers:
            node = comparison.visited.get(path)
            if node is None:
                entry = self._trees.find(self._root.node, path) if path else None
                node = self._root.node if entry is None else entry.hash
            assert node is not None
            self._folder(path, node)
        for new in comparison.news.values():
            self._below(new.path, new.entry)

    def write_cache(self, present: Present, comparison: Comparing, caches: StatCaches) -> None:
        """Keep what is known of the new state for the next save. Raises `OSError`."""
        with caches.create() as writer:
            for path, folder in self._every(present, comparison):
                writer.add(path, folder)
            # Whatever is written from here on must be told apart from what was seen.
            settled_clock_ns(caches.folder)
            writer.commit(self._root.digest)

    def count(self, present: Present, comparison: Comparing) -> None:
        """Learn `files` and `bytes` where no cache can be written."""
        for _ in self._every(present, comparison):
            pass

    def _every(
        self, present: Present, comparison: Comparing
    ) -> Iterator[tuple[bytes, CachedFolder]]:
        """Every folder there is now, counted."""
        self.files = self.bytes = 0
        for path, folder in present.folders():
            if path not in self.folders and not comparison.is_gone(path):
                self.files += folder.files
                self.bytes += folder.size_bytes
                yield path, folder
        for path, folder in self.folders.items():
            self.files += folder.files
            self.bytes += folder.size_bytes
            yield path, folder

    def _below(self, path: bytes, entry: Entry) -> None:
        """A folder that was moved in, and all that lies below it."""
        todo = [(path, entry)]
        while todo:
            path, entry = todo.pop()
            if entry.kind == FOLDER and entry.hash is not None:
                below = self._folder(path, entry.hash)
                todo += [(join(path, one.name), one) for one in below if one.kind == FOLDER]

    def _folder(self, path: bytes, node: BlobHash) -> list[Entry]:
        try:
            fd = open_below(self._workspace_fd, path)
        except PermissionError:
            return []  # its looks, which its parent's listing told, close it to us: as they should
        try:
            records = scan_folder(fd).records
        finally:
            os.close(fd)
        stats = parse_records(records)
        if not path:
            stats = [one for one in stats if one.name not in LEFT_OUT]
            records = pack_records(stats)
        entries = self._trees.entries(node)
        if [one.name for one in stats] != [entry.name for entry in entries]:
            raise moved_on(path)
        contents = []
        for status, entry in zip(stats, entries, strict=True):
            content = self._content(status, entry)
            if content is None and not _is_folder(status, entry):
                raise moved_on(join(path, entry.name))
            contents.append(content)
        files = [one.size for one in stats if stat.S_ISREG(one.mode)]
        self.folders[path] = CachedFolder(
            records,
            folders_of(stats),
            tuple(self._trees.nodes_of(node)),
            len(files),
            sum(files),
            any(one.nlink > 1 and not stat.S_ISDIR(one.mode) for one in stats),
            encode_contents(contents),
        )
        return entries

    def _content(self, status: EntryStat, entry: Entry) -> EntryContent:
        """The content of an entry that looks as it should; None otherwise, and for a folder."""
        if entry.kind == HARD_LINK:
            assert entry.target is not None
            meant = self._trees.find(self._root.node, entry.target)
            if meant is None or self._inode(entry.target) != (status.dev, status.ino):
                return None
            return self._content(status, meant)
        looks = stat.S_IMODE(status.mode), status.mtime_ns, status.size
        if entry.kind == SYMLINK and stat.S_ISLNK(status.mode) and looks[1] == entry.mtime_ns:
            assert entry.target is not None
            return LinkTarget(entry.target)
        if not stat.S_ISREG(status.mode) or looks != (entry.mode, entry.mtime_ns, entry.size):
            return None
        if entry.kind == EMPTY_FILE:
            return NO_DATA
        if entry.kind == LISTED_FILE and entry.content is not None:
            return Chunks(entry.content.segments, tuple(self._trees.chunks(entry.content)))
        return entry.hash if entry.kind == FILE else None

    def _inode(self, path: bytes) -> tuple[int, int]:
        folder, _, name = path.rpartition(b"/")
        fd = open_below(self._workspace_fd, folder)
        try:
            status = os.stat(name, dir_fd=fd, follow_symlinks=False)
        finally:
            os.close(fd)
        return status.st_dev, status.st_ino


def _is_folder(status: EntryStat, entry: Entry) -> bool:
    looks = stat.S_IMODE(status.mode), status.mtime_ns
    return (
        entry.kind == FOLDER and stat.S_ISDIR(status.mode) and looks == (entry.mode, entry.mtime_ns)
    )
