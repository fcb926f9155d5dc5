"""Cutting large files by content (FastCDC of 2020): an insertion moves no cut but its own."""

from collections.abc import Generator, Iterable, Iterator
from typing import Final

from pyfastcdc import FastCDC

from limpet.snapshots.blobs import MAX_BLOB_BYTES

MIN_CHUNK_BYTES: Final = 64 << 10
AVERAGE_CHUNK_BYTES: Final = 256 << 10
_BUFFER_BYTES: Final = 4 << 20


def cut(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The same bytes in chunks of 64 KiB to 1 MiB, the last one maybe smaller; in flat memory.

    Where the cuts are depends on the bytes alone, not on how they came.
    """
    chunker = FastCDC(
        avg_size=AVERAGE_CHUNK_BYTES, min_size=MIN_CHUNK_BYTES, max_size=MAX_BLOB_BYTES
    )
    held = bytearray()
    for piece in pieces:
        held += piece
        if len(held) >= _BUFFER_BYTES:
            held = yield from _all_but_the_last(chunker, held)
    if held:
        yield from (bytes(chunk.data) for chunk in chunker.cut_buf(bytes(held)))


def _all_but_the_last(chunker: FastCDC, held: bytearray) -> Generator[bytes, None, bytearray]:
    """Chunks that no byte to come can change; returns what is left."""
    whole = bytes(held)
    last = b""
    for chunk in chunker.cut_buf(whole):
        if last:
            yield last
        last = bytes(chunk.data)
    return bytearray(last)
