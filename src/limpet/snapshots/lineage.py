"""A lineage's heads: what one says of its snapshot, and how it is written and read.

Pure: bytes in, values out. A head is JSON that ends with a BLAKE3 of all before it, and names the
place that it was made for, so that one that was cut, changed or moved is told.
"""

import json
import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, NewType, get_args

from blake3 import blake3

from limpet.errors import LimpetError
from limpet.ids import AgentId, Branch, OrgId, SnapshotId
from limpet.snapshots.blobs import BlobHash
from limpet.snapshots.node import MAX_MODE, Root
from limpet.snapshots.pack import MAX_PACK_BYTES, PackRef, check_pack_name
from limpet.snapshots.receipt import Receipt
from limpet.snapshots.tree_counts import TreeCounts

Lineage = NewType("Lineage", str)
MAIN = Lineage("main")
SaveReason = Literal[
    "idle",
    "interval",
    "shutdown",
    "stop",
    "manual",
    "before-restore",
    "import",
    "rollback",
    "start",
    "template",
    "repair",
    "fork",
]
HEAD_VERSION = 1
MAX_HEAD_BYTES = 1 << 20
LEGACY_GENERATION = 0
_HASH = re.compile(r"[0-9a-f]{64}")
_SNAPSHOT = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")
_TEXTS = ("org", "agent", "branch", "lineage", "snapshot", "created_at", "reason", "blake3")
_TEXTS_OR_NULL = ("parent", "name", "side_reason")
_NUMBERS = ("generation", "fencing", "size_bytes")


@dataclass(frozen=True, slots=True)
class BranchRef:
    """Whose lineage: a branch of an agent of an org."""

    org: OrgId
    agent: AgentId
    branch: Branch


@dataclass(frozen=True, slots=True)
class Packed:
    """What a head of kind `tree` says beside the rest: the state, and where its blobs lie."""

    root: Root
    packs: tuple[PackRef, ...]
    trees: tuple[PackRef, ...]
    stored_bytes: int
    """What the save put in the store, the head aside."""
    counts: TreeCounts | None = None
    """What the tree holds; None when nobody has counted it."""


@dataclass(frozen=True, slots=True)
class MadeFrom:
    """The snapshot whose content a head was given: what was forked, or gone back to."""

    agent: AgentId
    branch: Branch
    snapshot: SnapshotId


@dataclass(frozen=True, slots=True)
class Head:
    """One snapshot as its lineage knows it; `fencing` numbers the lease it was made under.

    `size_bytes` and `blake3` are a tar's size and hash; for a tree the bytes of all its files and
    the root digest. Two heads of one `blake3` are of one content.
    """

    ref: BranchRef
    lineage: Lineage
    generation: int
    snapshot: SnapshotId
    parent: SnapshotId | None
    kind: Literal["tar", "tree"]
    created_at: datetime
    reason: SaveReason
    name: str | None
    fencing: int
    receipt: Receipt
    size_bytes: int
    blake3: str
    side_reason: str | None
    packed: Packed | None = None
    """There for the kind `tree` alone."""
    made_from: MadeFrom | None = None


@dataclass(frozen=True, slots=True)
class DamagedHead:
    """A generation that cannot be used, and why; `snapshot` is None when that is unreadable."""

    generation: int
    snapshot: SnapshotId | None
    why: str


@dataclass(frozen=True, slots=True)
class HeadLookup:
    """The usable head of a lineage, and the newer generations that are not usable."""

    head: Head | None
    damaged: tuple[DamagedHead, ...]


def encode_head(head: Head) -> bytes:
    """The head's JSON, ending with a BLAKE3 of all before it."""
    told = {
        "version": HEAD_VERSION,
        "kind": head.kind,
        "org": head.ref.org,
        "agent": head.ref.agent,
        "branch": head.ref.branch,
        "lineage": head.lineage,
        "generation": head.generation,
        "snapshot": head.snapshot,
        "parent": head.parent,
        "created_at": head.created_at.isoformat(),
        "reason": head.reason,
        "name": head.name,
        "fencing": head.fencing,
        "size_bytes": head.size_bytes,
        "blake3": head.blake3,
        "side_reason": head.side_reason,
        "receipt": head.receipt.as_dict(),
        **({"made_from": _made_from_fields(head.made_from)} if head.made_from else {}),
        **(_packed_fields(head.packed) if head.packed else {}),
    }
    return json.dumps({**told, "check": _check(told)}, indent=1).encode()


def decode_head(
    body: bytes, ref: BranchRef, lineage: Lineage, generation: int
) -> Head | DamagedHead:
    """The head that `encode_head` wrote for this place, or why it cannot be used."""
    try:
        if len(body) > MAX_HEAD_BYTES:
            raise ValueError("a head is never so large")
        told = json.loads(body)
        if told["version"] != HEAD_VERSION or told["kind"] not in {"tar", "tree"}:
            why = f"it is of a kind that this version does not know ({told['kind']!r})"
            return DamagedHead(generation, SnapshotId(str(told.get("snapshot"))), why)
        if told.pop("check") != _check(told):
            return DamagedHead(generation, None, "its head was changed")
        _check_fields(told)
        here = (ref.org, ref.agent, ref.branch, lineage, generation)
        names = ("org", "agent", "branch", "lineage", "generation")
        if tuple(told[name] for name in names) != here:
            return DamagedHead(generation, None, "its head belongs elsewhere")
        if told["reason"] not in get_args(SaveReason):
            return DamagedHead(generation, None, "its head gives an unknown reason")
        return Head(
            ref=ref,
            lineage=lineage,
            generation=generation,
            snapshot=SnapshotId(told["snapshot"]),
            parent=SnapshotId(told["parent"]) if told["parent"] else None,
            kind=told["kind"],
            created_at=datetime.fromisoformat(told["created_at"]),
            reason=told["reason"],
            name=told["name"],
            fencing=told["fencing"],
            receipt=Receipt.from_dict(told["receipt"]),
            size_bytes=told["size_bytes"],
            blake3=told["blake3"],
            side_reason=told["side_reason"],
            packed=_packed_of(told) if told["kind"] == "tree" else None,
            made_from=_made_from_of(told.get("made_from")),
        )
    except (ValueError, KeyError, TypeError, AttributeError, LimpetError) as error:
        return DamagedHead(generation, None, f"its head cannot be read ({type(error).__name__})")


