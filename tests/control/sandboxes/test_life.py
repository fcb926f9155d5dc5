"""A sandbox starts, is saved, ends and comes home: with real daemons, a real store, no mocks."""

import asyncio
import os
import shutil
import signal

import pytest

from limpet.control.sandboxes.daemons import NotRunningError
from limpet.control.sandboxes.ending import FinalSaveFailedError
from limpet.control.sandboxes.ends import asked_for
from limpet.control.sandboxes.saving import NothingToSaveError
from limpet.control.saver import Saver, SaverRules
from limpet.errors import LimpetError, NotFoundError, StoreUnavailableError
from limpet.ids import Branch
from tests.control.sandboxes.conftest import BY_KEY, Box, House

pytestmark = pytest.mark.anyio


async def ended(box: Box) -> str | None:
    """Why it does not run any more, as it is written down."""
    kept = (await box.row()).ended
    return kept["reason"] if kept else None


async def test_a_first_start_of_a_blank_agent_gives_an_empty_running_sandbox(box: Box) -> None:
    with box.phases() as phases:
        started = await box.start()
    assert started.isNewVm
    assert started.vmId == await box.handle()
    assert started.branch == box.agent.default_branch
    assert started.restore is not None
    assert started.restore.outcome == "none"
    view = await box.view()
    assert (view.state, view.detached, view.unsaved) == ("running", False, False)
    assert phases.kinds == ["claiming", "starting-daemon", "configuring", "ready"]


async def test_a_start_saves_nothing_and_a_second_one_keeps_what_runs(box: Box) -> None:
    await box.start()
    await box.write("a.txt", "work")
    again = await box.start()
    assert not again.isNewVm
    assert again.restore is not None
    assert again.restore.outcome == "kept"
    assert await box.snapshots() == []
    assert await box.read("a.txt") == "work"


async def test_two_starts_at_once_get_one_sandbox_and_one_restore(box: Box) -> None:
    await box.start()
    await box.write("a.txt", "work")
    await box.save()
    await box.lose()
    with box.phases() as phases:
        started = await asyncio.gather(*(box.start() for _ in range(4)))
    assert {one.vmId for one in started} == {await box.handle()}
    assert sum(one.isNewVm for one in started) == 1
    assert phases.kinds.count("restoring") == 1
    assert await box.read("a.txt") == "work"


async def test_what_was_saved_comes_home_after_an_eviction(box: Box) -> None:
    await box.start()
    await box.write("a.txt", "work")
    saved = await box.save("by hand")
    assert (saved.reason, saved.name, saved.generation, saved.parent) == (
        "manual",
        "by hand",
        1,
        None,
    )
    assert saved.receipt is not None
    assert saved.receipt.complete
    await box.lose()
    with box.phases() as phases:
        started = await box.start()
    assert started.restore is not None
    assert (started.restore.outcome, started.restore.snapshot) == ("restored", saved.id)
    assert started.restore.receipt is not None
    assert phases.kinds == ["claiming", "starting-daemon", "restoring", "configuring", "ready"]
    assert await box.read("a.txt") == "work"
    assert [s.id for s in await box.snapshots()] == [saved.id]


async def test_a_power_cut_before_a_restore_was_on_the_disk_is_restored_again(box: Box) -> None:
    await box.start()
    await box.write("a.txt", "work")
    saved = await box.save()
    await box.lose()
    await box.start()
    await box.kill()
    root = await box.root()
    (root / "workspace/repo/a.txt").write_bytes(b"")
    (root / "state/unsynced-0").write_text("another run of the machine")
    started = await box.start()
    assert started.restore is not None
    assert (started.restore.outcome, started.restore.snapshot) == ("restored", saved.id)
    assert await box.read("a.txt") == "work"
    assert not (await box.view()).detached
    assert [one.id for one in await box.snapshots()] == [saved.id]


