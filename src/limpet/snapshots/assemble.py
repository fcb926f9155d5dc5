"""Nodes made from the bottom up: only of folders that changed, and of those above them."""

import heapq
import stat
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import compress
from operator import mul
from typing import Final

from limpet.snapshots.blobs import BlobHash, hash_of, names_in
from limpet.snapshots.entry_contents import (
    Chunks,
    EntryContent,
    LinkTarget,
    NoData,
    plain_contents,
)
from limpet.snapshots.linked import Linked
from limpet.snapshots.native import EntryStat, columns_of, parse_records
from limpet.snapshots.node import (
    EMPTY_FILE,
    FILE,
    FOLDER,
    HARD_LINK,
    LISTED_FILE,
    MAX_MODE,
    SYMLINK,
    Entry,
)
from limpet.snapshots.node_encode import content_of, encode_columns, encode_folder
from limpet.snapshots.statcache import CachedFolder, StatCache, StatCacheWriter, folders_of
from limpet.snapshots.survey import SurveyedFolder, walk_key
from limpet.snapshots.tally import tally_of, tally_of_columns

Emit = Callable[[bytes, BlobHash], None]
_ARE_FOLDERS: Final = bytes(kind == FOLDER for kind in range(256))


class Assembly:
    """The folders of one state: those that were looked into are made anew, others are as cached."""

    def __init__(self, linked: Linked, cache: StatCache | None, emit: Emit) -> None:
        self._linked = linked
        self._cache = cache
        self._emit = emit
        self._found: dict[int, CachedFolder] = {}
        self._made: dict[int, CachedFolder] = {}

    def take(self, found: dict[int, CachedFolder]) -> None:
        """What was found of folders, by number, without nodes."""
        self._found = found

    def finish(self, folders: list[SurveyedFolder]) -> BlobHash:
        """Make the nodes of what was found and of what hangs on it; gives the root's."""
        changed = {*self._found, *self._linked.moved()}
        changed.update(folder.number for folder in folders if folder.lost)
        todo = [-number for number in changed]
        heapq.heapify(todo)
        while todo:
            folder = folders[-heapq.heappop(todo)]
            cache = self._cache
            before = None if cache is None or folder.row < 0 else cache.node(folder.row)
            known = self._found.pop(folder.number, None) or self._cached(folder)
            self._made[folder.number] = made = self._make(folder, known)
            above = folder.parent
            if made.node != before and above is not None and above.number not in changed:
                changed.add(above.number)
                heapq.heappush(todo, -above.number)
        return self._node(folders[0])

    def at(self, folder: SurveyedFolder) -> CachedFolder:
        """All that is known of a folder."""
        made = self._made.get(folder.number)
        return self._cached(folder) if made is None else made

    def tally(self, folder: SurveyedFolder) -> Sequence[int]:
        """What lies right in a folder, in the order of a `Tally`."""
        made = self._made.get(folder.number)
        if made is not None:
            return made.tally
        assert self._cache is not None
        return self._cache.tally(folder.row)

    def write(self, folder: SurveyedFolder, writer: StatCacheWriter) -> None:
        """Add a folder to a cache."""
        made = self._made.get(folder.number)
        if made is not None:
            writer.add(folder.path, made)
        elif self._cache is not None:
            writer.copy(folder.path, self._cache, folder.row)

    def always_look(self, folder: SurveyedFolder) -> bool:
        """Whether its listing does not tell all of a folder."""
        made = self._made.get(folder.number)
        return folder.always_look if made is None else made.always_look

    def _node(self, folder: SurveyedFolder) -> BlobHash:
        made = self._made.get(folder.number)
        if made is not None:
            return made.node
        assert self._cache is not None
        return self._cache.node(folder.row)

    def _cached(self, folder: SurveyedFolder) -> CachedFolder:
        assert self._cache is not None
        return self._cache.at(folder.row)

    def _make(self, folder: SurveyedFolder, known: CachedFolder) -> CachedFolder:
        return self._make_plain(folder, known) or self._make_any(folder, known)

    def _make_plain(self, folder: SurveyedFolder, known: CachedFolder) -> CachedFolder | None:
        """The folder, when it is one node of files of one blob, empty ones and folders."""
        plain = plain_contents(known.packed_contents)
        if plain is None:
            return None
        kinds, hashes = plain
        names, modes, nlinks, _, _, sizes, mtimes, *_ = columns_of(known.records)
        is_folder = list(map(stat.S_ISDIR, modes))
        if bytes(is_folder) != kinds.translate(_ARE_FOLDERS):
            return None
        file_sizes: Sequence[int] = sizes
        folders: tuple[bytes, ...] = ()
        if FOLDER in kinds:
            is_file = [not one for one in is_folder]
            nlinks, file_sizes = tuple(compress(nlinks, is_file)), list(compress(sizes, is_file))
            sizes = tuple(map(mul, sizes, is_file))
            folders = tuple(compress(names, is_folder))
            below = {child.name: child for child in folder.below}
            if not below.keys() >= set(folders):
                return None
            blobs = iter(names_in(hashes))
            of_folders = (self._node(below[name]) for name in folders)
            hashes = b"".join(
                next(of_folders if kind == FOLDER else blobs) for kind in kinds if kind
            )
        if max(nlinks, default=1) > 1:
            return None
        looks = [mode & MAX_MODE for mode in modes]
        blob = encode_columns(kinds, names, looks, mtimes, sizes, hashes)
        if blob is None:
            return None
        node = hash_of(blob)
        self._emit(blob, node)
        tally = tally_of_columns(modes, mtimes, file_sizes)
        return replace(
            known,
            folders=folders[::-1],
            nodes=(node,),
            files=tally.files,
            size_bytes=tally.size_bytes,
            tally=tally,
        )

    def _make_any(self, folder: SurveyedFolder, known: CachedFolder) -> CachedFolder:
        nodes: list[BlobHash] = []

        def emit(blob: bytes, name: BlobHash) -> None:
            self._emit(blob, name)
            nodes.append(name)

        below = {child.name: child for child in folder.below}
        above = walk_key(folder.path)
        stats = parse_records(known.records)
        entries: list[Entry] = []
        for one, content in zip(stats, known.contents(), strict=True):
            if stat.S_ISDIR(one.mode):
                child = below.get(one.name)
                if child is not None:
                    mode = one.mode & MAX_MODE
                    entries.append(
                        Entry(one.name, FOLDER, mode, one.mtime_ns, 0, self._node(child))
                    )
                continue
            if one.nlink > 1 and (target := self._linked.target((above, one.name), one)):
                entries.append(Entry(one.name, HARD_LINK, 0, 0, 0, target=target))
                continue
            entries.append(self._entry(one, content))
        encode_folder(entries, emit)
        nodes.reverse()
        tally = tally_of(stats, known.drops())
        linked = any(one.nlink > 1 and not stat.S_ISDIR(one.mode) for one in stats)
        return replace(
            known,
            always_look=known.always_look or linked,
            folders=folders_of(stats),
            nodes=tuple(nodes),
            files=tally.files,
            size_bytes=tally.size_bytes,
            tally=tally,
        )

    def _entry(self, entry: EntryStat, content: EntryContent) -> Entry:
        mode, mtime_ns = entry.mode & MAX_MODE, entry.mtime_ns
        if isinstance(content, bytes):
            return Entry(entry.name, FILE, mode, mtime_ns, entry.size, BlobHash(content))
        if isinstance(content, NoData):
            return Entry(entry.name, EMPTY_FILE, mode, mtime_ns, 0)
        if isinstance(content, LinkTarget):
            return Entry(entry.name, SYMLINK, 0, mtime_ns, 0, target=content.target)
        assert isinstance(content, Chunks)
        listed = content_of(content.references, content.segments, self._emit)
        return Entry(entry.name, LISTED_FILE, mode, mtime_ns, entry.size, content=listed)
