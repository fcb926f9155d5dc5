"""The golden repository of version 1: ours and the oracle read it to the same result, for ever.

When one of these fails, what was saved by users can no longer be read as it was: change the code,
never the golden bytes. A version 2 gets a golden repository of its own beside this one.
"""

import asyncio
import json
from functools import cache
from pathlib import Path

import pytest

from limpet.ids import AgentId, Branch, OrgId
from limpet.snapshots.lineage import MAIN, BranchRef, Head, Lineage
from limpet.snapshots.receiving import Receiving
from limpet.snapshots.repository import SnapshotRepository
from limpet.snapshots.restore_tree import restore_stream
from limpet.snapshots.tar_read import TarLimits, extract_tar
from limpet.snapshots.trees import TreeBlobs
from limpet.stores.keys import head_key
from limpet.stores.local import LocalStore
from tests.snapshots import oracle
from tests.snapshots.engine import over
from tests.snapshots.golden import listing
from tests.snapshots.packed_streams import opened
from tests.snapshots.trees import scratch_folder

GOLDEN = Path(listing.__file__).parent
STORE = GOLDEN / "store"
BIG = BranchRef(OrgId("org"), AgentId("Agent Ü"), Branch("feature/Größe"))
CUT = BranchRef(OrgId("org"), AgentId("cut"), Branch("main"))
TEMPLATE = BranchRef(OrgId("org"), AgentId("from-template"), Branch("main"))
OLDER = BranchRef(OrgId("org"), AgentId("older"), Branch("main"))


@cache
def listed() -> dict[str, list[listing.Row]]:
    told: dict[str, list[listing.Row]] = json.loads((GOLDEN / "listing.json").read_text())
    return told


def head_keys() -> list[str]:
    found = (path.relative_to(STORE).as_posix() for path in STORE.rglob("*") if path.is_file())
    return sorted(key for key in found if "/heads/" in key)


def repository() -> SnapshotRepository:
    return SnapshotRepository(LocalStore(STORE))


def every_head() -> dict[str, Head]:
    async def run() -> list[Head]:
        ours = repository()
        return [head for ref in (BIG, CUT, TEMPLATE) for head in await ours.history(ref)]

    return {
        head_key(h.ref.org, h.ref.agent, h.ref.branch, h.generation, h.lineage): h
        for h in asyncio.run(run())
    }


def restored(head: Head, into: Path) -> list[listing.Row]:
    async def stream() -> list[bytes]:
        ours = repository()
        if head.packed is None:
            return [chunk async for chunk in await ours.open_tar(head)]
        return [chunk async for chunk in await ours.open_packed(head)]

    chunks = asyncio.run(stream())
    if head.packed is None:
        extract_tar(iter(chunks), into, limits=TarLimits())
        return listing.of_folder(into)
    restore_stream(iter(chunks), into, expect_root=head.blake3)
    return listing.of_folder(into)


def test_the_listing_is_of_every_head_that_there_is() -> None:
    assert [key for key in listed() if not key.startswith("streams/")] == head_keys()
    assert sorted(every_head()) == head_keys()


@pytest.mark.parametrize("key", head_keys())
def test_the_oracle_reads_each_snapshot(key: str) -> None:
    read = oracle.read_snapshot(STORE, key)
    rows = (
        listing.of_items(read.items) if read.items is not None else listing.of_tar(read.tar or b"")
    )
    assert rows == listed()[key]


@pytest.mark.parametrize("key", head_keys())
def test_ours_restores_each_snapshot(key: str) -> None:
    with scratch_folder() as folder:
        rows = restored(every_head()[key], folder / "back")
        assert rows == listing.without_segments(listed()[key])


@pytest.mark.parametrize("key", head_keys())
def test_ours_gives_each_packed_snapshot_as_a_tar_too(key: str) -> None:
    head = every_head()[key]

    async def tar() -> list[bytes]:
        return [chunk async for chunk in await repository().open_tar(head)]

    with scratch_folder() as folder:
        extract_tar(iter(asyncio.run(tar())), folder / "back", limits=TarLimits())
        rows = listing.of_folder(folder / "back")
        assert rows == listing.without_segments(listed()[key])