async def test_the_next_save_has_the_last_one_as_its_parent(box: Box) -> None:
    await box.start()
    await box.write("a.txt", "one")
    first = await box.save()
    await box.write("a.txt", "two")
    assert (await box.view()).unsaved
    second = await box.save()
    view = await box.view()
    assert not view.unsaved
    assert view.last_save is not None
    assert view.last_save.id == second.id
    assert (second.generation, second.parent) == (2, first.id)
    assert [s.is_head for s in await box.snapshots()] == [True, False]


async def test_nothing_at_all_is_not_saved(box: Box) -> None:
    await box.start()
    with pytest.raises(NothingToSaveError):
        await box.save()


async def test_a_workspace_newer_than_its_snapshot_is_kept(box: Box) -> None:
    await box.start()
    await box.write("a.txt", "saved")
    await box.save()
    await box.write("a.txt", "newer")
    await box.kill()
    assert await box.outcome() == "kept"
    assert await box.read("a.txt") == "newer"
    assert (await box.view()).unsaved
    assert (await box.save()).generation == 2


async def test_a_workspace_behind_the_head_with_unsaved_work_loses_neither(
    box: Box, house: House
) -> None:
    await box.start()
    await box.write("a.txt", "one")
    await box.save()
    await box.kill()
    root, older = await box.root(), house.data_dir / "older"
    shutil.copytree(root, older, symlinks=True)
    await box.start()
    await box.write("a.txt", "two")
    await box.save()
    await box.lose()
    older.rename(root)
    (root / "workspace" / "repo" / "b.txt").write_text("unsaved")
    assert await box.outcome() == "restored"
    assert await box.read("a.txt") == "two"
    assert await box.read("b.txt") is None
    [side] = (await box.view()).side_snapshots
    assert side.side_reason == "behind-head"
    await box.restore(side.id)
    assert (await box.read("a.txt"), await box.read("b.txt")) == ("one", "unsaved")
    assert (await box.view()).side_snapshots == []


async def test_a_start_held_at_restored_configures_nothing_until_the_next_start(
    house: House,
) -> None:
    box = await house.agent(template="page")
    started = await box.start(hold="restored")
    assert started.restore is not None
    assert started.restore.outcome == "template"
    client = await box.client()
    assert not (await client.health()).configured
    await house.reopen()
    assert await box.outcome() == "kept"
    assert (await (await box.client()).health()).configured


async def test_a_template_agent_begins_with_one_commit_on_its_own_branch(house: House) -> None:
    box = await house.agent(template="page")
    assert await box.outcome() == "template"
    repo = await box.root() / "workspace" / "repo"
    assert (repo / "src" / "page.txt").read_text() == "hello\n"
    assert os.access(repo / "run.sh", os.X_OK)
    assert not (repo / "node_modules" / "left").exists()
    assert not (repo / "template.json").exists()
    ran = await box.service.exec(
        box.key.org, await box.handle(), "git status --short --branch; git log --format='%s %an'"
    )
    branch, commit = ran["stdout"].splitlines()
    assert box.agent.default_branch in branch
    assert commit.startswith("Start from the template page ")


async def test_a_saved_template_agent_is_restored_not_seeded_anew(house: House) -> None:
    box = await house.agent(template="page")
    await box.start()
    await box.write("README.md", "mine")
    await box.save()
    await box.lose()
    assert await box.outcome() == "restored"
    assert await box.read("README.md") == "mine"


async def test_a_stop_saves_ends_every_process_and_keeps_the_files(box: Box) -> None:
    await box.start()
    await box.write("a.txt", "work")
    root = await box.root()
    saved = await box.stop()
    assert saved is not None
    assert saved.reason == "stop"
    view = await box.view()
    assert (view.state, view.phase, view.preview_url) == ("stopped", None, None)
    assert view.ended is not None
    assert (view.ended.reason, view.ended.by, view.ended.through) == (
        "asked",
        BY_KEY.user,
        "api-key",
    )
    assert (root / "workspace" / "repo" / "a.txt").read_text() == "work"
    assert not await box.house.runner.alive(await box.handle())
    with pytest.raises(NotRunningError):
        await box.save()
    assert await box.outcome() == "kept"
    assert (await box.view()).ended is None


