"""Saves of a sandbox that lies: each is refused, nothing of it becomes a snapshot."""

import asyncio
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from limpet.errors import InvalidInputError, LimpetError, SnapshotDamagedError
from limpet.ids import AgentId, Branch, OrgId
from limpet.snapshots import receiving
from limpet.snapshots.blobs import BlobHash, hash_of
from limpet.snapshots.frame import encode_frame
from limpet.snapshots.judge import RestoreLimits, TooMuchError
from limpet.snapshots.judge_save import ForeignBlobError
from limpet.snapshots.lineage import BranchRef, Head
from limpet.snapshots.node import (
    EMPTY_FILE,
    FILE,
    FOLDER,
    LISTED_FILE,
    BadNodeError,
    Content,
    Entry,
    Reference,
    Root,
)
from limpet.snapshots.node_encode import encode_chunk_table, encode_folder
from limpet.snapshots.receiving import ForeignBaseError, Receiving
from limpet.snapshots.repository import SnapshotRepository
from limpet.snapshots.restore_tree import restore_stream
from limpet.snapshots.tree import delete_tree
from limpet.snapshots.wire import StreamBrokenError, StreamWriter
from limpet.stores.local import LocalStore
from tests.snapshots.packed_streams import (
    RECEIPT,
    Hard,
    Link,
    Tree,
    in_pieces,
    opened,
    save_stream,
    tree_of,
)
from tests.snapshots.packed_trees import PackedTree, packed

pytestmark = pytest.mark.anyio
REF = BranchRef(OrgId("acme"), AgentId("agt_1"), Branch("main"))
OTHER = BranchRef(OrgId("acme"), AgentId("agt_2"), Branch("main"))
LARGE = b"".join(bytes([n]) * 3000 for n in range(70))


class Saves:
    """A repository, and saves of trees one upon another."""

    def __init__(self, folder: Path) -> None:
        self.store = LocalStore(folder / "store")
        self.repository = SnapshotRepository(self.store)

    async def save(self, stream: bytes, base: Head | None = None, ref: BranchRef = REF) -> Head:
        saved = await self.repository.save_packed(
            ref, in_pieces(stream), base=base, reason="idle", parent=None, fencing=1,
            expected_generation=base.generation if base else 0,
        )  # fmt: skip
        return saved.head

    async def refused(
        self, stream: bytes, error: type[LimpetError], base: Head | None = None
    ) -> LimpetError:
        """The save is refused with this error, and the head is what it was."""
        before = await self.repository.history(REF)
        with pytest.raises(error) as told:
            await self.save(stream, base)
        assert await self.repository.history(REF) == before
        return told.value


@pytest.fixture
def saves(tmp_path: Path) -> Saves:
    return Saves(tmp_path)


def sends(entries: list[Entry], *others: list[Entry], **blobs: bytes) -> bytes:
    return save_stream(packed(entries, *others, **blobs))


def file(name: bytes, blob: bytes, *, size: int | None = None) -> Entry:
    return Entry(name, FILE, 0o644, 1, len(blob) if size is None else size, hash_of(blob))


# -- references --------------------------------------------------------------------------------


async def test_to_know_a_hash_gives_no_right_to_its_blob(saves: Saves) -> None:
    secret = tree_of({".env": b"the other agent's secret", "src": {"a": b"a"}})
    await saves.save(save_stream(secret), ref=OTHER)
    thief = tree_of({"mine": b"the other agent's secret"})
    await saves.refused(save_stream(thief, without=thief.data), ForeignBlobError)
    folder = tree_of({"mine": {"a": b"a"}})
    inner = [name for name in folder.trees if name in secret.trees]
    assert inner
    await saves.refused(save_stream(folder, without=inner), ForeignBlobError)


async def test_what_the_base_no_longer_holds_must_be_sent_again(saves: Saves) -> None:
    one = tree_of({"old": b"was here once", "gone": {"x": b"x"}, "kept": b"kept"})
    two = tree_of({"kept": b"kept"})
    first = await saves.save(save_stream(one))
    second = await saves.save(save_stream(two, one), first)
    third = tree_of({"kept": b"kept", "again": b"was here once"})
    without = [hash_of(b"was here once")]
    await saves.refused(save_stream(third, two, without=without), ForeignBlobError, second)
    fourth = tree_of({"kept": b"kept", "back": {"x": b"x"}})
    inner = [name for name in fourth.trees if name in one.trees]
    await saves.refused(save_stream(fourth, two, without=inner), ForeignBlobError, second)
    await saves.save(save_stream(fourth, two), second)


