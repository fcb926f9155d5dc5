"""The fast way through a first save says and sends the same as the careful one."""

import os
from itertools import accumulate
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from limpet.snapshots import folder_reader
from limpet.snapshots.blobs import BlobHash, hash_of
from limpet.snapshots.delta import stream_delta
from limpet.snapshots.entry_contents import (
    NO_DATA,
    Chunks,
    Drops,
    LinkTarget,
    decode_contents,
    encode_contents,
    encode_plain_contents,
    plain_contents,
)
from limpet.snapshots.frame import decode_frame
from limpet.snapshots.native import CHANGED, ReadFiles, columns_of, parse_records, read_files
from limpet.snapshots.node import EMPTY_FILE, FILE, FOLDER, Entry
from limpet.snapshots.node_encode import encode_columns, encode_entries
from limpet.snapshots.outgoing import Outgoing
from limpet.snapshots.plain_folders import PlainFolder, plain_folder
from limpet.snapshots.remarks import Remarks
from limpet.snapshots.statcache import StatCaches
from limpet.snapshots.survey import Looking, SurveyedFolder, survey
from limpet.snapshots.wire import StreamFrame, StreamReader
from tests.snapshots.native.test_floor import NS
from tests.snapshots.trees import Folder, build, scratch_folder, trees

LATER_NS = 1 << 62
"""When everything is read here: all was written long before."""


def surveyed(top: Path) -> SurveyedFolder:
    fd = os.open(top, os.O_RDONLY)
    try:
        return survey(Looking(fd, None), Remarks()).folders[0]
    finally:
        os.close(fd)


def read(top: Path, plain: PlainFolder) -> ReadFiles:
    fd = os.open(top, os.O_RDONLY)
    try:
        return read_files(fd, plain.names, plain.looks.sizes)
    finally:
        os.close(fd)


@pytest.fixture
def top(tmp_path: Path) -> Path:
    made = tmp_path / "top"
    (made / "sub").mkdir(parents=True)
    for name, data in (("a", b"alpha"), ("empty", b""), ("z", b"omega!")):
        (made / name).write_bytes(data)
        os.utime(made / name, ns=(0, NS))
    return made


def test_a_folder_of_small_files_is_kept_as_it_was_listed(top: Path) -> None:
    plain = plain_folder(surveyed(top))
    assert plain is not None
    assert (plain.names, plain.is_file) == ([b"a", b"empty", b"z"], [True, True, False, True])
    found = plain.take(read(top, plain), 0, 3, LATER_NS, frozenset())
    assert found is not None
    run, sizes, names = found
    assert (bytes(run), sizes) == (b"alphaomega!", [5, 6])
    assert names == [hash_of(b"alpha"), hash_of(b"omega!")]
    assert plain.done
    packed = plain.packed()
    assert packed.records == plain.records
    assert packed.contents() == [hash_of(b"alpha"), NO_DATA, None, hash_of(b"omega!")]


def test_files_that_a_later_write_may_leave_as_they_look_are_not_vouched_for(top: Path) -> None:
    plain = plain_folder(surveyed(top))
    assert plain is not None
    mapped = frozenset({(top / "z").stat().st_ino})
    assert plain.take(read(top, plain), 0, 3, LATER_NS, mapped) is not None
    listed = parse_records(plain.records)
    kept = parse_records(plain.packed().records)
    assert [one.name for one, was in zip(kept, listed, strict=True) if one != was] == [b"z"]
    assert kept[3] == listed[3]._replace(ctime_ns=0)

    just_now = plain_folder(surveyed(top))
    assert just_now is not None
    read_at_ns = max(just_now.looks.ctimes) + 1
    assert just_now.take(read(top, just_now), 0, 3, read_at_ns, frozenset()) is not None
    assert [one.ctime_ns for one in parse_records(just_now.packed().records)][::3] == [0, 0]


@pytest.mark.parametrize(
    "column", ["errnos", "xattrs", "inos", "modes", "mtimes_ns", "ctimes_ns", "nlinks"]
)
def test_one_file_that_is_not_as_listed_spoils_the_folder(top: Path, column: str) -> None:
    plain = plain_folder(surveyed(top))
    assert plain is not None
    found = read(top, plain)
    getattr(found, column)[1] = CHANGED if column == "errnos" else getattr(found, column)[1] + 1
    assert plain.take(found, 0, 3, LATER_NS, frozenset()) is None
    assert (plain.failed, plain.done) == (True, True)


def test_a_file_that_was_written_when_reading_began_spoils_the_folder(top: Path) -> None:
    plain = plain_folder(surveyed(top))
    assert plain is not None
    read_at_ns = max(plain.looks.ctimes)
    assert plain.take(read(top, plain), 0, 3, read_at_ns, frozenset()) is None


def test_what_needs_more_care_is_left_to_it(top: Path) -> None:
    def spoilt(name: str) -> bool:
        found = plain_folder(surveyed(top)) is None
        (top / name).unlink()
        return found

    assert plain_folder(surveyed(top)) is not None
    (top / "link").symlink_to("a")
    assert spoilt("link")
    os.link(top / "a", top / "hard")
    assert spoilt("hard")
    os.mkfifo(top / "fifo")
    assert spoilt("fifo")
    (top / "a-wal").write_bytes(b"1")
    assert spoilt("a-wal")
    (top / "large").write_bytes(bytes((1 << 20) + 1))
    assert spoilt("large")
    with (top / "holes").open("wb") as file:
        file.truncate(100_000)
    assert spoilt("holes")
    assert plain_folder(surveyed(top / "sub")) is None