async def test_a_failed_last_save_refuses_the_stop_unless_forced(box: Box) -> None:
    await box.start()
    await box.write("a.txt", "work")
    box.house.store.down = True
    with pytest.raises(FinalSaveFailedError):
        await box.stop()
    view = await box.view()
    assert view.state == "running"
    assert view.ended is None
    assert view.last_save_error is not None
    assert view.last_save_error.code == "store_unreachable"
    await box.write("a.txt", "it runs on")
    await box.stop(force=True)
    assert (await box.view()).state == "stopped"
    box.house.store.down = False
    await box.start()
    assert await box.read("a.txt") == "it runs on"


async def test_a_failed_last_save_stops_nothing_from_ending_when_all_is_saved(box: Box) -> None:
    await box.start()
    await box.write("a.txt", "work")
    await box.save()
    box.house.store.down = True
    assert await box.stop() is None
    assert (await box.view()).state == "stopped"


async def test_a_start_while_stopping_waits_and_loses_nothing(box: Box) -> None:
    await box.start()
    for text in ("one", "two", "three"):
        await box.write("a.txt", text)
        await asyncio.gather(box.stop(), box.start())
        await box.start()
        assert await box.read("a.txt") == text
        assert (await box.view()).state == "running"


async def test_deleting_saves_first_and_keeps_the_snapshots(box: Box) -> None:
    await box.start()
    await box.write("a.txt", "work")
    root = await box.root()
    saved = await box.delete()
    assert saved is not None
    assert not root.exists()
    with pytest.raises(NotFoundError):
        await box.view()
    assert await box.service.list(box.key.org) == []
    assert await box.delete() is None
    assert not root.exists()
    assert await box.outcome() == "restored"
    assert await box.read("a.txt") == "work"


async def test_deleting_a_sandbox_that_died_with_unsaved_work_saves_that_work(box: Box) -> None:
    await box.start()
    await box.write("a.txt", "unsaved")
    await box.kill()
    assert (await box.view()).state == "stopped"
    saved = await box.delete()
    assert saved is not None
    assert await ended(box) is None, "nothing is to think that it ended by itself"
    assert await box.outcome() == "restored"
    assert await box.read("a.txt") == "unsaved"


async def test_a_failed_last_save_refuses_the_deletion_unless_forced(box: Box) -> None:
    await box.start()
    await box.write("a.txt", "work")
    root = await box.root()
    box.house.store.down = True
    with pytest.raises(FinalSaveFailedError):
        await box.delete()
    assert (root / "workspace" / "repo" / "a.txt").exists()
    assert (await box.view()).state == "running"
    await box.delete(force=True)
    assert not root.exists()


async def test_deleting_what_is_not_there_is_no_error(box: Box) -> None:
    assert await box.delete() is None


async def test_fencing_numbers_only_ever_grow_also_over_a_deletion(box: Box) -> None:
    seen = []
    for _ in range(2):
        await box.start()
        seen.append((await box.row()).fencing)
        await box.stop()
        await box.start()
        seen.append((await box.row()).fencing)
        await box.delete()
    assert seen == sorted(set(seen))


async def test_deleting_an_agents_sandboxes_leaves_nothing(box: Box) -> None:
    await box.start()
    await box.write("a.txt", "work")
    root = await box.root()
    await box.service.delete_agent(box.key.org, box.key.agent)
    assert not root.exists()
    assert await box.service.parts.rows.get(box.key) is None


async def test_a_sandbox_that_died_is_noticed_by_a_look_and_by_the_saver(box: Box) -> None:
    subscription = box.service.parts.events.subscribe(box.key)
    await box.start()
    await box.kill()
    view = await box.view()
    assert view.state == "stopped"
    assert view.last_error is not None
    assert view.last_error.code == "sandbox_gone"
    assert view.ended is not None
    assert view.ended.reason == "gone"
    heard = [event.name for event in subscription._listener.waiting]
    assert "gone" in heard
    subscription.close()
    await box.start()
    view = await box.view()
    assert (view.last_error, view.ended) == (None, None)
    await box.kill()
    saver = Saver(box.service, SaverRules())
    await saver.tick()
    assert (await box.row()).state == "stopped"
    assert not (await box.row()).tracked


