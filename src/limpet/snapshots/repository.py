"""Snapshots in a store: lineages of heads, each pointing at one verified tar.

The order of a save is the whole of its safety: the tar first, verified while it is stored, then,
last, the head of the next generation, create-only. A save that dies leaves the old head; of two
writers one creates the generation and the other's work becomes a side lineage. The highest
generation that can be used is the head.

A branch's tar of the older layout, `<org>/<agent>/<branch>.tar`, counts as generation 0 of its main
lineage: it is read, never written.
"""

import re
import secrets
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime

from anyio import to_thread
from blake3 import blake3

from limpet.errors import (
    ConflictError,
    InvalidInputError,
    PreconditionFailedError,
    SnapshotDamagedError,
)
from limpet.ids import SnapshotId, new_snapshot_id
from limpet.snapshots.faults import reach
from limpet.snapshots.lineage import (
    LEGACY_GENERATION,
    MAIN,
    MAX_HEAD_BYTES,
    BranchRef,
    DamagedHead,
    Head,
    HeadLookup,
    Lineage,
    SaveReason,
    decode_head,
    encode_head,
)
from limpet.snapshots.receipt import Receipt
from limpet.snapshots.tar_read import TarSummary, TarVerifier
from limpet.stores.base import SandboxStore, StoredObject
from limpet.stores.keys import (
    GENERATION_DIGITS,
    head_key,
    heads_prefix,
    heads_root,
    legacy_tar_key,
    tar_key,
)

__all__ = [
    "MAIN",
    "BranchRef",
    "DamagedHead",
    "Head",
    "HeadLookup",
    "Lineage",
    "SaveReason",
    "SaveSupersededError",
    "SnapshotRepository",
]
_GENERATION = re.compile(rf"[0-9]{{{GENERATION_DIGITS}}}")
_SIDE = re.compile(r"side-[0-9a-f]{12}")


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
        self._legacy: dict[BranchRef, tuple[StoredObject, Head | DamagedHead]] = {}

    async def lookup(self, ref: BranchRef, lineage: Lineage = MAIN) -> HeadLookup:
        """The newest usable head, newest generation first; what was passed by is told."""
        damaged: list[DamagedHead] = []
        for generation in sorted(await self._generations(ref, lineage), reverse=True):
            read = await self._read(ref, lineage, generation)
            if isinstance(read, Head):
                seen = await self._store.head(self._tar(read))
                if seen is not None and seen.size_bytes == read.size_bytes:
                    return HeadLookup(read, tuple(damaged))
                why = "its bytes are gone" if seen is None else "its size is not what was saved"
                read = DamagedHead(generation, read.snapshot, why)
            damaged.append(read)
        older = await self._read_legacy(ref) if lineage == MAIN else None
        if isinstance(older, DamagedHead):
            damaged.append(older)
            older = None
        return HeadLookup(older, tuple(damaged))

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
            if folder and not _SIDE.fullmatch(folder):
                continue
            read = await self._read(ref, Lineage(folder or MAIN), int(name))
            if isinstance(read, Head):
                heads.append(read)
        older = await self._read_legacy(ref)
        if isinstance(older, Head):
            heads.append(older)
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
        the generation, or a later one, the tar becomes the first head of a new side lineage, and
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
        reach("save-tar-stored")
        try:
            await self._create_next(head)
        except PreconditionFailedError:
            aside = _moved(head, Lineage(f"side-{secrets.token_hex(6)}"), side_reason)
            await self._create(aside)
            raise SaveSupersededError(aside) from None
        reach("save-head-created")
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

    async def _generations(self, ref: BranchRef, lineage: Lineage) -> list[int]:
        prefix = heads_prefix(ref.org, ref.agent, ref.branch, lineage)
        return [
            int(name)
            async for one in self._store.list(prefix)
            if _GENERATION.fullmatch(name := one.key.removeprefix(prefix))
        ]

    async def _create_next(self, head: Head) -> None:
        """Create the head as the newest of its lineage, or `PreconditionFailedError`.

        Its place may be free although others came after it: old heads are pruned.
        """
        later = max(await self._generations(head.ref, head.lineage), default=0)
        if later >= head.generation:
            raise PreconditionFailedError(f"Generation {later} of {head.ref.branch} is there")
        await self._create(head)

    async def _create(self, head: Head) -> None:
        ref = head.ref
        key = head_key(ref.org, ref.agent, ref.branch, head.generation, head.lineage)
        await self._store.put(key, encode_head(head), condition="create-only")

    async def _read(self, ref: BranchRef, lineage: Lineage, generation: int) -> Head | DamagedHead:
        key = head_key(ref.org, ref.agent, ref.branch, generation, lineage)
        chunks = await self._store.get(key, length=MAX_HEAD_BYTES + 1)
        if chunks is None:
            return DamagedHead(generation, None, "its head is gone")
        body = b"".join([chunk async for chunk in chunks])
        return decode_head(body, ref, lineage, generation)

    async def _read_legacy(self, ref: BranchRef) -> Head | DamagedHead | None:
        """The tar of the older layout as a head; read whole when it is first seen or changes."""
        key = legacy_tar_key(ref.org, ref.agent, ref.branch)
        seen = await self._store.head(key)
        if seen is None:
            return None
        known = self._legacy.get(ref)
        if known is not None and known[0] == seen:
            return known[1]
        chunks = await self._store.get(key)
        if chunks is None:
            return None
        verifier = TarVerifier()
        read: Head | DamagedHead
        try:
            async for chunk in chunks:
                await to_thread.run_sync(verifier.feed, chunk)
            read = _legacy_head(ref, seen, await to_thread.run_sync(verifier.finish))
        except (SnapshotDamagedError, InvalidInputError) as error:
            why = f"it is of the older layout, and {error.message}"
            read = DamagedHead(LEGACY_GENERATION, None, why)
        self._legacy[ref] = (seen, read)
        return read

    @staticmethod
    def _tar(head: Head) -> str:
        if head.lineage == MAIN and head.generation == LEGACY_GENERATION:
            return legacy_tar_key(head.ref.org, head.ref.agent, head.ref.branch)
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


def _legacy_head(ref: BranchRef, seen: StoredObject, summary: TarSummary) -> Head:
    return Head(
        ref=ref,
        lineage=MAIN,
        generation=LEGACY_GENERATION,
        snapshot=SnapshotId(f"legacy-{summary.blake3[:24]}"),
        parent=None,
        kind="tar",
        created_at=datetime.fromtimestamp(seen.modified_at_s, UTC),
        reason="import",
        name=None,
        fencing=0,
        receipt=_receipt_of(summary),
        size_bytes=summary.size_bytes,
        blake3=summary.blake3,
        side_reason=None,
    )