async def test_what_the_base_holds_elsewhere_need_not_be_sent(saves: Saves) -> None:
    one = tree_of({"a": {"deep": {"x": b"x" * 100, "y": b"y"}}, "b": b"b"})
    two = tree_of({"b": b"b", "moved": {"deep": {"x": b"x" * 100, "y": b"y"}}, "copy": b"y"})
    first = await saves.save(save_stream(one))
    second = await saves.save(save_stream(two, one), first)
    assert second.packed is not None
    assert second.packed.counts is not None
    assert second.packed.counts.entries == 6
    found = await opened(await saves.repository.open_packed(second))
    assert found.data == two.data
    assert found.trees == two.trees


async def test_a_stream_without_a_base_may_rely_on_none(saves: Saves) -> None:
    one, two = tree_of({"a": b"a"}), tree_of({"a": b"a", "b": b"b"})
    first = await saves.save(save_stream(one))
    await saves.refused(save_stream(two, one, header={"base": None}), ForeignBlobError, first)


async def test_another_base_than_the_one_given_is_refused(saves: Saves) -> None:
    one, two = tree_of({"a": b"a"}), tree_of({"b": b"b"})
    first = await saves.save(save_stream(one))
    await saves.refused(save_stream(two, two), ForeignBaseError, first)
    await saves.refused(save_stream(two, one), ForeignBaseError)


@pytest.mark.parametrize("told", [1, 4, 6, 4000])
async def test_a_file_is_as_long_as_its_blob(saves: Saves, told: int) -> None:
    lie = [file(b"x", b"12345", size=told)]
    await saves.refused(sends(lie, b=b"12345"), BadNodeError)
    one = tree_of({"x": b"12345"})
    base = await saves.save(save_stream(one))
    await saves.refused(save_stream(packed(lie, b=b"12345"), one), BadNodeError, base)


async def test_kinds_of_blobs_do_not_stand_for_each_other(saves: Saves) -> None:
    node = packed([]).root.node
    empty = next(iter(packed([]).trees.values()))
    as_data = packed([Entry(b"x", FILE, 0o644, 1, len(empty), node)])
    await saves.refused(save_stream(as_data, more_trees=[empty]), ForeignBlobError)
    as_folder = packed([Entry(b"x", FOLDER, 0o755, 1, 0, node)])
    await saves.refused(save_stream(as_folder, more_data=[empty]), ForeignBlobError)
    table = encode_chunk_table([Reference(hash_of(b"1"), 1)])
    as_table = packed([Entry(b"x", FOLDER, 0o755, 1, 0, hash_of(table))])
    await saves.refused(save_stream(as_table, more_trees=[table]), BadNodeError)


async def test_a_tree_blob_that_is_not_there_is_told(saves: Saves) -> None:
    tree = tree_of({"a": {"b": {"c": b"c"}}})
    for name in tree.trees:
        await saves.refused(save_stream(tree, without=[name]), ForeignBlobError)


# -- large files -------------------------------------------------------------------------------


def listed(tables: list[Reference], size: int, *, direct: bool = False) -> PackedTree:
    content = Content((), not direct, tuple(tables))
    return packed([Entry(b"large", LISTED_FILE, 0o644, 1, size, content=content)])


