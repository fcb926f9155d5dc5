"""Prune: what is needed is never deleted, whatever saves do meanwhile and whatever clocks say."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from blake3 import blake3

from limpet.errors import ConflictError, FencedError
from limpet.ids import AgentId, Branch, OrgId, SnapshotId
from limpet.snapshots import prune as prune_module
from limpet.snapshots.blobs import BlobHash
from limpet.snapshots.check import check
from limpet.snapshots.lineage import MAIN, BranchRef, Head, Lineage
from limpet.snapshots.pack import FinishedPack
from limpet.snapshots.pack_maker import PackMaker
from limpet.snapshots.pack_store import PackStore
from limpet.snapshots.prune import (
    PRUNE_STEPS,
    PruneRefusedError,
    PruneReport,
    PruneRules,
    PruneStoppedError,
    prune,
)
from limpet.snapshots.repository import Saved, SnapshotRepository
from limpet.snapshots.retention import RetentionPolicy
from limpet.snapshots.reuse import PackGoneError
from limpet.snapshots.snapshot_names import TurnNote
from limpet.snapshots.stored_heads import stored_head_key
from limpet.stores.keys import TEMPLATES_ORG, head_key, pack_key
from limpet.stores.local import LocalStore
from tests.snapshots.packed_streams import in_pieces, opened, save_stream, tree_of
from tests.snapshots.packed_trees import PackedTree
from tests.snapshots.prune_schedules import run_schedule

pytestmark = pytest.mark.anyio
ORG = OrgId("acme")
REF = BranchRef(ORG, AgentId("a"), Branch("main"))
DAY = timedelta(days=1)
LAST_ONE = RetentionPolicy(last=1, hours=0, days=0)


@dataclass
class Past:
    """A store whose objects grow older when it is told so, as if its clock had been moved."""

    folder: Path
    now: datetime = field(default_factory=lambda: datetime.now(UTC))

    def __post_init__(self) -> None:
        self.store = LocalStore(self.folder / "store")
        self.repository = SnapshotRepository(self.store, self.folder / "cache")

    async def save(
        self, content: dict[str, object], base: tuple[Head, PackedTree] | None = None,
        *, ref: BranchRef = REF, after: int | None = None, lineage: Lineage = MAIN,
        name: str | None = None, stream: AsyncIterator[bytes] | None = None,
    ) -> tuple[Head, PackedTree]:  # fmt: skip
        tree = tree_of(content)
        head, before = base or (None, None)
        saved: Saved = await self.repository.save_packed(
            ref, stream or in_pieces(save_stream(tree, before)), base=head, reason="manual",
            parent=head.snapshot if head else None, fencing=1, name=name, lineage=lineage,
            expected_generation=after if after is not None else head.generation if head else 0,
        )  # fmt: skip
        return saved.head, tree

    def grow_older(self, by: timedelta) -> None:
        """Time passes, by the clock here and by the store's."""
        self.now += by
        for path in (self.folder / "store").rglob("*"):
            if path.is_file():
                seen = path.stat()
                os.utime(
                    path,
                    ns=(
                        seen.st_atime_ns,
                        seen.st_mtime_ns - int(by / timedelta(microseconds=1)) * 1000,
                    ),
                )

    async def prune(
        self, policy: RetentionPolicy = LAST_ONE, *, keep: set[SnapshotId] | None = None,
        dry_run: bool = False, now: datetime | None = None,
    ) -> PruneReport:  # fmt: skip
        rules = PruneRules(lambda _agent: policy, keep or set())
        return await prune(self.store, ORG, rules, now=lambda: now or self.now, dry_run=dry_run)

    async def pruned_out(self, policy: RetentionPolicy = LAST_ONE) -> None:
        """Everything that can go has gone."""
        for _ in range(3):
            await self.prune(policy)
            self.grow_older(DAY)
        await self.prune(policy)

    async def comes_back(self, head: Head, tree: PackedTree) -> None:
        await self.repository.verify(head)
        found = await opened(await self.repository.open_packed(head))
        assert (found.data, found.trees) == (tree.data, tree.trees)

    async def damage(self, org: OrgId = ORG) -> list[str]:
        return [
            f"{one.kind} {one.key}"
            async for one in check(self.store, org, read_data=True)
            if one.damage
        ]

    def objects(self, folder: str) -> list[Path]:
        where = self.folder / "store/v1/acme" / folder
        return sorted(path for path in where.rglob("*") if path.is_file())


