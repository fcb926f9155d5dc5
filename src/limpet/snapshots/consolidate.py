"""Keeping the packs of a snapshot few: what its small and half dead packs hold goes into new ones.

Each save adds a pack or two, so after some dozens of saves the packs of a kind are gathered once.
Packs of which nothing is named any more drop out; large ones that are mostly named stay.
"""

from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Final

from anyio import to_thread

from limpet.errors import SnapshotDamagedError
from limpet.snapshots.ahead import each
from limpet.snapshots.blobs import BlobHash, BlobKind
from limpet.snapshots.frame import decode_frame
from limpet.snapshots.pack import TARGET_PACK_BYTES, FinishedPack, FramePlace, PackIndex, PackRef
from limpet.snapshots.pack_maker import PackMaker
from limpet.snapshots.pack_store import AT_ONCE, PackStore

MAX_PACKS: Final = 64
"""With more packs than this of a kind they are gathered, when that makes them fewer."""
_WORTH_IT: Final = 16
_SMALL_BYTES: Final = TARGET_PACK_BYTES // 2
_HALF_DEAD: Final = 0.5

Put = Callable[[FinishedPack], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class _Held:
    """What of a pack is named, and by no pack before it."""

    ref: PackRef
    index: PackIndex
    names: frozenset[BlobHash]
    live_bytes: float

    @property
    def stays(self) -> bool:
        """Whether the pack is large enough, and enough of it is named."""
        return self.live_bytes >= _SMALL_BYTES and self.live_bytes >= (
            _HALF_DEAD * self.ref.size_bytes
        )


async def consolidated(
    packs: PackStore,
    kind: BlobKind,
    refs: Sequence[PackRef],
    named: Collection[BlobHash],
    put: Put,
) -> tuple[PackRef, ...]:
    """Packs, fewer if they can be, in which all `named` blobs lie that lie in `refs`.

    Raises `SnapshotDamagedError` when a pack is not whole or a named blob is in none of them.
    """

    async def index(ref: PackRef) -> PackIndex:
        return await packs.index(kind, ref)

    indexes = await each(refs, index, at_once=AT_ONCE)
    held = await to_thread.run_sync(_held, list(zip(refs, indexes, strict=True)), named)
    moving = [one for one in held if not one.stays]
    made_at_most = 1 + sum(one.live_bytes for one in moving) // TARGET_PACK_BYTES
    if len(refs) - (len(held) - len(moving) + made_at_most) < _WORTH_IT:
        return tuple(refs)
    staying = {one.ref for one in held if one.stays}
    made = await gathered(packs, kind, {one.ref: one.names for one in moving}, put)
    return (*(ref for ref in refs if ref in staying), *made)


async def gathered(
    packs: PackStore,
    kind: BlobKind,
    wanted: "dict[PackRef, frozenset[BlobHash]]",
    put: Put,
) -> list[PackRef]:
    """New packs of what is wanted of others, pack by pack in flat memory."""
    maker = PackMaker(kind)
    made: list[PackRef] = []

    async def put_finished(*, last: bool = False) -> None:
        for pack in await to_thread.run_sync(lambda: maker.take_finished(last=last)):
            await put(pack)
            made.append(pack.ref)

    for ref, names in wanted.items():
        index = await packs.index(kind, ref)
        places = [place for place in index.frames if not names.isdisjoint(index.hashes_of(place))]
        async for place, frame in packs.frames(kind, ref, places):
            await to_thread.run_sync(_take, maker, frame, index.hashes_of(place), names)
            await put_finished()
    await put_finished(last=True)
    return made


def _take(
    maker: PackMaker, frame: memoryview, held: list[BlobHash], names: frozenset[BlobHash]
) -> None:
    decoded = decode_frame(frame)
    if list(decoded.hashes) != held:
        raise SnapshotDamagedError("A frame does not hold what its pack's index says")
    if names.issuperset(decoded.hashes):
        maker.add_frame(bytes(frame), decoded.hashes, decoded.sizes)
        return
    for name, blob in decoded.blobs():
        if name in names:
            maker.add_blob(name, blob)


def _held(packs: Sequence[tuple[PackRef, PackIndex]], named: Collection[BlobHash]) -> list[_Held]:
    """What each pack holds, in the order given; what two hold counts for the larger one."""
    left = set(named)
    found: dict[PackRef, _Held] = {}
    for ref, index in sorted(packs, key=lambda one: -one[0].size_bytes):
        names: set[BlobHash] = set()
        live_bytes = 0.0
        for place in index.frames:
            live_bytes += _take_names(index, place, left, names)
        if names:
            found[ref] = _Held(ref, index, frozenset(names), live_bytes)
    if left:
        raise SnapshotDamagedError(f"{len(left):,} blobs of the snapshot are in none of its packs")
    return [found[ref] for ref, _ in packs if ref in found]


def _take_names(
    index: PackIndex, place: FramePlace, left: set[BlobHash], names: set[BlobHash]
) -> float:
    """Move a frame's blobs that are left to `names`; their share of the frame's bytes."""
    total = wanted = 0
    for number in range(place.first_blob, place.first_blob + place.blob_count):
        total += index.sizes[number]
        name = index.hash(number)
        if name in left:
            left.discard(name)
            names.add(name)
            wanted += index.sizes[number]
    return place.length * wanted / total
