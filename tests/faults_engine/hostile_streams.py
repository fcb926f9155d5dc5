"""What a sandbox that lies sends for a save: `CASES` by name, made in the sandbox's own process."""

import os
import struct
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from limpet.snapshots import zstd
from limpet.snapshots.blobs import BlobHash, hash_of
from limpet.snapshots.frame import encode_frame
from limpet.snapshots.media_type import MEDIA_TYPE
from limpet.snapshots.node import EMPTY_FILE, FILE, FOLDER, HARD_LINK, SYMLINK, Entry, Root
from limpet.snapshots.node_encode import encode_entries
from limpet.snapshots.wire import StreamWriter
from tests.snapshots.packed_streams import RECEIPT, Hard, Link, Tree, save_stream, tree_of
from tests.snapshots.packed_trees import PackedTree

LARGE = b"".join(hash_of(number.to_bytes(4, "little")) for number in range(40_000))
GOOD: Tree = {
    "repo": {"a.txt": b"good", "large": LARGE[:1_000_000], "deep": {"er": {"x": b"x"}}},
    "home": {"link": Link("../repo/a.txt"), "hard": b"linked", "hard-too": Hard("home/hard")},
}
SECRET = b"what another tenant has saved: " + LARGE[:500]
ALSO_SECRET = b"what another agent of the same tenant has saved: " + LARGE[500:900]
PIECE = 1 << 16


@dataclass(frozen=True)
class Answer:
    """One answer to `/snapshot/create`. Without `ends` the connection breaks off after the body."""

    body: Callable[[], Iterator[bytes]]
    media_type: str | None = MEDIA_TYPE
    headers: Mapping[str, str] = field(default_factory=dict)
    ends: bool = True
    status: int = 200
    refused_as: frozenset[str] = frozenset({"stream_broken", "snapshot_damaged"})
    """The codes of the errors that are right; none when the save may well succeed."""
    growth_bytes: int = 150 << 20
    """What the control plane's memory may grow by at most."""
    quick: bool = False
    """Whether it belongs into every run."""


def good(base: str | None = None) -> bytes:
    """The one save that is sound."""
    tree = tree_of(GOOD)
    return save_stream(tree, tree if base == tree.root.digest else None)


def pieces(stream: bytes) -> Iterator[bytes]:
    for start in range(0, len(stream), PIECE):
        yield stream[start : start + PIECE]


def of(stream: Callable[[], bytes]) -> Callable[[], Iterator[bytes]]:
    return lambda: pieces(stream())


def raw(*folders: list[Entry]) -> PackedTree:
    """Folders of entries that need not be any, the last one the root."""
    made = PackedTree(Root(BlobHash(bytes(32)), 0o755, 1))
    for entries in folders:
        blob = encode_entries(entries)
        made.trees[hash_of(blob)] = blob
        made.root = Root(hash_of(blob), 0o755, 1)
    return made


def empty(name: bytes) -> Entry:
    return Entry(name, EMPTY_FILE, 0o644, 1, 0)


def folder(name: bytes, node: BlobHash) -> Entry:
    return Entry(name, FOLDER, 0o755, 1, 0, node)


def hard(name: bytes, to: bytes) -> Entry:
    return Entry(name, HARD_LINK, 0, 0, 0, target=to)


def named(*names: bytes) -> Callable[[], Iterator[bytes]]:
    return of(lambda: save_stream(raw([empty(name) for name in names])))


def below(name: bytes) -> Callable[[], Iterator[bytes]]:
    def make() -> bytes:
        inner = raw([empty(b"x")])
        return save_stream(raw([empty(b"x")], [folder(name, inner.root.node)]))

    return of(make)


def linked(*entries: Entry) -> Callable[[], Iterator[bytes]]:
    return of(lambda: save_stream(raw(list(entries))))


def unknown_kind() -> bytes:
    blob = bytearray(encode_entries([empty(b"a")]))
    blob[12] = 9
    tree = PackedTree(Root(hash_of(blob), 0o755, 1))
    tree.trees = {hash_of(blob): bytes(blob)}
    return save_stream(tree)


