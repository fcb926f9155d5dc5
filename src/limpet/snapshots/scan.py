"""One look at a whole workspace: what changed is read and sent, what did not is taken as known.

The result is a root, the tree blobs below it that the base lacks, and what a stat cache of the new
state holds. docs/decisions/0011-packs-trees-and-heads.md says why folders are compared whole.
"""

import os
import stat
from collections.abc import Collection, Generator, Iterator
from dataclasses import dataclass, field, replace
from typing import Final

from limpet.snapshots.blobs import BlobHash
from limpet.snapshots.contents import Contents, Done, Wanted
from limpet.snapshots.native import EntryStat, pack_records, parse_records
from limpet.snapshots.node import (
    EMPTY_FILE,
    FILE,
    FOLDER,
    HARD_LINK,
    LISTED_FILE,
    MAX_MODE,
    SYMLINK,
    Entry,
    Root,
)
from limpet.snapshots.node_encode import content_of, encode_folder
from limpet.snapshots.outgoing import Outgoing
from limpet.snapshots.remarks import Remarks
from limpet.snapshots.statcache import (
    CachedFolder,
    Chunks,
    EntryContent,
    LinkTarget,
    NoData,
    StatCache,
    StatCaches,
    encode_contents,
)
from limpet.snapshots.survey import SurveyedFolder, folders_of, open_below, survey

_SPECIAL: Final = {
    stat.S_IFSOCK: "socket", stat.S_IFIFO: "fifo", stat.S_IFCHR: "device", stat.S_IFBLK: "device",
}  # fmt: skip
_NEVER_EQUAL: Final = 0


@dataclass(slots=True)
class _Look:
    """A folder that is looked into: its entries and what is known of their contents so far."""

    entries: list[EntryStat | None]
    contents: list[EntryContent]
    unsure: set[int] = field(default_factory=set)
    names: dict[int, tuple[int, int]] = field(default_factory=dict)
    """Entries that have other names elsewhere: (device, inode)."""
    open_reads: int = 0
    always_look: bool = False


@dataclass(slots=True)
class _Inode:
    """A file with several names, as the first that was met looked; and those met since.

    `names` are (folder, place in it, path): the first of them in the order of a walk stands for
    the file, the others are links to it.
    """

    others: int
    size: int
    mtime_ns: int
    content: EntryContent = None
    names: list[tuple[int, int, bytes]] = field(default_factory=list)


