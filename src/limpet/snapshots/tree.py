"""A folder tree by descriptors: walk it, delete it, ask whether it is empty or has changed.

Nothing here follows a symbolic link or crosses into another file system, paths may be deeper than
PATH_MAX, and only a bounded number of folders is open at any time.
"""

import contextlib
import errno
import os
import stat
import time
from bisect import bisect_left
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from limpet.snapshots.ignoring import IGNORE_FILE, LOGINS, Ignoring, Rules

OPEN_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
NOT_SAVED: Final = frozenset({"tmp"})
RESERVED: Final = ".limpet-root"
"""The top-level folder that holds our own state where it cannot lie beside the workspace."""
KEPT_OPEN: Final = 64
_SETTLE_S: Final = 0.1
_IGNORE_FILE: Final = os.fsdecode(IGNORE_FILE)

OnError = Callable[[bytes, OSError], None]
"""Told of a folder that could not be read: its path relative to the root, and why."""


@dataclass(slots=True)
class Folder:
    """One folder met by `walk`. Removing names from `folders`, or reordering them, steers it."""

    path: bytes
    """Relative to the root, without a slash at the end; empty for the root."""
    fd: int
    """Open only until the walk goes on."""
    status: os.stat_result
    entries: list["os.DirEntry[str]"]
    """Everything but folders, by name."""
    folders: list[str]
    """The sub-folders, by name."""

    def path_of(self, name: str) -> bytes:
        """The path of one of its entries."""
        return self.path + b"/" + os.fsencode(name) if self.path else os.fsencode(name)


@dataclass(slots=True)
class _Level:
    fd: int
    """-1 while parked."""
    identity: tuple[int, int]
    name: str
    path: bytes
    todo: list[str]
    rules: Rules | None = None


class _Descent:
    """The chain of folders from the root down to where a walk is, with few of them open."""

    def __init__(self, root_fd: int) -> None:
        self.root_fd = root_fd
        self.levels: list[_Level] = []

    def push(self, level: _Level) -> None:
        self.levels.append(level)
        if len(self.levels) > KEPT_OPEN:
            self._park(self.levels[-KEPT_OPEN - 1])

    def pop(self) -> _Level:
        """Leave the deepest folder; its parent is open again, or raises what hinders it.

        The level is returned open when it was; the caller closes it.
        """
        gone = self.levels.pop()
        if self.levels and self.levels[-1].fd < 0:
            try:
                self.levels[-1].fd = self._reopen(gone.fd)
            except OSError:
                self._park(gone)
                raise
        return gone

    def _reopen(self, child_fd: int) -> int:
        wanted = self.levels[-1]
        if child_fd >= 0:
            with contextlib.suppress(OSError):
                fd = os.open("..", OPEN_FOLDER, dir_fd=child_fd)
                if _identity(os.fstat(fd)) == wanted.identity:
                    return fd
                os.close(fd)
        fd = os.open(".", OPEN_FOLDER, dir_fd=self.root_fd)
        try:
            for level in self.levels[1:]:
                deeper = os.open(level.name, OPEN_FOLDER, dir_fd=fd)
                os.close(fd)
                fd = deeper
                if _identity(os.fstat(fd)) != level.identity:
                    raise OSError(errno.ESTALE, "the folder was moved while it was read")
        except OSError:
            os.close(fd)
            raise
        return fd

    @staticmethod
    def _park(level: _Level) -> None:
        if level.fd >= 0:
            os.close(level.fd)
            level.fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for level in self.levels:
            self._park(level)


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _name_of(entry: "os.DirEntry[str]") -> str:
    return entry.name


def _read_folder(
    path: bytes, fd: int, status: os.stat_result, leave_out: Collection[str]
) -> Folder:
    entries, folders = [], []
    with os.scandir(fd) as listing:
        for entry in listing:
            if entry.name in leave_out:
                continue
            if entry.is_dir(follow_symlinks=False):
                folders.append(entry.name)
            else:
                entries.append(entry)
    entries.sort(key=_name_of)
    folders.sort()
    return Folder(path, fd, status, entries, folders)


def walk(
    root: Path,
    *,
    on_error: OnError,
    exclude_top: Collection[str] = NOT_SAVED,
    ignoring: Ignoring | None = None,
) -> Iterator[Folder]:
    """Every folder of the tree, parents first, each with its entries; the top's `exclude_top` not.

    With `ignoring`, nor what the ignore files in the tree leave out.

    A folder that cannot be read, was moved meanwhile or lies on another file system goes to
    `on_error`. Raises `OSError` when the root itself cannot be read.
    """
    root_fd = os.open(root, OPEN_FOLDER & ~os.O_NOFOLLOW)
    try:
        with _Descent(root_fd) as descent:
            yield from _walk(descent, os.dup(root_fd), on_error, exclude_top, ignoring)
    finally:
        os.close(root_fd)


