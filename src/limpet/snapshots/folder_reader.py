"""Looks into folders that changed: what of them is read, and how; what is said of what is not."""

import os
import stat
from collections.abc import Generator, Iterable, Sequence
from typing import Final, Self

from limpet.snapshots.blobs import MAX_BLOB_BYTES
from limpet.snapshots.careful import CarefulReader, Wanted, entry_of
from limpet.snapshots.entry_contents import LinkTarget
from limpet.snapshots.file_clock import FileClock
from limpet.snapshots.folder_chain import FolderChain
from limpet.snapshots.linked import Inode, Linked
from limpet.snapshots.looks import NO_DROPS, FileRead, Look, identity, look_into, read_together
from limpet.snapshots.mapped import MappedFiles
from limpet.snapshots.native import EntryStat, parse_records
from limpet.snapshots.outgoing import Outgoing
from limpet.snapshots.plain_folders import PlainFolder, plain_folder
from limpet.snapshots.reading import READS
from limpet.snapshots.remarks import Remarks
from limpet.snapshots.small_files import Outcome, SmallFiles
from limpet.snapshots.statcache import CachedFolder, StatCache
from limpet.snapshots.survey import SurveyedFolder, walk_key

_SPECIAL: Final = {
    stat.S_IFSOCK: "socket", stat.S_IFIFO: "fifo", stat.S_IFCHR: "device", stat.S_IFBLK: "device",
}  # fmt: skip
_CARRIED: Final = frozenset({stat.S_IFREG, stat.S_IFLNK})
_HOLES_FROM_BYTES: Final = 4096
_BLOCK: Final = 512
Steps = Generator[None, None, None]
"""Work that stops now and then so that what is ready can be sent."""


