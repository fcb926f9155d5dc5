"""A store that answers and is empty, though snapshots were made: moved away, a wrong bucket."""

import pytest

from limpet.errors import NotFoundError, StoreUnavailableError
from tests.control.sandboxes.conftest import Box, House
from tests.control.sandboxes.test_history import foreign_tar, pieces

pytestmark = [pytest.mark.anyio, pytest.mark.long]


def move_store_away(house: House) -> None:
    """The store's folder goes, and an empty one stands in its place."""
    store = house.data_dir / "sandbox-snapshots"
    store.rename(house.data_dir / "the-right-one")
    store.mkdir(mode=0o700)


def move_store_back(house: House) -> None:
    store = house.data_dir / "sandbox-snapshots"
    store.rename(house.data_dir / "the-wrong-one")
    (house.data_dir / "the-right-one").rename(store)


async def with_saved_work(box: Box) -> str:
    """`old.txt` saved by a running sandbox; gives the snapshot's id."""
    await box.start()
    await box.write("old.txt", "old work")
    return (await box.save()).id


async def with_lost_work(box: Box) -> str:
    """`old.txt` saved, the sandbox evicted, the store emptied; gives the snapshot's id."""
    saved = await with_saved_work(box)
    await box.lose()
    move_store_away(box.house)
    return saved


async def test_a_start_asks_at_once_and_makes_nothing(house: House) -> None:
    house.environ["store_wait_s"] = 600
    await house.reopen()
    box = await house.agent(template="page")
    old = await with_lost_work(box)
    with box.phases() as phases, pytest.raises(StoreUnavailableError) as refused:
        await box.start()
    assert "has none of the snapshots" in refused.value.message
    assert "without" in refused.value.hint
    assert phases.kinds == ["claiming", "starting-daemon", "failed"], "it waited for nothing"
    assert await box.read("README.md") is None
    view = await box.view()
    assert (view.state, view.detached) == ("stopped", False)
    assert view.restore is not None
    assert view.restore.outcome == "store-unreachable"
    move_store_back(house)
    started = await box.start()
    assert started.restore is not None
    assert (started.restore.outcome, started.restore.snapshot) == ("restored", old)
    assert await box.read("old.txt") == "old work"


async def test_without_the_snapshot_old_and_new_work_are_both_there_in_the_end(box: Box) -> None:
    old = await with_lost_work(box)
    assert await box.outcome(without_snapshot=True) == "without-snapshot"
    assert (await box.view()).detached
    assert (await box.row()).pinned_snapshot == old
    await box.write("new.txt", "new work")
    assert (await box.save()).lineage != "main"
    await box.stop()
    with pytest.raises(StoreUnavailableError):
        await box.start()
    assert await box.outcome(without_snapshot=True) == "without-snapshot"
    row = await box.row()
    assert (row.detached, row.pinned_snapshot) == (True, old)
    assert await box.read("new.txt") == "new work"
    await box.stop()

    move_store_back(box.house)
    assert await box.outcome() == "restored"
    assert await box.read("old.txt") == "old work"
    assert not (await box.view()).detached
    [side] = (await box.view()).side_snapshots
    await box.restore(side.id)
    assert await box.read("new.txt") == "new work"


async def test_what_another_store_has_is_kept_aside_once_also_when_snapshots_are_damaged(
    box: Box,
) -> None:
    await with_saved_work(box)
    await box.write("old.txt", "later")
    box.damage((await box.save()).id)
    await box.lose()
    move_store_away(box.house)
    await box.start(without_snapshot=True)
    await box.write("new.txt", "new work")
    await box.stop()
    move_store_back(box.house)
    assert await box.outcome() == "damaged-used-older"
    assert await box.read("old.txt") == "old work"
    [side] = (await box.view()).side_snapshots
    await box.restore(side.id)
    assert await box.read("new.txt") == "new work"


async def test_who_lost_the_store_for_good_goes_on_by_adopting_the_new_work(box: Box) -> None:
    await with_lost_work(box)
    await box.start(without_snapshot=True)
    await box.write("new.txt", "new work")
    saved = await box.save()
    await box.stop()
    await box.restore(saved.id)
    assert await box.outcome() == "restored"
    assert await box.read("new.txt") == "new work"
    assert not (await box.view()).detached
    await box.write("more.txt", "goes on")
    assert (await box.save()).lineage == "main"


