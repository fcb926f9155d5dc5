"""Where in an org's sound packs a blob lies, and what a snapshot needs that none of them has.

For a repair: everything is looked up in the packs themselves. Where blobs lie is kept in a file
that SQLite deletes by itself, so that memory stays small.
"""

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from anyio import to_thread

from limpet.errors import NotEnoughSpaceError, SnapshotDamagedError, StoreUnavailableError
from limpet.ids import OrgId
from limpet.snapshots.blobs import HASH_BYTES, BlobHash, BlobKind
from limpet.snapshots.check_packs import PackFolder, PackId, index_bytes, packs_of
from limpet.snapshots.frame import decode_frame
from limpet.snapshots.lineage import Packed
from limpet.snapshots.node import FILE, FOLDER, LISTED_FILE, Branches, Entry, decode_node
from limpet.snapshots.pack import FinishedPack, FramePlace, PackIndex, PackRef
from limpet.snapshots.trees import TreeBlobs
from limpet.stores.base import Condition, ReplaceIf, SandboxStore

_AT_ONCE: Final = 500


class SoundPacks:
    """The blobs of sound packs, by name. Opening blocks; close it.

    Unlike a save's index this one may not forget: what it does not find counts as lost. So where
    it cannot be written, `NotEnoughSpaceError` is raised.
    """

    def __init__(self, store: SandboxStore, org: OrgId) -> None:
        self._store = store
        self._org = org
        self._folder = PackFolder(store, org)
        self._packs: list[PackId] = []
        self.refs: dict[PackId, PackRef] = {}
        """The packs that were taken in, as heads name them."""
        self._last: tuple[PackId, PackIndex] | None = None
        self._database = sqlite3.connect("", check_same_thread=False)
        with _told():
            self._database.execute(
                "CREATE TABLE blobs (start INTEGER, pack INTEGER, PRIMARY KEY (start, pack))"
                " WITHOUT ROWID"
            )

    def close(self) -> None:
        """Let go of the file. Blocks."""
        self._database.close()

    async def add(self, pack: PackId, size_bytes: int) -> None:
        """Take in a sound pack; `SnapshotDamagedError` when it is not."""
        if pack in self.refs:
            return
        index = await self._folder.index(pack, size_bytes)
        await to_thread.run_sync(self._add, pack, index)
        self.refs[pack] = PackRef(pack.name, size_bytes, index_bytes(index), pack.shared)

    async def put(self, made: FinishedPack, *, shared: bool = False) -> bool:
        """Store a pack, over what lies in its place damaged, and take it in; whether it is new."""
        pack = PackId(made.kind, made.ref.name, shared)
        if await self._is_there(pack):
            return False
        key = pack.key(self._org)
        seen = await self._store.head(key)
        condition: Condition = "create-only" if seen is None else ReplaceIf(seen.etag)
        await self._store.put(key, b"".join(made.chunks), condition=condition)
        if not await self._is_there(pack):
            raise StoreUnavailableError(
                f"The store did not keep {key} as it was put",
                hint="`limpet doctor --store` looks for what is wrong.",
            )
        return True

    async def index(self, pack: PackId) -> PackIndex:
        """The index of a pack that was taken in."""
        if self._last is None or self._last[0] != pack:
            self._last = pack, await self._folder.index(pack, self.refs[pack].size_bytes)
        return self._last[1]

    async def find(
        self, kind: BlobKind, names: Iterable[BlobHash]
    ) -> dict[PackId, dict[FramePlace, set[BlobHash]]]:
        """The packs and frames in which these blobs lie, each blob once; not what is nowhere."""
        left = set(names)
        found: dict[PackId, dict[FramePlace, set[BlobHash]]] = {}
        for pack in await to_thread.run_sync(self._may_hold, kind, list(left)):
            if not left:
                break
            index = await self.index(pack)
            for place in index.frames:
                here = left.intersection(index.hashes_of(place))
                if here:
                    found.setdefault(pack, {})[place] = here
                    left -= here
        return found

    async def frame(self, pack: PackId, place: FramePlace) -> bytes:
        """A frame of a pack that was taken in."""
        return await self._folder.part(pack, place.offset, place.offset + place.length)

    async def blob(self, kind: BlobKind, name: BlobHash) -> bytes | None:
        """One blob, wherever it lies; None when it is nowhere."""
        for pack, places in (await self.find(kind, [name])).items():
            for place in places:
                decoded = await to_thread.run_sync(decode_frame, await self.frame(pack, place))
                for found, blob in decoded.blobs():
                    if found == name:
                        return blob
        return None

    async def _is_there(self, pack: PackId) -> bool:
        seen = await self._store.head(pack.key(self._org))
        state = await self._folder.state(pack, seen, (), whole=True)
        if not state.sound or seen is None:
            return False
        await self.add(pack, seen.size_bytes)
        return True

    def _add(self, pack: PackId, index: PackIndex) -> None:
        number, hashes = len(self._packs), index.hashes
        rows = ((_start(hashes[at : at + 8]), number) for at in range(0, len(hashes), HASH_BYTES))
        with _told(), self._database:
            self._database.executemany("INSERT OR IGNORE INTO blobs VALUES (?, ?)", rows)
        self._packs.append(pack)

    def _may_hold(self, kind: BlobKind, names: list[BlobHash]) -> list[PackId]:
        packs: set[PackId] = set()
        for first in range(0, len(names), _AT_ONCE):
            starts = [_start(name) for name in names[first : first + _AT_ONCE]]
            marks = ",".join("?" * len(starts))
            with _told():
                rows = self._database.execute(
                    f"SELECT DISTINCT pack FROM blobs WHERE start IN ({marks})",  # noqa: S608
                    starts,
                ).fetchall()
            packs.update(self._packs[number] for (number,) in rows)
        return sorted(pack for pack in packs if pack.kind == kind)


