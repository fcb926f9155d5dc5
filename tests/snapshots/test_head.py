"""Heads: what is written is what the page says; what was changed, or lies elsewhere, is told."""

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from limpet.ids import AgentId, Branch, OrgId, SnapshotId
from limpet.snapshots.blobs import hash_of
from limpet.snapshots.lineage import (
    MAIN,
    BranchRef,
    DamagedHead,
    Head,
    Lineage,
    MadeFrom,
    Packed,
    SaveReason,
    decode_head,
    encode_head,
    root_fields,
)
from limpet.snapshots.node import Root
from limpet.snapshots.pack import PackName, PackRef
from limpet.snapshots.receipt import Receipt, Remark
from limpet.snapshots.tree_counts import TreeCounts
from limpet.stores.keys import head_key
from tests.snapshots import oracle
from tests.snapshots.agreeing import REFUSED, broken, every_flip, oracles

REF = BranchRef(OrgId("org"), AgentId("agent"), Branch("main"))
ROOT = Root(hash_of(b"top"), 0o755, -1)
PACK = PackRef(PackName(hash_of(b"pack").hex()), 1000, 200)
names = st.text(min_size=1, max_size=40).filter(lambda name: "/" not in name)
numbers = st.integers(0, 2**53)
packs = st.builds(
    PackRef,
    st.binary(min_size=32, max_size=32).map(lambda name: PackName(name.hex())),
    st.integers(301, 64 << 20),
    st.integers(148, 300),
    st.booleans(),
)
receipts = st.builds(
    Receipt,
    st.just("save"),
    entries=numbers,
    complete=st.booleans(),
    incomplete_because=st.lists(st.text(max_size=20), max_size=2).map(tuple),
    torn=st.lists(st.builds(Remark, st.text(max_size=20), st.text(max_size=9)), max_size=2).map(
        tuple
    ),
)
ids = st.from_regex(r"[a-z0-9][a-z0-9-]{0,20}", fullmatch=True).map(SnapshotId)
origins = st.builds(MadeFrom, names.map(AgentId), names.map(Branch), ids)


def _in_order(refs: list[PackRef]) -> tuple[PackRef, ...]:
    return tuple(sorted(refs, key=lambda ref: not ref.shared))  # as heads give them: shared first


@st.composite
def heads(draw: st.DrawFn) -> Head:
    side = Lineage(f"side-{draw(st.integers(0, 16**12 - 1)):012x}")
    head = Head(
        ref=BranchRef(
            OrgId(draw(names)),
            AgentId(draw(names)),
            Branch("/".join(draw(st.lists(names, min_size=1, max_size=3)))),
        ),
        lineage=draw(st.sampled_from([MAIN, side])),
        generation=draw(st.integers(1, 10**12 - 1)),
        snapshot=draw(ids),
        parent=draw(st.one_of(st.none(), ids)),
        kind="tar",
        created_at=draw(
            st.datetimes(timezones=st.sampled_from([UTC, timezone(timedelta(hours=2))]))
        ),
        reason=draw(st.sampled_from(get_args(SaveReason))),
        name=draw(st.one_of(st.none(), st.text(max_size=20))),
        fencing=draw(numbers),
        receipt=draw(receipts),
        size_bytes=draw(numbers),
        blake3=draw(st.binary(min_size=32, max_size=32)).hex(),
        side_reason=draw(st.one_of(st.none(), st.text(max_size=20))),
        made_from=draw(st.one_of(st.none(), origins)),
    )
    if draw(st.booleans()):
        return head
    node = hash_of(draw(st.binary(max_size=5)))
    time = draw(st.integers(-(1 << 63), (1 << 63) - 1))
    root = Root(node, draw(st.integers(0, 0o1777)), time)
    counts = TreeCounts(*draw(st.tuples(*[numbers] * 6)))
    packed = Packed(
        root,
        _in_order(draw(st.lists(packs, max_size=3))),
        _in_order(draw(st.lists(packs, max_size=3))),
        draw(numbers),
        draw(st.sampled_from([None, counts])),
    )
    return replace(head, kind="tree", blake3=root.digest, packed=packed)


def key_of(head: Head) -> str:
    ref = head.ref
    return head_key(ref.org, ref.agent, ref.branch, head.generation, head.lineage)


def read_ours(body: bytes, head: Head) -> Head | DamagedHead:
    return decode_head(body, head.ref, head.lineage, head.generation)


@given(heads())
def test_a_head_says_the_same_after_it_was_written(head: Head) -> None:
    body = encode_head(head)
    assert read_ours(body, head) == head
    told = oracle.read_head(body, key_of(head))
    assert (told["snapshot"], told["blake3"]) == (head.snapshot, head.blake3)
    if head.packed is not None:
        both = [*told["shared_packs"], *told["packs"]]
        assert both == [[r.name, r.size_bytes, r.index_bytes] for r in head.packed.packs]


@settings(max_examples=200)
@given(st.data(), heads())
def test_a_head_that_was_changed_is_told(data: st.DataObject, head: Head) -> None:
    body = data.draw(broken(encode_head(head)))
    found = read_ours(body, head)
    if isinstance(found, Head):
        assert found == head, "only what means the same may pass"
        oracle.read_head(body, key_of(head))


