"""A packed snapshot as a stream: all folders, then data, frame by frame as it lies in packs.

What goes to a sandbox holds nothing that its tree does not name: other agents' blobs may lie in the
same packs, and a frame that holds some is framed anew. A pack is verified before anything of it is
sent, and the next one is read meanwhile.
"""

from collections.abc import AsyncIterator, Collection, Iterable, Iterator, Sequence, Set
from dataclasses import dataclass
from typing import Final, Literal

from anyio import to_thread

from limpet.errors import SnapshotDamagedError
from limpet.snapshots.ahead import OneAhead, each
from limpet.snapshots.blobs import BlobHash
from limpet.snapshots.frame import DecodedFrame, decode_frame, encode_frame
from limpet.snapshots.judge_save import ForeignBlobError
from limpet.snapshots.lineage import Head, root_fields
from limpet.snapshots.named import NamedBlobs, named_blobs
from limpet.snapshots.pack import FramePlace, PackIndex, PackRef
from limpet.snapshots.pack_store import PackStore
from limpet.snapshots.snapshot_trees import StoredTrees, packed_of
from limpet.snapshots.wire import StreamWriter

_WHOLE_FROM: Final = 0.5
"""A pack of which this share is wanted is read whole."""
_INDEXES_AT_ONCE: Final = 8
_PIECE_BYTES: Final = 1 << 20
Frame = bytes | memoryview
"""A view when it is a part of a pack that was read."""