async def test_chunk_tables_add_up(saves: Saves) -> None:
    chunks = [LARGE[at : at + 3000] for at in range(0, len(LARGE), 3000)]
    references = [Reference(hash_of(chunk), len(chunk)) for chunk in chunks]
    table = encode_chunk_table(references)
    good = listed([Reference(hash_of(table), len(LARGE))], len(LARGE))
    base = await saves.save(save_stream(good, more_data=chunks, more_trees=[table]))
    good.data = {hash_of(chunk): chunk for chunk in chunks}
    good.trees[hash_of(table)] = table
    found = await opened(await saves.repository.open_packed(base))
    assert found.data == good.data

    short = listed([Reference(hash_of(table), len(LARGE) - 1)], len(LARGE) - 1)
    await saves.refused(save_stream(short, good), BadNodeError, base)
    await saves.refused(save_stream(short, more_data=chunks, more_trees=[table]), BadNodeError)
    lying = encode_chunk_table([*references[:-1], Reference(references[-1].name, 2999)])
    wrong = listed([Reference(hash_of(lying), len(LARGE) - 1)], len(LARGE) - 1)
    await saves.refused(save_stream(wrong, good, more_trees=[lying]), BadNodeError, base)
    foreign = encode_chunk_table([*references, Reference(hash_of(b"secret"), 6)])
    more = listed([Reference(hash_of(foreign), len(LARGE) + 6)], len(LARGE) + 6)
    await saves.refused(save_stream(more, good, more_trees=[foreign]), ForeignBlobError, base)
    await saves.refused(save_stream(more, good), ForeignBlobError, base)
    longer = encode_chunk_table([*references, Reference(hash_of(b"tail"), 4)])
    grown = listed(
        [Reference(hash_of(table), len(LARGE)), Reference(hash_of(longer), len(LARGE) + 4)],
        2 * len(LARGE) + 4,
    )
    after = await saves.save(
        save_stream(grown, good, more_data=[b"tail"], more_trees=[longer]), base
    )
    found = await opened(await saves.repository.open_packed(after))
    assert found.data == {**good.data, hash_of(b"tail"): b"tail"}


async def test_pieces_of_a_file_are_as_long_as_it_says(saves: Saves) -> None:
    lie = listed([Reference(hash_of(b"12345"), 4), Reference(hash_of(b"1"), 1)], 5, direct=True)
    await saves.refused(save_stream(lie, more_data=[b"12345", b"1"]), BadNodeError)


# -- hard links --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "tree",
    [
        {"a": Hard("b"), "b": b"later"},
        {"a": Hard("a")},
        {"a": Hard("missing")},
        {"a": b"1", "b": Hard("a"), "c": Hard("b")},
        {"d": {"x": b"1"}, "e": {"l": Hard("d")}},
        {"d": {"x": b"1"}, "e": {"l": Hard("d/y")}},
        {"d": {"x": b"1"}, "e": {"l": Hard("d/x/y")}},
        {"d": {"x": b"1"}, "l": Hard("d/x")},
        {"d": {"x": b"1"}, "e": Link("d"), "f": {"l": Hard("e/x")}},
        {"e": {"l": Hard("f/x")}, "f": {"x": b"1"}},
        {"e": {"sub": {"x": b"1"}, "z": Hard("e/sub/x")}},
    ],
)
async def test_a_hard_link_means_a_file_that_comes_before_it(saves: Saves, tree: Tree) -> None:
    await saves.refused(save_stream(tree_of(tree)), BadNodeError)


LINKED: Tree = {
    "d": {"x": b"1", "more": b"2", "in": {"w": b"w"}},
    "e": {"l": Hard("d/x"), "deep": {"m": Hard("d/in/w")}},
    "s": Link("d"),
    "z": {"sl": Hard("s"), "e": Hard("d/more")},
}


@pytest.mark.parametrize(
    "change",
    [
        {"d": {"more": b"2", "in": {"w": b"w"}}},
        {"d": {"x": {"now": b"a folder"}, "more": b"2", "in": {"w": b"w"}}},
        {"d": {"a": b"1", "x": Hard("d/a"), "more": b"2", "in": {"w": b"w"}}},
        {"d": {"x": b"1", "more": b"2"}},
        {"d": {"x": b"1", "more": b"2", "in": b"no folder"}},
        {"d": {"x": b"1", "more": b"2", "in": {}}},
        {"d": b"a file now"},
        {"s": {"a": b"folder"}},
    ],
)
async def test_an_unchanged_hard_link_may_not_lose_what_it_means(
    saves: Saves, change: Tree
) -> None:
    one = tree_of(LINKED)
    base = await saves.save(save_stream(one))
    two = tree_of({**LINKED, **change})
    error = await saves.refused(save_stream(two, one), BadNodeError, base)
    assert "hard link" in error.message
    touched = tree_of({**LINKED, **change, "e": {**LINKED["e"], "new": b"n"}})  # type: ignore[dict-item]
    await saves.refused(save_stream(touched, one), BadNodeError, base)


async def test_what_hard_links_mean_may_change(saves: Saves) -> None:
    one = tree_of(LINKED)
    base = await saves.save(save_stream(one))
    two = tree_of(
        {
            **LINKED,
            "d": {"x": b"other", "more": b"", "in": {"w": Link("x"), "v": Hard("d/in/../x")}},
        }
    )
    await saves.refused(save_stream(two, one), BadNodeError, base)
    three = tree_of({**LINKED, "d": {"x": b"other", "more": b"", "in": {"w": Link("x")}}})
    await saves.save(save_stream(three, one), base)
    found = await saves.repository.head(REF)
    assert found is not None
    assert found.packed is not None
    assert found.packed.counts is not None
    assert found.packed.counts.hard_links == 4


