"""A tar that is cut off or changed is told, always, before anything of it is used."""

import io
import random
import tarfile
from pathlib import Path

import pytest

from limpet.errors import LimpetError, TarDamagedError
from limpet.snapshots import tar_format as tf
from limpet.snapshots.names import TarLimits
from limpet.snapshots.tar_read import TarSummary, TarVerifier, extract_tar
from limpet.snapshots.tar_write import stream_tar
from tests.snapshots.trees import File, Folder, Hard, Link, build


@pytest.fixture(scope="module")
def tar(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A small tar of ours with one of everything."""
    tree = Folder({
        b"repo": Folder({
            b"file": File(b"hello" * 200), b"empty": File(),
            b"whole seconds": File(b"1", mtime_ns=0),
            b"long-" * 40: File(b"long name"), b"\xff\xfe" * 60: File(b"odd name"),
            b"holes": File(segments=[(0, b"a" * 4096), (65536, b"b" * 10)], size=100_000),
        }),
        b"home": Folder(), b"link": Link(b"repo/file"), b"long link": Link(b"t" * 200),
        b"hard": Hard(b"repo/file"),
    })  # fmt: skip
    workspace = build(tmp_path_factory.mktemp("damage") / "workspace", tree)
    return b"".join(stream_tar(workspace))


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A tar of ours that can be judged ten thousand times."""
    tree = Folder({b"file": File(b"hello"), b"link": Link(b"file")})
    workspace = build(tmp_path_factory.mktemp("damage") / "workspace", tree)
    return b"".join(stream_tar(workspace))


def judge(tar: bytes, limits: TarLimits | None = None) -> TarSummary:
    verifier = TarVerifier(limits)
    for at in range(0, len(tar), 1 << 16):
        verifier.feed(tar[at : at + (1 << 16)])
    return verifier.finish()


def test_cut_off_at_any_block_it_is_damaged(tar: bytes) -> None:
    assert judge(tar).limpet_record
    for end in range(0, len(tar), tf.BLOCK):
        with pytest.raises(TarDamagedError):
            judge(tar[:end])


@pytest.mark.parametrize("zeros", [512, 1024, 4096])
def test_a_tail_of_zeros_in_place_of_the_rest_is_damaged(tar: bytes, zeros: int) -> None:
    for end in range(tf.BLOCK, len(tar) - 2 * tf.BLOCK, tf.BLOCK):
        with pytest.raises(LimpetError):
            judge(tar[:end] + bytes(zeros))
        with pytest.raises(LimpetError):
            judge(tar[:end].ljust(len(tar), b"\0"))


def test_cut_off_within_a_block_it_is_damaged(tar: bytes) -> None:
    for end in random.Random(1).sample(range(len(tar)), 300):
        with pytest.raises(TarDamagedError):
            judge(tar[:end])


def test_a_flipped_bit_anywhere_is_told(tar: bytes) -> None:
    changed = bytearray(tar)
    for at in random.Random(3).sample(range(len(tar)), 3000):
        bit = 1 << (at % 8)
        changed[at] ^= bit
        with pytest.raises(LimpetError):
            judge(bytes(changed))
        changed[at] ^= bit


def test_every_byte_of_the_closing_record_counts(tiny: bytes) -> None:
    start = tiny.rindex(b"PaxHeaders/limpet", 0, tiny.index(b"LIMPET.blake3"))
    changed = bytearray(tiny)
    for at in range(start, len(tiny)):
        for bit in (0, 3, 5):
            changed[at] ^= 1 << bit
            with pytest.raises(LimpetError):
                judge(bytes(changed))
            changed[at] ^= 1 << bit


def test_a_missing_doubled_or_swapped_block_is_told(tar: bytes) -> None:
    blocks = [tar[at : at + tf.BLOCK] for at in range(0, len(tar), tf.BLOCK)]
    for n in range(len(blocks) - 2):
        for changed in (
            blocks[:n] + blocks[n + 1 :],
            [*blocks[: n + 1], *blocks[n:]],
            [*blocks[:n], blocks[n + 1], blocks[n], *blocks[n + 2 :]],
        ):
            if changed != blocks:
                with pytest.raises(LimpetError):
                    judge(b"".join(changed))


@pytest.mark.parametrize("tail", [b"x", b"\0" * 511, b"garbage" * 100, b"\1" + b"\0" * 511])
def test_garbage_after_the_end_is_told(tar: bytes, tail: bytes) -> None:
    with pytest.raises(TarDamagedError):
        judge(tar + tail)


def test_zero_blocks_after_the_end_are_padding(tar: bytes) -> None:
    assert judge(tar + bytes(20 * 512)).limpet_record
    with pytest.raises(TarDamagedError):
        judge(tar + bytes(2 << 20))


def test_two_tars_in_a_row_are_not_one(tar: bytes) -> None:
    with pytest.raises(TarDamagedError):
        judge(tar + tar)
    with pytest.raises(LimpetError):
        judge(tar[: -2 * tf.BLOCK] + tar)


def test_a_tar_of_others_needs_its_end_mark(tmp_path: Path) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as made:
        info = tarfile.TarInfo("file")
        info.size = 3
        made.addfile(info, io.BytesIO(b"abc"))
    whole = out.getvalue()
    assert not judge(whole).limpet_record
    assert not judge(whole[:2048]).limpet_record
    for end in (0, 512, 1024, 1024 + 512):
        with pytest.raises(TarDamagedError):
            judge(whole[:end])


@pytest.mark.parametrize("expect", [{"expect_blake3": "0" * 64}, {"expect_size": 5}])
def test_what_was_not_expected_leaves_nothing_behind(
    tar: bytes, tmp_path: Path, expect: dict[str, str]
) -> None:
    with pytest.raises(TarDamagedError):
        extract_tar([tar], tmp_path / "into", **expect)  # type: ignore[arg-type]
    assert not any(tmp_path.iterdir())


def test_a_source_that_breaks_off_leaves_nothing_behind(tar: bytes, tmp_path: Path) -> None:
    def broken() -> object:
        yield tar[: len(tar) // 2]
        raise ConnectionError("gone")

    with pytest.raises(ConnectionError):
        extract_tar(broken(), tmp_path / "into")  # type: ignore[arg-type]
    assert not any(tmp_path.iterdir())


def test_random_bytes_are_refused_and_nothing_else_happens(tar: bytes) -> None:
    chance = random.Random(7)
    for _ in range(2000):
        start = chance.randrange(len(tar))
        junk = chance.randbytes(chance.choice([1, 8, 100, 512, 1500]))
        changed = tar[:start] + junk + tar[start + len(junk) :]
        if changed != tar:
            with pytest.raises(LimpetError):
                judge(changed)
