"""A tar becomes a packed snapshot: extracted and verified in a scratch folder, then saved.

What the tar says of the save that wrote it (what was skipped, torn, left out) stays said.
"""

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, Final

from anyio import CancelScope, from_thread, to_thread

from limpet.errors import InvalidInputError
from limpet.ids import SnapshotId
from limpet.snapshots.delta import DeltaStream, stream_delta
from limpet.snapshots.lineage import MAIN, BranchRef, Head, Lineage, SaveReason
from limpet.snapshots.repository import SnapshotRepository
from limpet.snapshots.statcache import StatCaches
from limpet.snapshots.tar_read import TarLimits, TarVerifier, extract_tar
from limpet.snapshots.tree import delete_tree
from limpet.snapshots.wire import StreamEnd, StreamFrame, StreamHeader, StreamReader, StreamWriter

_TOLD: Final = ("skipped", "torn", "healed", "ignored", "dropped")


class TarUnreadableError(InvalidInputError):
    """A tar holds files or folders that are closed to who imports it: they cannot be read."""

    code = "tar_unreadable"


async def import_tar(
    repository: SnapshotRepository,
    ref: BranchRef,
    chunks: AsyncIterator[bytes],
    scratch: Path,
    *,
    parent: SnapshotId | None,
    fencing: int,
    expected_generation: int,
    lineage: Lineage = MAIN,
    reason: SaveReason = "import",
    name: str | None = None,
    side_reason: str | None = None,
    limits: TarLimits | None = None,
) -> Head:
    """Store a tar as the packed snapshot after `expected_generation`; gives its head.

    The tar is extracted below `scratch`, which must have room for it, and is gone from there at
    the end. Top-level entries that are never saved (`tmp`) are left out. Raises `TarDamagedError`,
    `TarUnsafeError`, `TarUnreadableError`, `NotEnoughSpaceError`, `SaveSupersededError` as
    `save_packed` does, `StoreUnavailableError` or `OSError`; no head is left then.
    """
    folder = Path(await to_thread.run_sync(lambda: mkdtemp(prefix="import-", dir=scratch)))
    try:
        workspace = folder / "workspace"
        original = await to_thread.run_sync(_extract, chunks, workspace, limits or TarLimits())
        delta = await to_thread.run_sync(_delta, workspace, folder / "statcache")
        saved = await repository.save_packed(
            ref,
            _save_stream(delta, original),
            base=None,
            reason=reason,
            parent=parent,
            fencing=fencing,
            lineage=lineage,
            expected_generation=expected_generation,
            name=name,
            side_reason=side_reason,
        )
        return saved.head
    finally:
        with CancelScope(shield=True):
            await to_thread.run_sync(_discard, folder)


class _Alone:
    """Nobody else writes in the scratch folder, so nothing need be frozen."""

    def freeze(self) -> bool:
        return True

    def thaw(self) -> None:
        pass


def _extract(chunks: AsyncIterator[bytes], into: Path, limits: TarLimits) -> dict[str, Any] | None:
    """Extract the tar; gives the receipt of the save that wrote it, if it carries one."""
    verifier = TarVerifier(limits)

    async def following() -> bytes | None:
        return await anext(chunks, None)

    def pieces() -> Iterator[bytes]:
        while (chunk := from_thread.run(following)) is not None:
            verifier.feed(chunk)
            yield chunk

    extract_tar(pieces(), into, limits=limits)
    return verifier.finish().receipt_of_save


def _delta(workspace: Path, caches: Path) -> DeltaStream:
    return stream_delta(
        workspace,
        caches=StatCaches(caches),
        base=None,
        fields={"activity_seq": 0, "boot_id": "import"},
        freezer=_Alone(),
    )


async def _save_stream(
    delta: DeltaStream, original: Mapping[str, Any] | None
) -> AsyncIterator[bytes]:
    reader, writer = StreamReader("save"), StreamWriter("save")

    def following() -> bytes | None:
        chunk = next(delta, None)
        return None if chunk is None else b"".join(_told_anew(chunk, reader, writer, original))

    try:
        while (chunk := await to_thread.run_sync(following)) is not None:
            yield chunk
        reader.finish()
    finally:
        with CancelScope(shield=True):
            await to_thread.run_sync(delta.close)


def _told_anew(
    chunk: bytes,
    reader: StreamReader,
    writer: StreamWriter,
    original: Mapping[str, Any] | None,
) -> Iterator[bytes]:
    """The same records, but for the receipt in the last one."""
    for record in reader.feed(chunk):
        if isinstance(record, StreamHeader):
            yield writer.header(record.fields)
        elif isinstance(record, StreamFrame):
            yield writer.frames(record.data)
        elif isinstance(record, StreamEnd):
            receipt = _receipt(record.fields["receipt"], original)
            yield writer.end({**record.fields, "receipt": receipt})


def _receipt(ours: Mapping[str, Any], original: Mapping[str, Any] | None) -> dict[str, Any]:
    unreadable = ours["counts"].get("unreadable", 0)
    if unreadable:
        raise TarUnreadableError(
            f"{unreadable:,} entries of the tar are closed to the user that Limpet runs as",
            hint="Make them readable for their owner (chmod -R u+rwX) and pack the tar again.",
        )
    if original is None:
        return dict(ours)
    told = {name: original[name] for name in _TOLD if name in original}
    because = [*original.get("incomplete_because", ()), *ours["incomplete_because"]]
    complete = bool(original.get("complete")) and ours["complete"]
    counts = {**original.get("counts", {}), **ours["counts"]}
    return {
        **ours,
        **told,
        "counts": counts,
        "complete": complete,
        "incomplete_because": because,
        "live": bool(original.get("live", True)),
    }


def _discard(folder: Path) -> None:
    with suppress(OSError):  # what cannot be deleted now is scratch all the same
        delete_tree(folder)
