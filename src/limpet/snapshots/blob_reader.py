"""Single blobs out of a snapshot's packs, in any order, by range reads; each verified."""

from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from typing import Final

from anyio import to_thread

from limpet.errors import SnapshotDamagedError
from limpet.snapshots.ahead import each
from limpet.snapshots.blobs import BlobHash
from limpet.snapshots.frame import DecodedFrame, decode_frame
from limpet.snapshots.pack import FramePlace, PackIndex, PackRef
from limpet.snapshots.pack_store import AT_ONCE, PackStore

_WINDOW_BYTES: Final = 4 << 20
"""Frames that are read at once, at most."""


class BlobReader:
    """Reads data blobs of some packs."""

    def __init__(self, packs: PackStore, refs: Sequence[PackRef]) -> None:
        self._packs = packs
        self._refs = refs

    async def read(self, names: Iterable[BlobHash]) -> AsyncIterator[tuple[BlobHash, bytes]]:
        """The blobs in the order asked for; `SnapshotDamagedError` when one is not there."""
        wanted = list(names)
        places = await self._places(set(wanted))
        missing = [name for name in wanted if name not in places]
        if missing:
            raise SnapshotDamagedError(f"The content {missing[0].hex()[:16]} is missing")
        last: tuple[PackRef, FramePlace, DecodedFrame] | None = None
        for window in _windows(wanted, places):
            ref = places[window[0]][0]
            frames = {place: None for name in window if (place := places[name][1])}
            if last is not None and last[0] == ref:
                frames.pop(last[1], None)
            decoded = {last[1]: last[2]} if last is not None and last[0] == ref else {}
            async for place, frame in self._packs.frames("data", ref, list(frames)):
                decoded[place] = await to_thread.run_sync(decode_frame, frame)
            for name in window:
                place = places[name][1]
                yield name, _blob(decoded[place], name)
                last = (ref, place, decoded[place])

    async def _places(self, wanted: set[BlobHash]) -> dict[BlobHash, tuple[PackRef, FramePlace]]:
        async def index(ref: PackRef) -> PackIndex:
            return await self._packs.index("data", ref)

        indexes = await each(self._refs, index, at_once=AT_ONCE)

        def find() -> dict[BlobHash, tuple[PackRef, FramePlace]]:
            found: dict[BlobHash, tuple[PackRef, FramePlace]] = {}
            for ref, index in zip(self._refs, indexes, strict=True):
                for place in index.frames:
                    for name in wanted.intersection(index.hashes_of(place)):
                        found.setdefault(name, (ref, place))
            return found

        return await to_thread.run_sync(find)


def _windows(
    wanted: Sequence[BlobHash], places: dict[BlobHash, tuple[PackRef, FramePlace]]
) -> Iterator[list[BlobHash]]:
    """The blobs in groups that lie one after another in one pack."""
    window: list[BlobHash] = []
    size_bytes = 0
    before: tuple[PackRef, FramePlace] | None = None
    for name in wanted:
        ref, place = places[name]
        if before is not None and (
            before[0] != ref or place.offset < before[1].offset or size_bytes > _WINDOW_BYTES
        ):
            yield window
            window, size_bytes, before = [], 0, None
        if before is None or before[1] != place:
            size_bytes += place.length
        window.append(name)
        before = (ref, place)
    if window:
        yield window


def _blob(frame: DecodedFrame, name: BlobHash) -> bytes:
    for index, found in enumerate(frame.hashes):
        if found == name:
            return frame.blob(index)
    raise SnapshotDamagedError("A frame does not hold what its pack's index says")
