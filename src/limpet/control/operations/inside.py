"""Operations that look into snapshots; what they mean is `limpet.control.sandboxes.inside`'s."""

import base64
import binascii
from datetime import UTC, datetime

from limpet.branches import check_branch
from limpet.control.operations.inside_models import (
    MAX_CHANGES,
    SnapshotChange,
    SnapshotDiff,
    SnapshotDiffResult,
    SnapshotEntry,
    SnapshotFiles,
    SnapshotFilesResult,
    SnapshotRead,
    SnapshotReadResult,
)
from limpet.control.operations.models import Snapshot, SnapshotRef
from limpet.control.operations.registry import Call, Operation
from limpet.control.sandboxes.inside import Compared, text_of
from limpet.errors import InvalidInputError
from limpet.ids import AgentId, Branch, SnapshotId
from limpet.snapshots.diff import Change, type_of
from limpet.snapshots.node import FOLDER, HARD_LINK, Entry
from limpet.snapshots.secret_names import holds_secrets
from limpet.snapshots.tar_format import show


async def get(call: Call, wanted: SnapshotRef) -> Snapshot:
    """One snapshot."""
    return await call.services.sandboxes.snapshot(
        call.identity.org,
        AgentId(wanted.agent_id),
        _branch(wanted.branch),
        SnapshotId(wanted.snapshot_id),
    )


async def files(call: Call, wanted: SnapshotFiles) -> SnapshotFilesResult:
    """A folder's entries."""
    sandboxes = call.services.sandboxes
    key = await sandboxes.key(call.identity.org, AgentId(wanted.agent_id), _branch(wanted.branch))
    path = path_of(wanted.path, wanted.raw)
    place = await sandboxes.inside.find(key, SnapshotId(wanted.snapshot_id), path)
    found, more = await sandboxes.inside.listing(
        place, recursive=wanted.recursive, after=wanted.after, limit=wanted.limit
    )
    return SnapshotFilesResult(
        snapshot=place.head.snapshot,
        path=show(path),
        entries=[entry_of(at, entry) for at, entry in found],
        next=wanted.after + len(found) if more else None,
    )


async def read(call: Call, wanted: SnapshotRead) -> SnapshotReadResult:
    """A part of a file."""
    sandboxes = call.services.sandboxes
    key = await sandboxes.key(call.identity.org, AgentId(wanted.agent_id), _branch(wanted.branch))
    path = path_of(wanted.path, wanted.raw)
    place = await sandboxes.inside.find(key, SnapshotId(wanted.snapshot_id), path)
    size = await sandboxes.inside.size_of(place)
    chunks = await sandboxes.inside.content(place, offset=wanted.offset, limit=wanted.limit)
    content = b"".join([chunk async for chunk in chunks])
    text = text_of(content)
    return SnapshotReadResult(
        entry=entry_of(path, place.entry).model_copy(update={"size_bytes": size}),
        offset=wanted.offset,
        kind="binary" if text is None else "text",
        text=text,
        base64=base64.b64encode(content).decode() if text is None else None,
        truncated=wanted.offset + len(content) < size,
    )


async def diff(call: Call, wanted: SnapshotDiff) -> SnapshotDiffResult:
    """What leads from one snapshot to another."""
    sandboxes = call.services.sandboxes
    key = await sandboxes.key(call.identity.org, AgentId(wanted.agent_id), _branch(wanted.branch))
    compared = await sandboxes.inside.compare(
        key,
        SnapshotId(wanted.snapshot_id),
        SnapshotId(wanted.other) if wanted.other else None,
        path=path_of(wanted.path, None),
        text=wanted.text,
        times=wanted.times,
        expanded=wanted.expand,
        most=MAX_CHANGES,
    )
    kinds = [change.kind for change in compared.changes]
    return SnapshotDiffResult(
        before=compared.before.snapshot if compared.before else None,
        after=compared.after.snapshot,
        added=kinds.count("added"),
        removed=kinds.count("removed"),
        changed=kinds.count("changed"),
        renamed=kinds.count("renamed"),
        changes=[_change(change, compared) for change in compared.changes],
        truncated=compared.truncated,
    )


def path_of(path: str, raw: str | None) -> bytes:
    """The relative path that was given, as bytes; `InvalidInputError` when it leads elsewhere."""
    if raw is not None:
        try:
            given = base64.b64decode(raw, validate=True)
        except binascii.Error:
            raise InvalidInputError("raw: is no base64") from None
    else:
        given = path.encode("utf-8", "surrogatepass")
    given = given.removeprefix(b"./").strip(b"/")
    if given in {b"", b"."}:
        return b""
    parts = given.split(b"/")
    if b"\0" in given or any(part in {b"", b".", b".."} for part in parts):
        raise InvalidInputError(f"path: {show(given)!r} is no path in a workspace")
    return given


def entry_of(path: bytes, entry: Entry) -> SnapshotEntry:
    """An entry as the API shows it."""
    return SnapshotEntry(
        path=show(path),
        type=type_of(entry),
        size_bytes=entry.size,
        mode=f"{entry.mode:04o}",
        modified_at=_time(entry),
        target=show(entry.target) if entry.target is not None else None,
        secret=entry.kind != FOLDER and holds_secrets(path),
        raw=None if _is_plain(path) else base64.b64encode(path).decode(),
    )


def _change(change: Change, compared: Compared) -> SnapshotChange:
    entry = change.after or change.before
    assert entry is not None
    diff = compared.diffs.get(change.path)
    return SnapshotChange(
        kind=change.kind,
        path=show(change.path),
        old_path=show(change.old_path) if change.old_path is not None else None,
        type=type_of(entry),
        what=list(change.what),
        size_before=change.before.size if change.before else None,
        size_after=change.after.size if change.after else None,
        diff=diff,
        binary=change.path in compared.diffs and diff is None,
    )


def _is_plain(path: bytes) -> bool:
    shown = show(path)
    return shown.encode("utf-8", "surrogatepass") == path


def _time(entry: Entry) -> datetime | None:
    if entry.kind == HARD_LINK:
        return None
    try:
        return datetime.fromtimestamp(entry.mtime_ns / 1e9, UTC)
    except (OverflowError, ValueError, OSError):
        return None


def _branch(branch: str | None) -> Branch | None:
    return check_branch(branch) if branch else None


_ONE = "/agents/{agent_id}/snapshots/{snapshot_id}"
OPERATIONS = (
    Operation("SNAPSHOT_GET", "GET", _ONE, SnapshotRef, Snapshot, get, "Look at a snapshot"),
    Operation(
        "SNAPSHOT_FILES",
        "GET",
        f"{_ONE}/files",
        SnapshotFiles,
        SnapshotFilesResult,
        files,
        "List the files of a snapshot",
    ),
    Operation(
        "SNAPSHOT_READ",
        "GET",
        f"{_ONE}/file",
        SnapshotRead,
        SnapshotReadResult,
        read,
        "Read a file of a snapshot",
    ),
    Operation(
        "SNAPSHOT_DIFF",
        "GET",
        f"{_ONE}/diff",
        SnapshotDiff,
        SnapshotDiffResult,
        diff,
        "Compare two snapshots",
    ),
)
