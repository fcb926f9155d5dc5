"""A second reader of version 1, written from docs/format.md alone.

It imports nothing of Limpet, holds everything in memory, checks everything that the page says and
is as plain as can be: what it and our own readers both say of some bytes is what the page says.
Where the two differ, one of them or the page is wrong.
"""

import hashlib
import json
import re
import struct
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

from blake3 import blake3

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

SKIPPABLE = bytes.fromhex("5D2A4D18")
MIB = 1 << 20
MAX_PACKED = 1_114_112
DATA, TREE = 0, 1
EMPTY, BLOB, FOLDER, PIECES, SYMLINK, HARD_LINK = range(6)
KINDS = ("file", "file", "folder", "file", "symlink", "hard link")
HEX = re.compile(r"[0-9a-f]{64}")
MAIN_KEY = re.compile(r"v1/([^/]+)/heads/([^/]+)/(.+)~(|side-[0-9a-f]{12})/([0-9]{12})")


class RefusedError(Exception):
    """The page does not allow these bytes."""


def need(condition: bool, what: str) -> None:
    if not condition:
        raise RefusedError(what)


def hash_of(data: bytes) -> bytes:
    digest: bytes = blake3(data).digest()
    return digest


class Cursor:
    """Reads numbers and bytes one after another."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def take(self, size: int) -> bytes:
        need(self.at + size <= len(self.data), f"{size} bytes at {self.at} are not there")
        self.at += size
        return self.data[self.at - size : self.at]

    def numbers(self, code: str, count: int) -> tuple[int, ...]:
        whole = struct.Struct(f"<{count}{code}")
        return whole.unpack(self.take(whole.size))

    def number(self, code: str) -> int:
        return self.numbers(code, 1)[0]

    def exactly(self, expected: bytes) -> None:
        found = self.take(len(expected))
        need(found == expected, f"{expected!r} expected, {found!r} found")

    def hashes(self, count: int) -> list[bytes]:
        return [self.take(32) for _ in range(count)]

    def end(self) -> None:
        need(self.at == len(self.data), f"{len(self.data) - self.at} bytes too many")


# --- frames and packs ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Frame:
    kind: int
    blobs: tuple[bytes, ...]


def _frame(cursor: Cursor) -> Frame:
    cursor.exactly(SKIPPABLE)
    payload = cursor.number("I")
    need(payload >= 20 and (payload - 16) % 4 == 0, "the header's length")
    count = (payload - 16) // 4
    need(1 <= count <= 8192, f"{count} blobs in a frame")
    cursor.exactly(b"LFR1")
    kind = cursor.number("B")
    need(kind in {DATA, TREE}, f"kind {kind}")
    cursor.exactly(bytes(3))
    raw, packed = cursor.numbers("I", 2)
    sizes = cursor.numbers("I", count)
    need(all(sizes), "an empty blob")
    need(1 <= raw <= MIB and raw == sum(sizes), "raw is not the blobs' sum")
    need(1 <= packed <= MAX_PACKED, "packed")
    content = _unzstd(cursor.take(packed), raw)
    blobs, at = [], 0
    for size in sizes:
        blobs.append(content[at : at + size])
        at += size
    return Frame(kind, tuple(blobs))


def _unzstd(packed: bytes, raw: int) -> bytes:
    need(packed[:4] == bytes.fromhex("28B52FFD") and len(packed) > 5, "no zstd frame")
    if not packed[4] & 0x20:  # not a single segment: RFC 8878, 3.1.1.1.2
        base = 1 << (10 + (packed[5] >> 3))
        need(base + base // 8 * (packed[5] & 7) <= 8 * MIB, "a window of over 8 MiB")
    try:
        info = zstd.get_frame_info(packed)
        need(info.decompressed_size == raw, "the content size declared is not raw")
        need(info.dictionary_id == 0, "a dictionary")
        reader = zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: 23})
        content = reader.decompress(packed)
    except zstd.ZstdError as error:
        raise RefusedError(f"zstd: {error}") from error
    need(reader.eof and not reader.unused_data, "not exactly one zstd frame")
    need(len(content) == raw, "the content is not raw long")
    return content


def read_frame(data: bytes) -> Frame:
    cursor = Cursor(data)
    frame = _frame(cursor)
    cursor.end()
    return frame


@dataclass(frozen=True)
class Pack:
    kind: int
    frames: tuple[Frame, ...]
    index_size: int

    def blobs(self) -> Iterator[bytes]:
        for frame in self.frames:
            yield from frame.blobs


def read_pack(data: bytes) -> Pack:
    need(len(data) <= 64 * MIB, "a pack of over 64 MiB")
    need(data[-4:] == b"LEND", "no LEND")
    index_size = Cursor(data[-8:-4]).number("I")
    need(index_size <= len(data) - 16, "the index is longer than the pack")
    start = len(data) - index_size
    cursor = Cursor(data[:start])
    cursor.exactly(SKIPPABLE + struct.pack("<I", 8) + b"LPK1")
    kind = cursor.number("B")
    need(kind in {DATA, TREE}, f"kind {kind}")
    cursor.exactly(bytes(3))
    frames, places = [], []
    while cursor.at < start:
        begin = cursor.at
        frame = _frame(cursor)
        need(frame.kind == kind, "a frame of another kind")
        frames.append(frame)
        places.append((begin, cursor.at - begin, len(frame.blobs)))
    _check_index(data[start:], frames, places)
    return Pack(kind, tuple(frames), index_size)


def _check_index(index: bytes, frames: list[Frame], places: list[tuple[int, int, int]]) -> None:
    cursor = Cursor(index)
    cursor.exactly(SKIPPABLE)
    need(cursor.number("I") == len(index) - 8, "the index's length")
    cursor.exactly(b"LIX1")
    count, blobs = cursor.numbers("I", 2)
    need(count >= 1 and blobs >= count, "the index's counts")
    told = [(cursor.number("Q"), *cursor.numbers("I", 2)) for _ in range(count)]
    need(told == places, "the index does not tell the frames as they lie")
    contents = [blob for frame in frames for blob in frame.blobs]
    need(cursor.hashes(blobs) == [hash_of(blob) for blob in contents], "the index's hashes")
    need(list(cursor.numbers("I", blobs)) == [len(blob) for blob in contents], "the index's sizes")
    so_far = index[: cursor.at]
    cursor.exactly(hash_of(so_far))
    need(cursor.number("I") == len(index), "the index's length at its end")
    cursor.exactly(b"LEND")
    cursor.end()


# --- nodes --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Content:
    """Where there is data (no segments: everywhere), and references; to chunk tables if `table`."""

    table: bool
    segments: tuple[tuple[int, int], ...]
    references: tuple[tuple[bytes, int], ...]


@dataclass(frozen=True)
class Entry:
    kind: int
    name: bytes
    mode: int
    mtime_ns: int
    size: int
    hash: bytes | None = None
    content: Content | None = None
    target: bytes | None = None


@dataclass(frozen=True)
class Node:
    level: int
    entries: tuple[Entry, ...]
    children: tuple[tuple[bytes, bytes], ...]


def read_node(blob: bytes) -> Node:
    need(len(blob) <= MIB, "a node of over 1 MiB")
    cursor = Cursor(blob)
    cursor.exactly(b"LTN1")
    level = cursor.number("B")
    need(level <= 4, f"level {level}")
    cursor.exactly(bytes(3))
    count = cursor.number("I")
    if level:
        need(count >= 1, "a node of level 1 or more with nothing below")
        names = _names(cursor, cursor.numbers("B", count))
        children = tuple(zip(names, cursor.hashes(count), strict=True))
        cursor.end()
        return Node(level, (), children)
    entries = tuple(_entries(cursor, count))
    cursor.end()
    return Node(0, entries, ())


def _names(cursor: Cursor, lengths: tuple[int, ...]) -> list[bytes]:
    names = [cursor.take(length) for length in lengths]
    for name in names:
        good = name and name not in {b".", b".."} and b"/" not in name and b"\0" not in name
        need(bool(good), f"the name {name!r}")
    need(all(a < b for a, b in pairwise(names)), "names are not ascending")
    return names


def _entries(cursor: Cursor, count: int) -> Iterator[Entry]:
    kinds = cursor.numbers("B", count)
    need(all(kind <= HARD_LINK for kind in kinds), "an unknown kind")
    lengths = cursor.numbers("B", count)
    modes = cursor.numbers("H", count)
    times = cursor.numbers("q", count)
    sizes = cursor.numbers("Q", count)
    names = _names(cursor, lengths)
    hashes = iter(cursor.hashes(sum(kind in {BLOB, FOLDER} for kind in kinds)))
    for kind, name, mode, time, size in zip(kinds, names, modes, times, sizes, strict=True):
        need(mode <= 0o1777, f"mode {mode:o}")
        need(kind not in {SYMLINK, HARD_LINK} or mode == 0, "a link with a mode")
        need(kind != HARD_LINK or time == 0, "a hard link with a time")
        need(kind in {BLOB, PIECES} or size == 0, f"kind {kind} with a size")
        need(kind != BLOB or 1 <= size <= MIB, "a file that can be no blob")
        need(kind != PIECES or 1 <= size <= 1 << 50, "a size that cannot be")
        entry = Entry(kind, name, mode, time, size)
        if kind in {BLOB, FOLDER}:
            entry = Entry(kind, name, mode, time, size, hash=next(hashes))
        elif kind >= PIECES:
            extra = cursor.take(cursor.number("I"))
            if kind == PIECES:
                content = _content(extra, size)
                entry = Entry(kind, name, mode, time, size, content=content)
            else:
                target = _symlink(extra) if kind == SYMLINK else _path(extra)
                entry = Entry(kind, name, mode, time, size, target=target)
        yield entry


def _symlink(extra: bytes) -> bytes:
    need(1 <= len(extra) <= 4095 and b"\0" not in extra, "a symlink's target")
    return extra


def _path(extra: bytes) -> bytes:
    for part in extra.split(b"/"):
        good = 1 <= len(part) <= 255 and part not in {b".", b".."} and b"\0" not in part
        need(good, f"the path {extra!r}")
    return extra


def _content(extra: bytes, size: int) -> Content:
    cursor = Cursor(extra)
    count = cursor.number("I")
    table = cursor.number("B")
    need(table <= 1, f"table {table}")
    cursor.exactly(bytes(3))
    references = cursor.number("I")
    need(count <= 4096 and references <= 8192, "the content's counts")
    need(count * 16 + references * 36 == len(extra) - 12, "the content's length")
    segments = tuple(cursor.numbers("Q", 2) for _ in range(count))
    found = _references(cursor, references)
    cursor.end()
    covered = size
    if segments == ((size, 0),):
        need(not found, "a file of nothing but a hole")
        covered = 0
    elif segments:
        end = -1
        for offset, length in segments:
            need(offset > end and length > 0, "segments that touch, are empty or do not ascend")
            end = offset + length
        need(end <= size, "a segment past the end")
        covered = sum(length for _, length in segments)
    need(sum(length for _, length in found) == covered, "references are not the segments' bytes")
    if not table:
        need(all(length <= MIB for _, length in found), "a blob of over 1 MiB")
    return Content(bool(table), segments, found)  # type: ignore[arg-type]


def _references(cursor: Cursor, count: int) -> tuple[tuple[bytes, int], ...]:
    found = tuple((cursor.take(32), cursor.number("I")) for _ in range(count))
    need(all(length for _, length in found), "a reference to no bytes")
    return found


def read_chunk_table(blob: bytes) -> tuple[tuple[bytes, int], ...]:
    need(len(blob) <= MIB, "a chunk table of over 1 MiB")
    cursor = Cursor(blob)
    cursor.exactly(b"LCT1")
    count = cursor.number("I")
    need(1 <= count <= 8192, f"{count} references in a chunk table")
    found = _references(cursor, count)
    cursor.end()
    need(all(length <= MIB for _, length in found), "a blob of over 1 MiB")
    return found


# --- trees --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Item:
    """One entry of a snapshot; `data` are a file's bytes and the offsets at which they lie."""

    path: bytes
    kind: str
    mode: int
    mtime_ns: int
    size: int
    data: tuple[tuple[int, bytes], ...] | None
    target: bytes | None


