"""A sandbox that runs without the snapshot it should have had: neither work is ever lost."""

import pytest

from limpet.control.saver import Saver, SaverRules
from limpet.errors import LimpetError, StoreUnavailableError
from tests.control.sandboxes.conftest import Box, House

pytestmark = [pytest.mark.anyio, pytest.mark.long]


async def with_lost_work(box: Box) -> str:
    """`old.txt` saved, the sandbox evicted, the store down; gives the snapshot's id."""
    await box.start()
    await box.write("old.txt", "old work")
    saved = await box.save()
    await box.lose()
    box.house.store.down = True
    return saved.id


async def test_old_work_comes_back_and_new_work_is_offered_when_the_store_is_mended(
    box: Box,
) -> None:
    old = await with_lost_work(box)
    with pytest.raises(StoreUnavailableError):
        await box.start()
    assert await box.outcome(without_snapshot=True) == "without-snapshot"
    view = await box.view()
    assert view.detached
    assert view.detached_reason
    assert (await box.row()).pinned_snapshot == old
    await box.write("new.txt", "new work")
    with pytest.raises(LimpetError):
        await box.save()
    box.house.store.down = False
    saver = Saver(box.service, SaverRules(idle_s=0))
    await saver.tick()
    await saver.settle()
    await box.write("newer.txt", "newer work")
    head = await box.head()
    assert head is not None
    assert head.id == old

    await box.stop()
    assert await box.outcome() == "restored"
    assert await box.read("old.txt") == "old work"
    assert await box.read("new.txt") is None
    view = await box.view()
    assert not view.detached
    assert view.detached_reason is None
    [side] = view.side_snapshots
    assert side.side_reason == "detached"
    assert side.generation == 2, "one lineage for one detached stretch"

    restored = await box.restore(side.id)
    assert await box.read("new.txt") == "new work"
    assert await box.read("newer.txt") == "newer work"
    assert (restored.head.lineage, restored.head.reason) == ("main", "rollback")
    assert (await box.view()).side_snapshots == []
    assert old in [s.id for s in await box.snapshots()]
    await box.write("more.txt", "goes on")
    assert (await box.save()).lineage == "main"


async def test_a_detached_sandbox_stays_so_over_restarts_while_the_store_is_away(
    box: Box,
) -> None:
    await with_lost_work(box)
    await box.start(without_snapshot=True)
    await box.write("new.txt", "new work")
    await box.kill()
    await box.house.reopen()
    with pytest.raises(StoreUnavailableError):
        await box.start()
    assert await box.outcome(without_snapshot=True) == "without-snapshot"
    assert await box.read("new.txt") == "new work"
    assert (await box.view()).detached


async def test_coming_home_saves_what_was_unsaved_to_the_side_lineage_first(box: Box) -> None:
    await with_lost_work(box)
    await box.start(without_snapshot=True)
    await box.write("new.txt", "never saved")
    await box.kill()
    box.house.store.down = False
    assert await box.outcome() == "restored"
    [side] = (await box.view()).side_snapshots
    await box.restore(side.id)
    assert await box.read("new.txt") == "never saved"


async def test_coming_home_waits_until_the_work_can_be_kept_aside(box: Box) -> None:
    await with_lost_work(box)
    await box.start(without_snapshot=True)
    await box.write("new.txt", "never saved")
    await box.kill()
    box.house.store.down = False
    box.house.store.failing_writes = "/trees/"
    with pytest.raises(StoreUnavailableError):
        await box.start()
    assert await box.read("new.txt") == "never saved"
    box.house.store.failing_writes = "\0"
    assert await box.outcome() == "restored"
    assert len((await box.view()).side_snapshots) == 1


async def test_a_detached_sandbox_that_somebody_works_in_is_left_alone(house: House) -> None:
    house.environ["idle_s"] = 3600
    await house.reopen()
    box = await house.agent()
    await with_lost_work(box)
    await box.start(without_snapshot=True)
    await box.write("new.txt", "right now")
    house.store.down = False
    assert await box.outcome() == "kept"
    assert await box.read("new.txt") == "right now"
    assert (await box.view()).detached


async def test_a_detached_sandbox_that_nobody_works_in_comes_home_while_it_runs(
    house: House,
) -> None:
    house.environ["idle_s"] = 0
    await house.reopen()
    box = await house.agent()
    await with_lost_work(box)
    await box.start(without_snapshot=True)
    await box.write("new.txt", "a while ago")
    house.store.down = False
    assert await box.outcome() == "restored"
    assert await box.read("old.txt") == "old work"
    assert len((await box.view()).side_snapshots) == 1
    assert not (await box.view()).detached


async def test_a_detached_sandbox_is_attached_when_it_turns_out_there_was_no_snapshot(
    box: Box,
) -> None:
    box.house.store.down = True
    with pytest.raises(StoreUnavailableError):
        await box.start()
    await box.start(without_snapshot=True)
    assert (await box.view()).detached
    await box.write("a.txt", "work")
    await box.kill()
    box.house.store.down = False
    assert await box.outcome() == "kept"
    assert not (await box.view()).detached
    assert (await box.save()).lineage == "main"


async def test_a_template_agent_started_without_its_snapshot_begins_from_the_template(
    house: House,
) -> None:
    box = await house.agent(template="page")
    await box.start()
    await box.write("README.md", "mine")
    await box.save()
    await box.lose()
    house.store.down = True
    assert await box.outcome(without_snapshot=True) == "without-snapshot"
    assert await box.read("README.md") == "# A page\n"
    await box.kill()
    house.store.down = False
    assert await box.outcome() == "restored"
    assert await box.read("README.md") == "mine"


