"""Packs: frames in a row with an index at the end (docs/format.md, 'Packs'). Pure: bytes only."""

import re
import struct
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, NewType

from blake3 import blake3

from limpet.errors import SnapshotDamagedError
from limpet.snapshots.blobs import (
    HASH_BYTES,
    KIND_CODES,
    KINDS_BY_CODE,
    MAX_BLOB_BYTES,
    BlobHash,
    BlobKind,
    names_in,
)
from limpet.snapshots.frame import (
    FRAME_HEADER_BYTES,
    MAX_FRAME_BLOBS,
    MAX_FRAME_BYTES,
    SKIPPABLE,
    decode_frame,
    read_frame_header,
)

PackName = NewType("PackName", str)
"""64 hex digits: the hash of the pack's bytes."""

TARGET_PACK_BYTES: Final = 16 << 20
MAX_PACK_BYTES: Final = 64 << 20
PACK_HEADER_BYTES: Final = 16
MIN_INDEX_BYTES: Final = 16 + 16 + HASH_BYTES + 4 + HASH_BYTES + 8
_PACK_SIGNATURE: Final = b"LPK1"
_INDEX_SIGNATURE: Final = b"LIX1"
_END: Final = b"LEND"
_HEADER: Final = struct.Struct("<4sI4sB3s")
_INDEX_HEADER: Final = struct.Struct("<4sI4sII")
_FRAME: Final = struct.Struct("<QII")
_NAME: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class PackRef:
    """A pack as a head names it; `shared` when it lies in the templates' space."""

    name: PackName
    size_bytes: int
    index_bytes: int
    shared: bool = False


@dataclass(frozen=True, slots=True)
class FramePlace:
    """Where in its pack a frame lies; its blobs are those from `first_blob` on."""

    offset: int
    length: int
    first_blob: int
    blob_count: int


@dataclass(frozen=True, slots=True)
class PackIndex:
    """What a pack holds. Blob *i* is `hashes[32 * i : 32 * i + 32]`, its size `sizes[i]`."""

    frames: tuple[FramePlace, ...]
    hashes: bytes
    sizes: tuple[int, ...]

    def hash(self, index: int) -> BlobHash:
        """The name of a blob."""
        return BlobHash(self.hashes[HASH_BYTES * index : HASH_BYTES * (index + 1)])

    def hashes_of(self, frame: FramePlace) -> list[BlobHash]:
        """The names of a frame's blobs, in order."""
        first = HASH_BYTES * frame.first_blob
        return names_in(self.hashes[first : first + HASH_BYTES * frame.blob_count])


@dataclass(slots=True)
class PackBuilder:
    """Gathers frames into one pack, in memory (a pack is some 16 MiB)."""

    kind: BlobKind
    parts: list[bytes] = field(default_factory=list)
    frames: list[FramePlace] = field(default_factory=list)
    hashes: bytearray = field(default_factory=bytearray)
    sizes: list[int] = field(default_factory=list)
    size_bytes: int = PACK_HEADER_BYTES

    def add(self, frame: bytes, hashes: Iterable[BlobHash], sizes: Iterable[int]) -> None:
        """Append an encoded frame and what is known of its blobs."""
        first = len(self.sizes)
        self.hashes += b"".join(hashes)
        self.sizes.extend(sizes)
        self.frames.append(FramePlace(self.size_bytes, len(frame), first, len(self.sizes) - first))
        self.parts.append(frame)
        self.size_bytes += len(frame)

    def names_of(self, frame: FramePlace) -> list[BlobHash]:
        """The names of a frame's blobs, in order."""
        first = HASH_BYTES * frame.first_blob
        end = first + HASH_BYTES * frame.blob_count
        return names_in(bytes(self.hashes[first:end]))

    @property
    def full(self) -> bool:
        """Whether the pack should be closed now."""
        return self.size_bytes >= TARGET_PACK_BYTES

    def finish(self) -> "FinishedPack":
        """The pack's bytes and name; it must hold at least one frame."""
        assert self.frames
        header = _HEADER.pack(SKIPPABLE, 8, _PACK_SIGNATURE, KIND_CODES[self.kind], bytes(3))
        index = PackIndex(tuple(self.frames), bytes(self.hashes), tuple(self.sizes))
        footer = encode_index(index)
        chunks = [header, *self.parts, footer]
        digest = blake3()
        for chunk in chunks:
            digest.update(chunk)
        name = PackName(digest.hexdigest())
        ref = PackRef(name, sum(map(len, chunks)), len(footer))
        return FinishedPack(self.kind, ref, index, chunks)


@dataclass(frozen=True, slots=True)
class FinishedPack:
    """A pack to be put: `chunks` one after another are its bytes."""

    kind: BlobKind
    ref: PackRef
    index: PackIndex
    chunks: list[bytes]


def is_pack_name(name: str) -> bool:
    """Whether this can be a pack's name."""
    return _NAME.fullmatch(name) is not None


def check_pack_name(name: str) -> PackName:
    """The name, or `SnapshotDamagedError` when it is none."""
    if not is_pack_name(name):
        raise SnapshotDamagedError("A pack's name is no hash")
    return PackName(name)