@pytest.fixture
def past(tmp_path: Path) -> Past:
    return Past(tmp_path)


async def test_old_snapshots_go_a_day_after_they_were_condemned_and_their_packs_a_day_later(
    past: Past,
) -> None:
    first = await past.save({"a": b"a" * 5000, "b": b"both"})
    second = await past.save({"b": b"both", "c": b"c" * 3000}, first)
    past.grow_older(DAY)
    told = await past.prune()
    assert (told.snapshots, told.condemned_snapshots, told.deleted_snapshots) == (2, 1, 0)
    past.grow_older(DAY - timedelta(seconds=5))
    told = await past.prune()
    assert (told.waiting, told.deleted_snapshots, told.condemned_snapshots) == (1, 0, 0)
    past.grow_older(timedelta(seconds=5))
    assert (await past.prune()).deleted_snapshots == 1
    assert await past.repository.history(REF) == [second[0]]
    await past.comes_back(*second)
    packs = len(past.objects("packs"))
    for _ in range(3):
        past.grow_older(DAY)
        await past.prune()
    assert len(past.objects("packs")) == packs, "the first pack still holds b"
    third = await past.save({"c": b"c" * 3000}, None, after=2)
    past.grow_older(DAY)
    await past.pruned_out()
    await past.comes_back(*third)
    assert await past.damage() == []
    assert len(past.objects("packs")) < packs
    assert past.objects("condemned") == []


async def test_what_is_named_in_use_or_the_newest_of_a_side_lineage_stays(past: Past) -> None:
    heads = [await past.save({"n": b"%d" % n}, after=n) for n in range(6)]
    side = Lineage("side-0123456789ab")
    aside = await past.save({"side": b"1"}, after=0, lineage=side)
    newer_aside = await past.save({"side": b"2"}, after=1, lineage=side)
    await past.repository.names.give(REF, heads[1][0].snapshot, "before the move")
    named_at_once = await past.save({"n": b"named"}, after=6, name="kept")
    await past.save({"n": b"last"}, after=7)
    past.grow_older(DAY)
    for _ in range(3):
        await past.prune(keep={heads[3][0].snapshot})
        past.grow_older(DAY)
    left = {head.snapshot for head in await past.repository.history(REF)}
    for head, tree in (heads[1], heads[3], newer_aside, named_at_once):
        assert head.snapshot in left
        await past.comes_back(head, tree)
    assert not left & {heads[0][0].snapshot, heads[2][0].snapshot, aside[0].snapshot}
    assert len(left) == 5


async def test_naming_a_condemned_snapshot_spares_it(past: Past) -> None:
    old = await past.save({"old": b"1"})
    gone = await past.save({"old": b"2"}, after=1)
    await past.save({"new": b"3"}, after=2)
    await past.prune()
    await past.repository.names.give(REF, old[0].snapshot, "after all")
    past.grow_older(DAY)
    told = await past.prune()
    assert (told.spared, told.deleted_snapshots) == (1, 1)
    await past.comes_back(*old)
    assert await past.repository.find(REF, gone[0].snapshot) is None


async def test_what_turns_named_goes_by_their_rule_and_a_person_s_name_spares_it(
    past: Past,
) -> None:
    heads = [await past.save({"n": b"%d" % n}, after=n) for n in range(5)]
    for number, (head, _) in enumerate(heads[:4], 1):
        note = TurnNote("before", number, "thrd_1", f"run_{number}", "user_1")
        await past.repository.names.give(REF, head.snapshot, f"Before turn {number}", note)
    past.grow_older(DAY)
    two = RetentionPolicy(last=1, hours=0, days=0, turns=2)
    assert (await past.prune(two)).condemned_snapshots == 2
    await past.repository.names.give(REF, heads[1][0].snapshot, "a person's")
    past.grow_older(DAY)
    told = await past.prune(two)
    assert (told.deleted_snapshots, told.spared) == (1, 1)
    left = [head.snapshot for head in await past.repository.history(REF)]
    assert sorted(left) == sorted(head.snapshot for head, _ in heads[1:])
    for head, tree in heads[1:]:
        await past.comes_back(head, tree)


