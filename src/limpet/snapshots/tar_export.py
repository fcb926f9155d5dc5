"""A packed snapshot, or a folder of it, as the plain tar that any tool reads; in flat memory.

The layout is that of `limpet.snapshots.tar_write`, with the save's receipt and the closing records,
so that a restore of it is as well verified as one of a tar that a daemon wrote.
"""

from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Final

from anyio import to_thread

from limpet.errors import SnapshotDamagedError
from limpet.snapshots import tar_format as tf
from limpet.snapshots.blobs import BlobHash
from limpet.snapshots.node import FILE, FOLDER, HARD_LINK, LISTED_FILE, SYMLINK, Entry
from limpet.snapshots.tar_out import CHUNK_BYTES, TarOut
from limpet.snapshots.trees import TreeBlobs, WalkedFolder

ReadBlobs = Callable[[Iterable[BlobHash]], AsyncIterator[tuple[BlobHash, bytes]]]
"""Gives data blobs in the order in which they are asked for."""
_BLOBS_AT_ONCE: Final = 50_000
_FOLDERS_AT_ONCE: Final = 5_000
"""Asking for few blobs at a time would look through the packs' indexes often, asking for all of
them would hold them all."""


@dataclass(frozen=True, slots=True)
class Exported:
    """What is exported: a folder of a snapshot, the workspace itself with an empty path."""

    trees: TreeBlobs
    root: BlobHash
    path: bytes
    folder: Entry


async def export_tar(
    exported: Exported, read_blobs: ReadBlobs, receipt: dict[str, Any]
) -> AsyncIterator[bytes]:
    """The folder and all below it, as a tar that carries `receipt`.

    A hard link whose partner lies outside the folder is a file. Raises `SnapshotDamagedError` when
    a blob is missing or not what its name says; the tar then never ends well.
    """
    out = TarOut(None)
    folders = _Folders(exported)
    await to_thread.run_sync(folders.look_for_links)
    while batch := await to_thread.run_sync(folders.some):
        blobs = read_blobs(folders.blobs)
        for folder in batch:
            looks = folder.looks
            if looks is not None:
                out.member(folder.path + b"/", looks.mode, 0, looks.mtime_ns, tf.FOLDER)
            for entry in folder.entries:
                left = _header(out, folder.path_of(entry.name), entry)
                total = left
                while left:
                    _, blob = await anext(blobs)
                    left -= len(blob)
                    if left < 0:
                        raise SnapshotDamagedError("A file is not as long as its blobs")
                    out.put(blob)
                    if out.pending >= CHUNK_BYTES:
                        for chunk in out.flush():
                            yield chunk
                if total:
                    out.put(tf.padding(total))
            if out.pending >= CHUNK_BYTES:
                for chunk in out.flush():
                    yield chunk
    for chunk in out.ending(receipt, exported.folder.mode, exported.folder.mtime_ns):
        yield chunk


class _Folders:
    """What is exported, some folders at a time, each entry as it stands within that."""

    def __init__(self, exported: Exported) -> None:
        self.blobs: list[BlobHash] = []
        """The data blobs of the files of the last folders given, in order."""
        self._exported = exported
        self._walk = self._each()
        self._linked: dict[bytes, Entry] = {}
        """What hard links mean: tools give the link's mode and time to the file."""

    def look_for_links(self) -> None:
        """Find what hard links mean. Before anything else."""
        for folder in self._each():
            for entry in folder.entries:
                if entry.kind == HARD_LINK and entry.target is not None:
                    self._linked[entry.target] = entry

    def some(self) -> list[WalkedFolder]:
        """The next folders; none when there are no more."""
        self.blobs = []
        some: list[WalkedFolder] = []
        for folder in self._walk:
            entries = [self._resolved(folder, entry) for entry in folder.entries]
            for entry in entries:
                self.blobs.extend(self._blobs_of(entry))
            some.append(replace(folder, entries=entries))
            if len(self.blobs) >= _BLOBS_AT_ONCE or len(some) >= _FOLDERS_AT_ONCE:
                break
        return some

    def _each(self) -> Iterator[WalkedFolder]:
        exported = self._exported
        assert exported.folder.hash is not None
        return exported.trees.walk(exported.folder.hash, whole=not exported.path)

    def _resolved(self, folder: WalkedFolder, entry: Entry) -> Entry:
        above = self._exported.path
        if entry.kind != HARD_LINK:
            path = folder.path_of(entry.name)
            if (whole := above + b"/" + path if above else path) in self._linked:
                self._linked[whole] = entry
            return entry
        assert entry.target is not None
        if not above or entry.target.startswith(above + b"/"):
            meant = self._linked[entry.target]
            target = entry.target[len(above) + 1 :] if above else entry.target
            mode = 0o777 if meant.kind == SYMLINK else meant.mode
            return entry._replace(target=target, mode=mode, mtime_ns=meant.mtime_ns)
        found = self._exported.trees.find(self._exported.root, entry.target)
        if found is None:
            raise SnapshotDamagedError("A hard link leads to what is not there")
        return found._replace(name=entry.name)

    def _blobs_of(self, entry: Entry) -> Iterator[BlobHash]:
        if entry.kind == FILE and entry.hash is not None:
            yield entry.hash
        elif entry.kind == LISTED_FILE and entry.content is not None:
            for chunk in self._exported.trees.chunks(entry.content):
                yield chunk.name


def _header(out: TarOut, path: bytes, entry: Entry) -> int:
    """Write an entry's headers; gives how many bytes of blobs follow."""
    if entry.kind == FOLDER:
        return 0
    if entry.kind in {SYMLINK, HARD_LINK}:
        assert entry.target is not None
        kind, mode = (tf.SYMLINK, 0o777) if entry.kind == SYMLINK else (tf.HARD_LINK, entry.mode)
        out.member(path, mode, 0, entry.mtime_ns, kind, entry.target)
        return 0
    segments: tuple[tuple[int, int], ...] = ((0, entry.size),)
    if entry.kind == LISTED_FILE and entry.content is not None:
        segments = entry.content.segments or segments
        if sum(segments[-1]) != entry.size:
            segments = (*segments, (entry.size, 0))  # how tools know where the last hole ends
    return out.file(path, entry.mode, entry.mtime_ns, entry.size, segments)
