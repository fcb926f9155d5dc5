"""The workspace before and after a turn, as snapshots with a note of it. Where nothing changed
since the last snapshot, that one is it."""

import re
from dataclasses import dataclass
from typing import Final, Literal

import structlog

from limpet.control.db import RunRow
from limpet.control.sandboxes.events import SandboxKey
from limpet.control.sandboxes.saving import NothingToSaveError
from limpet.control.sandboxes.service import SandboxService, SnapshotSource
from limpet.errors import LimpetError
from limpet.ids import SnapshotId
from limpet.runners.daemon_client import DaemonClient
from limpet.snapshots.snapshot_names import MAX_NAME_LENGTH, TurnNote

log = structlog.get_logger(__name__)

When = Literal["before", "after"]
_UNNAMEABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_WORDS: Final = {"before": "Before", "after": "After"}


@dataclass(frozen=True, slots=True)
class Taken:
    """A snapshot, and the commit that the repository stood at."""

    snapshot: str
    commit: str | None


async def checkpoint(
    sandboxes: SandboxService, key: SandboxKey, when: When, *, run: RunRow, author: str
) -> Taken | None:
    """The workspace as it is now, kept under the turn's name; None when there is nothing in it.

    `author` is who sent the turn's message.

    Raises what a save raises.
    """
    row = await sandboxes.parts.rows.get(key)
    if row is None:
        return None
    commit = await _commit((await sandboxes.reach_row(row)).client)
    try:
        # Like the saver's: of a workspace that is as it was, the snapshot that there is.
        saved = await sandboxes.save(key.org, key.agent, key.branch, reason="interval")
    except NothingToSaveError:
        return None
    source = SnapshotSource(key.agent, key.branch, SnapshotId(saved.id))
    note = TurnNote(when, run.position, run.thread_id, run.id, author, commit)
    name = checkpoint_name(when, run.position, run.prompt)
    await sandboxes.note_turn(key.org, source, name, note)
    return Taken(saved.id, commit)


def checkpoint_name(when: When, turn: int, prompt: str) -> str:
    """What the snapshot is called: the turn, and how its message begins."""
    said = _UNNAMEABLE.sub(" ", prompt).strip()
    name = f"{_WORDS[when]} turn {turn}: {said}"
    return name if len(name) <= MAX_NAME_LENGTH else f"{name[: MAX_NAME_LENGTH - 1].rstrip()}…"


async def _commit(client: DaemonClient) -> str | None:
    try:
        sha = (await client.call("GET", "/_sandbox/git/status", polls=True)).get("headSha")
    except LimpetError as error:
        log.info("no_commit_of_checkpoint", why=error.message)
        return None
    return sha if isinstance(sha, str) else None
