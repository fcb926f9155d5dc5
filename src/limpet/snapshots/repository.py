"""Snapshots in a store: lineages of heads, each pointing at one verified tar.

The order of a save is the whole of its safety: the tar first, verified while it is stored, then,
last, the head of the next generation, create-only. A save that dies leaves the old head; of two
writers one creates the generation and the other's work becomes a side lineage. The highest
generation that can be used is the head.
"""

import json
import re
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Literal, NewType, get_args

from anyio import to_thread
from blake3 import blake3

from limpet.errors import (
    ConflictError,
    LimpetError,
    PreconditionFailedError,
    SnapshotDamagedError,
)
from limpet.ids import AgentId, Branch, OrgId, SnapshotId, new_snapshot_id
from limpet.snapshots.receipt import Receipt
from limpet.snapshots.tar_read import TarSummary, TarVerifier
from limpet.stores.base import SandboxStore
from limpet.stores.keys import GENERATION_DIGITS, head_key, heads_prefix, heads_root, tar_key

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
]
HEAD_VERSION = 1
MAX_HEAD_BYTES = 1 << 20
_GENERATION = re.compile(rf"[0-9]{{{GENERATION_DIGITS}}}")


@dataclass(frozen=True, slots=True)
class BranchRef:
    """Whose lineage: a branch of an agent of an org."""

    org: OrgId
    agent: AgentId
    branch: Branch


@dataclass(frozen=True, slots=True)
class Head:
    """One snapshot as its lineage knows it; `fencing` numbers the lease it was made under."""

    ref: BranchRef
    lineage: Lineage
    generation: int
    snapshot: SnapshotId
    parent: SnapshotId | None
    kind: Literal["tar"]
    created_at: datetime
    reason: SaveReason
    name: str | None
    fencing: int
    receipt: Receipt
    size_bytes: int
    blake3: str
    side_reason: str | None


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


class SaveSupersededError(ConflictError):
    """Another writer moved the head first; this save was kept as the side lineage of `head`."""

    code = "superseded"

    def __init__(self, head: Head) -> None:
        super().__init__(
            f"Another writer saved {head.ref.branch} first",
            hint="This work was kept as a side lineage; adopt it from the history.",
        )
        self.head = head


