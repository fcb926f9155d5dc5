"""What differs between a workspace and a target tree, and what a patch would do about it.

Goes down side by side and only where the nodes differ, so that an equal folder costs nothing. Pure.
Files with several names are kept all together or made anew all together: a patch never links a new
name to an old file.
"""

import stat
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from limpet.errors import ConflictError
from limpet.snapshots.blobs import BlobHash
from limpet.snapshots.judge import RestoreLimits, TooMuchError, check_top
from limpet.snapshots.native import EntryStat
from limpet.snapshots.node import (
    EMPTY_FILE,
    FILE,
    FOLDER,
    HARD_LINK,
    LISTED_FILE,
    SYMLINK,
    BadNodeError,
    Entry,
    Root,
)
from limpet.snapshots.patch_steps import ChangedFolder, Looks, Out, Relooked
from limpet.snapshots.present import Present, entries_of, join, walk_order
from limpet.snapshots.restore_tables import ROOT
from limpet.snapshots.statcache import NO_DATA, Chunks, EntryContent, LinkTarget
from limpet.snapshots.tar_format import show
from limpet.snapshots.trees import MAX_PATH_BYTES, TreeBlobs

_PLAIN: Final = frozenset({EMPTY_FILE, FILE, LISTED_FILE})


class New(NamedTuple):
    """An entry of the target that is to be made: as a whole, with all that lies below it."""

    folder: int
    path: bytes
    entry: Entry
    replaces: bool


@dataclass(slots=True)
class Comparison:
    """What is to be done. `visited` has the node of the target for each changed folder."""

    folders: list[ChangedFolder] = field(default_factory=list)
    numbers: dict[bytes, int] = field(default_factory=dict)
    visited: dict[bytes, BlobHash] = field(default_factory=dict)
    outs: list[Out] = field(default_factory=list)
    news: dict[bytes, New] = field(default_factory=dict)
    relooked: dict[bytes, Relooked] = field(default_factory=dict)
    removed: int = 0


def compare(
    present: Present,
    root: Root,
    trees: TreeBlobs,
    limits: RestoreLimits,
    made: Collection[bytes] = (),
) -> "Comparing":
    """Compare; `made` are paths of the target that are to be put in place whatever lies there.

    Raises `SnapshotDamagedError` for what the target lacks or says wrongly.
    """
    comparing = Comparing(present, root, trees, limits, made)
    comparing.run()
    return comparing


