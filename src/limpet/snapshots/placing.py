"""Placing files: blobs out of frames into files that we make, by folder descriptors.

Every file is made with exclusive create and without following links, in folders that we made
ourselves. Small files are written in one go, a frame's worth in one call; large and sparse ones are
made first, filled piece by piece, and get their modes and times last.
"""

import contextlib
import os
from array import array
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterator
from itertools import accumulate
from typing import Final

from limpet.errors import SnapshotDamagedError
from limpet.snapshots.folder_descriptors import FolderDescriptors
from limpet.snapshots.frame import DecodedFrame
from limpet.snapshots.native import WriteJobs, write_files
from limpet.snapshots.restore_tables import FileTable, FolderTable

_CREATE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_FILL: Final = os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILES_KEPT_OPEN: Final = 16


class Placing:
    """The files of one table below one folder: `begin`, a `Filler` a thread, then `finish`."""

    def __init__(self, root_fd: int, folders: FolderTable, files: FileTable) -> None:
        self.root_fd = root_fd
        self.folders = folders
        self.files = files

    def begin(self) -> None:
        """Make the files that hold nothing, and those that will be filled piece by piece."""
        files = self.files
        with contextlib.closing(FolderDescriptors(self.root_fd, self.folders)) as opened:
            batch = Batch(files, opened, b"")
            for file in files.empty:
                batch.add(file, 0)
            batch.write()
            for file in files.listed:
                folder_fd = opened.open(files.folders[file])
                fd = os.open(files.names[file], _CREATE, 0o600, dir_fd=folder_fd)
                try:
                    os.ftruncate(fd, files.sizes[file])
                finally:
                    os.close(fd)

    def finish(self) -> None:
        """Give the large and sparse files their modes and times; every blob must have come.

        Raises `SnapshotDamagedError` when one is missing.
        """
        files = self.files
        missing = files.any_missing()
        if missing is not None:
            raise SnapshotDamagedError(
                f"{files.missing:,} blobs of the snapshot did not come, {missing.hex()[:16]} first"
            )
        with contextlib.closing(FolderDescriptors(self.root_fd, self.folders)) as opened:
            for file in files.listed:
                folder_fd = opened.open(files.folders[file])
                fd = os.open(files.names[file], _FILL, dir_fd=folder_fd)
                try:
                    os.fchmod(fd, files.modes[file])
                    os.utime(fd, ns=(files.mtimes[file], files.mtimes[file]))
                finally:
                    os.close(fd)


class Batch:
    """Whole files that lie in one buffer, gathered to be written in one call."""

    def __init__(self, files: FileTable, opened: FolderDescriptors, raw: bytes) -> None:
        self._files = files
        self._opened = opened
        self._raw = raw
        self._folder = -1
        self._folder_fd = -1
        self._folder_fds = array("i")
        self._chosen: list[int] = []
        self._offsets = array("Q")

    def add(self, file: int, at: int) -> None:
        """The file is what its size says of the buffer from `at` on."""
        folder = self._files.folders[file]
        if folder != self._folder:
            if self._opened.full:
                self.write()
            self._folder, self._folder_fd = folder, self._opened.pin(folder)
        self._folder_fds.append(self._folder_fd)
        self._chosen.append(file)
        self._offsets.append(at)

    def write(self) -> None:
        """Write what was gathered; raises the first file's `OSError`."""
        files, chosen = self._files, self._chosen
        jobs = WriteJobs(
            self._folder_fds,
            [files.names[file] for file in chosen],
            self._offsets,
            array("Q", [files.sizes[file] for file in chosen]),
            array("I", [files.modes[file] for file in chosen]),
            array("q", [files.mtimes[file] for file in chosen]),
        )
        failed = write_files(self._raw, jobs).first_error()
        if failed is not None:
            job, error = failed
            raise OSError(error, os.strerror(error), os.fsdecode(jobs.names[job]))
        self._folder = -1
        self._folder_fds, self._chosen, self._offsets = array("i"), [], array("Q")
        self._opened.unpin_all()


class Layout:
    """Where a file has its data: offsets among the data, holes left out, and in the file."""

    def __init__(self, segments: tuple[tuple[int, int], ...], size: int) -> None:
        self._segments = segments or ((0, size),)
        self._starts = [0, *accumulate(length for _, length in self._segments)]

    def pieces(self, offset: int, length: int) -> Iterator[tuple[int, int]]:
        """Where `length` bytes of the data from `offset` on lie: (offset in the file, bytes)."""
        segment = bisect_right(self._starts, offset) - 1
        while length:
            inside = offset - self._starts[segment]
            in_file, segment_bytes = self._segments[segment]
            count = min(length, segment_bytes - inside)
            yield in_file + inside, count
            offset += count
            length -= count
            segment += 1


class Filler:
    """Takes decoded frames and writes what is wanted of them. For one thread; `close` it."""

    def __init__(self, placing: Placing) -> None:
        self._files = placing.files
        self._folders = FolderDescriptors(placing.root_fd, placing.folders)
        self._large: OrderedDict[int, tuple[int, Layout]] = OrderedDict()

    def close(self) -> None:
        """Close every descriptor."""
        self._folders.close()
        while self._large:
            os.close(self._large.popitem()[1][0])

    def place(self, frame: DecodedFrame) -> None:
        """Write every blob of the frame wherever it is wanted; others are passed over.

        Raises `SnapshotDamagedError` when a blob is not as long as its file says, and `OSError`.
        """
        files = self._files
        batch = Batch(files, self._folders, frame.raw)
        for blob, at, size in zip(frame.hashes, frame.offsets, frame.sizes, strict=True):
            for file, offset, length in files.take(blob):
                if length != size:
                    raise SnapshotDamagedError("A file is not as long as the blob that it is")
                if offset is None:
                    batch.add(file, at)
                else:
                    self._fill(file, offset, memoryview(frame.raw)[at : at + size])
        batch.write()

    def _fill(self, file: int, offset: int, data: memoryview) -> None:
        fd, layout = self._open(file)
        for at, count in layout.pieces(offset, len(data)):
            piece, data = data[:count], data[count:]
            while piece:
                written = os.pwrite(fd, piece, at)
                piece = piece[written:]
                at += written

    def _open(self, file: int) -> tuple[int, Layout]:
        known = self._large.get(file)
        if known is not None:
            self._large.move_to_end(file)
            return known
        files = self._files
        folder_fd = self._folders.open(files.folders[file])
        fd = os.open(files.names[file], _FILL, dir_fd=folder_fd)
        made = self._large[file] = fd, Layout(files.listed[file], files.sizes[file])
        if len(self._large) > _FILES_KEPT_OPEN:
            os.close(self._large.popitem(last=False)[1][0])
        return made