async def test_an_idle_sandbox_is_saved_once_and_a_failure_is_shown_and_tried_again(
    box: Box,
) -> None:
    saver = Saver(box.service, SaverRules(idle_s=0))
    await box.start()
    await box.write("a.txt", "work")
    box.house.store.down = True
    await saver.tick()
    await saver.settle()
    view = await box.view()
    assert view.last_save_error is not None
    assert view.unsaved
    box.house.store.down = False
    for _ in range(3):
        await saver.tick()
        await saver.settle()
    [saved] = await box.snapshots()
    assert saved.reason == "idle"
    assert (await box.view()).last_save_error is None


async def test_the_end_saves_all_that_is_unsaved_and_the_sandboxes_run_on(house: House) -> None:
    first, second = await house.agent(), await house.agent()
    for one in (first, second):
        await one.start()
    await first.write("a.txt", "work")
    subscription = house.service.parts.events.subscribe(first.key)
    await house.service.save_all_and_close()
    assert [event.name async for event in subscription][-1] == "bye"
    with pytest.raises(LimpetError):
        await first.start()
    await house.reopen()
    assert [s.reason for s in await first.snapshots()] == ["shutdown"]
    assert await second.snapshots() == []
    assert (await first.view()).state == "running"


async def test_a_daemon_that_survived_is_adopted_and_its_saves_go_on(box: Box) -> None:
    await box.start()
    await box.write("a.txt", "one")
    await box.save()
    fencing = (await box.row()).fencing
    await box.write("a.txt", "two")
    await box.house.reopen()
    row = await box.row()
    assert (row.state, row.tracked) == ("running", True)
    assert row.fencing > fencing
    assert (await box.view()).unsaved
    saver = Saver(box.service, SaverRules(idle_s=0))
    await saver.tick()
    await saver.settle()
    assert [s.generation for s in await box.snapshots()] == [2, 1]


async def test_a_sandbox_that_did_not_survive_is_stopped_and_starts_again(box: Box) -> None:
    await box.start()
    await box.write("a.txt", "unsaved")
    await box.kill()
    await box.house.reopen()
    row = await box.row()
    assert (row.state, row.tracked, row.lease_owner) == ("stopped", False, None)
    assert await ended(box) == "gone"
    assert await box.outcome() == "kept"
    assert await box.read("a.txt") == "unsaved"


async def test_what_a_killed_control_plane_had_begun_to_end_is_ended(house: House) -> None:
    stopping, deleting = await house.agent(), await house.agent()
    for one in (stopping, deleting):
        await one.start()
        await one.write("a.txt", "work")
    root = await deleting.root()
    rows = house.service.parts.rows
    asked = asked_for(BY_KEY)
    await rows.change(stopping.key, state="stopping", desired="stopped", ended=asked)
    await rows.change(deleting.key, state="stopping", desired="deleted")
    await house.reopen()
    assert (await stopping.view()).state == "stopped"
    assert (await stopping.row()).ended == asked
    assert not root.exists()
    for one in (stopping, deleting):
        assert [s.reason for s in await one.snapshots()] == ["stop"]


async def test_a_stop_that_ended_with_the_control_plane_was_asked_for_all_the_same(
    box: Box,
) -> None:
    await box.start()
    asked = asked_for(BY_KEY)
    await box.service.parts.rows.change(box.key, state="stopping", desired="stopped", ended=asked)
    await box.kill()
    await box.house.reopen()
    row = await box.row()
    assert (row.state, row.ended) == ("stopped", asked)


@pytest.mark.parametrize("is_there", [True, False])
async def test_a_control_plane_killed_in_a_start_leaves_a_sandbox_that_starts(
    box: Box, is_there: bool
) -> None:
    await box.start()
    await box.write("a.txt", "work")
    await box.service.parts.rows.change(box.key, state="starting")
    if not is_there:
        await box.kill()
    await box.house.reopen()
    assert (await box.row()).state == "stopped"
    assert await ended(box) == "interrupted"
    assert await box.outcome() == "kept"
    assert await box.read("a.txt") == "work"


