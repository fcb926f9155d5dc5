"""Names given, changed and taken away; deletions, and what is never deleted."""

from datetime import timedelta

import pytest

from limpet.control.operations.models import Snapshot
from limpet.control.sandboxes.keeping import SnapshotInUseError
from limpet.control.sandboxes.service import SnapshotSource
from limpet.errors import InvalidInputError, NotFoundError, StoreUnavailableError
from limpet.ids import SnapshotId
from limpet.snapshots.snapshot_names import MAX_NAME_LENGTH
from limpet.snapshots.stored_heads import stored_head_key
from tests.control.sandboxes.conftest import Box

pytestmark = pytest.mark.anyio


async def three(box: Box) -> list[Snapshot]:
    """A sandbox with three snapshots, oldest first."""
    await box.start()
    found = []
    for name, text in (("first", "one"), (None, "two"), (None, "three")):
        await box.write("a.txt", text)
        found.append(await box.save(name))
    return found


async def name(box: Box, snapshot: Snapshot, to: str | None) -> Snapshot:
    source = SnapshotSource(box.key.agent, box.key.branch, SnapshotId(snapshot.id))
    return await box.service.name_snapshot(box.key.org, source, to)


async def delete(box: Box, snapshot: Snapshot) -> Snapshot:
    source = SnapshotSource(box.key.agent, box.key.branch, SnapshotId(snapshot.id))
    return await box.service.delete_snapshot(box.key.org, source)


async def names(box: Box) -> list[str | None]:
    """As the listing shows them, oldest first."""
    return [one.name for one in reversed(await box.snapshots())]


async def test_a_name_is_given_changed_and_taken_away(box: Box) -> None:
    _, second, third = await three(box)
    assert (await name(box, second, "  before the move ")).name == "before the move"
    assert await names(box) == ["first", "before the move", None]
    await name(box, second, "after it")
    await name(box, third, "newest")
    assert await names(box) == ["first", "after it", "newest"]
    last = (await box.view()).last_save
    assert last is not None
    assert last.name == "newest"
    await name(box, second, None)
    assert await names(box) == ["first", None, "newest"]
    for bad in ("", " ", "x" * (MAX_NAME_LENGTH + 1), "a\nb", "\x1b[2J"):
        with pytest.raises(InvalidInputError):
            await name(box, second, bad)


async def test_going_back_takes_the_content_along_and_not_the_name(box: Box) -> None:
    first, *_ = await three(box)
    done = await box.restore(first.id)
    assert done.head.name is None
    assert done.head.made_from.snapshot_id == first.id
    assert (await names(box)).count("first") == 1


async def test_a_deleted_snapshot_says_when_it_goes_and_a_name_keeps_it(box: Box) -> None:
    first, second, _ = await three(box)
    gone = await delete(box, first)
    assert gone.name is None, "its name is free again"
    assert gone.condemned_because == "deleted"
    assert gone.condemned_at is not None
    assert gone.deleted_after == gone.condemned_at + timedelta(hours=24)
    assert await delete(box, first) == gone, "again is no error, and not later"
    assert [one.condemned_at is None for one in await box.snapshots()] == [True, True, False]
    back = await box.restore(first.id)
    assert back.head.condemned_at is None, "until then it can be gone back to"
    assert await box.read("a.txt") == "one"
    kept = await name(box, first, "kept after all")
    assert (kept.condemned_at, kept.deleted_after, kept.name) == (None, None, "kept after all")
    unnamed = await name(box, first, None)
    assert unnamed.condemned_at is None, "it was kept after all, as if it had never been deleted"
    assert (await name(box, second, None)).condemned_at is None


async def test_retention_condemns_neither_what_has_a_name_nor_what_is_in_use(box: Box) -> None:
    first, second, newest = await three(box)
    heads = [await box.house.repository.find(box.ref, SnapshotId(one.id)) for one in (
        first, second, newest,
    )]  # fmt: skip
    keys = [stored_head_key(head) for head in heads if head is not None]
    await box.house.repository.condemned(box.key.org).add("retention", keys)
    shown = {one.id: one for one in await box.snapshots()}
    assert [shown[one.id].condemned_because for one in (first, second, newest)] == [
        None, "retention", None,
    ]  # fmt: skip
    assert (await name(box, second, "not so old")).condemned_at is None
    assert (await delete(box, second)).condemned_because == "deleted"


async def test_what_a_start_needs_is_not_deleted(box: Box) -> None:
    *_, newest = await three(box)
    with pytest.raises(SnapshotInUseError, match="newest"):
        await delete(box, newest)
    row = await box.row()
    await box.service.parts.rows.change(box.key, pinned_snapshot=(await box.snapshots())[1].id)
    with pytest.raises(SnapshotInUseError, match="grew from"):
        await delete(box, (await box.snapshots())[1])
    assert row.head_snapshot == newest.id
    with pytest.raises(NotFoundError):
        await delete(box, newest.model_copy(update={"id": "none"}))
    assert not any(one.condemned_at for one in await box.snapshots())


async def test_work_that_was_saved_aside_is_offered_until_it_is_adopted_or_deleted(
    box: Box,
) -> None:
    first, second, _ = await three(box)
    await box.kill()
    box.house.store.down = True
    await box.lose()
    assert await box.outcome(without_snapshot=True) == "without-snapshot"
    box.house.store.down = False
    await box.write("b.txt", "aside")
    aside = await box.save()
    assert (aside.lineage == "main", aside.side_reason) == (False, "detached")
    with pytest.raises(SnapshotInUseError, match="grew from"):
        await delete(box, aside)
    shown = {one.id: one for one in await box.snapshots()}
    assert shown[aside.id].adoptable
    assert not any(shown[one.id].adoptable for one in (first, second))
    await box.restore(aside.id)
    assert await box.read("b.txt") == "aside"
    shown = {one.id: one for one in await box.snapshots()}
    assert not shown[aside.id].adoptable, "the head has it now"
    assert (await box.view()).side_snapshots == []
    assert (await delete(box, aside)).condemned_because == "deleted"


async def test_an_agents_snapshots_are_condemned_with_it(box: Box) -> None:
    await three(box)
    service, org = box.service, box.key.org
    box.house.store.down = True
    with pytest.raises(StoreUnavailableError):
        await service.delete_agent(org, box.key.agent)
    box.house.store.down = False
    assert (await box.view()).state == "running", "with the store away nothing was deleted"
    await service.delete_agent(org, box.key.agent)
    assert all(one.condemned_because == "deleted" for one in await box.snapshots())
    assert await names(box) == [None] * 3
