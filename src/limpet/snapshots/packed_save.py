"""A save as a packed stream, from its first byte to where only the head is missing.

Data is verified and put while it comes, a pack at a time; the trees when all of them were judged
against the base. So one that breaks off, or is refused, leaves packs that nobody names and nothing
else.
"""

import contextlib
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from anyio import to_thread

from limpet.snapshots.ahead import OneAhead
from limpet.snapshots.blob_index import BlobIndex
from limpet.snapshots.blobs import BlobHash, BlobKind
from limpet.snapshots.claimed_receipt import claimed_receipt
from limpet.snapshots.consolidate import MAX_PACKS, consolidated, gathered
from limpet.snapshots.data_packing import ArrivedFrame
from limpet.snapshots.faults import reach
from limpet.snapshots.judge_save import BaseTree, NewTrees, judge_save
from limpet.snapshots.known_blobs import KnownBlobs
from limpet.snapshots.lineage import Head
from limpet.snapshots.named import NamedBlobs, named_blobs
from limpet.snapshots.node import Root
from limpet.snapshots.pack import FinishedPack, PackRef
from limpet.snapshots.pack_maker import PackMaker
from limpet.snapshots.pack_store import PackStore
from limpet.snapshots.receipt import Receipt
from limpet.snapshots.receiving import Receiving, SaveHeader
from limpet.snapshots.reuse import ReusablePacks, gone
from limpet.snapshots.snapshot_trees import StoredTrees, TreeCache, packed_of
from limpet.snapshots.tree_counts import TreeCounts
from limpet.snapshots.trees import TreeBlobs

_BATCH_BYTES: Final = 1 << 20
_TAKEN_FROM: Final = 0.5
"""Of a tree pack's bytes, how many unpacked bytes of it must be wanted."""


@dataclass(frozen=True, slots=True)
class StoredSave:
    """A save of which everything is in the store but its head."""

    root: Root
    header: SaveHeader
    receipt: Receipt
    counts: TreeCounts
    packs: tuple[PackRef, ...]
    trees: tuple[PackRef, ...]
    sent_bytes: int
    stored_bytes: int
    folders: StoredTrees | None
    """What a reader of this state's tree packs would read, when it is at hand."""


class _Arrived(NamedTuple):
    """Frames of data; `packs` are those that are full with them, None when they are not stored."""

    frames: list[ArrivedFrame]
    new: list[BlobHash]
    packs: list[FinishedPack] | None


