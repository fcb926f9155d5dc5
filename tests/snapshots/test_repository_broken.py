"""Saves that die: the process is killed, the store fails, nobody waits any longer."""

import asyncio
import os
import random
import signal
import subprocess
import sys
from collections.abc import AsyncIterable, AsyncIterator
from pathlib import Path

import pytest

from limpet.errors import StoreUnavailableError
from limpet.ids import AgentId, Branch, OrgId
from limpet.snapshots.lineage import BranchRef, Head
from limpet.snapshots.pack import TARGET_PACK_BYTES
from limpet.snapshots.repository import SAVE_STEPS, Saved, SnapshotRepository
from limpet.stores.base import Condition, SandboxStore, StoredObject
from limpet.stores.local import LocalStore
from tests.sampled import one_in
from tests.snapshots.packed_streams import in_pieces, opened, save_stream, tree_of
from tests.snapshots.packed_trees import PackedTree

pytestmark = pytest.mark.anyio
REF = BranchRef(OrgId("acme"), AgentId("a"), Branch("main"))


def noise(seed: int, size: int) -> bytes:
    return random.Random(seed).randbytes(size)


ONE = tree_of({"a": b"a", "d": {"x": noise(1, 900), "y": b"y"}})
TWO = tree_of({"a": b"a", "d": {"x": noise(2, 900), "y": b"y"}, "new": noise(3, 2000)})


class Unsteady:
    """A store that fails at its n-th call, and tells what was put where, in order."""

    kind = "local"
    conditional = True

    def __init__(self, store: SandboxStore, fails_at: int | None = None) -> None:
        self._store = store
        self.where = store.where
        self.left = fails_at
        self.puts: list[str] = []
        self.blocked: asyncio.Event | None = None

    def _call(self) -> None:
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                raise StoreUnavailableError("the store has a bad minute")

    async def put(
        self,
        key: str,
        body: bytes | AsyncIterable[bytes],
        *,
        condition: Condition | None = None,
    ) -> StoredObject:
        self._call()
        assert condition == "create-only"
        if self.blocked is not None:
            await self.blocked.wait()
        self.puts.append(key)
        return await self._store.put(key, body, condition=condition)

    async def get(
        self, key: str, *, start: int = 0, length: int | None = None
    ) -> AsyncIterator[bytes] | None:
        self._call()
        return await self._store.get(key, start=start, length=length)

    async def head(self, key: str) -> StoredObject | None:
        self._call()
        return await self._store.head(key)

    async def delete(self, key: str) -> None:
        raise AssertionError("only prune deletes")

    async def list(self, prefix: str) -> AsyncIterator[StoredObject]:
        self._call()
        async for one in self._store.list(prefix):
            yield one


async def save(
    store: SandboxStore,
    tree: PackedTree,
    base: Head | None = None,
    base_tree: PackedTree | None = None,
    *,
    chunks: AsyncIterator[bytes] | None = None,
) -> Saved:
    return await SnapshotRepository(store).save_packed(
        REF, chunks or in_pieces(save_stream(tree, base_tree)), base=base, reason="idle",
        parent=None, fencing=1, expected_generation=base.generation if base else 0,
    )  # fmt: skip


async def comes_back(store: SandboxStore, tree: PackedTree) -> Head:
    repository = SnapshotRepository(store)
    head = await repository.head(REF)
    assert head is not None
    await repository.verify(head)
    found = await opened(await repository.open_packed(head))
    assert (found.data, found.trees) == (tree.data, tree.trees)
    return head


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "store")


async def test_packs_come_before_trees_and_the_head_comes_last(store: LocalStore) -> None:
    base = await save(store, ONE)
    watched = Unsteady(store)
    await save(watched, TWO, base.head, ONE)
    assert [key.split("/")[2] for key in watched.puts] == ["packs", "trees", "heads"]


async def test_wherever_the_store_fails_the_old_head_stays(store: LocalStore) -> None:
    base = await save(store, ONE)
    for calls in range(100):
        try:
            await save(Unsteady(store, calls), TWO, base.head, ONE)
        except StoreUnavailableError:
            assert await comes_back(store, ONE) == base.head
            continue
        break
    assert calls > 10
    assert (await comes_back(store, TWO)).generation == 2


async def test_wherever_the_store_fails_a_restore_does_not_end_well(store: LocalStore) -> None:
    head = (await save(store, ONE)).head
    for calls in range(100):
        unsteady = Unsteady(store, calls)
        try:
            await opened(await SnapshotRepository(unsteady).open_packed(head))
        except StoreUnavailableError:
            continue
        break
    assert calls > 2