@dataclass(frozen=True, slots=True)
class _WantedFrame:
    """A frame that holds something wanted; `only` these of its blobs are the tree's, None: all."""

    place: FramePlace
    only: frozenset[BlobHash] | None


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What is wanted of one pack. Without its `index` the pack is read from end to end."""

    ref: PackRef
    index: PackIndex | None
    frames: tuple[_WantedFrame, ...]


class PackedStream:
    """One stream of a snapshot. `needs` names the only data that is wanted; None: all of it."""

    def __init__(
        self,
        packs: PackStore,
        head: Head,
        trees: StoredTrees,
        *,
        flow: Literal["restore", "plan"],
        needs: Collection[BlobHash] | None = None,
    ) -> None:
        self._packs = packs
        self._head = head
        self._packed = packed_of(head)
        self._trees = trees
        self._flow: Literal["restore", "plan"] = flow
        self._needs = needs
        self._writer = StreamWriter(flow)

    async def open(self) -> AsyncIterator[bytes]:
        """The stream's bytes; what can be judged beforehand is.

        Raises `SnapshotDamagedError` here or before the stream's end, `ForeignBlobError` when the
        tree does not name all of `needs`.
        """
        # What the tree names is only needed for the plan: a large one is many megabytes.
        named = await to_thread.run_sync(self._named)
        folders = await to_thread.run_sync(lambda: list(self._trees.named_frames(named)))
        wanted = await self._plan(named.data.keys()) if self._flow == "restore" else []
        return self._chunks(folders, wanted)

    async def verify(self) -> None:
        """Read and open everything that the tree names; `SnapshotDamagedError` if not whole."""
        named = await to_thread.run_sync(self._named)
        for wanted in await self._plan(named.data.keys()):
            data, index = await self._packs.whole("data", wanted.ref)
            for one in wanted.frames:
                frame = data[one.place.offset : one.place.offset + one.place.length]
                await to_thread.run_sync(_checked, index, one, frame)

    async def _chunks(
        self, folders: Sequence[Frame], wanted: Sequence[_Wanted]
    ) -> AsyncIterator[bytes]:
        ahead: OneAhead[list[Frame]] = OneAhead()
        left = iter(wanted)
        count = 0
        try:
            yield self._writer.header(self._header())
            await self._read_next(ahead, left)
            frames: Sequence[Frame] = folders
            for _ in range(len(wanted) + 1):
                count += len(frames)
                for group in _pieces(frames):
                    yield await to_thread.run_sync(self._writer.frames, *group)
                frames = await ahead.wait() or []
                await self._read_next(ahead, left)
            yield self._writer.end({"frames": count})
        finally:
            await ahead.close()

    async def _read_next(self, ahead: OneAhead[list[Frame]], left: Iterator[_Wanted]) -> None:
        one = next(left, None)
        if one is not None:
            await ahead.start(self._data_frames(one))

    def _header(self) -> dict[str, object]:
        counts = self._packed.counts
        return {
            "snapshot": self._head.snapshot,
            "generation": self._head.generation,
            "root": root_fields(self._packed.root),
            "entries": counts.entries if counts else self._head.receipt.entries,
            "bytes": self._head.size_bytes,
        }

    def _named(self) -> NamedBlobs:
        return named_blobs([self._packed.root.node], self._trees.blobs.reader())

    # -- data ----------------------------------------------------------------------------------

    async def _plan(self, named: Set[BlobHash]) -> list[_Wanted]:
        """What is wanted of which packs, each blob once."""
        left = set(named if self._needs is None else self._needs)
        if not left <= named:
            raise ForeignBlobError("What is asked for is not in this snapshot")

        async def index(ref: PackRef) -> PackIndex:
            return await self._packs.index("data", ref)

        chosen: list[_Wanted] = []
        refs = self._packed.packs
        for first in range(0, len(refs), _INDEXES_AT_ONCE):
            some = refs[first : first + _INDEXES_AT_ONCE]
            indexes = await each(some, index, at_once=_INDEXES_AT_ONCE)
            packs = list(zip(some, indexes, strict=True))
            chosen += await to_thread.run_sync(_choose, packs, named, left)
        if left:
            raise SnapshotDamagedError(
                f"The snapshot {self._head.snapshot} lacks {len(left):,} pieces of content",
                hint="Nothing of it was used. Choose an older snapshot.",
            )
        return chosen

    async def _data_frames(self, wanted: _Wanted) -> list[Frame]:
        if wanted.index is None:
            data, _ = await self._packs.whole("data", wanted.ref)
            return await to_thread.run_sync(_cut, wanted, data)
        found: list[Frame] = []
        places = {one.place: one for one in wanted.frames}
        async for place, frame in self._packs.frames("data", wanted.ref, list(places)):
            one = places[place]
            found.append(await to_thread.run_sync(_checked, wanted.index, one, frame))
        return found


def _choose(
    packs: Sequence[tuple[PackRef, PackIndex]], named: Set[BlobHash], left: set[BlobHash]
) -> list[_Wanted]:
    """Which frames hold something of what is left to be found; that is taken out of `left`."""
    chosen = []
    for ref, index in packs:
        frames = []
        for place in index.frames:
            names = index.hashes_of(place)
            found = left.intersection(names)
            if found:
                left -= found
                theirs = frozenset(name for name in names if name in named)
                frames.append(_WantedFrame(place, None if theirs.issuperset(names) else theirs))
        if frames:
            wanted_bytes = sum(one.place.length for one in frames)
            whole = wanted_bytes >= _WHOLE_FROM * (ref.size_bytes - ref.index_bytes)
            chosen.append(_Wanted(ref, None if whole else index, tuple(frames)))
    return chosen


def _cut(wanted: _Wanted, pack: memoryview) -> list[Frame]:
    """The frames of a pack that is verified; only those with other blobs in them are opened."""
    frames: list[Frame] = []
    for one in wanted.frames:
        frame = pack[one.place.offset : one.place.offset + one.place.length]
        frames.append(frame if one.only is None else _framed_anew(decode_frame(frame), one.only))
    return frames


def _checked(index: PackIndex, one: _WantedFrame, frame: memoryview) -> Frame:
    """A frame that was read alone: it must hold what the index says."""
    decoded = decode_frame(frame)
    if list(decoded.hashes) != index.hashes_of(one.place):
        raise SnapshotDamagedError("A frame does not hold what its pack's index says")
    return frame if one.only is None else _framed_anew(decoded, one.only)


def _framed_anew(decoded: DecodedFrame, only: Set[BlobHash]) -> bytes:
    return encode_frame("data", [blob for name, blob in decoded.blobs() if name in only])


def _pieces(frames: Iterable[Frame]) -> Iterator[list[Frame]]:
    """The frames in groups of some size, so that each is one step."""
    group: list[Frame] = []
    size_bytes = 0
    for frame in frames:
        group.append(frame)
        size_bytes += len(frame)
        if size_bytes >= _PIECE_BYTES:
            yield group
            group, size_bytes = [], 0
    if group:
        yield group
