"""Sending a snapshot into a sandbox: whole, or as a patch where its workspace is near it."""

from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import structlog

from limpet.control.sandboxes.events import SandboxKey
from limpet.control.sandboxes.parts import Parts
from limpet.control.sandboxes.streams import at_most, counted, without_stalls
from limpet.errors import ConflictError, DaemonError, InvalidInputError, SnapshotDamagedError
from limpet.runners.daemon_client import QUICK_TIMEOUT_S, DaemonClient
from limpet.snapshots.blobs import BlobHash
from limpet.snapshots.repository import Head
from limpet.snapshots.wire import StreamHashes, StreamHeader, StreamReader

log = structlog.get_logger(__name__)

NEEDS_SPARE_BYTES = 1 << 20


async def restore_into(
    parts: Parts, key: SandboxKey, client: DaemonClient, head: Head
) -> dict[str, Any] | None:
    """Restore `head` into a sandbox; gives the receipt. The workspace is the old one or the new.

    Raises `SnapshotDamagedError` when the stored bytes are not what was saved or not safe to
    unpack, `StoreUnavailableError` when the store fails meanwhile, else what the daemon says.
    """

    def tell(seen: int) -> None:
        parts.phase(key, "restoring", bytes=seen, total=head.size_bytes)

    headers = {
        "X-Limpet-Blake3": head.blake3,
        "X-Limpet-Size": str(head.size_bytes),
        "X-Limpet-Snapshot": head.snapshot,
        "X-Limpet-Generation": str(head.generation),
        "X-Limpet-Detached": "false",
    }
    tell(0)
    packed = head.kind == "tree" and (await client.health(timeout_s=QUICK_TIMEOUT_S)).packed
    try:
        if packed:
            del headers["X-Limpet-Size"]
            told = await _restore_packed(parts, client, head, headers, tell)
        else:
            chunks = await parts.repository.open_tar(head)
            if head.kind == "tree":  # made into a tar for a daemon that knows nothing else
                del headers["X-Limpet-Size"], headers["X-Limpet-Blake3"]
            told = await client.restore(counted(chunks, tell), headers)
    except DaemonError as error:
        if error.daemon_status in (400, 422):
            raise SnapshotDamagedError(
                f"The snapshot {head.snapshot} cannot be used: {error.message}",
                hint="Nothing of it was unpacked. Choose an older snapshot.",
            ) from error
        raise
    return receipt_in(told)


async def _restore_packed(
    parts: Parts,
    client: DaemonClient,
    head: Head,
    headers: dict[str, str],
    tell: Callable[[int], None],
) -> Mapping[str, object]:
    """Patch the workspace where it is a state near the snapshot's, else restore it whole."""
    origin = await client.origin()
    if not origin.empty:
        try:
            plan = await _planned(parts, client, head, headers)
        except (ConflictError, DaemonError) as error:
            log.info("restored_whole", snapshot=head.snapshot, because=error.message)
            plan = None
        if plan is not None:
            name, needs = plan
            chunks = await parts.repository.open_packed(head, needs=needs)
            told = {**headers, "X-Limpet-Plan": name}
            try:
                return await client.restore(counted(chunks, tell), told, packed=True)
            except DaemonError as error:
                if error.daemon_status != 409:
                    raise
                log.info("restored_whole", snapshot=head.snapshot, because=error.message)
    chunks = await parts.repository.open_packed(head)
    return await client.restore(counted(chunks, tell), headers, packed=True)


async def _planned(
    parts: Parts, client: DaemonClient, head: Head, headers: dict[str, str]
) -> tuple[str, set[BlobHash]] | None:
    """The daemon's plan of a patch and what that needs; None when a whole restore is as good."""
    assert head.packed is not None
    trees = await parts.repository.open_packed(head, flow="plan")
    # Of each blob there is more in an index than its name: nobody needs more names than that.
    most_bytes = sum(pack.index_bytes for pack in head.packed.packs) + NEEDS_SPARE_BYTES
    async with client.plan_restore(trees, headers) as answer:
        try:
            return await _needs_in(at_most(without_stalls(answer.body), most_bytes))
        except (SnapshotDamagedError, InvalidInputError) as error:
            # It is the answer that is broken, not the snapshot.
            raise DaemonError(
                f"The sandbox's plan makes no sense: {error.message}", daemon_status=answer.status
            ) from error


async def _needs_in(body: AsyncIterator[bytes]) -> tuple[str, set[BlobHash]] | None:
    reader = StreamReader("needs")
    name: str | None = None
    needs: set[BlobHash] = set()
    async for chunk in body:
        for record in reader.feed(chunk):
            if isinstance(record, StreamHeader):
                told = record.fields.get("plan")
                name = told if isinstance(told, str) else None
            elif isinstance(record, StreamHashes):
                needs.update(record.hashes)
    reader.finish()
    return (name, needs) if name is not None else None


def receipt_in(told: Mapping[str, object]) -> dict[str, Any] | None:
    """The receipt in a daemon's answer to a restore, if there is one."""
    receipt = told.get("receipt")
    return receipt if isinstance(receipt, dict) else None
