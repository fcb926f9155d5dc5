"""Packs: what is built is what the page says, and what the page does not allow is refused."""

import os
import struct
from collections.abc import Callable, Sequence

import pytest
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st

from limpet.errors import SnapshotDamagedError
from limpet.snapshots.blobs import BlobKind, hash_of
from limpet.snapshots.frame import decode_frame, encode_frame
from limpet.snapshots.pack import (
    FramePlace,
    PackBuilder,
    PackIndex,
    check_pack_header,
    check_pack_name,
    decode_index,
    encode_index,
    index_length,
    is_pack_name,
    rebuild_index,
)
from tests.snapshots import oracle
from tests.snapshots.agreeing import REFUSED, broken, every_flip, oracles, ours

frames_of_blobs = st.lists(
    st.lists(st.binary(min_size=1, max_size=60), min_size=1, max_size=5), min_size=1, max_size=4
)
kinds: st.SearchStrategy[BlobKind] = st.sampled_from(["data", "tree"])
CODES = {"data": 0, "tree": 1}


def built(kind: BlobKind, frames: Sequence[Sequence[bytes]]) -> bytes:
    builder = PackBuilder(kind)
    for blobs in frames:
        builder.add(encode_frame(kind, blobs), map(hash_of, blobs), map(len, blobs))
    return b"".join(builder.finish().chunks)


def read_ours(pack: bytes, kind: BlobKind) -> oracle.Pack:
    """As a reader of ours that believes nothing does: header, index, each frame against it."""
    check_pack_header(pack, kind)
    index = decode_index(pack[len(pack) - index_length(pack[-8:], len(pack)) :], len(pack))
    frames = []
    for place in index.frames:
        decoded = decode_frame(pack[place.offset : place.offset + place.length])
        first = place.first_blob
        sizes = index.sizes[first : first + place.blob_count]
        told = (kind, tuple(index.hashes_of(place)), sizes)
        if (decoded.kind, decoded.hashes, decoded.sizes) != told:
            raise SnapshotDamagedError("the index does not say what is in a frame")
        frames.append(oracle.Frame(CODES[kind], tuple(blob for _, blob in decoded.blobs())))
    return oracle.Pack(CODES[kind], tuple(frames), len(encode_index(index)))


@given(kinds, frames_of_blobs)
def test_the_oracle_reads_what_we_build(kind: BlobKind, frames: list[list[bytes]]) -> None:
    pack = built(kind, frames)
    found = oracle.read_pack(pack)
    assert found == read_ours(pack, kind)
    assert [list(frame.blobs) for frame in found.frames] == frames


@settings(max_examples=400)
@given(st.data(), kinds, frames_of_blobs)
def test_a_pack_that_was_changed_is_refused_or_read_as_the_oracle_does(
    data: st.DataObject, kind: BlobKind, frames: list[list[bytes]]
) -> None:
    pack = data.draw(broken(built(kind, frames)))

    def read_oracles() -> oracle.Pack:
        found = oracle.read_pack(pack)
        oracle.need(found.kind == CODES[kind], "a pack of the other kind")
        return found

    assert ours(lambda: read_ours(pack, kind)) == oracles(read_oracles)


def test_every_flipped_bit_of_an_index_is_refused() -> None:
    pack = built("data", [[b"one", b"two"], [b"three"]])
    length = index_length(pack[-8:], len(pack))
    for bit, flipped in every_flip(pack[-length:]):
        assert ours(lambda flipped=flipped: decode_index(flipped, len(pack))) == REFUSED, bit  # type: ignore[misc]


@given(kinds, frames_of_blobs)
def test_a_lost_index_is_made_again_to_the_byte(kind: BlobKind, frames: list[list[bytes]]) -> None:
    pack = built(kind, frames)
    length = index_length(pack[-8:], len(pack))
    index = rebuild_index(pack[:-length], kind)
    assert encode_index(index) == pack[-length:]
    assert rebuild_index(pack, kind) == index


@given(frames_of_blobs, st.data())
def test_what_was_cut_off_leaves_the_frames_before_it(
    frames: list[list[bytes]], data: st.DataObject
) -> None:
    pack = built("data", frames)
    index = rebuild_index(pack, "data")
    cut = data.draw(st.integers(0, len(pack)))
    whole = [place for place in index.frames if place.offset + place.length <= cut]
    if whole:
        assert rebuild_index(pack[:cut], "data").frames == tuple(whole)
    else:
        assert ours(lambda: rebuild_index(pack[:cut], "data")) == REFUSED


def test_any_zstd_gives_the_contents_of_a_pack() -> None:
    pack = built("data", [[b"one", b"two"], [b"three" * 500]])
    assert oracle.zstd.decompress(pack) == b"onetwo" + b"three" * 500


