"""check: any damage is named, with the snapshots that it touches; what is whole is not."""

import asyncio
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from limpet.ids import AgentId, Branch, OrgId
from limpet.snapshots.check import check
from limpet.snapshots.findings import Finding
from limpet.snapshots.lineage import BranchRef, encode_head
from limpet.snapshots.stored_heads import orgs_in
from limpet.stores.local import LocalStore
from tests.snapshots.damaging import Past, changed_at, each_damage, findings, key_of, put
from tests.snapshots.engine import Engine
from tests.snapshots.golden import listing
from tests.snapshots.trees import scratch_folder


@pytest.fixture(scope="module")
def made() -> Iterator[Past]:
    with scratch_folder() as folder:
        yield Past(folder)


@pytest.fixture
def past(made: Past) -> Iterator[Past]:
    """The same past each time: what a test does to its store is undone."""
    spare = made.store.with_name("spare")
    shutil.copytree(made.store, spare)
    yield made
    shutil.rmtree(made.store)
    spare.rename(made.store)


def told(found: list[Finding]) -> set[tuple[str, str]]:
    return {(one.kind, one.key) for one in found}


def generations(finding: Finding) -> list[int]:
    return [place.generation for place in finding.snapshots]


@pytest.mark.parametrize("read_data", [False, True])
def test_nothing_is_found_where_nothing_is_wrong(past: Past, read_data: bool) -> None:
    assert past.findings(read_data=read_data) == []


@pytest.mark.parametrize("read_data", [False, True])
def test_nothing_is_wrong_with_the_golden_repository(read_data: bool) -> None:
    store = Path(listing.__file__).parent / "store"
    assert findings(store, read_data=read_data) == []


@pytest.mark.parametrize("kind", ["heads", "packs", "trees", "tars"])
def test_every_damage_of_every_object_is_named(past: Past, kind: str) -> None:
    for name, path, body in each_damage(past.objects(kind)):
        before = path.read_bytes()
        put(path, body)
        found = past.findings()
        if kind == "heads" and body is None:
            assert not [one for one in found if one.damage], "a head that is gone says nothing"
        else:
            assert past.key(path) in {one.key for one in found if one.damage}, name
        put(path, before)
    assert past.damage() == []


@pytest.mark.parametrize("kind", ["heads", "trees"])
def test_the_structure_shows_every_damage_of_heads_and_folders(past: Past, kind: str) -> None:
    for name, path, body in each_damage(past.objects(kind)):
        if kind == "heads" and body is None:
            continue
        before = path.read_bytes()
        put(path, body)
        found = past.damage(read_data=False)
        assert past.key(path) in {one.key for one in found}, name
        put(path, before)


def test_the_structure_shows_packs_and_tars_that_are_gone_or_of_another_size(past: Past) -> None:
    for name, path, body in each_damage([*past.objects("packs"), *past.objects("tars")]):
        before = path.read_bytes()
        if body is None or len(body) != len(before):
            put(path, body)
            assert past.key(path) in {one.key for one in past.damage(read_data=False)}, name
            put(path, before)


def test_only_reading_the_data_shows_content_that_changed_in_place(past: Past) -> None:
    largest = max(past.objects("packs"), key=lambda path: path.stat().st_size)
    body = largest.read_bytes()
    put(largest, changed_at(body, 100_000))
    assert past.damage(read_data=False) == []
    assert ("pack-damaged", past.key(largest)) in told(past.damage())


def test_the_snapshots_that_a_pack_touches_are_those_that_name_it(past: Past) -> None:
    first = past.heads[0].packed
    assert first is not None
    [pack] = [past.store / f"v1/org/packs/{ref.name}" for ref in first.packs]
    pack.unlink()
    [missing] = [one for one in past.damage() if one.kind == "pack-missing"]
    assert generations(missing) == [1, 2, 3, 5]
    assert missing.touched == 4


def test_what_a_snapshot_lost_is_named_by_its_paths(past: Past) -> None:
    only_third = set(_packs(past, 2)) - set(_packs(past, 1))
    for pack in only_third:
        (past.store / f"v1/org/packs/{pack}").unlink()
    lost = {
        one.key: (one.lost, one.paths) for one in past.damage() if one.kind == "snapshot-incomplete"
    }
    assert lost == {
        key_of(past.heads[2]): (1, ("docs/third",)),
        key_of(past.heads[4]): (1, ("docs/third",)),
    }


def _packs(past: Past, number: int) -> list[str]:
    packed = past.heads[number].packed
    assert packed is not None
    return [ref.name for ref in packed.packs]


def test_a_frame_that_is_damaged_loses_what_is_in_it_and_nothing_else(past: Past) -> None:
    [first] = _packs(past, 0)
    path = past.store / f"v1/org/packs/{first}"
    body = path.read_bytes()
    put(path, changed_at(body, 1000))  # a small frame comes first: of the small files
    lost = {one.key: one.paths for one in past.damage() if one.kind == "snapshot-incomplete"}
    assert lost[key_of(past.heads[0])] == ("large",)


