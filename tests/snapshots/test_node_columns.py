"""The fast way through a node says the same as the careful one, or nothing."""

import struct

from hypothesis import given
from hypothesis import strategies as st

from limpet.snapshots.blobs import BlobHash
from limpet.snapshots.node import (
    EMPTY_FILE,
    FILE,
    FOLDER,
    SYMLINK,
    BadNodeError,
    Entry,
    Folder,
    decode_node,
)
from limpet.snapshots.node_columns import FileColumns, file_columns
from limpet.snapshots.node_encode import encode_entries

names = st.binary(min_size=1, max_size=12).filter(
    lambda name: not {0, 0x2F} & set(name) and name not in {b".", b".."}
)
looks = st.tuples(st.integers(0, 0o1777), st.integers(-(1 << 63), (1 << 63) - 1))
hashes = st.binary(min_size=32, max_size=32).map(BlobHash)
plain = st.one_of(
    st.builds(lambda n, look: Entry(n, EMPTY_FILE, *look, 0), names, looks),
    st.builds(
        lambda n, look, size, name: Entry(n, FILE, *look, size, name),
        names, looks, st.integers(1, 1 << 20), hashes,
    ),
    st.builds(lambda n, look, name: Entry(n, FOLDER, *look, 0, name), names, looks, hashes),
)  # fmt: skip
folders = st.lists(plain, max_size=8, unique_by=lambda entry: entry.name).map(
    lambda entries: sorted(entries, key=lambda entry: entry.name)
)


def entries_of(columns: FileColumns) -> list[Entry]:
    blobs = iter(columns.hashes)
    files = [
        Entry(name, FILE, mode, mtime_ns, size, next(blobs))
        if size
        else Entry(name, EMPTY_FILE, mode, mtime_ns, 0)
        for name, mode, mtime_ns, size in zip(*columns[:4], strict=True)
    ]
    assert next(blobs, None) is None
    return sorted(files + columns.folders, key=lambda entry: entry.name)


@given(folders)
def test_plain_folders_are_the_same_both_ways(entries: list[Entry]) -> None:
    columns = file_columns(encode_entries(entries))
    assert columns is not None
    assert entries_of(columns) == entries


@given(folders, st.lists(st.tuples(st.integers(0, 600), st.integers(0, 255)), max_size=3))
def test_what_the_careful_way_refuses_is_not_taken(
    entries: list[Entry], changes: list[tuple[int, int]]
) -> None:
    blob = bytearray(encode_entries(entries))
    for at, byte in changes:
        blob[at % len(blob)] = byte
    columns = file_columns(bytes(blob))
    try:
        node = decode_node(bytes(blob))
    except BadNodeError:
        assert columns is None
        return
    if columns is not None:
        assert isinstance(node, Folder)
        assert entries_of(columns) == list(node.entries)


def test_every_other_blob_is_left_to_the_careful_way() -> None:
    link = Entry(b"l", SYMLINK, 0, 0, 0, target=b"x")
    assert file_columns(encode_entries([link])) is None
    assert file_columns(b"") is None
    assert file_columns(b"LTN1" + bytes(4) + struct.pack("<I", 1 << 30)) is None
    assert file_columns(struct.pack("<4sB3sI", b"LTN1", 1, bytes(3), 0)) is None
