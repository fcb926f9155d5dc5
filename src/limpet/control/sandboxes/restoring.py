"""What a start does between the daemon's health and its config: look, decide, restore or keep.

Runs inside the runner's `on_daemon_ready`. A restore that fails never fails the start: the sandbox
then runs detached from the snapshot that it should have had. Only a store that cannot be reached,
or that has lost all that it held of the branch, ends the start, and only until the user says to go
on without.
"""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import structlog

from limpet.control.db import AgentRow, OrgRow, SandboxRow, UserRow
from limpet.control.sandboxes.daemons import idle_of, origin_of
from limpet.control.sandboxes.decide import (
    KEPT_ASIDE,
    AllDamaged,
    Candidate,
    Decision,
    Found,
    Lookup,
    NoSnapshot,
    Origin,
    Situation,
    Unreachable,
    decide,
    top_generation,
)
from limpet.control.sandboxes.events import SandboxKey
from limpet.control.sandboxes.parts import Parts, ref_of
from limpet.control.sandboxes.rows import known_generation, known_snapshot
from limpet.control.sandboxes.saving import Saving
from limpet.control.sandboxes.sending import receipt_in, restore_into
from limpet.control.sandboxes.streams import from_thread
from limpet.control.sandboxes.templates_seed import Author, seed_tar
from limpet.control.templates import Template
from limpet.errors import (
    ConflictError,
    LimpetError,
    SnapshotDamagedError,
    StoreUnavailableError,
)
from limpet.ids import BootId, Handle, SnapshotId
from limpet.runners.daemon_client import QUICK_TIMEOUT_S, DaemonClient
from limpet.snapshots.repository import MAIN, Head

log = structlog.get_logger(__name__)

STORE_RETRY_S = 1.0
STORE_ANSWER_S = 10.0
STORE_HINT = (
    "Start again when the store is back, or start without the saved snapshot: nothing is lost, the "
    "new work is then kept aside."
)


@dataclass(frozen=True, slots=True)
class Prepared:
    """What became of the workspace, and what the row is to say of it."""

    decision: Decision
    receipt: dict[str, Any] | None
    columns: dict[str, Any]


@dataclass(slots=True)
class _Start:
    """One start's facts, as they are found."""

    key: SandboxKey
    row: SandboxRow
    agent: AgentRow
    client: DaemonClient
    boot_id: BootId
    origin: Origin
    live: bool
    busy: bool
    without_snapshot: bool
    lookup: Lookup
    damaged: dict[SnapshotId, Candidate] = field(default_factory=dict)
    receipt: dict[str, Any] | None = None
    waiting_told: bool = False
    kept_aside: bool = False
    secured: bool = False

    def situation(self) -> Situation:
        known, detached = known_snapshot(self.row), self.row.detached
        return Situation(
            lookup=self.lookup,
            origin=self.origin,
            last_known=Candidate(known, self.row.generation) if known and not detached else None,
            detached=detached,
            pinned=known if detached else None,
            live=self.live,
            busy=self.busy,
            without_snapshot=self.without_snapshot,
            seedable=self.agent.template is not None,
        )


