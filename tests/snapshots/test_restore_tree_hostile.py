"""Streams made to write outside, to fill the disk or the memory, or to lie: all are refused."""

import os
import struct
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from limpet.errors import LimpetError, NotEnoughSpaceError
from limpet.snapshots.blobs import BlobHash, hash_of
from limpet.snapshots.frame import encode_frame
from limpet.snapshots.judge import RestoreLimits, TooMuchError
from limpet.snapshots.lineage import root_fields
from limpet.snapshots.node import (
    EMPTY_FILE,
    FILE,
    FOLDER,
    HARD_LINK,
    LISTED_FILE,
    SYMLINK,
    BadNodeError,
    Content,
    Entry,
    Reference,
    Root,
)
from limpet.snapshots.restore_tree import RESTORE_STEPS, restore_stream
from limpet.snapshots.wire import StreamBrokenError, StreamWriter
from tests.snapshots.packed_trees import PackedTree, frames, node_of, pack_folder, packed
from tests.snapshots.trees import Description, File, Folder, Hard, Link, build, describe

BLOB = b"content"
NOWHERE = BlobHash(b"\1" * 32)
TREE = Folder({
    b"a": Folder({b"f": File(b"x" * 5000), b"big": File(os.urandom(9000))}),
    b"b": Folder({b"l": Link(b"../../canary"), b"e": Folder()}), b"h": Hard(b"a/f"),
})  # fmt: skip


def file(name: bytes, data: bytes = BLOB, **over: Any) -> Entry:
    return Entry(name, FILE, 0o644, 0, len(data), hash_of(data))._replace(**over)


def folder(name: bytes, *entries: Entry) -> Entry:
    return Entry(name, FOLDER, 0o755, 0, 0, node_of(entries))


def link(name: bytes, target: bytes) -> Entry:
    return Entry(name, SYMLINK, 0, 0, 0, target=target)


def hard(name: bytes, target: bytes) -> Entry:
    return Entry(name, HARD_LINK, 0, 0, 0, target=target)


def listed(name: bytes, size: int, *pieces: bytes, segments: Any = ()) -> Entry:
    references = tuple(Reference(hash_of(piece), len(piece)) for piece in pieces)
    return Entry(name, LISTED_FILE, 0o644, 0, size, content=Content(segments, False, references))


def with_root_blob(blob: bytes) -> PackedTree:
    made = packed([])
    made.trees = {hash_of(blob): blob}
    made.root = Root(hash_of(blob), 0o755, 0)
    return made


def of(*entries: Entry, below: tuple[Entry, ...] = ()) -> PackedTree:
    return packed(entries, below, blob=BLOB)


def nested(levels: int, width: int) -> PackedTree:
    """Few blobs, and width ** levels entries."""
    made = packed([])
    below = [file(b"f")]
    for _ in range(levels):
        more = packed(below)
        made.trees |= more.trees
        below = [folder(b"%d" % n, *below) for n in range(width)]
        below.sort()
    made.trees |= packed(below).trees
    made.root = Root(node_of(below), 0o755, 0)
    made.data = {hash_of(BLOB): BLOB}
    return made


def columns(*names: bytes) -> bytes:
    """A node of empty files with such names, whatever they are."""
    count = len(names)
    return (
        struct.pack("<4sB3sI", b"LTN1", 0, bytes(3), count)
        + bytes(count)
        + bytes(map(len, names))
        + bytes(2 * count + 8 * count + 8 * count)
        + b"".join(names)
    )


