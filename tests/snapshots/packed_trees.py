"""Packed snapshots for tests, made the plain way: a folder on disk, its blobs, a stream of them."""

import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from limpet.snapshots.blobs import BlobHash, BlobKind, hash_of
from limpet.snapshots.delta import stream_delta
from limpet.snapshots.frame import FrameDraft, decode_frame, encode_frame
from limpet.snapshots.lineage import root_fields
from limpet.snapshots.node import (
    EMPTY_FILE,
    FILE,
    FOLDER,
    HARD_LINK,
    LISTED_FILE,
    SYMLINK,
    Entry,
    Reference,
    Root,
)
from limpet.snapshots.node_encode import content_of, encode_folder
from limpet.snapshots.statcache import StatCaches
from limpet.snapshots.wire import Flow, StreamFrame, StreamReader, StreamWriter

LEFT_OUT = frozenset({b"tmp", b".limpet-root"})


@dataclass
class PackedTree:
    """A snapshot: its root and every blob, in the order in which they were met."""

    root: Root
    data: dict[BlobHash, bytes] = field(default_factory=dict)
    trees: dict[BlobHash, bytes] = field(default_factory=dict)

    def stream(
        self,
        flow: Flow = "restore",
        *,
        data: Iterable[bytes] | None = None,
        frame_bytes: int = 1 << 19,
        **fields: object,
    ) -> bytes:
        """A whole stream; `data` instead of the data blobs, `fields` over the header's."""
        return b"".join(self.records(flow, data=data, frame_bytes=frame_bytes, **fields))

    def records(
        self,
        flow: Flow = "restore",
        *,
        data: Iterable[bytes] | None = None,
        frame_bytes: int = 1 << 19,
        **fields: object,
    ) -> Iterator[bytes]:
        """The stream's records, one by one."""
        writer = StreamWriter(flow)
        yield writer.header({"root": root_fields(self.root), **fields})
        for frame in frames("tree", self.trees.values(), frame_bytes):
            yield writer.frames(frame)
        if flow != "plan":
            chosen = self.data.values() if data is None else data
            for frame in frames("data", chosen, frame_bytes):
                yield writer.frames(frame)
        yield writer.end({})


def frames(
    kind: BlobKind, blobs: Iterable[bytes], frame_bytes: int = 1 << 19, level: int = 1
) -> Iterator[bytes]:
    """The blobs in frames of at most so many bytes, or of one blob."""
    draft = FrameDraft(kind)
    for blob in blobs:
        if draft.blobs and (draft.raw_bytes + len(blob) > frame_bytes or not draft.fits(len(blob))):
            yield encode_frame(kind, draft.blobs, level=level)
            draft = FrameDraft(kind)
        draft.add(blob)
    if draft.blobs:
        yield encode_frame(kind, draft.blobs, level=level)


def pack_folder(top: Path, *, cut_bytes: int = 1 << 20) -> PackedTree:
    """The snapshot of a folder as it lies on disk; files over `cut_bytes` are cut into blobs.

    `OverflowError` for a time that 64 bits of nanoseconds do not hold (from the year 2262 on).
    """
    return _Packing(cut_bytes).pack(top)


def save_folder(top: Path, caches: Path) -> PackedTree:
    """The snapshot of a folder as a save of ours makes it; `caches` is a folder to be made."""
    delta = stream_delta(top, caches=StatCaches(caches), base=None, fields={})
    reader = StreamReader("save")
    made = PackedTree(Root(BlobHash(bytes(32)), 0, 0))
    for chunk in delta:
        for record in reader.feed(chunk):
            if isinstance(record, StreamFrame):
                frame = decode_frame(record.data)
                (made.data if frame.kind == "data" else made.trees).update(frame.blobs())
    made.root = delta.root
    return made


def packed(entries: Iterable[Entry], *others: Iterable[Entry], **blobs: bytes) -> PackedTree:
    """A snapshot of hand-made entries: the root's, and folders that they name by `node_of`."""
    made = PackedTree(Root(BlobHash(bytes(32)), 0o755, 0))
    for folder in others:
        encode_folder(folder, lambda blob, name: made.trees.update({name: blob}))
    node = encode_folder(entries, lambda blob, name: made.trees.update({name: blob}))
    made.root = Root(node, 0o755, 0)
    made.data = {hash_of(blob): blob for blob in blobs.values()}
    return made


