"""Savers and prunes that stop anywhere and go on hours or weeks later, by a seeded schedule.

Two servers save into one store, with dedup indexes of their own; prunes run beside them. Each of
them is held at random puts and deletes while the others go on and time passes, by the clocks here
and by the store's. When the schedule ends all are let go; every snapshot that is left must then
come back bit for bit.
"""

import asyncio
import os
import random
import shutil
import tempfile
from collections.abc import Coroutine, Iterable
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest import mock

from limpet.errors import ConflictError, LimpetError
from limpet.ids import AgentId, Branch, OrgId
from limpet.snapshots.check import check
from limpet.snapshots.lineage import BranchRef, Head
from limpet.snapshots.prune import PruneReport, PruneRules, prune
from limpet.snapshots.repository import SaveSupersededError, SnapshotRepository
from limpet.snapshots.retention import RetentionPolicy
from limpet.snapshots.stored_heads import stored_head_key
from limpet.stores.base import Condition, StoredObject
from limpet.stores.local import LocalStore
from tests.snapshots.packed_streams import in_pieces, opened, save_stream, tree_of
from tests.snapshots.packed_trees import PackedTree

ORG = OrgId("acme")
BRANCHES = [BranchRef(ORG, AgentId("a"), Branch(name)) for name in ("main", "other")]
RULES = PruneRules(lambda _agent: RetentionPolicy(last=2, hours=2, days=0))
_actor: ContextVar["Actor | None"] = ContextVar("actor", default=None)


@dataclass
class Counts:
    """What the schedules came to."""

    schedules: int = 0
    saves: int = 0
    refused: int = 0
    superseded: int = 0
    prunes: int = 0
    condemned: int = 0
    deleted: int = 0
    spared: int = 0
    verified: int = 0

    def add(self, other: "Counts") -> None:
        for name in self.__dataclass_fields__:
            setattr(self, name, getattr(self, name) + getattr(other, name))


class Actor:
    """A save or a prune that is held before some of its puts and deletes."""

    def __init__(self, work: Coroutine[Any, Any, None], holds_at: set[int]) -> None:
        self.moved = asyncio.Event()
        self._go_on = asyncio.Event()
        self._holds_at = holds_at
        self._count = 0
        self.since_s = 0.0
        token = _actor.set(self)
        self.task = asyncio.create_task(work)
        _actor.reset(token)
        self.task.add_done_callback(lambda _: self.moved.set())

    async def pass_gate(self) -> None:
        self._count += 1
        if self._count in self._holds_at:
            self._go_on.clear()
            self.moved.set()
            await self._go_on.wait()

    async def settle(self) -> None:
        """Wait until it is held again, or done."""
        await self.moved.wait()

    async def step(self) -> None:
        """Let it go on to where it is held next."""
        self.moved.clear()
        if self.task.done():
            return
        self._go_on.set()
        await self.settle()

    async def finish(self) -> None:
        self._holds_at = set()
        while not self.task.done():
            await self.step()


class GatedStore(LocalStore):
    """A local store in which every put and delete is a gate."""

    async def put(self, key: str, body: Any, *, condition: Condition | None = None) -> StoredObject:
        actor = _actor.get()
        if actor is not None and not key.endswith("/pruned"):
            await actor.pass_gate()
        return await super().put(key, body, condition=condition)

    async def delete(self, key: str) -> None:
        actor = _actor.get()
        if actor is not None:
            await actor.pass_gate()
        await super().delete(key)


