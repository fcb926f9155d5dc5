"""The stat walk before a save: every folder's listing, and which folders are as they were.

Nothing is read here but folders. An unchanged folder costs one listing and one comparison; what is
kept in memory grows with what changed.
"""

import os
import stat
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from limpet.snapshots.native import EntryStat, pack_records, parse_records, scan_folder
from limpet.snapshots.native.records import within
from limpet.snapshots.remarks import Remarks
from limpet.snapshots.statcache import CachedFolder, StatCache
from limpet.snapshots.tar_format import MAX_DEPTH, MAX_PATH_BYTES
from limpet.snapshots.tree import OPEN_FOLDER

_KEPT_OPEN: Final = 64


@dataclass(slots=True)
class SurveyedFolder:
    """One folder of a workspace. `records` is None when it is exactly as `cached` says."""

    path: bytes
    name: bytes
    parent: int
    """The place of its parent in the survey; -1 for the root."""
    dev: int
    ino: int
    mode: int
    mtime_ns: int
    records: bytes | None
    cached: CachedFolder | None
    files: int
    """How many files lie right in it, and their sizes together."""
    size_bytes: int
    late: bool
    """Whether it is to be read after all that is not: what lies in a git repository's `objects`,
    since refs and index must name nothing that was not there yet when the objects were read."""


@dataclass(slots=True)
class Survey:
    """All folders: each before those below it, those of one folder by name."""

    folders: list[SurveyedFolder] = field(default_factory=list)
    changed: bool = False
    """Whether anything at all is not as the cache says, the root's own looks aside."""


def survey(
    workspace_fd: int,
    exclude_top: Collection[bytes],
    cache: StatCache | None,
    remarks: Remarks,
) -> Survey:
    """Walk the workspace. What cannot be listed becomes a remark and is left out.

    Raises `OSError` when the workspace itself cannot be read.
    """
    return _Walk(workspace_fd, frozenset(exclude_top), cache, remarks).run()


