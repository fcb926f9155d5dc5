"""repair: what is whole stays or becomes usable, nothing is deleted, and it may die anywhere."""

import asyncio
import json
import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from limpet.errors import NotEnoughSpaceError
from limpet.ids import AgentId, Branch, OrgId
from limpet.snapshots.blobs import hash_of
from limpet.snapshots.edited_tree import Edit
from limpet.snapshots.findings import SnapshotPlace
from limpet.snapshots.lineage import MAIN, BranchRef, Head, encode_head
from limpet.snapshots.pack_maker import PackMaker
from limpet.snapshots.repair import REPAIR_STEPS, RepairReport, repair
from limpet.snapshots.repository import SnapshotRepository
from limpet.snapshots.restore_tree import restore_stream
from limpet.snapshots.sound_packs import SoundPacks
from limpet.snapshots.stored_heads import orgs_in
from limpet.snapshots.tar_read import TarLimits, extract_tar
from limpet.stores.keys import TEMPLATES_ORG
from limpet.stores.local import LocalStore
from tests.sampled import one_in
from tests.snapshots import oracle
from tests.snapshots.damaging import Past, changed_at, each_damage, findings, frames_in, key_of, put
from tests.snapshots.engine import REF, Engine, objects
from tests.snapshots.golden import listing
from tests.snapshots.trees import Description, describe, scratch_folder

pytestmark = pytest.mark.long

SHORT_OR_FULL = [False, pytest.param(True, marks=pytest.mark.engine_fault)]


@pytest.fixture(scope="module")
def made() -> Iterator[Past]:
    with scratch_folder() as folder:
        yield Past(folder)


@pytest.fixture
def past(made: Past) -> Iterator[Past]:
    """The same past each time: what a test does to its store is undone."""
    with kept(made.store):
        yield made


@contextmanager
def kept(store: Path) -> Iterator[None]:
    """What is done to the store in the block is undone."""
    with scratch_folder() as folder:
        shutil.copytree(store, folder / "spare")
        try:
            yield
        finally:
            shutil.rmtree(store)
            shutil.copytree(folder / "spare", store)


def repaired(store: Path, org: str = "org") -> RepairReport:
    return asyncio.run(repair(LocalStore(store), OrgId(org)))


def contents(store: Path) -> dict[str, bytes]:
    return {
        path.relative_to(store).as_posix(): path.read_bytes()
        for path in objects(store)
        if not path.name.startswith(".")
    }


def restored(past: Past, head: Head) -> Description:
    """A snapshot as it comes back, read by somebody who knows nothing of it but where it is."""
    repository = SnapshotRepository(LocalStore(past.store))
    chunks: list[bytes] = []

    async def read() -> None:
        if head.packed is None:
            chunks.extend([chunk async for chunk in await repository.open_tar(head)])
        else:
            chunks.extend([chunk async for chunk in await repository.open_packed(head)])

    into = past.store.with_name("back")
    asyncio.run(read())
    try:
        if head.packed is None:
            extract_tar(iter(chunks), into, limits=TarLimits())
        else:
            restore_stream(iter(chunks), into, expect_root=head.blake3)
        return describe(into)
    finally:
        shutil.rmtree(into, ignore_errors=True)


def history(past: Past) -> list[Head]:
    return asyncio.run(SnapshotRepository(LocalStore(past.store)).history(REF))


def usable(past: Past) -> Head | None:
    found = asyncio.run(SnapshotRepository(LocalStore(past.store)).lookup(REF))
    return found.head


def naming(past: Past, pack: Path) -> list[Head]:
    """The snapshots that need a pack, newest first."""
    return [
        head
        for head in reversed(past.heads)
        if head.packed is not None
        and pack.name in {ref.name for ref in (*head.packed.packs, *head.packed.trees)}
    ]