def theft(blob: bytes) -> Callable[[], Iterator[bytes]]:
    """Names a blob by its hash, and does not send it."""
    tree = tree_of({"mine": blob})
    return of(lambda: save_stream(tree, without=tree.data))


def beyond_base(base: str) -> bytes:
    """Takes for known what the base never held."""
    tree = tree_of({**GOOD, "new": b"never sent"})
    return save_stream(tree, without=[hash_of(b"never sent")], header={"base": base})


def theft_of_a_folder() -> bytes:
    tree = tree_of({"mine": {"secret": SECRET}})
    inner = [name for name in tree.trees if name != tree.root.node]
    return save_stream(tree, without=[*inner, *tree.data])


def swapped_contents() -> bytes:
    """A frame that holds something else than what the tree names."""
    tree = tree_of({"a": b"what is named"})
    return save_stream(tree, without=tree.data, more_data=[b"what is there"])


def changed(place: float) -> Callable[[], Iterator[bytes]]:
    def make() -> bytes:
        stream = bytearray(good())
        stream[int(place * (len(stream) - 1))] ^= 1
        return bytes(stream)

    return of(make)


def header() -> tuple[StreamWriter, bytes]:
    writer = StreamWriter("save")
    return writer, writer.header({"base": None, "activity_seq": 7, "boot_id": "boot"})


def bomb() -> Iterator[bytes]:
    """Zeros without end, a thousand times smaller on their way."""
    writer, first = header()
    yield first
    number = 0
    while number < 3000:
        number += 1
        blob = number.to_bytes(8, "little") + bytes((1 << 20) - 8)
        yield writer.frames(encode_frame("data", [blob]))


def lying_frame() -> Iterator[bytes]:
    """A frame that says it is small, around what unpacks to a hundred megabytes."""
    writer, first = header()
    packed = zstd.compress(bytes(100 << 20), 1)
    start = struct.pack("<4sI4sB3xIII", b"\x5d\x2a\x4d\x18", 20, b"LFR1", 0, 64, len(packed), 64)
    yield first + writer.frames(start + packed)


def endless() -> Iterator[bytes]:
    """What nobody can compress, without end."""
    writer, first = header()
    yield first
    while True:
        yield writer.frames(encode_frame("data", [os.urandom(1 << 20)]))


def endless_trees() -> Iterator[bytes]:
    writer, first = header()
    yield first
    while True:
        yield writer.frames(encode_frame("tree", [os.urandom(1 << 20)]))


def endless_record() -> Iterator[bytes]:
    """A record that says it is four gigabytes."""
    _, first = header()
    yield first + struct.pack("<B3sI", 2, bytes(3), (1 << 32) - 1)
    while True:
        yield bytes(PIECE)


def endless_tar() -> Iterator[bytes]:
    """One member after another."""
    import tarfile

    number = 0
    while True:
        number += 1
        member = tarfile.TarInfo(f"file-{number}")
        member.size = 1 << 20
        yield member.tobuf(tarfile.PAX_FORMAT) + os.urandom(1 << 20)


def stalled() -> Iterator[bytes]:
    yield good()[: 1 << 19]
    threading.Event().wait()


def deep(levels: int) -> Callable[[], Iterator[bytes]]:
    def make() -> bytes:
        blobs = [encode_entries([])]
        for _ in range(levels):
            blobs.append(encode_entries([folder(b"d", hash_of(blobs[-1]))]))
        tree = PackedTree(Root(hash_of(blobs[-1]), 0o755, 1))
        tree.trees = {hash_of(blob): blob for blob in blobs}
        return save_stream(tree, frame_bytes=1 << 18)

    return of(make)


def crowd() -> bytes:
    """Ten million entries: a folder of ten thousand, named a thousand times."""
    inner = raw([empty(b"%05d" % n) for n in range(10_000)])
    top = [folder(b"%04d" % n, inner.root.node) for n in range(1000)]
    return save_stream(raw([empty(b"%05d" % n) for n in range(10_000)], top))


def crowd_of_blobs() -> Iterator[bytes]:
    """Ten million pieces of content, none of them named."""
    writer, first = header()
    yield first
    for start in range(0, 10_000_000, 8000):
        blobs = [number.to_bytes(8, "little") for number in range(start, start + 8000)]
        yield writer.frames(encode_frame("data", blobs))


