"""Calls of the kernel that Python has no name for, each with what to do where it is missing.

`LIMPET_WITHOUT` (names with commas between: `rename-exchange`, `syncfs`, `mount-id`, `boot-id`,
`native`) forces the way around on a kernel that has the call: how the fallbacks are tested.
"""

import contextlib
import ctypes
import errno
import os
from functools import cache
from pathlib import Path
from typing import Final

_AT_FDCWD: Final = -100
_RENAME_EXCHANGE: Final = 2
_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
_MISSING: Final = frozenset({errno.ENOSYS, errno.EINVAL, errno.EPERM})


def _allowed(name: str) -> bool:
    return name not in os.environ.get("LIMPET_WITHOUT", "").split(",")


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def exchange(one: Path, other: Path) -> bool:
    """Swap two names in one step; False when this kernel or file system cannot.

    Raises `OSError` for anything else, such as EXDEV (a folder of a lower layer) or EBUSY.
    """
    call = getattr(_libc(), "renameat2", None) if _allowed("rename-exchange") else None
    if call is None:
        return False
    arguments = (_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE)
    if call(*arguments) == 0:
        return True
    error = ctypes.get_errno()
    if error in _MISSING:
        return False
    raise OSError(error, os.strerror(error), str(one), None, str(other))


def sync_file_system(folder: Path) -> None:
    """All that was written to the folder's file system is on its disk when this returns."""
    call = getattr(_libc(), "syncfs", None) if _allowed("syncfs") else None
    if call is None:
        os.sync()
        return
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if call(fd) != 0:
            error = ctypes.get_errno()
            raise OSError(error, os.strerror(error), str(folder))
    finally:
        os.close(fd)


def sync_folder(folder: Path) -> None:
    """The folder's own entries (names made, moved, removed) are on disk when this returns."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def mount_of(folder: Path) -> tuple[int, int]:
    """What tells the folder's mount from others: (device, mount id, or 0 where it is not told).

    Two binds of one file system share the device; between them a rename fails all the same.
    """
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        device = os.fstat(fd).st_dev
        if _allowed("mount-id"):
            with contextlib.suppress(OSError):
                for line in Path(f"/proc/self/fdinfo/{fd}").read_text().splitlines():
                    if line.startswith("mnt_id:"):
                        return device, int(line.split()[1])
        return device, 0
    finally:
        os.close(fd)


def boot_id() -> bytes | None:
    """What tells one run of the machine from the next (proc(5)); None where nothing does."""
    if not _allowed("boot-id"):
        return None
    try:
        return _BOOT_ID.read_bytes().strip() or None
    except OSError:
        return None