class Blobs(dict[bytes, bytes]):
    """Blobs of one kind by their hash."""

    def add(self, blob: bytes) -> None:
        self[hash_of(blob)] = blob

    def get_blob(self, name: bytes) -> bytes:
        need(name in self, f"the blob {name.hex()} is in no pack")
        return self[name]


def root_digest(root: Mapping[str, object]) -> bytes:
    node, mode, mtime_ns = root.get("node"), root.get("mode"), root.get("mtime_ns")
    need(set(root) == {"node", "mode", "mtime_ns"}, "the root's fields")
    need(isinstance(node, str) and HEX.fullmatch(node) is not None, "the root's node")
    need(_is_number(mode, 0, 0o1777), "the root's mode")
    need(_is_number(mtime_ns, -(2**63)), "the root's time")
    assert isinstance(node, str)
    return hash_of(b"limpet root 1\0" + bytes.fromhex(node) + struct.pack("<Hq", mode, mtime_ns))


def _is_number(value: object, least: int = 0, most: int = 2**63 - 1) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def read_tree(root: Mapping[str, object], trees: Blobs, data: Blobs | None) -> list[Item]:
    """Every entry below `root` in the order of a walk; without `data` files have no bytes."""
    root_digest(root)
    seen: dict[bytes, int] = {}
    items: list[Item] = []
    for item in _walk(bytes.fromhex(str(root["node"])), b"", trees, data, seen):
        items.append(item)
        need(len(items) <= 1_000_000, "too many entries")
        need(item.path.count(b"/") <= 10_000, "too deep")
    for item in items:
        if item.path in {b"tmp", b".limpet-root"}:
            raise RefusedError(f"{item.path!r} in the workspace's root")
    return items


