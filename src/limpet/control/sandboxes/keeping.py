"""Which of a branch's snapshots are kept: the ones with names; and which people want deleted.

Deleting condemns: the bytes go 24 hours later at the earliest, and a name given until then spares
them.
"""

import re

import structlog

from limpet.control.sandboxes.events import SandboxKey
from limpet.control.sandboxes.history import History
from limpet.control.sandboxes.marks import Marks, read_marks
from limpet.control.sandboxes.parts import Parts, ref_of
from limpet.errors import ConflictError, InvalidInputError
from limpet.ids import AgentId, OrgId, SnapshotId
from limpet.snapshots.lineage import LEGACY_GENERATION
from limpet.snapshots.repository import MAIN, Head
from limpet.snapshots.snapshot_names import MAX_NAME_LENGTH, TurnNote, name_of
from limpet.snapshots.stored_heads import stored_head_key

log = structlog.get_logger(__name__)

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


class SnapshotInUseError(ConflictError):
    """Something stands on the snapshot, so it is not deleted."""

    code = "snapshot_in_use"


class Keeping:
    """Names and deletions."""

    def __init__(self, parts: Parts, history: History) -> None:
        self._parts = parts
        self._history = history

    async def marks(self, key: SandboxKey) -> Marks:
        """What is said of the branch's snapshots."""
        row = await self._parts.rows.get(key)
        used = (row.head_snapshot, row.pinned_snapshot) if row else ()
        in_use = {SnapshotId(one) for one in used if one}
        return await read_marks(self._parts.repository, ref_of(key), in_use)

    async def name(self, key: SandboxKey, snapshot: SnapshotId, name: str | None) -> None:
        """Call the snapshot so from now on; None takes its name away.

        Named snapshots are kept until they are deleted; one that was deleted is kept after all.
        """
        head = await self._history.one(key, snapshot)
        if name is not None and head.generation == LEGACY_GENERATION:
            raise InvalidInputError(
                "A tar of the older layout cannot have a name",
                hint="Go back to it, or fork it, and name the snapshot that comes of that.",
            )
        name = checked_name(name)
        await self._parts.repository.names.give(ref_of(key), snapshot, name)
        if name is not None:
            await self._forget_deletion(head)
        self._parts.on_change(key)

    async def note_turn(
        self, key: SandboxKey, snapshot: SnapshotId, name: str, turn: TurnNote
    ) -> None:
        """Keep the snapshot under this name as long as turns are kept, unless it has one."""
        head = await self._history.one(key, snapshot)
        given = await self._parts.repository.names.of_branch(ref_of(key))
        if name_of(head, given) is not None:
            return
        await self._parts.repository.names.give(ref_of(key), snapshot, checked_name(name), turn)
        await self._forget_deletion(head)
        self._parts.on_change(key)

    async def delete(self, key: SandboxKey, snapshot: SnapshotId) -> None:
        """Condemn the snapshot; `SnapshotInUseError` while something stands on it. Again is fine.

        Its name goes first: a snapshot that has one is never deleted.
        """
        parts = self._parts
        async with parts.lifecycle.of(key), parts.saves.of(key):
            head = await self._history.one(key, snapshot)
            marks = await self.marks(key)
            await self._refuse_in_use(key, head, marks)
            doom = marks.doom_of(head)
            if doom is not None and doom.why == "deleted":
                return
            if marks.name_of(head) is not None:
                await parts.repository.names.give(ref_of(key), snapshot, None)
            await parts.repository.condemned(key.org).add("deleted", [stored_head_key(head)])
        log.info("snapshot_condemned", snapshot=snapshot, branch=key.branch)
        parts.on_change(key)

    async def require_store(self, org: OrgId, agent: AgentId) -> None:
        """Raise `StoreUnavailableError` when an agent's snapshots could not be condemned now."""
        await self._parts.repository.keys_of_agent(org, agent)

    async def condemn_agent(self, org: OrgId, agent: AgentId) -> None:
        """Condemn every snapshot of an agent that is about to go, the named ones too."""
        repository = self._parts.repository
        keys = await repository.keys_of_agent(org, agent)
        if not keys:
            return
        given = await repository.names.of_org(org)
        async for head in repository.read_heads(keys):
            if name_of(head, given) is not None:
                await repository.names.give(head.ref, head.snapshot, None)
        await repository.condemned(org).add("deleted", keys)
        log.info("snapshots_of_agent_condemned", agent=agent, snapshots=len(keys))

    async def _forget_deletion(self, head: Head) -> None:
        """Drop what condemns this snapshot alone: should it lose its name, it is not deleted soon.

        A record of many stays: prune spares what has a name.
        """
        condemned, alone = self._parts.repository.condemned(head.ref.org), {stored_head_key(head)}
        for record in await condemned.records():
            if record.why == "deleted" and record.keys == alone:
                await condemned.drop(record)

    async def _refuse_in_use(self, key: SandboxKey, head: Head, marks: Marks) -> None:
        usable = (await self._parts.repository.lookup(ref_of(key))).head
        if usable is not None and usable.snapshot == head.snapshot and head.lineage == MAIN:
            raise SnapshotInUseError(
                "This is the newest snapshot of its branch, which a start restores",
                hint="Save, or go back to another one first; or delete the agent with all it has.",
            )
        if head.snapshot in marks.in_use:
            raise SnapshotInUseError(
                "The branch's sandbox grew from this snapshot, or waits for it",
                hint="Save the sandbox or go back to another snapshot first.",
            )
        if head.generation == LEGACY_GENERATION:
            raise SnapshotInUseError(
                "This is a tar of the older layout, which Limpet only reads",
                hint="It goes when its agent is deleted.",
            )


def checked_name(name: str | None) -> str | None:
    """A name without blanks around it; `InvalidInputError` when it is none."""
    if name is None:
        return None
    trimmed = name.strip()
    if not 0 < len(trimmed) <= MAX_NAME_LENGTH or _CONTROL.search(trimmed):
        raise InvalidInputError(
            f"A snapshot's name has 1 to {MAX_NAME_LENGTH} characters, none of them for control"
        )
    return trimmed
