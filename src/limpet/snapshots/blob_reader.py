"""Single blobs out of a snapshot's packs, in any order, by range reads; each verified."""

from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from typing import Final

from anyio import to_thread

from limpet.errors import SnapshotDamagedError
from limpet.snapshots.ahead import each
from limpet.snapshots.blobs import BlobHash
from limpet.snapshots.frame import decode_frame
from limpet.snapshots.pack import FramePlace, PackIndex, PackRef
from limpet.snapshots.pack_store import AT_ONCE, PackStore

_WINDOW_FRAMES: Final = 8
"""Frames that are read at once, at most; each may unpack to a MiB."""
_Place = tuple[PackRef, FramePlace]


class _Opened:
    """A frame whose blobs are found by name: there may be thousands in it."""

    def __init__(self, data: memoryview) -> None:
        self._frame = decode_frame(data)
        self._places = {name: index for index, name in enumerate(self._frame.hashes)}

    def blob(self, name: BlobHash) -> bytes:
        index = self._places.get(name)
        if index is None:
            raise SnapshotDamagedError("A frame does not hold what its pack's index says")
        return self._frame.blob(index)


class BlobReader:
    """Reads data blobs of some packs."""

    def __init__(self, packs: PackStore, refs: Sequence[PackRef]) -> None:
        self._packs = packs
        self._refs = refs

    async def read(self, names: Iterable[BlobHash]) -> AsyncIterator[tuple[BlobHash, bytes]]:
        """The blobs in the order asked for; `SnapshotDamagedError` when one is not there."""
        wanted = list(names)
        places = await self._places(set(wanted))
        for name in wanted:
            if name not in places:
                raise SnapshotDamagedError(f"The content {name.hex()[:16]} is missing")
        opened: dict[_Place, _Opened] = {}
        for window in _windows(wanted, places):
            in_order = dict.fromkeys(places[name] for name in window)
            opened = {place: opened[place] for place in in_order if place in opened}
            ref = places[window[0]][0]
            new = [frame for _, frame in in_order if (ref, frame) not in opened]
            async for frame, data in self._packs.frames("data", ref, new):
                opened[ref, frame] = await to_thread.run_sync(_Opened, data)
            for name in window:
                yield name, opened[places[name]].blob(name)

    async def _places(self, wanted: set[BlobHash]) -> dict[BlobHash, _Place]:
        async def index(ref: PackRef) -> PackIndex:
            return await self._packs.index("data", ref)

        indexes = await each(self._refs, index, at_once=AT_ONCE)

        def find() -> dict[BlobHash, _Place]:
            found: dict[BlobHash, _Place] = {}
            for ref, index in zip(self._refs, indexes, strict=True):
                for place in index.frames:
                    for name in wanted.intersection(index.hashes_of(place)):
                        found.setdefault(name, (ref, place))
            return found

        return await to_thread.run_sync(find)


def _windows(
    wanted: Sequence[BlobHash], places: dict[BlobHash, _Place]
) -> Iterator[list[BlobHash]]:
    """The blobs in groups that lie one after another in a few frames of one pack."""
    window: list[BlobHash] = []
    frames = 0
    before: _Place | None = None
    for name in wanted:
        ref, frame = place = places[name]
        if before is not None and place != before:
            frames += 1
            if before[0] != ref or frame.offset < before[1].offset or frames == _WINDOW_FRAMES:
                yield window
                window, frames = [], 0
        window.append(name)
        before = place
    if window:
        yield window
