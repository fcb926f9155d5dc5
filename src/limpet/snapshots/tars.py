"""Snapshots that are plain tars, in a store: verified while they are put and while they are read.

A branch's tar of the older layout, `<org>/<agent>/<branch>.tar`, counts as generation 0 of its main
lineage: it is read, never written.
"""

from collections.abc import AsyncIterator
from datetime import UTC, datetime

from anyio import to_thread
from blake3 import blake3

from limpet.errors import InvalidInputError, SnapshotDamagedError
from limpet.ids import SnapshotId
from limpet.snapshots.lineage import LEGACY_GENERATION, MAIN, BranchRef, DamagedHead, Head
from limpet.snapshots.receipt import Receipt
from limpet.snapshots.tar_read import TarSummary, TarVerifier
from limpet.stores.base import SandboxStore, StoredObject
from limpet.stores.keys import legacy_tar_key, tar_key


class TarStore:
    """The tars of all branches. Every method may raise `StoreUnavailableError`."""

    def __init__(self, store: SandboxStore) -> None:
        self._store = store
        self._legacy: dict[BranchRef, tuple[StoredObject, Head | DamagedHead]] = {}

    async def put(
        self, ref: BranchRef, snapshot: SnapshotId, chunks: AsyncIterator[bytes]
    ) -> TarSummary:
        """Store a tar of a branch, verified while it is stored; what is in it.

        One that is cut off, changed or unsafe raises `TarDamagedError` or `TarUnsafeError` and
        leaves nothing.
        """
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
        return summary

    async def why_unusable(self, head: Head) -> str | None:
        """Why the tar cannot be what was saved, by its size alone; None when it can."""
        seen = await self._store.head(stored_tar_key(head))
        if seen is not None and seen.size_bytes == head.size_bytes:
            return None
        return "its bytes are gone" if seen is None else "its size is not what was saved"

    async def open(self, head: Head) -> AsyncIterator[bytes]:
        """The tar's bytes; `SnapshotDamagedError` before the last of them when they are not whole.

        The last chunk is held back until size and BLAKE3 are known to be right, so that a reader
        of a damaged tar never sees its end.
        """
        chunks = await self._store.get(stored_tar_key(head))
        if chunks is None:
            raise SnapshotDamagedError(f"The bytes of snapshot {head.snapshot} are gone")
        return self._checked(head, chunks)

    async def legacy(self, ref: BranchRef) -> Head | DamagedHead | None:
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


def receipt_of(summary: TarSummary) -> Receipt:
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
        receipt=receipt_of(summary),
        size_bytes=summary.size_bytes,
        blake3=summary.blake3,
        side_reason=None,
    )


def stored_tar_key(head: Head) -> str:
    """Where the bytes of a snapshot of kind `tar` lie."""
    if head.lineage == MAIN and head.generation == LEGACY_GENERATION:
        return legacy_tar_key(head.ref.org, head.ref.agent, head.ref.branch)
    return tar_key(head.ref.org, head.ref.agent, head.ref.branch, head.snapshot)