BAD_TREES: dict[str, Callable[[], PackedTree]] = {
    "below a symlink by a hard link": lambda: of(link(b"out", b"/etc"), hard(b"z", b"out/passwd")),
    "a hard link through a link": lambda: of(
        folder(b"d", file(b"f")), hard(b"z", b"l/f"), link(b"l", b"d"), below=(file(b"f"),)
    ),
    "a hard link to a later entry": lambda: of(hard(b"a", b"b"), file(b"b")),
    "a hard link into a later folder": lambda: of(
        folder(b"d", file(b"f")), hard(b"a", b"d/f"), below=(file(b"f"),)
    ),
    "a hard link to itself": lambda: of(hard(b"a", b"a")),
    "a hard link to a hard link": lambda: of(file(b"a"), hard(b"b", b"a"), hard(b"c", b"b")),
    "a hard link to a folder": lambda: of(folder(b"d"), hard(b"z", b"d")),
    "a hard link to the top": lambda: of(hard(b"z", b"")),
    "a hard link to nothing": lambda: of(hard(b"z", b"nothing")),
    "a hard link to what is never saved": lambda: of(hard(b"z", b"tmp/x")),
    "a hard link to parents": lambda: of(file(b"a"), hard(b"z", b"../canary/file")),
    "a hard link to an absolute name": lambda: of(hard(b"z", b"/etc/passwd")),
    "parents": lambda: with_root_blob(columns(b"..")),
    "here": lambda: with_root_blob(columns(b".")),
    "a slash": lambda: with_root_blob(columns(b"a/b")),
    "an absolute name": lambda: with_root_blob(columns(b"/etc")),
    "a NUL": lambda: with_root_blob(columns(b"a\0")),
    "no name": lambda: with_root_blob(columns(b"")),
    "duplicate names": lambda: with_root_blob(columns(b"a", b"a")),
    "names out of order": lambda: with_root_blob(columns(b"b", b"a")),
    "tmp": lambda: of(file(b"tmp")),
    "our own folder": lambda: of(folder(b".limpet-root")),
    "set-user-id": lambda: of(file(b"f", mode=0o4755)),
    "a folder that is missing": lambda: of(
        Entry(b"d", FOLDER, 0o755, 0, 0, NOWHERE)
    ),
    "a folder that is data": lambda: of(Entry(b"d", FOLDER, 0o755, 0, 0, hash_of(BLOB))),
    "no root at all": lambda: replace(of(), root=Root(NOWHERE, 0o755, 0)),
    "a file longer than its blob": lambda: of(file(b"f", size=len(BLOB) + 1)),
    "a file shorter than its blob": lambda: of(file(b"f", size=len(BLOB) - 1)),
    "a piece longer than its blob": lambda: of(
        Entry(b"f", LISTED_FILE, 0o644, 0, 9, content=Content(
            (), False, (Reference(hash_of(BLOB), 9),)))
    ),
    "segments that overlap": lambda: of(listed(b"f", 14, BLOB, BLOB, segments=((0, 7), (5, 7)))),
    "a segment beyond the file": lambda: of(listed(b"f", 8, BLOB, segments=((4, 7),))),
    "a blob that is missing": lambda: packed([file(b"f", b"never sent")], blob=BLOB),
    "a piece that is missing": lambda: packed([listed(b"f", 12, BLOB, b"never")], blob=BLOB),
    "10 to the 7th entries": lambda: nested(7, 10),
    "a terabyte of one blob": lambda: packed(
        [listed(b"f", 60 << 20, *[bytes(1 << 20)] * 60)] , blob=bytes(1 << 20)),
    "sparse files without end": lambda: of(
        *(listed(b"%d" % n, 1 << 39, segments=((1 << 39, 0),)) for n in range(5))
    ),
    "a chain without end": lambda: nested(60, 1),
}  # fmt: skip

LIMITS = RestoreLimits(max_bytes=50 << 20, max_depth=50)


@pytest.fixture
def beside(tmp_path: Path) -> Iterator[Path]:
    """A staging folder beside a canary: it must be empty afterwards, the canary untouched."""
    canary = build(tmp_path / "canary", Folder({b"file": File(b"tweet"), b"d": Folder()}, 0o755))
    before: Description = describe(canary)
    staging = tmp_path / "staging"
    staging.mkdir()
    yield staging
    assert os.listdir(staging) == []
    assert sorted(os.listdir(tmp_path)) == ["canary", "staging"]
    assert describe(canary) == before


@pytest.mark.parametrize(
    "what",
    [
        pytest.param(what, marks=pytest.mark.deep) if "10 to the 7th" in what else what
        for what in BAD_TREES
    ],
)
def test_a_tree_that_lies_is_refused(what: str, beside: Path) -> None:
    stream = BAD_TREES[what]().stream()
    with pytest.raises(LimpetError) as raised:
        restore_stream([stream], beside / "into", limits=LIMITS)
    assert raised.value.status in {400, 422}


