"""Packs in a store: put once, found by name, read whole or in parts, and never believed unread."""

from collections import OrderedDict
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from anyio import to_thread
from blake3 import blake3

from limpet.errors import PreconditionFailedError, SnapshotDamagedError
from limpet.ids import OrgId
from limpet.snapshots.ahead import each
from limpet.snapshots.blobs import BlobKind
from limpet.snapshots.pack import (
    PACK_HEADER_BYTES,
    FinishedPack,
    FramePlace,
    PackIndex,
    PackName,
    PackRef,
    check_pack_header,
    decode_index,
    index_length,
    is_pack_name,
)
from limpet.stores.base import Condition, ReplaceIf, SandboxStore
from limpet.stores.keys import pack_key, packs_prefix

AT_ONCE: Final = 16
"""Requests to the store under way at a time, of one save or restore."""
_PIECE_BYTES: Final = 1 << 20
_KEPT_BYTES: Final = 8 << 20
_INDEX_GUESS_BYTES: Final = 64 << 10
_GAP_BYTES: Final = 256 << 10
"""Frames that lie nearer to each other than this are read in one range."""


class IndexCache:
    """Indexes that were read last; they never change."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, PackIndex] = OrderedDict()
        self._kept_bytes = 0

    def get(self, key: str) -> PackIndex | None:
        """The index of the pack that lies at `key`, when it is at hand."""
        index = self._kept.get(key)
        if index is not None:
            self._kept.move_to_end(key)
        return index

    def drop(self, key: str) -> None:
        """The pack has gone."""
        index = self._kept.pop(key, None)
        if index is not None:
            self._kept_bytes -= _memory_of(index)

    def keep(self, key: str, index: PackIndex) -> None:
        """Keep an index; older ones go when there are too many."""
        if key not in self._kept:
            self._kept[key] = index
            self._kept_bytes += _memory_of(index)
        while self._kept_bytes > _KEPT_BYTES:
            _, gone = self._kept.popitem(last=False)
            self._kept_bytes -= _memory_of(gone)


@dataclass(frozen=True, slots=True)
class ListedPack:
    """A pack as a listing of the store tells of it."""

    kind: BlobKind
    name: PackName
    shared: bool
    size_bytes: int
    modified_at_s: float


class PackStore:
    """The packs of one org, and those of the templates. Methods may raise `StoreUnavailableError`.

    Whatever is not as the head or the index says raises `SnapshotDamagedError`.
    """

    def __init__(self, store: SandboxStore, org: OrgId, indexes: IndexCache | None = None) -> None:
        self._store = store
        self._org = org
        self._indexes = indexes or IndexCache()

    def key(self, kind: BlobKind, ref: PackRef) -> str:
        """Where the pack lies."""
        return pack_key(self._org, kind, ref.name, shared=ref.shared)

    async def put(self, pack: FinishedPack) -> int:
        """Store a pack; how many bytes that took at most, which is 0 when it was there already."""
        key = self.key(pack.kind, pack.ref)
        try:
            await self._store.put(key, _pieces(pack.chunks), condition="create-only")
        except PreconditionFailedError:
            seen = await self._store.head(key)
            if seen is not None and seen.size_bytes == pack.ref.size_bytes:
                return 0
            # What lies there is not what its name says. Only the whole pack may have this name.
            condition: Condition = "create-only" if seen is None else ReplaceIf(seen.etag)
            await self._store.put(key, _pieces(pack.chunks), condition=condition)
        return pack.ref.size_bytes

    async def missing(
        self, kind: BlobKind, refs: Sequence[PackRef], seen: dict[PackRef, bool] | None = None
    ) -> list[PackRef]:
        """Those of the packs that are not there, or not of the size that they should have.

        `seen` carries what was found from one call to the next.
        """
        there = {} if seen is None else seen

        async def look(ref: PackRef) -> None:
            key = self.key(kind, ref)
            found = await self._store.head(key)
            there[ref] = found is not None and found.size_bytes == ref.size_bytes
            if not there[ref]:
                self._indexes.drop(key)

        await each([ref for ref in refs if ref not in there], look, at_once=AT_ONCE)
        return [ref for ref in refs if not there[ref]]

    async def listing(self, kind: BlobKind) -> list[ListedPack]:
        """All packs of a kind, of the org and of the templates."""
        found = []
        for shared in (False, True):
            prefix = packs_prefix(self._org, kind, shared=shared)
            async for one in self._store.list(prefix):
                name = one.key.removeprefix(prefix)
                if is_pack_name(name):
                    found.append(
                        ListedPack(kind, PackName(name), shared, one.size_bytes, one.modified_at_s)
                    )
        return found

    async def read_listed(self, one: ListedPack) -> tuple[PackRef, PackIndex]:
        """How a head would name a pack that was only listed, and what it holds."""
        guess_bytes = min(_INDEX_GUESS_BYTES, one.size_bytes)
        guess = PackRef(one.name, one.size_bytes, guess_bytes, one.shared)
        tail = await self._read(one.kind, guess, one.size_bytes - guess_bytes, guess_bytes)
        length = index_length(bytes(tail[-8:]), one.size_bytes)
        ref = replace(guess, index_bytes=length)
        if length > len(tail):
            return ref, await self.index(one.kind, ref)
        index = await to_thread.run_sync(decode_index, bytes(tail[-length:]), one.size_bytes)
        return ref, index

    async def index(self, kind: BlobKind, ref: PackRef) -> PackIndex:
        """What the pack holds, by its index."""
        key = self.key(kind, ref)
        kept = self._indexes.get(key)
        if kept is not None:
            return kept
        start = ref.size_bytes - ref.index_bytes
        data = await self._read(kind, ref, start, ref.index_bytes)
        index = await to_thread.run_sync(decode_index, bytes(data), ref.size_bytes)
        self._indexes.keep(key, index)
        return index

    async def whole(self, kind: BlobKind, ref: PackRef) -> tuple[memoryview, PackIndex]:
        """The pack's bytes, hashed, and what it holds."""
        data = await self._read(kind, ref, 0, ref.size_bytes + 1)
        return data, await to_thread.run_sync(_verified, data, kind, ref)

    async def frames(
        self, kind: BlobKind, ref: PackRef, places: Sequence[FramePlace]
    ) -> AsyncIterator[tuple[FramePlace, memoryview]]:
        """Some frames of a pack, in ascending order of their places; not verified."""
        for run in _runs(places):
            start = run[0].offset
            data = await self._read(kind, ref, start, run[-1].offset + run[-1].length - start)
            for place in run:
                at = place.offset - start
                yield place, data[at : at + place.length]

    async def _read(self, kind: BlobKind, ref: PackRef, start: int, length: int) -> memoryview:
        chunks = await self._store.get(self.key(kind, ref), start=start, length=length)
        if chunks is None:
            raise SnapshotDamagedError(f"The pack {ref.name[:16]} is gone")
        data = bytearray()
        async for chunk in chunks:
            data += chunk
        wanted = min(length, ref.size_bytes - start)
        if len(data) != wanted:
            what = "cut off" if len(data) < wanted else "longer than it was"
            raise SnapshotDamagedError(f"The pack {ref.name[:16]} is {what}")
        return memoryview(data).toreadonly()