SMALL = Head(
    ref=REF,
    lineage=MAIN,
    generation=3,
    snapshot=SnapshotId("s3"),
    parent=SnapshotId("s2"),
    kind="tree",
    created_at=datetime(2026, 1, 2, tzinfo=UTC),
    reason="idle",
    name=None,
    fencing=1,
    receipt=Receipt("save"),
    size_bytes=5,
    blake3=ROOT.digest,
    side_reason=None,
    packed=Packed(ROOT, (PACK,), (PACK,), 12, TreeCounts()),
)


def test_every_flipped_bit_is_told_or_means_the_same() -> None:
    for bit, body in every_flip(encode_head(SMALL)):
        found = read_ours(body, SMALL)
        assert isinstance(found, DamagedHead) or found == SMALL, bit


def resealed(change: Mapping[str, Any], *without: str) -> bytes:
    """The small head with some fields changed, its check right again."""
    told = {**json.loads(encode_head(SMALL)), **change}
    told = {name: value for name, value in told.items() if name not in {"check", *without}}
    plain = json.dumps(told, sort_keys=True, separators=(",", ":"))
    return json.dumps({**told, "check": hash_of(plain.encode()).hex()}).encode()


NAME = PACK.name
RULES: dict[str, bytes] = {
    "nothing": b"",
    "no JSON": b"{",
    "no object": b"[]",
    "no UTF-8": resealed({"name": "x"}).replace(b'"x"', b'"\xff"'),
    "over 1 MiB": resealed({"name": "x" * (1 << 20)}),
    "another version": resealed({"version": 2}),
    "an unknown kind": resealed({"kind": "vm"}),
    "another org": resealed({"org": "org2"}),
    "another agent": resealed({"agent": "Agent"}),
    "another branch": resealed({"branch": "main/x"}),
    "another lineage": resealed({"lineage": "side-0123456789ab"}),
    "another generation": resealed({"generation": 4}),
    "a generation that is no number": resealed({"generation": "3"}),
    "a generation that is not whole": resealed({"generation": 3.0}),
    "a snapshot that is no text": resealed({"snapshot": 5}),
    "a snapshot that leads elsewhere": resealed({"snapshot": "../s3"}),
    "a parent that is no text": resealed({"parent": 5}),
    "a time that is none": resealed({"created_at": "yesterday"}),
    "a time that is a number": resealed({"created_at": 5}),
    "an unknown reason": resealed({"reason": "whim"}),
    "a name that is no text": resealed({"name": ["x"]}),
    "a side reason that is no text": resealed({"side_reason": 5}),
    "fencing that is no number": resealed({"fencing": None}),
    "fencing that is negative": resealed({"fencing": -1}),
    "a receipt that is none": resealed({"receipt": None}),
    "a size that is text": resealed({"size_bytes": "5"}),
    "a size that is negative": resealed({"size_bytes": -1}),
    "a hash that is none": resealed({"blake3": "x"}),
    "a root of another digest": resealed({"blake3": hash_of(b"").hex()}),
    "a root without a node": resealed({"root": {"mode": 1, "mtime_ns": 1}}),
    "a root with set-uid": resealed({"root": {**root_fields(ROOT), "mode": 0o4755}}),
    "packs that are no list": resealed({"packs": {}}),
    "a pack of two": resealed({"packs": [[NAME, 1000]]}),
    "a pack without a name": resealed({"packs": [["../x", 1000, 200]]}),
    "a pack whose size is text": resealed({"packs": [[NAME, "1000", 200]]}),
    "a pack whose size is negative": resealed({"trees": [[NAME, -1000, 200]]}),
    "a pack whose index is longer than it": resealed({"trees": [[NAME, 1000, 1001]]}),
    "a pack of over 64 MiB": resealed({"trees": [[NAME, (64 << 20) + 1, 200]]}),
    "stored bytes that are none": resealed({"stored_bytes": "12"}),
    "counts that are none": resealed({"counts": 5}),
    "counts that lack one": resealed({"counts": {"entries": 1}}),
    "counts that are negative": resealed({"counts": {**TreeCounts().as_dict(), "files": -1}}),
    **{
        f"without {field}": resealed({}, field)
        for field in (*oracle.HEAD_FIELDS, *oracle.TREE_FIELDS)
    },
}  # fmt: skip


@pytest.mark.parametrize("rule", RULES)
def test_a_head_that_breaks_a_rule_cannot_be_used(rule: str) -> None:
    key = key_of(SMALL)
    assert oracles(lambda: oracle.read_head(RULES[rule], key)) == REFUSED
    assert isinstance(read_ours(RULES[rule], SMALL), DamagedHead)


def test_the_head_that_the_rules_are_broken_of_is_good() -> None:
    assert read_ours(resealed({}), SMALL) == SMALL
    assert read_ours(resealed({"more": [1]}), SMALL) == SMALL
    assert read_ours(resealed({"counts": None}), SMALL) != SMALL
    oracle.read_head(resealed({"more": [1], "counts": None}), key_of(SMALL))


def test_a_head_of_an_unknown_kind_is_told_with_its_snapshot() -> None:
    found = read_ours(resealed({"kind": "vm"}), SMALL)
    assert isinstance(found, DamagedHead)
    assert found.snapshot == "s3"
    assert "vm" in found.why
