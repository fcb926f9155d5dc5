"""inotify(7) over a tree: one watch a folder, new folders followed as they come. Linux only."""

import asyncio
import ctypes
import errno
import os
import struct
from collections.abc import Callable
from pathlib import Path

READ_BYTES = 64 * 1024
OnChange = Callable[[str], None]

_IN_MODIFY, _IN_ATTRIB, _IN_CLOSE_WRITE = 0x2, 0x4, 0x8
_IN_MOVED_FROM, _IN_MOVED_TO, _IN_CREATE, _IN_DELETE = 0x40, 0x80, 0x100, 0x200
_IN_OVERFLOW, _IN_IGNORED = 0x4000, 0x8000
_IN_ONLYDIR, _IN_DONT_FOLLOW, _IN_EXCL_UNLINK = 0x1000000, 0x2000000, 0x4000000
_IN_ISDIR = 0x40000000
_INTEREST = (
    _IN_MODIFY | _IN_ATTRIB | _IN_CLOSE_WRITE | _IN_MOVED_FROM | _IN_MOVED_TO | _IN_CREATE
    | _IN_DELETE | _IN_ONLYDIR | _IN_DONT_FOLLOW | _IN_EXCL_UNLINK
)  # fmt: skip
_EVENT = struct.Struct("iIII")


class Inotify:
    """An inotify descriptor and what its watches stand for. Made in a thread, used on the loop."""

    def __init__(self, root: Path, on_change: OnChange, is_watched: Callable[[str], bool]) -> None:
        self.incomplete = ""
        self._root = root
        self._on_change = on_change
        self._is_watched = is_watched
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._fd: int = self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._fd < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        self._folders: dict[int, str] = {}
        self._add_tree("")

    def listen(self) -> None:
        asyncio.get_running_loop().add_reader(self._fd, self._read)

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._fd)
        os.close(self._fd)

    def _add_tree(self, top: str, found: OnChange | None = None) -> None:
        todo = [top]
        while todo:
            folder = todo.pop()
            if not self._add(folder):
                continue
            try:
                with os.scandir(self._root / folder) as entries:
                    for entry in entries:
                        path = f"{folder}/{entry.name}" if folder else entry.name
                        if entry.is_dir(follow_symlinks=False):
                            if self._is_watched(path):
                                todo.append(path)
                        elif found is not None:
                            found(path)
            except OSError:  # gone meanwhile, or not ours to read
                continue

    def _add(self, folder: str) -> bool:
        path = os.fsencode(self._root / folder)
        wd: int = self._libc.inotify_add_watch(self._fd, path, _INTEREST)
        if wd < 0:
            number = ctypes.get_errno()
            if number == errno.ENOSPC:
                self.incomplete = "the limit fs.inotify.max_user_watches is reached"
            return False
        self._folders[wd] = folder
        return True

    def read_all(self) -> None:
        """Tell of every change that the kernel has noted by now."""
        while self._read():
            pass

    def _read(self) -> bool:
        """Tell of some; False when there was none."""
        try:
            data = os.read(self._fd, READ_BYTES)
        except BlockingIOError:
            return False
        offset = 0
        while offset < len(data):
            wd, mask, _, length = _EVENT.unpack_from(data, offset)
            offset += _EVENT.size
            name = os.fsdecode(data[offset : offset + length].rstrip(b"\0"))
            offset += length
            self._one(wd, mask, name)
        return True

    def _one(self, wd: int, mask: int, name: str) -> None:
        if mask & _IN_OVERFLOW:
            self._add_tree("")
            self._on_change("repo/.")
            return
        if mask & _IN_IGNORED:
            self._folders.pop(wd, None)
            return
        folder = self._folders.get(wd)
        if folder is None or not name:
            return
        path = f"{folder}/{name}" if folder else name
        if mask & _IN_ISDIR:
            if mask & (_IN_CREATE | _IN_MOVED_TO) and self._is_watched(path):
                self._add_tree(path, self._on_change)
            elif mask & _IN_ATTRIB:
                return
        elif not mask & (_IN_DELETE | _IN_MOVED_FROM) and self._is_nameless(path, name):
            return
        self._on_change(path)

    def _is_nameless(self, path: str, name: str) -> bool:
        """Whether a file never had a name (O_TMPFILE): it is told as `#` and its inode.

        A save opens one in the workspace, and would count as work.
        """
        return name[:1] == "#" and name[1:].isdigit() and not os.path.lexists(self._root / path)