def assert_all_that_is_left_is_good(
    past: Past, report: RepairReport, newest: Head | None = None
) -> None:
    """No damage is left; every snapshot that is not told to be incomplete comes back as it was."""
    assert past.damage() == []
    aside = {note.key for note in report.incomplete}
    there = {head.snapshot: head for head in history(past)}
    for head, looked in zip(past.heads, past.looked, strict=True):
        if head.snapshot in there and key_of(head) not in aside:
            assert restored(past, there[head.snapshot]) == looked, head.generation
    whole = [head for head in past.heads if head.snapshot in there and key_of(head) not in aside]
    newest = newest or (whole[-1] if whole else None)
    found = usable(past)
    assert (found and found.snapshot) == (newest and newest.snapshot)


def assert_a_second_repair_changes_nothing(store: Path, what: str = "", org: str = "org") -> None:
    after = contents(store)
    assert repaired(store, org) == RepairReport(), what
    assert contents(store) == after, what


def test_where_nothing_is_wrong_nothing_is_changed(past: Past) -> None:
    before = contents(past.store)
    assert repaired(past.store) == RepairReport()
    assert contents(past.store) == before


@pytest.mark.parametrize("kind", ["heads", "packs", "trees", "tars"])
@pytest.mark.parametrize("fully", SHORT_OR_FULL, ids=["short", "full"])
def test_after_any_damage_everything_else_is_whole(past: Past, kind: str, fully: bool) -> None:
    paths = past.objects(kind)
    every = list(each_damage(paths))
    for name, path, body in every if fully else every[:: len(paths)]:  # each damage once
        with kept(past.store):
            put(path, body)
            assert_all_that_is_left_is_good(past, repaired(past.store))
            assert_a_second_repair_changes_nothing(past.store, name)


@pytest.mark.parametrize("fully", SHORT_OR_FULL, ids=["short", "full"])
def test_after_two_damages_at_once_everything_else_is_whole(past: Past, fully: bool) -> None:
    kinds = [past.objects(kind) for kind in ("heads", "packs", "trees", "tars")]
    every = [one for paths in kinds for one in each_damage(paths)]
    dice = random.Random(1)
    for _ in range(200 if fully else 10):
        with kept(past.store):
            done = []
            for name, path, body in dice.sample(every, 2):
                path.unlink(missing_ok=True)
                if body is not None:
                    path.write_bytes(body)
                done.append((name, past.key(path)))
            assert_all_that_is_left_is_good(past, repaired(past.store))
            assert_a_second_repair_changes_nothing(past.store, str(done))


