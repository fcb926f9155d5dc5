"""Streams: what is written is what the page says, and nothing else is taken for one."""

import json
import struct
from collections.abc import Callable, Iterator

import pytest
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st

from limpet.errors import InvalidInputError, SnapshotDamagedError
from limpet.snapshots.blobs import BlobHash, hash_of
from limpet.snapshots.frame import decode_frame, encode_frame
from limpet.snapshots.incoming import Incoming
from limpet.snapshots.judge import RestoreLimits
from limpet.snapshots.lineage import root_fields, root_of
from limpet.snapshots.node import Root
from limpet.snapshots.receiving import Receiving
from limpet.snapshots.wire import (
    Flow,
    StreamBrokenError,
    StreamEnd,
    StreamFrame,
    StreamHashes,
    StreamHeader,
    StreamReader,
    StreamWriter,
)
from tests.snapshots import oracle
from tests.snapshots.agreeing import REFUSED, broken, every_flip, oracles, ours

ROOT = Root(hash_of(b"the top folder"), 0o755, -5)
SAVE = {"base": None, "activity_seq": 7, "boot_id": "boot"}
SAVED = {"root": root_fields(ROOT), "receipt": {"operation": "save"}}
HASHES = [hash_of(b"%d" % n) for n in range(3)]
DATA, TREE = encode_frame("data", [b"one", b"two"]), encode_frame("tree", [b"node"])
FLOWS: tuple[Flow, ...] = ("save", "restore", "plan", "needs")


def written(flow: Flow) -> bytes:
    """A small whole stream of a flow."""
    writer = StreamWriter(flow)
    header = SAVE if flow == "save" else {"root": root_fields(ROOT)}
    parts = [writer.header({} if flow == "needs" else header)]
    if flow == "needs":
        parts += writer.hashes(HASHES)
    else:
        parts.append(writer.frames(TREE))
    if flow in {"save", "restore"}:
        parts.append(writer.frames(DATA))
    parts.append(writer.end(SAVED if flow == "save" else {"frames": 2}))
    return b"".join(parts)


Told = tuple[object, list[tuple[int, tuple[bytes, ...]]], list[bytes]]
"""What matters of a stream: its root, what its frames hold, the names in it."""


def told_by_ours(stream: bytes, flow: Flow, piece: int = 1 << 20) -> Told:
    """As those read that it is for."""
    pieces = [stream[at : at + piece] for at in range(0, len(stream), piece)]
    if flow == "save":
        return _received(pieces)
    if flow == "needs":
        return None, [], _named(pieces)
    incoming = Incoming(pieces, flow, RestoreLimits())
    found: list[tuple[int, tuple[bytes, ...]]] = []
    root = incoming.read_trees()
    names = list(incoming.trees)
    found += [(1, (incoming.trees.blob(name),)) for name in names]

    def take(frame: bytes) -> None:
        if flow == "plan":
            raise SnapshotDamagedError("there is no data in a plan")
        found.append((0, _blobs(frame)))

    incoming.read_data(take)
    return root_fields(root), found, []


def _received(pieces: list[bytes]) -> Told:
    receiving = Receiving(None)
    found = []
    for piece in pieces:
        receiving.feed(piece)
        while some := receiving.frames()[0]:
            found += [(0, _blobs(one.frame)) for one in some]
    root, _ = receiving.finish()
    trees = [(1, (receiving.trees.blob(name),)) for name in receiving.trees]
    return root_fields(root), trees + found, []


def _named(pieces: list[bytes]) -> list[bytes]:
    reader = StreamReader("needs")
    found: list[bytes] = []
    for piece in pieces:
        for record in reader.feed(piece):
            assert isinstance(record, StreamHeader | StreamHashes | StreamEnd)
            found += record.hashes if isinstance(record, StreamHashes) else ()
    reader.finish()
    return found


def _blobs(frame: bytes) -> tuple[bytes, ...]:
    return tuple(blob for _, blob in decode_frame(frame).blobs())


def told_by_the_oracle(stream: bytes, flow: Flow) -> Told:
    read = oracle.read_stream(stream)
    oracle.need(read.header["flow"] == flow, "another flow")
    oracle.need(flow != "save" or read.header.get("base") is None, "a foreign base")
    place = read.end if flow == "save" else read.header
    trees = [(1, (blob,)) for frame in read.frames if frame.kind for blob in frame.blobs]
    met: set[bytes] = set()
    once = [one for one in trees if not (one[1][0] in met or met.add(one[1][0]))]  # type: ignore[func-returns-value]
    data = [(0, frame.blobs) for frame in read.frames if not frame.kind]
    root = place["root"] if flow != "needs" else None
    return root, once + data, list(read.hashes)


@pytest.mark.parametrize("flow", FLOWS)
def test_the_oracle_reads_what_we_write(flow: Flow) -> None:
    stream = written(flow)
    assert told_by_the_oracle(stream, flow) == told_by_ours(stream, flow)