def node_of(entries: Iterable[Entry]) -> BlobHash:
    """The name of a folder with these entries."""
    return encode_folder(entries, lambda _blob, _name: None)


class _Packing:
    def __init__(self, cut_bytes: int) -> None:
        self._cut_bytes = cut_bytes
        self._met: dict[tuple[int, int], bytes] = {}
        self._packed = PackedTree(Root(BlobHash(bytes(32)), 0, 0))

    def pack(self, top: Path) -> PackedTree:
        fd = os.open(top, os.O_RDONLY | os.O_DIRECTORY)
        node = self._folder(fd, b"")
        status = os.fstat(fd)
        os.close(fd)
        self._packed.root = Root(node, _mode(status), _time(status))
        return self._packed

    def _tree(self, blob: bytes, name: BlobHash) -> None:
        self._packed.trees[name] = blob

    def _folder(self, fd: int, path: bytes) -> BlobHash:
        names = sorted(os.fsencode(name) for name in os.listdir(fd))
        entries = []
        folders = []
        for name in names:
            if not path and name in LEFT_OUT:
                continue
            status = os.stat(name, dir_fd=fd, follow_symlinks=False)
            if stat.S_ISDIR(status.st_mode):
                folders.append((name, status))
            else:
                entries.append(self._entry(fd, path, name, status))
        for name, status in folders:
            inner = os.open(name, os.O_RDONLY | os.O_DIRECTORY, dir_fd=fd)
            node = self._folder(inner, path + name + b"/")
            os.close(inner)
            entries.append(Entry(name, FOLDER, _mode(status), _time(status), 0, node))
        return encode_folder(sorted(entries, key=lambda entry: entry.name), self._tree)

    def _entry(self, fd: int, path: bytes, name: bytes, status: os.stat_result) -> Entry:
        identity = status.st_dev, status.st_ino
        if status.st_nlink > 1:
            if identity in self._met:
                return Entry(name, HARD_LINK, 0, 0, 0, target=self._met[identity])
            self._met[identity] = path + name
        if stat.S_ISLNK(status.st_mode):
            target = os.fsencode(os.readlink(name, dir_fd=fd))
            return Entry(name, SYMLINK, 0, _time(status), 0, target=target)
        looks = (_mode(status), _time(status), status.st_size)
        if not status.st_size:
            return Entry(name, EMPTY_FILE, *looks)
        inner = os.open(name, os.O_RDONLY, dir_fd=fd)
        try:
            segments = list(_segments(inner, status.st_size))
            pieces = [os.pread(inner, length, offset) for offset, length in segments]
        finally:
            os.close(inner)
        whole = segments == [(0, status.st_size)]
        data = b"".join(pieces)
        if whole and len(data) <= self._cut_bytes:
            return Entry(name, FILE, *looks, self._data(data))
        chunks = [
            Reference(self._data(piece), len(piece))
            for piece in (
                data[at : at + self._cut_bytes] for at in range(0, len(data), self._cut_bytes)
            )
        ]
        content = content_of(chunks, () if whole else segments, self._tree)
        return Entry(name, LISTED_FILE, *looks, content=content)

    def _data(self, blob: bytes) -> BlobHash:
        name = hash_of(blob)
        self._packed.data.setdefault(name, blob)
        return name


def _mode(status: os.stat_result) -> int:
    return stat.S_IMODE(status.st_mode) & 0o1777


def _time(status: os.stat_result) -> int:
    if not -(1 << 63) <= status.st_mtime_ns < 1 << 63:
        raise OverflowError("the format knows no such time")
    return status.st_mtime_ns


def _segments(fd: int, size: int) -> Iterator[tuple[int, int]]:
    at = 0
    found = False
    while at < size:
        try:
            start = os.lseek(fd, at, os.SEEK_DATA)
        except OSError:
            break
        at = min(os.lseek(fd, start, os.SEEK_HOLE), size)
        yield start, at - start
        found = True
    if not found:
        yield size, 0
