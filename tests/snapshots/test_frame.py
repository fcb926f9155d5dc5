"""Frames: what is encoded is what the page says, and what the page does not allow is refused."""

import struct
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from limpet.errors import SnapshotDamagedError
from limpet.snapshots import zstd
from limpet.snapshots.blobs import hash_of
from limpet.snapshots.frame import (
    MAX_FRAME_BLOBS,
    FrameDraft,
    decode_frame,
    encode_frame,
    read_frame_header,
)
from tests.snapshots import oracle
from tests.snapshots.agreeing import REFUSED, broken, every_flip, oracles, ours

blobs = st.lists(st.binary(min_size=1, max_size=200), min_size=1, max_size=12)
kinds = st.sampled_from(["data", "tree"])


def read_ours(frame: bytes) -> oracle.Frame:
    decoded = decode_frame(frame)
    found = tuple(blob for _, blob in decoded.blobs())
    assert decoded.hashes == tuple(map(hash_of, found))
    return oracle.Frame(0 if decoded.kind == "data" else 1, found)


def written(
    sizes: Sequence[int] | None = None,
    content: bytes = b"onetwo",
    *,
    skippable: bytes = b"\x5d\x2a\x4d\x18",
    payload: int | None = None,
    signature: bytes = b"LFR1",
    kind: int = 0,
    zeros: bytes = bytes(3),
    raw: int | None = None,
    packed: int | None = None,
    compressed: bytes | None = None,
) -> bytes:
    """A frame by hand; what is not given is as it should be for the blobs `one` and `two`."""
    told = [3, 3] if sizes is None else sizes
    body = zstd.compress(content) if compressed is None else compressed
    header = struct.pack(
        "<4sI4sB3sII",
        skippable,
        16 + 4 * len(told) if payload is None else payload,
        signature,
        kind,
        zeros,
        sum(told) if raw is None else raw,
        len(body) if packed is None else packed,
    )
    return header + struct.pack(f"<{len(told)}I", *told) + body


def without_content_size(data: bytes) -> bytes:
    """A zstd frame that does not say how long its content is."""
    binding = oracle.zstd
    compressor = binding.ZstdCompressor(options={binding.CompressionParameter.content_size_flag: 0})
    return compressor.compress(data, binding.ZstdCompressor.FLUSH_FRAME)


@given(kinds, blobs, st.integers(1, 4))
def test_the_oracle_reads_what_we_encode(kind: str, some: list[bytes], level: int) -> None:
    frame = encode_frame(kind, some, level=level)  # type: ignore[arg-type]
    assert oracle.read_frame(frame) == read_ours(frame)
    assert read_ours(frame) == oracle.Frame(0 if kind == "data" else 1, tuple(some))


@settings(max_examples=400)
@given(st.data(), kinds, blobs)
def test_a_frame_that_was_changed_is_refused_or_read_as_the_oracle_does(
    data: st.DataObject, kind: str, some: list[bytes]
) -> None:
    frame = data.draw(broken(encode_frame(kind, some)))  # type: ignore[arg-type]
    assert ours(lambda: read_ours(frame)) == oracles(lambda: oracle.read_frame(frame))


def test_no_flipped_bit_makes_another_frame_of_the_same_blobs_unnoticed() -> None:
    some = [b"a few", b"words " * 20, bytes(300)]
    frame = encode_frame("data", some)
    for bit, flipped in every_flip(frame):
        found = ours(lambda flipped=flipped: read_ours(flipped))  # type: ignore[misc]
        assert found == oracles(lambda flipped=flipped: oracle.read_frame(flipped)), bit  # type: ignore[misc]


def with_window(descriptor: int) -> bytes:
    """A zstd frame of `onetwo` by hand, with such a window (RFC 8878)."""
    block = struct.pack("<I", len(b"onetwo") << 3 | 1)[:3]
    return b"\x28\xb5\x2f\xfd" + struct.pack("<BBI", 0x80, descriptor, 6) + block + b"onetwo"