def junk() -> Iterator[bytes]:
    """A sound save, with sixty megabytes that nobody names."""
    tree = tree_of(GOOD)
    more = [os.urandom(1 << 20) for _ in range(60)]
    yield from pieces(save_stream(tree, more_data=more))


def end_of(**fields: object) -> Callable[[], Iterator[bytes]]:
    return of(lambda: save_stream(tree_of(GOOD), end=fields))


def header_of(**fields: object) -> Callable[[], Iterator[bytes]]:
    return of(lambda: save_stream(tree_of(GOOD), header=fields))


def boundaries() -> list[int]:
    """Where in the sound save one record ends and the next begins."""
    stream = good()
    at = len(b"LSTREAM1")
    found = [0, at]
    while at < len(stream) - 32:
        at += 8 + int.from_bytes(stream[at + 4 : at + 8], "little")
        found.append(at)
    return found


def needs(*names: BlobHash) -> bytes:
    writer = StreamWriter("needs")
    return b"".join([writer.header({"plan": "p"}), *writer.hashes(list(names)), writer.end({})])


def endless_needs() -> Iterator[bytes]:
    writer = StreamWriter("needs")
    yield writer.header({"plan": "p"})
    while True:
        yield from writer.hashes([BlobHash(os.urandom(32)) for _ in range(10_000)])


PLANS: dict[str, Callable[[], Iterator[bytes]]] = {
    "needs what is another's": of(lambda: needs(hash_of(SECRET))),
    "needs what is another agent's": of(lambda: needs(hash_of(ALSO_SECRET))),
    "needs without end": endless_needs,
    "needs that are cut": of(lambda: needs(hash_of(b"good"))[:-40]),
    "needs that are none": of(lambda: b"<!doctype html>"),
}
"""Answers to `/snapshot/plan`."""
BAD = frozenset({"snapshot_damaged", "bad_node", "stream_broken", "invalid"})
FOREIGN = frozenset({"foreign_blob"})
TOO_MUCH = frozenset({"snapshot_too_large"})
BROKEN = frozenset({"stream_broken", "daemon_unreachable"})
NO_TAR = BAD | {"tar_damaged", "bad_tar"}

