"""Packs at hand: right or not used, bounded, and never in the way of the store."""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest
from blake3 import blake3

from limpet.errors import PreconditionFailedError, StoreUnavailableError
from limpet.stores.local import LocalStore
from limpet.stores.pack_cache import CachedStore, PackCache
from tests.stores.contents import parts, read

pytestmark = pytest.mark.anyio


def pack(size: int, seed: int = 0) -> tuple[str, bytes]:
    """A key and the bytes that belong there."""
    body = bytes([seed]) * size
    return f"v1/acme/packs/{blake3(body).hexdigest()}", body


class Counting(LocalStore):
    """A store that counts what is read of it, and can be cut off."""

    reads = 0
    breaks_after: int | None = None

    async def get(
        self, key: str, *, start: int = 0, length: int | None = None
    ) -> AsyncIterator[bytes] | None:
        self.reads += 1
        chunks = await super().get(key, start=start, length=length)
        return self._cut(chunks) if chunks is not None and self.breaks_after is not None else chunks

    async def _cut(self, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for chunk in chunks:
            yield chunk[: self.breaks_after]
            raise StoreUnavailableError("The connection was lost")


@pytest.fixture
def behind(tmp_path: Path) -> Counting:
    return Counting(tmp_path / "store")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "packs"


@pytest.fixture
def cached(behind: Counting, folder: Path) -> CachedStore:
    return CachedStore(behind, PackCache(folder, 1 << 20))


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


async def test_what_was_put_or_read_whole_is_read_from_here_also_by_the_next_process(
    cached: CachedStore, behind: Counting, folder: Path
) -> None:
    key, body = pack(200_000)
    await cached.put(key, parts(body[:7], body[7:]), condition="create-only")
    other_key, other = pack(300_000, 1)
    await behind.put(other_key, other)
    assert await read(cached, other_key, start=5, length=9) == other[5:14]
    assert behind.reads == 1
    assert len(files(folder)) == 1, "a part is not kept"
    assert await read(cached, other_key, length=len(other) + 1) == other
    assert behind.reads == 2
    for store in (cached, CachedStore(behind, PackCache(folder, 1 << 20))):
        for a_key, a_body in ((key, body), (other_key, other)):
            assert await read(store, a_key) == a_body
            assert await read(store, a_key, start=100, length=50) == a_body[100:150]
    assert behind.reads == 2
    assert folder.stat().st_mode & 0o077 == 0


async def test_heads_and_names_are_never_kept(cached: CachedStore, folder: Path) -> None:
    await cached.put("v1/acme/heads/a/main~/000000000001", b"one")
    await cached.put("v1/acme/heads/a/main~/000000000001", b"two")
    assert await read(cached, "v1/acme/heads/a/main~/000000000001") == b"two"
    assert not folder.exists()


async def test_what_is_not_what_its_name_says_is_not_kept(
    cached: CachedStore, behind: Counting, folder: Path
) -> None:
    key, _ = pack(1000)
    await behind.put(key, b"something else")
    assert await read(cached, key) == b"something else", "that is for the reader to judge"
    assert files(folder) == []


@pytest.mark.parametrize("harm", ["flipped", "cut off", "emptied", "longer"])
async def test_rot_in_the_cache_costs_a_request(
    cached: CachedStore, behind: Counting, folder: Path, harm: str
) -> None:
    key, body = pack(5000)
    await cached.put(key, body)
    [path] = folder.iterdir()
    path.write_bytes(
        {"flipped": body[:9] + b"!" + body[10:], "cut off": body[:-1], "emptied": b"",
         "longer": body + b"x"}[harm]
    )  # fmt: skip
    assert await read(cached, key) == body
    assert behind.reads == 1
    assert await read(cached, key) == body
    assert behind.reads == 1, "it is whole again"


async def test_a_read_or_a_put_that_breaks_off_leaves_nothing(
    cached: CachedStore, behind: Counting, folder: Path
) -> None:
    key, body = pack(5000)
    await behind.put(key, body)
    behind.breaks_after = 100
    with pytest.raises(StoreUnavailableError):
        await read(cached, key)
    chunks = await cached.get(key)
    assert chunks is not None
    await anext(chunks)
    await chunks.aclose()  # type: ignore[attr-defined]
    with pytest.raises(PreconditionFailedError):
        await cached.put(key, parts(body), condition="create-only")

    async def broken() -> AsyncIterator[bytes]:
        yield body[:10]
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await cached.put(pack(7)[0], broken())
    assert files(folder) == []


async def test_the_one_used_longest_ago_goes_first_and_the_bound_holds(
    behind: Counting, folder: Path
) -> None:
    store = CachedStore(behind, PackCache(folder, 100_000))
    packs = [pack(30_000, seed) for seed in range(4)]
    for at, (key, body) in enumerate(packs[:3]):
        await store.put(key, body)
        os.utime(folder / key.replace("/", "@"), (at, at))
    await read(store, packs[0][0])
    await store.put(*packs[3])
    left = {name.rpartition("@")[2] for name in files(folder)}
    assert left == {packs[n][0].rpartition("/")[2] for n in (0, 2, 3)}
    huge, body = pack(100_001, 9)
    await store.put(huge, body)
    assert await read(store, huge) == body
    assert sum(path.stat().st_size for path in folder.iterdir()) <= 100_000
    assert len(files(folder)) == 3


async def test_what_is_deleted_is_not_at_hand_any_more(
    cached: CachedStore, behind: Counting, folder: Path
) -> None:
    key, body = pack(500)
    await cached.put(key, body)
    await cached.delete(key)
    assert await cached.head(key) is None
    assert await read(cached, key) is None
    assert files(folder) == []
    await cached.put(key, body)
    await behind.delete(key)  # by another server
    assert await cached.head(key) is None


async def test_a_folder_that_cannot_be_written_is_no_cache_and_no_failure(
    behind: Counting, tmp_path: Path
) -> None:
    (tmp_path / "in-the-way").write_bytes(b"")
    store = CachedStore(behind, PackCache(tmp_path / "in-the-way", 1 << 20))
    key, body = pack(500)
    await store.put(key, parts(body))
    assert await read(store, key) == body
    full = CachedStore(behind, PackCache(Path("/dev/full"), 1 << 20))
    assert await read(full, key) == body


async def test_many_readers_and_two_caches_on_one_folder_agree(
    behind: Counting, folder: Path
) -> None:
    stores = [CachedStore(behind, PackCache(folder, 60_000)) for _ in range(2)]
    packs = [pack(20_000, seed) for seed in range(5)]
    for key, body in packs:
        await behind.put(key, body)

    async def reading(store: CachedStore, turn: int) -> None:
        for at in range(10):
            key, body = packs[(at * 3 + turn) % 5]
            assert await read(store, key) == body

    async with anyio.create_task_group() as group:
        for turn in range(6):
            group.start_soon(reading, stores[turn % 2], turn)
    assert not [name for name in files(folder) if name.startswith(".part-")]
    assert len(files(folder)) <= 3


async def test_what_a_killed_process_left_goes_when_room_is_needed(
    behind: Counting, folder: Path
) -> None:
    store = CachedStore(behind, PackCache(folder, 50_000))
    await store.put(*pack(1000))
    left = folder / ".part-0123"
    left.write_bytes(b"x" * 45_000)
    os.utime(left, (1, 1))
    await store.put(*pack(20_000, 1))
    assert not left.exists()
    assert len(files(folder)) == 2