def sealed(change: Callable[[bytearray], None]) -> bytes:
    """An index of one frame of two blobs with something changed, its own hash right again."""
    index = bytearray(
        encode_index(
            PackIndex((FramePlace(16, 50, 0, 2),), hash_of(b"one") + hash_of(b"two"), (3, 3))
        )
    )
    change(index)
    body = bytes(index[:-40])
    return body + blake3(body).digest() + bytes(index[-8:])


def put(at: int, form: str, *numbers: int) -> Callable[[bytearray], None]:
    return lambda index: struct.pack_into(form, index, at, *numbers)


FIRST, HASHES, SIZES = 20, 36, 100
PACK_BYTES = 16 + 50 + 148
INDEX_RULES: dict[str, Callable[[bytearray], None]] = {
    "the skippable frame's magic": put(0, "<B", 0x50),
    "the payload's length": put(4, "<I", 139),
    "the signature": put(8, "<B", 0),
    "no frames": put(12, "<II", 0, 2),
    "fewer blobs than frames": put(12, "<II", 1, 0),
    "more blobs than its frames have": put(FIRST + 12, "<I", 1),
    "fewer blobs than its frames have": put(FIRST + 12, "<I", 3),
    "a frame of no blobs": put(FIRST + 12, "<I", 0),
    "a frame that begins too early": put(FIRST, "<Q", 15),
    "a frame that begins too late": put(FIRST, "<Q", 17),
    "a frame of no bytes": put(FIRST + 8, "<I", 0),
    "a frame that is shorter than the pack": put(FIRST + 8, "<I", 49),
    "a frame that is longer than the pack": put(FIRST + 8, "<I", 51),
    "a blob of no bytes": put(SIZES, "<I", 0),
    "a blob that is too large": put(SIZES, "<I", (1 << 20) + 1),
}


@pytest.mark.parametrize("rule", INDEX_RULES)
def test_an_index_that_breaks_a_rule_is_refused(rule: str) -> None:
    with pytest.raises(SnapshotDamagedError):
        decode_index(sealed(INDEX_RULES[rule]), PACK_BYTES)


def test_the_index_that_the_rules_are_broken_of_is_good() -> None:
    index = decode_index(sealed(lambda _: None), PACK_BYTES)
    assert index.frames == (FramePlace(16, 50, 0, 2),)
    assert index.hash(1) == hash_of(b"two")
    for pack_bytes in (PACK_BYTES - 1, PACK_BYTES + 1):
        with pytest.raises(SnapshotDamagedError):
            decode_index(sealed(lambda _: None), pack_bytes)


GOOD = built("data", [[b"one", b"two"]])
PACK_RULES: dict[str, bytes] = {
    "the header's magic": b"\x50" + GOOD[1:],
    "the header's length": GOOD[:4] + struct.pack("<I", 9) + GOOD[8:],
    "the header's signature": GOOD[:8] + b"LPK2" + GOOD[12:],
    "the other kind": GOOD[:12] + b"\1" + GOOD[13:],
    "a kind that is none": GOOD[:12] + b"\2" + GOOD[13:],
    "bytes that should be zero": GOOD[:13] + b"\1" + GOOD[14:],
    "a frame of the other kind": GOOD[:28] + b"\1" + GOOD[29:],
    "no end mark": GOOD[:-1],
    "something after the end": GOOD + b"\0",
    "an end that says too much": GOOD[:-8] + struct.pack("<I", len(GOOD)) + b"LEND",
    "an end that says too little": GOOD[:-8] + struct.pack("<I", 8) + b"LEND",
    "something between frames and index": GOOD[:-148] + b"\0" + GOOD[-148:],
    "nothing": b"",
}


@pytest.mark.parametrize("rule", PACK_RULES)
def test_a_pack_that_breaks_a_rule_is_refused(rule: str) -> None:
    assert read_ours(GOOD, "data").index_size == 148
    assert ours(lambda: read_ours(PACK_RULES[rule], "data")) == REFUSED
    if rule != "the other kind":
        assert oracles(lambda: oracle.read_pack(PACK_RULES[rule])) == REFUSED


def test_a_pack_of_over_64_mib_is_refused() -> None:
    pack = built("data", [[os.urandom(1 << 20)] for _ in range(64)])
    assert oracles(lambda: oracle.read_pack(pack)) == REFUSED
    assert ours(lambda: read_ours(pack, "data")) == REFUSED


def test_names_of_packs_are_hashes_and_nothing_else() -> None:
    good = blake3(b"pack").hexdigest()
    assert check_pack_name(good) == good
    for name in ("", good[1:], good + "0", good.upper(), "../" + good, "g" + good[1:], good + "\n"):
        assert not is_pack_name(name)
        with pytest.raises(SnapshotDamagedError):
            check_pack_name(name)
