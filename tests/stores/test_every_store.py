"""What every store does, the local folder and real servers of each kind alike."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest

from limpet.errors import InvalidInputError, PreconditionFailedError
from limpet.stores.base import ReplaceIf, SandboxStore
from limpet.stores.degradable import DegradableStore
from limpet.stores.local import LocalStore
from limpet.stores.pack_cache import CachedStore, PackCache
from limpet.stores.probe import probe_store
from limpet.stores.settings import open_store
from tests.stores.contents import parts, read

pytestmark = pytest.mark.anyio


CONDITIONAL = ["local", "cached", "bucket", "gcs", "azure"]
DEGRADED = ["s3rver_bucket", "juicefs_bucket"]


@pytest.fixture(params=CONDITIONAL + DEGRADED)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> SandboxStore:
    if request.param == "local":
        return DegradableStore(LocalStore(tmp_path / "store"))
    if request.param == "cached":
        return CachedStore(LocalStore(tmp_path / "store"), PackCache(tmp_path / "packs", 1 << 20))
    store = open_store(request.getfixturevalue(request.param), tmp_path)
    return store if request.param in CONDITIONAL else DegradableStore(store)


only_where_conditions_hold = pytest.mark.parametrize("store", CONDITIONAL, indirect=True)


async def test_what_was_put_comes_back_whole_and_in_ranges(store: SandboxStore) -> None:
    seen = await store.put("a/b", parts(b"x" * 3_000_000, b"tail"))
    assert seen.size_bytes == 3_000_004
    told = await store.head("a/b")
    assert told is not None
    assert (told.key, told.size_bytes, told.etag) == ("a/b", 3_000_004, seen.etag)
    assert abs(told.modified_at_s - seen.modified_at_s) < 60
    assert (await read(store, "a/b") or b"")[-5:] == b"xtail"
    assert await read(store, "a/b", start=3_000_000) == b"tail"
    assert await read(store, "a/b", start=2_999_999, length=3) == b"xta"
    assert await read(store, "a/b", start=3_000_002, length=99) == b"il"
    assert await read(store, "a/b", start=9_000_000) == b""
    assert await read(store, "a/b", start=9_000_000, length=5) == b""
    assert await read(store, "a/b", length=0) == b""
    assert await read(store, "a/missing") is None
    assert await read(store, "a/missing", length=0) is None
    assert await read(store, "a/missing", start=7) is None
    assert await store.head("a/missing") is None


async def test_an_empty_object_is_one(store: SandboxStore) -> None:
    for key, body in (("bytes", b""), ("stream", parts())):
        assert (await store.put(key, body)).size_bytes == 0
        assert await read(store, key) == b""
        assert await read(store, key, length=9) == b""


async def test_a_large_body_goes_up_in_parts(store: SandboxStore) -> None:
    body = [bytes([n]) * 5_000_001 for n in range(5)]
    seen = await store.put("large", parts(*body))
    assert seen.size_bytes == 25_000_005
    told = await store.head("large")
    assert told is not None
    assert told.etag == seen.etag
    assert await read(store, "large") == b"".join(body)


@pytest.mark.parametrize("size", [3, 20_000_000])
async def test_a_body_that_breaks_leaves_what_was_there(store: SandboxStore, size: int) -> None:
    await store.put("k", b"old")

    async def broken() -> AsyncIterator[bytes]:
        yield b"n" * size
        raise FileNotFoundError("the body's own")

    with pytest.raises(FileNotFoundError, match="the body's own"):
        await store.put("k", broken())
    assert await read(store, "k") == b"old"


async def test_create_only_never_replaces(store: SandboxStore) -> None:
    await store.put("k", b"first", condition="create-only")
    with pytest.raises(PreconditionFailedError):
        await store.put("k", parts(b"second"), condition="create-only")
    assert await read(store, "k") == b"first"


async def test_replace_if_wants_the_very_object(store: SandboxStore) -> None:
    first = await store.put("k", b"first")
    second = await store.put("k", b"second", condition=ReplaceIf(first.etag))
    assert second.etag != first.etag
    with pytest.raises(PreconditionFailedError):
        await store.put("k", b"third", condition=ReplaceIf(first.etag))
    with pytest.raises(PreconditionFailedError):
        await store.put("never", b"x", condition=ReplaceIf(first.etag))
    assert await read(store, "k") == b"second"
    assert await store.head("never") is None


@only_where_conditions_hold
async def test_of_many_that_create_at_once_one_wins(store: SandboxStore) -> None:
    won: list[int] = []

    async def create(number: int) -> None:
        with contextlib.suppress(PreconditionFailedError):
            await store.put("k", b"%d" % number, condition="create-only")
            won.append(number)

    async with anyio.create_task_group() as group:
        for number in range(12):
            group.start_soon(create, number)
    assert len(won) == 1
    assert await read(store, "k") == b"%d" % won[0]


async def test_a_list_has_every_key_below_in_order(
    store: SandboxStore, request: pytest.FixtureRequest
) -> None:
    for key in ("p/b", "p/a~1/x", "p/a", "q", "p/c/d/e", "pp/x", "p/b-2"):
        await store.put(key, key.encode())

    async def listed(prefix: str) -> list[str]:
        keys = [one.key async for one in store.list(prefix)]
        # s3rver lists folder by folder. What we read of a store, we read in any order.
        return sorted(keys) if "s3rver" in request.node.name else keys

    assert await listed("p/") == sorted(["p/b", "p/a~1/x", "p/a", "p/c/d/e", "p/b-2"])
    assert await listed("p/b") == ["p/b", "p/b-2"]
    assert await listed("nothing/") == []
    assert len(await listed("")) == 7


async def test_deleting_twice_is_no_error(store: SandboxStore) -> None:
    await store.put("k", b"x")
    await store.delete("k")
    await store.delete("k")
    assert await store.head("k") is None


@pytest.mark.parametrize("key", ["", "../x", "a//b", "/a", ".hidden", "A", "a\0b", "a" * 1001])
async def test_a_key_that_is_none_is_refused(store: SandboxStore, key: str) -> None:
    for act in (lambda: store.put(key, b""), lambda: store.get(key), lambda: store.head(key)):
        with pytest.raises(InvalidInputError):
            await act()
    with pytest.raises(InvalidInputError):
        await store.delete(key)


async def test_a_range_that_cannot_be_is_refused(store: SandboxStore) -> None:
    for start, length in ((-1, None), (0, -1)):
        with pytest.raises(InvalidInputError, match="range"):
            await store.get("k", start=start, length=length)


@only_where_conditions_hold
async def test_the_probe_finds_nothing_wrong(store: SandboxStore) -> None:
    assert [one for one in await probe_store(store) if not one.ok] == []
