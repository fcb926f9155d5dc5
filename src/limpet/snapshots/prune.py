"""Deleting what nobody needs any more, in two phases at least 24 hours apart.

First what is to go is condemned: a record in the store names it. Later runs look at records that
are old enough, by the clock here and by the store's, leave out what is needed again, and delete the
rest, the record last. Snapshots go first, by retention or because people deleted them; packs and
tars follow when no snapshot names them any more. docs/decisions/0017-prune.md tells why no save can
lose anything by it, however slow it is.
"""

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final, Literal

from limpet.errors import ConflictError
from limpet.ids import AgentId, OrgId, SnapshotId
from limpet.snapshots.ahead import each
from limpet.snapshots.check_packs import packs_of
from limpet.snapshots.condemned import GRACE, Condemned, CondemnedObjects
from limpet.snapshots.damaged_space import note_key
from limpet.snapshots.faults import reach
from limpet.snapshots.lineage import Head
from limpet.snapshots.retention import Dated, RetentionPolicy, by_lineage, retained
from limpet.snapshots.reuse import awake_or_asleep_s
from limpet.snapshots.snapshot_names import GivenNames, SnapshotNames, is_kept_by_people, turn_of
from limpet.snapshots.stored_heads import heads_folder, is_head_key, read_heads
from limpet.snapshots.tars import stored_tar_key
from limpet.stores.base import SandboxStore, StoredObject
from limpet.stores.keys import TEMPLATES_ORG, safe_org

Phase = Literal["reading", "deleting"]
OnProgress = Callable[[Phase, int, int], None]
"""Told how many of how many things of a phase are done."""
PRUNE_STEPS: Final = (
    "prune-objects-deleted", "prune-record-dropped", "prune-heads-condemned",
    "prune-objects-condemned",
)  # fmt: skip
"""Every point where a prune can be made to die (`LIMPET_FAULT=<point>:kill`)."""
YOUNG: Final = timedelta(hours=12)
"""What no snapshot names may belong to a save under way; one that takes over 6 hours never
commits."""
DAMAGED_KEPT: Final = timedelta(days=30)
"""For so long the copies stay that repairs made of what was damaged."""
RUN_WITHIN_S: Final = 900.0
"""A run that was held up for longer deletes nothing any more: what it has read is too old."""
_AT_ONCE: Final = 16


class PruneRefusedError(ConflictError):
    """A head cannot be read, so that nobody knows what it needs."""

    code = "prune_refused"


class PruneStoppedError(ConflictError):
    """The run was held up for too long; the next one goes on."""

    code = "prune_stopped"


@dataclass(frozen=True, slots=True)
class PruneRules:
    """What is kept of an org. `keep` are snapshots in use: sandboxes grew from them, or wait for
    them. `given_up` are branches of which not even the newest is kept for its own sake."""

    policy_of: Callable[[AgentId], RetentionPolicy] = lambda _agent: RetentionPolicy()
    keep: Collection[SnapshotId] = ()
    given_up: Callable[[Dated], bool] = lambda _newest: False


@dataclass(slots=True)
class PruneReport:
    """What a run did. Bytes are those of the objects in the store."""

    snapshots: int = 0
    """That there were when it began."""
    condemned_snapshots: int = 0
    condemned_objects: int = 0
    condemned_bytes: int = 0
    spared: int = 0
    """Condemned before, and needed again."""
    deleted_snapshots: int = 0
    deleted_objects: int = 0
    deleted_bytes: int = 0
    waiting: int = 0
    """Condemned, and not old enough."""
    dry_run: bool = False


@dataclass(slots=True)
class _Heads:
    """What the heads say, as far as a prune must know."""

    dated: dict[str, Dated] = field(default_factory=dict)
    """By their keys."""
    needed: set[str] = field(default_factory=set)
    """The keys of packs and tars."""


async def prune(
    store: SandboxStore,
    org: OrgId,
    rules: PruneRules,
    *,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
    still_ours: Callable[[], Awaitable[None]] | None = None,
    dry_run: bool = False,
    on_progress: OnProgress | None = None,
) -> PruneReport:
    """One run over an org, or over the templates' space.

    `still_ours` raises when another server prunes now; it is asked before anything is deleted.
    A dry run tells what would be done and does nothing. Raises `PruneRefusedError`,
    `PruneStoppedError`, `StoreUnavailableError`; what was not done is done by a later run.
    """
    run = _Prune(store, org, rules, now, still_ours, on_progress, dry_run=dry_run)
    await run.read()
    await run.delete_due()
    await run.condemn()
    return run.report