def test_a_folder_that_is_lost_is_named_with_all_that_was_in_it(past: Past) -> None:
    packed = past.heads[0].packed
    assert packed is not None
    for ref in packed.trees:
        (past.store / f"v1/org/trees/{ref.name}").unlink()
    lost = {one.key: one.paths for one in past.damage() if one.kind == "snapshot-incomplete"}
    assert lost[key_of(past.heads[0])] == (".",)


def test_a_head_at_another_place_is_named(past: Past) -> None:
    head = past.store / key_of(past.heads[1])
    elsewhere = head.parent.parent / "other~" / head.name
    elsewhere.parent.mkdir()
    shutil.copy(head, elsewhere)
    assert told(past.damage()) == {("head-repeated", past.key(elsewhere))}
    head.unlink()
    assert ("head-elsewhere", past.key(elsewhere)) in told(past.damage())


def test_a_generation_that_is_there_twice_is_named(past: Past) -> None:
    head = past.store / key_of(past.heads[1])
    shutil.copy(head, head.with_name("000000000009"))
    assert told(past.damage()) == {("head-repeated", past.key(head.with_name("000000000009")))}


def test_what_no_head_names_is_worth_knowing_and_no_damage(past: Past) -> None:
    (past.store / key_of(past.heads[4])).unlink()
    (past.store / key_of(past.heads[3])).unlink()
    stray = past.store / "v1/org/packs/not-a-pack"
    stray.write_bytes(b"?")
    found = past.findings()
    assert not [one for one in found if one.damage]
    assert {one.kind for one in found} == {"pack-unnamed", "tar-unnamed", "unknown-object"}


def test_a_damaged_pack_that_no_head_names_is_damage_since_a_save_may_use_it(past: Past) -> None:
    (past.store / key_of(past.heads[4])).unlink()
    [unnamed] = [
        one for one in past.findings() if one.kind == "pack-unnamed" and "/packs/" in one.key
    ]
    path = past.store / unnamed.key
    put(path, path.read_bytes()[:-1])
    [damaged] = past.damage()
    assert (damaged.kind, damaged.key, damaged.touched) == ("pack-damaged", unnamed.key, 0)


def test_packs_of_the_templates_are_looked_at_where_they_are_named() -> None:
    with scratch_folder() as folder:
        store = folder / "store"
        shutil.copytree(Path(listing.__file__).parent / "store", store)
        [first, *_] = sorted((store / "v1/_templates/packs").iterdir())
        first.unlink()
        found = findings(store)
        assert ("pack-missing", f"v1/_templates/packs/{first.name}") in told(found)


def test_a_tar_of_the_older_layout_is_read_too() -> None:
    with scratch_folder() as folder:
        store = folder / "store"
        shutil.copytree(Path(listing.__file__).parent / "store", store)
        older = store / "org/older/main.tar"
        put(older, older.read_bytes()[:700])
        assert told(findings(store)) == {("tar-damaged", "org/older/main.tar")}


def test_each_org_is_looked_at_alone_and_all_are_found() -> None:
    with scratch_folder() as folder:
        names = ["plain", "With Capitals", "_under"]
        for name in names:
            ref = BranchRef(OrgId(name), AgentId("agent"), Branch("main"))
            engine = Engine(folder, ref)
            engine.workspace.mkdir(exist_ok=True)
            (engine.workspace / "a").write_text(name)
            engine.save()
        store = folder / "store"
        found = asyncio.run(orgs_in(LocalStore(store)))
        assert sorted(found) == sorted(names)
        for pack in (store / "v1/plain/packs").iterdir():
            pack.unlink()
        assert findings(store, "plain")
        assert not findings(store, "With Capitals")


def test_how_far_it_has_come_is_told(past: Past) -> None:
    seen: list[tuple[str, int, int]] = []

    async def run() -> None:
        store = LocalStore(past.store)
        progress = lambda *told: seen.append(told)  # noqa: E731
        async for _ in check(store, OrgId("org"), read_data=True, on_progress=progress):
            pass

    asyncio.run(run())
    assert [phase for phase, _, _ in dict.fromkeys((p, 0, 0) for p, _, _ in seen)] == [
        "heads", "packs", "snapshots", "tars",
    ]  # fmt: skip
    for phase in ("heads", "packs", "snapshots", "tars"):
        of_phase = [(done, total) for p, done, total in seen if p == phase]
        assert [done for done, _ in of_phase] == list(range(1, of_phase[-1][1] + 1))


def test_a_head_of_another_org_is_named(past: Past) -> None:
    head = past.heads[0]
    other = BranchRef(OrgId("org2"), head.ref.agent, head.ref.branch)
    put(past.store / key_of(head), encode_head(replace(head, ref=other)))
    assert ("head-elsewhere", key_of(head)) in told(past.damage())