async def test_what_people_delete_goes_although_retention_would_keep_it(past: Past) -> None:
    old = await past.save({"old": b"1"}, name="named")
    new = await past.save({"new": b"2"}, after=1)
    await past.repository.names.give(REF, old[0].snapshot, None)
    await past.repository.condemned(ORG).add("deleted", [stored_head_key(old[0])], at=past.now)
    past.grow_older(DAY)
    told = await past.prune(RetentionPolicy())
    assert told.deleted_snapshots == 1
    assert await past.repository.history(REF) == [new[0]]
    assert past.objects("names") == []


async def test_one_clock_that_was_moved_deletes_nothing(past: Past) -> None:
    await past.save({"old": b"1"})
    await past.save({"new": b"2"}, after=1)
    await past.prune()
    ahead = past.now + timedelta(days=400)
    told = await past.prune(now=ahead)
    assert (told.deleted_snapshots, told.deleted_objects, told.waiting) == (0, 0, 1)
    here = past.now
    past.grow_older(DAY * 400)
    assert (await past.prune(now=here)).deleted_snapshots == 0
    assert (await past.prune()).deleted_snapshots == 1


class Held:
    """A save's stream that stops before its last piece until it is let go.

    A save takes pieces of a MiB in turn: when the last one is asked for, all but one were taken.
    """

    def __init__(self, stream: bytes) -> None:
        self.waiting = asyncio.Event()
        self.go_on = asyncio.Event()
        self._stream = stream

    async def chunks(self) -> AsyncIterator[bytes]:
        half = len(self._stream) // 2
        yield self._stream[:half]
        yield self._stream[half:-1]
        self.waiting.set()
        await self.go_on.wait()
        yield self._stream[-1:]


async def test_a_save_stopped_between_dedup_and_commit_while_prune_runs_twice(past: Past) -> None:
    shared = {f"much-{n}": os.urandom(1 << 20) for n in range(4)}
    first = await past.save({**shared, "a": b"a"})
    second = await past.save({"b": b"b"}, after=1)
    await past.repository.condemned(ORG).add("deleted", [stored_head_key(first[0])], at=past.now)
    past.grow_older(DAY)
    await past.prune()  # the first head has gone; its pack is not condemned yet
    content = {**shared, "c": b"c"}
    held = Held(save_stream(tree_of(content), second[1]))
    saving = asyncio.create_task(past.save(content, second, stream=held.chunks()))
    await held.waiting.wait()
    told = await past.prune()
    assert told.condemned_objects
    past.grow_older(DAY)
    assert (await past.prune()).deleted_objects
    held.go_on.set()
    with pytest.raises(PackGoneError):
        await saving
    assert (await past.repository.lookup(REF)).head == second[0]
    again = await past.save(content, second)
    await past.comes_back(*again)
    assert await past.damage() == []


async def test_a_save_does_not_build_upon_what_is_condemned_nor_is_it_kept_from_saving(
    past: Past,
) -> None:
    shared = {"much": b"much of it" * 900}
    first = await past.save({**shared, "a": b"a"})
    second = await past.save({"b": b"b"}, after=1)
    await past.repository.condemned(ORG).add("deleted", [stored_head_key(first[0])], at=past.now)
    past.grow_older(DAY)
    await past.prune()
    assert (await past.prune()).condemned_objects
    content = {**shared, "c": b"c"}
    with pytest.raises(PackGoneError):
        await past.save(content, second)
    third = await past.save(content, second)
    assert not {ref.name for ref in third[0].packed.packs} & {  # type: ignore[union-attr]
        ref.name
        for ref in first[0].packed.packs  # type: ignore[union-attr]
    }
    past.grow_older(DAY)
    told = await past.prune()
    assert told.deleted_objects
    assert told.spared == 0
    await past.comes_back(*third)
    assert await past.damage() == []