class _Prune:
    """One run."""

    def __init__(
        self,
        store: SandboxStore,
        org: OrgId,
        rules: PruneRules,
        now: Callable[[], datetime],
        still_ours: Callable[[], Awaitable[None]] | None,
        on_progress: OnProgress | None,
        *,
        dry_run: bool,
    ) -> None:
        self.report = PruneReport(dry_run=dry_run)
        self._heads = _Heads()
        self._store = store
        self._org = org
        self._rules = rules
        self._now = now
        self._still_ours = still_ours
        self._on_progress = on_progress
        self._condemned = CondemnedObjects(store, org)
        self._names = SnapshotNames(store)
        self._given: GivenNames = {}
        self._records: list[Condemned] = []
        self._expired: set[str] = set()
        self._store_now_s = 0.0
        self._began_s = 0.0

    # -- reading -------------------------------------------------------------------------------

    async def read(self) -> None:
        """Everything that the run goes by. The records come first: what is needed again since
        they were written is seen then."""
        self._began_s = awake_or_asleep_s()
        self._store_now_s = await self._clock_of_store()
        self._records = await self._condemned.records()
        self._given = await self._names.of_org(self._org)
        await self._read_heads(heads_folder(self._org), own=True)
        if self._org == TEMPLATES_ORG:
            await self._read_heads("v1/", own=False)
        self.report.snapshots = len(self._heads.dated)
        self._expired = self._find_expired()

    async def _clock_of_store(self) -> float:
        """What the store's clock says now, in seconds since 1970."""
        now = self._now()
        if self.report.dry_run:
            return now.timestamp()
        key = f"v1/{safe_org(self._org)}/pruned"
        await self._store.put(key, json.dumps({"at": now.isoformat()}).encode())
        seen = await self._store.head(key)
        return seen.modified_at_s if seen is not None else 0.0

    async def _read_heads(self, prefix: str, *, own: bool) -> None:
        keys = [one.key async for one in self._store.list(prefix) if is_head_key(one.key)]
        there = frozenset(keys)
        done = 0
        async for stored in read_heads(self._store, keys):
            done += 1
            self._tell("reading", done, len(keys))
            if stored.head is not None:
                self._take(stored.key, stored.head, own=own)
            elif stored.belongs not in there and not await self._is_set_aside(stored.key):
                raise PruneRefusedError(
                    f"Nothing was deleted: the head {stored.key} cannot be used, {stored.why}",
                    hint="Run `limpet check --repair` first: it keeps what is whole.",
                )

    async def _is_set_aside(self, key: str) -> bool:
        """Whether a repair has noted that the head cannot be used."""
        return await self._store.head(note_key(key)) is not None

    def _take(self, key: str, head: Head, *, own: bool) -> None:
        if own:
            self._heads.dated[key] = Dated(
                head.ref,
                head.lineage,
                head.generation,
                head.snapshot,
                head.created_at,
                named=is_kept_by_people(head, self._given),
                of_turn=turn_of(head, self._given) is not None,
            )
        needed = self._heads.needed
        if head.packed is None:
            needed.add(stored_tar_key(head))
        else:
            needed.update(pack.key(head.ref.org) for pack in packs_of(head.packed))

    def _find_expired(self) -> set[str]:
        """The keys of the heads that retention does not keep."""
        kept: set[SnapshotId] = set()
        now = self._now()
        for (ref, _), snapshots in by_lineage(self._heads.dated.values()).items():
            newest = max(snapshots, key=lambda one: one.generation)
            if self._rules.given_up(newest):
                kept |= {
                    one.snapshot
                    for one in snapshots
                    if one.named or one.snapshot in self._rules.keep
                }
                continue
            policy = self._rules.policy_of(ref.agent)
            kept |= retained(snapshots, policy, now, keep=self._rules.keep)
        return {key for key, one in self._heads.dated.items() if one.snapshot not in kept}

    # -- the second phase ----------------------------------------------------------------------

    async def delete_due(self) -> None:
        """Delete what was condemned long enough ago and is not needed again."""
        report = self.report
        due = [record for record in self._records if self._is_due(record)]
        report.waiting = sum(len(record.keys) for record in self._records if record not in due)
        total, done = sum(len(record.keys) for record in due), 0
        for record in due:
            going = sorted(key for key in record.keys if not self._is_needed(record, key))
            report.spared += len(record.keys) - len(going)
            done += len(record.keys) - len(going)
            for start in range(0, len(going), _AT_ONCE):
                group = going[start : start + _AT_ONCE]
                await self._may_go_on()
                if not await self._condemned.holds(record):
                    break  # a repair, or another run, has taken it back
                await each(group, self._delete, at_once=_AT_ONCE)
                reach("prune-objects-deleted")
                done += len(group)
                self._tell("deleting", done, total)
            await self._may_go_on()
            if not report.dry_run:
                await self._condemned.drop(record)
                reach("prune-record-dropped")
        if not report.dry_run:
            await self._condemned.drop_unreadable()

    def _is_due(self, record: Condemned) -> bool:
        """Whether a record is old enough, whichever clock was moved."""
        here = self._now() - record.at
        there = timedelta(seconds=self._store_now_s - record.stored_at_s)
        return min(here, there) >= GRACE

    def _is_needed(self, record: Condemned, key: str) -> bool:
        head = self._heads.dated.get(key)
        if head is None:
            return key in self._heads.needed
        if head.snapshot in self._rules.keep or head.named:
            return True
        return record.why == "retention" and key not in self._expired

    async def _delete(self, key: str) -> None:
        seen = await self._store.head(key)
        if seen is None:
            return  # by a run that was cut short
        if not self.report.dry_run:
            await self._store.delete(key)
        head = self._heads.dated.get(key)
        if head is None:
            self.report.deleted_objects += 1
            self.report.deleted_bytes += seen.size_bytes
            return
        self.report.deleted_snapshots += 1
        if head.snapshot in self._given and not self.report.dry_run:
            await self._names.forget(head.ref, head.snapshot)

    async def _may_go_on(self) -> None:
        if self.report.dry_run:
            return
        if self._still_ours is not None:
            await self._still_ours()
        if awake_or_asleep_s() - self._began_s > RUN_WITHIN_S:
            raise PruneStoppedError(
                "The prune was held up for too long", hint="The next one goes on where it stopped."
            )

    # -- the first phase -----------------------------------------------------------------------

    async def condemn(self) -> None:
        """Condemn what is not needed and is not condemned yet."""
        report = self.report
        known = frozenset().union(*(record.keys for record in self._records))
        heads = sorted(self._expired - known)
        report.condemned_snapshots = len(heads)
        unnamed = [one async for one in self._unnamed() if one.key not in known]
        report.condemned_objects = len(unnamed)
        report.condemned_bytes = sum(one.size_bytes for one in unnamed)
        if report.dry_run:
            return
        if heads:
            await self._condemned.add("retention", heads, at=self._now())
            reach("prune-heads-condemned")
        if unnamed:
            await self._condemned.add("unnamed", [one.key for one in unnamed], at=self._now())
            reach("prune-objects-condemned")

    async def _unnamed(self) -> AsyncIterator[StoredObject]:
        """Packs and tars of the org that no head names, and old copies of what was damaged."""
        space = f"v1/{safe_org(self._org)}"
        for folder in ("packs", "trees", "tars"):
            async for seen in self._store.list(f"{space}/{folder}/"):
                if seen.key not in self._heads.needed and self._is_over(seen, YOUNG):
                    yield seen
        async for seen in self._store.list(f"{space}/damaged/"):
            if not seen.key.endswith(".note") and self._is_over(seen, DAMAGED_KEPT):
                yield seen

    def _is_over(self, seen: StoredObject, age: timedelta) -> bool:
        return self._store_now_s - seen.modified_at_s >= age.total_seconds()

    def _tell(self, phase: Phase, done: int, total: int) -> None:
        if self._on_progress is not None:
            self._on_progress(phase, done, total)