def _walk(
    node: bytes, above: bytes, trees: Blobs, data: Blobs | None, seen: dict[bytes, int]
) -> Iterator[Item]:
    entries = _folder(node, trees, None)
    for entry in [e for e in entries if e.kind != FOLDER] + [
        e for e in entries if e.kind == FOLDER
    ]:
        path = above + entry.name
        if entry.kind == HARD_LINK:
            kind = seen.get(entry.target or b"")
            need(
                kind in {EMPTY, BLOB, PIECES, SYMLINK}, f"{path!r} is a link to what is not earlier"
            )
        seen[path] = entry.kind
        found = _data(entry, trees, data) if KINDS[entry.kind] == "file" else None
        yield Item(
            path, KINDS[entry.kind], entry.mode, entry.mtime_ns, entry.size, found, entry.target
        )
        if entry.kind == FOLDER:
            assert entry.hash is not None
            yield from _walk(entry.hash, path + b"/", trees, data, seen)


def _folder(name: bytes, trees: Blobs, level: int | None) -> list[Entry]:
    """All entries of a folder, its nodes of higher levels resolved."""
    node = read_node(trees.get_blob(name))
    need(level is None or node.level == level, "a child of another level")
    if node.level == 0:
        return list(node.entries)
    entries: list[Entry] = []
    for first, child in node.children:
        below = _folder(child, trees, node.level - 1)
        need(bool(below) and below[0].name == first, "a child that begins with another name")
        need(not entries or entries[-1].name < first, "children that overlap")
        entries += below
    return entries