@dataclass
class World:
    """One schedule's store, clocks and actors."""

    seed: int
    folder: Path
    counts: Counts = field(default_factory=lambda: Counts(schedules=1))
    now_s: float = 0.0
    actors: list[Actor] = field(default_factory=list)
    saved: dict[str, PackedTree] = field(default_factory=dict)
    """The trees of the snapshots that were acknowledged, by their root digests."""

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.began = datetime.now(UTC)
        self.store = GatedStore(self.folder / "store")
        self.servers = [
            SnapshotRepository(self.store, self.folder / f"cache-{n}") for n in range(2)
        ]
        noise = random.Random(self.seed + 1)
        self.pool = [noise.randbytes(noise.choice((50, 3000, 40_000))) for _ in range(4)]

    def clock(self) -> float:
        return self.now_s

    def now(self) -> datetime:
        return self.began + timedelta(seconds=self.now_s)

    def passes(self, seconds: float) -> None:
        """Time passes for everybody, the store's objects too."""
        self.now_s += seconds
        for path in (self.folder / "store").rglob("*"):
            if path.is_file():
                seen = path.stat()
                then = seen.st_mtime_ns - int(seconds * 1e9)
                os.utime(path, ns=(seen.st_atime_ns, then))

    async def run(self, steps: int) -> None:
        for _ in range(steps):
            act = self.random.choices(
                ("save", "prune", "step", "time", "delete", "adopt"), (8, 6, 8, 5, 2, 1)
            )[0]
            await getattr(self, f"_{act}")()
        for actor in self.actors:
            await actor.finish()
            await actor.task
        await self._verify()

    # -- acts ----------------------------------------------------------------------------------

    async def _start(self, work: Coroutine[Any, Any, None], *, most: int, least: int = 0) -> None:
        holds = {self.random.randint(1, most) for _ in range(self.random.randint(least, 2))}
        actor = Actor(work, holds)
        actor.since_s = self.now_s
        self.actors.append(actor)
        await actor.settle()

    async def _save(self) -> None:
        chosen = self.random.sample(self.pool, self.random.randint(1, 2))
        tree = tree_of({f"f{n}": blob for n, blob in enumerate(chosen)} | {"d": {"x": chosen[0]}})
        ref, server = self.random.choice(BRANCHES), self.random.choice(self.servers)
        found = await server.lookup(ref)
        base = found.head if self.random.random() < 0.7 else None
        generation = found.head.generation if found.head else 0
        before = self.saved.get(base.blake3) if base else None

        async def work() -> None:
            try:
                saved = await server.save_packed(
                    ref, in_pieces(save_stream(tree, before)), base=base if before else None,
                    reason="manual", parent=None, fencing=1, expected_generation=generation,
                )  # fmt: skip
                self.saved[saved.head.blake3] = tree
                self.counts.saves += 1
            except SaveSupersededError as error:
                self.saved[error.head.blake3] = tree
                self.counts.superseded += 1
            except ConflictError:
                self.counts.refused += 1

        await self._start(work(), most=4)

    async def _adopt(self) -> None:
        server = self.random.choice(self.servers)
        heads = await server.history(self.random.choice(BRANCHES))
        if not heads:
            return
        target, ref = self.random.choice(heads), self.random.choice(BRANCHES)
        found = await server.lookup(ref)

        async def work() -> None:
            try:
                await server.adopt(
                    target, ref=ref, reason="rollback", parent=None, fencing=1,
                    expected_generation=found.head.generation if found.head else 0,
                )  # fmt: skip
                self.counts.saves += 1
            except SaveSupersededError:
                self.counts.superseded += 1
            except LimpetError:
                self.counts.refused += 1

        await self._start(work(), most=1)

    async def _prune(self) -> None:
        async def work() -> None:
            self.counts.prunes += 1
            try:
                report = await prune(self.store, ORG, RULES, now=self.now)
            except ConflictError:
                return
            self._count(report)

        await self._start(work(), most=6, least=1)

    def _count(self, report: PruneReport) -> None:
        self.counts.condemned += report.condemned_objects + report.condemned_snapshots
        self.counts.deleted += report.deleted_objects + report.deleted_snapshots
        self.counts.spared += report.spared

    async def _delete(self) -> None:
        heads = await self.servers[0].history(self.random.choice(BRANCHES))
        if len(heads) > 1:
            condemned = self.servers[0].condemned(ORG)
            gone = self.random.choice(heads[1:])
            await condemned.add("deleted", [stored_head_key(gone)], at=self.now())

    async def _step(self) -> None:
        held = [actor for actor in self.actors if not actor.task.done()]
        if held:
            await self.random.choice(held).step()

    async def _time(self) -> None:
        self.passes(self.random.choice((60.0, 600.0, 4 * 3600.0, 13 * 3600.0, 25 * 3600.0)))

    # -- in the end ----------------------------------------------------------------------------

    async def _verify(self) -> None:
        fresh = SnapshotRepository(self.store)
        for ref in BRANCHES:
            for head in await fresh.history(ref):
                await self._comes_back(fresh, head)
        damage = [one async for one in check(self.store, ORG, read_data=True) if one.damage]
        assert not damage, f"seed {self.seed}: {damage}"

    async def _comes_back(self, fresh: SnapshotRepository, head: Head) -> None:
        await fresh.verify(head)
        tree = self.saved[head.blake3]
        found = await opened(await fresh.open_packed(head))
        assert (found.data, found.trees) == (tree.data, tree.trees), f"seed {self.seed}"
        self.counts.verified += 1


async def run_schedule(seed: int, steps: int = 80) -> Counts:
    """One schedule; raises when anything that is left does not come back."""
    folder = Path(tempfile.mkdtemp(prefix="limpet-prune-"))
    try:
        world = World(seed, folder)
        with (
            mock.patch("limpet.snapshots.prune.awake_or_asleep_s", world.clock),
            mock.patch("limpet.snapshots.repository.awake_or_asleep_s", world.clock),
        ):
            try:
                await world.run(steps)
            finally:
                for actor in world.actors:
                    await actor.finish()
                    await asyncio.gather(actor.task, return_exceptions=True)
        return world.counts
    finally:
        shutil.rmtree(folder)


async def run_schedules(seeds: Iterable[int]) -> Counts:
    """Several; what they came to."""
    total = Counts()
    for seed in seeds:
        total.add(await run_schedule(seed))
    return total