async def test_killed_between_the_head_and_the_row_the_next_save_follows_its_own_head(
    box: Box,
) -> None:
    await box.start()
    await box.write("a.txt", "one")
    await box.save()
    before = await box.row()
    await box.write("a.txt", "two")
    second = await box.save()
    await box.service.parts.rows.change(
        box.key, generation=before.generation, head_snapshot=before.head_snapshot
    )
    await box.house.reopen()
    third = await box.save()
    assert (third.lineage, third.generation, third.parent) == ("main", 3, second.id)
    assert not (await box.view()).detached


async def test_a_branch_of_its_own_is_a_sandbox_of_its_own(box: Box) -> None:
    await box.start()
    await box.write("a.txt", "here")
    other = await box.service.start(box.key.org, box.agent, Branch("feature/x"))
    assert other.vmId != await box.handle()
    assert not (box.house.data_dir / "sandboxes" / other.vmId / "workspace/repo/a.txt").exists()


async def test_a_stop_ends_a_start_that_waits_for_the_store(box: Box) -> None:
    box.house.environ["store_wait_s"] = 600
    await box.house.reopen()
    box.house.store.down = True
    subscription = box.service.parts.events.subscribe(box.key)
    starting = asyncio.create_task(box.start())
    while (event := await subscription.next()) and event.data.get("kind") != "waiting-for-store":
        pass
    await box.stop(force=True)
    with pytest.raises(LimpetError, match="given up"):
        await starting
    assert (await box.view()).state == "stopped"


async def test_exec_and_logs_reach_the_sandbox(box: Box) -> None:
    await box.start()
    handle = await box.handle()
    ran = await box.service.exec(box.key.org, handle, "echo out; echo err >&2; exit 3")
    assert (ran["stdout"], ran["stderr"], ran["exitCode"]) == ("out\n", "err\n", 3)
    logs = await box.service.logs(box.key.org, handle)
    assert logs["sources"] == sorted(logs["logs"])
    with pytest.raises(NotFoundError):
        await box.service.logs(box.key.org, handle, "no such log")


async def test_a_daemon_killed_in_the_middle_of_a_save_leaves_the_old_head(box: Box) -> None:
    await box.start()
    await box.write("a.txt", "one")
    first = await box.save()
    await box.service.exec(
        box.key.org, await box.handle(), "head -c 200000000 /dev/urandom > big.bin"
    )
    pid = await box.daemon_pid()
    saving = asyncio.create_task(box.save())
    packs = box.house.data_dir / "sandbox-snapshots" / "v1" / str(box.key.org) / "packs"
    before = len(list(packs.iterdir()))
    while box.key not in box.service.parts.saving or len(list(packs.iterdir())) == before:
        assert not saving.done()
        await asyncio.sleep(0)
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(LimpetError):
        await saving
    assert [s.id for s in await box.snapshots()] == [first.id]
    await box.start()
    assert (await box.save()).generation == 2


async def test_a_start_with_the_store_down_and_the_files_here_needs_no_store(box: Box) -> None:
    await box.start()
    await box.write("a.txt", "work")
    await box.save()
    await box.kill()
    box.house.store.down = True
    assert await box.outcome() == "kept"
    await box.write("b.txt", "more")
    box.house.store.down = False
    assert (await box.save()).lineage == "main"


async def test_a_start_with_the_store_down_and_no_files_asks_the_user(box: Box) -> None:
    await box.start()
    await box.write("a.txt", "work")
    saved = await box.save()
    await box.lose()
    box.house.store.down = True
    with box.phases() as phases, pytest.raises(StoreUnavailableError) as refused:
        await box.start()
    assert "without" in refused.value.hint
    assert phases.kinds == ["claiming", "starting-daemon", "waiting-for-store", "failed"]
    view = await box.view()
    assert view.state == "stopped"
    assert view.last_error is not None
    assert view.last_error.code == "store_unreachable"
    assert view.restore is not None
    assert view.restore.outcome == "store-unreachable"
    box.house.store.down = False
    started = await box.start()
    assert started.restore is not None
    assert started.restore.snapshot == saved.id