def _data(entry: Entry, trees: Blobs, data: Blobs | None) -> tuple[tuple[int, bytes], ...] | None:
    if entry.kind == EMPTY:
        return ()
    if entry.kind == BLOB:
        assert entry.hash is not None
        references: list[tuple[bytes, int]] = [(entry.hash, entry.size)]
        segments: tuple[tuple[int, int], ...] = ((0, entry.size),)
    else:
        assert entry.content is not None
        references = list(entry.content.references)
        segments = entry.content.segments or ((0, entry.size),)
        if entry.content.table:
            tables = [(read_chunk_table(trees.get_blob(h)), size) for h, size in references]
            for rows, size in tables:
                need(sum(length for _, length in rows) == size, "a chunk table's sum")
            references = [row for rows, _ in tables for row in rows]
    if data is None:
        return None
    pieces = []
    for name, size in references:
        blob = data.get_blob(name)
        need(len(blob) == size, "a blob of another size")
        pieces.append(blob)
    joined, at, found = b"".join(pieces), 0, []
    for offset, length in segments:
        if length:
            found.append((offset, joined[at : at + length]))
        at += length
    return tuple(found)


# --- heads --------------------------------------------------------------------------------------

HEAD_FIELDS = {
    "version": int, "kind": str, "org": str, "agent": str, "branch": str, "lineage": str,
    "generation": int, "snapshot": str, "parent": (str, type(None)), "created_at": str,
    "reason": str, "name": (str, type(None)), "fencing": int, "side_reason": (str, type(None)),
    "receipt": dict, "size_bytes": int, "blake3": str,
}  # fmt: skip
SNAPSHOT_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")
REASONS = (
    "idle interval shutdown stop manual before-restore import rollback start template repair fork"
).split()
COUNTS = ("entries", "files", "bytes", "data_bytes", "names_bytes", "hard_links")
TREE_FIELDS = {
    "root": dict, "packs": list, "trees": list, "shared_packs": list, "shared_trees": list,
    "stored_bytes": int,
}  # fmt: skip


