"""`/snapshot/restore`: extract and verify beside the workspace, then stop, swap, start again.

Everything runs on until the snapshot was judged whole. From there on every process of the sandbox
but the daemon is ended, and the workspace is the old one or the new one at any moment.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from starlette.requests import ClientDisconnect, Request

from limpet.daemon.context import DaemonContext
from limpet.daemon.folders import make_folders
from limpet.daemon.gate import gate
from limpet.daemon.hand_over import Upload, UploadBrokenError
from limpet.daemon.ownership import give_tree, owner_of
from limpet.daemon.routes import chunks_of
from limpet.daemon.snapshots import DIGEST, MAX_SNAPSHOT_ID, Restored, SnapshotService, number
from limpet.errors import InvalidInputError, LimpetError
from limpet.snapshots.media_type import MEDIA_TYPE
from limpet.snapshots.patch import apply_patch, fetch
from limpet.snapshots.receipt import Receipt, Remark
from limpet.snapshots.restore_tree import restore_stream
from limpet.snapshots.seeding import Seeding
from limpet.snapshots.space import full_error, is_full
from limpet.snapshots.swap import heal_locks, new_staging_folder, recover, swap
from limpet.snapshots.tar_format import BLOCK, checksum_matches
from limpet.snapshots.tar_read import TarLimits, extract_tar

T = TypeVar("T")
REASON = "the workspace is being restored"


STALL_S = 600.0
"""Longer than a store's bad minute: who restores waits for it in the middle of the body."""


class RestoreFailedError(LimpetError):
    """The swap did not come about; the workspace is as it was."""

    code = "restore_failed"
    status = 500


@dataclass(frozen=True, slots=True)
class Asked:
    """What the headers of a restore say."""

    packed: bool
    blake3: str | None
    """Of a tar its hash, of a packed snapshot its root digest."""
    size_bytes: int | None
    snapshot: str | None
    generation: int | None
    detached: bool
    hold: bool
    plan: str | None
    """Names what `/snapshot/plan` has prepared: then the workspace is patched, not replaced."""

    @classmethod
    def by(cls, request: Request) -> "Asked":
        """The headers, or `InvalidInputError` naming the one that is wrong."""
        headers = request.headers
        digest = headers.get("x-limpet-blake3")
        if digest is not None and not DIGEST.fullmatch(digest.lower()):
            raise InvalidInputError("X-Limpet-Blake3 must be 64 hexadecimal digits")
        return cls(
            packed=headers.get("content-type", "").partition(";")[0].strip() == MEDIA_TYPE,
            blake3=digest.lower() if digest is not None else None,
            size_bytes=number(headers.get("x-limpet-size"), "X-Limpet-Size"),
            snapshot=(headers.get("x-limpet-snapshot") or "")[:MAX_SNAPSHOT_ID] or None,
            generation=number(headers.get("x-limpet-generation"), "X-Limpet-Generation"),
            detached=headers.get("x-limpet-detached", "").lower() in {"1", "true"},
            hold=headers.get("x-limpet-hold", "").lower() in {"1", "true"},
            plan=headers.get("x-limpet-plan"),
        )


async def restore(ctx: DaemonContext, _: object, request: Request) -> Restored:
    """Make the workspace the snapshot in the body, or change nothing."""
    service = ctx.snapshots
    with service.turn("restore"):
        asked = Asked.by(request)
        if asked.plan is not None:
            return await _patch(ctx, service, request, asked, asked.plan)
        service.plans.give_up()
        staged = new_staging_folder(ctx.root)
        try:
            receipt, seeding = await _stage(ctx, service, request, asked, staged)

            def place() -> tuple[Receipt, tuple[Path, ...]]:
                trash = swap(ctx.root, staged)
                if seeding is not None:
                    with contextlib.suppress(OSError):  # the next save reads everything
                        seeding.settle(ctx.settings.app_root, ctx.root.state)
                return receipt, (trash,)

            # From here on a client that goes away changes nothing any more.
            done = await asyncio.shield(_put_in_place(ctx, service, asked, place))
            if seeding is not None:
                service.seed_later(seeding)
            return done
        except BaseException as error:
            service.tell("failed", error=str(error) or type(error).__name__)
            raise
        finally:
            service.delete_later(staged)


async def _patch(
    ctx: DaemonContext, service: SnapshotService, request: Request, asked: Asked, name: str
) -> Restored:
    """Do what was planned, once the body has brought what this machine does not have."""
    plan = service.plans.take(name)
    try:
        if not plan.whole:
            service.tell("extracting", bytes=0, total=plan.needs_bytes)
            progress = service.progress("extracting")
            await fed(service, request, lambda chunks: fetch(plan, chunks, on_progress=progress))

        def place() -> tuple[Receipt, tuple[Path, ...]]:
            receipt = apply_patch(ctx.root, plan)
            workspace = ctx.settings.app_root
            make_folders(workspace)
            give_tree(workspace, owner_of(ctx.settings))
            healed = tuple(Remark(path, "stale lock") for path in heal_locks(workspace))
            return replace(receipt, healed=healed), ()

        return await asyncio.shield(_put_in_place(ctx, service, asked, place))
    except BaseException as error:
        service.tell("failed", error=str(error) or type(error).__name__)
        raise
    finally:
        service.delete_later(*plan.trash)


