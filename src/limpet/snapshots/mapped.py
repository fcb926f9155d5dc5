"""Files that some process may be writing through memory: what no status tells.

The first write through a mapping sets a file's times; those that follow, until the page was
written back, set nothing. So a file that is mapped while it is read is read again at the next save.
"""

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

FRESH_S: Final = 0.5
_PIECE_BYTES: Final = 64 << 10


class MappedFiles:
    """The inodes of all files that a process which we can see maps to be written and shared."""

    def __init__(self, proc: Path = Path("/proc")) -> None:
        self._proc = proc
        self._found: frozenset[int] = frozenset()
        self._asked_at_s = -FRESH_S

    def inodes(self) -> frozenset[int]:
        """Their numbers, whatever file system they lie on; at most half a second old."""
        now_s = time.monotonic()
        if now_s - self._asked_at_s >= FRESH_S:
            self._found = frozenset(_inodes(self._proc))
            self._asked_at_s = now_s
        return self._found


def _inodes(proc: Path) -> set[int]:
    """Many processes may run, and this is asked often: so no path is put together here."""
    found: set[int] = set()
    try:
        proc_fd = os.open(proc, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return found
    try:
        for process in os.listdir(proc_fd):
            if process.isdigit():
                maps = _read(process + "/maps", proc_fd)
                if b"w-s" in maps or b"wxs" in maps:
                    found.update(_written_through(maps))
    except OSError:
        return found
    finally:
        os.close(proc_fd)
    found.discard(0)
    return found


def _written_through(maps: bytes) -> Iterator[int]:
    for line in maps.splitlines():
        fields = line.split(None, 5)
        if len(fields) > 4 and fields[1][1:2] == b"w" and fields[1][3:4] == b"s":
            yield int(fields[4])


def _read(name: str, folder_fd: int) -> bytes:
    """A file of a process; nothing when it is not ours, or has ended."""
    pieces = []
    try:
        fd = os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=folder_fd)
        try:
            while piece := os.read(fd, _PIECE_BYTES):
                pieces.append(piece)
        finally:
            os.close(fd)
    except OSError:
        return b""
    return b"".join(pieces)
