"""The folders of a stored snapshot, read from its tree packs; a few of them kept at hand."""

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from anyio import to_thread

from limpet.errors import InvalidInputError
from limpet.ids import OrgId
from limpet.snapshots.ahead import each
from limpet.snapshots.blobs import BlobHash
from limpet.snapshots.lineage import Head, Packed
from limpet.snapshots.named import NamedBlobs
from limpet.snapshots.pack import FinishedPack, PackIndex, PackRef
from limpet.snapshots.pack_maker import PackMaker
from limpet.snapshots.pack_store import PackStore
from limpet.snapshots.trees import TreeBlobs

KEPT_BYTES: Final = 32 << 20
"""How much of what was read last is kept."""
_BLOB_BYTES: Final = 200
"""What a blob's place needs in memory, beside its bytes."""
_PACKS_AT_ONCE: Final = 8


@dataclass(frozen=True, slots=True)
class StoredTrees:
    """All tree frames of one snapshot. Other snapshots' folders may lie in them too."""

    frames: tuple[tuple[bytes, tuple[BlobHash, ...]], ...]
    blobs: TreeBlobs

    @property
    def size_bytes(self) -> int:
        """What this needs in memory, more or less."""
        return sum(len(frame) for frame, _ in self.frames) + _BLOB_BYTES * len(self.blobs)

    def extended(self, packs: Iterable[FinishedPack]) -> "StoredTrees":
        """These, and what lies in new tree packs."""
        blobs = self.blobs.copy()
        frames = list(self.frames)
        for pack in packs:
            frames += ((frame, blobs.add_frame(frame).hashes) for frame in pack.chunks[1:-1])
        return StoredTrees(tuple(frames), blobs.reader())  # without what it keeps unpacked

    def named_frames(self, named: NamedBlobs) -> Iterator[bytes]:
        """The frames as they lie in packs; one that holds more than the tree names, anew.

        So nobody is shown a folder of another snapshot that lies beside one of this.
        """
        maker = PackMaker("tree", marked=False)
        trees = self.blobs.reader()
        met: set[BlobHash] = set()
        for frame, names in self.frames:
            wanted = [name for name in names if named.names_tree(name) and name not in met]
            met.update(wanted)
            if len(wanted) == len(names):
                yield frame
                continue
            for name in wanted:
                maker.add_blob(name, trees.blob(name))
        for pack in maker.take_finished(last=True):
            yield from pack.chunks[1:-1]


class TreeCache:
    """Reads the trees of snapshots, and keeps what was read last."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[OrgId, str], StoredTrees] = OrderedDict()
        self._kept_bytes = 0

    async def read(self, packs: PackStore, head: Head) -> StoredTrees:
        """All tree blobs of a snapshot; `SnapshotDamagedError` when a tree pack is not whole."""
        key = (head.ref.org, head.blake3)
        kept = self._kept.get(key)
        if kept is not None:
            self._kept.move_to_end(key)
            return kept

        async def read_one(ref: PackRef) -> tuple[memoryview, PackIndex]:
            return await packs.whole("tree", ref)

        read = await each(packed_of(head).trees, read_one, at_once=_PACKS_AT_ONCE)
        trees = await to_thread.run_sync(_stored_trees, read)
        self.keep(head, trees)
        return trees

    def keep(self, head: Head, trees: StoredTrees) -> None:
        """Keep what `read` would give; what was not asked for the longest goes."""
        key = (head.ref.org, head.blake3)
        if key in self._kept or trees.size_bytes > KEPT_BYTES:
            return
        self._kept[key] = trees
        self._kept_bytes += trees.size_bytes
        while self._kept_bytes > KEPT_BYTES:
            _, gone = self._kept.popitem(last=False)
            self._kept_bytes -= gone.size_bytes


def packed_of(head: Head) -> Packed:
    """What a head of kind `tree` says of its packs; `InvalidInputError` for a tar."""
    if head.packed is None:
        raise InvalidInputError(f"The snapshot {head.snapshot} is a plain tar")
    return head.packed


def _stored_trees(packs: list[tuple[memoryview, PackIndex]]) -> StoredTrees:
    blobs = TreeBlobs()
    frames = []
    for data, index in packs:
        for place in index.frames:
            frame = bytes(data[place.offset : place.offset + place.length])
            frames.append((frame, blobs.add_frame(frame).hashes))
    return StoredTrees(tuple(frames), blobs.reader())
