"""The stat walk before a save: every folder's listing, and which folders are as they were.

Nothing is read here but folders. One that is as a cache says is not even listed here
(limpet.snapshots.as_before); what is kept in memory grows with what changed. One thread walks the
rest: two of them would mostly wait for Python's lock.
"""

import os
import stat
from collections.abc import Callable
from dataclasses import dataclass, field
from operator import attrgetter
from pathlib import Path
from typing import Final

from limpet.snapshots.as_before import folders_as_before
from limpet.snapshots.attributes import drops_of
from limpet.snapshots.entry_contents import Drops
from limpet.snapshots.ignoring import IGNORE_FILE, LOGINS, Ignoring, Rules
from limpet.snapshots.native import pack_records, parse_records, scan_folder
from limpet.snapshots.native.records import kinds_of, sub_folders_of, within
from limpet.snapshots.remarks import Remarks
from limpet.snapshots.statcache import Seen, StatCache
from limpet.snapshots.tar_format import MAX_DEPTH, MAX_PATH_BYTES
from limpet.snapshots.tree import OPEN_FOLDER

_KEPT_OPEN: Final = 48
_ASK_EVERY: Final = 64
_NAME: Final = attrgetter("name")


@dataclass(slots=True, eq=False)
class SurveyedFolder:
    """One folder of a workspace. `records` is None when it is exactly as row `row` of the cache."""

    path: bytes
    name: bytes
    parent: "SurveyedFolder | None"
    records: bytes | None
    row: int
    """The number of its path in the cache, whatever lay there; -1 when it is new."""
    always_look: bool
    late: bool
    """Whether it is to be read after all that is not: what lies in a git repository's `objects`,
    since refs and index must name nothing that was not there yet when the objects were listed."""
    drops: Drops | None = None
    """What is not carried of it; None when it looks as the cache says."""
    size_bytes: int = 0
    """The sizes of all files right in it together, when it has changed."""
    lost: bool = False
    """Whether a sub-folder could not be listed and is left out."""
    below: list["SurveyedFolder"] = field(default_factory=list)
    number: int = 0
    """Its place in `Survey.folders`."""
    rules: Rules | None = None
    """The users' own rules that are in force in it."""
    left_out: bool = False
    """Whether these leave something in it out."""

    def path_of(self, name: bytes) -> bytes:
        """The path of one of its entries."""
        return self.path + b"/" + name if self.path else name


@dataclass(slots=True)
class Survey:
    """All folders: each before those below it, by name; those that are late after all others."""

    folders: list[SurveyedFolder]
    late_roots: list[SurveyedFolder]
    mode: int
    mtime_ns: int
    """The looks of the workspace's own folder."""
    changed: bool
    """Whether anything at all is not as the cache says, the root's own looks aside."""


@dataclass(slots=True)
class Looking:
    """What a walk goes by. `go_on` is called now and then, in any thread, and may end it."""

    root_fd: int
    cache: StatCache | None
    exclude_top: frozenset[bytes] = frozenset()
    go_on: Callable[[], None] = lambda: None


def survey(looking: Looking, remarks: Remarks) -> Survey:
    """Walk the workspace. What cannot be listed becomes a remark and is left out.

    Raises `OSError` when the workspace itself cannot be read.
    """
    status = os.fstat(looking.root_fd)
    cache = looking.cache
    known = b"" if cache is None else folders_as_before(cache, looking.root_fd, looking.go_on)
    walk = _Walk(looking, status.st_dev, known)
    top = walk.from_top()
    walk.the_late()
    walk.tell(remarks)
    folders = _all_of(top, walk.late_roots)
    changed = walk.changed or cache is None or len(folders) != len(cache)
    return Survey(folders, walk.late_roots, status.st_mode, within(status.st_mtime_ns), changed)


def survey_late(looking: Looking, found: Survey, remarks: Remarks) -> None:
    """List anew what is late, since what comes before it has been read by now."""
    walk = _Walk(looking, os.fstat(looking.root_fd).st_dev)
    for root in found.late_roots:
        assert root.parent is not None
        root.parent.below.remove(root)
        walk.postponed.append((root.parent, root.name))
    walk.the_late()
    walk.tell(remarks)
    found.late_roots = walk.late_roots
    found.folders = _all_of(found.folders[0], walk.late_roots)


