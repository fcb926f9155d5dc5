"""Nodes: folders are encoded as the page says, and what the page does not allow is refused."""

import struct
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from limpet.snapshots.blobs import BlobHash, hash_of
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
    Folder,
    Reference,
    decode_chunk_table,
    decode_content,
    decode_node,
)
from limpet.snapshots.node_encode import (
    content_of,
    encode_branches,
    encode_chunk_table,
    encode_content,
    encode_entries,
    encode_folder,
)
from limpet.snapshots.trees import TreeBlobs
from tests.snapshots import oracle
from tests.snapshots.agreeing import REFUSED, broken, every_flip, oracles, ours
from tests.snapshots.packed_trees import frames
from tests.snapshots.trees import name_parts

MIB = 1 << 20
HASH = hash_of(b"something")
hashes = st.binary(min_size=32, max_size=32).map(BlobHash)
modes = st.integers(0, 0o1777)
times = st.one_of(st.integers(-(1 << 63), (1 << 63) - 1), st.sampled_from([0, -(1 << 63)]))
lengths = st.one_of(st.integers(1, MIB), st.sampled_from([1, MIB]))
references = st.builds(Reference, hashes, lengths)


@st.composite
def listed(draw: st.DrawFn, name: bytes) -> Entry:
    """A file of several blobs: whole, with holes, or nothing but a hole."""
    mode, mtime_ns = draw(modes), draw(times)
    some = tuple(draw(st.lists(references, min_size=1, max_size=5)))
    data = sum(one.length for one in some)
    tables = draw(st.booleans())
    how = draw(st.sampled_from(["whole", "holes", "only a hole"]))
    if how == "whole":
        content = Content((), tables, some)
        return Entry(name, LISTED_FILE, mode, mtime_ns, data, content=content)
    if how == "only a hole":
        size = draw(st.integers(1, 1 << 50))
        content = Content(((size, 0),), tables, ())
        return Entry(name, LISTED_FILE, mode, mtime_ns, size, content=content)
    cuts = sorted(draw(st.sets(st.integers(1, data - 1), max_size=3))) if data > 1 else []
    at, segments = 0, []
    for start, end in zip([0, *cuts], [*cuts, data], strict=True):
        at += draw(st.integers(1 if segments else 0, 10**6))
        segments.append((at, end - start))
        at += end - start
    size = at + draw(st.integers(0, 10**6))
    content = Content(tuple(segments), tables, some)
    return Entry(name, LISTED_FILE, mode, mtime_ns, size, content=content)


@st.composite
def entries(draw: st.DrawFn, name: bytes) -> Entry:
    match draw(st.sampled_from([EMPTY_FILE, FILE, FOLDER, LISTED_FILE, SYMLINK, HARD_LINK])):
        case 0:
            return Entry(name, EMPTY_FILE, draw(modes), draw(times), 0)
        case 1:
            return Entry(name, FILE, draw(modes), draw(times), draw(lengths), draw(hashes))
        case 2:
            return Entry(name, FOLDER, draw(modes), draw(times), 0, draw(hashes))
        case 3:
            return draw(listed(name))
        case 4:
            target = draw(st.binary(min_size=1, max_size=50).filter(lambda some: 0 not in some))
            return Entry(name, SYMLINK, 0, draw(times), 0, target=target)
        case _:
            path = b"/".join(draw(st.lists(name_parts, min_size=1, max_size=3)))
            return Entry(name, HARD_LINK, 0, 0, 0, target=path)


@st.composite
def folders(draw: st.DrawFn) -> tuple[Entry, ...]:
    names = sorted(draw(st.sets(name_parts, max_size=8)))
    return tuple(draw(entries(name)) for name in names)


def entry_as_theirs(entry: Entry) -> oracle.Entry:
    content = None
    if entry.content is not None:
        some = tuple((bytes(one.name), one.length) for one in entry.content.references)
        content = oracle.Content(entry.content.tables, entry.content.segments, some)
    kind, looks = entry.kind, (entry.name, entry.mode, entry.mtime_ns, entry.size)
    return oracle.Entry(kind, *looks, entry.hash, content, entry.target)


