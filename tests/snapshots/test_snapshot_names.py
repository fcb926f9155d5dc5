"""What people call snapshots, and the records of what is going to be deleted."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from limpet.ids import AgentId, Branch, OrgId, SnapshotId
from limpet.snapshots.condemned import CondemnedObjects
from limpet.snapshots.lineage import BranchRef
from limpet.snapshots.snapshot_names import UNREADABLE, GivenName, SnapshotNames, TurnNote
from limpet.stores.keys import condemned_key, name_key
from limpet.stores.local import LocalStore

pytestmark = pytest.mark.anyio
ORG = OrgId("org")
REF = BranchRef(ORG, AgentId("agent"), Branch("feature/x"))
ONE, OTHER = (
    SnapshotId("20261124t100000z-aaaaaaaaaaaa"),
    SnapshotId("20261124t100001z-bbbbbbbbbbbb"),
)


async def test_the_last_name_given_is_the_one_and_can_be_taken_away(tmp_path: Path) -> None:
    names = SnapshotNames(LocalStore(tmp_path))
    await names.give(REF, ONE, "before the move")
    await names.give(REF, ONE, "after it")
    await names.give(REF, OTHER, None)
    assert await names.of_branch(REF) == {ONE: GivenName("after it"), OTHER: GivenName(None)}
    elsewhere = BranchRef(ORG, REF.agent, Branch("feature"))
    assert await names.of_branch(elsewhere) == {}
    await names.give(elsewhere, ONE, "other")
    assert await names.of_branch(REF) == {ONE: GivenName("after it"), OTHER: GivenName(None)}
    await names.forget(REF, ONE)
    await names.forget(elsewhere, ONE)
    assert await names.of_org(ORG) == {OTHER: GivenName(None)}


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b'{"version": 2, "name": "x"}', b'{"version": 1, "name": 7}']
)
async def test_a_damaged_name_still_names(tmp_path: Path, body: bytes) -> None:
    store = LocalStore(tmp_path)
    await store.put(name_key(ORG, REF.agent, REF.branch, ONE), body)
    assert await SnapshotNames(store).of_org(ORG) == {ONE: GivenName(UNREADABLE)}


TURN = TurnNote("before", 3, "thrd_1", "run_1", "user_1", "c0ffee")


async def test_a_name_says_which_turn_gave_it(tmp_path: Path) -> None:
    names = SnapshotNames(LocalStore(tmp_path))
    await names.give(REF, ONE, "Before turn 3", TURN)
    assert await names.of_branch(REF) == {ONE: GivenName("Before turn 3", TURN)}
    await names.give(REF, ONE, "mine now")
    assert await names.of_branch(REF) == {ONE: GivenName("mine now")}


@pytest.mark.parametrize(
    "turn", ["7", "[]", "{}", '{"when": "during"}', '{"when": "before", "number": "three"}']
)
async def test_a_turn_that_makes_no_sense_leaves_a_person_s_name(tmp_path: Path, turn: str) -> None:
    store = LocalStore(tmp_path)
    body = f'{{"version": 1, "name": "x", "turn": {turn}}}'.encode()
    await store.put(name_key(ORG, REF.agent, REF.branch, ONE), body)
    assert await SnapshotNames(store).of_org(ORG) == {ONE: GivenName("x")}


async def test_records_tell_what_goes_and_since_when(tmp_path: Path) -> None:
    condemned = CondemnedObjects(LocalStore(tmp_path), ORG)
    many = [f"v1/org/packs/{number:064x}" for number in range(10_001)]
    await condemned.add("unnamed", many)
    await condemned.add("deleted", ["v1/org/heads/a/b~/000000000001"])
    records = await CondemnedObjects(LocalStore(tmp_path), ORG).records()
    assert sorted(len(record.keys) for record in records) == [1, 1, 10_000]
    assert await condemned.keys() == {*many, "v1/org/heads/a/b~/000000000001"}
    now = datetime.now(UTC)
    for record in records:
        assert abs((now - record.at).total_seconds()) < 60
        assert abs(now.timestamp() - record.stored_at_s) < 60
        await condemned.drop(record)
    assert await condemned.keys() == frozenset()


async def test_a_record_that_was_changed_condemns_nothing(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    condemned = CondemnedObjects(store, ORG)
    await condemned.add("unnamed", [f"v1/org/packs/{7:064x}"])
    (record,) = await condemned.records()
    key = condemned_key(ORG, record.id)
    whole = b"".join([chunk async for chunk in (await store.get(key)) or ()])
    for body in (
        whole.replace(b"00007", b"00008"),
        whole.replace(b"unnamed", b"deleted"),
        whole[:-9],
        b"",
        b"[]",
        whole.replace(b"v1/org", b"../../org"),
    ):
        await store.put(key, body)
        assert await condemned.keys() == frozenset()
    assert await condemned.drop_unreadable() == 1
    assert await store.head(key) is None
