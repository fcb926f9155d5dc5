"""A workspace as one plain pax tar, streamed: every entry once, in a fixed order, in flat memory.

Order: a folder, its files, then its sub-folders, by name; in a git repository `objects` comes last,
so that what the refs and the index name was there when they were read. A SQLite database is read
together with its `-wal`. The layout of the archive is in limpet.snapshots.tar_format; why we have a
writer of our own, in docs/decisions/0001-own-tar.md.
"""

import contextlib
import dataclasses
import os
import stat
import time
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Final, Self

from limpet.errors import LimpetError, NotFoundError
from limpet.snapshots import tar_format as tf
from limpet.snapshots.ignoring import Ignoring
from limpet.snapshots.reading import (
    OPEN_FILE,
    Content,
    changed,
    has_holes,
    is_racy,
    pieces_of,
    read_together,
    segments_of,
)
from limpet.snapshots.receipt import Receipt
from limpet.snapshots.remarks import Remarks
from limpet.snapshots.sparse import Segments
from limpet.snapshots.tar_format import BLOCK, Progress
from limpet.snapshots.tar_out import CHUNK_BYTES, TarOut
from limpet.snapshots.tree import NOT_SAVED, RESERVED, Folder, is_empty, walk

SMALL_BYTES: Final = 1 << 20
_SPECIAL: Final = {
    stat.S_IFSOCK: "socket", stat.S_IFIFO: "fifo", stat.S_IFCHR: "device", stat.S_IFBLK: "device",
}  # fmt: skip


def stream_tar(
    workspace: Path,
    *,
    exclude_top: Collection[str] = NOT_SAVED,
    on_progress: Progress | None = None,
) -> "TarStream":
    """The workspace as a tar, to be iterated once; `exclude_top` names top entries to leave out.

    Raises `NotFoundError` when the workspace does not exist. While iterating, `OSError` comes only
    from the workspace folder itself; an entry that cannot be read makes the receipt incomplete.
    """
    if not workspace.is_dir():
        raise NotFoundError(f"The workspace {workspace} does not exist.")
    return TarStream(workspace, frozenset(exclude_top) | {RESERVED}, on_progress)


class TarStream:
    """An iterator over chunks of about 1 MiB. After the last one, `receipt` says what was saved.

    `empty` tells whether there was nothing at all to save when the stream was made; iterating
    then gives a whole tar of nothing.
    """

    def __init__(
        self, workspace: Path, exclude_top: Collection[str], on_progress: Progress | None
    ) -> None:
        self.empty = is_empty(workspace, exclude_top=exclude_top)
        self._writer = _Writer(workspace, exclude_top, on_progress)
        self._chunks = self._writer.chunks()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> bytes:
        return next(self._chunks)

    def close(self) -> None:
        """Give up: close what is open. A finished stream is closed already."""
        self._chunks.close()  # type: ignore[attr-defined]

    @property
    def receipt(self) -> Receipt:
        """What was saved; `LimpetError` before the stream has ended."""
        if self._writer.receipt is None:
            raise LimpetError("The receipt of a save is known once the whole tar was read.")
        return self._writer.receipt


@dataclasses.dataclass(slots=True)
class _Stream:
    """A file too large for memory, its header already written: what is still to be read."""

    fd: int
    path: bytes
    status: os.stat_result
    segments: Segments
    data_bytes: int


@dataclasses.dataclass(slots=True)
class _Linked:
    """A file with several names, saved under the first: how many others there still are."""

    path: bytes
    others: int
    mtime_ns: int
    size: int