def _walk(
    descent: _Descent,
    top_fd: int,
    on_error: OnError,
    exclude_top: Collection[str],
    ignoring: Ignoring | None,
) -> Iterator[Folder]:
    status = os.fstat(top_fd)
    device = status.st_dev
    descent.push(_Level(top_fd, _identity(status), "", b"", []))
    top = _read_folder(b"", top_fd, status, exclude_top)
    descent.levels[-1].rules = _follow(ignoring, None, top)
    yield top
    descent.levels[-1].todo = top.folders[::-1]
    while descent.levels:
        level = descent.levels[-1]
        if not level.todo:
            try:
                gone = descent.pop()
            except OSError as error:
                for name in descent.levels[-1].todo:
                    on_error(_join(descent.levels[-1].path, name), error)
                descent.levels[-1].todo.clear()
            else:
                if gone.fd >= 0:
                    os.close(gone.fd)
            continue
        name = level.todo.pop()
        path = _join(level.path, name)
        try:
            fd = os.open(name, OPEN_FOLDER, dir_fd=level.fd)
        except OSError as error:
            on_error(path, error)
            continue
        try:
            status = os.fstat(fd)
            if status.st_dev != device:
                raise OSError(errno.EXDEV, "another file system is mounted here")
            folder = _read_folder(path, fd, status, ())
        except OSError as error:
            os.close(fd)
            on_error(path, error)
            continue
        rules = _follow(ignoring, level.rules, folder)
        descent.push(_Level(fd, _identity(status), name, path, [], rules))
        yield folder
        descent.levels[-1].todo = folder.folders[::-1]


def _follow(ignoring: Ignoring | None, above: Rules | None, folder: Folder) -> Rules | None:
    """Take away what the rules that are in force leave out; gives these rules."""
    if ignoring is None:
        return above
    if above is None and folder.path not in LOGINS and not _has(folder, _IGNORE_FILE):
        return None
    names = {os.fsencode(entry.name): False for entry in folder.entries}
    names |= dict.fromkeys(map(os.fsencode, folder.folders), True)
    rules, left_out = ignoring.follow(above, folder.path, folder.fd, names)
    if left_out:
        gone = {os.fsdecode(name) for name in left_out}
        for entry in folder.entries:
            if entry.name in gone:
                with contextlib.suppress(OSError):
                    ignoring.add_bytes(entry.stat(follow_symlinks=False).st_size)
        folder.entries = [entry for entry in folder.entries if entry.name not in gone]
        folder.folders = [name for name in folder.folders if name not in gone]
    return rules


def _has(folder: Folder, name: str) -> bool:
    at = bisect_left(folder.entries, name, key=_name_of)
    return at < len(folder.entries) and folder.entries[at].name == name


def _join(path: bytes, name: str) -> bytes:
    return path + b"/" + os.fsencode(name) if path else os.fsencode(name)


def is_empty(workspace: Path, *, exclude_top: Collection[str] = NOT_SAVED) -> bool:
    """Whether there is nothing to save: at most an empty `repo/` and `home/`, and `tmp`."""
    try:
        with os.scandir(workspace) as listing:
            for entry in listing:
                if entry.name in exclude_top or entry.name == RESERVED:
                    continue
                if entry.name not in {"repo", "home"} or not entry.is_dir(follow_symlinks=False):
                    return False
                with os.scandir(entry.path) as inner:
                    if next(inner, None) is not None:
                        return False
    except FileNotFoundError:
        return True
    return True


def changed_since(
    workspace: Path, ctime_ns: int, *, exclude_top: Collection[str] = NOT_SAVED
) -> bool:
    """Whether any entry was made, written, renamed or removed at `ctime_ns` or later.

    `tmp`, and what ignore files leave out, do not count.

    `ctime_ns` is a time of the file system's clock: take it with `settled_clock_ns`. What cannot be
    read counts as changed. The top folder counts by mtime: a swap alone changes its ctime.
    """
    leave_out = {*exclude_top, RESERVED}
    unread: list[bytes] = []
    folders = walk(
        workspace,
        on_error=lambda path, _: unread.append(path),
        exclude_top=leave_out,
        ignoring=Ignoring(),
    )
    with contextlib.closing(folders):  # type: ignore[type-var]
        for folder in folders:
            status = folder.status
            newest = status.st_ctime_ns if folder.path else status.st_mtime_ns
            if newest >= ctime_ns or unread:
                return True
            for entry in folder.entries:
                try:
                    if entry.stat(follow_symlinks=False).st_ctime_ns >= ctime_ns:
                        return True
                except OSError:
                    return True
    return bool(unread)


