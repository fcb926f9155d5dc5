"""Files that some process may be writing through memory: what no status tells.

The first write through a mapping sets a file's times; those that follow, until the page was
written back, set nothing. So a file that is mapped while it is read is read again at the next save.
"""

import os
import time
from pathlib import Path
from typing import Final

FRESH_S: Final = 0.5


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
    found: set[int] = set()
    try:
        processes = [name for name in os.listdir(proc) if name.isdigit()]
    except OSError:
        return found
    for process in processes:
        try:
            maps = (proc / process / "maps").read_bytes()
        except OSError:  # it is not ours, or has ended
            continue
        if b"w-s" not in maps and b"wxs" not in maps:
            continue
        for line in maps.splitlines():
            fields = line.split(None, 5)
            if len(fields) > 4 and fields[1][1:2] == b"w" and fields[1][3:4] == b"s":
                found.add(int(fields[4]))
    found.discard(0)
    return found
