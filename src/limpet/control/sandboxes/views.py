"""From what the parts know to what the API says of sandboxes and snapshots."""

from collections.abc import Iterable, Mapping
from typing import Any

from limpet.control.db import SandboxRow
from limpet.control.operations.models import (
    MadeFromInfo,
    Problem,
    ReceiptInfo,
    RestoreOutcome,
    Sandbox,
    Snapshot,
    TurnInfo,
)
from limpet.control.preview_address import PreviewAccess
from limpet.control.sandboxes.ends import GONE_PROBLEM
from limpet.control.sandboxes.marks import NO_MARKS, Marks
from limpet.errors import LimpetError
from limpet.snapshots.receipt import Receipt
from limpet.snapshots.repository import MAIN, Head


def stored_bytes(head: Head) -> int:
    """What making the snapshot has put in the store, the head aside."""
    return head.packed.stored_bytes if head.packed else head.size_bytes


def receipt_of(receipt: Receipt | Mapping[str, Any]) -> ReceiptInfo:
    """A receipt as the API shows it."""
    known = receipt if isinstance(receipt, Receipt) else Receipt.from_dict(dict(receipt))
    return ReceiptInfo.model_validate(known)


def snapshot_of(
    head: Head, *, is_head: bool, marks: Marks = NO_MARKS, adoptable: bool = False
) -> Snapshot:
    """A snapshot as the API shows it. `is_head`: it is what the next start would restore."""
    doom, made_from, turn = marks.doom_of(head), head.made_from, marks.turn_of(head)
    return Snapshot(
        id=head.snapshot,
        agent_id=head.ref.agent,
        branch=head.ref.branch,
        lineage=head.lineage,
        generation=head.generation,
        parent=head.parent,
        kind=head.kind,
        created_at=head.created_at,
        reason=head.reason,
        name=marks.name_of(head),
        turn=TurnInfo.model_validate(turn) if turn else None,
        receipt=receipt_of(head.receipt),
        size_bytes=head.size_bytes,
        stored_bytes=stored_bytes(head),
        is_head=is_head,
        side_reason=head.side_reason,
        adoptable=adoptable,
        made_from=MadeFromInfo(
            agent_id=made_from.agent, branch=made_from.branch, snapshot_id=made_from.snapshot
        )
        if made_from
        else None,
        condemned_at=doom.at if doom else None,
        condemned_because=doom.why if doom else None,
        deleted_after=doom.deleted_after if doom else None,
    )


def snapshots_of(
    heads: Iterable[Head], usable: Head | None, marks: Marks = NO_MARKS
) -> list[Snapshot]:
    """All snapshots of a branch in the order given; each side lineage's newest is a head too."""
    newest: dict[str, int] = {}
    heads = list(heads)
    for head in heads:
        newest[head.lineage] = max(head.generation, newest.get(head.lineage, 0))
    on_main = {head.blake3 for head in heads if head.lineage == MAIN}

    def shown(head: Head) -> Snapshot:
        if head.lineage == MAIN:
            is_head = usable is not None and head.snapshot == usable.snapshot
            return snapshot_of(head, is_head=is_head, marks=marks)
        is_head = head.generation == newest[head.lineage]
        adoptable = is_head and head.blake3 not in on_main
        return snapshot_of(head, is_head=is_head, marks=marks, adoptable=adoptable)

    return [shown(head) for head in heads]


def problem_of(error: Exception) -> dict[str, str]:
    """An error as a row keeps it and the API shows it; of one that is not ours only its kind."""
    if isinstance(error, LimpetError):
        return error.as_dict()
    return LimpetError(
        f"Something went wrong inside Limpet: {type(error).__name__}",
        hint="The server's log says more.",
    ).as_dict()


def sandbox_of(
    row: SandboxRow,
    *,
    title: str,
    phase: str | None,
    unsaved: bool | None,
    saving: bool,
    preview_url: str | None,
    loopback_preview_url: str | None,
    preview_access: PreviewAccess,
    last_save: Snapshot | None,
    side_snapshots: list[Snapshot],
) -> Sandbox:
    """A sandbox as the API shows it."""
    was_gone = row.ended is not None and row.ended["reason"] == "gone"
    error = GONE_PROBLEM if was_gone else row.last_error
    return Sandbox.model_validate(
        {
            "handle": row.handle,
            "agent_id": row.agent_id,
            "agent_title": title,
            "branch": row.branch,
            "state": row.state,
            "phase": phase,
            "runner_kind": row.runner_kind,
            "isolation": row.isolation,
            "preview_url": preview_url,
            "loopback_preview_url": loopback_preview_url,
            "preview_access": preview_access,
            "detached": row.detached,
            "detached_reason": row.detached_reason,
            "unsaved": unsaved,
            "saving": saving,
            "last_save": last_save,
            "last_save_error": Problem.model_validate(row.last_save_error)
            if row.last_save_error
            else None,
            "side_snapshots": side_snapshots,
            "restore": RestoreOutcome.model_validate(row.restore) if row.restore else None,
            "last_error": Problem.model_validate(error) if error else None,
            "ended": row.ended,
            "created_at": row.created_at,
            "started_at": row.started_at,
        }
    )