def _memory_of(index: PackIndex) -> int:
    return len(index.hashes) + 36 * len(index.sizes) + 200 * len(index.frames)


async def _pieces(chunks: Iterable[bytes]) -> AsyncIterator[bytes]:
    """The chunks, some together: a store writes few large pieces faster than many small ones."""
    held: list[bytes] = []
    size_bytes = 0
    for chunk in chunks:
        held.append(chunk)
        size_bytes += len(chunk)
        if size_bytes >= _PIECE_BYTES:
            yield b"".join(held)
            held, size_bytes = [], 0
    if held:
        yield b"".join(held)


def _verified(data: memoryview, kind: BlobKind, ref: PackRef) -> PackIndex:
    if blake3(data).hexdigest() != ref.name:
        raise SnapshotDamagedError(f"The pack {ref.name[:16]} was changed")
    check_pack_header(bytes(data[:PACK_HEADER_BYTES]), kind)
    return decode_index(bytes(data[len(data) - ref.index_bytes :]), ref.size_bytes)


def _runs(places: Sequence[FramePlace]) -> list[list[FramePlace]]:
    """The places in groups that are read at once."""
    runs: list[list[FramePlace]] = []
    for place in places:
        last = runs[-1][-1] if runs else None
        if last is None or place.offset - (last.offset + last.length) > _GAP_BYTES:
            runs.append([])
        runs[-1].append(place)
    return runs