def saved(top: Path, scratch: Path) -> tuple[str, dict[str, object], set[BlobHash]]:
    """What a first save finds, tells and sends."""
    stream = stream_delta(top, caches=StatCaches(scratch), base=None, fields={})
    reader = StreamReader("save")
    records = [record for chunk in stream for record in reader.feed(chunk)]
    frames = [decode_frame(record.data) for record in records if isinstance(record, StreamFrame)]
    told = stream.receipt
    receipt = {"counts": told.counts, "dropped": told.dropped, "files": told.files}
    return stream.root.digest, receipt, {name for frame in frames for name in frame.hashes}


@settings(max_examples=40, deadline=None)
@given(trees())
def test_a_first_save_finds_the_same_either_way(tree: Folder) -> None:
    with scratch_folder() as scratch, pytest.MonkeyPatch.context() as patched:
        top = scratch / "top"
        build(top, tree)
        either = saved(top, scratch / "one")
        patched.setattr(folder_reader, "plain_folder", lambda _: None)
        assert saved(top, scratch / "other") == either


names = st.binary(min_size=1, max_size=9).filter(lambda name: not {0, 0x2F} & set(name))
looks = st.tuples(st.integers(0, 0o1777), st.integers(-(1 << 63), (1 << 63) - 1))
hashes = st.binary(min_size=32, max_size=32).map(BlobHash)
entries = st.one_of(
    st.builds(lambda n, look: Entry(n, EMPTY_FILE, *look, 0), names, looks),
    st.builds(
        lambda n, look, size, name: Entry(n, FILE, *look, size, name),
        names, looks, st.integers(1, 1 << 20), hashes,
    ),
    st.builds(lambda n, look, name: Entry(n, FOLDER, *look, 0, name), names, looks, hashes),
)  # fmt: skip


@given(st.lists(entries, min_size=1, max_size=9, unique_by=lambda one: one.name))
def test_a_node_of_columns_is_the_node_of_its_entries(listed: list[Entry]) -> None:
    kinds = bytes(one.kind for one in listed)
    blob = encode_columns(
        kinds,
        [one.name for one in listed],
        [one.mode for one in listed],
        [one.mtime_ns for one in listed],
        [one.size for one in listed],
        b"".join(one.hash for one in listed if one.hash is not None),
    )
    assert blob == encode_entries(listed)
    contents = [
        one.hash if one.kind == FILE else NO_DATA if one.kind == EMPTY_FILE else None
        for one in listed
    ]
    blobs = [content for content in contents if isinstance(content, bytes)]
    packed = encode_contents(contents)
    sizes = [None if one.kind == FOLDER else one.size for one in listed]
    assert encode_plain_contents(sizes, blobs) == packed
    assert plain_contents(packed) == (kinds, b"".join(blobs))
    assert decode_contents(packed) == contents


def test_contents_with_more_in_them_are_not_plain() -> None:
    assert plain_contents(encode_contents([LinkTarget(b"x")])) is None
    assert plain_contents(encode_contents([Chunks((), ())])) is None
    assert plain_contents(encode_contents([NO_DATA], {0: Drops(1, 0)})) is None


def frames_of(outgoing: Outgoing) -> list[tuple[int, ...]]:
    found = [decode_frame(frame) for frame in outgoing.drain()]
    outgoing.close()
    return [one.sizes for one in found]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 300_000), min_size=1, max_size=30), st.integers(1, 7))
def test_blobs_in_one_run_go_into_the_frames_that_each_alone_would(
    sizes: list[int], step: int
) -> None:
    data = b"".join(number.to_bytes(4, "little") for number in range(sum(sizes) // 4 + 1))
    starts = [0, *accumulate(sizes)]
    blobs = [data[at : at + size] for at, size in zip(starts, sizes, strict=False)]
    alone, together = Outgoing(None), Outgoing(None)
    for blob in blobs:
        alone.data(blob, hash_of(blob))
    for first in range(0, len(sizes), step):
        some = slice(first, first + step)
        run = memoryview(data)[starts[first] : starts[min(first + step, len(sizes))]]
        together.data_run(run, sizes[some], [hash_of(blob) for blob in blobs[some]])
    assert frames_of(alone) == frames_of(together)


def test_of_a_run_only_what_is_new_is_sent() -> None:
    outgoing = Outgoing(None)
    outgoing.data(b"two", hash_of(b"two"))
    run = b"onetwoonefour"
    names = [hash_of(blob) for blob in (b"one", b"two", b"one", b"four")]
    outgoing.data_run(memoryview(run), [3, 3, 3, 4], names)
    [frame] = outgoing.drain()
    outgoing.close()
    assert [blob for _, blob in decode_frame(frame).blobs()] == [b"two", b"one", b"four"]


def test_columns_are_those_of_the_entries(top: Path) -> None:
    records = surveyed(top).records
    assert records
    columns = columns_of(records)
    assert list(zip(*columns[1:], columns[0], strict=True)) == parse_records(records)
    assert columns_of(b"").names == []