class _Walk:
    def __init__(
        self,
        root_fd: int,
        exclude_top: frozenset[bytes],
        cache: StatCache | None,
        remarks: Remarks,
    ) -> None:
        self.root_fd = root_fd
        self.exclude_top = exclude_top
        self.cache = cache
        self.remarks = remarks
        self.found = Survey()
        self.device = 0
        self.seen = 0
        self.repositories: set[int] = set()

    def run(self) -> Survey:
        status = os.fstat(self.root_fd)
        self.device = status.st_dev
        fd = os.open(".", OPEN_FOLDER, dir_fd=self.root_fd)
        chain = [_Open(fd, 0, self._list(fd, b"", b"", -1, status))]
        try:
            while chain:
                if not self._descend(chain):
                    self._leave(chain)
        finally:
            for level in chain:
                if level.fd >= 0:
                    os.close(level.fd)
        if self.cache is not None and self.seen != len(self.cache):
            self.found.changed = True
        return self.found

    def _descend(self, chain: "list[_Open]") -> bool:
        """Go down into the next sub-folder; False when there is none left."""
        level = chain[-1]
        if not level.todo:
            return False
        name = level.todo.pop()
        parent = self.found.folders[level.folder]
        path = parent.path + b"/" + name if parent.path else name
        depth = len(chain)
        if depth > MAX_DEPTH or len(path) > MAX_PATH_BYTES:
            self.remarks.unreadable(path, "lies too deep")
            self.found.changed = True
            return True
        try:
            fd = os.open(name, OPEN_FOLDER, dir_fd=level.fd)
        except OSError as error:
            self._unreadable(path, error)
            return True
        try:
            status = os.fstat(fd)
            if status.st_dev != self.device:
                self.remarks.unreadable(path, "another file system is mounted here")
                self.found.changed = True
                os.close(fd)
                return True
            todo = self._list(fd, path, name, level.folder, status)
        except OSError as error:
            os.close(fd)
            self._unreadable(path, error)
            return True
        chain.append(_Open(fd, len(self.found.folders) - 1, todo))
        if len(chain) > _KEPT_OPEN and chain[-_KEPT_OPEN].fd >= 0:
            parked = chain[-_KEPT_OPEN]
            os.close(parked.fd)
            parked.fd = -1
        return True

    def _leave(self, chain: "list[_Open]") -> None:
        gone = chain.pop()
        if chain and chain[-1].fd < 0:
            level = chain[-1]
            folder = self.found.folders[level.folder]
            fd = -1
            try:
                fd = os.open("..", OPEN_FOLDER, dir_fd=gone.fd)
                status = os.fstat(fd)
                moved = (status.st_dev, status.st_ino) != (folder.dev, folder.ino)
            except OSError:
                moved = True
            if moved:
                if fd >= 0:
                    os.close(fd)
                try:
                    fd = open_below(self.root_fd, folder.path)
                except OSError as error:
                    for name in level.todo:
                        self._unreadable(folder.path + b"/" + name, error)
                    level.todo.clear()
                    fd = os.open(".", OPEN_FOLDER, dir_fd=self.root_fd)
            level.fd = fd
        os.close(gone.fd)

    def _list(
        self, fd: int, path: bytes, name: bytes, parent: int, status: os.stat_result
    ) -> list[bytes]:
        """Note a folder; gives its sub-folders, the last to be walked first."""
        listing = scan_folder(fd)
        records = listing.records
        if not path:
            records = _without(records, self.exclude_top)
        cached = self.cache.folder(path) if self.cache is not None else None
        same = cached is not None and cached.records == records and not listing.errors
        self.seen += cached is not None
        folder = SurveyedFolder(
            path,
            name,
            parent,
            status.st_dev,
            status.st_ino,
            status.st_mode,
            within(status.st_mtime_ns),
            None if same else records,
            cached,
            0,
            0,
            parent >= 0 and (self.found.folders[parent].late or self._is_objects(name, parent)),
        )
        self.found.folders.append(folder)
        for entry, error in listing.errors:
            where = path + b"/" + entry if path else entry
            self._unreadable(where, OSError(error, os.strerror(error)))
        if same:
            assert cached is not None
            self.found.changed |= cached.always_look
            folder.files, folder.size_bytes = cached.files, cached.size_bytes
            return self._below(cached.folders)
        self.found.changed = True
        entries = parse_records(records)
        sizes = [entry.size for entry in entries if stat.S_ISREG(entry.mode)]
        folder.files, folder.size_bytes = len(sizes), sum(sizes)
        return self._below(folders_of(entries))

    def _is_objects(self, name: bytes, parent: int) -> bool:
        return name == b"objects" and parent in self.repositories

    def _below(self, names: tuple[bytes, ...]) -> list[bytes]:
        """The sub-folders of the folder that was noted last, to be walked."""
        if b"objects" in names and b"refs" in names:
            self.repositories.add(len(self.found.folders) - 1)
        return list(names)

    def _unreadable(self, path: bytes, error: OSError) -> None:
        self.found.changed = True
        if isinstance(error, FileNotFoundError):
            self.remarks.count("vanished")
            return
        self.remarks.unreadable(path, error.strerror or str(error))


@dataclass(slots=True)
class _Open:
    fd: int
    """-1 while parked."""
    folder: int
    todo: list[bytes]


def folders_of(entries: list[EntryStat]) -> tuple[bytes, ...]:
    """The sub-folders by name, the last first: as a walk takes them from a stack."""
    return tuple(entry.name for entry in reversed(entries) if stat.S_ISDIR(entry.mode))


def _without(records: bytes, names: frozenset[bytes]) -> bytes:
    entries = parse_records(records)
    if all(entry.name not in names for entry in entries):
        return records
    return pack_records(entry for entry in entries if entry.name not in names)


def open_below(root_fd: int, path: bytes) -> int:
    """Open the folder at a relative path of any length, following no link."""
    fd = os.open(".", OPEN_FOLDER, dir_fd=root_fd)
    if not path:
        return fd
    try:
        if len(path) < 4000:
            # Every part but the last could be a link: the caller compares identities.
            deeper = os.open(path, OPEN_FOLDER, dir_fd=fd)
            os.close(fd)
            return deeper
        for part in path.split(b"/"):
            deeper = os.open(part, OPEN_FOLDER, dir_fd=fd)
            os.close(fd)
            fd = deeper
    except OSError:
        os.close(fd)
        raise
    return fd


def open_workspace(workspace: Path) -> int:
    """The workspace's folder, which may be a link itself."""
    return os.open(workspace, OPEN_FOLDER & ~os.O_NOFOLLOW)