KILLED = """
import asyncio, sys
from pathlib import Path
from limpet.snapshots.repository import SnapshotRepository
from limpet.stores.local import LocalStore
from tests.snapshots.packed_streams import in_pieces
from tests.snapshots.test_repository_broken import REF
async def main():
    repository = SnapshotRepository(LocalStore(Path(sys.argv[1])), Path(sys.argv[1] + "-cache"))
    base = await repository.head(REF)
    await repository.save_packed(
        REF, in_pieces(Path(sys.argv[2]).read_bytes()), base=base, reason="idle", parent=None,
        fencing=1, expected_generation=base.generation)
asyncio.run(main())
"""


@pytest.mark.parametrize(
    "step", one_in(3, [step for step in SAVE_STEPS if step != "save-tar-stored"])
)
async def test_a_save_that_is_killed_leaves_the_old_head_or_the_new_one(
    store: LocalStore, tmp_path: Path, step: str
) -> None:
    content: dict[str, object] = {"a": b"a"}
    tree = tree_of(content)
    head = (await save(store, tree)).head
    if step == "save-gathered-pack-stored":  # it takes many packs until they are gathered
        for number in range(63):
            before, tree = tree, tree_of({**content, f"f{number}": noise(number, 300)})
            content[f"f{number}"] = noise(number, 300)
            head = (await save(store, tree, head, before)).head
    after = tree_of({**content, "new": noise(3, 2000)})
    (tmp_path / "stream").write_bytes(save_stream(after, tree))
    command = [sys.executable, "-c", KILLED, store.where, str(tmp_path / "stream")]
    root = Path(__file__).parents[2]
    environ = {**os.environ, "LIMPET_FAULT": f"{step}:kill", "PYTHONPATH": str(root)}
    died = subprocess.run(command, env=environ, check=False, cwd=root)
    assert died.returncode == -signal.SIGKILL
    made = step == "save-head-created"
    now = await comes_back(store, after if made else tree)
    assert now.generation == head.generation + made
    if not made:
        again = {**os.environ, "PYTHONPATH": str(root)}
        subprocess.run(command, env=again, check=True, cwd=root)
        await comes_back(store, after)


async def test_a_store_that_is_slow_holds_the_sender_up(store: LocalStore) -> None:
    """What waits in memory is bounded, however much the sandbox sends."""
    slow = Unsteady(store)
    slow.blocked = asyncio.Event()
    blobs = {f"f{n}": noise(n, 1 << 20) for n in range(120)}
    tree = tree_of(blobs)
    stream = save_stream(tree)
    taken = 0
    stuck = asyncio.Event()
    limit = 4 * TARGET_PACK_BYTES

    async def chunks() -> AsyncIterator[bytes]:
        nonlocal taken
        for start in range(0, len(stream), 1 << 18):
            taken += 1 << 18
            if taken > limit:
                stuck.set()
            yield stream[start : start + (1 << 18)]
        stuck.set()

    saving = asyncio.create_task(save(slow, tree, chunks=chunks()))
    done, _ = await asyncio.wait([saving, asyncio.create_task(stuck.wait())], timeout=1)
    assert not done
    assert 2 * TARGET_PACK_BYTES < taken < limit
    slow.blocked.set()
    await saving
    await comes_back(store, tree)


async def test_a_save_that_nobody_waits_for_ends_and_leaves_no_head(store: LocalStore) -> None:
    base = await save(store, ONE)
    unsteady = Unsteady(store)
    started = asyncio.Event()
    stream = save_stream(TWO, ONE)

    async def chunks() -> AsyncIterator[bytes]:
        yield stream[:-50]
        started.set()
        await asyncio.Event().wait()

    before = asyncio.all_tasks()
    saving = asyncio.create_task(save(unsteady, TWO, base.head, ONE, chunks=chunks()))
    await started.wait()
    saving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await saving
    assert asyncio.all_tasks() == before
    assert await comes_back(store, ONE) == base.head
    assert not [key for key in unsteady.puts if "/heads/" in key]


async def test_a_restore_that_nobody_waits_for_leaves_nothing_behind(store: LocalStore) -> None:
    tree = tree_of({f"f{n}": noise(n, 1 << 20) for n in range(40)})
    head = (await save(store, tree)).head
    before = asyncio.all_tasks()
    stream = await SnapshotRepository(store).open_packed(head)
    async for _ in stream:
        break
    await stream.aclose()  # type: ignore[attr-defined]
    assert asyncio.all_tasks() == before
