"""Cutting large files by content (FastCDC of 2020): an insertion moves no cut but its own."""

from collections.abc import Iterable, Iterator
from typing import Final

from pyfastcdc import FastCDC

from limpet.snapshots.blobs import MAX_BLOB_BYTES

MIN_CHUNK_BYTES: Final = 64 << 10
AVERAGE_CHUNK_BYTES: Final = 256 << 10
_BUFFER_BYTES: Final = 4 << 20


def cut(pieces: Iterable[bytes]) -> Iterator[memoryview]:
    """The same bytes in chunks of 64 KiB to 1 MiB, the last one maybe smaller; in flat memory.

    Where the cuts are depends on the bytes alone, not on how they came. A chunk is a view of some
    megabytes, which stay while it does.
    """
    chunker = FastCDC(
        avg_size=AVERAGE_CHUNK_BYTES, min_size=MIN_CHUNK_BYTES, max_size=MAX_BLOB_BYTES
    )
    held: list[bytes | memoryview] = []
    held_bytes = 0
    for piece in pieces:
        held.append(piece)
        held_bytes += len(piece)
        if held_bytes >= _BUFFER_BYTES:
            *whole, last = chunker.cut_buf(b"".join(held))
            yield from (chunk.data for chunk in whole)
            # What is to come may move its end.
            held, held_bytes = [last.data], last.length
    if held_bytes:
        yield from (chunk.data for chunk in chunker.cut_buf(b"".join(held)))
