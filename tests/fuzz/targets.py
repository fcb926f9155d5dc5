"""What is fuzzed by bytes: each target takes any bytes, and only the errors it names may come out.

What decodes must encode to the same bytes again, so that there is one form of everything.
"""

import contextlib
import struct
from collections.abc import Callable
from typing import Final

from blake3 import blake3

from limpet.errors import InvalidInputError, SnapshotDamagedError
from limpet.ids import AgentId, Branch, OrgId
from limpet.snapshots.blobs import BlobHash
from limpet.snapshots.frame import decode_frame, encode_frame, read_frame_header
from limpet.snapshots.lineage import MAIN, BranchRef, Head, decode_head, encode_head
from limpet.snapshots.node import (
    Content,
    Folder,
    decode_chunk_table,
    decode_content,
    decode_node,
    is_chunk_table,
)
from limpet.snapshots.node_encode import (
    encode_branches,
    encode_chunk_table,
    encode_content,
    encode_entries,
)
from limpet.snapshots.pack import decode_index, encode_index, rebuild_index
from limpet.snapshots.trees import TreeBlobs
from limpet.snapshots.wire import StreamEnd, StreamReader

REF: Final = BranchRef(OrgId("org"), AgentId("agent"), Branch("main"))


def frame(data: bytes) -> None:
    """Any bytes as a frame; then as the content of one that is well formed."""
    try:
        read_frame_header(data)
        decoded = decode_frame(data)
    except SnapshotDamagedError:
        pass
    else:
        blobs = [decoded.blob(index) for index in range(len(decoded.sizes))]
        again = decode_frame(encode_frame(decoded.kind, blobs))
        assert again.hashes == decoded.hashes
    head = struct.pack(
        "<4sI4sB3sIII", b"\x5d\x2a\x4d\x18", 20, b"LFR1", 1, bytes(3),
        max(1, len(data[:1])), len(data), 1,
    )  # fmt: skip
    with contextlib.suppress(SnapshotDamagedError):
        decode_frame(head + data)


def index(data: bytes) -> None:
    """Any bytes as a pack's index, its digest and length made right."""
    body = data[: max(0, len(data))]
    sealed = body + blake3(body).digest() + struct.pack("<I", len(body) + 40) + b"LEND"
    for given in (data, sealed):
        for pack_bytes in (len(given) + 16, len(given) + 100, 1 << 20):
            try:
                decoded = decode_index(given, pack_bytes)
            except SnapshotDamagedError:
                continue
            assert encode_index(decoded) == given


def pack(data: bytes) -> None:
    """Frames of any bytes behind a pack's header."""
    header = struct.pack("<4sI4sB3s", b"\x5d\x2a\x4d\x18", 8, b"LPK1", 0, bytes(3))
    for given in (data, header + data, header + encode_frame("data", [data[:99] or b"x"]) + data):
        with contextlib.suppress(SnapshotDamagedError):
            rebuild_index(given, "data")


def node(data: bytes) -> None:
    """Any bytes as a node, a chunk table and a content."""
    for given in (data, b"LTN1\0\0\0\0" + data, b"LTN1\1\0\0\0" + data, b"LCT1" + data):
        try:
            decoded = decode_node(given)
        except SnapshotDamagedError:
            pass
        else:
            if isinstance(decoded, Folder):
                assert encode_entries(decoded.entries) == given
            else:
                pairs = list(zip(decoded.firsts, decoded.children, strict=True))
                assert encode_branches(decoded.level, pairs) == given
        try:
            table = decode_chunk_table(given)
        except SnapshotDamagedError:
            pass
        else:
            assert is_chunk_table(given)
            assert encode_chunk_table(table) == given
    size = int.from_bytes(data[:4], "little")
    try:
        content: Content = decode_content(data[4:], size)
    except SnapshotDamagedError:
        pass
    else:
        assert encode_content(content) == data[4:]


def tree(data: bytes) -> None:
    """A tree of a few nodes made of any bytes: walked within its limits or refused."""
    blobs = [piece for piece in data.split(b"\xff\xfe") if piece][:20] or [b"x"]
    trees = TreeBlobs()
    names: list[BlobHash] = []
    for blob in blobs:
        # A node may name those before it: a marker stands for the hash of each.
        for number, name in enumerate(names):
            blob = blob.replace(b"#%02d#" % number, name)
        names.extend(trees.add_frame(encode_frame("tree", [blob])).hashes)
    try:
        for count, _ in enumerate(trees.walk(names[-1])):
            if count > 1000:
                break
    except SnapshotDamagedError:
        pass


def stream(data: bytes) -> None:
    """Any bytes as a stream, whole and in pieces, with and without a digest that is right."""
    sealed = b"LSTREAM1" + data
    for given in (data, sealed, sealed + blake3(sealed).digest()):
        whole = _read(given, len(given) or 1)
        assert whole == _read(given, 7), "pieces make no difference"


def _read(given: bytes, piece: int) -> list[object] | str:
    reader = StreamReader("save", "restore", "plan", "needs")
    records: list[object] = []
    try:
        for at in range(0, len(given), piece):
            records.extend(reader.feed(given[at : at + piece]))
        reader.finish()
    except (SnapshotDamagedError, InvalidInputError) as error:
        return type(error).__name__
    assert isinstance(records[-1], StreamEnd)
    return records


def head(data: bytes) -> None:
    """Any bytes as a head: it is one, or it says why it cannot be used."""
    decoded = decode_head(data, REF, MAIN, 1)
    if isinstance(decoded, Head):
        again = decode_head(encode_head(decoded), REF, MAIN, 1)
        assert again == decoded


TARGETS: Final[dict[str, Callable[[bytes], None]]] = {
    "frame": frame,
    "index": index,
    "pack": pack,
    "node": node,
    "tree": tree,
    "stream": stream,
    "head": head,
}
