"""The local folder store: atomic, durable, contained, conditional."""

import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from limpet.errors import InvalidInputError, PreconditionFailedError, StoreUnavailableError
from limpet.stores.base import ReplaceIf
from limpet.stores.local import LocalStore
from limpet.stores.probe import probe_store
from limpet.stores.settings import FORCE_PATH_STYLE, flag, open_store

pytestmark = pytest.mark.anyio


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "store")


async def read(store: LocalStore, key: str, **how: int) -> bytes | None:
    chunks = await store.get(key, **how)
    return None if chunks is None else b"".join([chunk async for chunk in chunks])


async def parts(*chunks: bytes) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


async def test_what_was_put_comes_back_whole_and_in_ranges(store: LocalStore) -> None:
    seen = await store.put("a/b", parts(b"x" * 3_000_000, b"tail"))
    assert seen.size_bytes == 3_000_004
    assert await store.head("a/b") == seen
    assert (await read(store, "a/b") or b"")[-5:] == b"xtail"
    assert await read(store, "a/b", start=3_000_000) == b"tail"
    assert await read(store, "a/b", start=2_999_999, length=3) == b"xta"
    assert await read(store, "a/b", start=9_000_000) == b""
    assert await read(store, "a/missing") is None


async def test_a_put_that_breaks_half_way_leaves_what_was_there(store: LocalStore) -> None:
    await store.put("a/b", b"old")

    async def broken() -> AsyncIterator[bytes]:
        yield b"new"
        raise ValueError("cut off")

    with pytest.raises(ValueError, match="cut off"):
        await store.put("a/b", broken())
    assert await read(store, "a/b") == b"old"
    assert os.listdir(Path(store.where) / "a") == ["b"]


async def test_create_only_never_replaces(store: LocalStore) -> None:
    await store.put("k", b"first", condition="create-only")
    with pytest.raises(PreconditionFailedError):
        await store.put("k", b"second", condition="create-only")
    assert await read(store, "k") == b"first"


async def test_replace_only_what_was_seen(store: LocalStore) -> None:
    seen = await store.put("k", b"one")
    newer = await store.put("k", b"two", condition=ReplaceIf(seen.etag))
    with pytest.raises(PreconditionFailedError):
        await store.put("k", b"three", condition=ReplaceIf(seen.etag))
    assert await read(store, "k") == b"two"
    assert newer.etag != seen.etag


async def test_lists_by_prefix_in_key_order(store: LocalStore) -> None:
    for key in ("a/b~/2", "a/b~/1", "a/b~side/1", "a/c", "b"):
        await store.put(key, b"x")
    assert [o.key async for o in store.list("a/b~")] == ["a/b~/1", "a/b~/2", "a/b~side/1"]
    assert [o.key async for o in store.list("a/b~/")] == ["a/b~/1", "a/b~/2"]
    assert [o.key async for o in store.list("none/")] == []


async def test_a_missing_key_can_be_deleted(store: LocalStore) -> None:
    await store.put("a/b", b"x")
    await store.delete("a/b")
    await store.delete("a/b")
    assert await store.head("a/b") is None


@pytest.mark.parametrize("key", ["../out", "a/../../out", "/etc/passwd", ".put-1", ""])
async def test_a_key_cannot_leave_the_folder(store: LocalStore, key: str) -> None:
    for call in (store.put(key, b"x"), store.get(key), store.head(key), store.delete(key)):
        with pytest.raises(InvalidInputError):
            await call


async def test_a_planted_link_is_not_followed(store: LocalStore, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("secret")
    await store.put("a/b", b"x")
    (Path(store.where) / "a" / "away").symlink_to(outside)
    (Path(store.where) / "a" / "file").symlink_to(outside / "secret")
    with pytest.raises(InvalidInputError):
        await store.put("a/away/x", b"x")
    with pytest.raises((StoreUnavailableError, InvalidInputError)):
        await store.get("a/file")
    await store.put("a/file", b"mine")
    assert (outside / "secret").read_text() == "secret"
    assert sorted(os.listdir(outside)) == ["secret"]


async def test_a_broken_folder_is_told_and_not_taken_for_an_empty_one(store: LocalStore) -> None:
    await store.put("a/b", b"x")
    base = Path(store.where)
    base.rename(base.with_name("aside"))
    for state in ("gone", "a file"):
        if state == "a file":
            base.write_text("no folder")
        with pytest.raises(StoreUnavailableError):
            await store.get("a/b")
        with pytest.raises(StoreUnavailableError):
            await store.head("a/b")
        with pytest.raises(StoreUnavailableError):
            await store.put("a/b", b"y")
        with pytest.raises(StoreUnavailableError):
            [o async for o in store.list("a/")]
    base.unlink()
    base.with_name("aside").rename(base)
    assert await read(store, "a/b") == b"x"


RACE = """
import asyncio, sys
from pathlib import Path
from limpet.errors import PreconditionFailedError
from limpet.stores.local import LocalStore
async def main():
    store, won = LocalStore(Path(sys.argv[1])), 0
    for n in range(200):
        try:
            await store.put(f"race/{n}", sys.argv[2].encode(), condition="create-only")
            won += 1
        except PreconditionFailedError:
            pass
    print(won)
asyncio.run(main())
"""


async def test_of_many_processes_exactly_one_creates(store: LocalStore) -> None:
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", RACE, store.where, name], stdout=subprocess.PIPE, text=True
        )
        for name in ("one", "two", "three")
    ]
    assert sum(int(r.communicate()[0]) for r in racers) == 200
    assert not [n for n in os.listdir(Path(store.where) / "race") if n.startswith(".")]


async def test_what_a_killed_put_left_is_swept(store: LocalStore) -> None:
    await store.put("a/b", b"x")
    left = Path(store.where) / "a" / ".put-123"
    left.write_text("half")
    assert store.sweep() == 0
    os.utime(left, (0, 0))
    assert store.sweep() == 1
    assert await read(store, "a/b") == b"x"


async def test_the_probe_finds_the_local_store_sound(store: LocalStore) -> None:
    results = await probe_store(store)
    assert len(results) == 8
    assert all(r.ok for r in results), results


@pytest.mark.parametrize("word", ["1", "true", "YES", "On", "tRuE"])
def test_yes_in_any_case(word: str) -> None:
    assert flag({FORCE_PATH_STYLE: word}, FORCE_PATH_STYLE)


@pytest.mark.parametrize("word", ["0", "false", "No", "OFF", ""])
def test_no_in_any_case(word: str) -> None:
    assert not flag({FORCE_PATH_STYLE: word}, FORCE_PATH_STYLE)


def test_an_odd_flag_or_a_bucket_is_an_error_that_names_the_variable(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=FORCE_PATH_STYLE):
        open_store({FORCE_PATH_STYLE: "perhaps"}, tmp_path)
    with pytest.raises(InvalidInputError, match="SANDBOX_SNAPSHOTS_BUCKET"):
        open_store({"SANDBOX_SNAPSHOTS_BUCKET": "b"}, tmp_path)
    assert open_store({}, tmp_path).where == str(tmp_path / "sandbox-snapshots")
