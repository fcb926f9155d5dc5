"""A packed snapshot, or a folder of it, as the plain tar that any tool reads; in flat memory.

The layout is that of `limpet.snapshots.tar_write`, with the save's receipt and the closing records,
so that a restore of it is as well verified as one of a tar that a daemon wrote.
"""

from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
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
_FOLDERS_AT_ONCE: Final = 64


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
    blobs = read_blobs(await to_thread.run_sync(_blobs, exported))
    folders = _folders(exported)
    while batch := await to_thread.run_sync(lambda: list(islice(folders, _FOLDERS_AT_ONCE))):
        for folder in batch:
            looks = folder.looks
            if looks is not None:
                out.member(folder.path + b"/", looks.mode, 0, looks.mtime_ns, tf.FOLDER)
            for entry in folder.entries:
                left = _header(out, exported, folder, entry)
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


def _folders(exported: Exported) -> Iterator[WalkedFolder]:
    assert exported.folder.hash is not None
    return exported.trees.walk(exported.folder.hash, whole=not exported.path)


def _resolved(exported: Exported, entry: Entry) -> Entry:
    """The entry as it stands within what is exported."""
    if entry.kind != HARD_LINK or not exported.path:
        return entry
    assert entry.target is not None
    if entry.target.startswith(exported.path + b"/"):
        return entry._replace(target=entry.target[len(exported.path) + 1 :])
    found = exported.trees.find(exported.root, entry.target)
    if found is None:
        raise SnapshotDamagedError("A hard link leads to what is not there")
    return found._replace(name=entry.name)


def _header(out: TarOut, exported: Exported, folder: WalkedFolder, entry: Entry) -> int:
    """Write an entry's headers; gives how many bytes of blobs follow."""
    path = folder.path_of(entry.name)
    entry = _resolved(exported, entry)
    if entry.kind == FOLDER:
        return 0
    if entry.kind in {SYMLINK, HARD_LINK}:
        assert entry.target is not None
        kind = tf.SYMLINK if entry.kind == SYMLINK else tf.HARD_LINK
        out.member(path, 0o777, 0, entry.mtime_ns, kind, entry.target)
        return 0
    segments: tuple[tuple[int, int], ...] = ((0, entry.size),)
    if entry.kind == LISTED_FILE and entry.content is not None:
        segments = entry.content.segments or segments
        if sum(segments[-1]) != entry.size:
            segments = (*segments, (entry.size, 0))  # how tools know where the last hole ends
    return out.file(path, entry.mode, entry.mtime_ns, entry.size, segments)


def _blobs(exported: Exported) -> list[BlobHash]:
    """The data blobs of every file, in the order of a walk."""
    return list(_each_blob(exported))


def _each_blob(exported: Exported) -> Iterator[BlobHash]:
    for folder in _folders(exported):
        for each in folder.entries:
            entry = _resolved(exported, each)
            if entry.kind == FILE and entry.hash is not None:
                yield entry.hash
            elif entry.kind == LISTED_FILE and entry.content is not None:
                for chunk in exported.trees.chunks(entry.content):
                    yield chunk.name