def test_what_the_builders_make_is_fine_when_it_does_not_lie(tmp_path: Path) -> None:
    below = (file(b"f"), link(b"l", b"/etc"))
    tree = packed(
        [
            folder(b"d", *below),
            Entry(b"e", EMPTY_FILE, 0o600, 5, 0),
            file(b"f"),
            listed(b"g", 14, BLOB, BLOB),
            hard(b"h", b"f"),
            listed(b"s", 100, BLOB, segments=((90, 7),)),
        ],
        below,
        blob=BLOB,
    )
    receipt = restore_stream([tree.stream()], tmp_path / "into", limits=LIMITS)
    assert (receipt.entries, receipt.files) == (8, 5)
    assert (tmp_path / "into/s").read_bytes() == bytes(90) + BLOB + bytes(3)
    assert (tmp_path / "into/h").samefile(tmp_path / "into/f")


def test_another_state_than_the_one_asked_for_is_refused(beside: Path) -> None:
    made = of(file(b"f"))
    with pytest.raises(LimpetError, match="another state"):
        restore_stream([made.stream()], beside / "into", expect_root="0" * 64)
    wrong = {"root": root_fields(replace(made.root, node=NOWHERE))}
    with pytest.raises(LimpetError):
        restore_stream([made.stream(**wrong)], beside / "into", expect_root=made.root.digest)


@pytest.mark.parametrize(
    "fields",
    [
        {"root": None}, {"root": {}}, {"root": {"node": "00", "mode": 0, "mtime_ns": 0}},
        {"root": {"node": "00" * 32, "mode": 0o4755, "mtime_ns": 0}},
        {"root": {"node": "00" * 32, "mode": 0.5, "mtime_ns": 0}},
        {"root": {"node": "00" * 32, "mode": 0, "mtime_ns": 1 << 63}},
        {"root": {"node": "00" * 32, "mode": 0, "mtime_ns": "0"}}, {"entries": "many"},
    ],
)  # fmt: skip
def test_a_header_that_says_nonsense_is_refused(fields: dict[str, Any], beside: Path) -> None:
    with pytest.raises(StreamBrokenError):
        restore_stream([of(file(b"f")).stream(**fields)], beside / "into")


def test_ten_million_entries_are_refused_by_the_header_alone(beside: Path) -> None:
    writer = StreamWriter("restore")
    made = of(file(b"f"))
    header = writer.header({"root": root_fields(made.root), "entries": 10**7})

    def chunks() -> Iterator[bytes]:
        yield header
        raise AssertionError("more was read")

    with pytest.raises(TooMuchError):
        restore_stream(chunks(), beside / "into")


def test_a_folder_after_the_data_is_refused(beside: Path) -> None:
    made = of(file(b"f"))
    writer = StreamWriter("restore")
    stream = writer.header({"root": root_fields(made.root)})
    for kind, blobs in (("tree", made.trees), ("data", made.data), ("tree", made.trees)):
        for frame in frames(kind, blobs.values()):  # type: ignore[arg-type]
            stream += writer.frames(frame)
    with pytest.raises(LimpetError, match="after the data"):
        restore_stream([stream + writer.end({})], beside / "into")


def test_other_flows_are_refused(beside: Path) -> None:
    for flow in ("save", "plan", "needs"):
        with pytest.raises(LimpetError):
            restore_stream([of(file(b"f")).stream(flow)], beside / "into")  # type: ignore[arg-type]


def test_hashes_have_no_place_in_it(beside: Path) -> None:
    made = of(file(b"f"))
    writer = StreamWriter("restore")
    stream = writer.header({"root": root_fields(made.root)})
    stream += b"".join(writer.hashes([NOWHERE])) + writer.end({})
    with pytest.raises(StreamBrokenError):
        restore_stream([stream], beside / "into")


def _stream_records(tmp_path: Path) -> list[bytes]:
    source = build(tmp_path / "source", TREE)
    return list(pack_folder(source, cut_bytes=2000).records(frame_bytes=3000))


