"""How much room a file system has, and errors that say when it is not enough."""

import errno
import os
from pathlib import Path
from typing import Final

from limpet.errors import NotEnoughSpaceError

_RESERVE_BYTES: Final = 1 << 20
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})


def free_bytes(folder: Path) -> int:
    """What the caller may still write on the folder's file system, in bytes."""
    status = os.statvfs(folder)
    return status.f_bavail * status.f_frsize


def require_space(folder: Path, need_bytes: int, need_entries: int = 0) -> None:
    """Raise `NotEnoughSpaceError` unless that much fits on the folder's file system."""
    status = os.statvfs(folder)
    free = status.f_bavail * status.f_frsize
    if need_bytes + _RESERVE_BYTES > free:
        raise NotEnoughSpaceError(
            f"{need_bytes:,} bytes are needed beside the workspace, {free:,} are free.",
            hint="Delete what is not needed, or give the sandbox a larger disk.",
        )
    if status.f_files and need_entries > status.f_favail:
        raise NotEnoughSpaceError(
            f"{need_entries:,} files are needed, room is left for {status.f_favail:,}.",
            hint="Delete files that are not needed.",
        )


def is_full(error: OSError) -> bool:
    """Whether the error means that a disk or quota is full."""
    return error.errno in _FULL


def full_error(error: OSError) -> NotEnoughSpaceError:
    """The error to raise instead, for people."""
    return NotEnoughSpaceError(
        f"The disk is full: {error.strerror or error}.",
        hint="Delete what is not needed, or give the sandbox a larger disk.",
    )
