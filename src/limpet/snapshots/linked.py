"""Files with several names: which of them is the file, and which say that they are another's.

The first name that a walk of the tree meets is the file; that is found anew at each save, since a
folder that is renamed changes the path that a link names without touching the link.
"""

import stat
from dataclasses import dataclass, field

from limpet.snapshots.looks import FileRead, Look
from limpet.snapshots.native import EntryStat, parse_records
from limpet.snapshots.statcache import StatCache
from limpet.snapshots.survey import SurveyedFolder, walk_key

Key = tuple[int, int]
"""Device and inode."""
Order = tuple[bytes, bytes]
"""Sorts names as a walk meets them: of the folder, in the folder."""


@dataclass(slots=True, eq=False)
class Inode:
    """A file with several names. Those in `waiting` get what is read through another name."""

    names: list[tuple[Order, SurveyedFolder]] = field(default_factory=list)
    first: Order | None = None
    """The name that is the file."""
    known: tuple[SurveyedFolder, bytes] | None = None
    """A name under which the cache knows the content."""
    read: FileRead | None = None
    reading: bool = False
    waiting: list[tuple[Look, int]] = field(default_factory=list)


class Linked:
    """All files of a workspace with several names."""

    def __init__(self) -> None:
        self.inodes: dict[Key, Inode] = {}
        self._was_first: dict[Key, Order] = {}

    def meet(self, folder: SurveyedFolder, order: Order, entry: EntryStat) -> Inode:
        """Another name of a file, maybe its first."""
        key = entry.dev, entry.ino
        inode = self.inodes.get(key)
        if inode is None:
            inode = self.inodes[key] = Inode()
        inode.names.append((order, folder))
        if inode.first is None or order < inode.first:
            inode.first = order
        return inode

    def forget(self, key: Key, folder: SurveyedFolder, name: bytes) -> Inode:
        """A name turned out to be gone, or to be another file's."""
        inode = self.inodes[key]
        inode.names = [one for one in inode.names if one[1] is not folder or one[0][1] != name]
        inode.first = min((order for order, _ in inode.names), default=None)
        return inode

    def learn(self, cache: StatCache, same: dict[bytes, SurveyedFolder]) -> None:
        """What the cache tells of names; `same` are folders that look as it says."""
        was_first = self._was_first
        for path, row in cache.looked_at():
            folder = same.get(path)
            above = walk_key(path)
            for entry in parse_records(cache.at(row).records):
                if entry.nlink == 1 or stat.S_ISDIR(entry.mode):
                    continue
                key = entry.dev, entry.ino
                order = above, entry.name
                if key not in was_first or order < was_first[key]:
                    was_first[key] = order
                if folder is not None:
                    self._meet_known(folder, order, entry)

    def learn_late(self, cache: StatCache, folder: SurveyedFolder) -> None:
        """One more folder that looks as the cache says."""
        above = walk_key(folder.path)
        for entry in parse_records(cache.at(folder.row).records):
            if entry.nlink > 1 and not stat.S_ISDIR(entry.mode):
                self._meet_known(folder, (above, entry.name), entry)

    def _meet_known(self, folder: SurveyedFolder, order: Order, entry: EntryStat) -> None:
        inode = self.meet(folder, order, entry)
        if inode.known is None:
            inode.known = folder, entry.name

    def target(self, order: Order, entry: EntryStat) -> bytes | None:
        """The path that this name is a link to; None when it is the file itself."""
        inode = self.inodes.get((entry.dev, entry.ino))
        if inode is None or inode.first is None or inode.first >= order:
            return None
        above, name = inode.first
        return above.replace(b"\0", b"/") + b"/" + name if above else name

    def moved(self) -> set[int]:
        """The numbers of folders that hold a name of a file whose first name is another now."""
        found: set[int] = set()
        for key, inode in self.inodes.items():
            if inode.first != self._was_first.get(key):
                found.update(folder.number for _, folder in inode.names)
        return found