def _start(name: bytes) -> int:
    """The first eight bytes of a hash: enough to know where to look."""
    return int.from_bytes(name[:8], "little", signed=True)


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise NotEnoughSpaceError(
            f"A repair cannot keep in mind where what lies: {error}",
            hint="Free some room where temporary files go (TMPDIR), then repair again.",
        ) from error


@dataclass(slots=True)
class Needed:
    """What a snapshot needs: the folders that could be had, and what lies where."""

    trees: TreeBlobs
    packs: dict[PackId, PackRef]
    """Sound packs in which all lies that could be found."""
    data: set[BlobHash]
    """The data blobs in them, and maybe others."""
    lost: set[BlobHash] = field(default_factory=set)
    """Blobs, of folders and data, that are nowhere."""


async def needed(packed: Packed, sound: SoundPacks) -> Needed:
    """What of a snapshot is in its own sound packs, and what else is in others of the org."""
    found = Needed(TreeBlobs(), {}, set())
    for pack in packs_of(packed):
        ref = sound.refs.get(pack)
        if ref is None:
            continue
        found.packs[pack] = ref
        index = await sound.index(pack)
        if pack.kind == "data":
            found.data.update(index.hash(number) for number in range(len(index.sizes)))
        for place in index.frames if pack.kind == "tree" else ():
            await to_thread.run_sync(found.trees.add_frame, await sound.frame(pack, place))
    asked: set[BlobHash] = set()
    while True:
        missing = await to_thread.run_sync(_missing, packed.root.node, found)
        places = await sound.find("tree", missing.trees - asked)
        asked |= missing.trees
        if not places:
            break
        for pack, frames in places.items():
            found.packs[pack] = sound.refs[pack]
            for place in frames:
                await to_thread.run_sync(found.trees.add_frame, await sound.frame(pack, place))
    for pack, frames in (await sound.find("data", missing.data)).items():
        found.packs[pack] = sound.refs[pack]
        found.data.update(*frames.values())
    found.lost = missing.trees | (missing.data - found.data)
    return found


@dataclass(frozen=True, slots=True)
class _Missing:
    trees: set[BlobHash]
    data: set[BlobHash]


def _missing(root: BlobHash, found: Needed) -> _Missing:
    """What is named below the root and not there, as far as the folders can be read."""
    missing = _Missing(set(), set())
    met: set[BlobHash] = set()
    todo = [root]
    while todo:
        name = todo.pop()
        if name in met:
            continue
        met.add(name)
        try:
            node = decode_node(found.trees.blob(name))
        except SnapshotDamagedError:
            missing.trees.add(name)
            continue
        if isinstance(node, Branches):
            todo += node.children
            continue
        for entry in node.entries:
            if entry.kind == FOLDER and entry.hash is not None:
                todo.append(entry.hash)
                continue
            content = content_of(entry, found.trees)
            missing.trees.update(content.tables)
            missing.data.update(content.data - found.data)
    return missing


@dataclass(frozen=True, slots=True)
class EntryContent:
    """The data blobs of an entry; or, when they cannot be told, the chunk tables that would."""

    data: set[BlobHash]
    tables: set[BlobHash]


def content_of(entry: Entry, trees: TreeBlobs) -> EntryContent:
    """What an entry that is no folder needs."""
    if entry.kind == FILE and entry.hash is not None:
        return EntryContent({entry.hash}, set())
    content = entry.content
    if entry.kind != LISTED_FILE or content is None:
        return EntryContent(set(), set())
    try:
        return EntryContent({chunk.name for chunk in trees.chunks(content)}, set())
    except SnapshotDamagedError:
        return EntryContent(set(), {one.name for one in content.references})
