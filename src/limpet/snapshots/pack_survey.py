"""What is left of a damaged pack, and whether its bytes can be made again. Pure, but slow.

Frames tell nothing of their blobs' names, so what is found here is named by what it is: a frame
that decodes holds what it holds, wherever in the bytes it lies.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Final

from blake3 import blake3

from limpet.errors import SnapshotDamagedError
from limpet.snapshots import zstd
from limpet.snapshots.blobs import BlobHash, BlobKind, hash_of
from limpet.snapshots.frame import (
    FRAME_HEADER_BYTES,
    SKIPPABLE,
    DecodedFrame,
    decode_frame,
    encode_frame,
    read_frame_header,
)
from limpet.snapshots.pack import (
    PACK_HEADER_BYTES,
    FinishedPack,
    FramePlace,
    PackBuilder,
    PackIndex,
    check_pack_header,
    decode_index,
    index_length,
)

_FRAME_SIGNATURE: Final = b"LFR1"
FindBlob = Callable[[BlobHash], bytes | None]
"""Gives a blob that is whole somewhere else."""


@dataclass(frozen=True, slots=True)
class FoundFrame:
    """A whole frame, and where it lies."""

    offset: int
    data: bytes
    hashes: tuple[BlobHash, ...]
    sizes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class PackSurvey:
    """What was found in the bytes of a pack. `faults` says what is wrong, none when nothing is."""

    kind: BlobKind
    name: str
    faults: tuple[str, ...]
    frames: tuple[FoundFrame, ...]
    """All that are whole; only looked for when there are faults."""
    index: PackIndex | None
    """What the pack's own index says, when that can be read."""

    @property
    def names(self) -> frozenset[BlobHash]:
        """The blobs of the frames that are whole."""
        return frozenset(name for frame in self.frames for name in frame.hashes)


def survey_pack(data: memoryview, kind: BlobKind, name: str) -> PackSurvey:
    """Look through all of a pack that should have this name."""
    faults: list[str] = []
    if blake3(data).hexdigest() != name:
        faults.append("its bytes are not what its name says")
    for check in (_check_header, _check_frames):
        try:
            check(data, kind)
        except SnapshotDamagedError as error:
            faults.append(error.message[0].lower() + error.message[1:])
    if not faults:
        return PackSurvey(kind, name, (), (), read_index(data))
    return PackSurvey(kind, name, tuple(faults), tuple(_frames_in(data, kind)), _index(data))


def read_index(data: memoryview) -> PackIndex:
    """The index at a pack's end; `SnapshotDamagedError` when it is none."""
    length = index_length(bytes(data[-8:]), len(data))
    return decode_index(bytes(data[-length:]), len(data))


def made_again(survey: PackSurvey, data: memoryview, find: FindBlob) -> FinishedPack | None:
    """The pack with just the bytes that its name says, when they can be had.

    A lost header or index follows from the frames; a lost frame from its blobs, wherever they are
    whole, since the same blobs mostly compress to the same bytes. The name tells whether it is so.
    """
    frames = survey.frames
    index = survey.index
    if index is not None:
        completed = [_frame_at(survey, data, index, place, find) for place in index.frames]
        if all(frame is not None for frame in completed):
            frames = tuple(frame for frame in completed if frame is not None)
    for candidate in (frames, [_encoded_anew(survey.kind, frame) for frame in frames]):
        pack = _built(survey.kind, candidate)
        if pack is not None and pack.ref.name == survey.name:
            return pack
    return None


def _check_header(data: memoryview, kind: BlobKind) -> None:
    check_pack_header(bytes(data[:PACK_HEADER_BYTES]), kind)


def _check_frames(data: memoryview, kind: BlobKind) -> None:
    """Every frame must hold what the index says."""
    index = read_index(data)
    for place in index.frames:
        decoded = decode_frame(data[place.offset : place.offset + place.length])
        first = place.first_blob
        sizes = index.sizes[first : first + place.blob_count]
        if (decoded.kind, list(decoded.hashes)) != (kind, index.hashes_of(place)):
            raise SnapshotDamagedError("A frame does not hold what its pack's index says")
        if decoded.sizes != sizes:
            raise SnapshotDamagedError("A blob is not as large as its pack's index says")


def _index(data: memoryview) -> PackIndex | None:
    try:
        return read_index(data)
    except SnapshotDamagedError:
        return None


def _frames_in(data: memoryview, kind: BlobKind) -> Iterator[FoundFrame]:
    """Every frame that is whole; after one that is not, the next place where one may begin."""
    whole = bytes(data)
    at = 0
    while at >= 0:
        decoded, length = _decoded_at(whole, at, kind)
        if decoded is not None:
            yield FoundFrame(at, whole[at : at + length], decoded.hashes, decoded.sizes)
        at = _next_frame(whole, at + (length if decoded is not None else 1))


def _decoded_at(data: bytes, at: int, kind: BlobKind) -> tuple[DecodedFrame | None, int]:
    try:
        length = read_frame_header(data, at).length
        decoded = decode_frame(data[at : at + length])
    except SnapshotDamagedError:
        return None, 0
    return (decoded, length) if decoded.kind == kind else (None, 0)


def _next_frame(data: bytes, start: int) -> int:
    at = data.find(_FRAME_SIGNATURE, start + 8)
    while at >= 0 and data[at - 8 : at - 4] != SKIPPABLE:
        at = data.find(_FRAME_SIGNATURE, at + 1)
    return at - 8 if at >= 0 else -1


def _frame_at(
    survey: PackSurvey, data: memoryview, index: PackIndex, place: FramePlace, find: FindBlob
) -> FoundFrame | None:
    """The frame that the index has at this place: as it lies there, or made again."""
    hashes = tuple(index.hashes_of(place))
    sizes = index.sizes[place.first_blob : place.first_blob + place.blob_count]
    for frame in survey.frames:
        if frame.hashes == hashes:
            return frame
    for blobs in (_content_at(data, place, sizes), map(find, hashes)):
        known = [blob for blob in blobs if blob is not None]
        if tuple(hash_of(blob) for blob in known) == hashes:
            return FoundFrame(place.offset, encode_frame(survey.kind, known), hashes, sizes)
    return None


def _content_at(data: memoryview, place: FramePlace, sizes: Sequence[int]) -> list[bytes]:
    """The blobs of a frame of which only the header was damaged; none when it is more."""
    start = place.offset + FRAME_HEADER_BYTES + 4 * len(sizes)
    try:
        raw = zstd.decompress(data[start : place.offset + place.length], sum(sizes))
    except SnapshotDamagedError:
        return []
    ends = accumulate(sizes)
    return [raw[end - size : end] for end, size in zip(ends, sizes, strict=True)]


def _encoded_anew(kind: BlobKind, frame: FoundFrame) -> FoundFrame:
    blobs = [blob for _, blob in decode_frame(frame.data).blobs()]
    return FoundFrame(frame.offset, encode_frame(kind, blobs), frame.hashes, frame.sizes)


def _built(kind: BlobKind, frames: Sequence[FoundFrame]) -> FinishedPack | None:
    if not frames:
        return None
    builder = PackBuilder(kind)
    for frame in frames:
        builder.add(frame.data, frame.hashes, frame.sizes)
    return builder.finish()
