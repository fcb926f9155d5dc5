"""Frames: some blobs compressed together; what packs are made of and what a stream carries.

Pure: bytes in, bytes out. A frame tells the sizes of its blobs and never their names: who decodes
it hashes what it holds, so that it cannot lie about a name (docs/format.md, 'Frames').
"""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Final

from limpet.errors import SnapshotDamagedError
from limpet.snapshots import zstd
from limpet.snapshots.blobs import (
    KIND_CODES,
    KINDS_BY_CODE,
    MAX_BLOB_BYTES,
    BlobHash,
    BlobKind,
    hashes_of,
)

SKIPPABLE: Final = b"\x5d\x2a\x4d\x18"
MAX_FRAME_RAW_BYTES: Final = 1 << 20
MAX_FRAME_PACKED_BYTES: Final = MAX_FRAME_RAW_BYTES + (1 << 16)
MAX_FRAME_BLOBS: Final = 8192
FRAME_HEADER_BYTES: Final = 24
MAX_FRAME_BYTES: Final = FRAME_HEADER_BYTES + 4 * MAX_FRAME_BLOBS + MAX_FRAME_PACKED_BYTES
TARGET_RAW_BYTES: Final = 512 << 10
"""A frame is closed when its blobs come to this: large enough to compress, small enough to fetch
for one file."""
_SIGNATURE: Final = b"LFR1"
_HEADER: Final = struct.Struct("<4sI4sB3sII")


@dataclass(frozen=True, slots=True)
class FrameHeader:
    """What a frame says of itself. `length` is the whole frame's, header and content."""

    kind: BlobKind
    raw_bytes: int
    packed_bytes: int
    sizes: tuple[int, ...]

    @property
    def content_offset(self) -> int:
        """Where in the frame the compressed content begins."""
        return FRAME_HEADER_BYTES + 4 * len(self.sizes)

    @property
    def length(self) -> int:
        """Bytes of the whole frame."""
        return self.content_offset + self.packed_bytes


@dataclass(frozen=True, slots=True)
class DecodedFrame:
    """The content of a frame, every blob hashed: blob *i* is `raw[offsets[i]:][:sizes[i]]`."""

    kind: BlobKind
    raw: bytes
    hashes: tuple[BlobHash, ...]
    offsets: tuple[int, ...]
    sizes: tuple[int, ...]

    def blob(self, index: int) -> bytes:
        """A copy of one blob."""
        start = self.offsets[index]
        return self.raw[start : start + self.sizes[index]]

    def blobs(self) -> Iterator[tuple[BlobHash, bytes]]:
        """Every blob with its name."""
        for index, name in enumerate(self.hashes):
            yield name, self.blob(index)


class FrameDraft:
    """Blobs gathered for the next frame. Compress with `encode_frame(draft.kind, draft.blobs)`."""

    def __init__(self, kind: BlobKind) -> None:
        self.kind: BlobKind = kind
        self.blobs: list[bytes | memoryview] = []
        self.raw_bytes = 0

    def fits(self, size_bytes: int) -> bool:
        """Whether a blob of this size may still be added."""
        return (
            self.raw_bytes + size_bytes <= MAX_FRAME_RAW_BYTES and len(self.blobs) < MAX_FRAME_BLOBS
        )

    def add(self, blob: bytes | memoryview) -> None:
        """Take a blob of 1 byte to 1 MiB in; it must fit."""
        assert blob
        assert self.fits(len(blob))
        self.blobs.append(blob)
        self.raw_bytes += len(blob)

    @property
    def full(self) -> bool:
        """Whether the frame should be closed now."""
        return self.raw_bytes >= TARGET_RAW_BYTES or len(self.blobs) >= MAX_FRAME_BLOBS


def encode_frame(kind: BlobKind, blobs: Sequence[bytes | memoryview], *, level: int = 1) -> bytes:
    """One frame of these blobs; `level` is zstd's."""
    return encode_runs(kind, blobs, [len(blob) for blob in blobs], level=level)


def encode_runs(
    kind: BlobKind, runs: Sequence[bytes | memoryview], sizes: Sequence[int], *, level: int = 1
) -> bytes:
    """One frame of blobs of these sizes, which lie one after another in `runs`."""
    content = zstd.compress(runs[0] if len(runs) == 1 else b"".join(runs), level)
    header = _HEADER.pack(
        SKIPPABLE,
        16 + 4 * len(sizes),
        _SIGNATURE,
        KIND_CODES[kind],
        bytes(3),
        sum(sizes),
        len(content),
    )
    return b"".join((header, struct.pack(f"<{len(sizes)}I", *sizes), content))


def read_frame_header(data: bytes | memoryview, at: int = 0) -> FrameHeader:
    """The header of the frame that begins at `at`; the content need not be there yet.

    Raises `SnapshotDamagedError` when it is none or breaks a rule of the format.
    """
    if len(data) - at < FRAME_HEADER_BYTES:
        raise SnapshotDamagedError("A frame is cut off in its header")
    skippable, payload, signature, code, zeros, raw, packed = _HEADER.unpack_from(data, at)
    kind = KINDS_BY_CODE.get(code)
    count, rest = divmod(payload - 16, 4)
    if (
        skippable != SKIPPABLE
        or signature != _SIGNATURE
        or zeros != bytes(3)
        or kind is None
        or rest
        or not 0 < count <= MAX_FRAME_BLOBS
        or not 0 < raw <= MAX_FRAME_RAW_BYTES
        or not 0 < packed <= MAX_FRAME_PACKED_BYTES
    ):
        raise SnapshotDamagedError("What should be a frame is none")
    if len(data) - at < FRAME_HEADER_BYTES + 4 * count:
        raise SnapshotDamagedError("A frame is cut off in its header")
    sizes = struct.unpack_from(f"<{count}I", data, at + FRAME_HEADER_BYTES)
    if 0 in sizes or sum(sizes) != raw or max(sizes) > MAX_BLOB_BYTES:
        raise SnapshotDamagedError("A frame's sizes do not fit together")
    return FrameHeader(kind, raw, packed, sizes)


def decode_frame(frame: bytes | memoryview) -> DecodedFrame:
    """Decompress one whole frame and hash its blobs; `SnapshotDamagedError` when it is damaged."""
    header = read_frame_header(frame)
    if len(frame) != header.length:
        raise SnapshotDamagedError("A frame is not as long as it says")
    raw = zstd.decompress(frame[header.content_offset :], header.raw_bytes)
    if len(raw) != header.raw_bytes:
        raise SnapshotDamagedError("A frame does not hold what it says")
    *offsets, _ = accumulate(header.sizes, initial=0)
    hashes = tuple(hashes_of(raw, offsets, header.sizes))
    return DecodedFrame(header.kind, raw, hashes, tuple(offsets), header.sizes)