@pytest.mark.parametrize("key", head_keys())
def test_ours_verifies_each_snapshot(key: str) -> None:
    asyncio.run(repository().verify(every_head()[key]))


def test_the_newest_of_each_branch_is_its_head() -> None:
    async def run() -> list[tuple[int, str]]:
        found = []
        for ref in (BIG, CUT, TEMPLATE, OLDER):
            lookup = await repository().lookup(ref)
            assert not lookup.damaged
            assert lookup.head is not None
            found.append((lookup.head.generation, lookup.head.kind))
        return found

    assert asyncio.run(run()) == [(4, "tree"), (1, "tree"), (1, "tree"), (0, "tar")]


def test_it_holds_what_version_1_can_hold() -> None:
    heads = every_head()
    assert {head.kind for head in heads.values()} == {"tree", "tar"}
    assert {head.lineage for head in heads.values()} == {MAIN, Lineage("side-" + SIDE)}
    assert any(ref.shared for head in heads.values() if head.packed for ref in head.packed.packs)
    rows = [row for key in head_keys() for row in listed()[key]]
    assert {row["kind"] for row in rows} == {"file", "folder", "symlink", "hard link"}
    assert any(len(row.get("segments", ())) > 1 for row in rows)
    assert any(row.get("size", 0) > 64 << 20 for row in rows)
    big = heads[head_keys()[0]]
    read = oracle.read_stream(b"".join(_plan(big)))
    nodes = [blob for blob in read.blobs(oracle.TREE).values() if blob.startswith(b"LTN1")]
    assert max(oracle.read_node(blob).level for blob in nodes) == 1
    assert any(blob.startswith(b"LCT1") for blob in read.blobs(oracle.TREE).values())


SIDE = next(key for key in head_keys() if "~side-" in key).split("~side-")[1][:12]


def _plan(head: Head) -> list[bytes]:
    async def run() -> list[bytes]:
        return [chunk async for chunk in await repository().open_packed(head, flow="plan")]

    return asyncio.run(run())


def test_holes_come_back_as_holes() -> None:
    with scratch_folder() as folder:
        restored(every_head()[head_keys()[0]], folder / "back")
        for name in ("sparse", "hole"):
            status = (folder / "back" / name).stat()
            assert status.st_size > 8 << 20
            assert status.st_blocks * 512 < 1 << 20


def test_both_read_the_restore_stream() -> None:
    stream = (GOLDEN / "streams" / "restore").read_bytes()
    rows = listed()["streams/restore"]
    assert listing.of_items(oracle.read_restore(stream)) == rows
    with scratch_folder() as folder:
        restore_stream(iter([stream]), folder / "back")
        assert listing.of_folder(folder / "back") == listing.without_segments(rows)


def test_both_read_the_plan_and_the_save() -> None:
    plan = (GOLDEN / "streams" / "plan").read_bytes()
    theirs = oracle.read_stream(plan)

    ours = asyncio.run(opened(over(iter([plan]))))
    assert dict(ours.trees) == dict(theirs.blobs(oracle.TREE))
    save = (GOLDEN / "streams" / "save").read_bytes()
    sent = oracle.read_stream(save)
    base = sent.header["base"]
    assert isinstance(base, str)
    receiving = Receiving(base)
    receiving.feed(save)
    data = [
        one.decoded.blob(n) for one in receiving.frames()[0] for n in range(len(one.decoded.sizes))
    ]
    root, _ = receiving.finish()
    trees: TreeBlobs = receiving.trees
    assert {name: trees.blob(name) for name in trees} == dict(sent.blobs(oracle.TREE))
    assert sorted(data) == sorted(sent.blobs(oracle.DATA).values())
    assert sent.end["root"] == {
        "node": root.node.hex(),
        "mode": root.mode,
        "mtime_ns": root.mtime_ns,
    }