async def test_going_back_to_what_is_about_to_go_keeps_it(past: Past) -> None:
    first = await past.save({"a": b"a" * 4000})
    await past.save({"b": b"b"}, after=1)
    await past.prune()
    back = await past.repository.adopt(
        first[0], ref=REF, reason="rollback", parent=None, fencing=1, expected_generation=2
    )
    for _ in range(4):
        past.grow_older(DAY)
        await past.prune()
    assert await past.repository.history(REF) == [back]
    await past.comes_back(back, first[1])


async def test_a_laptop_asleep_for_a_week_in_the_middle_of_a_save(
    past: Past, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept_s = 0.0
    awake = time.monotonic
    for module in ("repository", "prune"):
        monkeypatch.setattr(
            f"limpet.snapshots.{module}.awake_or_asleep_s", lambda: awake() + slept_s
        )
    first = await past.save({"a": b"a"})
    content = {"a": b"a", "b": b"b"}
    held = Held(save_stream(tree_of(content), first[1]))
    saving = asyncio.create_task(past.save(content, first, stream=held.chunks()))
    await held.waiting.wait()
    slept_s = 7 * 86400.0
    past.grow_older(timedelta(days=7))
    held.go_on.set()
    with pytest.raises(ConflictError, match="over six hours"):
        await saving
    assert (await past.repository.lookup(REF)).head == first[0]
    await past.pruned_out()
    await past.comes_back(*first)


@pytest.mark.parametrize("seed", range(5))
async def test_savers_and_prunes_held_anywhere_lose_nothing(seed: int) -> None:
    counts = await run_schedule(seed)
    assert counts.verified


@pytest.mark.parametrize("point", PRUNE_STEPS)
async def test_a_prune_that_is_killed_anywhere_is_gone_on_with(past: Past, point: str) -> None:
    for number in range(5):
        await past.save({"n": os.urandom(900)}, after=number)
    last = await past.save({"n": b"last"}, after=5)
    ended = {"killed": False}
    for _ in range(4):
        past.grow_older(DAY)
        code = (
            "import asyncio, sys; from datetime import *; from pathlib import Path;"
            "from limpet.ids import OrgId; from limpet.stores.local import LocalStore;"
            "from limpet.snapshots.prune import *; from limpet.snapshots.retention import *;"
            "now = datetime.fromisoformat(sys.argv[2]);"
            "rules = PruneRules(lambda _: RetentionPolicy(1, 0, 0));"
            "asyncio.run(prune(LocalStore(Path(sys.argv[1])), OrgId('acme'), rules,"
            " now=lambda: now))"
        )
        ran = await asyncio.create_subprocess_exec(
            sys.executable, "-c", code, str(past.folder / "store"), past.now.isoformat(),
            env={**os.environ, "LIMPET_FAULT": f"{point}:kill"},
        )  # fmt: skip
        ended["killed"] |= await ran.wait() == -signal.SIGKILL
        await past.comes_back(*last)
        assert await past.damage() == []
    assert ended["killed"]
    await past.pruned_out()
    assert await past.repository.history(REF) == [last[0]]
    assert past.objects("condemned") == []
    await past.comes_back(*last)


async def test_a_prune_that_slept_deletes_nothing_any_more(
    past: Past, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = await past.save({"old": b"1"})
    await past.save({"new": b"2"}, after=1)
    await past.prune()
    past.grow_older(DAY)
    real, calls = prune_module.awake_or_asleep_s, 0

    def asleep_once() -> float:
        nonlocal calls
        calls += 1
        return real() + (7 * 86400.0 if calls > 1 else 0)

    monkeypatch.setattr(prune_module, "awake_or_asleep_s", asleep_once)
    with pytest.raises(PruneStoppedError):
        await past.prune()
    await past.comes_back(*old)


async def test_a_prune_that_is_not_ours_any_more_deletes_nothing(past: Past) -> None:
    old = await past.save({"old": b"1"})
    await past.save({"new": b"2"}, after=1)
    await past.prune()
    past.grow_older(DAY)

    async def lost() -> None:
        raise FencedError("Another server prunes now")

    rules = PruneRules(lambda _agent: LAST_ONE)
    with pytest.raises(FencedError):
        await prune(past.store, ORG, rules, now=lambda: past.now, still_ours=lost)
    await past.comes_back(*old)


async def test_while_a_head_cannot_be_read_nothing_is_deleted(past: Past) -> None:
    await past.save({"old": b"1"})
    await past.save({"new": b"2"}, after=1)
    await past.prune()
    past.grow_older(DAY)
    key = head_key(ORG, REF.agent, Branch("other"), 1)
    await past.store.put(key, b"{}")
    with pytest.raises(PruneRefusedError, match="cannot be read") as told:
        await past.prune()
    assert "check --repair" in told.value.hint
    await past.store.delete(key)
    assert (await past.prune()).deleted_snapshots == 1


async def test_a_dry_run_tells_and_changes_nothing(past: Past) -> None:
    await past.save({"old": b"1" * 2000})
    await past.save({"new": b"2"}, after=1)

    def everything() -> dict[Path, bytes]:
        root = past.folder / "store"
        return {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}

    before = everything()
    told = await past.prune(dry_run=True)
    assert (told.condemned_snapshots, told.dry_run, everything()) == (1, True, before)
    await past.prune()
    past.grow_older(DAY)
    before = everything()
    told = await past.prune(dry_run=True)
    assert (told.deleted_snapshots, everything()) == (1, before)


async def test_a_template_stays_while_any_org_has_its_packs(past: Past) -> None:
    template = BranchRef(TEMPLATES_ORG, AgentId("vite"), Branch("key"))
    made = await past.save({"lib": b"lib" * 2000, "app": b"app"}, ref=template)
    edited = tree_of({"lib": b"lib" * 2000, "app": b"mine"})
    saved = await past.repository.save_packed(
        REF, in_pieces(save_stream(edited, made[1])), base=made[0], reason="template",
        parent=None, fencing=1, expected_generation=0,
    )  # fmt: skip
    for _ in range(4):
        past.grow_older(DAY)
        rules = PruneRules(lambda _agent: LAST_ONE, given_up=lambda _newest: True)
        await prune(past.store, TEMPLATES_ORG, rules, now=lambda: past.now)
        await past.prune()
    assert await past.repository.history(template) == []
    await past.comes_back(saved.head, edited)
    assert await past.damage() == []


async def test_what_a_dead_save_left_goes_but_not_what_one_under_way_has_put(past: Past) -> None:
    first = await past.save({"a": b"a"})
    [pack] = packs_of(b"put by a save that died")
    await PackStore(past.store, ORG).put(pack)
    past.grow_older(timedelta(hours=11))
    assert (await past.prune()).condemned_objects == 0
    past.grow_older(timedelta(hours=2))
    told = await past.prune()
    assert (told.condemned_objects, told.condemned_bytes) == (1, pack.ref.size_bytes)
    past.grow_older(DAY)
    gone = await past.prune()
    assert (gone.deleted_objects, gone.deleted_bytes) == (1, pack.ref.size_bytes)
    await past.comes_back(*first)


async def test_a_pack_that_a_slow_commit_names_after_all_is_spared(past: Past) -> None:
    first = await past.save({"a": b"a"})
    assert first[0].packed is not None
    keys = [pack_key(ORG, "data", ref.name) for ref in first[0].packed.packs]
    keys += [pack_key(ORG, "tree", ref.name) for ref in first[0].packed.trees]
    await past.repository.condemned(ORG).add("unnamed", keys, at=past.now)
    past.grow_older(DAY)
    told = await past.prune()
    assert (told.spared, told.deleted_objects) == (len(keys), 0)
    await past.comes_back(*first)


async def test_what_people_deleted_and_named_again_is_spared(past: Past) -> None:
    old = await past.save({"old": b"1"})
    await past.save({"new": b"2"}, after=1)
    await past.repository.condemned(ORG).add("deleted", [stored_head_key(old[0])], at=past.now)
    await past.repository.names.give(REF, old[0].snapshot, "no, keep it")
    past.grow_older(DAY)
    assert (await past.prune()).spared == 1
    await past.comes_back(*old)


def test_packs_that_were_made_apart_never_have_one_name() -> None:
    [one], [other] = packs_of(b"the same"), packs_of(b"the same")
    assert one.ref.name != other.ref.name


def packs_of(blob: bytes) -> list[FinishedPack]:
    maker = PackMaker("data")
    maker.add_blob(BlobHash(blake3(blob).digest()), blob)
    return maker.take_finished(last=True)
