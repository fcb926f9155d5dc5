"""Saves and restores with a bucket behind them: the same promises, over real servers."""

import asyncio
import random
from pathlib import Path

import pytest

from limpet.errors import SnapshotDamagedError
from limpet.snapshots.repository import SnapshotRepository
from limpet.stores.base import SandboxStore
from limpet.stores.degradable import DegradableStore
from limpet.stores.settings import open_store
from tests.snapshots.engine import Engine
from tests.snapshots.trees import describe


@pytest.fixture(params=["bucket"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> SandboxStore:
    return DegradableStore(open_store(request.getfixturevalue(request.param), tmp_path))


@pytest.fixture
def engine(tmp_path: Path, store: SandboxStore) -> Engine:
    engine = Engine(tmp_path)
    engine.repository = SnapshotRepository(store)
    engine.workspace.mkdir()
    return engine


def keys_of(store: SandboxStore) -> list[str]:
    async def run() -> list[str]:
        return [one.key async for one in store.list("")]

    return asyncio.run(run())


@pytest.mark.parametrize(
    "store", ["bucket", "gcs", "azure", "s3rver_bucket", "juicefs_bucket"], indirect=True
)
def test_every_state_comes_back_and_only_what_changed_goes_up(
    engine: Engine, store: SandboxStore, tmp_path: Path
) -> None:
    chance = random.Random(4)
    (engine.workspace / "folder").mkdir()
    (engine.workspace / "large").write_bytes(chance.randbytes(12_000_000))
    for number in range(50):
        (engine.workspace / "folder" / f"f{number}").write_bytes(chance.randbytes(3000))
    heads, states = [engine.save()], [describe(engine.workspace)]
    before = keys_of(store)
    (engine.workspace / "folder" / "f7").write_text("changed")
    (engine.workspace / "new").symlink_to("large")
    heads.append(engine.save())
    states.append(describe(engine.workspace))
    added = set(keys_of(store)) - set(before)
    assert sorted(key.split("/")[2] for key in added) == ["heads", "packs", "trees"]
    engine.save()
    for number, (head, state) in enumerate(zip(heads, states, strict=True)):
        into = tmp_path / f"back-{number}"
        engine.restore(head, into)
        assert describe(into) == state


def test_a_pack_that_is_gone_is_told(engine: Engine, store: SandboxStore, tmp_path: Path) -> None:
    (engine.workspace / "file").write_bytes(random.Random(4).randbytes(50_000))
    head = engine.save()
    [pack] = [key for key in keys_of(store) if "/packs/" in key]
    asyncio.run(store.delete(pack))
    with pytest.raises(SnapshotDamagedError):
        engine.restore(head, tmp_path / "back")
    assert not (tmp_path / "back").exists()
