"""Whether all that a snapshot names lies in what is whole of its packs, and which of it does not.

Snapshots of a branch have nearly everything in common, so a folder that was found whole once is not
gone through again while the packs that it was found in are named.
"""

from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from anyio import to_thread

from limpet.errors import SnapshotDamagedError
from limpet.snapshots.blobs import BlobHash
from limpet.snapshots.check_packs import PackId, packs_of
from limpet.snapshots.lineage import Packed
from limpet.snapshots.node import FILE, FOLDER, LISTED_FILE, Entry
from limpet.snapshots.trees import MAX_DEPTH, TreeBlobs


class WholeBlobs(Protocol):
    """Gives what is whole of a pack."""

    def tree_frames(self, pack: PackId) -> AsyncIterator[bytes]:
        """Its frames, of a pack of folders."""
        ...

    async def data_names(self, pack: PackId) -> Iterable[BlobHash]:
        """The blobs that it holds, of a pack of data."""
        ...


@dataclass(frozen=True, slots=True)
class LostEntry:
    """An entry of a snapshot that cannot be had any more. Of a folder, all below it."""

    path: bytes
    entry: Entry | None
    """None: the workspace's own folder."""


class StateWalk:
    """Goes through one snapshot after another; the nearer they are to each other the better.

    Memory is in proportion to the largest snapshot, not to their number.
    """

    def __init__(self, source: WholeBlobs) -> None:
        self._source = source
        self._packs: set[PackId] = set()
        self._trees = TreeBlobs()
        self._data: set[BlobHash] = set()
        self._whole: set[BlobHash] = set()

    async def lost(self, packed: Packed) -> Iterator[LostEntry] | None:
        """What of the snapshot is lost, as it is met; None when all of it is there.

        The iterator is for a thread, and to be used before the next snapshot is gone through.
        """
        await self._gather(set(packs_of(packed)))
        if await to_thread.run_sync(self._is_whole, packed.root.node):
            return None
        return self._each_lost(packed.root.node)

    async def _gather(self, packs: set[PackId]) -> None:
        if not self._packs <= packs:
            self._packs, self._trees = set(), TreeBlobs()
            self._data, self._whole = set(), set()
        for pack in sorted(packs - self._packs):
            if pack.kind == "tree":
                async for frame in self._source.tree_frames(pack):
                    await to_thread.run_sync(self._trees.add_frame, frame)
            else:
                self._data.update(await self._source.data_names(pack))
        self._packs = packs

    def _is_whole(self, root: BlobHash) -> bool:
        """Whether everything below a node is there; the nodes of which that holds are kept."""
        broken: set[BlobHash] = set()
        todo: list[tuple[BlobHash, list[BlobHash] | None]] = [(root, None)]
        while todo:
            node, below = todo.pop()
            if below is not None:
                if node not in broken and self._whole.issuperset(below):
                    self._whole.add(node)
                continue
            if node in self._whole:
                continue
            entries = self._entries(node)
            if entries is None or not all(self._has(entry) for entry in entries):
                broken.add(node)
            below = [entry.hash for entry in entries or () if entry.hash and entry.kind == FOLDER]
            todo.append((node, below))
            todo += [(child, None) for child in below]
        return root in self._whole

    def _each_lost(self, root: BlobHash) -> Iterator[LostEntry]:
        todo: list[tuple[bytes, int, BlobHash, Entry | None]] = [(b"", 0, root, None)]
        while todo:
            path, depth, node, looks = todo.pop()
            if node in self._whole:
                continue
            entries = self._entries(node)
            if entries is None or depth > MAX_DEPTH:
                yield LostEntry(path, looks)
                continue
            for entry in reversed(entries):
                below = path + b"/" + entry.name if path else entry.name
                if entry.kind == FOLDER and entry.hash is not None:
                    todo.append((below, depth + 1, entry.hash, entry))
                elif not self._has(entry):
                    yield LostEntry(below, entry)

    def _entries(self, node: BlobHash) -> list[Entry] | None:
        try:
            return self._trees.entries(node)
        except SnapshotDamagedError:
            return None

    def _has(self, entry: Entry) -> bool:
        """Whether the content of an entry that is no folder is there."""
        if entry.kind == FILE:
            return entry.hash in self._data
        if entry.kind != LISTED_FILE or entry.content is None:
            return True
        try:
            return all(chunk.name in self._data for chunk in self._trees.chunks(entry.content))
        except SnapshotDamagedError:
            return False