@dataclass(frozen=True)
class Snapshot:
    head: Mapping[str, object]
    items: tuple[Item, ...] | None
    """None for a plain tar."""
    tar: bytes | None


def read_head(data: bytes, key: str) -> dict[str, Any]:
    need(len(data) <= MIB, "a head of over 1 MiB")
    head: dict[str, Any]
    try:
        head = json.loads(data.decode())
    except ValueError as error:
        raise RefusedError(f"the head is no JSON: {error}") from error
    need(isinstance(head, dict), "the head is no object")
    _check_fields(head, HEAD_FIELDS)
    rest = {name: value for name, value in head.items() if name != "check"}
    plain = json.dumps(rest, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    need(head.get("check") == hash_of(plain.encode()).hex(), "the head's check")
    need(head["version"] == 1, "another version")
    need(head["kind"] in {"tree", "tar"}, "an unknown kind")
    need(HEX.fullmatch(head["blake3"]) is not None, "the head's hash")
    need(head["reason"] in REASONS, "an unknown reason")
    for snapshot in {head["snapshot"], head["parent"]} - {None}:
        need(SNAPSHOT_ID.fullmatch(snapshot) is not None, "a snapshot's id")
    try:
        datetime.fromisoformat(head["created_at"])
    except ValueError as error:
        raise RefusedError("a head's time") from error
    found = MAIN_KEY.fullmatch(key)
    need(found is not None, f"{key} is no head's key")
    assert found is not None
    place = (head["org"], head["agent"], head["branch"], head["lineage"], head["generation"])
    org, agent, branch, lineage, generation = found.groups()
    need(org == _safe(place[0], first="a-z0-9-"), "a head of another org")
    need(agent == _safe(place[1]), "a head of another agent")
    need(branch == "/".join(map(_safe, place[2].split("/"))), "a head of another branch")
    need(place[3] == (lineage or "main"), "a head of another lineage")
    need(place[4] == int(generation) and place[4] > 0, "a head of another generation")
    made_from = head.get("made_from")
    if made_from is not None:
        need(isinstance(made_from, dict), "where it was made from")
        _check_fields(made_from, {"agent": str, "branch": str, "snapshot": str})
        need(SNAPSHOT_ID.fullmatch(made_from["snapshot"]) is not None, "a snapshot's id")
    if head["kind"] == "tree":
        _check_fields(head, TREE_FIELDS)
        need(root_digest(head["root"]).hex() == head["blake3"], "the root digest")
        for field in ("packs", "trees", "shared_packs", "shared_trees"):
            for row in head[field]:
                _check_row(row)
        counts = head.get("counts")
        if counts is not None:
            need(isinstance(counts, dict), "the counts")
            need(set(COUNTS) <= set(counts), "the counts")
            need(all(map(_is_number, counts.values())), "the counts")
    return head


def _check_row(row: Any) -> None:
    need(isinstance(row, list) and len(row) == 3, "a pack's row")
    name, size, index_size = row
    need(isinstance(name, str) and HEX.fullmatch(name) is not None, "a pack's name")
    need(_is_number(size, 1, 64 * MIB) and _is_number(index_size, 0, size - 1), "a pack's sizes")


def _check_fields(head: Mapping[str, object], fields: Mapping[str, object]) -> None:
    for name, kind in fields.items():
        value = head.get(name)
        need(name in head and isinstance(value, kind), f"the field {name}")  # type: ignore[arg-type]
        need(not isinstance(value, bool), f"the field {name}")
        need(not isinstance(value, int) or value >= 0, f"the field {name}")


def _safe(name: str, first: str = "a-z0-9_-") -> str:
    """What the page makes of a name."""
    if re.fullmatch(rf"[{first}][a-z0-9._-]{{0,127}}", name):
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:24]
    kept = re.sub(r"[^a-z0-9._-]+", "-", name.lower()).strip(".-")[:103]
    return f"{kept}~{digest}"


