"""Reading files that may be in use: what was read is either of one moment, or said to be torn.

A file counts as unchanged when size, mtime and ctime are the same after reading as before; one
written so shortly before that the clock may not have ticked since is read twice and compared.
"""

import errno
import io
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from limpet.snapshots.sparse import Segments
from limpet.snapshots.tar_format import BLOCK

OPEN_FILE: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
PIECE_BYTES: Final = 1 << 20
AGAIN_BYTES: Final = 16 << 20
"""Up to this size files are held in memory, so that they can be read again when they change."""
READS: Final = 3
RACY_NS: Final = 20_000_000
_HOLES_FROM_BYTES: Final = 4096


@dataclass(slots=True)
class Content:
    """A file's status and the bytes that belong to it; `pieces` is short when the file shrank."""

    status: os.stat_result
    segments: Segments
    pieces: list[bytes]

    @property
    def data_bytes(self) -> int:
        """How many bytes the segments have together."""
        return sum(length for _, length in self.segments)


def read_together(fds: Sequence[int]) -> tuple[list[Content], bool] | None:
    """The content of files that belong together, and whether it is torn.

    Reads up to three times until nothing changed meanwhile. None when they are too large to hold.
    """
    contents: list[Content] = []
    previous: list[list[bytes]] = []
    for _ in range(READS):
        contents = [Content(status := os.fstat(fd), segments_of(fd, status), []) for fd in fds]
        if sum(content.data_bytes for content in contents) > AGAIN_BYTES:
            return None
        read_at_ns = time.time_ns()
        whole = True
        for fd, content in zip(fds, contents, strict=True):
            content.pieces = list(pieces_of(fd, content.segments))
            whole = whole and sum(map(len, content.pieces)) == content.data_bytes
        racy = False
        for fd, content in zip(fds, contents, strict=True):
            after = os.fstat(fd)
            whole = whole and not changed(content.status, after)
            racy = racy or is_racy(after, read_at_ns)
        pieces = [content.pieces for content in contents]
        if whole and (not racy or pieces == previous):
            return contents, False
        previous = pieces if whole else []
    return contents, True


def changed(before: os.stat_result, after: os.stat_result) -> bool:
    """Whether the file was written, or its mode or names touched, between the two."""
    return (
        before.st_mtime_ns != after.st_mtime_ns
        or before.st_size != after.st_size
        or before.st_ctime_ns != after.st_ctime_ns
    )


def is_racy(status: os.stat_result, read_at_ns: int) -> bool:
    """Whether a write after `read_at_ns` could have left the times as they are."""
    return status.st_ctime_ns > read_at_ns - RACY_NS


def has_holes(status: os.stat_result) -> bool:
    """Whether the file may be sparse."""
    size = status.st_size
    return status.st_blocks * BLOCK < size and size >= _HOLES_FROM_BYTES


def segments_of(fd: int, status: os.stat_result) -> Segments:
    """Where the file has data: `[(0, size)]` unless it has holes."""
    size = status.st_size
    whole = [(0, size)]
    if not has_holes(status):
        return whole
    segments = []
    position = 0
    try:
        while position < size:
            start = os.lseek(fd, position, os.SEEK_DATA)
            position = min(os.lseek(fd, start, os.SEEK_HOLE), size)
            segments.append((start, position - start))
    except OSError as error:
        if error.errno != errno.ENXIO:  # ENXIO: only a hole is left
            return whole
    if segments == whole:
        return whole
    if not segments or sum(segments[-1]) != size:
        segments.append((size, 0))
    return segments


def pieces_of(fd: int, segments: Segments) -> Iterator[bytes]:
    """The bytes of the segments, in pieces of at most 1 MiB; ends early where the file does."""
    for start, length in segments:
        position = start
        end = start + length
        while position < end:
            piece = os.pread(fd, min(PIECE_BYTES, end - position), position)
            if not piece:
                return
            yield piece
            position += len(piece)


class SegmentReader:
    """Reads the bytes of the segments, one after another; `short` once the file has fewer."""

    def __init__(self, fd: int, segments: Segments) -> None:
        self.short = False
        self._file = io.FileIO(fd, closefd=False)
        self._left = [(start, start + length) for start, length in reversed(segments) if length]

    def fill(self, buffer: memoryview) -> int:
        """Put as much into the buffer as there is room for, and tell how much that is.

        What a file that shrank does not have is left as it is in the buffer.
        """
        filled = 0
        while self._left and filled < len(buffer):
            position, end = self._left.pop()
            room = buffer[filled : filled + end - position]
            count = 0 if self.short else self._read(room, position)
            if not count:
                self.short = True
                count = len(room)
            filled += count
            if position + count < end:
                self._left.append((position + count, end))
        return filled

    def _read(self, room: memoryview, position: int) -> int:
        self._file.seek(position)
        return self._file.readinto(room) or 0