def read_ours(blob: bytes) -> oracle.Node:
    node = decode_node(blob)
    if isinstance(node, Folder):
        return oracle.Node(0, tuple(map(entry_as_theirs, node.entries)), ())
    return oracle.Node(node.level, (), tuple(zip(node.firsts, node.children, strict=True)))


@given(folders())
def test_the_oracle_reads_the_folder_that_we_encode(folder: tuple[Entry, ...]) -> None:
    blob = encode_entries(folder)
    assert decode_node(blob) == Folder(folder)
    assert oracle.read_node(blob) == read_ours(blob)


@settings(max_examples=600)
@given(st.data(), folders())
def test_a_node_that_was_changed_is_refused_or_read_as_the_oracle_does(
    data: st.DataObject, folder: tuple[Entry, ...]
) -> None:
    blob = data.draw(broken(encode_entries(folder)))
    assert ours(lambda: read_ours(blob)) == oracles(lambda: oracle.read_node(blob))


@settings(max_examples=300)
@given(st.data(), st.integers(1, 4), st.sets(name_parts, min_size=1, max_size=6))
def test_a_higher_node_that_was_changed_is_refused_or_read_as_the_oracle_does(
    data: st.DataObject, level: int, names: set[bytes]
) -> None:
    blob = encode_branches(level, [(name, data.draw(hashes)) for name in sorted(names)])
    assert read_ours(blob) == oracle.read_node(blob)
    changed = data.draw(broken(blob))
    assert ours(lambda: read_ours(changed)) == oracles(lambda: oracle.read_node(changed))


def test_every_flipped_bit_of_a_node_is_refused_or_read_as_the_oracle_does() -> None:
    whole = encode_entries(EVERY_KIND)
    for bit, blob in every_flip(whole):
        found = ours(lambda blob=blob: read_ours(blob))  # type: ignore[misc]
        assert found == oracles(lambda blob=blob: oracle.read_node(blob)), bit  # type: ignore[misc]


@settings(max_examples=300)
@given(st.data(), st.lists(references, min_size=1, max_size=5))
def test_a_chunk_table_is_read_as_the_oracle_does(
    data: st.DataObject, some: list[Reference]
) -> None:
    table = encode_chunk_table(some)
    assert decode_chunk_table(table) == tuple(some) == oracle.read_chunk_table(table)
    changed = data.draw(broken(table))
    found = ours(lambda: decode_chunk_table(changed))
    assert found == oracles(lambda: oracle.read_chunk_table(changed))


# -- each rule of the page, broken alone ---------------------------------------------------------

LIST = Content(((0, 3), (5, 2)), False, (Reference(HASH, 4), Reference(HASH, 1)))
EVERY_KIND = (
    Entry(b"a", EMPTY_FILE, 0o600, -5, 0),
    Entry(b"b", FILE, 0o1777, 6, 3, HASH),
    Entry(b"c", FOLDER, 0o755, 7, 0, HASH),
    Entry(b"d", LISTED_FILE, 0o644, 8, 10, content=LIST),
    Entry(b"e", SYMLINK, 0, 9, 0, target=b"../anywhere"),
    Entry(b"f", HARD_LINK, 0, 0, 0, target=b"x/b"),
)
EMPTY, WHOLE, SUB, MANY, LINK, HARD = EVERY_KIND
COUNT = len(EVERY_KIND)
GOOD = encode_entries(EVERY_KIND)


def put(at: int, form: str, *numbers: int) -> bytes:
    blob = bytearray(GOOD)
    struct.pack_into(form, blob, at, *numbers)
    return bytes(blob)


def kind(at: int, code: int) -> bytes:
    return put(12 + at, "<B", code)


def mode(at: int, bits: int) -> bytes:
    return put(12 + 2 * COUNT + 2 * at, "<H", bits)