async def test_a_workspace_that_is_here_is_kept_and_its_saves_come_after_the_known_ones(
    box: Box,
) -> None:
    await with_saved_work(box)
    await box.write("old.txt", "older work")
    known = await box.save()
    await box.kill()
    move_store_away(box.house)
    started = await box.start()
    assert started.restore is not None
    assert started.restore.outcome == "kept"
    assert "has none of the snapshots" in started.restore.message
    await box.write("new.txt", "new work")
    saved = await box.save()
    assert (saved.lineage, saved.generation, saved.parent) == ("main", 3, known.id)
    await box.kill()

    move_store_back(box.house)
    assert await box.outcome() == "kept"
    assert await box.read("new.txt") == "new work"
    row = await box.row()
    assert row.activity_seq_saved is None, "this store has not seen the new work"
    assert (await box.save()).generation == 4
    await box.lose()
    assert await box.outcome() == "restored"
    assert await box.read("new.txt") == "new work"


async def test_a_known_snapshot_stays_known_over_starts_that_keep_the_workspace(box: Box) -> None:
    await with_saved_work(box)
    move_store_away(box.house)
    for _ in range(2):
        await box.kill()
        assert await box.outcome() == "kept"
    await box.lose()
    with pytest.raises(StoreUnavailableError):
        await box.start()


async def test_a_lost_race_is_not_forgotten_before_an_empty_store(box: Box) -> None:
    await with_saved_work(box)
    row = await box.row()
    winner = await box.house.repository.head(box.ref)
    assert winner is not None
    other = await box.house.repository.save_tar(
        box.ref,
        await box.house.repository.open_tar(winner),
        reason="manual",
        parent=winner.snapshot,
        fencing=row.fencing + 7,
        expected_generation=winner.generation,
    )
    await box.write("new.txt", "new work")
    assert (await box.save()).side_reason == "lost-race"
    assert (await box.row()).pinned_snapshot == other.snapshot
    await box.kill()
    move_store_away(box.house)
    with pytest.raises(StoreUnavailableError):
        await box.start()
    assert (await box.row()).detached


async def test_a_live_sandbox_is_left_alone_and_goes_on(box: Box) -> None:
    await with_saved_work(box)
    move_store_away(box.house)
    assert await box.outcome() == "kept"
    await box.write("new.txt", "new work")
    saved = await box.save()
    assert (saved.lineage, saved.generation) == ("main", 2)
    await box.lose()
    assert await box.outcome() == "restored", "the save stands by itself in this store"
    assert (await box.read("old.txt"), await box.read("new.txt")) == ("old work", "new work")


async def test_going_back_keeps_a_present_that_this_store_does_not_have(box: Box) -> None:
    await with_saved_work(box)
    move_store_away(box.house)
    imported = await box.service.import_(
        box.key.org, box.key.agent, None, pieces(foreign_tar("repo/b.txt"))
    )
    done = await box.restore(imported.id)
    assert await box.read("b.txt") == "foreign"
    assert done.saved_first is not None
    await box.restore(done.saved_first.id)
    assert await box.read("old.txt") == "old work"


async def test_a_new_head_in_an_empty_store_comes_after_the_known_ones(box: Box) -> None:
    await with_saved_work(box)
    move_store_away(box.house)
    imported = await box.service.import_(
        box.key.org, box.key.agent, None, pieces(foreign_tar("repo/b.txt"))
    )
    await box.kill()
    assert (await box.view()).state == "stopped"
    assert (await box.restore(imported.id)).head.generation == 2


async def test_going_back_to_a_snapshot_of_the_other_store_changes_nothing(box: Box) -> None:
    old = await with_saved_work(box)
    await box.write("old.txt", "present")
    move_store_away(box.house)
    with pytest.raises(NotFoundError):
        await box.restore(old)
    assert await box.read("old.txt") == "present"
    assert await box.snapshots() == []


async def test_an_import_into_a_stopped_sandbox_is_refused_like_with_a_store_away(
    box: Box,
) -> None:
    await with_saved_work(box)
    await box.stop()
    await box.lose()
    move_store_away(box.house)
    with pytest.raises(StoreUnavailableError, match="has none of the snapshots"):
        await box.service.import_(
            box.key.org, box.key.agent, None, pieces(foreign_tar("repo/b.txt"))
        )
    assert await box.snapshots() == []
    with pytest.raises(StoreUnavailableError):
        await box.start()
