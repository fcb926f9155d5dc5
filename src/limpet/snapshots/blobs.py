"""Blobs: pieces of content named by their hash; the words that every part of the engine shares.

docs/format.md says what each of them is on disk.
"""

from typing import Final, Literal, NewType

from blake3 import blake3

BlobHash = NewType("BlobHash", bytes)
"""32 bytes of BLAKE3 of a blob's bytes."""

BlobKind = Literal["data", "tree"]
HASH_BYTES: Final = 32
MAX_BLOB_BYTES: Final = 1 << 20
KIND_CODES: Final[dict[BlobKind, int]] = {"data": 0, "tree": 1}
KINDS_BY_CODE: Final[dict[int, BlobKind]] = {0: "data", 1: "tree"}


def hash_of(blob: bytes | bytearray | memoryview) -> BlobHash:
    """The name of a blob."""
    return BlobHash(blake3(blob).digest())