@pytest.mark.parametrize("flow", FLOWS)
@settings(max_examples=150)
@given(data=st.data())
def test_a_stream_that_was_changed_is_refused(flow: Flow, data: st.DataObject) -> None:
    whole = written(flow)
    stream = data.draw(broken(whole))
    if stream != whole:
        assert ours(lambda: told_by_ours(stream, flow)) == REFUSED
        assert oracles(lambda: oracle.read_stream(stream)) == REFUSED


@pytest.mark.parametrize("flow", FLOWS)
@settings(max_examples=150)
@given(data=st.data(), piece=st.sampled_from([1, 7, 4096]))
def test_one_that_was_changed_by_who_sealed_it_is_refused_or_read_as_the_oracle_does(
    flow: Flow, data: st.DataObject, piece: int
) -> None:
    stream = sealed(data.draw(broken(written(flow)[:-32])))
    found = ours(lambda: told_by_ours(stream, flow, piece))
    assert found == oracles(lambda: told_by_the_oracle(stream, flow))


def test_every_flipped_bit_of_a_sealed_stream_is_refused_or_read_as_the_oracle_does() -> None:
    for flow in FLOWS:
        for bit, flipped in every_flip(written(flow)[:-32]):
            stream = sealed(flipped)
            found = ours(lambda s=stream, f=flow: told_by_ours(s, f))  # type: ignore[misc]
            theirs = oracles(lambda s=stream, f=flow: told_by_the_oracle(s, f))  # type: ignore[misc]
            assert found == theirs, (flow, bit)


@pytest.mark.parametrize("flow", FLOWS)
def test_a_stream_that_ends_anywhere_else_is_broken_off(flow: Flow) -> None:
    stream = written(flow)
    for end in range(len(stream)):
        with pytest.raises(StreamBrokenError):
            told_by_ours(stream[:end], flow)
    with pytest.raises(StreamBrokenError):
        told_by_ours(stream + b"\0", flow)


def sealed(body: bytes) -> bytes:
    return body + blake3(body).digest()


def record(kind: int, payload: bytes, zeros: bytes = bytes(3), length: int | None = None) -> bytes:
    told = len(payload) if length is None else length
    return struct.pack("<B3sI", kind, zeros, told) + payload


def stream_of(*records: bytes, magic: bytes = b"LSTREAM1") -> bytes:
    return sealed(magic + b"".join(records))


def header(**fields: object) -> bytes:
    told = {"flow": "save", **SAVE, **fields}
    return record(1, json.dumps(told).encode())


def end(**fields: object) -> bytes:
    return record(3, json.dumps({**SAVED, **fields}).encode())


def restore(*records: bytes, flow: str = "restore", **fields: object) -> bytes:
    return stream_of(
        header(flow=flow, root=root_fields(ROOT), **fields), *records, record(3, b"{}")
    )


