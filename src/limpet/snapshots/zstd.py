"""The one door to zstd: the standard library's from Python 3.14 on, its backport before.

Frames of ours declare their content size and are decompressed only when that is as expected, so
that a bomb is told before it is opened.
"""

import sys
import threading
from typing import Final

from limpet.errors import SnapshotDamagedError

if sys.version_info >= (3, 14):
    from compression import zstd as _zstd
else:
    from backports import zstd as _zstd

_MAGIC: Final = b"\x28\xb5\x2f\xfd"
_SINGLE_SEGMENT: Final = 0x20
_MAX_WINDOW_BYTES: Final = 8 << 20
_local = threading.local()


def compress(data: bytes | memoryview, level: int = 1) -> bytes:
    """One zstd frame that declares its content size, without a checksum."""
    known: dict[int, _zstd.ZstdCompressor] = _local.__dict__.setdefault("compressors", {})
    compressor = known.get(level)
    if compressor is None:
        compressor = known[level] = _zstd.ZstdCompressor(level)
    # A frame that is begun and ended by one call declares its size.
    return compressor.compress(data, _zstd.ZstdCompressor.FLUSH_FRAME)


def decompress(frame: bytes | memoryview, max_bytes: int) -> bytes:
    """What one zstd frame holds, in memory that `max_bytes` bounds, whatever the frame says.

    Raises `SnapshotDamagedError` when it is not exactly one frame that declares its content size,
    at most `max_bytes`, and holds so much; or when its window is larger than 8 MiB.
    """
    try:
        size = _zstd.get_frame_info(frame).decompressed_size
        if frame[:4] != _MAGIC or size is None:
            raise SnapshotDamagedError("A frame does not say how much it holds")
        if size > max_bytes:
            raise SnapshotDamagedError("A frame's content is larger than it may be")
        if _window_bytes(frame, size) > _MAX_WINDOW_BYTES:
            raise SnapshotDamagedError("A frame's window is larger than it may be")
        decompressor = _zstd.ZstdDecompressor()
        raw = decompressor.decompress(frame, max_length=size + 1)
    except _zstd.ZstdError as error:
        raise SnapshotDamagedError("A frame's content cannot be decompressed") from error
    if not decompressor.eof or decompressor.unused_data or len(raw) != size:
        raise SnapshotDamagedError("A frame's content is not whole")
    return raw


def _window_bytes(frame: bytes | memoryview, size: int) -> int:
    """How far back a frame may refer (RFC 8878, 3.1.1.1.2); zstd itself looks only sometimes."""
    if frame[4] & _SINGLE_SEGMENT:
        return size
    exponent, mantissa = divmod(frame[5], 8)
    return (8 + mantissa) << (7 + exponent)
