"""Entries of folders, by descriptor: copied, put in another's place in one step, deleted.

Nothing here follows a link or knows a path: whoever calls has found the folders (paths.py).
Blocking: call it in a thread.
"""

import contextlib
import ctypes
import errno
import os
import shutil
import stat
from collections.abc import Callable
from functools import cache
from typing import Final, NamedTuple

from limpet.daemon.capabilities import has
from limpet.errors import InvalidInputError
from limpet.snapshots.faults import reach

MAX_DEPTH: Final = 250
COPY_BYTES: Final = 16 * 1024 * 1024
_NO_REPLACE: Final = 1
_EXCHANGE: Final = 2
_UNABLE: Final = frozenset({errno.ENOSYS, errno.EINVAL, errno.EPERM})
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Entry(NamedTuple):
    """A name in an open folder."""

    folder: int
    name: str

    def status(self) -> os.stat_result | None:
        """What is there, links not followed; None for nothing."""
        try:
            return os.stat(self.name, dir_fd=self.folder, follow_symlinks=False)
        except FileNotFoundError:
            return None


def same_entry(one: Entry, other: Entry) -> bool:
    """Whether both are the very same name."""
    return one.name == other.name and os.path.sameopenfile(one.folder, other.folder)


def place_entry(source: Entry, target: Entry, aside: Entry, *, overwrite: bool) -> bool:
    """Move `source` to `target`; False when something is there and `overwrite` is not said.

    A file takes a file's place in one step. Where a folder goes or comes they are exchanged, and
    what was there is moved `aside`, which the caller deletes.
    """
    there = target.status()
    if there is None:
        if _renameat2(source, target, _NO_REPLACE):
            return True
        there = target.status()
    if there is None:
        os.rename(source.name, target.name, src_dir_fd=source.folder, dst_dir_fd=target.folder)
        return True
    if not overwrite:
        return False
    here = source.status()
    folders = stat.S_ISDIR(there.st_mode) or (here is not None and stat.S_ISDIR(here.st_mode))
    if not folders:
        os.rename(source.name, target.name, src_dir_fd=source.folder, dst_dir_fd=target.folder)
        return True
    old = source
    if not _renameat2(source, target, _EXCHANGE):
        old = target
    if old is source:
        reach("move-exchanged")
    os.rename(old.name, aside.name, src_dir_fd=old.folder, dst_dir_fd=aside.folder)
    if old is target:
        reach("move-old-aside")
        os.rename(source.name, target.name, src_dir_fd=source.folder, dst_dir_fd=target.folder)
    return True


@cache
def _call() -> Callable[..., int] | None:
    try:
        return getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    except OSError:
        return None


def _renameat2(source: Entry, target: Entry, flags: int) -> bool:
    """Whether it was done; False where this kernel cannot, or the target is there already."""
    call = _call() if has("rename-exchange") else None
    if call is None:
        return False
    names = (os.fsencode(source.name), os.fsencode(target.name))
    if call(source.folder, names[0], target.folder, names[1], flags) == 0:
        return True
    error = ctypes.get_errno()
    if error in _UNABLE or (error == errno.EEXIST and flags == _NO_REPLACE):
        return False
    raise OSError(error, os.strerror(error), target.name)


def copy_entry(source: Entry, target: Entry, depth: int = 0) -> None:
    """Copy a file, a link or a folder with all below; sockets, FIFOs and devices are left out."""
    status = source.status()
    if status is None:  # it went away
        return
    if stat.S_ISLNK(status.st_mode):
        link = os.readlink(source.name, dir_fd=source.folder)
        os.symlink(link, target.name, dir_fd=target.folder)
    elif stat.S_ISREG(status.st_mode):
        _copy_file(source, target)
    elif stat.S_ISDIR(status.st_mode):
        if depth >= MAX_DEPTH:
            raise InvalidInputError(f"folders are nested deeper than {MAX_DEPTH}")
        _copy_folder(source, target, depth)


def _copy_file(source: Entry, target: Entry) -> None:
    # Not blocking: it may be a FIFO by now.
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    with contextlib.ExitStack() as held:
        reading = os.open(source.name, flags, dir_fd=source.folder)
        held.callback(os.close, reading)
        status = os.fstat(reading)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        writing = os.open(target.name, flags, 0o600, dir_fd=target.folder)
        held.callback(os.close, writing)
        while os.sendfile(writing, reading, None, COPY_BYTES):
            pass
        os.fchmod(writing, stat.S_IMODE(status.st_mode) & 0o777)
        os.utime(writing, ns=(status.st_atime_ns, status.st_mtime_ns))


def _copy_folder(source: Entry, target: Entry, depth: int) -> None:
    os.mkdir(target.name, 0o700, dir_fd=target.folder)
    with contextlib.ExitStack() as held:
        reading = os.open(source.name, _FOLDER, dir_fd=source.folder)
        held.callback(os.close, reading)
        writing = os.open(target.name, _FOLDER, dir_fd=target.folder)
        held.callback(os.close, writing)
        for name in os.listdir(reading):
            copy_entry(Entry(reading, name), Entry(writing, name), depth + 1)
        status = os.fstat(reading)
        os.fchmod(writing, stat.S_IMODE(status.st_mode) & 0o777)
        os.utime(writing, ns=(status.st_atime_ns, status.st_mtime_ns))


def delete_entry(folder: int, name: str) -> None:
    """Delete whatever it is, links never followed; nothing is fine."""
    try:
        os.unlink(name, dir_fd=folder)
    except FileNotFoundError:
        return
    except (IsADirectoryError, PermissionError):  # a folder, by Linux and by others
        shutil.rmtree(name, dir_fd=folder)
