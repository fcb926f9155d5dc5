"""Stores that ignore or refuse conditions: they are told from the others, and still used."""

import socket
from collections.abc import AsyncIterable, AsyncIterator
from pathlib import Path

import pytest

from limpet.errors import PreconditionFailedError, StoreUnavailableError
from limpet.stores import objectstore
from limpet.stores.base import Condition, ConditionsRefusedError, ReplaceIf, StoredObject
from limpet.stores.degradable import DegradableStore
from limpet.stores.local import LocalStore
from limpet.stores.probe import conditions_honoured, probe_store
from limpet.stores.settings import ENDPOINT, open_store
from tests.stores.contents import read

pytestmark = pytest.mark.anyio
DEGRADED = ["s3rver_bucket", "juicefs_bucket", "refusing_bucket"]


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """A refusal is final, and told without trying again."""
    monkeypatch.setitem(objectstore.RETRIES, "max_retries", 0)


@pytest.mark.parametrize(
    ("asked", "honoured"),
    [(name, True) for name in ("bucket", "gcs", "azure")] + [(name, False) for name in DEGRADED],
)
async def test_conditions_are_told_from_what_only_looks_like_them(
    asked: str, honoured: bool, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    store = open_store(request.getfixturevalue(asked), tmp_path)
    assert await conditions_honoured(store) is honoured
    assert [one.key async for one in store.list("")] == []


@pytest.mark.parametrize("asked", DEGRADED)
async def test_the_probe_finds_nothing_else_wrong(
    asked: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    results = await probe_store(open_store(request.getfixturevalue(asked), tmp_path))
    wrong = [one for one in results if not one.ok]
    assert [one.operation for one in wrong] == ["create-only put", "replace-if put"]
    assert all(one.degraded for one in wrong)


@pytest.mark.parametrize("asked", DEGRADED)
async def test_a_degraded_store_looks_before_it_puts(
    asked: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    said: list[str] = []
    asked_for = open_store(request.getfixturevalue(asked), tmp_path)
    store = DegradableStore(asked_for, lambda: said.append("degraded"))
    first = await store.put("k", b"first", condition="create-only")
    assert (store.conditional, said) == (False, ["degraded"])
    with pytest.raises(PreconditionFailedError):
        await store.put("k", b"second", condition="create-only")
    await store.put("k", b"third", condition=ReplaceIf(first.etag))
    for key in ("k", "never"):
        with pytest.raises(PreconditionFailedError):
            await store.put(key, b"fourth", condition=ReplaceIf(first.etag))
    assert await read(store, "k") == b"third"
    assert said == ["degraded"]


async def test_a_store_that_cannot_be_asked_is_asked_again(
    bucket: dict[str, str], tmp_path: Path
) -> None:
    said: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as closed:
        nowhere = f"http://127.0.0.1:{closed.getsockname()[1]}"
    away = open_store({**bucket, ENDPOINT: nowhere}, tmp_path)
    store = DegradableStore(away, lambda: said.append("degraded"))
    for _ in range(2):
        with pytest.raises(StoreUnavailableError):
            await store.put("k", b"x", condition="create-only")
    assert store.conditional
    assert said == []
    back = DegradableStore(open_store(bucket, tmp_path))
    assert await back.learn()
    await back.put("k", b"x", condition="create-only")


class Counting(LocalStore):
    """Counts what is put."""

    puts = 0

    async def put(
        self,
        key: str,
        body: bytes | AsyncIterable[bytes],
        *,
        condition: Condition | None = None,
    ) -> StoredObject:
        self.puts += 1
        return await super().put(key, body, condition=condition)


async def test_the_local_folder_is_never_asked(tmp_path: Path) -> None:
    inner = Counting(tmp_path)
    store = DegradableStore(inner)
    assert await store.learn()
    await store.put("k", b"x", condition="create-only")
    assert (inner.puts, store.conditional) == (1, True)


async def test_what_refuses_a_condition_stores_nothing(
    refusing_bucket: dict[str, str], tmp_path: Path
) -> None:
    store = open_store(refusing_bucket, tmp_path)
    with pytest.raises(ConditionsRefusedError, match="refuses to write on a condition"):
        await store.put("k", b"x", condition="create-only")
    assert await store.head("k") is None


async def test_a_body_that_comes_in_pieces_is_put_once_it_is_known(
    s3rver_bucket: dict[str, str], tmp_path: Path
) -> None:
    store = DegradableStore(open_store(s3rver_bucket, tmp_path))

    async def body() -> AsyncIterator[bytes]:
        yield b"one "
        yield b"two"

    await store.put("k", body(), condition="create-only")
    assert await read(store, "k") == b"one two"