# -- names, limits, shape ----------------------------------------------------------------------


@pytest.mark.parametrize("name", ["tmp", ".limpet-root"])
async def test_what_is_never_saved_is_refused_at_the_top(saves: Saves, name: str) -> None:
    await saves.refused(save_stream(tree_of({name: {"a": b"a"}})), BadNodeError)
    await saves.save(save_stream(tree_of({"src": {name: b"fine here"}})))


async def test_a_tree_that_unfolds_without_end_is_refused(saves: Saves) -> None:
    trees: list[bytes] = []
    node = packed([Entry(b"x", EMPTY_FILE, 0o644, 1, 0)]).root.node
    trees += packed([Entry(b"x", EMPTY_FILE, 0o644, 1, 0)]).trees.values()
    for _ in range(40):
        twice = [Entry(b"a", FOLDER, 0o755, 1, 0, node), Entry(b"b", FOLDER, 0o755, 1, 0, node)]
        level = packed(twice)
        node = level.root.node
        trees += level.trees.values()
    bomb = packed([Entry(b"top", FOLDER, 0o755, 1, 0, node)])
    await saves.refused(save_stream(bomb, more_trees=trees), InvalidInputError)


async def test_a_tree_that_is_too_deep_is_refused(saves: Saves) -> None:
    trees: list[bytes] = []
    node = packed([]).root.node
    trees += packed([]).trees.values()
    for _ in range(10_002):
        level = packed([Entry(b"d", FOLDER, 0o755, 1, 0, node)])
        node = level.root.node
        trees += level.trees.values()
    deep = packed([Entry(b"top", FOLDER, 0o755, 1, 0, node)])
    await saves.refused(save_stream(deep, more_trees=trees), InvalidInputError)


def groups_of(into: Receiving, *pieces: bytes) -> Iterator[int]:
    """How many bytes are unpacked at a time."""
    for piece in pieces:
        into.feed(piece)
        while frames := into.frames()[0]:
            yield sum(len(frame.decoded.raw) for frame in frames)
            into.store(frames, {})


def test_a_stream_that_unpacks_without_end_is_refused_in_flat_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(receiving, "_RATIO_FROM_BYTES", 64 << 20)
    writer = StreamWriter("save")
    stream = writer.header({"base": None, "activity_seq": 1, "boot_id": "b"})
    blobs = (number.to_bytes(8, "little") + bytes((1 << 20) - 8) for number in range(200))
    stream += b"".join(writer.frames(encode_frame("data", [blob])) for blob in blobs)
    assert len(stream) < 40_000
    groups: list[int] = []
    with pytest.raises(TooMuchError):
        groups.extend(groups_of(Receiving(None), stream))
    assert max(groups) <= 9 << 20
    assert sum(groups) <= 65 << 20


def test_more_pieces_than_any_workspace_has_are_refused() -> None:
    writer = StreamWriter("save")
    pieces = [writer.header({"base": None, "activity_seq": 1, "boot_id": "b"})]
    for start in range(0, 400_000, 8000):
        blobs = [number.to_bytes(8, "little") for number in range(start, start + 8000)]
        pieces.append(writer.frames(encode_frame("data", blobs)))
    receiving_little = Receiving(None, RestoreLimits(max_entries=1000))
    with pytest.raises(TooMuchError):
        list(groups_of(receiving_little, *pieces))
    assert sum(groups_of(Receiving(None), *pieces)) == 8 * 400_000


def branches(level: int, *children: tuple[bytes, BlobHash]) -> bytes:
    head = b"LTN1" + bytes([level, 0, 0, 0]) + len(children).to_bytes(4, "little")
    names = bytes(len(n) for n, _ in children) + b"".join(n for n, _ in children)
    return head + names + b"".join(child for _, child in children)


def of_node(blob: bytes, *others: bytes) -> bytes:
    tree = PackedTree(Root(hash_of(blob), 0o755, 1))
    tree.trees = {hash_of(one): one for one in (blob, *others)}
    return save_stream(tree)


