"""Cutting large files by content (FastCDC of 2020): an insertion moves no cut but its own."""

from collections.abc import Callable, Iterator
from typing import Final

from pyfastcdc import FastCDC

from limpet.snapshots.blobs import MAX_BLOB_BYTES

MIN_CHUNK_BYTES: Final = 64 << 10
AVERAGE_CHUNK_BYTES: Final = 256 << 10
_BUFFER_BYTES: Final = 4 << 20


def cut(read: Callable[[memoryview], int]) -> Iterator[list[memoryview]]:
    """What `read` gives in chunks of 64 KiB to 1 MiB, the last one maybe smaller; in flat memory.

    `read` fills the buffer that it is given, zeros until then, and tells how many bytes it has: all
    that the buffer holds, but at the end. Where the cuts are depends on the bytes alone. Chunks
    come some megabytes at a time, of which each is a view, and which stay while one of them does.
    """
    chunker = FastCDC(
        avg_size=AVERAGE_CHUNK_BYTES, min_size=MIN_CHUNK_BYTES, max_size=MAX_BLOB_BYTES
    )
    held = memoryview(b"")
    while True:
        buffer = memoryview(bytearray(len(held) + _BUFFER_BYTES))
        buffer[: len(held)] = held
        count = read(buffer[len(held) :])
        whole = buffer[: len(held) + count].toreadonly()
        if not whole:
            return
        chunks = [chunk.data for chunk in chunker.cut_buf(whole)]
        if count < _BUFFER_BYTES:
            yield chunks
            return
        held = chunks.pop()  # what is to come may move its end
        yield chunks