class SnapshotRepository:
    """All branches' snapshots in one store. Every method may raise `StoreUnavailableError`."""

    def __init__(self, store: SandboxStore) -> None:
        self._store = store

    async def lookup(self, ref: BranchRef, lineage: Lineage = MAIN) -> HeadLookup:
        """The newest usable head, newest generation first; what was passed by is told."""
        prefix = heads_prefix(ref.org, ref.agent, ref.branch, lineage)
        generations = [
            int(one.key.removeprefix(prefix))
            async for one in self._store.list(prefix)
            if _GENERATION.fullmatch(one.key.removeprefix(prefix))
        ]
        damaged: list[DamagedHead] = []
        for generation in sorted(generations, reverse=True):
            read = await self._read(ref, lineage, generation)
            if isinstance(read, Head):
                seen = await self._store.head(self._tar(read))
                if seen is not None and seen.size_bytes == read.size_bytes:
                    return HeadLookup(read, tuple(damaged))
                why = "its bytes are gone" if seen is None else "its size is not what was saved"
                read = DamagedHead(generation, read.snapshot, why)
            damaged.append(read)
        return HeadLookup(None, tuple(damaged))

    async def head(self, ref: BranchRef, lineage: Lineage = MAIN) -> Head | None:
        """The usable head; `SnapshotDamagedError` when there are heads but none is usable."""
        found = await self.lookup(ref, lineage)
        if found.head is None and found.damaged:
            newest = found.damaged[0]
            raise SnapshotDamagedError(
                f"None of {len(found.damaged)} snapshots of {ref.branch} can be used; "
                f"of the newest, {newest.why}"
            )
        return found.head

    async def history(self, ref: BranchRef) -> list[Head]:
        """All readable heads of all lineages, newest first."""
        root = heads_root(ref.org, ref.agent, ref.branch)
        heads = []
        async for one in self._store.list(root):
            folder, _, name = one.key.removeprefix(root).partition("/")
            if not _GENERATION.fullmatch(name):
                continue
            if folder and not re.fullmatch(r"side-[0-9a-f]{12}", folder):
                continue
            read = await self._read(ref, Lineage(folder or MAIN), int(name))
            if isinstance(read, Head):
                heads.append(read)
        return sorted(
            heads, key=lambda h: (h.created_at, h.lineage == MAIN, h.generation), reverse=True
        )

    async def find(self, ref: BranchRef, snapshot: SnapshotId) -> Head | None:
        """The snapshot's head, on whatever lineage it is."""
        for head in await self.history(ref):
            if head.snapshot == snapshot:
                return head
        return None

    async def side_lineages(self, ref: BranchRef) -> list[Head]:
        """The newest head of each side lineage whose content the main lineage never had."""
        history = await self.history(ref)
        known = {head.blake3 for head in history if head.lineage == MAIN}
        newest: dict[Lineage, Head] = {}
        for head in history:
            best = newest.get(head.lineage)
            if head.lineage != MAIN and (best is None or head.generation > best.generation):
                newest[head.lineage] = head
        return [head for head in newest.values() if head.blake3 not in known]

    async def save_tar(
        self,
        ref: BranchRef,
        chunks: AsyncIterator[bytes],
        *,
        reason: SaveReason,
        parent: SnapshotId | None,
        fencing: int,
        lineage: Lineage = MAIN,
        expected_generation: int,
        name: str | None = None,
        side_reason: str | None = None,
    ) -> Head:
        """Store a tar as the generation after `expected_generation` (0: as the first one).

        The tar is verified while it is stored: one that is cut off, changed or unsafe raises
        `TarDamagedError` or `TarUnsafeError` and leaves nothing. When another writer has created
        the generation, the tar becomes the first head of a new side lineage, and
        `SaveSupersededError` carries that head.
        """
        snapshot = new_snapshot_id()
        verifier = TarVerifier()
        summary: TarSummary | None = None

        async def verified() -> AsyncIterator[bytes]:
            nonlocal summary
            async for chunk in chunks:
                await to_thread.run_sync(verifier.feed, chunk)
                yield chunk
            summary = await to_thread.run_sync(verifier.finish)

        key = tar_key(ref.org, ref.agent, ref.branch, snapshot)
        await self._store.put(key, verified(), condition="create-only")
        assert summary is not None
        head = Head(
            ref=ref,
            lineage=lineage,
            generation=expected_generation + 1,
            snapshot=snapshot,
            parent=parent,
            kind="tar",
            created_at=datetime.now(UTC),
            reason=reason,
            name=name,
            fencing=fencing,
            receipt=_receipt_of(summary),
            size_bytes=summary.size_bytes,
            blake3=summary.blake3,
            side_reason=side_reason,
        )
        try:
            await self._create(head)
        except PreconditionFailedError:
            aside = _moved(head, Lineage(f"side-{secrets.token_hex(6)}"), side_reason)
            await self._create(aside)
            raise SaveSupersededError(aside) from None
        return head

    async def open_tar(self, head: Head) -> AsyncIterator[bytes]:
        """The tar's bytes; `SnapshotDamagedError` before the last of them when they are not whole.

        The last chunk is held back until size and BLAKE3 are known to be right, so that a reader
        of a damaged tar never sees its end.
        """
        chunks = await self._store.get(self._tar(head))
        if chunks is None:
            raise SnapshotDamagedError(f"The bytes of snapshot {head.snapshot} are gone")
        return self._checked(head, chunks)

    async def verify(self, head: Head) -> None:
        """Read all of the snapshot; `SnapshotDamagedError` when it is not what was saved."""
        async for _ in await self.open_tar(head):
            pass

    # -- inside --------------------------------------------------------------------------------

    async def _checked(self, head: Head, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        digest = blake3()
        size = 0
        held = b""
        async for chunk in chunks:
            await to_thread.run_sync(digest.update, chunk)
            size += len(chunk)
            if held:
                yield held
            held = chunk
        if size != head.size_bytes or digest.hexdigest() != head.blake3:
            what = "is cut off" if size < head.size_bytes else "was changed"
            raise SnapshotDamagedError(
                f"The snapshot {head.snapshot} {what}",
                hint="Nothing of it was used. Choose an older snapshot.",
            )
        if held:
            yield held

    async def _create(self, head: Head) -> None:
        ref = head.ref
        key = head_key(ref.org, ref.agent, ref.branch, head.generation, head.lineage)
        await self._store.put(key, _encode(head), condition="create-only")

    async def _read(self, ref: BranchRef, lineage: Lineage, generation: int) -> Head | DamagedHead:
        key = head_key(ref.org, ref.agent, ref.branch, generation, lineage)
        chunks = await self._store.get(key, length=MAX_HEAD_BYTES + 1)
        if chunks is None:
            return DamagedHead(generation, None, "its head is gone")
        body = b"".join([chunk async for chunk in chunks])
        return _decode(body, ref, lineage, generation)

    @staticmethod
    def _tar(head: Head) -> str:
        return tar_key(head.ref.org, head.ref.agent, head.ref.branch, head.snapshot)


def _receipt_of(summary: TarSummary) -> Receipt:
    """The save's own receipt, or, for a tar of somebody else's, what was seen in it."""
    if summary.receipt_of_save is not None:
        return Receipt.from_dict({**summary.receipt_of_save, "operation": "save"})
    return Receipt(
        operation="save",
        entries=summary.entries,
        files=summary.files,
        bytes=summary.bytes,
        size_bytes=summary.size_bytes,
        blake3=summary.blake3,
        complete=True,
    )


def _moved(head: Head, lineage: Lineage, side_reason: str | None) -> Head:
    return replace(head, lineage=lineage, generation=1, side_reason=side_reason or "lost-race")


def _encode(head: Head) -> bytes:
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
    }
    return json.dumps({**told, "check": _check(told)}, indent=1).encode()


def _check(told: dict[str, Any]) -> str:
    plain = json.dumps(told, sort_keys=True, separators=(",", ":"))
    return blake3(plain.encode()).hexdigest()


def _decode(body: bytes, ref: BranchRef, lineage: Lineage, generation: int) -> Head | DamagedHead:
    try:
        told = json.loads(body)
        if told["version"] != HEAD_VERSION or told["kind"] != "tar":
            why = f"it is of a kind that this version does not know ({told['kind']!r})"
            return DamagedHead(generation, SnapshotId(str(told.get("snapshot"))), why)
        if told.pop("check") != _check(told):
            return DamagedHead(generation, None, "its head was changed")
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
            kind="tar",
            created_at=datetime.fromisoformat(told["created_at"]),
            reason=told["reason"],
            name=told["name"],
            fencing=told["fencing"],
            receipt=Receipt.from_dict(told["receipt"]),
            size_bytes=told["size_bytes"],
            blake3=told["blake3"],
            side_reason=told["side_reason"],
        )
    except (ValueError, KeyError, TypeError, AttributeError, LimpetError) as error:
        return DamagedHead(generation, None, f"its head cannot be read ({type(error).__name__})")