def settled_clock_ns(folder: Path) -> int:
    """A time of the file system's clock that lies after all that was done before this call.

    Kernels stamp files with a clock that ticks every few milliseconds: this waits (100 ms at most)
    until it has ticked, so that a later change is never stamped earlier than what is returned.
    Makes and removes one file in `folder`, which should lie on the workspace's file system.
    """
    probe = folder / f".clock-{os.getpid()}-{time.monotonic_ns()}"
    fd = os.open(probe, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        before = os.fstat(fd).st_ctime_ns
        deadline = time.monotonic() + _SETTLE_S
        while True:
            os.fchmod(fd, 0o600)
            now = os.fstat(fd).st_ctime_ns
            if now > before or time.monotonic() > deadline:
                return now
            time.sleep(0.001)
    finally:
        os.close(fd)
        probe.unlink()


def delete_tree(path: Path) -> None:
    """Delete `path` whatever it is: read-only folders, deep trees, what others change meanwhile.

    Who else deletes it does not disturb. What a writer puts in while it goes is deleted too, up to
    a bound: one that makes entries faster than they can go ends this with `OSError` (ENOTEMPTY).
    A link is removed, never followed; a file system mounted inside is left alone (`OSError`). A
    missing path is no error. Costs one call an entry; run it where it may take time.
    """
    patience = _Patience(_LATE_ENTRIES)
    while True:
        try:
            _delete_once(path, patience)
        except OSError as error:
            if error.errno not in _CHANGED:
                raise
            if not os.path.lexists(path):
                return
            patience.spend(path)
        else:
            return


_LATE_ENTRIES: Final = 100_000
_CHANGED: Final = frozenset({
    errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ESTALE
})  # fmt: skip
"""What an entry says that was deleted, moved or replaced after it was listed."""


@dataclass(slots=True)
class _Patience:
    """How many entries more may come up behind a deletion's back."""

    left: int

    def spend(self, path: Path | str) -> None:
        self.left -= 1
        if self.left < 0:
            raise OSError(errno.ENOTEMPTY, "something keeps writing into the tree", str(path))


def _delete_once(path: Path, patience: _Patience) -> None:
    if not stat.S_ISDIR(path.lstat().st_mode):
        path.unlink()
        return
    parent_fd = os.open(path.parent, OPEN_FOLDER & ~os.O_NOFOLLOW)
    try:
        with _Descent(parent_fd) as descent:
            fd = os.dup(parent_fd)
            descent.push(_Level(fd, _identity(os.fstat(fd)), "", b"", [path.name]))
            _delete_below(descent, patience)
    finally:
        os.close(parent_fd)


def _delete_below(descent: _Descent, patience: _Patience) -> None:
    """Delete the one folder that the first level names."""
    device: int | None = None
    while True:
        level = descent.levels[-1]
        if level.todo:
            name = level.todo.pop()
            try:
                fd = _open_to_empty(name, level.fd)
            except OSError as error:
                if error.errno not in _CHANGED or len(descent.levels) == 1:
                    raise
                continue  # what is there instead is seen when the folder around it is not empty
            status = os.fstat(fd)
            descent.push(_Level(fd, _identity(status), name, b"", []))
            device = status.st_dev if device is None else device
            if status.st_dev != device:
                raise OSError(errno.EXDEV, f"another file system is mounted at {name!r}")
            descent.levels[-1].todo = _clear(fd)
            continue
        if len(descent.levels) == 1:
            return
        emptied = descent.pop()
        try:
            emptied.todo = _remove(emptied, descent.levels[-1].fd, patience)
        finally:
            if not emptied.todo:
                os.close(emptied.fd)
        if emptied.todo:
            descent.push(emptied)


def _remove(emptied: _Level, parent_fd: int, patience: _Patience) -> list[str]:
    """Remove a folder, and first what has come up in it since it was emptied.

    Gives the folders among that, which have to go before it; none when it is gone.
    """
    while True:
        try:
            os.rmdir(emptied.name, dir_fd=parent_fd)
        except OSError as error:
            if error.errno in _CHANGED:
                return []
            if error.errno not in {errno.ENOTEMPTY, errno.EEXIST}:
                raise
        else:
            return []
        patience.spend(emptied.name)
        if folders := _clear(emptied.fd, patience):
            return folders


def _open_to_empty(name: str, dir_fd: int) -> int:
    """Open a folder so that its entries can be removed, giving ourselves the right first."""
    try:
        fd = os.open(name, OPEN_FOLDER, dir_fd=dir_fd)
    except PermissionError:
        handle = os.open(
            name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=dir_fd
        )
        try:
            Path(f"/proc/self/fd/{handle}").chmod(0o700)
        finally:
            os.close(handle)
        fd = os.open(name, OPEN_FOLDER, dir_fd=dir_fd)
    if os.fstat(fd).st_mode & 0o700 != 0o700:
        os.fchmod(fd, 0o700)
    return fd


def _clear(fd: int, patience: _Patience | None = None) -> list[str]:
    """Unlink all but the folders, whose names are returned; each entry is late with `patience`."""
    folders = []
    # A folder that another has deleted meanwhile says ENOENT when it is listed.
    with contextlib.suppress(FileNotFoundError), os.scandir(fd) as listing:
        for entry in listing:
            if patience is not None:
                patience.spend(entry.name)
            if entry.is_dir(follow_symlinks=False):
                folders.append(entry.name)
                continue
            try:
                os.unlink(entry.name, dir_fd=fd)
            except IsADirectoryError:
                folders.append(entry.name)
            except FileNotFoundError:
                continue
    return folders
