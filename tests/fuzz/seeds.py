"""Well-formed inputs for each target, so that fuzzing begins behind the first checks."""

import random
from datetime import UTC, datetime
from pathlib import Path

from limpet.ids import SnapshotId
from limpet.snapshots.blobs import BlobHash, hash_of
from limpet.snapshots.frame import encode_frame
from limpet.snapshots.lineage import MAIN, Head, Packed, encode_head
from limpet.snapshots.node import (
    EMPTY_FILE,
    FILE,
    FOLDER,
    HARD_LINK,
    LISTED_FILE,
    SYMLINK,
    Content,
    Entry,
    Reference,
    Root,
)
from limpet.snapshots.node_encode import (
    encode_branches,
    encode_chunk_table,
    encode_content,
    encode_entries,
)
from limpet.snapshots.pack import PackBuilder, PackName, PackRef, encode_index
from limpet.snapshots.receipt import Receipt
from limpet.snapshots.wire import StreamWriter
from tests.fuzz.targets import REF


def write_seeds(target: str, corpus: Path, rnd: random.Random) -> None:
    """A few inputs for the target into its corpus."""
    for number, seed in enumerate(_SEEDS[target](rnd)):
        (corpus / f"seed-{number}").write_bytes(seed)


def _hash(rnd: random.Random) -> BlobHash:
    return BlobHash(rnd.randbytes(32))


def _entries(rnd: random.Random) -> list[Entry]:
    name = _hash(rnd)
    several = Content(((0, 5), (9, 4)), False, (Reference(name, 6), Reference(name, 3)))
    return [
        Entry(b"a", EMPTY_FILE, 0o644, 1, 0),
        Entry(b"b", FILE, 0o755, -1, 10, name),
        Entry(b"c", FOLDER, 0o1777, 2, 0, name),
        Entry(b"d", LISTED_FILE, 0o600, 3, 20, content=several),
        Entry(b"e", SYMLINK, 0, 4, 0, target=b"b"),
        Entry(b"f", HARD_LINK, 0, 0, 0, target=b"b"),
    ]


def _nodes(rnd: random.Random) -> list[bytes]:
    several = _entries(rnd)[3].content
    assert several is not None
    return [
        encode_entries(_entries(rnd)),
        encode_entries([]),
        encode_branches(1, [(b"a", _hash(rnd)), (b"m", _hash(rnd))]),
        encode_chunk_table([Reference(_hash(rnd), 7)]),
        (20).to_bytes(4, "little") + encode_content(several),
    ]


def _trees(_: random.Random) -> list[bytes]:
    def folder(mark: bytes) -> bytes:
        holder = BlobHash(b"\0" * 32)
        return encode_entries([Entry(b"x", FOLDER, 0o755, 1, 0, holder)]).replace(holder, mark)

    file = encode_entries([Entry(b"f", EMPTY_FILE, 0o644, 1, 0)])
    nodes = [file, folder(b"#00#"), folder(b"#01#"), folder(b"#02#")]
    return [b"\xff\xfe".join(nodes), file]


def _streams(rnd: random.Random) -> list[bytes]:
    writer = StreamWriter("save")
    parts = [
        writer.header({"base": None, "activity_seq": 1, "boot_id": "b"}),
        writer.frames(encode_frame("data", [rnd.randbytes(50)])),
        *writer.hashes([_hash(rnd)]),
        writer.end({"root": {}, "receipt": {}}),
    ]
    whole = b"".join(parts)
    return [whole[8:], whole[8:-32], whole]


def _packs(rnd: random.Random) -> list[bytes]:
    frames = [encode_frame("data", [rnd.randbytes(9), b"x" * 70]) for _ in range(2)]
    return [frames[0], b"".join(frames)]


def _indexes(rnd: random.Random) -> list[bytes]:
    builder = PackBuilder("data")
    for blobs in ([b"one", b"two"], [rnd.randbytes(40)]):
        frame = encode_frame("data", blobs)
        builder.add(frame, [hash_of(blob) for blob in blobs], [len(blob) for blob in blobs])
    whole = encode_index(builder.finish().index)
    return [whole, whole[:-40]]


def _frames(rnd: random.Random) -> list[bytes]:
    frame = encode_frame("data", [b"hello", rnd.randbytes(100)])
    return [frame, frame[32:]]


def _heads(rnd: random.Random) -> list[bytes]:
    root = Root(_hash(rnd), 0o755, 5)
    packs = (PackRef(PackName(rnd.randbytes(32).hex()), 1000, 100),)
    made = Head(
        REF, MAIN, 1, SnapshotId("s1"), None, "tree", datetime(2026, 1, 1, tzinfo=UTC), "idle",
        None, 1, Receipt("save"), 10, root.digest, None, Packed(root, packs, packs, 1100),
    )  # fmt: skip
    return [encode_head(made)]


_SEEDS = {
    "frame": _frames,
    "index": _indexes,
    "pack": _packs,
    "node": _nodes,
    "tree": _trees,
    "stream": _streams,
    "head": _heads,
}