def encode_index(index: PackIndex) -> bytes:
    """The bytes of a pack's index, from its skippable header to the pack's end."""
    body = b"".join(
        (
            *(_FRAME.pack(one.offset, one.length, one.blob_count) for one in index.frames),
            index.hashes,
            struct.pack(f"<{len(index.sizes)}I", *index.sizes),
        )
    )
    payload = 12 + len(body) + HASH_BYTES + 8
    header = _INDEX_HEADER.pack(
        SKIPPABLE, payload, _INDEX_SIGNATURE, len(index.frames), len(index.sizes)
    )
    digest = blake3(header + body).digest()
    return header + body + digest + struct.pack("<I", payload + 8) + _END


def index_length(tail: bytes, pack_bytes: int) -> int:
    """How long the index is, by the last 8 bytes of the pack; `SnapshotDamagedError` otherwise."""
    if len(tail) < 8 or tail[-4:] != _END:
        raise SnapshotDamagedError("The pack has no end mark: it is cut off")
    (length,) = struct.unpack_from("<I", tail, len(tail) - 8)
    if not MIN_INDEX_BYTES <= length <= pack_bytes - PACK_HEADER_BYTES:
        raise SnapshotDamagedError("The pack's index is longer than the pack")
    if pack_bytes > MAX_PACK_BYTES:
        raise SnapshotDamagedError("The pack is larger than packs are")
    return int(length)


def decode_index(data: bytes, pack_bytes: int) -> PackIndex:
    """The index from its own bytes; `SnapshotDamagedError` when it breaks a rule or was changed."""
    if len(data) < MIN_INDEX_BYTES or index_length(data[-8:], pack_bytes) != len(data):
        raise SnapshotDamagedError("The pack's index is not as long as it says")
    skippable, payload, signature, frame_count, blob_count = _INDEX_HEADER.unpack_from(data)
    expected = 12 + 16 * frame_count + (HASH_BYTES + 4) * blob_count + HASH_BYTES + 8
    if (
        skippable != SKIPPABLE
        or signature != _INDEX_SIGNATURE
        or payload != expected
        or payload + 8 != len(data)
    ):
        raise SnapshotDamagedError("The pack's index is none")
    if blake3(data[: -8 - HASH_BYTES]).digest() != data[-8 - HASH_BYTES : -8]:
        raise SnapshotDamagedError("The pack's index was changed")
    frames: list[FramePlace] = []
    end, blobs = PACK_HEADER_BYTES, 0
    body = _INDEX_HEADER.size
    for offset, length, count in _FRAME.iter_unpack(data[body : body + 16 * frame_count]):
        if (
            offset != end
            or not FRAME_HEADER_BYTES < length <= MAX_FRAME_BYTES
            or not 0 < count <= MAX_FRAME_BLOBS
        ):
            raise SnapshotDamagedError("The pack's index names a frame that cannot be")
        frames.append(FramePlace(offset, length, blobs, count))
        end, blobs = offset + length, blobs + count
    if not frames or blobs != blob_count or end != pack_bytes - len(data):
        raise SnapshotDamagedError("The pack's index does not fit the pack")
    at = body + 16 * frame_count
    hashes = data[at : at + HASH_BYTES * blob_count]
    sizes = struct.unpack_from(f"<{blob_count}I", data, at + HASH_BYTES * blob_count)
    if 0 in sizes or max(sizes) > MAX_BLOB_BYTES:
        raise SnapshotDamagedError("The pack's index names a blob that cannot be")
    return PackIndex(tuple(frames), hashes, sizes)


def check_pack_header(data: bytes, kind: BlobKind) -> None:
    """Raises `SnapshotDamagedError` unless the bytes begin a pack of this kind."""
    if len(data) < PACK_HEADER_BYTES:
        raise SnapshotDamagedError("The pack is cut off")
    skippable, payload, signature, code, zeros = _HEADER.unpack_from(data)
    if (skippable, payload, signature, zeros) != (SKIPPABLE, 8, _PACK_SIGNATURE, bytes(3)):
        raise SnapshotDamagedError("What should be a pack is none")
    if KINDS_BY_CODE.get(code) != kind:
        raise SnapshotDamagedError("The pack is of the other kind")


def rebuild_index(pack: bytes, kind: BlobKind) -> PackIndex:
    """The index of a pack whose own is lost, from its frames; what cannot be read ends it.

    Raises `SnapshotDamagedError` when there is no whole frame at all.
    """
    check_pack_header(pack, kind)
    builder = PackBuilder(kind)
    at = PACK_HEADER_BYTES
    while at < len(pack):
        try:
            length = read_frame_header(pack, at).length
            decoded = decode_frame(pack[at : at + length])
        except SnapshotDamagedError:
            break
        if decoded.kind != kind:
            break
        builder.add(pack[at : at + length], decoded.hashes, decoded.sizes)
        at += length
    if not builder.frames:
        raise SnapshotDamagedError("There is no whole frame in the pack")
    return PackIndex(tuple(builder.frames), bytes(builder.hashes), tuple(builder.sizes))