def _made_from_fields(made_from: MadeFrom) -> dict[str, str]:
    return {
        "agent": made_from.agent,
        "branch": made_from.branch,
        "snapshot": made_from.snapshot,
    }


def _made_from_of(told: dict[str, Any] | None) -> MadeFrom | None:
    if told is None:
        return None
    agent, branch, snapshot = (told[name] for name in ("agent", "branch", "snapshot"))
    if not all(type(text) is str for text in (agent, branch, snapshot)):
        raise TypeError("where it was made from is no text")
    if not _SNAPSHOT.fullmatch(snapshot):
        raise ValueError("what should be a snapshot's id is none")
    return MadeFrom(AgentId(agent), Branch(branch), SnapshotId(snapshot))


def _packed_fields(packed: Packed) -> dict[str, Any]:
    def refs(given: tuple[PackRef, ...], shared: bool) -> list[list[str | int]]:
        return [[r.name, r.size_bytes, r.index_bytes] for r in given if r.shared == shared]

    return {
        "root": root_fields(packed.root),
        "packs": refs(packed.packs, False),
        "trees": refs(packed.trees, False),
        "shared_packs": refs(packed.packs, True),
        "shared_trees": refs(packed.trees, True),
        "stored_bytes": packed.stored_bytes,
        "counts": packed.counts.as_dict() if packed.counts else None,
    }


def _check_fields(told: dict[str, Any]) -> None:
    """Raises `KeyError`, `TypeError` or `ValueError` unless each field is of its kind."""
    for name in _TEXTS:
        if type(told[name]) is not str:
            raise TypeError(f"{name} is no text")
    for name in _TEXTS_OR_NULL:
        if type(told[name]) not in {str, type(None)}:
            raise TypeError(f"{name} is neither text nor null")
    for name in _NUMBERS:
        _number(told[name])
    for snapshot in filter(None, (told["snapshot"], told["parent"])):
        if not _SNAPSHOT.fullmatch(snapshot):
            raise ValueError("what should be a snapshot's id is none")
    if not _HASH.fullmatch(told["blake3"]):
        raise ValueError("what should be a hash is none")


def _number(value: object) -> int:
    if type(value) is not int:
        raise TypeError("what should be a number is none")
    if value < 0:
        raise ValueError("a number is below zero")
    return value


def _pack_ref(row: object, shared: bool) -> PackRef:
    if type(row) is not list:
        raise TypeError("what should be a pack is none")
    name, size, index = row
    if not _number(index) < _number(size) <= MAX_PACK_BYTES:
        raise ValueError("a pack is of a size that cannot be")
    return PackRef(check_pack_name(name), size, index, shared)


def _packed_of(told: dict[str, Any]) -> Packed:
    def refs(name: str, shared: bool) -> tuple[PackRef, ...]:
        if type(told[name]) is not list:
            raise TypeError("what should be packs are none")
        return tuple(_pack_ref(row, shared) for row in told[name])

    root = root_of(told["root"])
    if root.digest != told["blake3"]:
        raise ValueError("its root is not the one that it names")
    return Packed(
        root,
        (*refs("shared_packs", True), *refs("packs", False)),
        (*refs("shared_trees", True), *refs("trees", False)),
        _number(told["stored_bytes"]),
        _counts_of(told.get("counts")),
    )


def _counts_of(told: dict[str, Any] | None) -> TreeCounts | None:
    if told is None:
        return None
    for number in told.values():
        _number(number)
    return TreeCounts.from_dict(told)


def root_fields(root: Root) -> dict[str, Any]:
    """A root as JSON, in heads and in streams."""
    return {"node": root.node.hex(), "mode": root.mode, "mtime_ns": root.mtime_ns}


def root_of(fields: dict[str, Any]) -> Root:
    """The root that `root_fields` told; `ValueError`, `KeyError` or `TypeError` otherwise."""
    node, mode, mtime_ns = fields["node"], fields["mode"], fields["mtime_ns"]
    if type(mode) is not int or type(mtime_ns) is not int:
        raise TypeError("a root's mode and time are whole numbers")
    if not _HASH.fullmatch(node) or not 0 <= mode <= MAX_MODE or not _fits_64_bits(mtime_ns):
        raise ValueError("what should be a root is none")
    return Root(BlobHash(bytes.fromhex(node)), mode, mtime_ns)


def _fits_64_bits(number: int) -> bool:
    return -(1 << 63) <= number < 1 << 63


def _check(told: dict[str, Any]) -> str:
    plain = json.dumps(told, sort_keys=True, separators=(",", ":"))
    return blake3(plain.encode()).hexdigest()
