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
from collections.abc import Iterator, Sequence
from itertools import accumulate, groupby, repeat
from typing import Final

from limpet.errors import SnapshotDamagedError
from limpet.snapshots.folder_descriptors import FolderDescriptors
from limpet.snapshots.frame import DecodedFrame
from limpet.snapshots.native import WriteJobs, write_files
from limpet.snapshots.restore_tables import FileTable, FolderTable

_CREATE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_FILL: Final = os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILES_KEPT_OPEN: Final = 16
_OTHER_LENGTH: Final = "A file is not as long as the blob that it is"


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
            write_whole(files, opened, files.empty, b"", array("Q", bytes(8 * len(files.empty))))
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


def write_whole(
    files: FileTable,
    opened: FolderDescriptors,
    chosen: Sequence[int],
    raw: bytes,
    offsets: Sequence[int],
) -> None:
    """Make files by their numbers: each is what its size says of `raw` from its offset on.

    As many in one call as descriptors of folders can be had. Raises the first one's `OSError`.
    """
    folder_fds = array("i")
    written = 0

    def write() -> None:
        nonlocal written
        some = slice(written, len(folder_fds))
        jobs = WriteJobs(array("I", chosen[some]), folder_fds[some], array("Q", offsets[some]))
        failed = write_files(raw, jobs, files).first_error()
        if failed is not None:
            job, error = failed
            name = files.names[chosen[written + job]]
            raise OSError(error, os.strerror(error), os.fsdecode(name))
        written = len(folder_fds)
        opened.unpin_all()

    for folder, run in groupby(map(files.folders.__getitem__, chosen)):
        if opened.full:
            write()
        folder_fds.extend(repeat(opened.pin(folder), sum(1 for _ in run)))
    write()


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
        places = files.take(frame.hashes)
        sizes = list(map(frame.sizes.__getitem__, places.blobs))
        if sizes != list(map(files.sizes.__getitem__, places.files)):
            raise SnapshotDamagedError(_OTHER_LENGTH)
        offsets = list(map(frame.offsets.__getitem__, places.blobs))
        write_whole(files, self._folders, places.files, frame.raw, offsets)
        for piece in places.pieces:
            if frame.sizes[piece.blob] != piece.length:
                raise SnapshotDamagedError(_OTHER_LENGTH)
            at = frame.offsets[piece.blob]
            data = memoryview(frame.raw)[at : at + piece.length]
            self._fill(piece.file, piece.offset, data)

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