def mtime(at: int, time: int) -> bytes:
    return put(12 + 4 * COUNT + 8 * at, "<q", time)


def size(at: int, number: int) -> bytes:
    return put(12 + 12 * COUNT + 8 * at, "<Q", number)


def names(*some: bytes) -> bytes:
    return encode_entries([EMPTY._replace(name=name) for name in some])


def content(size: int, **other: object) -> bytes:
    changed = replace(LIST, **other)  # type: ignore[arg-type]
    return encode_entries([MANY._replace(size=size, content=changed)])


def extra(entry: Entry, of: bytes) -> bytes:
    """The entry alone, with this extra."""
    return (
        encode_entries([entry._replace(kind=SYMLINK, mode=0, size=0, target=of)])[:12]
        + encode_entries([entry._replace(content=None, target=of)])[12:]
    )


ONE = Reference(HASH, 1)
NODE_RULES: dict[str, bytes] = {
    "nothing": b"",
    "the signature": b"LTN2" + GOOD[4:],
    "a level that is none": put(4, "<B", 5),
    "bytes that should be zero": put(6, "<B", 1),
    "more entries than there are": put(8, "<I", COUNT + 1),
    "fewer entries than there are": put(8, "<I", COUNT - 1),
    "very many entries": put(8, "<I", 2**32 - 1),
    "something after the end": GOOD + b"\0",
    "a piece missing at the end": GOOD[:-1],
    "a kind that is none": kind(0, 6),
    "a mode with set-uid": mode(1, 0o4755),
    "a mode with set-gid": mode(1, 0o2755),
    "a symlink with a mode": mode(4, 0o777),
    "a hard link with a mode": mode(5, 0o644),
    "a hard link with a time": mtime(5, 1),
    "an empty file with a size": size(0, 1),
    "a file of one blob without a size": size(1, 0),
    "a file of one blob that is too large": size(1, MIB + 1),
    "a folder with a size": size(2, 1),
    "a symlink with a size": size(4, 1),
    "a hard link with a size": size(5, 1),
    "a file of over 2^50 bytes": content((1 << 50) + 1),
    "an empty name": names(b""),
    "the name .": names(b"."),
    "the name ..": names(b".."),
    "a slash in a name": names(b"a/b"),
    "a NUL in a name": names(b"a\0b"),
    "a name twice": names(b"a", b"a"),
    "names that do not ascend": names(b"b", b"a"),
    "a symlink to nothing": encode_entries([LINK._replace(target=b"")]),
    "a symlink's target that is too long": encode_entries([LINK._replace(target=b"x" * 4096)]),
    "a NUL in a symlink's target": encode_entries([LINK._replace(target=b"a\0")]),
    "a hard link to nothing": encode_entries([HARD._replace(target=b"")]),
    "a hard link to an absolute path": encode_entries([HARD._replace(target=b"/a")]),
    "a hard link with an empty part": encode_entries([HARD._replace(target=b"a//b")]),
    "a hard link with a final slash": encode_entries([HARD._replace(target=b"a/")]),
    "a hard link with a .": encode_entries([HARD._replace(target=b"a/./b")]),
    "a hard link with a ..": encode_entries([HARD._replace(target=b"../b")]),
    "a hard link with a NUL": encode_entries([HARD._replace(target=b"a\0")]),
    "a hard link with a long name": encode_entries([HARD._replace(target=b"a/" + b"n" * 256)]),
    "content of a file of size 0": content(0, segments=(), references=()),
    "content that is cut off": extra(MANY, encode_content(LIST)[:11]),
    "content and more": extra(MANY, encode_content(LIST) + b"\0"),
    "a table that is none": extra(
        MANY, encode_content(LIST)[:4] + b"\2" + encode_content(LIST)[5:]
    ),
    "content's bytes that should be zero": extra(
        MANY, encode_content(LIST)[:5] + b"\1" + encode_content(LIST)[6:]
    ),
    "segments past the end": content(6),
    "segments that touch": content(10, segments=((0, 3), (3, 2))),
    "segments that overlap": content(10, segments=((0, 3), (2, 2))),
    "segments that do not ascend": content(10, segments=((5, 2), (0, 3))),
    "an empty segment": content(10, segments=((0, 5), (7, 0))),
    "an empty segment that is not at the end": content(10, segments=((9, 0),), references=()),
    "a hole with references": content(10, segments=((10, 0),)),
    "too many segments": content(
        10_000, segments=tuple((2 * n, 1) for n in range(4097)), references=(Reference(HASH, 4097),)
    ),
    "references of less than the segments": content(10, references=(Reference(HASH, 4),)),
    "references of more than the segments": content(10, references=(Reference(HASH, 6),)),
    "references of less than the file": content(10, segments=()),
    "a reference of no bytes": content(10, references=(Reference(HASH, 5), Reference(HASH, 0))),
    "a reference of over 1 MiB": content(
        MIB + 1, segments=(), references=(Reference(HASH, MIB + 1),)
    ),
    "too many references": content(8193, segments=(), references=(ONE,) * 8193),
    "a node of over 1 MiB": encode_entries(
        [
            LINK._replace(name=b"%04d" % number, target=b"x" * 4000)
            for number in range(MIB // 4000 + 1)
        ]
    ),
}


@pytest.mark.parametrize("rule", NODE_RULES)
def test_a_node_that_breaks_a_rule_is_refused(rule: str) -> None:
    assert oracles(lambda: oracle.read_node(NODE_RULES[rule])) == REFUSED
    with pytest.raises(BadNodeError):
        decode_node(NODE_RULES[rule])


def test_the_nodes_that_the_rules_are_broken_of_are_good() -> None:
    most = tuple((2 * n, 1) for n in range(4096))
    for blob in (
        GOOD,
        content(10),
        content(8192, segments=most, references=(Reference(HASH, 4096),)),
        content(8192, segments=(), references=(ONE,) * 8192),
        content(10, segments=((10, 0),), references=()),
        content(10, segments=((0, 10),), references=(Reference(HASH, 10),)),
        content(1 << 32, tables=True, segments=(), references=(Reference(HASH, 1 << 31),) * 2),
        names(b"n" * 255, b"o"),
        encode_entries([LINK._replace(target=b"x" * 4095)]),
        encode_entries([]),
        encode_branches(4, [(b"a", HASH)]),
    ):
        assert read_ours(blob) == oracle.read_node(blob)


BRANCHES = encode_branches(1, [(b"a", HASH), (b"b", HASH)])
BRANCH_RULES: dict[str, bytes] = {
    "a level of 5": b"LTN1\5" + BRANCHES[5:],
    "nothing below": encode_branches(1, []),
    "names that do not ascend": encode_branches(1, [(b"b", HASH), (b"a", HASH)]),
    "a name twice": encode_branches(1, [(b"a", HASH), (b"a", HASH)]),
    "the name ..": encode_branches(1, [(b"..", HASH)]),
    "an empty name": encode_branches(1, [(b"", HASH)]),
    "a hash too few": BRANCHES[:-32],
    "something after the end": BRANCHES + b"\0",
}


@pytest.mark.parametrize("rule", BRANCH_RULES)
def test_a_higher_node_that_breaks_a_rule_is_refused(rule: str) -> None:
    assert oracles(lambda: oracle.read_node(BRANCH_RULES[rule])) == REFUSED
    with pytest.raises(BadNodeError):
        decode_node(BRANCH_RULES[rule])


TABLE = encode_chunk_table([Reference(HASH, 5)])
TABLE_RULES: dict[str, bytes] = {
    "nothing": b"",
    "the signature": b"LCT2" + TABLE[4:],
    "no references": b"LCT1" + bytes(4),
    "more references than there are": TABLE[:4] + struct.pack("<I", 2) + TABLE[8:],
    "something after the end": TABLE + b"\0",
    "a reference of no bytes": encode_chunk_table([Reference(HASH, 0)]),
    "a reference of over 1 MiB": encode_chunk_table([Reference(HASH, MIB + 1)]),
    "too many references": b"LCT1" + struct.pack("<I", 8193) + (HASH + b"\1\0\0\0") * 8193,
}


@pytest.mark.parametrize("rule", TABLE_RULES)
def test_a_chunk_table_that_breaks_a_rule_is_refused(rule: str) -> None:
    assert oracles(lambda: oracle.read_chunk_table(TABLE_RULES[rule])) == REFUSED
    with pytest.raises(BadNodeError):
        decode_chunk_table(TABLE_RULES[rule])


# -- big folders and large files -----------------------------------------------------------------


def in_blobs(folder: list[Entry]) -> tuple[BlobHash, dict[BlobHash, bytes]]:
    made: dict[BlobHash, bytes] = {}

    def emit(blob: bytes, name: BlobHash) -> None:
        assert name == hash_of(blob)
        made[name] = blob

    return encode_folder(folder, emit), made


def big(count: int, name_of: Callable[[int], bytes] = lambda n: b"file-%06d" % n) -> list[Entry]:
    return [Entry(name_of(n), FILE, 0o644, n, 1 + n % 9, HASH) for n in range(count)]


@pytest.mark.parametrize("count", [0, 1, 256, 257, 1000, 60_000])
def test_a_big_folder_is_read_as_one_whatever_it_is_cut_into(count: int) -> None:
    folder = big(count)
    top, made = in_blobs(folder)
    theirs = oracle.Blobs(made)
    assert oracle._folder(top, theirs, None) == list(map(entry_as_theirs, folder))
    trees = TreeBlobs()
    for frame in frames("tree", made.values()):
        trees.add_frame(frame)
    assert trees.entries(top) == folder
    assert (len(made) > 1) == (count > 256)
    assert set(trees.nodes_of(top)) == set(made)


def test_one_more_entry_rewrites_the_path_to_it_alone() -> None:
    folder = big(60_000)
    top, made = in_blobs(folder)
    assert oracle.read_node(made[top]).level == 2
    for at in (0, 30_000, 60_000):
        more = sorted([*folder, Entry(b"file-%06d+" % at, FILE, 0o644, 0, 1, HASH)])
        _, anew = in_blobs(more)
        assert len(set(anew) - set(made)) <= 4


def test_a_folder_of_large_entries_is_cut_before_a_node_is_too_large() -> None:
    folder = [Entry(b"%03d" % n, SYMLINK, 0, 0, 0, target=b"x" * 4095) for n in range(256)]
    _, made = in_blobs(folder)
    assert len(made) > 1
    assert max(map(len, made.values())) <= 512 << 10


@pytest.mark.parametrize("count", [1, 64, 65, 4095, 4096, 20_000])
def test_a_file_of_many_blobs_has_tables_that_say_how_much_they_stand_for(count: int) -> None:
    chunks = [Reference(hash_of(b"%d" % n), 1 + n) for n in range(count)]
    made: dict[BlobHash, bytes] = {}
    content = content_of(chunks, (), lambda blob, name: made.update({name: blob}))
    total = sum(one.length for one in chunks)
    assert decode_content(encode_content(content), total) == content
    assert content.tables == (count > 64)
    rows = [
        row
        for one in content.references
        for row in (decode_chunk_table(made[one.name]) if content.tables else [one])
    ]
    assert rows == chunks


def test_a_file_of_more_than_4_gib_of_large_blobs_is_cut_into_tables_that_can_say_so() -> None:
    chunks = [Reference(HASH, MIB)] * 8192
    made: dict[BlobHash, bytes] = {}
    content = content_of(chunks, (), lambda blob, name: made.update({name: blob}))
    assert decode_content(encode_content(content), 8192 * MIB) == content
    assert [row for one in content.references for row in decode_chunk_table(made[one.name])] == (
        chunks
    )