class Restoring:
    """Brings a workspace to where it should be, before anything runs in it."""

    def __init__(self, parts: Parts, saving: Saving) -> None:
        self._parts = parts
        self._saving = saving

    async def prepare(
        self,
        key: SandboxKey,
        row: SandboxRow,
        agent: AgentRow,
        client: DaemonClient,
        *,
        live: bool,
        without_snapshot: bool,
    ) -> Prepared:
        """Do what this start has to do with the workspace.

        Raises `StoreUnavailableError` when the store is needed and did not answer in time, or
        does not hold what was saved in it.
        """
        origin = await origin_of(client)
        busy = False
        if live and origin.unsaved:
            idle = await idle_of(client)
            busy = idle.idle_ms < self._parts.settings.idle_s * 1000
        boot_id = (await client.health(timeout_s=QUICK_TIMEOUT_S)).boot_id
        start = _Start(
            key, row, agent, client, boot_id, origin, live, busy, without_snapshot, NoSnapshot()
        )
        deadline = time.monotonic() + self._parts.settings.store_wait_s
        while True:
            await self._look_up(start, deadline)
            decision = decide(start.situation())
            try:
                became = await self._carry_out(start, decision)
            except SnapshotDamagedError as error:
                assert decision.head is not None
                log.warning(
                    "snapshot_damaged", snapshot=decision.head.snapshot, error=error.message
                )
                start.damaged[decision.head.snapshot] = decision.head
                continue
            except StoreUnavailableError as error:
                if decision.action == "ask" or time.monotonic() >= deadline:
                    raise StoreUnavailableError(error.message, hint=STORE_HINT) from error
                log.warning("store_lost_while_restoring", error=error.message)
                await self._wait_for_store(start, deadline)
                continue
            if start.kept_aside and became.action != "restore":
                became = replace(became, message=f"{became.message} {KEPT_ASIDE}")
            return await self._prepared(start, became)

    # -- looking -------------------------------------------------------------------------------

    async def _look_up(self, start: _Start, deadline: float) -> None:
        """Ask the store, again and again while it does not give a needed answer and there is time.

        One that answers and is empty is not asked again: waiting puts nothing into it.
        """
        while True:
            within_s = max(deadline - time.monotonic(), STORE_ANSWER_S)
            start.lookup = await self.lookup(start.key, start.damaged, within_s=within_s)
            try:
                async with asyncio.timeout(within_s):
                    await self._see_what_is_unsaved(start)
            except StoreUnavailableError as error:
                start.lookup = Unreachable(error.message)
            except TimeoutError:
                start.lookup = _no_answer(within_s)
            asks = decide(start.situation()).action == "ask"
            if not (asks and isinstance(start.lookup, Unreachable)):
                return
            if time.monotonic() >= deadline:
                return
            await self._wait_for_store(start, deadline)

    async def _see_what_is_unsaved(self, start: _Start) -> None:
        """Work that was saved into another store is unsaved in this one."""
        if start.secured or start.origin.unsaved or not isinstance(start.lookup, Found):
            return
        here = start.origin.snapshot
        if here == start.lookup.usable.snapshot or await self._saving.holds(start.key, here):
            return
        log.warning("saved_in_another_store", snapshot=here, branch=start.key.branch)
        start.origin = replace(start.origin, unsaved=True)

    async def _wait_for_store(self, start: _Start, deadline: float) -> None:
        """A pause before the store is asked again; `ConflictError` when a stop is wanted."""
        if not start.waiting_told:
            self._parts.phase(start.key, "waiting-for-store")
            start.waiting_told = True
        if start.key in self._parts.stop_wanted:
            raise ConflictError("The start was given up, since the sandbox is to stop")
        await asyncio.sleep(min(STORE_RETRY_S, max(deadline - time.monotonic(), 0.0)))

    async def lookup(
        self,
        key: SandboxKey,
        known_damaged: Mapping[SnapshotId, Candidate] | None = None,
        *,
        within_s: float = STORE_ANSWER_S,
    ) -> Lookup:
        """What the store holds of the branch's main lineage.

        What an earlier try of the same start found damaged (`known_damaged`) stays damaged. A
        store that hangs for `within_s` seconds counts as one that cannot be reached.
        """
        try:
            async with asyncio.timeout(within_s):
                found = await self._parts.repository.lookup(ref_of(key))
                damaged = {one.snapshot: one for one in _candidates(found.damaged)}
                damaged |= known_damaged or {}
                usable = found.head
                if usable is not None and usable.snapshot in damaged:
                    usable = await self._older(key, set(damaged))
        except StoreUnavailableError as error:
            return Unreachable(error.message)
        except TimeoutError:
            return _no_answer(within_s)
        newest_first = sorted(damaged.values(), key=lambda one: one.generation, reverse=True)
        if usable is None:
            return AllDamaged(tuple(newest_first)) if newest_first else NoSnapshot()
        above = tuple(one for one in newest_first if one.generation > usable.generation)
        forked = usable.reason == "fork"
        return Found(Candidate(usable.snapshot, usable.generation, forked), above)

    async def _older(self, key: SandboxKey, damaged: set[SnapshotId]) -> Head | None:
        """The newest head of the main lineage that is not known to be damaged."""
        heads = [
            head
            for head in await self._parts.repository.history(ref_of(key))
            if head.lineage == MAIN and head.snapshot not in damaged
        ]
        return max(heads, key=lambda head: head.generation, default=None)

    # -- doing ---------------------------------------------------------------------------------

    async def _carry_out(self, start: _Start, decision: Decision) -> Decision:
        """Do it; gives what became of it.

        Raises `SnapshotDamagedError` when the snapshot to restore turns out to be unusable, and
        `StoreUnavailableError` when the store is needed and away.
        """
        if decision.action == "ask":
            raise StoreUnavailableError(decision.message, hint=STORE_HINT)
        if decision.action == "seed":
            return await self._begin(start, decision)
        if decision.action != "restore" or decision.head is None:
            return decision
        if decision.save_aside and start.origin.unsaved:
            try:
                await self._keep_aside(start)
            except StoreUnavailableError:
                raise
            except LimpetError as error:
                return _failed(
                    decision, f"The unsaved work could not be kept aside first: {error.message}"
                )
        try:
            await self._restore(start, decision.head)
        except (SnapshotDamagedError, StoreUnavailableError):
            raise
        except LimpetError as error:
            return _failed(decision, f"The snapshot could not be restored: {error.message}")
        return decision

    async def _keep_aside(self, start: _Start) -> None:
        why = "detached" if start.row.detached else "behind-head"
        head = await self._saving.save_aside(start.key, start.row, start.client, start.origin, why)
        start.origin = replace(start.origin, unsaved=False)
        start.secured = True
        start.kept_aside = head is not None
        log.info("work_kept_aside", snapshot=head.snapshot if head else None, why=why)

    async def _restore(self, start: _Start, candidate: Candidate) -> None:
        parts = self._parts
        head = await parts.repository.find(ref_of(start.key), candidate.snapshot)
        if head is None:
            raise SnapshotDamagedError(f"The snapshot {candidate.snapshot} is gone from the store")
        start.receipt = await restore_into(parts, start.key, start.client, head)

    async def _begin(self, start: _Start, decision: Decision) -> Decision:
        """Begin from the agent's template: with all installed where that is at hand."""
        assert start.agent.template is not None
        template = self._parts.templates.get(start.agent.template)
        author = await self.author(start.agent)
        is_first = decision.outcome == "template" and isinstance(start.lookup, NoSnapshot)
        if is_first and known_snapshot(start.row) is None:
            installed = await self._begin_installed(start, template, author)
            if installed is not None:
                start.lookup = Found(installed)
                return replace(decision, action="restore", head=installed, at=installed)
            await self._parts.template_builds.want(template, Handle(start.row.handle))
        await self._seed(start, template, author)
        return decision

    async def _begin_installed(
        self, start: _Start, template: Template, author: Author
    ) -> Candidate | None:
        """Restore the template as it was installed before; None when that cannot be."""
        builds, ref = self._parts.template_builds, ref_of(start.key)
        try:
            found = await builds.find(template)
            if found is None:
                return None
            head = await builds.begin(found, ref, author, fencing=start.row.fencing)
        except LimpetError as error:
            log.warning("template_not_at_hand", template=template.name, error=error.message)
            return None
        candidate = Candidate(head.snapshot, head.generation)
        try:
            start.receipt = await restore_into(self._parts, start.key, start.client, head)
        except StoreUnavailableError:
            raise
        except LimpetError as error:
            log.warning("template_not_restored", template=template.name, error=error.message)
            start.lookup = Found(candidate)
            return None
        return candidate

    async def _seed(self, start: _Start, template: Template, author: Author) -> None:
        """Lay the template out in the empty workspace."""
        cache: Path = self._parts.settings.data_dir / "cache" / "templates"
        chunks = from_thread(seed_tar(template, start.key.branch, author, cache))
        told = await start.client.restore(chunks, {})
        start.receipt = receipt_in(told)
        start.origin = Origin(unsaved=False, empty=False)

    async def author(self, agent: AgentRow) -> Author:
        """Who commits on behalf of the agent: the user who made it."""
        async with self._parts.rows.db.reading() as session:
            user = await session.get(UserRow, agent.created_by)
            org = await session.get(OrgRow, agent.org_id)
        name = (user.name if user else None) or (org.name if org else None) or "Limpet"
        email = (user.email if user else None) or f"{agent.created_by}@limpet.invalid"
        return Author(name, email)

    # -- telling -------------------------------------------------------------------------------

    async def _prepared(self, start: _Start, decision: Decision) -> Prepared:
        """What the row is to say; the daemon is told whether its saves may move the head."""
        row, client = start.row, start.client
        pinned = None
        if decision.detached:
            known = SnapshotId(row.pinned_snapshot) if row.pinned_snapshot else None
            pinned = decision.pinned or known
        now = await origin_of(client)
        if now.detached != decision.detached:
            await client.detach(decision.detached, pinned=pinned)
        columns: dict[str, Any] = {
            "detached": decision.detached,
            "pinned_snapshot": pinned,
            "boot_id": start.boot_id,
        }
        if not decision.detached:
            columns["detached_reason"] = None
        elif decision.outcome != "kept" or not row.detached:
            columns["detached_reason"] = decision.message
        columns |= _head_columns(start, decision)
        same_boot = row.boot_id == start.boot_id
        if decision.action != "keep" or not same_boot:
            seq = (await idle_of(client)).activity_seq
            # What a template gave is in no snapshot yet; an empty workspace needs none.
            unsaved = decision.action == "seed" or (
                decision.action == "keep" and (now.unsaved or start.origin.unsaved)
            )
            columns["activity_seq_saved"] = None if unsaved else seq
        return Prepared(decision, start.receipt, columns)


def _no_answer(within_s: float) -> Unreachable:
    return Unreachable(f"it did not answer within {within_s:.0f} s")


def _failed(decision: Decision, why: str) -> Decision:
    """The start goes on, without the snapshot that it should have had."""
    assert decision.head is not None
    return Decision("keep", "failed", why, detached=True, pinned=decision.head.snapshot)


def _head_columns(start: _Start, decision: Decision) -> dict[str, Any]:
    """Which head the next save of this sandbox comes after."""
    if decision.detached:
        if start.row.detached:
            return {}
        return {"head_snapshot": start.origin.snapshot, "generation": 0}
    top = top_generation(start.lookup)
    if top is None or (decision.action == "keep" and start.live and not start.row.detached):
        return {}
    if isinstance(start.lookup, NoSnapshot) and known_snapshot(start.row) is not None:
        return {}
    at = decision.at.snapshot if decision.at else None
    return {"head_snapshot": at, "generation": max(top, known_generation(start.row))}


def _candidates(heads: Any) -> list[Candidate]:
    return [
        Candidate(one.snapshot or SnapshotId(f"generation-{one.generation}"), one.generation)
        for one in heads
    ]
