"""The local folder store: atomic, durable, contained, conditional."""

import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterable, AsyncIterator
from pathlib import Path

import anyio
import pytest

from limpet.errors import (
    InvalidInputError,
    PreconditionFailedError,
    StoreUnavailableError,
)
from limpet.stores.base import Condition, ReplaceIf, StoredObject
from limpet.stores.local import LocalStore
from limpet.stores.probe import probe_store
from limpet.stores.settings import (
    BUCKET,
    ENDPOINT,
    FORCE_PATH_STYLE,
    PREFIX,
    REGION,
    StoreSettings,
    flag,
    open_store,
)

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


KILLED = """
import asyncio, os, signal, sys
from pathlib import Path
from limpet.stores.local import LocalStore
async def chunks():
    yield b"half"
    os.kill(os.getpid(), signal.SIGKILL)
asyncio.run(LocalStore(Path(sys.argv[1])).put("a/b", chunks()))
"""


async def test_what_a_killed_put_left_is_swept_by_a_later_process(store: LocalStore) -> None:
    await store.put("a/b", b"x")
    died = subprocess.run([sys.executable, "-c", KILLED, store.where], check=False)
    assert died.returncode == -signal.SIGKILL
    [left] = (Path(store.where) / "a").glob(".put-*")
    await LocalStore(Path(store.where)).put("c", b"x")
    assert left.exists(), "it may still be written by another process"
    os.utime(left, (0, 0))
    await LocalStore(Path(store.where)).put("c", b"x")
    assert not left.exists()
    assert await read(store, "a/b") == b"x"
    assert [o.key async for o in store.list("")] == ["a/b", "c"]


async def test_a_cancelled_put_leaves_nothing(store: LocalStore) -> None:
    begun = anyio.Event()

    async def endless() -> AsyncIterator[bytes]:
        yield b"x"
        begun.set()
        await anyio.sleep_forever()

    async with anyio.create_task_group() as group:
        group.start_soon(store.put, "a/b", endless())
        await begun.wait()
        group.cancel_scope.cancel()
    assert os.listdir(Path(store.where) / "a") == []


async def test_of_many_replacers_each_sees_the_others(store: LocalStore) -> None:
    await store.put("counter", b"0")

    async def count() -> None:
        while True:
            seen = await store.head("counter")
            assert seen is not None
            now = int(await read(store, "counter") or b"")
            try:
                await store.put("counter", b"%d" % (now + 1), condition=ReplaceIf(seen.etag))
            except PreconditionFailedError:
                continue
            return

    async with anyio.create_task_group() as group:
        for _ in range(20):
            group.start_soon(count)
    assert await read(store, "counter") == b"20"


async def test_a_prefix_of_other_keys_is_no_key(store: LocalStore) -> None:
    await store.put("a/b", b"x")
    with pytest.raises(InvalidInputError):
        await store.put("a", b"x")
    assert await store.head("a") is None
    assert await store.get("a") is None
    await store.delete("a")
    assert await read(store, "a/b") == b"x"


async def test_the_probe_finds_the_local_store_sound(store: LocalStore) -> None:
    results = await probe_store(store)
    assert len(results) == 8
    assert all(r.ok for r in results), results
    assert [o.key async for o in store.list("")] == []


class Careless(LocalStore):
    """Ignores conditions, as some S3 servers do."""

    async def put(
        self,
        key: str,
        body: bytes | AsyncIterable[bytes],
        *,
        condition: Condition | None = None,
    ) -> StoredObject:
        return await super().put(key, body)


async def test_the_probe_tells_a_store_that_ignores_conditions(tmp_path: Path) -> None:
    wrong = [r for r in await probe_store(Careless(tmp_path / "store")) if not r.ok]
    assert [r.operation for r in wrong] == ["create-only put", "replace-if put"]
    assert all("ignored the condition" in r.detail for r in wrong)


async def test_the_probe_names_the_permission_that_is_missing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    [told] = await probe_store(LocalStore(tmp_path / "file"))
    assert not told.ok
    assert "s3:PutObject" in told.permission


@pytest.mark.parametrize("word", ["1", "true", "YES", "On", "tRuE"])
def test_yes_in_any_case(word: str) -> None:
    assert flag({FORCE_PATH_STYLE: word}, FORCE_PATH_STYLE)


@pytest.mark.parametrize("word", ["0", "false", "No", "OFF", ""])
def test_no_in_any_case(word: str) -> None:
    assert not flag({FORCE_PATH_STYLE: word}, FORCE_PATH_STYLE)


def test_an_odd_flag_is_an_error_that_names_the_variable(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=FORCE_PATH_STYLE):
        open_store({FORCE_PATH_STYLE: "perhaps"}, tmp_path)
    assert open_store({}, tmp_path).where == str(tmp_path / "sandbox-snapshots")


def test_every_variable_is_read_in_one_place() -> None:
    assert StoreSettings.from_environ({}) == StoreSettings(
        None, "s3", "us-east-1", "sandbox-snapshots", None, False
    )
    told = {
        BUCKET: "bucket",
        REGION: "eu",
        PREFIX: "/x/y/",
        ENDPOINT: "http://h:9000/",
        FORCE_PATH_STYLE: "Yes",
    }
    assert StoreSettings.from_environ(told) == StoreSettings(
        "bucket", "s3", "eu", "x/y", "http://h:9000", True
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [(PREFIX, "a/../b"), (PREFIX, "a//b"), (ENDPOINT, "minio:9000"), (ENDPOINT, "ftp://h"),
     (ENDPOINT, "https://me:secret@h"), (ENDPOINT, "http://h:99999"), (FORCE_PATH_STYLE, "2")],
)  # fmt: skip
def test_what_cannot_be_used_names_its_variable(name: str, value: str) -> None:
    with pytest.raises(InvalidInputError, match=name) as told:
        StoreSettings.from_environ({name: value})
    assert "secret" not in told.value.message
