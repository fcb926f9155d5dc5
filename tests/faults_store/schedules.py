"""Short histories over a faulty network, each by a seed: what was acknowledged is never lost.

Two servers save, go back, read and look around on one branch of one bucket. Each act may fail, with
an error that says so. When the network is well again, everything that was said to be saved must be
in the history and come back bit for bit, and nothing may be damaged.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from unittest import mock

from limpet.errors import ConflictError, LimpetError
from limpet.ids import AgentId, Branch, OrgId
from limpet.snapshots.check import check
from limpet.snapshots.lineage import MAIN, BranchRef, Head
from limpet.snapshots.prune import PruneRules, prune
from limpet.snapshots.repository import SaveSupersededError, SnapshotRepository
from limpet.stores import objectstore
from limpet.stores.base import SandboxStore
from limpet.stores.settings import BUCKET, ENDPOINT, FORCE_PATH_STYLE, PREFIX, open_store
from tests.faults_store.proxy import FaultyProxy
from tests.snapshots.packed_streams import in_pieces, opened, save_stream, tree_of
from tests.snapshots.packed_trees import PackedTree

ORG = OrgId("acme")
REF = BranchRef(ORG, AgentId("a"), Branch("main"))
ACTS = ("save", "save", "save", "restore", "adopt", "history", "name", "prune")
ACTS_EACH = 6
WITHIN_S = 60.0
"""No act takes longer, whatever the network does."""


@contextmanager
def short_waits() -> Iterator[None]:
    """Clients that give up soon: what they wait for is the same."""
    client = {"connect_timeout": "300ms", "read_timeout": "300ms", "timeout": "350ms"}
    retries = {
        "max_retries": 2,
        "retry_timeout": timedelta(seconds=5),
        "backoff": {
            "init_backoff": timedelta(milliseconds=5),
            "max_backoff": timedelta(milliseconds=20),
            "base": 2,
        },
    }
    with (
        mock.patch.dict(objectstore.CLIENT, client),
        mock.patch.dict(objectstore.RETRIES, retries),
    ):
        yield


@dataclass
class Counts:
    """What the schedules came to."""

    schedules: int = 0
    requests: int = 0
    harmed: int = 0
    acknowledged: int = 0
    aside: int = 0
    failed: int = 0
    restored: int = 0
    verified: int = 0
    faults: Counter[str] = field(default_factory=Counter)

    def add(self, other: "Counts") -> None:
        for name in self.__dataclass_fields__:
            setattr(self, name, getattr(self, name) + getattr(other, name))


class Server:
    """One of the two that share the branch."""

    def __init__(self, schedule: "Schedule", number: int) -> None:
        self.schedule = schedule
        self.random = random.Random(schedule.seed * 2 + number)
        self.store = schedule.store(schedule.proxied)
        self.repository = SnapshotRepository(self.store, schedule.folder / f"cache-{number}")

    async def run(self) -> None:
        for _ in range(ACTS_EACH):
            act = self.random.choice(ACTS)
            try:
                async with asyncio.timeout(WITHIN_S):
                    await getattr(self, f"_{act}")()
            except SaveSupersededError as error:
                self.schedule.counts.aside += 1
                self.schedule.acknowledged.append(error.head)
            except LimpetError:
                self.schedule.counts.failed += 1

    async def _save(self) -> None:
        tree = self.schedule.a_tree(self.random)
        head = (await self.repository.lookup(REF)).head
        base = head if head is not None and self.random.random() < 0.7 else None
        before = self.schedule.trees.get(base.blake3) if base else None
        stream = in_pieces(save_stream(tree, before if base else None))
        self.schedule.trees[tree.root.digest] = tree
        saved = await self.repository.save_packed(
            REF, stream, base=base, reason="manual", parent=head.snapshot if head else None,
            fencing=1, expected_generation=head.generation if head else 0,
        )  # fmt: skip
        self._acknowledge(saved.head)

    async def _adopt(self) -> None:
        history = await self.repository.history(REF)
        head = (await self.repository.lookup(REF)).head
        if history and head is not None:
            target = self.random.choice(history)
            self._acknowledge(
                await self.repository.adopt(
                    target, ref=REF, reason="rollback", parent=head.snapshot, fencing=1,
                    expected_generation=head.generation,
                )
            )  # fmt: skip

    async def _restore(self) -> None:
        head = (await self.repository.lookup(REF)).head
        if head is not None:
            found = await opened(await self.repository.open_packed(head))
            tree = self.schedule.trees[head.blake3]
            assert (found.data, found.trees) == (tree.data, tree.trees), self.schedule.seed
            self.schedule.counts.restored += 1

    async def _history(self) -> None:
        await self.repository.history(REF)

    async def _name(self) -> None:
        if self.schedule.acknowledged:
            head = self.random.choice(self.schedule.acknowledged)
            await self.repository.names.give(REF, head.snapshot, "kept")

    async def _prune(self) -> None:
        try:
            await prune(self.store, ORG, PruneRules())
        except ConflictError:  # a head could not be read, so that nothing was deleted
            self.schedule.counts.failed += 1

    def _acknowledge(self, head: Head) -> None:
        self.schedule.counts.acknowledged += 1
        self.schedule.acknowledged.append(head)


class Schedule:
    """One seed's history, in a prefix of its own."""

    def __init__(
        self, seed: int, bucket: str, endpoint: str, proxied: str, proxy: FaultyProxy, folder: Path
    ) -> None:
        self.seed = seed
        self.proxied = proxied
        self.folder = folder
        self.counts = Counts(schedules=1)
        self.acknowledged: list[Head] = []
        self.trees: dict[str, PackedTree] = {}
        self._bucket = bucket
        self._endpoint = endpoint
        self._proxy = proxy
        noise = random.Random(seed)
        self._pool = [noise.randbytes(noise.choice((30, 2000, 60_000))) for _ in range(5)]

    def store(self, endpoint: str) -> SandboxStore:
        """The bucket, by way of the faulty network or straight."""
        return open_store(
            {BUCKET: self._bucket, ENDPOINT: endpoint, FORCE_PATH_STYLE: "1",
             PREFIX: f"s{self.seed}"},
            self.folder,
        )  # fmt: skip

    def a_tree(self, rand: random.Random) -> PackedTree:
        chosen = rand.sample(self._pool, rand.randint(1, 3))
        files: dict[str, object] = {f"f{n}": blob for n, blob in enumerate(chosen)}
        return tree_of({**files, "d": {"n": rand.randbytes(9)}})

    async def run(self) -> Counts:
        self._proxy.faulty = True
        before = self._proxy.done.copy()
        with short_waits():
            await asyncio.gather(*(Server(self, number).run() for number in range(2)))
        self._proxy.faulty = False
        done = self._proxy.done - before
        self.counts.faults = Counter({k: n for k, n in done.items() if k != "pass"})
        self.counts.requests, self.counts.harmed = done.total(), self.counts.faults.total()
        await self._verify()
        return self.counts

    async def _verify(self) -> None:
        store = self.store(self._endpoint)
        well = SnapshotRepository(store)
        history = {head.snapshot: head for head in await well.history(REF)}
        for head in self.acknowledged:
            assert history.get(head.snapshot) == head, f"seed {self.seed}: {head.snapshot} is lost"
        for head in history.values():
            await well.verify(head)
            tree = self.trees[head.blake3]
            found = await opened(await well.open_packed(head))
            assert (found.data, found.trees) == (tree.data, tree.trees), f"seed {self.seed}"
            self.counts.verified += 1
        mains = [head.generation for head in self.acknowledged if head.lineage == MAIN]
        newest = (await well.lookup(REF)).head
        assert (newest.generation if newest else 0) >= max(mains, default=0), f"seed {self.seed}"
        damage = [one async for one in check(store, ORG, read_data=True) if one.damage]
        assert not damage, f"seed {self.seed}: {damage}"


async def run_schedules(
    seeds: Iterable[int], *, bucket: str, endpoint: str, proxied: str, proxy: FaultyProxy,
    folder: Path,
) -> Counts:  # fmt: skip
    """One after another; what they came to. Raises where one does not hold."""
    total = Counts()
    for seed in seeds:
        proxy.reseed(seed)
        own = folder / str(seed)
        own.mkdir()
        total.add(await Schedule(seed, bucket, endpoint, proxied, proxy, own).run())
    return total