async def test_a_lost_race_is_kept_aside_said_and_comes_home_at_the_next_start(box: Box) -> None:
    await box.start()
    await box.write("a.txt", "one")
    first = await box.save()
    imported = await another_writer_saves(box)
    await box.write("a.txt", "ours")
    lost = await box.save()
    assert lost.lineage != "main"
    assert lost.side_reason == "lost-race"
    view = await box.view()
    assert view.detached
    assert (await box.head()).id == imported  # type: ignore[union-attr]
    await box.write("a.txt", "ours, later")
    later = await box.save()
    assert (later.lineage, later.generation, later.parent) == (lost.lineage, 2, lost.id)
    await box.stop()
    assert await box.outcome() == "restored"
    assert await box.read("a.txt") == "one"
    assert [s.id for s in (await box.view()).side_snapshots] != []
    assert first.id in [s.id for s in await box.snapshots()]


async def another_writer_saves(box: Box) -> str:
    """A head that another control plane created with a lease of its own."""
    repository = box.house.repository
    head = await repository.head(box.ref)
    assert head is not None
    made = await repository.save_tar(
        box.ref,
        await repository.open_tar(head),
        reason="manual",
        parent=head.snapshot,
        fencing=head.fencing + 7,
        expected_generation=head.generation,
    )
    return made.snapshot


# -- damaged snapshots -------------------------------------------------------------------------


async def test_a_damaged_newest_snapshot_gives_the_one_before_it_and_says_so(box: Box) -> None:
    await box.start()
    await box.write("a.txt", "one")
    first = await box.save()
    await box.write("a.txt", "two")
    second = await box.save()
    await box.lose()
    box.damage(second.id)
    started = await box.start()
    assert started.restore is not None
    assert started.restore.outcome == "damaged-used-older"
    assert started.restore.snapshot == first.id
    assert second.id in started.restore.message
    assert await box.read("a.txt") == "one"
    assert not (await box.view()).detached
    third = await box.save()
    assert (third.lineage, third.generation, third.parent) == ("main", 3, first.id)


async def test_a_snapshot_whose_bytes_are_gone_counts_as_damaged(box: Box) -> None:
    await box.start()
    await box.write("a.txt", "one")
    first = await box.save()
    await box.write("a.txt", "two")
    second = await box.save()
    await box.lose()
    box.stored(second.id).unlink()
    started = await box.start()
    assert started.restore is not None
    assert (started.restore.outcome, started.restore.snapshot) == ("damaged-used-older", first.id)
    assert (await box.save()).generation == 3


async def test_when_every_snapshot_is_damaged_the_start_goes_on_detached(box: Box) -> None:
    await box.start()
    for text in ("one", "two", "three"):
        await box.write("a.txt", text)
        box.damage((await box.save()).id)
    newest = (await box.snapshots())[0]
    await box.lose()
    started = await box.start()
    assert started.restore is not None
    assert started.restore.outcome == "damaged-none"
    view = await box.view()
    assert (view.state, view.detached) == ("running", True)
    assert (await box.row()).pinned_snapshot == newest.id
    await box.write("b.txt", "new")
    assert (await box.save()).lineage != "main"


async def test_a_workspace_at_a_damaged_head_is_kept_and_its_next_save_mends_the_branch(
    box: Box,
) -> None:
    await box.start()
    await box.write("a.txt", "work")
    saved = await box.save()
    await box.kill()
    box.stored(saved.id).unlink()
    assert await box.outcome() == "kept"
    assert await box.read("a.txt") == "work"
    assert (await box.save()).generation == 2
    await box.lose()
    assert await box.outcome() == "restored"


async def test_a_store_that_fails_in_the_middle_of_a_restore_asks_like_one_that_is_away(
    box: Box,
) -> None:
    await box.start()
    await box.write("a.txt", "work")
    await box.save()
    await box.lose()
    box.house.store.failing_reads = "/packs/"
    with pytest.raises(StoreUnavailableError):
        await box.start()
    box.house.store.failing_reads = "\0"
    assert await box.outcome() == "restored"
    assert await box.read("a.txt") == "work"


async def test_a_restore_that_fails_never_fails_the_start(box: Box) -> None:
    await box.start()
    await box.write("a.txt", "work")
    saved = await box.save()
    await box.lose()
    box.house.environ["fault"] = "swap-marked:fail"
    await box.house.reopen()
    started = await box.start()
    assert started.restore is not None
    assert started.restore.outcome == "failed"
    assert started.restore.snapshot == saved.id
    view = await box.view()
    assert (view.state, view.detached) == ("running", True)
    assert (await box.row()).pinned_snapshot == saved.id
    await box.write("b.txt", "meanwhile")
    await box.kill()
    del box.house.environ["fault"]
    await box.house.reopen()
    assert await box.outcome() == "restored"
    assert (await box.read("a.txt"), await box.read("b.txt")) == ("work", None)
    assert len((await box.view()).side_snapshots) == 1


async def test_a_daemon_that_dies_in_a_restore_leaves_a_sandbox_that_starts(box: Box) -> None:
    await box.start()
    await box.write("a.txt", "work")
    await box.save()
    await box.lose()
    box.house.environ["fault"] = "swap-exchanged:kill"
    await box.house.reopen()
    with pytest.raises(LimpetError):
        await box.start()
    assert (await box.view()).state in {"failed", "stopped"}
    del box.house.environ["fault"]
    await box.house.reopen()
    await box.start()
    assert await box.read("a.txt") == "work"
    assert not (await box.view()).detached