async def _stage(
    ctx: DaemonContext, service: SnapshotService, request: Request, asked: Asked, staged: Path
) -> tuple[Receipt, Seeding | None]:
    """Extract and verify into `staged` while everything runs."""
    seedings: list[Seeding] = []
    service.tell("extracting", bytes=0, total=asked.size_bytes)
    progress = service.progress("extracting")

    def extract(chunks: Iterator[bytes]) -> Receipt:
        if asked.packed:
            receipt = restore_stream(
                chunks,
                staged,
                expect_root=asked.blake3,
                on_progress=progress,
                on_restored=seedings.append,
            )
        else:
            receipt = extract_tar(
                chunks,
                staged,
                limits=TarLimits(),
                expect_blake3=asked.blake3,
                expect_size=asked.size_bytes,
                on_progress=progress,
            )
        make_folders(staged)
        give_tree(staged, owner_of(ctx.settings))
        healed = [Remark(path, "stale lock") for path in heal_locks(staged)]
        return replace(
            receipt,
            healed=(*receipt.healed, *healed),
            relocated=receipt.relocated or ctx.settings.relocated,
        )

    receipt = await fed(service, request, extract, tar=not asked.packed)
    return receipt, seedings[0] if seedings else None


async def fed(
    service: SnapshotService,
    request: Request,
    work: Callable[[Iterator[bytes]], T],
    *,
    tar: bool = False,
) -> T:
    """Do blocking work on the request's body in the operation's thread."""
    body = chunks_of(request, stall_s=STALL_S)
    first = await (_first_block(body) if tar else _first_bytes(body))
    upload = Upload()

    async def feed() -> None:
        try:
            await upload.put(first)
            async for chunk in body:
                await upload.put(chunk)
        except ClientDisconnect:
            upload.end(UploadBrokenError("the body broke off"))
            raise
        except BaseException:
            upload.end(UploadBrokenError("the body was not read to its end"))
            raise
        upload.end()

    working = service.run(lambda: work(iter(upload)))
    feeding = asyncio.create_task(feed())
    try:
        return await working
    finally:
        feeding.cancel()
        with contextlib.suppress(asyncio.CancelledError, ClientDisconnect):
            await feeding


async def _first_bytes(body: AsyncIterator[bytes]) -> bytes:
    """The first bytes of a packed stream; `InvalidInputError` when there are none."""
    async for chunk in body:
        if chunk:
            return chunk
    raise InvalidInputError("no body: send the snapshot")


async def _first_block(body: AsyncIterator[bytes]) -> bytes:
    """The first bytes, at least a block of them; `InvalidInputError` when they begin no tar."""
    first = b""
    async for chunk in body:
        first += chunk
        if len(first) >= BLOCK:
            break
    if not first:
        raise InvalidInputError("no body: send the tar")
    block = first[:BLOCK]
    if len(block) < BLOCK or not (checksum_matches(block) or block == bytes(BLOCK)):
        raise InvalidInputError("the body is no tar")
    return first


async def _put_in_place(
    ctx: DaemonContext,
    service: SnapshotService,
    asked: Asked,
    place: Callable[[], tuple[Receipt, tuple[Path, ...]]],
) -> Restored:
    """Stop everything, put the snapshot in place, and let go on what ran.

    `place` blocks; it gives the receipt and what is to be deleted afterwards.
    """
    held = asked.hold or ctx.config.current is None
    service.tell("stopping", bytes=asked.size_bytes)
    gate.close(REASON)
    swapped = False
    try:
        await ctx.setup.pause_for_restore()
        await ctx.tasks.kill_everything(REASON)
        await gate.emptied()
        await ctx.watcher.stop()
        service.tell("swapping", bytes=asked.size_bytes)
        receipt, trash = await service.run(place)
        swapped = True
        await service.origin.restored(asked.snapshot, asked.generation, detached=asked.detached)
    except Exception as error:
        if swapped:
            raise RestoreFailedError(f"the workspace was restored, but: {error}") from error
        await service.run(lambda: recover(ctx.root))
        if isinstance(error, OSError) and is_full(error):
            raise full_error(error) from error
        if asked.plan is not None and isinstance(error, LimpetError):
            raise
        raise RestoreFailedError(f"the workspace could not be swapped: {error}") from error
    finally:
        gate.open()
        await ctx.watcher.start()
        await ctx.setup.resume_after_restore(held=held if swapped else False)
    service.delete_later(*trash)
    service.sync_later()
    service.tell("done", bytes=receipt.size_bytes, files=receipt.files, snapshot=asked.snapshot)
    return Restored(ok=True, files=receipt.files, bytes=receipt.bytes, receipt=receipt.as_dict())