RULES: dict[str, bytes] = {
    "the skippable frame's magic": written(skippable=b"\x50\x2a\x4d\x18"),
    "a payload that is no 16 + 4 n": written(payload=25),
    "a payload that is longer than its sizes": written(payload=28),
    "a payload of no sizes": written([], b"", payload=16, raw=1),
    "the signature": written(signature=b"LFR2"),
    "a kind that is none": written(kind=2),
    "bytes that should be zero": written(zeros=b"\0\1\0"),
    "raw that is not the sum": written(raw=7),
    "raw of zero": written([], b"", raw=0),
    "raw over 1 MiB": written([1 << 20, 1], bytes((1 << 20) + 1)),
    "packed that is too long": written(packed=1_114_113),
    "packed that ends early": written(packed=5),
    "an empty blob": written([3, 0, 3]),
    "too many blobs": written([1] * 8193, bytes(8193)),
    "content shorter than raw": written(content=b"onetw"),
    "content longer than raw": written(content=b"onetwo!"),
    "content that is no zstd": written(compressed=b"onetwo"),
    "content without its size": written(compressed=without_content_size(b"onetwo")),
    "a window of over 8 MiB": written(compressed=with_window(13 << 3 | 1)),
    "a dictionary": written(compressed=b"\x28\xb5\x2f\xfd\x21\x07\x06" + with_window(13 << 3)[10:]),
    "two zstd frames": written(compressed=zstd.compress(b"one") + zstd.compress(b"two")),
    "a zstd frame and more": written(compressed=zstd.compress(b"onetwo") + b"\0"),
    "a skippable frame before the content": written(
        compressed=b"\x50\x2a\x4d\x18\0\0\0\0" + zstd.compress(b"onetwo")
    ),
    "a frame and more": written() + b"\0",
    "nothing": b"",
}


@pytest.mark.parametrize("rule", RULES)
def test_a_frame_that_breaks_a_rule_is_refused(rule: str) -> None:
    assert oracles(lambda: oracle.read_frame(RULES[rule])) == REFUSED
    with pytest.raises(SnapshotDamagedError):
        decode_frame(RULES[rule])


def test_the_frame_that_the_rules_are_broken_of_is_good() -> None:
    assert read_ours(written()) == oracle.Frame(0, (b"one", b"two"))
    assert read_ours(written(compressed=with_window(13 << 3))).blobs == (b"one", b"two")
    assert read_ours(written([1] * 8192, bytes(8192))).blobs == (b"\0",) * 8192
    assert read_ours(written([1 << 20], bytes(1 << 20))).blobs == (bytes(1 << 20),)


def test_the_header_is_told_before_the_content_is_there() -> None:
    frame = encode_frame("tree", [b"one", b"twotwo"])
    header = read_frame_header(frame[:32])
    assert (header.kind, header.raw_bytes, header.sizes) == ("tree", 9, (3, 6))
    assert header.length == len(frame)
    with pytest.raises(SnapshotDamagedError):
        read_frame_header(frame[:31])


def test_a_bomb_is_refused_before_it_is_opened() -> None:
    bomb = written([1 << 20], compressed=zstd.compress(bytes(200 << 20)))
    with pytest.raises(SnapshotDamagedError):
        decode_frame(bomb)


def test_a_draft_takes_what_a_frame_may_hold() -> None:
    draft = FrameDraft("data")
    for _ in range(MAX_FRAME_BLOBS):
        assert draft.fits(1)
        draft.add(b"x")
    assert draft.full
    assert not draft.fits(1)
    assert len(oracle.read_frame(encode_frame("data", draft.blobs)).blobs) == MAX_FRAME_BLOBS
    large = FrameDraft("data")
    large.add(bytes(1 << 20))
    assert large.full
    assert not large.fits(1)