FRAME = record(2, DATA)
RULES: dict[str, tuple[Flow, Callable[[], bytes]]] = {
    "the magic": ("save", lambda: stream_of(header(), end(), magic=b"LSTREAM2")),
    "no header": ("save", lambda: stream_of(FRAME, end())),
    "two headers": ("save", lambda: stream_of(header(), header(), end())),
    "no end": ("save", lambda: stream_of(header(), FRAME)),
    "two ends": ("save", lambda: stream_of(header(), end(), end())),
    "a frame after the end": ("save", lambda: stream_of(header(), end(), FRAME)),
    "a record of no known type": ("save", lambda: stream_of(header(), record(5, b""), end())),
    "a record of type 0": ("save", lambda: stream_of(header(), record(0, b""), end())),
    "bytes that should be zero": (
        "save", lambda: stream_of(header(), record(2, DATA, b"\0\0\1"), end()),
    ),
    "a header of over 64 KiB": (
        "save", lambda: stream_of(header(padding="x" * (64 << 10)), end()),
    ),
    "an end of over 1 MiB": ("save", lambda: stream_of(header(), end(padding="x" * (1 << 20)))),
    "a header that is no JSON": ("save", lambda: stream_of(record(1, b"{"), end())),
    "a header that is no object": ("save", lambda: stream_of(record(1, b"[1]"), end())),
    "a header that is no UTF-8": ("save", lambda: stream_of(record(1, b'{"a": "\xff"}'), end())),
    "an end that is no object": ("save", lambda: stream_of(header(), record(3, b"null"))),
    "an unknown flow": ("save", lambda: stream_of(header(flow="load"), end())),
    "no flow": ("save", lambda: stream_of(header(flow=None), end())),
    "a frame that is none": ("save", lambda: stream_of(header(), record(2, DATA[:-1]), end())),
    "two frames in a record": ("save", lambda: stream_of(header(), record(2, DATA + DATA), end())),
    "no frame in a record": ("save", lambda: stream_of(header(), record(2, b""), end())),
    "hashes in a save": ("save", lambda: stream_of(header(), record(4, HASHES[0]), end())),
    "hashes in a restore": ("restore", lambda: restore(record(4, HASHES[0]))),
    "hashes in a plan": ("plan", lambda: restore(record(4, HASHES[0]), flow="plan")),
    "half a hash": ("needs", lambda: restore(record(4, HASHES[0][:16]), flow="needs")),
    "too many hashes": ("needs", lambda: restore(record(4, bytes(32 * 32_769)), flow="needs")),
    "a tree frame after data": ("restore", lambda: restore(FRAME, record(2, TREE))),
    "data in a plan": ("plan", lambda: restore(record(2, TREE), FRAME, flow="plan")),
    "a restore without a root": ("restore", lambda: stream_of(header(flow="restore"), end())),
    "a root without a mode": (
        "restore",
        lambda: stream_of(header(flow="restore", root={"node": "00" * 32, "mtime_ns": 1})),
    ),
    "a root with a set-uid mode": (
        "save", lambda: stream_of(header(), end(root={**root_fields(ROOT), "mode": 0o4755})),
    ),
    "a root with a time beyond 64 bits": (
        "save", lambda: stream_of(header(), end(root={**root_fields(ROOT), "mtime_ns": 1 << 63})),
    ),
    "a root with a short node": (
        "save", lambda: stream_of(header(), end(root={**root_fields(ROOT), "node": "00" * 31})),
    ),
    "a root with a node in capitals": (
        "save", lambda: stream_of(header(), end(root={**root_fields(ROOT), "node": "AB" * 32})),
    ),
    "a root with half a time": (
        "save", lambda: stream_of(header(), end(root={**root_fields(ROOT), "mtime_ns": 1.5})),
    ),
    "a save without a root": ("save", lambda: stream_of(header(), end(root=None))),
    "a save without a receipt": ("save", lambda: stream_of(header(), end(receipt=None))),
    "a base that is no text": ("save", lambda: stream_of(header(base=5), end())),
    "no activity_seq": ("save", lambda: stream_of(header(activity_seq=None), end())),
    "a negative activity_seq": ("save", lambda: stream_of(header(activity_seq=-1), end())),
    "an activity_seq that is no number": (
        "save", lambda: stream_of(header(activity_seq=True), end()),
    ),
    "no boot_id": ("save", lambda: stream_of(header(boot_id=None), end())),
    "a boot_id that is too long": ("save", lambda: stream_of(header(boot_id="b" * 201), end())),
}  # fmt: skip


@pytest.mark.parametrize("rule", RULES)
def test_a_stream_that_breaks_a_rule_is_refused(rule: str) -> None:
    flow, made = RULES[rule]
    stream = made()
    assert oracles(lambda: told_by_the_oracle(stream, flow)) == REFUSED
    with pytest.raises((SnapshotDamagedError, InvalidInputError)):
        told_by_ours(stream, flow)


def test_the_streams_that_the_rules_are_broken_of_are_good() -> None:
    for flow, stream in (
        ("save", stream_of(header(), FRAME, record(2, TREE), FRAME, end())),
        ("save", stream_of(header(more=1), end(more=[]))),
        ("restore", restore(record(2, TREE), FRAME, FRAME)),
        ("plan", restore(record(2, TREE), flow="plan")),
        ("needs", restore(record(4, b""), record(4, bytes(32 * 32_768)), flow="needs")),
    ):
        assert told_by_ours(stream, flow) == told_by_the_oracle(stream, flow)  # type: ignore[arg-type]


def test_a_stream_of_another_flow_is_told_apart() -> None:
    for flow in FLOWS:
        for other in FLOWS:
            if flow != other:
                with pytest.raises(InvalidInputError):
                    told_by_ours(written(flow), other)


@pytest.mark.parametrize("count", [0, 1, 32_768, 32_769, 70_000])
def test_names_come_in_as_many_records_as_they_need(count: int) -> None:
    names = [BlobHash(number.to_bytes(32, "big")) for number in range(count)]
    writer = StreamWriter("needs")
    records = list(writer.hashes(names))
    assert len(records) == -(-count // 32_768)
    writer = StreamWriter("needs")
    stream = b"".join([writer.header({}), *writer.hashes(names), writer.end({})])
    assert told_by_ours(stream, "needs")[2] == names == list(oracle.read_stream(stream).hashes)


def test_the_end_is_given_only_when_the_digest_was_right() -> None:
    stream = written("plan")

    def records(data: bytes) -> Iterator[object]:
        reader = StreamReader("plan")
        for at in range(len(data)):
            yield from reader.feed(data[at : at + 1])

    kinds = [type(one) for one in records(stream)]
    assert kinds == [StreamHeader, StreamFrame, StreamEnd]
    assert [type(one) for one in records(stream[:-1])] == kinds[:-1]
    wrong = stream[:-1] + bytes([stream[-1] ^ 1])
    with pytest.raises(StreamBrokenError):
        list(records(wrong))


def test_a_root_says_the_same_after_it_was_told() -> None:
    assert root_of(root_fields(ROOT)) == ROOT
    assert ROOT.digest == oracle.root_digest(root_fields(ROOT)).hex()