async def test_big_folders_that_do_not_fit_together_are_refused(saves: Saves) -> None:
    low = [Entry(b"a", EMPTY_FILE, 0o644, 1, 0)]
    high = [Entry(b"b", EMPTY_FILE, 0o644, 1, 0)]
    nodes: list[bytes] = []
    a, b = (encode_folder(e, lambda blob, _: nodes.append(blob)) for e in (low, high))
    await saves.save(of_node(branches(1, (b"a", a), (b"b", b)), *nodes))
    for bad in (
        branches(1, (b"a", b), (b"b", a)),
        branches(1, (b"a", a), (b"b", a)),
        branches(2, (b"a", a), (b"b", b)),
        branches(1, (b"A", a), (b"b", b)),
    ):
        await saves.refused(of_node(bad, *nodes), BadNodeError)
    chain = branches(1, (b"a", a))
    blobs = [*nodes, chain]
    for _ in range(3000):
        chain = branches(1, (b"a", hash_of(chain)))
        blobs.append(chain)
    await saves.refused(of_node(chain, *blobs), BadNodeError)


@pytest.mark.parametrize(
    "root",
    [
        None,
        {},
        [],
        {"node": "zz", "mode": 1, "mtime_ns": 1},
        {"node": "00" * 31, "mode": 1, "mtime_ns": 1},
        {"node": "00" * 32, "mode": 493.5, "mtime_ns": 1},
        {"node": "00" * 32, "mode": 0o7777, "mtime_ns": 1},
        {"node": "00" * 32, "mode": True, "mtime_ns": 1},
        {"node": "00" * 32, "mode": 1, "mtime_ns": 1 << 63},
        {"node": "00" * 32, "mode": 1, "mtime_ns": "now"},
        {"node": 7, "mode": 1, "mtime_ns": 1},
    ],
)
async def test_a_root_that_is_none_is_refused(saves: Saves, root: object) -> None:
    await saves.refused(save_stream(tree_of({}), end={"root": root}), SnapshotDamagedError)


@pytest.mark.parametrize(
    "receipt",
    [
        None,
        [],
        "fine",
        {"complete": 1},
        {"skipped": 5},
        {"skipped": [{"path": 1, "reason": "x"}]},
        {"torn": ["x"]},
        {"counts": {"x": "y"}},
        {"counts": {"x": -1}},
        {"counts": {str(n): 1 for n in range(1000)}},
        {"dropped": []},
        {"duration_ms": 1.5},
        {"duration_ms": 1 << 70},
        {"live": None},
        {"incomplete_because": "all"},
    ],
)
async def test_a_receipt_that_is_none_is_refused(saves: Saves, receipt: object) -> None:
    await saves.refused(save_stream(tree_of({}), end={"receipt": receipt}), StreamBrokenError)


async def test_a_receipt_cannot_make_a_head_too_large_or_claim_what_we_count(
    saves: Saves,
) -> None:
    remark = {"path": "\U0001f9ea" * 800, "reason": "\ud800" * 100}
    receipt = {
        **RECEIPT, "entries": 10**9, "files": -4, "bytes": 5, "size_bytes": 0,
        "blake3": "x", "unknown": ["x"],
        "skipped": [remark] * 40, "torn": [remark] * 40, "counts": {"skipped": 12345},
    }  # fmt: skip
    head = await saves.save(save_stream(tree_of({"a": b"a"}), end={"receipt": receipt}))
    assert await saves.repository.head(REF) == head
    assert (head.receipt.entries, head.receipt.files, head.receipt.bytes) == (1, 1, 1)
    assert head.receipt.size_bytes > 100
    assert head.receipt.blake3 == head.blake3
    assert head.receipt.counts == {"skipped": 12345}
    assert head.receipt.skipped


@pytest.mark.parametrize(
    "header",
    [
        {"base": 5},
        {"activity_seq": "7"},
        {"activity_seq": -1},
        {"activity_seq": 1 << 63},
        {"activity_seq": None},
        {"boot_id": None},
        {"boot_id": "x" * 300},
        {"flow": "restore"},
    ],
)
async def test_a_header_that_is_none_is_refused(saves: Saves, header: Mapping[str, object]) -> None:
    await saves.refused(save_stream(tree_of({}), header=header), LimpetError)


