"""The daemon's own output, in the root's `state/logs/daemon.log`: bounded, and never a trap.

The sandbox can write in its root, so every step down from the root is by descriptor and follows no
link: else a link put there would let a sandbox have any file of the host truncated.
"""

import contextlib
import os
import stat
from pathlib import Path
from typing import Final, Self

from limpet.runners.deletion import open_folder

MAX_LOG_BYTES: Final = 2 * 1024 * 1024
KEPT_LOG_BYTES: Final = 256 * 1024
NAME: Final = "daemon.log"
_FILE: Final = os.O_RDWR | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class DaemonLog:
    """An open log file; close it when done (the daemon has its own descriptor)."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    @classmethod
    def create(cls, root: Path) -> Self:
        """A fresh log; the one before it is kept as `daemon.log.1`."""
        folder = _logs_folder(root)
        try:
            with contextlib.suppress(OSError):
                os.rename(NAME, f"{NAME}.1", src_dir_fd=folder, dst_dir_fd=folder)
            return cls(os.open(NAME, _FILE | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=folder))
        finally:
            os.close(folder)

    @classmethod
    def reopen(cls, root: Path) -> Self | None:
        """The log of a daemon that runs already; None when it is not there or no file."""
        try:
            folder = _logs_folder(root)
            try:
                descriptor = os.open(NAME, _FILE, dir_fd=folder)
            finally:
                os.close(folder)
        except OSError:
            return None
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            return None
        return cls(descriptor)

    def tail(self, limit_bytes: int = 4096) -> str:
        """The last part of the log, whole lines where there are several."""
        size = os.fstat(self.descriptor).st_size
        read = os.pread(self.descriptor, limit_bytes, max(0, size - limit_bytes))
        text = read.decode(errors="replace").strip()
        return text.partition("\n")[2] or text if size > limit_bytes else text

    def trim(self) -> None:
        """Cut a log that has grown over `MAX_LOG_BYTES` down to its last part.

        The daemon appends, so it goes on at the new end; lines that it writes in this very moment
        may be lost.
        """
        size = os.fstat(self.descriptor).st_size
        if size <= MAX_LOG_BYTES:
            return
        kept = os.pread(self.descriptor, KEPT_LOG_BYTES, size - KEPT_LOG_BYTES)
        os.ftruncate(self.descriptor, 0)
        os.write(self.descriptor, b"[the log was cut here]\n" + kept.partition(b"\n")[2])

    def close(self) -> None:
        """Let go of the file."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1


def _logs_folder(root: Path) -> int:
    here = open_folder(str(root), None)
    for name in ("state", "logs"):
        try:
            below = _own_folder(here, name)
        finally:
            os.close(here)
        here = below
    return here


def _own_folder(parent: int, name: str) -> int:
    """The real folder `name`; whatever else bears the name is deleted."""
    with contextlib.suppress(FileExistsError):
        os.mkdir(name, 0o700, dir_fd=parent)
    try:
        return open_folder(name, parent)
    except OSError:  # a link, or no folder
        os.unlink(name, dir_fd=parent)
        os.mkdir(name, 0o700, dir_fd=parent)
        return open_folder(name, parent)
