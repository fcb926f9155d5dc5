"""Frames of zstd: ours come back as they were, and a bomb is told before it is opened."""

import contextlib
import subprocess
import sys
import threading
from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limpet.errors import SnapshotDamagedError
from limpet.snapshots import zstd

MAGIC = b"\x28\xb5\x2f\xfd"
SKIPPABLE = b"\x50\x2a\x4d\x18\x04\0\0\0abcd"
WINDOW_8_MIB = 13 << 3
RAW, REPEATED = 0, 1


def frame(*blocks: bytes, size: int, window: int = WINDOW_8_MIB) -> bytes:
    """A frame put together by hand (RFC 8878): no checksum, its size in eight bytes."""
    return MAGIC + bytes([0xC0, window]) + size.to_bytes(8, "little") + b"".join(blocks)


def block(kind: int, data: bytes, count: int | None = None, *, last: bool = True) -> bytes:
    count = len(data) if count is None else count
    return (count << 3 | kind << 1 | last).to_bytes(3, "little") + data


@given(st.binary(max_size=5000), st.sampled_from([-5, 1, 3, 19]))
def test_what_was_compressed_comes_back(data: bytes, level: int) -> None:
    packed = zstd.compress(data, level)
    assert zstd.decompress(packed, len(data)) == data
    assert zstd.decompress(memoryview(packed), len(data) + 1) == data


def test_a_frame_declares_its_size_and_has_no_checksum() -> None:
    for data in (b"", b"1", bytes(300), bytes(70_000), memoryview(array("H", [1, 2, 3]))):
        packed = zstd.compress(data)
        descriptor = packed[4]
        assert packed[:4] == MAGIC
        assert descriptor >> 6 or descriptor & 0x20, "the content size is there"
        assert not descriptor & 0x04, "no checksum"
        assert not descriptor & 0x03, "no dictionary"
        assert zstd.decompress(packed, 70_000) == bytes(data)


def test_a_frame_made_by_hand_is_read() -> None:
    made = frame(block(RAW, b"abc", last=False), block(REPEATED, b"x", 5), size=8)
    assert zstd.decompress(made, 8) == b"abcxxxxx"


GOOD = zstd.compress(b"alpha" * 100)


@pytest.mark.parametrize(
    ("hostile", "says"),
    [
        (b"", "cannot be decompressed"),
        (MAGIC, "cannot be decompressed"),
        (b"not a frame at all", "cannot be decompressed"),
        (GOOD[:-1], "not whole"),
        (GOOD[:12], "not whole"),
        (GOOD + b"x", "not whole"),
        (GOOD + GOOD, "not whole"),
        (GOOD + SKIPPABLE, "not whole"),
        (SKIPPABLE, "does not say"),
        (SKIPPABLE + GOOD, "does not say"),
        (zstd.compress(bytes(501)), "larger than it may be"),
        (frame(block(RAW, b"abc"), size=1 << 63), "larger than it may be"),
        (frame(block(RAW, b"abc"), size=2), "cannot be decompressed|not whole"),
        (frame(block(RAW, b"abc"), size=4), "cannot be decompressed|not whole"),
        (frame(block(RAW, b"abc"), size=3, window=WINDOW_8_MIB + 1), "window is larger"),
        (frame(block(RAW, b"abc"), size=3, window=20 << 3 | 7), "window is larger"),
        (frame(block(RAW, b"abc", last=False), size=3), "not whole"),
        (frame(block(3, b"abc"), size=3), "cannot be decompressed"),
        (MAGIC + b"\x00\x00" + block(RAW, b"abc"), "does not say"),
        (MAGIC + b"\x21\x07\x03" + block(RAW, b"abc"), "cannot be decompressed"),
        (MAGIC + b"\x24\x03" + block(RAW, b"abc") + bytes(4), "cannot be decompressed"),
    ],
    ids=[
        "nothing", "a magic number", "text", "cut at the end", "cut in a block", "a byte more",
        "two frames", "a skippable one after", "a skippable one", "a skippable one before",
        "over the limit", "a declared bomb", "more than declared", "less than declared",
        "a large window", "a huge window", "no last block", "a reserved block", "no size",
        "a dictionary", "a wrong checksum",
    ],
)  # fmt: skip
def test_what_is_not_one_whole_frame_is_damaged(hostile: bytes, says: str) -> None:
    with pytest.raises(SnapshotDamagedError, match=says):
        zstd.decompress(hostile, 500)


@given(st.integers(0, len(GOOD) * 8 - 1))
def test_a_flipped_bit_is_told_or_gives_no_more_than_is_allowed(bit: int) -> None:
    flipped = bytearray(GOOD)
    flipped[bit // 8] ^= 1 << bit % 8
    with contextlib.suppress(SnapshotDamagedError):
        assert len(zstd.decompress(bytes(flipped), 500)) <= 500


def test_a_single_segment_has_a_window_of_its_size() -> None:
    large = zstd.compress(bytes((8 << 20) + 1), 22)
    assert large[4] & 0x20
    with pytest.raises(SnapshotDamagedError, match="window is larger"):
        zstd.decompress(large, 9 << 20)
    largest = zstd.compress(bytes(8 << 20), 22)
    assert zstd.decompress(largest, 8 << 20) == bytes(8 << 20)


def test_bombs_take_no_memory() -> None:
    """Frames of 256 MiB in few bytes, whatever they declare, where 64 MiB are to be had."""
    code = f"""
import resource
from limpet.errors import SnapshotDamagedError
from limpet.snapshots import zstd
def frame(size, window=13 << 3):
    many = (131072 << 3 | 2).to_bytes(3, "little") + b"x"
    last = (131072 << 3 | 3).to_bytes(3, "little") + b"x"
    return {MAGIC!r} + bytes([0xC0, window]) + size.to_bytes(8, "little") + many * 2047 + last
taken = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (taken + (64 << 20),) * 2)
for size in (1 << 28, 1 << 20, 1000, 0):
    try:
        zstd.decompress(frame(size), 1 << 20)
    except SnapshotDamagedError:
        print("told")
try:
    zstd.decompress(frame(1 << 28), 1 << 28)
except MemoryError:
    print("the limit holds")
"""
    if sys.platform != "linux":
        pytest.skip("the memory of a process is limited otherwise here")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.split("\n") == [*["told"] * 4, "the limit holds", ""], done.stderr


def test_after_a_failure_a_thread_compresses_as_before() -> None:
    expected = zstd.compress(b"alpha")
    with pytest.raises(TypeError):
        zstd.compress("text")  # type: ignore[arg-type]
    with pytest.raises(BufferError):
        zstd.compress(memoryview(bytes(20))[::2])
    assert zstd.compress(b"alpha") == expected


def test_threads_compress_side_by_side() -> None:
    blobs = [bytes([number]) * 50_000 + b"end" for number in range(200)]
    expected = [zstd.compress(blob) for blob in blobs]
    found: list[list[bytes]] = []

    def work() -> None:
        found.append([zstd.compress(blob) for blob in blobs])

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [expected] * 4