async def test_a_stream_holds_frames_alone(saves: Saves) -> None:
    writer = StreamWriter("save")
    told = {"base": None, "activity_seq": 1, "boot_id": "b"}
    stream = writer.header(told) + b"".join(writer.hashes([hash_of(b"x")])) + writer.end({})
    await saves.refused(stream, StreamBrokenError)
    writer = StreamWriter("save")
    frame = bytearray(encode_frame("data", [b"x" * 100]))
    frame[12] = 2
    await saves.refused(writer.header(told) + writer.frames(bytes(frame)), SnapshotDamagedError)


# -- what nobody names -------------------------------------------------------------------------


async def test_what_was_sent_and_is_not_named_is_not_kept(saves: Saves) -> None:
    tree = tree_of({"a": b"named"})
    junk = [bytes([n]) * 60_000 for n in range(20)]
    await saves.save(
        save_stream(tree, more_data=junk, more_trees=[branches(1, (b"q", hash_of(b"")))])
    )
    head = await saves.repository.head(REF)
    assert head is not None
    found = await opened(await saves.repository.open_packed(head))
    assert (found.data, found.trees) == (tree.data, tree.trees)
    for prefix in ("v1/acme/packs/", "v1/acme/trees/"):
        assert sum([one.size_bytes async for one in saves.store.list(prefix)]) < 600


async def test_only_junk_makes_no_pack(saves: Saves) -> None:
    head = await saves.save(save_stream(tree_of({"e": b""}), more_data=[b"junk"]))
    assert head.packed is not None
    assert head.packed.packs == ()
    assert [one.key async for one in saves.store.list("v1/acme/packs/")] == []


# -- any byte ----------------------------------------------------------------------------------

BEFORE = tree_of({**LINKED, "f": b"f" * 40})
AFTER = tree_of({**LINKED, "f": b"g" * 40, "n": {"new": b"new"}, "sym": Link("f")})


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_any_changed_byte_is_refused_or_changes_nothing(data: st.DataObject) -> None:
    with_base = data.draw(st.booleans())
    stream = save_stream(AFTER, BEFORE if with_base else None)
    place = data.draw(st.integers(0, len(stream) - 1))
    bit = data.draw(st.integers(1, 255))
    changed = bytearray(stream)
    changed[place] ^= bit
    _save_changed(bytes(changed), with_base=with_base)


def _resealed(change: Callable[[bytes], bytes], tree: PackedTree, base: PackedTree) -> bytes:
    """The stream with one tree blob changed, and everything that is only a digest made right."""
    made = PackedTree(tree.root)
    made.data = tree.data
    renamed: dict[BlobHash, BlobHash] = {}
    for name, blob in tree.trees.items():
        new = change(blob)
        for old, now in renamed.items():
            new = new.replace(old, now)
        made.trees[hash_of(new)] = new
        if hash_of(new) != name:
            renamed[name] = hash_of(new)
    root = tree.root
    made.root = Root(renamed.get(root.node, root.node), root.mode, root.mtime_ns)
    return save_stream(made, base)


@settings(max_examples=250, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    blob=st.integers(0, len(AFTER.trees) - 1),
    place=st.integers(0, 10_000),
    bit=st.integers(1, 255),
)
@pytest.mark.deep
def test_any_changed_byte_of_a_folder_is_refused_or_can_be_restored(
    blob: int, place: int, bit: int
) -> None:
    """The sandbox reseals what it changed: only the judging of the tree stands in the way."""
    which = list(AFTER.trees.values())[blob]

    def change(one: bytes) -> bytes:
        if one != which:
            return one
        changed = bytearray(one)
        changed[place % len(changed)] ^= bit
        return bytes(changed)

    _save_changed(_resealed(change, AFTER, BEFORE), with_base=True)


def _save_changed(stream: bytes, *, with_base: bool) -> None:
    async def run(folder: Path) -> None:
        saves = Saves(folder)
        base = await saves.save(save_stream(BEFORE)) if with_base else None
        try:
            head = await saves.save(stream, base)
        except (InvalidInputError, SnapshotDamagedError):
            assert await saves.repository.head(REF) == base
            return
        await saves.repository.verify(head)
        restored = b"".join([c async for c in await saves.repository.open_packed(head)])
        into = folder / "restored"
        receipt = restore_stream([restored], into, expect_root=head.blake3)
        assert head.packed is not None
        assert head.packed.counts is not None
        assert receipt.entries == head.packed.counts.entries == head.receipt.entries
        assert receipt.bytes == head.size_bytes
        delete_tree(into)

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(run(Path(folder)))