def _all_of(top: SurveyedFolder, late_roots: list[SurveyedFolder]) -> list[SurveyedFolder]:
    found: list[SurveyedFolder] = []
    late_roots.sort(key=lambda folder: walk_key(folder.path))
    for start in (top, *late_roots):
        todo = [start]
        while todo:
            folder = todo.pop()
            folder.number = len(found)
            found.append(folder)
            below = folder.below
            if len(below) > 1:
                below.sort(key=_NAME, reverse=True)
            todo += [child for child in below if child.late == folder.late]
    return found


@dataclass(slots=True)
class _Open:
    """A folder on the way down, and which of those in it are still to be walked."""

    fd: int
    """-1 while parked, and for a folder that nothing was asked of yet."""
    folder: SurveyedFolder
    todo: list[bytes]
    depth: int
    identity: tuple[int, int] | None = None
    """Known while parked."""

    def close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


class _Walk:
    def __init__(self, looking: Looking, device: int, as_before: bytes = b"") -> None:
        self.looking = looking
        self.device = device
        self.changed = self.late = False
        self.late_roots: list[SurveyedFolder] = []
        self.postponed: list[tuple[SurveyedFolder, bytes]] = []
        self.failed: list[tuple[bytes, OSError | str]] = []
        self.ignoring = Ignoring()
        self.count = 0
        self.as_before = as_before

    def from_top(self) -> SurveyedFolder:
        fd = os.open(".", OPEN_FOLDER, dir_fd=self.looking.root_fd)
        try:
            top, todo = self._list(fd, b"", b"", None, late=False)
            self._postpone(top, todo)
        except BaseException:
            os.close(fd)
            raise
        self._walk(_Open(fd, top, todo, 0))
        return top

    def the_late(self) -> None:
        self.late = True
        for parent, name in self.postponed:
            try:
                fd = open_below(self.looking.root_fd, parent.path)
            except OSError as error:
                self._lose(parent, name, error)
                continue
            depth = len(parent.path.split(b"/")) if parent.path else 0
            self._walk(_Open(fd, parent, [name], depth))

    def tell(self, remarks: Remarks) -> None:
        """Make remarks of what could not be listed, and of what rules left out."""
        self.ignoring.tell(remarks)
        for path, why in sorted(self.failed, key=lambda one: one[0]):
            if isinstance(why, FileNotFoundError):
                remarks.count("vanished")
            else:
                text = why if isinstance(why, str) else why.strerror or str(why)
                remarks.unreadable(path, text)

    def _walk(self, start: _Open) -> None:
        chain = [start]
        try:
            while chain:
                if chain[-1].todo:
                    self._descend(chain)
                else:
                    self._leave(chain)
        finally:
            for level in chain:
                level.close()

    def _descend(self, chain: list[_Open]) -> None:
        """Go down into the next sub-folder."""
        level = chain[-1]
        name = level.todo.pop()
        parent = level.folder
        path = parent.path + b"/" + name if parent.path else name
        if level.depth >= MAX_DEPTH or len(path) > MAX_PATH_BYTES:
            self._lose(parent, name, "lies too deep")
            return
        self.count += 1
        if not self.count % _ASK_EVERY:
            self.looking.go_on()
        seen = self._as_before(path, parent)
        if seen is not None:
            folder = SurveyedFolder(path, name, parent, None, seen.row, seen.always_look, self.late)
            self._go_below(chain, -1, folder, list(seen.folders))
            return
        fd = -1
        try:
            if level.fd < 0:
                level.fd = open_below(self.looking.root_fd, parent.path)
            fd = os.open(name, OPEN_FOLDER, dir_fd=level.fd)
            folder, todo = self._list(fd, path, name, parent, late=self.late)
        except OSError as error:
            self._lose(parent, name, error)
            if fd >= 0:
                os.close(fd)
            return
        except BaseException:
            if fd >= 0:
                os.close(fd)
            raise
        self._go_below(chain, fd, folder, todo)

    def _as_before(self, path: bytes, parent: SurveyedFolder) -> Seen | None:
        """What the cache says of a folder that need not be listed."""
        cache = self.looking.cache
        if not self.as_before or cache is None or parent.records is not None:
            return None
        row = cache.row(path)
        return cache.seen_at(row) if row >= 0 and self.as_before[row] else None

    def _go_below(
        self, chain: list[_Open], fd: int, folder: SurveyedFolder, todo: list[bytes]
    ) -> None:
        """Take a folder in; its sub-folders `todo` come next, the last one first.

        `fd` is taken over.
        """
        parent = folder.parent
        assert parent is not None
        parent.below.append(folder)
        if self.late and not parent.late:
            self.late_roots.append(folder)
        self._postpone(folder, todo)
        here = _Open(fd, folder, todo, chain[-1].depth + 1)
        if not todo:
            here.close()
            return
        chain.append(here)
        if len(chain) > _KEPT_OPEN and chain[-_KEPT_OPEN].fd >= 0:
            parked = chain[-_KEPT_OPEN]
            status = os.fstat(parked.fd)
            parked.identity = status.st_dev, status.st_ino
            parked.close()

    def _leave(self, chain: list[_Open]) -> None:
        gone = chain.pop()
        try:
            if chain and chain[-1].identity is not None and chain[-1].todo:
                self._open_again(chain[-1], gone.fd)
        finally:
            gone.close()

    def _open_again(self, level: _Open, child_fd: int) -> None:
        for where, path in ((child_fd, b".."), (self.looking.root_fd, level.folder.path)):
            if where < 0:
                continue
            try:
                fd = os.open(path, OPEN_FOLDER, dir_fd=where) if path == b".." else -1
                fd = open_below(where, path) if fd < 0 else fd
            except OSError:
                continue
            status = os.fstat(fd)
            if (status.st_dev, status.st_ino) == level.identity:
                level.fd, level.identity = fd, None
                return
            os.close(fd)
        for name in level.todo:
            self._lose(level.folder, name, "the folder was moved while it was read")
        level.todo.clear()

    def _postpone(self, folder: SurveyedFolder, todo: list[bytes]) -> None:
        """Of a git repository what is named is walked after what names it."""
        if len(todo) > 1 and not self.late and b"objects" in todo and b"refs" in todo:
            todo.remove(b"objects")
            self.postponed.append((folder, b"objects"))

    def _list(
        self, fd: int, path: bytes, name: bytes, parent: SurveyedFolder | None, *, late: bool
    ) -> tuple[SurveyedFolder, list[bytes]]:
        """List a folder; gives its sub-folders too, the last to be walked first."""
        looking = self.looking
        cache = looking.cache
        records, errors = scan_folder(fd)
        if not path and looking.exclude_top:
            records = _without(records, looking.exclude_top)
        rules = parent.rules if parent is not None else None
        left_out = False
        if (rules is not None or IGNORE_FILE in records or path in LOGINS) and not late:
            rules, kept = self._follow(rules, path, fd, records)
            records, left_out = kept, kept is not records
        seen = cache.seen(path, records) if cache is not None and not errors else None
        if seen is not None:
            names = list(seen.folders)
            folder = SurveyedFolder(path, name, parent, None, seen.row, seen.always_look, late)
        else:
            if os.fstat(fd).st_dev != self.device:
                raise OSError(0, "another file system is mounted here")
            self.changed = True
            for entry, error in errors:
                self._fail(
                    path + b"/" + entry if path else entry, OSError(error, os.strerror(error))
                )
            names, size_bytes = sub_folders_of(records)
            row = cache.row(path) if cache is not None else -1
            folder = SurveyedFolder(path, name, parent, records, row, False, late)
            folder.size_bytes = size_bytes
        folder.rules, folder.left_out = rules, left_out
        if parent is not None and parent.records is not None:
            folder.drops = drops_of(fd)
        return folder, names

    def _follow(
        self, above: Rules | None, path: bytes, fd: int, records: bytes
    ) -> tuple[Rules | None, bytes]:
        """The rules in force in a folder, and its listing without what they leave out."""
        rules, left_out = self.ignoring.follow(above, path, fd, kinds_of(records))
        if not left_out:
            return rules, records
        kept = []
        for entry in parse_records(records):
            if entry.name not in left_out:
                kept.append(entry)
            elif not stat.S_ISDIR(entry.mode):
                self.ignoring.add_bytes(entry.size)
        return rules, pack_records(kept)

    def _lose(self, parent: SurveyedFolder, name: bytes, why: OSError | str) -> None:
        parent.lost = True
        self._fail(parent.path_of(name), why)

    def _fail(self, path: bytes, why: OSError | str) -> None:
        self.changed = True
        self.failed.append((path, why))


def walk_key(path: bytes) -> bytes:
    """Sorts the paths of folders as a walk meets them."""
    return path.replace(b"/", b"\0")


def _without(records: bytes, names: frozenset[bytes]) -> bytes:
    entries = parse_records(records)
    if all(entry.name not in names for entry in entries):
        return records
    return pack_records(entry for entry in entries if entry.name not in names)


def open_below(root_fd: int, path: bytes) -> int:
    """Open the folder at a relative path of any length, following no link on the way."""
    fd = os.open(".", OPEN_FOLDER, dir_fd=root_fd)
    try:
        for part in path.split(b"/") if path else ():
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
