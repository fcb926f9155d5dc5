"""Which blobs the org has already: guessed by the local index, sure by the packs' own indexes."""

import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Set
from typing import Final

from anyio import to_thread

from limpet.errors import SnapshotDamagedError
from limpet.snapshots.ahead import each
from limpet.snapshots.blob_index import BlobIndex
from limpet.snapshots.blobs import BlobHash, BlobKind, names_in
from limpet.snapshots.pack import FinishedPack, PackIndex, PackRef
from limpet.snapshots.pack_store import AT_ONCE, ListedPack, PackStore
from limpet.snapshots.reuse import ReusablePacks

LISTED_AGAIN_AFTER_S: Final = 900.0
_READ_AT_MOST: Final = 256
"""Packs that are new to the index are read, so many at one save; the rest at the next ones."""
_KINDS: Final[tuple[BlobKind, ...]] = ("data", "tree")


class KnownBlobs:
    """For one save. `preferred` packs are taken before others that hold a blob as well."""

    def __init__(
        self,
        packs: PackStore,
        index: BlobIndex,
        preferred: Iterable[PackRef],
        reusable: ReusablePacks,
    ) -> None:
        self._reusable = reusable
        self._packs = packs
        self._index = index
        self._preferred = frozenset(preferred)
        self._sure: dict[BlobKind, dict[BlobHash, PackRef]] = {"data": {}, "tree": {}}
        self._read: set[PackRef] = set()
        self._any = False
        """Whether there were any packs: what this save puts itself is none of its finds."""

    async def refresh(self, needed: Mapping[BlobKind, Sequence[PackRef]]) -> None:
        """Bring the index up to date when it is old; `needed` packs are in it afterwards."""
        known = await to_thread.run_sync(self._index.packs)
        self._any = bool(known)
        new = [(kind, ref) for kind in _KINDS for ref in needed[kind] if (kind, ref) not in known]
        await each(new, self._learn, at_once=AT_ONCE)
        now_s = time.time()
        age_s = now_s - await to_thread.run_sync(self._index.listed_at_s)
        if not 0 <= age_s < LISTED_AGAIN_AFTER_S and await self._list_again(known | set(new)):
            await to_thread.run_sync(self._index.note_listing, now_s)

    async def _list_again(self, known: Set[tuple[BlobKind, PackRef]]) -> bool:
        """Learn of packs that others put, forget those that were pruned; whether that is all."""
        await self._reusable.look()
        listed = [one for kind in _KINDS for one in await self._packs.listing(kind)]
        there = {(one.kind, one.name, one.shared) for one in listed}
        for kind in _KINDS:
            gone = [ref for k, ref in known if k == kind and (k, ref.name, ref.shared) not in there]
            await self.forget(kind, gone)
        names = {(kind, ref.name, ref.shared) for kind, ref in known}
        unread = [one for one in listed if (one.kind, one.name, one.shared) not in names]
        unread.sort(key=lambda one: one.modified_at_s, reverse=True)
        await each(unread[:_READ_AT_MOST], self._learn_listed, at_once=AT_ONCE)
        return len(unread) <= _READ_AT_MOST

    async def make_sure(self, kind: BlobKind, names: Sequence[BlobHash]) -> None:
        """Look into the packs that may hold these blobs; `find` then knows."""
        while packs := await to_thread.run_sync(self.promising, kind, names):
            await each([(kind, ref) for ref in packs], self._look_into, at_once=AT_ONCE)

    def promising(self, kind: BlobKind, names: Sequence[BlobHash]) -> list[PackRef]:
        """The fewest packs, more or less, that may hold what is not sure yet. Blocks."""
        if not self._any:
            return []
        sure = self._sure[kind]
        found = self._index.find(kind, [name for name in names if name not in sure])
        hits = Counter(ref for refs in found.values() for ref in refs)
        chosen: dict[PackRef, None] = {}
        for refs in found.values():
            new = [
                ref
                for ref in refs
                if ref not in self._read and not self._reusable.barred(kind, ref)
            ]
            if new and not any(ref in chosen for ref in new):
                best = max(new, key=lambda ref: (ref in self._preferred, hits[ref]))
                chosen[best] = None
        return list(chosen)

    def find(self, kind: BlobKind, names: Iterable[BlobHash]) -> dict[BlobHash, PackRef]:
        """Those of the blobs that a pack surely held when it was looked into, and in which."""
        sure = self._sure[kind]
        return {name: sure[name] for name in names if name in sure}

    async def remember(self, pack: FinishedPack) -> None:
        """A pack was stored."""
        await to_thread.run_sync(self._index.add, pack.kind, pack.ref, pack.index)

    async def forget(self, kind: BlobKind, refs: Sequence[PackRef]) -> None:
        """Packs have gone."""
        if refs:
            await to_thread.run_sync(self._index.forget, kind, refs)

    # -- inside --------------------------------------------------------------------------------

    async def _look_into(self, which: tuple[BlobKind, PackRef]) -> None:
        kind, ref = which
        self._read.add(ref)
        try:
            index = await self._packs.index(kind, ref)
        except SnapshotDamagedError:  # `check` tells of it; for a save it is as if it were not
            await self.forget(kind, [ref])
            return
        await to_thread.run_sync(self._rely_on, kind, ref, index)

    def _rely_on(self, kind: BlobKind, ref: PackRef, index: PackIndex) -> None:
        sure = self._sure[kind]
        for name in names_in(index.hashes):
            sure.setdefault(name, ref)

    async def _learn(self, which: tuple[BlobKind, PackRef]) -> None:
        kind, ref = which
        try:
            index = await self._packs.index(kind, ref)
        except SnapshotDamagedError:
            return
        await self._note(kind, ref, index)

    async def _learn_listed(self, one: ListedPack) -> None:
        try:
            ref, index = await self._packs.read_listed(one)
        except SnapshotDamagedError:
            return
        await self._note(one.kind, ref, index)

    async def _note(self, kind: BlobKind, ref: PackRef, index: PackIndex) -> None:
        self._any = True
        await to_thread.run_sync(self._index.add, kind, ref, index)