class FolderReader:
    """Give it folders one after another, then `finish`; `packed` has what was found. Close it."""

    def __init__(
        self,
        root_fd: int,
        cache: StatCache | None,
        linked: Linked,
        outgoing: Outgoing,
        remarks: Remarks,
        clock: FileClock,
        mapped: MappedFiles,
    ) -> None:
        self.packed: dict[int, CachedFolder] = {}
        """What was found of each folder, by its number, without nodes."""
        self.has_read = False
        self._cache = cache
        self._linked = linked
        self._remarks = remarks
        self._clock = clock
        self._chain = FolderChain(root_fd)
        self._careful = CarefulReader(outgoing, remarks, clock, mapped)
        self._small = SmallFiles(outgoing, clock, mapped)
        self._again: list[SurveyedFolder] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._small.close()
        self._chain.close()

    def look(self, folder: SurveyedFolder) -> Steps:
        """Look into a folder and begin to read what is not known of it."""
        known = self._cache is not None and folder.row >= 0
        plain = None if known else plain_folder(folder)
        if plain is None:
            yield from self._look_at_each(folder)
            return
        self.has_read = True
        try:
            fd = self._chain.open(folder.path, below=bool(folder.below))
        except OSError:
            yield from self._look_at_each(folder)  # which tells of each file
            return
        yield from self._take(self._small.want_all(fd, plain))

    def _look_at_each(self, folder: SurveyedFolder) -> Steps:
        look = look_into(folder, self._cache)
        wanted = self._judge(look)
        together = read_together(look)
        apart = {place for group in together for place in group}
        look.pending += len(wanted)
        if not look.pending and not together:
            self._pack(look)
        if not wanted and not together:
            return
        self.has_read = True
        try:
            fd = self._chain.open(folder.path, below=bool(folder.below))
        except OSError as error:
            for place in wanted:
                self._careful.failed(_path(look, place), error)
                self._lost(look, place)
            return
        small: list[int] = []
        try:
            for group in together:
                yield from self._read(fd, look, group)
            for place in wanted:
                if place in apart:
                    continue
                entry = look.entry(place)
                if stat.S_ISLNK(entry.mode):
                    self._read_link(fd, look, place)
                elif entry.size > MAX_BLOB_BYTES or _may_have_holes(entry):
                    yield from self._read(fd, look, [place])
                else:
                    small.append(place)
        except BaseException:
            os.close(fd)
            raise
        yield from self._take(self._small.want(fd, look, small))

    def rest(self) -> Steps:
        """Wait for all that is being read."""
        yield from self._take(self._small.rest())
        again, self._again = self._again, []
        for folder in again:
            yield from self._look_at_each(folder)
        yield from self._take(self._small.rest())

    def finish(self) -> Steps:
        """No folder will follow."""
        yield from self.rest()
        for inode in self._linked.inodes.values():
            while inode.waiting:
                yield from self._read_through_another_name(inode)

    # -- what is to be read ------------------------------------------------------------------------

    def _judge(self, look: Look) -> list[int]:
        """Decide about each entry; gives the places of those to be read."""
        wanted = []
        above = walk_key(look.folder.path)
        for place, entry in enumerate(look.entries):
            assert entry is not None
            kind = stat.S_IFMT(entry.mode)
            if kind == stat.S_IFDIR:
                continue
            if kind not in _CARRIED:
                what = _SPECIAL.get(kind, "of an unknown kind")
                self._remarks.skip(_path(look, place), what)
                look.lose(place)
                continue
            if entry.nlink > 1:
                look.always_look = True
                if self._is_told_elsewhere(look, place, (above, entry.name)):
                    continue
            if look.contents[place] is None:
                wanted.append(place)
        return wanted

    def _is_told_elsewhere(self, look: Look, place: int, order: tuple[bytes, bytes]) -> bool:
        """Whether what this name of a file holds is, or will be, learnt through another."""
        inode = self._linked.meet(look.folder, order, look.entry(place))
        if look.contents[place] is not None:
            inode.known = inode.known or (look.folder, order[1])
        elif inode.read is not None:
            look.put(place, _under(look, place, inode.read))
        elif inode.reading or inode.known:
            look.pending += 1
            inode.waiting.append((look, place))
        else:
            inode.reading = True
            return False
        return True

    # -- reading -----------------------------------------------------------------------------------

    def _read(self, fd: int, look: Look, places: Sequence[int]) -> Steps:
        """Read files with care: as of one moment."""
        files = [
            Wanted(
                _path(look, place),
                look.entry(place),
                look.contents[place],
                look.drops.get(place, NO_DROPS),
            )
            for place in places
        ]
        for one in files:
            look.pending += one.content is not None  # it is given anew
        reads = yield from self._careful.read(fd, files)
        for place, read in zip(places, reads, strict=True):
            if read is None:
                self._lost(look, place)
            else:
                self._got(look, place, read)
        yield

    def _read_link(self, fd: int, look: Look, place: int) -> None:
        name = look.entry(place).name
        for _ in range(READS):
            now_ns = self._clock.now_ns()
            try:
                before = entry_of(name, os.stat(name, dir_fd=fd, follow_symlinks=False))
                if not stat.S_ISLNK(before.mode):
                    what = "changed its kind while it was read"
                    self._remarks.skip(_path(look, place), what)
                    self._lost(look, place)
                    return
                target = os.readlink(name, dir_fd=fd)
                after = entry_of(name, os.stat(name, dir_fd=fd, follow_symlinks=False))
            except OSError as error:
                self._careful.failed(_path(look, place), error)
                self._lost(look, place)
                return
            if identity(before) == identity(after):
                break
        else:
            self._remarks.tear(_path(look, place), "kept changing while it was read")
        self._got(look, place, FileRead(after, LinkTarget(target), after.ctime_ns < now_ns))

    def _take(self, outcomes: Iterable[Outcome | PlainFolder]) -> Steps:
        for outcome in outcomes:
            if isinstance(outcome, PlainFolder):
                self._take_plain(outcome)
                continue
            look, place, read, errno = outcome
            if read is not None:
                self._got(look, place, read)
            elif errno is not None:
                self._careful.failed(_path(look, place), OSError(errno, os.strerror(errno)))
                self._lost(look, place)
            else:
                yield from self._read_again(look, place)
        yield

    def _take_plain(self, plain: PlainFolder) -> None:
        if plain.failed:  # something in it changed, or may have: each file by itself, later
            self._again.append(plain.folder)
        else:
            self.packed[plain.folder.number] = plain.packed()

    def _read_again(self, look: Look, place: int) -> Steps:
        try:
            fd = self._chain.open(look.folder.path)
        except OSError as error:
            self._careful.failed(_path(look, place), error)
            self._lost(look, place)
            return
        try:
            if stat.S_ISLNK(look.entry(place).mode):
                self._read_link(fd, look, place)
            else:
                yield from self._read(fd, look, [place])
        finally:
            os.close(fd)

    def _read_through_another_name(self, inode: Inode) -> Steps:
        """The name through which a file was to be read is gone, or knows an older state of it."""
        if inode.known is None:
            look, place = inode.waiting.pop(0)
            yield from self._read_again(look, place)
            return
        folder, name = inode.known
        known = self.packed.get(folder.number)
        if known is None:
            assert self._cache is not None
            known = self._cache.at(folder.row)
        entries = parse_records(known.records)
        at = next(at for at, entry in enumerate(entries) if entry.name == name)
        content, drops = known.contents()[at], known.drops().get(at, NO_DROPS)
        self._give(inode, FileRead(entries[at], content, sure=False, drops=drops))

    # -- what was found ----------------------------------------------------------------------------

    def _got(self, look: Look, place: int, read: FileRead) -> None:
        listed = look.entry(place)
        if read.entry.nlink != listed.nlink or read.entry.ino != listed.ino:
            # Its other names may not have been met, or are no longer its names.
            read = read._replace(sure=False)
        look.put(place, read)
        self._one_less(look)
        if listed.nlink > 1:
            key = listed.dev, listed.ino
            if (read.entry.dev, read.entry.ino) == key:
                self._give(self._linked.inodes[key], read)
            else:
                self._linked.forget(key, look.folder, listed.name).reading = False

    def _give(self, inode: Inode, read: FileRead) -> None:
        """Tell the other names what was read."""
        inode.read = read
        for look, place in inode.waiting:
            look.put(place, _under(look, place, read))
            self._one_less(look)
        inode.waiting = []

    def _lost(self, look: Look, place: int) -> None:
        listed = look.entry(place)
        look.lose(place)
        self._one_less(look)
        if listed.nlink > 1:
            self._linked.forget((listed.dev, listed.ino), look.folder, listed.name).reading = False

    def _one_less(self, look: Look) -> None:
        look.pending -= 1
        if not look.pending:
            self._pack(look)

    def _pack(self, look: Look) -> None:
        """Once all of a folder is known, only what its node and a cache need is kept."""
        self.packed[look.folder.number] = look.packed()
        look.entries, look.contents, look.drops, look.unsure = [], [], {}, set()


def _under(look: Look, place: int, read: FileRead) -> FileRead:
    """What was read of a file under another of its names."""
    return read._replace(entry=read.entry._replace(name=look.entry(place).name))


def _path(look: Look, place: int) -> bytes:
    return look.folder.path_of(look.entry(place).name)


def _may_have_holes(entry: EntryStat) -> bool:
    return entry.blocks * _BLOCK < entry.size and entry.size >= _HOLES_FROM_BYTES
