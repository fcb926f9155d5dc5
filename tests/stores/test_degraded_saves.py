"""Saves into a store that ignores conditions: a lease keeps writers apart, a second look tells."""

import asyncio
import random
from collections.abc import AsyncIterable, AsyncIterator
from pathlib import Path

import pytest

from limpet.control.db import EMBEDDED_ORG, EMBEDDED_USER, AgentRow, Database
from limpet.control.db.migrate import migrate
from limpet.control.orgs import ensure_embedded_org
from limpet.control.sandboxes.events import SandboxKey
from limpet.control.sandboxes.leases import LeaseHeldError, Leases
from limpet.control.sandboxes.rows import SandboxRows
from limpet.control.secrets import SecretBox
from limpet.ids import AgentId, Branch
from limpet.snapshots.lineage import BranchRef, Head
from limpet.snapshots.repository import SaveSupersededError, SnapshotRepository
from limpet.stores import objectstore
from limpet.stores.base import Condition, SandboxStore, StoredObject
from limpet.stores.degradable import DegradableStore
from limpet.stores.local import LocalStore
from limpet.stores.settings import open_store
from tests.snapshots.packed_streams import Opened, in_pieces, opened, save_stream, tree_of
from tests.snapshots.packed_trees import PackedTree

pytestmark = pytest.mark.anyio
KEY = SandboxKey(EMBEDDED_ORG, AgentId("agt_1"), Branch("b"))
REF = BranchRef(KEY.org, KEY.agent, KEY.branch)


def tree(seed: int) -> PackedTree:
    return tree_of({"a": b"a", "d": {"x": random.Random(seed).randbytes(900)}})


async def save(store: SandboxStore, what: PackedTree, base: Head | None, fencing: int = 1) -> Head:
    saved = await SnapshotRepository(store).save_packed(
        REF, in_pieces(save_stream(what)), base=None, reason="manual", parent=None, fencing=fencing,
        expected_generation=base.generation if base else 0,
    )  # fmt: skip
    return saved.head


async def content(store: SandboxStore, head: Head) -> Opened:
    repository = SnapshotRepository(store)
    await repository.verify(head)
    return await opened(await repository.open_packed(head))


class Ignoring(LocalStore):
    """Ignores conditions; when a head was put, another writer's `late` puts follow it."""

    kind = "s3"

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.late: dict[str, bytes] = {}

    async def put(
        self,
        key: str,
        body: bytes | AsyncIterable[bytes],
        *,
        condition: Condition | None = None,
    ) -> StoredObject:
        stored = await super().put(key, body)
        if "/heads/" in key:
            late, self.late = self.late, {}
            for place, other in late.items():
                await super().put(place, other)
        return stored


class Withholding(Ignoring):
    """Another writer on the way: its packs are there, its heads are not yet."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.withheld: dict[str, bytes] = {}

    async def put(
        self,
        key: str,
        body: bytes | AsyncIterable[bytes],
        *,
        condition: Condition | None = None,
    ) -> StoredObject:
        if "/heads/" not in key:
            return await super().put(key, body)
        assert isinstance(body, bytes)
        self.withheld[key] = body
        return StoredObject(key, len(body), "", 0)


@pytest.mark.parametrize("generations", [1, 2], ids=["over-ours", "after-ours"])
async def test_a_head_that_another_writer_puts_before_we_look_again_is_a_lost_race(
    tmp_path: Path, generations: int
) -> None:
    ours, theirs = Ignoring(tmp_path), Withholding(tmp_path)
    other: Head | None = None
    for number in range(generations):
        other = await save(theirs, tree(10 + number), other)
    assert other is not None
    newest = max(theirs.withheld)
    ours.late = {newest: theirs.withheld[newest]}
    store = DegradableStore(ours)
    with pytest.raises(SaveSupersededError) as told:
        await save(store, tree(1), None)
    aside = told.value.head
    assert aside.lineage.startswith("side-")
    assert (await content(store, aside)).data == tree(1).data
    head = await SnapshotRepository(store).head(REF)
    assert head is not None
    assert head.snapshot == other.snapshot


async def test_where_conditions_hold_nobody_looks_again(tmp_path: Path) -> None:
    theirs = Withholding(tmp_path)
    other = await save(theirs, tree(10), None)
    store = DegradableStore(LocalStore(tmp_path))
    head = await save(store, tree(1), None)
    assert head.generation == other.generation
    with pytest.raises(SaveSupersededError):
        await save(store, tree(2), None)


@pytest.fixture
async def db(tmp_path: Path) -> AsyncIterator[Database]:
    database = Database(f"sqlite+aiosqlite:///{tmp_path / 'limpet.sqlite3'}")
    await migrate(database)
    await ensure_embedded_org(database, SecretBox([b"k" * 32]))
    async with database.session() as session:
        session.add(
            AgentRow(
                org_id=KEY.org, id=KEY.agent, title="", default_branch="b", created_by=EMBEDDED_USER
            )
        )
    await SandboxRows(database).make(KEY, "host")
    yield database
    await database.close()


@pytest.mark.parametrize("asked", ["s3rver_bucket", "juicefs_bucket", "refusing_bucket"])
async def test_of_writers_that_hold_the_lease_in_turn_nobodys_work_is_lost(
    asked: str,
    db: Database,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(objectstore.RETRIES, "max_retries", 0)  # a refusal is final
    environ = request.getfixturevalue(asked)
    acknowledged: dict[str, PackedTree] = {}

    async def control_plane(owner: str, seeds: range) -> None:
        store = DegradableStore(open_store(environ, tmp_path))
        leases = Leases(db, owner, ttl_s=60, exclusive=False)
        for seed in seeds:
            while True:
                try:
                    fencing = await leases.take(KEY)
                    break
                except LeaseHeldError:
                    await asyncio.sleep(0)
            head = await SnapshotRepository(store).head(REF)
            saved = await save(store, tree(seed), head, fencing)
            acknowledged[saved.snapshot] = tree(seed)
            await leases.release(KEY)

    async with asyncio.TaskGroup() as group:
        group.create_task(control_plane("one", range(2)))
        group.create_task(control_plane("two", range(10, 12)))
    store = open_store(environ, tmp_path)
    history = await SnapshotRepository(store).history(REF)
    assert {head.snapshot for head in history} == set(acknowledged)
    assert sorted(head.generation for head in history) == list(range(1, 5))
    for head in history:
        assert (await content(store, head)).data == acknowledged[head.snapshot].data


async def test_a_writer_whose_lease_ran_out_finds_the_other_ones_head(
    s3rver_bucket: dict[str, str], db: Database, tmp_path: Path
) -> None:
    slept, woken = (
        DegradableStore(open_store(s3rver_bucket, tmp_path)) for _ in ("slept", "took over")
    )
    before = await Leases(db, "slept", ttl_s=-1, exclusive=False).take(KEY)
    fencing = await Leases(db, "took over", ttl_s=60, exclusive=False).take(KEY)
    theirs = await save(woken, tree(2), None, fencing)
    with pytest.raises(SaveSupersededError) as told:
        await save(slept, tree(1), None, before)
    head = await SnapshotRepository(slept).head(REF)
    assert head is not None
    assert head.snapshot == theirs.snapshot
    assert (await content(slept, told.value.head)).data == tree(1).data
