"""The clock that a file system stamps its files with: what tells whether a status may still lie.

A file that was written before an instant of that clock and is read after it was read whole; one
that is stamped with the instant itself may be written again and look as before. The clock is the
file system's own, however coarse it is and whatever its machine thinks the time is.
"""

import contextlib
import os
import time
from pathlib import Path
from typing import Final, Self

SETTLED_NS: Final = 1_000_000_000
"""What was written this long before it was read is read for good: a call that writes sets the times
first and may take a while."""
_WAIT_S: Final = 0.1
_BLIND_NS: Final = 2_000_000_000
"""Where no clock can be asked: coarser than this no file system stamps its files."""


class FileClock:
    """Instants of the clock of the file system that a folder lies on. Close it; any thread may ask.

    `spare` is a folder for a short-lived file, used where the file system makes none without name
    and only when it lies on the same one.
    """

    def __init__(self, folder_fd: int, spare: Path | None = None) -> None:
        self._fd = _probe(folder_fd, spare)

    def now_ns(self) -> int:
        """No write that is yet to come is stamped earlier."""
        # A disk that is full or fails says no more than that there is no clock.
        with contextlib.suppress(OSError):
            if self._fd >= 0:
                os.fchmod(self._fd, 0o600)
                return os.fstat(self._fd).st_ctime_ns
        return time.time_ns() - _BLIND_NS

    def wait_until_after(self, stamp_ns: int) -> int:
        """An instant later than the stamp, or what it is after 100 ms: a stamp may be wrong."""
        deadline_s = time.monotonic() + _WAIT_S
        while (now_ns := self.now_ns()) <= stamp_ns and time.monotonic() < deadline_s:
            time.sleep(0.001)
        return now_ns

    def close(self) -> None:
        """Let go of what was used to ask."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _probe(folder_fd: int, spare: Path | None) -> int:
    """An open file that has no name any more; -1 when none can be had."""
    nameless = getattr(os, "O_TMPFILE", 0)
    if nameless:
        with contextlib.suppress(OSError):
            return os.open(".", nameless | os.O_RDWR | os.O_CLOEXEC, 0o600, dir_fd=folder_fd)
    if spare is None:
        return -1
    path = spare / f".clock-{os.getpid()}-{time.monotonic_ns()}"
    with contextlib.suppress(OSError):
        if spare.stat().st_dev != os.fstat(folder_fd).st_dev:
            return -1
        fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600)
        path.unlink()
        return fd
    return -1