class Scan:
    """Looks at a workspace once. `run` to the end, then `root`, `unchanged` and `write_cache`."""

    def __init__(
        self,
        workspace_fd: int,
        exclude_top: Collection[bytes],
        cache: StatCache | None,
        outgoing: Outgoing,
    ) -> None:
        self.remarks = Remarks()
        self._root_fd = workspace_fd
        self._cache = cache
        self._outgoing = outgoing
        self._survey = survey(workspace_fd, exclude_top, cache, self.remarks)
        self._looks: dict[int, _Look] = {}
        self._inodes: dict[tuple[int, int], _Inode] = {}
        self._followers: dict[tuple[int, int], list[tuple[int, int]]] = {}
        self._known: dict[int, CachedFolder] = {}
        self._contents = Contents(outgoing, self.remarks)
        self._root: Root | None = None

    @property
    def folders(self) -> list[SurveyedFolder]:
        """Every folder, each before those below it."""
        return self._survey.folders

    @property
    def entries(self) -> int:
        """How many entries there are, the root among them; known after `run`."""
        return len(self.folders) + self.files + self.remarks.counts["symlinks"]

    @property
    def files(self) -> int:
        """How many files there are."""
        return sum(folder.files for folder in self.folders)

    @property
    def size_bytes(self) -> int:
        """The sizes of all files together."""
        return sum(folder.size_bytes for folder in self.folders)

    @property
    def unchanged(self) -> bool:
        """Whether nothing at all, the root's own looks aside, differs from the cache."""
        return self._cache is not None and not self._survey.changed

    @property
    def root(self) -> Root:
        """The state that was found."""
        assert self._root is not None
        return self._root

    def run(self) -> Generator[None]:
        """Do it; stops now and then so that what is ready can be sent."""
        top = self.folders[0]
        try:
            if self.unchanged:
                assert top.cached is not None
                node = top.cached.node
            else:
                yield from self._read()
                node = self._assemble()
        finally:
            self._contents.close()
        self._root = Root(node, top.mode & MAX_MODE, top.mtime_ns)

    def write_cache(self, caches: StatCaches) -> None:
        """Keep what was seen for the saves to come."""
        if self.unchanged and self._cache is not None:
            if self._cache.root_digest != self.root.digest:
                caches.copy(self._cache, self.root.digest)
            return
        with caches.create() as writer:
            for number, folder in enumerate(self.folders):
                writer.add(folder.path, self._known[number])
            writer.commit(self.root.digest)

    # -- reading ------------------------------------------------------------------------------

    def _read(self) -> Iterator[None]:
        ordered = sorted(enumerate(self.folders), key=lambda one: one[1].late)
        for number, folder in ordered:
            cached = folder.cached
            if folder.records is None and cached is not None and not cached.always_look:
                continue
            look = self._look_at(folder)
            self._looks[number] = look
            wanted, together = self._judge(number, folder, look)
            look.open_reads += len(wanted) + sum(map(len, together))
            if wanted or together:
                self._take(self._read_in(folder, wanted, together))
                yield
            self._pack_if_done(number)
        self._take(self._contents.rest())
        for inode, followers in self._followers.items():
            first = self._inodes[inode]
            for number, index in followers:
                self._looks[number].contents[index] = first.content
                self._looks[number].open_reads -= 1
                self._pack_if_done(number)
        self.remarks.count("links_outside", sum(one.others > 0 for one in self._inodes.values()))
        yield

    def _look_at(self, folder: SurveyedFolder) -> _Look:
        cached = folder.cached
        records = folder.records
        if records is None:
            assert cached is not None
            entries = parse_records(cached.records)
            return _Look([*entries], cached.contents())
        entries = parse_records(records)
        known: dict[EntryStat, EntryContent] = {}
        if cached is not None:
            known = dict(zip(parse_records(cached.records), cached.contents(), strict=True))
        return _Look([*entries], [known.get(entry) for entry in entries])

    def _judge(
        self, number: int, folder: SurveyedFolder, look: _Look
    ) -> tuple[list[Wanted], list[list[Wanted]]]:
        """Decide about each entry; gives what must be read, alone and together."""
        wanted: list[Wanted] = []
        for index, entry in enumerate(look.entries):
            assert entry is not None
            mode = entry.mode
            if stat.S_ISDIR(mode):
                continue
            path = folder.path + b"/" + entry.name if folder.path else entry.name
            regular = stat.S_ISREG(mode)
            if not regular and not stat.S_ISLNK(mode):
                what = _SPECIAL.get(stat.S_IFMT(mode), "of an unknown kind")
                self.remarks.skip(path, what)
                look.always_look = True
                look.entries[index] = None
                continue
            if regular:
                self._note_mode(mode)
            else:
                self.remarks.count("symlinks")
            if entry.nlink > 1:
                look.always_look = True
                if self._is_other_name(number, index, path, entry, look):
                    continue
            if look.contents[index] is None:
                if regular:
                    wanted.append(Wanted(number, index, path, entry))
                else:
                    self._read_link(folder, index, path, look)
        return _together(wanted)

    def _is_other_name(
        self, number: int, index: int, path: bytes, entry: EntryStat, look: _Look
    ) -> bool:
        key = entry.dev, entry.ino
        first = self._inodes.get(key)
        if first is None:
            known = look.contents[index]
            self._inodes[key] = _Inode(entry.nlink - 1, entry.size, entry.mtime_ns, known)
            look.names[index] = key
            return False
        if (first.size, first.mtime_ns) != (entry.size, entry.mtime_ns):
            self.remarks.tear(path, "was written between the looks at two of its names")
            return False
        first.others -= 1
        self.remarks.count("hard_links")
        look.names[index] = key
        if look.contents[index] is None:
            look.open_reads += 1
            self._followers.setdefault(key, []).append((number, index))
        return True

    def _read_link(self, folder: SurveyedFolder, index: int, path: bytes, look: _Look) -> None:
        entry = look.entries[index]
        assert entry is not None
        try:
            fd = self._open(folder)
            try:
                target = os.readlink(entry.name, dir_fd=fd)
            finally:
                os.close(fd)
        except OSError as error:
            self._unreadable(path, error)
            look.entries[index] = None
            look.always_look = True
            return
        look.contents[index] = LinkTarget(target)
        if entry.nlink > 1:
            self._inodes[entry.dev, entry.ino].content = LinkTarget(target)

    def _read_in(
        self, folder: SurveyedFolder, wanted: list[Wanted], together: list[list[Wanted]]
    ) -> Iterator[Done]:
        try:
            fd = self._open(folder)
        except OSError as error:
            for one in (*wanted, *(one for group in together for one in group)):
                self._unreadable(one.path, error)
                yield Done(one, None, None)
            return
        try:
            for group in together:
                yield from self._contents.want_together(fd, group)
            yield from self._contents.want(fd, wanted)
        finally:
            os.close(fd)

    def _take(self, finished: Iterator[Done]) -> None:
        for done in finished:
            number, index = done.wanted.folder, done.wanted.index
            look = self._looks[number]
            look.entries[index] = done.entry
            look.contents[index] = done.content
            if done.entry is None:
                look.always_look = True
            elif not done.sure:
                look.unsure.add(index)
            first = self._inodes.get((done.wanted.entry.dev, done.wanted.entry.ino))
            if first is not None:
                first.content = done.content
            look.open_reads -= 1
            self._pack_if_done(number)

    def _open(self, folder: SurveyedFolder) -> int:
        """The folder that was surveyed; `FileNotFoundError` when another is in its place."""
        fd = open_below(self._root_fd, folder.path)
        status = os.fstat(fd)
        if (status.st_dev, status.st_ino) != (folder.dev, folder.ino):
            os.close(fd)
            raise FileNotFoundError("the folder was moved meanwhile")
        return fd

    # -- what is kept of a folder until its node is made ------------------------------------------

    def _pack_if_done(self, number: int) -> None:
        """Once all of a folder's files were read, only what its node and cache need is kept."""
        look = self._looks[number]
        if look.open_reads or number in self._known:
            return
        kept = [
            (entry, content, index)
            for index, (entry, content) in enumerate(zip(look.entries, look.contents, strict=True))
            if entry is not None
        ]
        records = pack_records(
            entry._replace(ctime_ns=_NEVER_EQUAL) if index in look.unsure else entry
            for entry, _, index in kept
        )
        folder = self.folders[number]
        self._known[number] = CachedFolder(
            records,
            (),
            (),
            folder.files,
            folder.size_bytes,
            look.always_look,
            encode_contents(content for _, content, _ in kept),
        )
        for place, (entry, _, index) in enumerate(kept):
            if index in look.names:
                path = folder.path + b"/" + entry.name if folder.path else entry.name
                self._inodes[look.names[index]].names.append((number, place, path))
        look.entries, look.contents, look.unsure, look.names = [], [], set(), {}

    # -- nodes --------------------------------------------------------------------------------

    def _assemble(self) -> BlobHash:
        """Make the nodes, children first, and send those that are new; gives the root's."""
        links: dict[int, dict[int, bytes]] = {}
        for inode in self._inodes.values():
            (_, _, target), *others = sorted(inode.names) or [(0, 0, b"")]
            for number, place, _ in others:
                links.setdefault(number, {})[place] = target
        below: dict[int, dict[bytes, tuple[BlobHash, SurveyedFolder]]] = {}
        changed: set[int] = set()
        node = BlobHash(b"")
        for number in range(len(self.folders) - 1, -1, -1):
            folder = self.folders[number]
            cached = folder.cached
            children = below.pop(number, {})
            if number not in self._looks and number not in changed:
                assert cached is not None
                known = cached
            else:
                found = self._known.get(number) or cached
                assert found is not None
                known = self._with_nodes(found, links.get(number, {}), children)
            self._known[number] = known
            node = known.node
            if cached is None or cached.node != node:
                changed.add(folder.parent)
            below.setdefault(folder.parent, {})[folder.name] = node, folder
        return node

    def _with_nodes(
        self,
        known: CachedFolder,
        links: dict[int, bytes],
        children: dict[bytes, tuple[BlobHash, SurveyedFolder]],
    ) -> CachedFolder:
        nodes: list[BlobHash] = []

        def emit(blob: bytes, name: BlobHash) -> None:
            self._outgoing.tree(blob, name)
            nodes.append(name)

        entries: list[Entry] = []
        stats = parse_records(known.records)
        for index, (entry, content) in enumerate(zip(stats, known.contents(), strict=True)):
            if index in links:
                entries.append(Entry(entry.name, HARD_LINK, 0, 0, 0, target=links[index]))
            elif stat.S_ISDIR(entry.mode):
                child = children.get(entry.name)
                if child is not None:
                    node, folder = child
                    mode = folder.mode & MAX_MODE
                    entries.append(Entry(entry.name, FOLDER, mode, folder.mtime_ns, 0, node))
            else:
                entries.append(self._entry(entry, content))
        encode_folder(entries, emit)
        nodes.reverse()
        folders = folders_of(stats)
        files = sum(stat.S_ISREG(entry.mode) for entry in stats)
        size = sum(entry.size for entry in stats if stat.S_ISREG(entry.mode))
        return replace(known, nodes=tuple(nodes), folders=folders, files=files, size_bytes=size)

    def _entry(self, entry: EntryStat, content: EntryContent) -> Entry:
        mode, mtime_ns = entry.mode & MAX_MODE, entry.mtime_ns
        if isinstance(content, bytes):
            return Entry(entry.name, FILE, mode, mtime_ns, entry.size, BlobHash(content))
        if isinstance(content, NoData):
            return Entry(entry.name, EMPTY_FILE, mode, mtime_ns, 0)
        if isinstance(content, LinkTarget):
            return Entry(entry.name, SYMLINK, 0, mtime_ns, 0, target=content.target)
        assert isinstance(content, Chunks)
        listed = content_of(content.references, content.segments, self._outgoing.tree)
        return Entry(entry.name, LISTED_FILE, mode, mtime_ns, entry.size, content=listed)

    def _note_mode(self, mode: int) -> None:
        if mode & stat.S_ISUID:
            self.remarks.drop("setuid")
        if mode & stat.S_ISGID:
            self.remarks.drop("setgid")

    def _unreadable(self, path: bytes, error: OSError) -> None:
        if isinstance(error, FileNotFoundError):
            self.remarks.count("vanished")
        else:
            self.remarks.unreadable(path, error.strerror or str(error))


def _together(wanted: list[Wanted]) -> tuple[list[Wanted], list[list[Wanted]]]:
    """Files to be read alone, and databases with their `-wal`, the log last."""
    names = {one.entry.name: one for one in wanted}
    pairs = [
        [names[name[:-4]], one]
        for name, one in names.items()
        if name.endswith(b"-wal") and name[:-4] in names
    ]
    if not pairs:
        return wanted, []
    paired = {id(one) for pair in pairs for one in pair}
    return [one for one in wanted if id(one) not in paired], pairs