class Comparing:
    """The comparison while it is made: `result`, and `make_anew` for what it turns out to need."""

    def __init__(
        self,
        present: Present,
        root: Root,
        trees: TreeBlobs,
        limits: RestoreLimits,
        made: Collection[bytes],
    ) -> None:
        self.result = Comparison()
        self._present = present
        self._root = root
        self._trees = trees
        self._limits = limits
        self._made = made
        self._gone: set[bytes] = set()
        """Paths where nothing of the present stays; also those that are made anew."""
        self._kept_links: dict[bytes, list[bytes]] = {}
        self._last: (
            tuple[bytes, dict[bytes, tuple[EntryStat, EntryContent]], dict[bytes, Entry]] | None
        ) = None

    def run(self) -> None:
        """Compare everything."""
        now, then = self._present.root, self._root
        self.result.folders.append(ChangedFolder(ROOT, b"", _looks(now), _looks(then)))
        self.result.numbers[b""] = ROOT
        todo: list[tuple[bytes, BlobHash]] = []
        top = self._present.folder(b"")
        if top is None or top.node != then.node:
            todo.append((b"", then.node))
        while todo:
            path, node = todo.pop()
            if path.count(b"/") >= self._limits.max_depth or len(path) > MAX_PATH_BYTES:
                raise TooMuchError(f"The snapshot is more than {self._limits.max_depth:,} deep.")
            todo += self._folder(path, node)
        for path in self._present.strays:
            if path not in self.result.visited and not self.is_gone(path):
                number = self.number_of(path)
                self._outs(number, path, self._present.strays[path])
        for path in self._made:
            if path not in self.result.news:
                self.make_anew(path)
        for target in [*self._kept_links, *self._present.further_names]:
            if self.is_gone(target) and self._kept_names(target):
                self.renew(target)

    def is_gone(self, path: bytes) -> bool:
        """Whether what lies at this path does not stay."""
        at = path.find(b"/")
        while at >= 0:
            if path[:at] in self._gone:
                return True
            at = path.find(b"/", at + 1)
        return path in self._gone

    def is_new(self, path: bytes) -> bool:
        """Whether the target's entry at this path is made anew, or lies in a folder that is."""
        at = path.find(b"/")
        while at >= 0:
            if path[:at] in self.result.news:
                return True
            at = path.find(b"/", at + 1)
        return path in self.result.news

    def renew(self, target: bytes) -> None:
        """Make the file at `target` anew, and every other name that the target tree has for it."""
        names = self._kept_names(target)
        for path in (target, *names):
            if not self.is_new(path):
                self.make_anew(path)
        self._kept_links.pop(target, None)

    def make_anew(self, path: bytes) -> None:
        """The target's entry at this path is to be made, whatever lies there now."""
        folder, _, name = path.rpartition(b"/")
        there, entry = self._both(folder, name)
        if entry is None:
            raise BadNodeError(f"A hard link means {show(path)!r}, which is not there")
        number = self.number_of(folder)
        if there is not None and path not in self._gone:
            self._outs(number, folder, [there])
        self.result.relooked.pop(path, None)
        self._new(number, path, entry, replaces=there is not None)

    def number_of(self, path: bytes) -> int:
        """The number of a folder that stays; it is among the changed ones from now on.

        Raises `ConflictError` when it is not there any more.
        """
        known = self.result.numbers.get(path)
        if known is not None:
            return known
        above, _, name = path.rpartition(b"/")
        parent = self.number_of(above)
        there, entry = self._both(above, name)
        if there is None or not stat.S_ISDIR(there.mode) or entry is None or entry.kind != FOLDER:
            raise moved_on(path)
        return self._changed_folder(parent, path, there, entry)

    def _kept_names(self, target: bytes) -> list[bytes]:
        """Every further name of the target tree for a file that the comparison let stay."""
        names = list(self._kept_links.get(target, []))
        for path in self._present.further_names.get(target, []):
            folder = path.rpartition(b"/")[0]
            if folder not in self.result.visited and not self.is_gone(path):
                names.append(path)
        return names

    def _both(self, folder: bytes, name: bytes) -> tuple[EntryStat | None, Entry | None]:
        """What lies there, and what the target has there."""
        if self._last is None or self._last[0] != folder:
            cached = self._present.folder(folder)
            here = {} if cached is None else entries_of(cached)
            node: BlobHash | None = self._root.node
            if folder:
                entry = self._trees.find(self._root.node, folder)
                node = entry.hash if entry is not None and entry.kind == FOLDER else None
            entries = [] if node is None else self._trees.entries(node)
            self._last = folder, here, {entry.name: entry for entry in entries}
        _, here, there = self._last
        return here[name][0] if name in here else None, there.get(name)

    # -- going down ---------------------------------------------------------------------------

    def _folder(self, path: bytes, node: BlobHash) -> list[tuple[bytes, BlobHash]]:
        """Compare the entries of one folder; gives the sub-folders that differ."""
        cached = self._present.folder(path)
        assert cached is not None
        number = self.result.numbers[path]
        self.result.visited[path] = node
        self._outs(number, path, self._present.strays.get(path, []))
        here = entries_of(cached)
        entries = self._trees.entries(node)
        if not path:
            check_top(entries)
        below: list[tuple[bytes, BlobHash]] = []
        for entry in entries:
            where = join(path, entry.name)
            there = here.pop(entry.name, None)
            if there is not None and where not in self._made:
                if entry.kind == FOLDER and stat.S_ISDIR(there[0].mode):
                    below += self._sub_folder(number, where, there[0], entry)
                    continue
                if self._stays(number, where, *there, entry):
                    continue
            if there is not None:
                self._outs(number, path, [there[0]])
            self._new(number, where, entry, replaces=there is not None)
        self.result.removed += len(here)
        self._outs(number, path, [status for status, _ in here.values()])
        return below

    def _sub_folder(
        self, parent: int, path: bytes, status: EntryStat, entry: Entry
    ) -> list[tuple[bytes, BlobHash]]:
        assert entry.hash is not None
        cached = self._present.folder(path)
        same = cached is not None and cached.node == entry.hash
        if not same or _looks_of(status) != (entry.mode, entry.mtime_ns):
            self._changed_folder(parent, path, status, entry)
        return [] if same else [(path, entry.hash)]

    def _changed_folder(self, parent: int, path: bytes, status: EntryStat, entry: Entry) -> int:
        number = len(self.result.folders)
        new = Looks(entry.mode, entry.mtime_ns)
        self.result.folders.append(ChangedFolder(parent, entry.name, _looks_of(status), new))
        self.result.numbers[path] = number
        return number

    def _stays(
        self, folder: int, path: bytes, status: EntryStat, content: EntryContent, entry: Entry
    ) -> bool:
        """Whether what lies there is the target's entry, but for its looks perhaps."""
        first = self._present.linked.get(path)
        if entry.kind == HARD_LINK:
            assert entry.target is not None
            if walk_order(entry.target) >= walk_order(path):
                raise BadNodeError(f"The hard link {show(path)!r} means nothing before it")
            if first == entry.target:
                self._kept_links.setdefault(first, []).append(path)
                return True
            return False
        if first is not None or not self._same_content(content, status, entry):
            return False
        if entry.kind == SYMLINK:
            return status.mtime_ns == entry.mtime_ns
        old, new = _looks_of(status), Looks(entry.mode, entry.mtime_ns)
        if old != new:
            self.result.relooked[path] = Relooked(folder, entry.name, old, new)
        return True

    def _same_content(self, content: EntryContent, status: EntryStat, entry: Entry) -> bool:
        if isinstance(content, bytes):
            return entry.kind == FILE and content == entry.hash
        if isinstance(content, LinkTarget):
            return entry.kind == SYMLINK and content.target == entry.target
        if isinstance(content, Chunks):
            return (
                entry.kind == LISTED_FILE
                and entry.content is not None
                and entry.size == status.size
                and content.segments == entry.content.segments
                and content.references == tuple(self._trees.chunks(entry.content))
            )
        return content is NO_DATA and entry.kind == EMPTY_FILE

    def _outs(self, folder: int, path: bytes, entries: Iterable[EntryStat]) -> None:
        for one in entries:
            is_folder = stat.S_ISDIR(one.mode)
            mode = stat.S_IMODE(one.mode) if is_folder else -1
            self.result.outs.append(Out(folder, one.name, mode, one.mtime_ns))
            self._gone.add(join(path, one.name))

    def _new(self, folder: int, path: bytes, entry: Entry, *, replaces: bool) -> None:
        self.result.news[path] = New(folder, path, entry, replaces)
        self._gone.add(path)


def moved_on(path: bytes) -> ConflictError:
    """The workspace is not as it was when the patch was planned."""
    return ConflictError(
        f"The workspace has changed at {show(path)!r} since the patch was planned.",
        hint="Plan the patch again, or restore the snapshot whole.",
    )


def _looks(root: Root) -> Looks:
    return Looks(root.mode, root.mtime_ns)


def _looks_of(status: EntryStat) -> Looks:
    return Looks(stat.S_IMODE(status.mode), status.mtime_ns)
