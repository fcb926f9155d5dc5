"""A folder that a save looks into: its entries, and what is known of them so far. Pure."""

import stat
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from limpet.snapshots.entry_contents import Drops, EntryContent, encode_contents
from limpet.snapshots.native import EntryStat, pack_records, parse_records
from limpet.snapshots.statcache import CachedFolder, StatCache, never_equal
from limpet.snapshots.survey import SurveyedFolder

NO_DROPS: Final = Drops(0, 0)
_LOGS: Final = (b"-wal", b"-journal")


class FileRead(NamedTuple):
    """A file or symlink that was read, and what it looked like then.

    `sure` when no later write can leave it looking as it does: then a cache may vouch for it.
    """

    entry: EntryStat
    content: EntryContent
    sure: bool
    drops: Drops = NO_DROPS


@dataclass(slots=True, eq=False)
class Look:
    """Entries that turn out to be gone become None; `pending` counts those still to be read."""

    folder: SurveyedFolder
    entries: list[EntryStat | None]
    contents: list[EntryContent]
    drops: dict[int, Drops]
    always_look: bool = False
    pending: int = 0
    unsure: set[int] = field(default_factory=set)

    def put(self, place: int, read: FileRead) -> None:
        """What an entry turned out to be."""
        self.entries[place] = read.entry
        self.contents[place] = read.content
        if read.drops != NO_DROPS:
            self.drops[place] = read.drops
        if not read.sure:
            self.unsure.add(place)

    def lose(self, place: int) -> None:
        """An entry is gone, or is of a kind that is never carried."""
        self.entries[place] = None
        self.always_look = True

    def entry(self, place: int) -> EntryStat:
        """An entry that was not lost."""
        entry = self.entries[place]
        assert entry is not None
        return entry

    def packed(self) -> CachedFolder:
        """Without what was lost; its node is not made yet."""
        kept = [place for place, entry in enumerate(self.entries) if entry is not None]
        drops = {new: self.drops[old] for new, old in enumerate(kept) if old in self.drops}
        records = pack_records(
            never_equal(self.entry(place)) if place in self.unsure else self.entry(place)
            for place in kept
        )
        contents = encode_contents((self.contents[place] for place in kept), drops)
        return CachedFolder(records, (), (), 0, 0, self.always_look, contents)


def look_into(folder: SurveyedFolder, cache: StatCache | None) -> Look:
    """A folder as it was listed, with what the cache knows of each entry that is as it was."""
    cached = cache.at(folder.row) if cache is not None and folder.row >= 0 else None
    if folder.records is None:
        assert cached is not None
        entries = parse_records(cached.records)
        return Look(folder, [*entries], cached.contents(), cached.drops(), cached.always_look)
    entries = parse_records(folder.records)
    contents: list[EntryContent] = [None] * len(entries)
    drops: dict[int, Drops] = {}
    if cached is not None:
        known, known_drops = cached.contents(), cached.drops()
        places = {
            (one.name, identity(one)): at for at, one in enumerate(parse_records(cached.records))
        }
        for place, entry in enumerate(entries):
            at = places.get((entry.name, identity(entry)))
            if at is not None:
                contents[place] = known[at]
                if at in known_drops:
                    drops[place] = known_drops[at]
    below = {child.name: child.drops for child in folder.below}
    for place, entry in enumerate(entries):
        if stat.S_ISDIR(entry.mode):
            own = below.get(entry.name)
            if own is not None:
                drops.pop(place, None)
                if own != NO_DROPS:
                    drops[place] = own
    return Look(folder, [*entries], contents, drops)


def identity(entry: EntryStat) -> tuple[int, ...]:
    """What tells whether an entry still is what it was: kind, device, inode, size and both times.

    Not the number of blocks, which file systems settle later than the content.
    """
    return (stat.S_IFMT(entry.mode), *entry[2:7])


def read_together(look: Look) -> list[list[int]]:
    """Databases and their logs of which one is to be read: both are, as of one moment."""
    logs = [
        place
        for place, entry in enumerate(look.entries)
        if entry is not None and entry.name.endswith(_LOGS)
    ]
    if not logs:
        return []
    alone = {
        entry.name: place
        for place, entry in enumerate(look.entries)
        if entry is not None and entry.nlink == 1 and stat.S_ISREG(entry.mode)
    }
    together: dict[int, list[int]] = {}
    for log in logs:
        name = look.entry(log).name
        database = alone.get(name.removesuffix(_LOGS[0]).removesuffix(_LOGS[1]))
        if database is not None and name in alone:
            together.setdefault(database, [database]).append(log)
    return [
        group for group in together.values() if any(look.contents[place] is None for place in group)
    ]