@pytest.mark.parametrize("there", [False, True])
def test_content_in_a_damaged_pack_that_no_head_names_is_found_there(
    past: Past, there: bool
) -> None:
    first = past.heads[0].packed
    assert first is not None
    [needed] = [past.store / f"v1/org/packs/{ref.name}" for ref in first.packs]
    body = needed.read_bytes()
    other = needed.with_name("0" * 64)
    put(other, body[:-1])
    put(needed, changed_at(body, len(body) // 2) if there else None)
    report = repaired(past.store)
    assert past.key(needed) in report.made
    assert needed.read_bytes() == body, "the name tells that it is the same pack"
    assert [place.generation for place in report.whole_again] == [5, 3, 2, 1]
    assert not report.incomplete
    assert_all_that_is_left_is_good(past, report)


def test_a_snapshot_whose_pack_comes_back_is_whole_again(past: Past) -> None:
    pack = past.objects("packs")[0]
    body = pack.read_bytes()
    put(pack, None)
    assert repaired(past.store).incomplete
    assert "snapshot-set-aside" in {one.kind for one in past.findings()}
    put(pack, body)
    assert "snapshot-set-aside" not in {one.kind for one in past.findings()}
    assert_all_that_is_left_is_good(past, repaired(past.store))


@pytest.mark.parametrize("kind", ["packs", "trees"])
@pytest.mark.parametrize("how", ["index", "end", "header", "frame header"])
def test_a_lost_header_or_index_is_made_again_to_the_byte(past: Past, kind: str, how: str) -> None:
    for path in past.objects(kind):
        body = path.read_bytes()
        index = int.from_bytes(body[-8:-4], "little")
        changed = {
            "index": body[:-index] + bytes(index),
            "end": body[:-index],
            "header": bytes(16) + body[16:],
            "frame header": body[:20] + bytes(12) + body[32:],
        }[how]
        put(path, changed)
        before = {key: told for key, told in contents(past.store).items() if key != past.key(path)}
        report = repaired(past.store)
        assert report.put_back == [past.key(path)]
        assert report.whole_again == [SnapshotPlace.of(head) for head in naming(past, path)]
        assert contents(past.store) == {**before, past.key(path): body}, "nothing else changed"
    assert past.findings() == []


def test_a_snapshot_that_lost_nothing_is_found_elsewhere(past: Past) -> None:
    pack = past.lose("first", 0)
    report = repaired(past.store)
    assert [place.generation for place in report.whole_again] == [5, 3, 2]
    assert [note.key for note in report.incomplete] == [key_of(past.heads[0])]
    assert report.incomplete[0].paths == ("first",)
    assert len(report.made) == 1
    assert report.moved == [past.key(pack)]
    assert usable(past) is not None
    assert_all_that_is_left_is_good(past, report)


def test_a_head_that_is_pointed_elsewhere_is_the_same_snapshot(past: Past) -> None:
    past.lose("first", 0)
    repaired(past.store)
    now = {head.generation: head for head in history(past)}
    for head in past.heads[1:3]:
        assert head.packed is not None
        same = replace(now[head.generation], packed=head.packed)
        assert same == head
        assert now[head.generation].packed != head.packed
    before = encode_head(past.heads[1])
    assert before in contents(past.store).values(), "the head as it was is kept"


def test_content_that_the_templates_hold_too_is_found_there() -> None:
    golden = Path(listing.__file__).parent
    told = json.loads((golden / "listing.json").read_text())
    with scratch_folder() as folder:
        store = folder / "store"
        shutil.copytree(golden / "store", store)
        for shared in (store / "v1/_templates").rglob("*"):
            twin = store / "v1/org" / shared.relative_to(store / "v1/_templates")
            if shared.is_file():
                twin.unlink()
        assert findings(store)
        report = repaired(store)
        assert not [one for one in findings(store) if one.damage]
        assert not report.incomplete
        for path in (store / "v1/org/heads").rglob("0*"):
            key = path.relative_to(store).as_posix()
            read = oracle.read_snapshot(store, key)
            if read.items is not None:
                assert listing.of_items(read.items) == told[key]


def test_a_damaged_pack_of_the_templates_is_mended_for_all_who_name_it() -> None:
    with scratch_folder() as folder:
        store = folder / "store"
        template = Engine(folder, BranchRef(TEMPLATES_ORG, AgentId("webapp"), Branch("host")))
        template.workspace.mkdir()
        for name in ("one", "two"):
            (template.workspace / name).write_bytes(os.urandom(1 << 20))
        head = template.save()
        edits: dict[bytes, Edit] = {b"mine": b"of the org"}
        asyncio.run(template.repository.begin(head, edits, ref=REF, fencing=1))
        [pack] = (store / "v1/_templates/packs").iterdir()
        body = pack.read_bytes()
        put(pack, body[:-1])
        orgs = asyncio.run(orgs_in(LocalStore(store)))
        assert orgs == ["org", TEMPLATES_ORG]
        assert repaired(store, "org").put_back == [f"v1/_templates/packs/{pack.name}"]
        assert pack.read_bytes() == body
        assert repaired(store, TEMPLATES_ORG) == RepairReport()

        put(pack, changed_at(body, len(body) // 4))
        for org in orgs:
            [note] = repaired(store, org).incomplete
            assert note.paths == ("one",)
            assert not [one for one in findings(store, org) if one.damage]
        [side] = asyncio.run(template.repository.side_lineages(REF))
        template.restore(side, folder / "back")
        assert sorted(path.name for path in (folder / "back").iterdir()) == ["mine", "two"]
        for org in orgs:
            assert_a_second_repair_changes_nothing(store, org=org)


def test_the_rest_of_the_newest_is_kept_aside_when_nothing_newer_is_whole(past: Past) -> None:
    past.lose("large", 0)
    report = repaired(past.store)
    assert [note.key for note in report.incomplete] == [
        key_of(head) for head in reversed(past.heads) if head.kind == "tree"
    ]
    newest = report.incomplete[0]
    assert newest.paths == ("large",)
    assert [note.kept_in for note in report.incomplete[1:]] == [None, None, None]
    [side] = [head for head in history(past) if head.lineage != MAIN]
    assert (side.lineage, side.side_reason, side.reason) == (newest.kept_in, "repair", "repair")
    assert side.parent == past.heads[4].snapshot
    assert not side.receipt.complete
    assert [one.path for one in side.receipt.skipped] == ["large"]
    expected = {path: look for path, look in past.looked[4].items() if path != b"/large"}
    assert restored(past, side) == expected
    head = usable(past)
    assert head is not None
    assert head.kind == "tar", "the newest that is wholly there"
    assert restored(past, head) == past.looked[3]
    assert_all_that_is_left_is_good(past, report)


def test_the_rest_of_one_that_a_user_named_is_kept_aside_too(past: Past) -> None:
    path = past.store / key_of(past.heads[1])
    path.write_bytes(encode_head(replace(past.heads[1], name="before the change")))
    past.lose("large", 0)
    report = repaired(past.store)
    kept = {note.key: note.kept_in for note in report.incomplete}
    assert kept[key_of(past.heads[1])] is not None
    named = [head for head in history(past) if head.lineage == kept[key_of(past.heads[1])]]
    assert [head.name for head in named] == ["before the change"]


def test_hard_links_to_what_is_lost_go_with_it() -> None:
    with scratch_folder() as folder:
        engine = Engine(folder)
        work = engine.workspace
        (work / "a").mkdir(parents=True)
        (work / "large").write_bytes(os.urandom(3 << 20))
        os.link(work / "large", work / "a" / "link")
        (work / "a" / "small").write_text("small")
        head = engine.save()
        [path] = [one for one in objects(folder / "store") if "/packs/" in str(one)]
        body = path.read_bytes()
        put(path, changed_at(body, len(body) // 2))
        report = repaired(folder / "store")
        assert report.incomplete[0].paths == ("a/link", "large")
        [side] = asyncio.run(engine.repository.side_lineages(REF))
        assert side.blake3 != head.blake3
        engine.restore(side, folder / "back")
        assert sorted(path.name for path in (folder / "back").rglob("*")) == ["a", "small"]
        assert not [one for one in findings(folder / "store") if one.damage]


def test_a_snapshot_whose_folder_is_none_is_set_aside(past: Past) -> None:
    head = past.heads[4]
    assert head.packed is not None
    maker = PackMaker("tree")
    maker.add_blob(hash_of(b"no folder"), b"no folder")
    [pack] = maker.take_finished(last=True)
    (past.store / f"v1/org/trees/{pack.ref.name}").write_bytes(b"".join(pack.chunks))
    root = replace(head.packed.root, node=hash_of(b"no folder"))
    packed = replace(head.packed, root=root, trees=(*head.packed.trees, pack.ref))
    changed = encode_head(replace(head, packed=packed, blake3=root.digest))
    put(past.store / key_of(head), changed)
    report = repaired(past.store)
    assert [(note.key, note.paths, note.kept_in) for note in report.incomplete] == [
        (key_of(head), (".",), None)
    ]
    assert past.damage() == []
    assert_a_second_repair_changes_nothing(past.store)


def test_of_a_big_folder_that_lost_a_part_the_rest_is_kept() -> None:
    with scratch_folder() as folder:
        engine = Engine(folder)
        many = engine.workspace / "many"
        many.mkdir(parents=True)
        for number in range(30_000):
            (many / f"{number:05}-{'x' * 60}").write_bytes(b"")
        engine.save()
        trees = [one for one in objects(folder / "store") if "/trees/" in str(one)]
        path = max(trees, key=lambda one: one.stat().st_size)
        body = path.read_bytes()
        start, length = list(frames_in(body))[1]
        put(path, changed_at(body, start + length // 2))
        report = repaired(folder / "store")
        assert report.incomplete[0].paths[0] == "many/"
        [side] = asyncio.run(engine.repository.side_lineages(REF))
        engine.restore(side, folder / "back")
        left = len(list((folder / "back" / "many").iterdir()))
        assert 0 < left < 30_000
        assert not [one for one in findings(folder / "store") if one.damage]


def test_the_workspace_is_saved_as_ever_after_a_repair(past: Past) -> None:
    past.lose("large", 0)
    repaired(past.store)
    engine = Engine(past.engine.folder)
    engine.head = usable(past)
    assert engine.head is not None
    engine.head = replace(engine.head, generation=past.heads[-1].generation)
    saved = engine.save(from_head=False)
    assert saved.generation == past.heads[-1].generation + 1
    assert restored(past, saved) == describe(engine.workspace)
    assert usable(past) == saved
    report = repaired(past.store)
    assert [place.generation for place in report.whole_again] == [5, 3, 2, 1], "it was brought back"
    assert_all_that_is_left_is_good(past, RepairReport(), newest=saved)


def test_nothing_that_was_damaged_is_deleted(past: Past) -> None:
    pack = past.lose("large", 0)
    [tar] = past.objects("tars")
    put(tar, tar.read_bytes()[:-1])
    before = contents(past.store)
    report = repaired(past.store)
    assert sorted(report.moved) == sorted([past.key(pack), past.key(tar)])
    assert set(before.values()) <= set(contents(past.store).values())


@pytest.mark.parametrize("step", one_in(3, REPAIR_STEPS))
def test_one_that_is_killed_anywhere_can_be_done_again(past: Past, step: str) -> None:
    named = encode_head(replace(past.heads[0], name="the first"))
    (past.store / key_of(past.heads[0])).write_bytes(named)
    past.lose("first", 0)
    for path in (past.objects("trees")[0], past.objects("tars")[0]):
        put(path, path.read_bytes()[:-1])
    with kept(past.store):
        report = repaired(past.store)
        expected = _lasting(contents(past.store))
    for time in (1, 2):
        with kept(past.store):
            died = _killed(past.store, f"{step}@{time}")
            assert died or time > 1, "the step is one of this repair's"
            repaired(past.store)
            assert _lasting(contents(past.store)) == expected
            assert_all_that_is_left_is_good(past, report)
            assert_a_second_repair_changes_nothing(past.store)


def test_one_that_is_killed_after_it_kept_the_rest_keeps_no_more_the_next_time(past: Past) -> None:
    past.lose("large", 0)
    put(past.objects("tars")[0], None)
    assert _killed(past.store, "repair-note-kept@1")
    report = repaired(past.store)
    assert [note.kept_in for note in report.incomplete] == [None, None, None, None]
    [side] = asyncio.run(SnapshotRepository(LocalStore(past.store)).side_lineages(REF))
    assert side.parent == past.heads[4].snapshot
    assert_a_second_repair_changes_nothing(past.store)


def test_a_repair_that_cannot_look_blobs_up_takes_none_for_lost(past: Past) -> None:
    sound = SoundPacks(LocalStore(past.store), OrgId("org"))
    sound.close()
    with pytest.raises(NotEnoughSpaceError):
        asyncio.run(sound.find("data", [hash_of(b"anything")]))


def _killed(store: Path, point: str) -> bool:
    code = (
        "import asyncio, sys; from pathlib import Path; from limpet.ids import OrgId;"
        "from limpet.snapshots.repair import repair; from limpet.stores.local import LocalStore;"
        "asyncio.run(repair(LocalStore(Path(sys.argv[1])), OrgId('org')))"
    )
    environ = {**os.environ, "LIMPET_FAULT": f"{point}:kill"}
    ran = subprocess.run([sys.executable, "-c", code, str(store)], env=environ, check=False)
    assert ran.returncode in {0, -signal.SIGKILL}
    return ran.returncode != 0


def _lasting(found: dict[str, bytes]) -> dict[str, bytes | None]:
    """What is stored, but for the side heads' ids and times."""
    return {key: None if "~side-" in key else body for key, body in found.items()}