class _Writer:
    def __init__(
        self, workspace: Path, exclude_top: Collection[str], on_progress: Progress | None
    ) -> None:
        self.workspace = workspace
        self.exclude_top = exclude_top
        self.out = TarOut(on_progress)
        self.receipt: Receipt | None = None
        self.remarks = Remarks()
        self.files = 0
        self.bytes = 0
        self.linked: dict[tuple[int, int], _Linked] = {}
        self.xattrs = True

    def chunks(self) -> Iterator[bytes]:
        started = time.monotonic()
        root: os.stat_result | None = None
        ignoring = Ignoring()
        folders = walk(
            self.workspace,
            on_error=self.unreadable,
            exclude_top=self.exclude_top,
            ignoring=ignoring,
        )
        for folder in folders:
            if "objects" in folder.folders:
                folder.folders.sort(key=_objects_last)
            if folder.path:
                self.folder(folder)
            else:
                root = folder.status
            databases = _databases(folder.entries)
            for entry in folder.entries:
                stream = None
                if databases and entry in databases:
                    yield from self.database(folder, entry, databases[entry])
                else:
                    stream = self.entry(folder, entry)
                if stream is not None:
                    yield from self.stream(stream)
                if self.out.pending >= CHUNK_BYTES:
                    yield from self.out.flush()
        assert root is not None
        ignoring.tell(self.remarks)
        self.remarks.count("links_outside", len(self.linked))
        receipt = self.remarks.receipt(
            "save",
            entries=self.out.entries + 1,
            files=self.files,
            bytes=self.bytes,
            duration_ms=int((time.monotonic() - started) * 1000),
        )
        yield from self.out.ending(receipt.as_dict(), root.st_mode, root.st_mtime_ns)
        self.receipt = dataclasses.replace(
            receipt, size_bytes=self.out.written, blake3=self.out.digest
        )

    # -- one member -----------------------------------------------------------------------------

    def folder(self, folder: Folder) -> None:
        status = folder.status
        if not self.fits(folder.path):
            folder.entries.clear()
            folder.folders.clear()
            return
        self.note_mode(status.st_mode)
        self.note_xattrs(folder.fd)
        name, mode = folder.path + b"/", status.st_mode & 0o1777
        self.out.member(name, mode, 0, status.st_mtime_ns, tf.FOLDER)

    def entry(self, folder: Folder, entry: "os.DirEntry[str]") -> _Stream | None:
        """Write one entry that is no folder; gives what must be streamed after its header."""
        name = entry.name
        path = folder.path_of(name)
        if len(path) > 4096 and not self.fits(path):
            return None
        if not entry.is_file(follow_symlinks=False):
            self.link_or_special(folder, name, path)
            return None
        try:
            fd = os.open(name, OPEN_FILE, dir_fd=folder.fd)
        except OSError as error:
            self.unreadable(path, error)
            return None
        stream = None
        try:
            stream = self.file(fd, path)
        except OSError as error:
            self.unreadable(path, error)
        finally:
            if stream is None:
                os.close(fd)
        return stream

    def file(self, fd: int, path: bytes) -> _Stream | None:
        status = os.fstat(fd)
        mode = status.st_mode
        if not stat.S_ISREG(mode):
            self.remarks.skip(path, "changed its kind while it was read")
            return None
        if status.st_nlink > 1 and self.is_link_to_earlier(path, status):
            return None
        self.note_xattrs(fd)
        size = status.st_size
        if size > SMALL_BYTES or has_holes(status):
            return self.file_with_care(fd, path)
        read_at_ns = time.time_ns()
        data = os.read(fd, size + 1)
        after = os.fstat(fd)
        if len(data) != size or changed(status, after) or is_racy(after, read_at_ns):
            return self.file_with_care(fd, path)
        if mode & 0o6000:
            self.note_mode(mode)
        self.files += 1
        self.bytes += size
        self.out.member(path, mode & 0o1777, size, status.st_mtime_ns, tf.FILE)
        if status.st_nlink > 1:
            self.remember(path, status)
        if size:
            self.out.parts.append(data)
            self.out.parts.append(bytes(-size % BLOCK))
            self.out.pending += size + (-size % BLOCK)
        return None

    # -- what needs more care than a small file at rest ------------------------------------------

    def file_with_care(self, fd: int, path: bytes) -> _Stream | None:
        read = read_together([fd])
        if read is None:
            status = os.fstat(fd)
            segments = segments_of(fd, status)
            total = sum(length for _, length in segments)
            self.file_header(path, status, segments)
            return _Stream(fd, path, status, segments, total)
        [content], torn = read
        self.content(path, content, torn=torn)
        return None

    def content(self, path: bytes, content: Content, *, torn: bool) -> None:
        """Write a file that was read; what is missing of a torn one is zeros."""
        if torn:
            self.remarks.tear(path, "kept changing while it was read")
        total = content.data_bytes
        self.file_header(path, content.status, content.segments)
        for piece in content.pieces:
            self.out.put(piece)
        self.out.put(bytes(total - sum(map(len, content.pieces))) + tf.padding(total))

    def database(
        self, folder: Folder, entry: "os.DirEntry[str]", wal: "os.DirEntry[str] | None"
    ) -> Iterator[bytes]:
        """Write a database and its `-wal` as of one moment; nothing at the `-wal`'s own turn."""
        if wal is None:
            return
        if self.small_database(folder, entry.name, wal.name):
            return
        before = _status(folder, wal.name)
        for each in (wal, entry):
            stream = self.entry(folder, each)
            if stream is not None:
                yield from self.stream(stream)
        after = _status(folder, wal.name)
        if before is None or after is None or changed(before, after):
            self.remarks.tear(folder.path_of(entry.name), "was written to while it was read")

    def small_database(self, folder: Folder, *names: str) -> bool:
        """Read both together and write them; False when they must be streamed."""
        with contextlib.ExitStack() as opened:
            fds = []
            try:
                for name in names:
                    fds.append(os.open(name, OPEN_FILE, dir_fd=folder.fd))
                    opened.callback(os.close, fds[-1])
                plain = all(
                    stat.S_ISREG(status.st_mode) and status.st_nlink == 1
                    for status in map(os.fstat, fds)
                )
                read = read_together(fds) if plain else None
            except OSError:
                return False
            if read is None:
                return False
            contents, torn = read
            for name, fd, content in zip(names, fds, contents, strict=True):
                self.note_xattrs(fd)
                self.content(folder.path_of(name), content, torn=torn)
        return True

    def file_header(self, path: bytes, status: os.stat_result, segments: Segments) -> None:
        self.note_mode(status.st_mode)
        self.files += 1
        self.bytes += status.st_size
        self.remember(path, status)
        self.out.file(path, status.st_mode & 0o1777, status.st_mtime_ns, status.st_size, segments)

    def stream(self, stream: _Stream) -> Iterator[bytes]:
        left = stream.data_bytes
        try:
            for piece in pieces_of(stream.fd, stream.segments):
                self.out.put(piece)
                left -= len(piece)
                if self.out.pending >= CHUNK_BYTES:
                    yield from self.out.flush()
            torn = left > 0 or changed(stream.status, os.fstat(stream.fd))
        except OSError as error:
            self.unreadable(stream.path, error)
            torn = True
        finally:
            os.close(stream.fd)
        if torn:
            self.remarks.tear(stream.path, "changed while it was read")
        while left > 0:
            zeros = bytes(min(left, CHUNK_BYTES))
            self.out.put(zeros)
            left -= len(zeros)
            yield from self.out.flush()
        self.out.put(tf.padding(stream.data_bytes))

    def is_link_to_earlier(self, path: bytes, status: os.stat_result) -> bool:
        """Write a hard link when the file was already saved under another name."""
        key = (status.st_dev, status.st_ino)
        known = self.linked.get(key)
        if known is None:
            return False
        if (known.mtime_ns, known.size) != (status.st_mtime_ns, status.st_size):
            self.remarks.tear(path, "was written between the reads of two of its names")
            del self.linked[key]
            return False
        known.others -= 1
        if not known.others:
            del self.linked[key]
        self.remarks.count("hard_links")
        self.out.member(
            path, status.st_mode & 0o1777, 0, status.st_mtime_ns, tf.HARD_LINK, known.path
        )
        return True

    def remember(self, path: bytes, status: os.stat_result) -> None:
        """This file was saved under `path`: its other names, if they are met, are links to it."""
        if status.st_nlink > 1:
            self.linked[status.st_dev, status.st_ino] = _Linked(
                path, status.st_nlink - 1, status.st_mtime_ns, status.st_size
            )

    def link_or_special(self, folder: Folder, name: str, path: bytes) -> None:
        try:
            status = os.stat(name, dir_fd=folder.fd, follow_symlinks=False)
            if stat.S_ISLNK(status.st_mode):
                target = os.fsencode(os.readlink(name, dir_fd=folder.fd))
                if status.st_nlink > 1 and self.is_link_to_earlier(path, status):
                    return
                self.remarks.count("symlinks")
                self.out.member(path, 0o777, 0, status.st_mtime_ns, tf.SYMLINK, target)
                self.remember(path, status)
                return
        except OSError as error:
            self.unreadable(path, error)
            return
        what = _SPECIAL.get(stat.S_IFMT(status.st_mode), "changed its kind while it was read")
        self.remarks.skip(path, what)

    # -- remarks ----------------------------------------------------------------------------------

    def fits(self, path: bytes) -> bool:
        """Whether a restore would take this name; else it is skipped and the save incomplete."""
        if len(path) <= 4096:
            return True
        if len(path) <= tf.MAX_PATH_BYTES and path.count(b"/") < tf.MAX_DEPTH:
            return True
        self.remarks.unreadable(path, "lies too deep")
        return False

    def unreadable(self, path: bytes, error: OSError) -> None:
        if isinstance(error, FileNotFoundError):
            self.remarks.count("vanished")
            return
        self.remarks.unreadable(path, error.strerror or str(error))

    def note_mode(self, mode: int) -> None:
        if mode & stat.S_ISUID:
            self.remarks.drop("setuid")
        if mode & stat.S_ISGID:
            self.remarks.drop("setgid")

    def note_xattrs(self, fd: int) -> None:
        if not self.xattrs:
            return
        try:
            names = os.listxattr(fd)
        except OSError:
            self.xattrs = False
            return
        for name in names:
            if name.startswith("system.posix_acl"):
                self.remarks.drop("acls")
            elif name != "security.selinux":
                self.remarks.drop("xattrs")


def _objects_last(name: str) -> tuple[bool, bool, str]:
    return name == "objects", name != "refs", name


def _databases(
    entries: "list[os.DirEntry[str]]",
) -> "dict[os.DirEntry[str], os.DirEntry[str] | None]":
    """The databases with their `-wal`, and each such `-wal` with None; mostly nothing at all."""
    wals = {entry.name[:-4]: entry for entry in entries if entry.name.endswith("-wal")}
    if not wals:
        return {}
    found: dict[os.DirEntry[str], os.DirEntry[str] | None] = {}
    for entry in entries:
        wal = wals.get(entry.name)
        if wal is not None:
            found[entry] = wal
            found[wal] = None
    return found


def _status(folder: Folder, name: str) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=folder.fd, follow_symlinks=False)
    except OSError:
        return None
