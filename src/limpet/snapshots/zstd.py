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

_MAX_WINDOW_LOG: Final = 23
_local = threading.local()


def compress(data: bytes | memoryview, level: int = 1) -> bytes:
    """One zstd frame that declares its content size, without a checksum."""
    known: dict[int, _zstd.ZstdCompressor] = _local.__dict__.setdefault("compressors", {})
    compressor = known.get(level)
    if compressor is None:
        compressor = known[level] = _zstd.ZstdCompressor(level)
    compressor.set_pledged_input_size(len(data))
    return compressor.compress(data, _zstd.ZstdCompressor.FLUSH_FRAME)


def decompress(frame: bytes | memoryview, max_bytes: int) -> bytes:
    """What one zstd frame holds; `SnapshotDamagedError` when it is not one frame of so much."""
    try:
        info = _zstd.get_frame_info(frame)
        if info.decompressed_size is None or info.decompressed_size > max_bytes:
            raise SnapshotDamagedError("A frame's content is larger than it may be")
        options: dict[int, int] = {_zstd.DecompressionParameter.window_log_max: _MAX_WINDOW_LOG}
        decompressor = _zstd.ZstdDecompressor(options=options)
        raw = decompressor.decompress(frame, max_length=info.decompressed_size + 1)
    except _zstd.ZstdError as error:
        raise SnapshotDamagedError("A frame's content cannot be decompressed") from error
    if not decompressor.eof or decompressor.unused_data or len(raw) != info.decompressed_size:
        raise SnapshotDamagedError("A frame's content is not whole")
    return raw
