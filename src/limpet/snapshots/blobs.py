"""Blobs: pieces of content named by their hash; the words that every part of the engine shares.

docs/format.md says what each of them is on disk.
"""

import struct
from collections.abc import Sequence
from typing import Final, Literal, NewType, cast

from blake3 import blake3

from limpet.snapshots.native import hash_blobs

BlobHash = NewType("BlobHash", bytes)
"""32 bytes of BLAKE3 of a blob's bytes."""

BlobKind = Literal["data", "tree"]
HASH_BYTES: Final = 32
MAX_BLOB_BYTES: Final = 1 << 20
KIND_CODES: Final[dict[BlobKind, int]] = {"data": 0, "tree": 1}
KINDS_BY_CODE: Final[dict[int, BlobKind]] = {0: "data", 1: "tree"}
_HASH: Final = struct.Struct(f"{HASH_BYTES}s")


def hash_of(blob: bytes | bytearray | memoryview) -> BlobHash:
    """The name of a blob."""
    return BlobHash(blake3(blob).digest())


def hashes_of(
    data: bytes | bytearray, offsets: Sequence[int], sizes: Sequence[int]
) -> list[BlobHash]:
    """The names of blobs that lie in one buffer, many of them in one call."""
    if len(sizes) == 1:  # a large one mostly, for which this is the faster way
        with memoryview(data) as view:
            return [hash_of(view[offsets[0] : offsets[0] + sizes[0]])]
    return names_in(hash_blobs(data, offsets, sizes))


def names_in(hashes: bytes | bytearray) -> list[BlobHash]:
    """Hashes that lie one after another, each by itself."""
    return cast("list[BlobHash]", [name for (name,) in _HASH.iter_unpack(hashes)])