def test_a_stream_cut_at_any_record_is_refused(
    tmp_path_factory: pytest.TempPathFactory, beside: Path
) -> None:
    records = _stream_records(tmp_path_factory.mktemp("elsewhere"))
    for count in range(len(records)):
        for extra in (b"", records[count][:1], records[count][: len(records[count]) // 2]):
            with pytest.raises(StreamBrokenError):
                restore_stream([*records[:count], extra], beside / "into")
    with pytest.raises(StreamBrokenError):
        restore_stream([*records, b"more"], beside / "into")


def test_a_stream_without_one_of_its_records_is_refused(
    tmp_path_factory: pytest.TempPathFactory, beside: Path
) -> None:
    records = _stream_records(tmp_path_factory.mktemp("elsewhere"))
    for gone in range(len(records)):
        with pytest.raises(LimpetError):
            restore_stream([*records[:gone], *records[gone + 1 :]], beside / "into")


def test_a_flipped_bit_anywhere_is_refused(
    tmp_path_factory: pytest.TempPathFactory, beside: Path
) -> None:
    stream = bytearray(b"".join(_stream_records(tmp_path_factory.mktemp("elsewhere"))))
    for at in range(0, len(stream), 37):
        stream[at] ^= 1 << (at % 8)
        with pytest.raises(LimpetError):
            restore_stream([bytes(stream)], beside / "into")
        stream[at] ^= 1 << (at % 8)


def test_a_frame_that_is_a_bomb_is_refused(beside: Path) -> None:
    made = of(file(b"f"))
    honest = encode_frame("data", [bytes(1 << 20)])
    bomb = bytearray(honest)
    struct.pack_into("<I", bomb, 16, 4096)
    struct.pack_into("<I", bomb, 24, 4096)
    writer = StreamWriter("restore")
    stream = writer.header({"root": root_fields(made.root)})
    for frame in (*frames("tree", made.trees.values()), bytes(bomb)):
        stream += writer.frames(frame)
    with pytest.raises(LimpetError, match="larger than it may be"):
        restore_stream([stream + writer.end({})], beside / "into")


@pytest.mark.parametrize(
    "limits",
    [
        RestoreLimits(max_entries=6), RestoreLimits(max_bytes=13_000), RestoreLimits(max_depth=0),
        RestoreLimits(max_sparse_bytes=13_000), RestoreLimits(max_names_bytes=10),
        RestoreLimits(max_tree_bytes=100), RestoreLimits(max_stream_bytes=1000),
    ],
)  # fmt: skip
def test_every_limit_holds(
    tmp_path_factory: pytest.TempPathFactory, beside: Path, limits: RestoreLimits
) -> None:
    records = _stream_records(tmp_path_factory.mktemp("elsewhere"))
    with pytest.raises(TooMuchError):
        restore_stream(records, beside / "into", limits=limits)


@pytest.mark.parametrize("step", RESTORE_STEPS)
def test_an_error_at_any_step_leaves_nothing(
    tmp_path_factory: pytest.TempPathFactory,
    beside: Path,
    step: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    records = _stream_records(tmp_path_factory.mktemp("elsewhere"))
    monkeypatch.setenv("LIMPET_FAULT", f"{step}:fail")
    monkeypatch.setattr("limpet.snapshots.faults._reached", {})
    with pytest.raises((NotEnoughSpaceError, OSError)):
        restore_stream(records, beside / "into")


def test_what_the_source_raises_is_raised_and_nothing_is_left(
    tmp_path_factory: pytest.TempPathFactory, beside: Path
) -> None:
    records = _stream_records(tmp_path_factory.mktemp("elsewhere"))

    def chunks() -> Iterator[bytes]:
        yield from records[:-2]
        raise ConnectionResetError("gone")

    with pytest.raises(ConnectionResetError):
        restore_stream(chunks(), beside / "into")


def test_a_folder_that_is_there_already_stays(tmp_path: Path) -> None:
    (tmp_path / "into").mkdir()
    (tmp_path / "into/mine").write_text("mine")
    with pytest.raises(LimpetError, match="already"):
        restore_stream([of(file(b"f")).stream()], tmp_path / "into")
    assert (tmp_path / "into/mine").read_text() == "mine"
    assert BadNodeError.status == 422