class PackedSave:
    """One save. `base` is the state that the stream may build upon."""

    def __init__(
        self,
        packs: PackStore,
        trees: TreeCache,
        index: BlobIndex,
        base: Head | None,
        reusable: ReusablePacks,
    ) -> None:
        self._reusable = reusable
        self._packs = packs
        self._trees = trees
        self._base = base if base is not None and base.kind == "tree" else None
        packed = self._base.packed if self._base else None
        self._base_packs: dict[BlobKind, tuple[PackRef, ...]] = {
            "data": packed.packs if packed else (),
            "tree": packed.trees if packed else (),
        }
        every = (*self._base_packs["data"], *self._base_packs["tree"])
        self._known = KnownBlobs(packs, index, every, reusable)
        self._receiving = Receiving(self._base.blake3 if self._base else None)
        self._taking: OneAhead[None] = OneAhead()
        self._putting: OneAhead[None] = OneAhead()
        self._put_now: set[PackRef] = set()
        self._reused: dict[BlobKind, list[PackRef]] = {}
        self._base_folders: StoredTrees | None = None
        self._folders: StoredTrees | None = None
        self._stored_bytes = 0

    async def run(self, chunks: AsyncIterator[bytes]) -> StoredSave:
        """Receive it; see `SnapshotRepository.save_packed` for what it raises."""
        try:
            await self._known.refresh(self._base_packs)
            await self._receive(chunks)
            root, claimed = await to_thread.run_sync(self._receiving.finish)
            receipt = await to_thread.run_sync(claimed_receipt, claimed)
            if self._base is not None and root.digest == self._base.blake3:
                return await self._same(self._base, root, receipt)
            return await self._changed(root, receipt)
        finally:
            await self._taking.close()
            await self._putting.close()

    async def require_reused(self) -> None:
        """Every pack that the state lies in and that was there before must be there still, and
        stay.

        Raises `PackGoneError`.
        """
        if unfit := await self._reusable.unfit(self._reused):
            for kind, refs in unfit.items():
                await self._known.forget(kind, refs)
            raise gone(sum(map(len, unfit.values())))

    # -- the stream ----------------------------------------------------------------------------

    async def _receive(self, chunks: AsyncIterator[bytes]) -> None:
        async with contextlib.aclosing(_batches(chunks)) as batches:
            async for batch in batches:
                await self._taking.start(self._take(batch))
        await self._taking.wait()

    async def _take(self, batch: bytes) -> None:
        self._receiving.feed(batch)
        while (some := await to_thread.run_sync(self._next)) is not None:
            packs = some.packs
            if packs is None:
                await self._known.make_sure("data", some.new)
                packs = await to_thread.run_sync(self._store, some.frames, some.new)
            for pack in packs:
                await self._putting.start(self._put(pack, "save-pack-stored"))
            del some  # or its frames would stay while the next ones are unpacked

    def _next(self) -> _Arrived | None:
        """Some frames of what was fed, stored where that needs no look into the org's packs."""
        frames, new = self._receiving.frames()
        if not frames:
            return None
        sure = not self._known.promising("data", new)
        return _Arrived(frames, new, self._store(frames, new) if sure else None)

    def _store(self, frames: Sequence[ArrivedFrame], new: Sequence[BlobHash]) -> list[FinishedPack]:
        return self._receiving.store(frames, self._known.find("data", new))

    async def _put(self, pack: FinishedPack, point: str) -> None:
        self._stored_bytes += await self._packs.put(pack)
        self._put_now.add(pack.ref)
        await self._known.remember(pack)
        reach(point)

    async def _put_all(self, packs: Iterable[FinishedPack], point: str) -> None:
        for pack in packs:
            await self._putting.start(self._put(pack, point))
        await self._putting.wait()

    # -- what it amounts to --------------------------------------------------------------------

    async def _same(self, base: Head, root: Root, receipt: Receipt) -> StoredSave:
        """The state is the base's: what was sent is not needed."""
        packed = packed_of(base)
        counts = packed.counts
        if counts is None:
            tree = await self._base_tree(base)
            counts = await to_thread.run_sync(lambda: tree.counts)
        return self._stored(root, receipt, counts, packed.packs, packed.trees)

    async def _changed(self, root: Root, receipt: Receipt) -> StoredSave:
        base = self._base if self._receiving.header.base is not None else None
        tree = await self._base_tree(base) if base is not None else None
        counts = await to_thread.run_sync(judge_save, root.node, self._receiving, tree)
        last = await to_thread.run_sync(self._receiving.last_packs)
        await self._put_all(last, "save-pack-stored")
        old = packed_of(base) if base is not None else None
        packs = _together(old.packs if old else (), await self._sent_packs())
        if len(packs) > MAX_PACKS:
            named = await self._named(root, tree)
            packs = await consolidated(self._packs, "data", packs, named.data, self._put_gathered)
        reach("save-packs-stored")
        known = await self._known_trees()
        new = await to_thread.run_sync(self._tree_packs, known)
        await self._put_all(new, "save-tree-pack-stored")
        trees = _together(old.trees if old else (), (*known.values(), *(one.ref for one in new)))
        if len(trees) > MAX_PACKS:
            named = await self._named(root, tree)
            every = named.nodes.keys() | named.tables.keys()
            trees = await consolidated(self._packs, "tree", trees, every, self._put_gathered)
        elif not known and (base is None or self._base_folders is not None):
            before = self._base_folders or StoredTrees((), TreeBlobs())
            self._folders = await to_thread.run_sync(before.extended, new)
        reach("save-trees-stored")
        return self._stored(root, receipt, counts, packs, trees)

    async def _named(self, root: Root, base: BaseTree | None) -> NamedBlobs:
        new = NewTrees(self._receiving.trees, base.trees if base else None)
        return await to_thread.run_sync(named_blobs, [root.node], new)

    async def _sent_packs(self) -> list[PackRef]:
        """Where what was sent lies now; of packs that are mostly junk the rest is packed anew."""
        packs = await to_thread.run_sync(self._receiving.data_packs)
        wasteful = await to_thread.run_sync(self._receiving.wasteful_packs)
        if not wasteful:
            return packs
        made = await gathered(self._packs, "data", wasteful, self._put_gathered)
        return [ref for ref in packs if ref not in wasteful] + made

    async def _put_gathered(self, pack: FinishedPack) -> None:
        await self._put(pack, "save-gathered-pack-stored")

    async def _base_tree(self, base: Head) -> BaseTree:
        self._base_folders = await self._trees.read(self._packs, base)
        packed = packed_of(base)
        return BaseTree(packed.root.node, self._base_folders.blobs.reader(), packed.counts)

    async def _known_trees(self) -> dict[BlobHash, PackRef]:
        """Tree blobs that need not be stored.

        A restore reads whole tree packs: one that the base does not name is only taken in when a
        good part of it is wanted.
        """
        names = await to_thread.run_sync(list, self._receiving.used_trees)
        await self._known.make_sure("tree", names)
        return await to_thread.run_sync(self._worth_taking, names)

    def _worth_taking(self, names: Sequence[BlobHash]) -> dict[BlobHash, PackRef]:
        known = self._known.find("tree", names)
        wanted_bytes: Counter[PackRef] = Counter()
        trees = self._receiving.trees
        for name in trees:  # in the order in which they came, so that each frame is opened once
            if name in known:
                wanted_bytes[known[name]] += len(trees.blob(name))
        taken = {
            ref
            for ref, size in wanted_bytes.items()
            if ref in self._base_packs["tree"] or size >= _TAKEN_FROM * ref.size_bytes
        }
        return {name: ref for name, ref in known.items() if ref in taken}

    def _tree_packs(self, known: Collection[BlobHash]) -> list[FinishedPack]:
        """The tree blobs that were sent and that the tree names, in the order of the stream."""
        maker = PackMaker("tree")
        trees = self._receiving.trees
        for name in trees:
            if name in self._receiving.used_trees and name not in known:
                maker.add_blob(name, trees.blob(name))
        return maker.take_finished(last=True)

    def _stored(
        self,
        root: Root,
        receipt: Receipt,
        counts: TreeCounts,
        packs: tuple[PackRef, ...],
        trees: tuple[PackRef, ...],
    ) -> StoredSave:
        self._reused = {
            "data": [ref for ref in packs if ref not in self._put_now],
            "tree": [ref for ref in trees if ref not in self._put_now],
        }
        sent_bytes = self._receiving.sent_bytes
        told = replace(
            receipt,
            entries=counts.entries,
            files=counts.files,
            bytes=counts.bytes,
            size_bytes=sent_bytes,
            blake3=root.digest,
        )
        return StoredSave(
            root,
            self._receiving.header,
            told,
            counts,
            packs,
            trees,
            sent_bytes,
            self._stored_bytes,
            self._folders,
        )


async def _batches(chunks: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    held: list[bytes] = []
    size_bytes = 0
    async for chunk in chunks:
        held.append(chunk)
        size_bytes += len(chunk)
        if size_bytes >= _BATCH_BYTES:
            yield b"".join(held)
            held, size_bytes = [], 0
    if held:
        yield b"".join(held)


def _together(old: Iterable[PackRef], new: Iterable[PackRef]) -> tuple[PackRef, ...]:
    """Both, each pack once."""
    return tuple(dict.fromkeys((*old, *new)))
