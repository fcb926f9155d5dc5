"""A packed snapshot as a stream: all folders, then data, frame by frame as it lies in packs.

What goes to a sandbox holds nothing that its tree does not name: other agents' blobs may lie in the
same packs, and a frame that holds some is framed anew. A pack is verified before anything of it is
sent, and the next one is read meanwhile.
"""

from collections.abc import AsyncIterator, Collection, Iterable, Iterator, Sequence
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
from limpet.snapshots.pack_store import AT_ONCE, PackStore
from limpet.snapshots.snapshot_trees import StoredTrees, packed_of
from limpet.snapshots.wire import StreamWriter

_WHOLE_FROM: Final = 0.5
"""A pack of which this share is wanted is read whole."""
_PIECE_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What is wanted of one pack: its frames that hold something of it."""

    ref: PackRef
    index: PackIndex
    frames: tuple[FramePlace, ...]

    @property
    def whole(self) -> bool:
        """Whether the pack is better read from end to end."""
        return sum(place.length for place in self.frames) >= _WHOLE_FROM * self.ref.size_bytes


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
        self._named = NamedBlobs()

    async def open(self) -> AsyncIterator[bytes]:
        """The stream's bytes; what can be judged beforehand is.

        Raises `SnapshotDamagedError` here or before the stream's end, `InvalidInputError` when the
        tree does not name all of `needs`.
        """
        self._named = await to_thread.run_sync(self._read_named)
        wanted = await self._plan() if self._flow == "restore" else []
        return self._chunks(wanted)

    async def verify(self) -> None:
        """Read and open everything that the tree names; `SnapshotDamagedError` if not whole."""
        self._named = await to_thread.run_sync(self._read_named)
        for wanted in await self._plan():
            data, _ = await self._packs.whole("data", wanted.ref)
            for place in wanted.frames:
                frame = data[place.offset : place.offset + place.length]
                await to_thread.run_sync(self._checked, wanted.index, place, frame)

    async def _chunks(self, wanted: Sequence[_Wanted]) -> AsyncIterator[bytes]:
        ahead: OneAhead[list[bytes]] = OneAhead()
        left = iter(wanted)
        count = 0
        try:
            yield self._writer.header(self._header())
            await self._read_next(ahead, left)
            frames = await to_thread.run_sync(self._tree_frames)
            for _ in range(len(wanted) + 1):
                count += len(frames)
                for group in _pieces(frames):
                    yield await to_thread.run_sync(self._records, group)
                frames = await ahead.wait() or []
                await self._read_next(ahead, left)
            yield self._writer.end({"frames": count})
        finally:
            await ahead.close()

    async def _read_next(self, ahead: OneAhead[list[bytes]], left: Iterator[_Wanted]) -> None:
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

    def _records(self, frames: Sequence[bytes]) -> bytes:
        return b"".join(map(self._writer.frame, frames))

    def _read_named(self) -> NamedBlobs:
        return named_blobs([self._packed.root.node], self._trees.blobs.reader())

    def _tree_frames(self) -> list[bytes]:
        return list(self._trees.named_frames(self._named))

    # -- data ----------------------------------------------------------------------------------

    async def _plan(self) -> list[_Wanted]:
        refs = self._packed.packs

        async def index(ref: PackRef) -> PackIndex:
            return await self._packs.index("data", ref)

        indexes = await each(refs, index, at_once=AT_ONCE)
        return await to_thread.run_sync(self._choose, list(zip(refs, indexes, strict=True)))

    def _choose(self, packs: Sequence[tuple[PackRef, PackIndex]]) -> list[_Wanted]:
        """Which frames of which packs hold what is wanted, each blob once."""
        left = set(self._named.data if self._needs is None else self._needs)
        if not left <= self._named.data.keys():
            raise ForeignBlobError("What is asked for is not in this snapshot")
        chosen = []
        for ref, index in packs:
            frames = []
            for place in index.frames:
                held = left.intersection(index.hashes_of(place))
                if held:
                    left -= held
                    frames.append(place)
            if frames:
                chosen.append(_Wanted(ref, index, tuple(frames)))
        if left:
            raise SnapshotDamagedError(
                f"The snapshot {self._head.snapshot} lacks {len(left):,} pieces of content",
                hint="Nothing of it was used. Choose an older snapshot.",
            )
        return chosen

    async def _data_frames(self, wanted: _Wanted) -> list[bytes]:
        if wanted.whole:
            data, _ = await self._packs.whole("data", wanted.ref)
            return await to_thread.run_sync(self._cut, wanted, data)
        found = []
        async for place, frame in self._packs.frames("data", wanted.ref, wanted.frames):
            found.append(await to_thread.run_sync(self._checked, wanted.index, place, frame))
        return found

    def _cut(self, wanted: _Wanted, pack: bytes) -> list[bytes]:
        """The frames of a pack that is verified; only those with other blobs in them are opened."""
        frames = []
        for place in wanted.frames:
            frame = pack[place.offset : place.offset + place.length]
            whole = self._named.data.keys() >= set(wanted.index.hashes_of(place))
            frames.append(frame if whole else self._only_named(decode_frame(frame), frame))
        return frames

    def _checked(self, index: PackIndex, place: FramePlace, frame: bytes) -> bytes:
        """A frame that was read alone: it must hold what the index says."""
        decoded = decode_frame(frame)
        if list(decoded.hashes) != index.hashes_of(place):
            raise SnapshotDamagedError("A frame does not hold what its pack's index says")
        return self._only_named(decoded, frame)

    def _only_named(self, decoded: DecodedFrame, frame: bytes) -> bytes:
        """The frame, or one of those of its blobs that the tree names."""
        named = self._named.data
        kept = [blob for name, blob in decoded.blobs() if name in named]
        return frame if len(kept) == len(decoded.hashes) else encode_frame("data", kept)


def _pieces(frames: Iterable[bytes]) -> Iterator[list[bytes]]:
    """The frames in groups of some size, so that each is one step."""
    group: list[bytes] = []
    size_bytes = 0
    for frame in frames:
        group.append(frame)
        size_bytes += len(frame)
        if size_bytes >= _PIECE_BYTES:
            yield group
            group, size_bytes = [], 0
    if group:
        yield group