def read_snapshot(store: Path, key: str) -> Snapshot:
    """The snapshot of the head at `key` in the store whose prefix is the folder `store`."""
    head = read_head((store / key).read_bytes(), key)
    org, agent, rest = key.split("/")[1], key.split("/")[3], key.split("/", 4)[4]
    if head["kind"] == "tar":
        branch = rest[: rest.rindex("~")]
        tar = (store / f"v1/{org}/tars/{agent}/{branch}~/{head['snapshot']}.tar").read_bytes()
        need(len(tar) == head["size_bytes"], "a tar of another size")
        need(hash_of(tar).hex() == head["blake3"], "a tar of another hash")
        return Snapshot(head, None, tar)
    data, trees = Blobs(), Blobs()
    for field, space, folder, blobs, kind in (
        ("packs", org, "packs", data, DATA),
        ("shared_packs", "_templates", "packs", data, DATA),
        ("trees", org, "trees", trees, TREE),
        ("shared_trees", "_templates", "trees", trees, TREE),
    ):
        for row in head[field]:
            name, size, index_size = row
            pack = (store / f"v1/{space}/{folder}/{name}").read_bytes()
            need(len(pack) == size, "a pack of another size")
            need(hash_of(pack).hex() == name, "a pack of another hash")
            read = read_pack(pack)
            need(read.kind == kind, "a pack of another kind")
            need(read.index_size == index_size, "a pack with another index")
            for blob in read.blobs():
                blobs.add(blob)
    root = head["root"]
    assert isinstance(root, dict)
    items = read_tree(root, trees, data)
    need(head["size_bytes"] == sum(item.size for item in items), "the head's size")
    if head.get("counts") is not None:
        need(head["counts"] == counts_of(items), "the head's counts")
    return Snapshot(head, tuple(items), None)