CASES: dict[str, Answer] = {
    "digest changed": Answer(changed(1.0), quick=True),
    "header changed": Answer(changed(0.0002), refused_as=BAD),
    "content changed": Answer(changed(0.5), refused_as=BAD),
    "contents swapped": Answer(of(swapped_contents), refused_as=FOREIGN),
    "content of another org": Answer(theft(SECRET), refused_as=FOREIGN, quick=True),
    "content of another agent": Answer(theft(ALSO_SECRET), refused_as=FOREIGN),
    "folder of another org": Answer(of(theft_of_a_folder), refused_as=FOREIGN),
    "bomb": Answer(bomb, refused_as=TOO_MUCH),
    "frame that lies": Answer(lying_frame, refused_as=BAD, quick=True),
    "ten million entries": Answer(of(crowd), refused_as=TOO_MUCH, quick=True),
    # Refused after as many as the largest workspace has files: their names are what is held.
    "ten million pieces": Answer(crowd_of_blobs, refused_as=TOO_MUCH, growth_bytes=450 << 20),
    "a hundred thousand levels": Answer(deep(100_000), refused_as=TOO_MUCH),
    "a level too many": Answer(deep(10_001), refused_as=TOO_MUCH),
    "parent": Answer(named(b".."), refused_as=BAD, quick=True),
    "folder that is the parent": Answer(below(b".."), refused_as=BAD),
    "itself": Answer(named(b"."), refused_as=BAD),
    "slash": Answer(named(b"a/b"), refused_as=BAD),
    "absolute": Answer(named(b"/etc"), refused_as=BAD),
    "NUL": Answer(named(b"a\0b"), refused_as=BAD),
    "no name": Answer(named(b""), refused_as=BAD),
    "twice": Answer(named(b"a", b"a"), refused_as=BAD),
    "out of order": Answer(named(b"b", b"a"), refused_as=BAD),
    "mark of the root": Answer(named(b".limpet-root"), refused_as=BAD),
    "cycle of hard links": Answer(linked(hard(b"a", b"b"), hard(b"b", b"a")), refused_as=BAD),
    "hard link to itself": Answer(linked(hard(b"a", b"a")), refused_as=BAD),
    "hard link to the parent": Answer(linked(hard(b"a", b"../x")), refused_as=BAD),
    "hard link to /etc": Answer(linked(hard(b"a", b"/etc/passwd")), refused_as=BAD),
    "hard link through a symlink": Answer(
        linked(Entry(b"a", SYMLINK, 0, 1, 0, target=b"/etc"), hard(b"b", b"a/passwd")),
        refused_as=BAD,
    ),
    "set-uid": Answer(linked(Entry(b"a", EMPTY_FILE, 0o4755, 1, 0)), refused_as=BAD),
    "a kind that is none": Answer(of(unknown_kind), refused_as=BAD),
    "larger than its content": Answer(
        of(
            lambda: save_stream(
                raw([Entry(b"a", FILE, 0o644, 1, 9, hash_of(b"x"))]), more_data=[b"x"]
            )
        ),
        refused_as=BAD,
    ),
    "endless": Answer(endless, refused_as=TOO_MUCH, quick=True),
    "endless folders": Answer(endless_trees, refused_as=TOO_MUCH | BAD),
    "endless record": Answer(endless_record, refused_as=BAD),
    "endless tar": Answer(endless_tar, "application/x-tar", refused_as=TOO_MUCH),
    "stalled": Answer(stalled, refused_as=frozenset({"stalled"}), quick=True),
    "web page": Answer(of(lambda: b"<!doctype html>" * 100), "text/html", refused_as=NO_TAR),
    "packed called a tar": Answer(of(good), "application/x-tar", refused_as=NO_TAR, quick=True),
    "packed called nothing": Answer(of(good), None, refused_as=NO_TAR),
    "tar called packed": Answer(of(lambda: bytes(10_240)), refused_as=BAD),
    "nothing": Answer(of(lambda: b""), refused_as=BAD),
    "more behind the end": Answer(of(lambda: good() + b"more"), refused_as=BAD),
    "twice in one": Answer(of(lambda: good() + good()), refused_as=BAD),
    "base that nobody gave": Answer(
        header_of(base="ab" * 32), refused_as=frozenset({"foreign_base"})
    ),
    "header without a boot": Answer(header_of(boot_id=None), refused_as=BAD),
    "root that is not there": Answer(
        end_of(root={"node": "ab" * 32, "mode": 1, "mtime_ns": 1}), refused_as=FOREIGN
    ),
    "root that is none": Answer(end_of(root={"node": 7}), refused_as=BAD),
    "no receipt": Answer(end_of(receipt=None), refused_as=BAD, quick=True),
    "receipt that is none": Answer(end_of(receipt={"counts": {"x": -1}}), refused_as=BAD),
    "receipt that lies": Answer(
        end_of(
            receipt={**RECEIPT, "entries": 10**9, "bytes": 1, "size_bytes": 0, "blake3": "x",
                     "operation": "restore"}
        ),
        refused_as=frozenset(),
    ),
    "no activity": Answer(
        of(good), headers={"X-Limpet-Activity-Seq": ""}, refused_as=frozenset({"daemon_error"})
    ),
    "activity that is none": Answer(
        of(good), headers={"X-Limpet-Activity-Seq": "9" * 4000},
        refused_as=frozenset({"daemon_error"}),
    ),
    "server error": Answer(
        of(lambda: b'{"error": "' + b"x" * 5000 + b'"}'), "application/json", status=500,
        refused_as=frozenset({"daemon_error"}),
    ),
    "redirect": Answer(
        of(lambda: b""), headers={"Location": "http://127.0.0.1:9/"}, status=302,
        refused_as=frozenset({"daemon_error"}),
    ),
    "junk": Answer(junk, refused_as=frozenset()),
    **{
        f"cut at record {number}, {how}": Answer(
            of(lambda cut=cut: good()[:cut]), ends=how == "ended", refused_as=BROKEN | BAD
        )
        for number, cut in enumerate(boundaries())
        for how in ("ended", "broken off")
    },
}  # fmt: skip