def counts_of(items: list[Item]) -> dict[str, int]:
    names = sum(len(item.path.rpartition(b"/")[2]) + len(item.target or b"") for item in items)
    data = sum(len(piece) for item in items for _, piece in item.data or ())
    return {
        "entries": len(items),
        "files": sum(item.kind == "file" for item in items),
        "bytes": sum(item.size for item in items),
        "data_bytes": data,
        "names_bytes": names,
        "hard_links": sum(item.kind == "hard link" for item in items),
    }


# --- streams ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Stream:
    header: Mapping[str, object]
    frames: tuple[Frame, ...]
    hashes: tuple[bytes, ...]
    end: Mapping[str, object]

    def blobs(self, kind: int) -> Blobs:
        found = Blobs()
        for frame in self.frames:
            if frame.kind == kind:
                for blob in frame.blobs:
                    found.add(blob)
        return found


def read_stream(data: bytes) -> Stream:
    cursor = Cursor(data)
    cursor.exactly(b"LSTREAM1")
    header: Mapping[str, object] | None = None
    frames: list[Frame] = []
    hashes: list[bytes] = []
    while True:
        kind = cursor.number("B")
        cursor.exactly(bytes(3))
        payload = cursor.take(cursor.number("I"))
        need((header is None) == (kind == 1), "the header is first and once")
        if kind == 1:
            need(len(payload) <= 64 * 1024, "a header of over 64 KiB")
            header = _json(payload)
            need(header.get("flow") in {"save", "restore", "plan", "needs"}, "the flow")
            continue
        assert header is not None
        flow = header["flow"]
        if kind == 2:
            frame = read_frame(payload)
            need(flow != "needs", "a frame in needs")
            need(flow != "plan" or frame.kind == TREE, "a data frame in a plan")
            out_of_order = flow == "restore" and frame.kind == TREE and frames
            need(not out_of_order or frames[-1].kind == TREE, "a tree frame after a data frame")
            frames.append(frame)
        elif kind == 4:
            need(flow == "needs", f"hashes in a {flow}")
            need(len(payload) % 32 == 0 and len(payload) // 32 <= 32_768, "hashes")
            hashes += Cursor(payload).hashes(len(payload) // 32)
        else:
            need(kind == 3, f"a record of type {kind}")
            need(len(payload) <= MIB, "an end of over 1 MiB")
            end = _json(payload)
            break
    cursor.exactly(hash_of(data[: cursor.at]))
    cursor.end()
    if flow in {"restore", "plan"}:
        need(isinstance(header.get("root"), dict), "a header without a root")
        root_digest(header["root"])  # type: ignore[arg-type]
    if flow == "save":
        base, sequence, boot_id = (header.get(n) for n in ("base", "activity_seq", "boot_id"))
        need(base is None or isinstance(base, str), "the base")
        need(_is_number(sequence), "activity_seq")
        need(isinstance(boot_id, str) and len(boot_id) <= 200, "boot_id")
        need(isinstance(end.get("root"), dict), "an end without a root")
        need(isinstance(end.get("receipt"), dict), "an end without a receipt")
        root_digest(end["root"])  # type: ignore[arg-type]
    return Stream(header, tuple(frames), tuple(hashes), end)


def _json(payload: bytes) -> Mapping[str, object]:
    try:
        value = json.loads(payload.decode())
    except ValueError as error:
        raise RefusedError(f"no JSON: {error}") from error
    need(isinstance(value, dict), "no object")
    found: Mapping[str, object] = value
    return found


def read_restore(data: bytes) -> list[Item]:
    """What a whole `restore` stream restores."""
    stream = read_stream(data)
    need(stream.header["flow"] == "restore", "not a restore")
    root = stream.header["root"]
    assert isinstance(root, dict)
    return read_tree(root, stream.blobs(TREE), stream.blobs(DATA))
