"""Going back, adopting, exporting and importing."""

import asyncio
import io
import secrets
import tarfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from limpet.errors import (
    InvalidInputError,
    NotFoundError,
    SnapshotDamagedError,
    StoreUnavailableError,
)
from limpet.ids import SnapshotId
from tests.control.sandboxes.conftest import Box, House
from tests.daemon.setup.projects import app_files

pytestmark = pytest.mark.anyio


async def test_going_back_saves_the_present_and_adds_to_the_history(box: Box) -> None:
    await box.start()
    await box.write("a.txt", "one")
    first = await box.save("first")
    await box.write("a.txt", "two")
    done = await box.restore(first.id)
    assert await box.read("a.txt") == "one"
    assert done.saved_first is not None
    assert done.saved_first.reason == "before-restore"
    assert done.head.reason == "rollback"
    assert (done.head.generation, done.head.parent) == (3, done.saved_first.id)
    assert done.receipt is not None
    assert done.receipt.complete
    head = await box.head()
    assert head is not None
    assert head.id == done.head.id
    await box.restore(done.saved_first.id)
    assert await box.read("a.txt") == "two"
    await box.lose()
    assert await box.outcome() == "restored"
    assert await box.read("a.txt") == "two"


async def test_going_back_leaves_nothing_unsaved_and_the_next_save_follows(box: Box) -> None:
    await box.start()
    await box.write("a.txt", "one")
    first = await box.save()
    await box.write("a.txt", "two")
    done = await box.restore(first.id)
    await box.write("b.txt", "three")
    saved = await box.save()
    assert saved.parent == done.head.id
    await box.kill()
    assert await box.outcome() == "kept"


@pytest.mark.skipif(not Path("/proc/self/io").exists(), reason="no proc(5) to look at")
async def test_going_back_reads_what_differs_and_no_more(box: Box) -> None:
    size = 4 << 20
    await box.start()
    await box.write("large", secrets.token_hex(size // 2))
    await box.write("a.txt", "one")
    first = await box.save()
    await box.write("a.txt", "two")
    await box.save()
    await box.lose()
    assert await box.outcome() == "restored"
    before = bytes_read(await box.daemon_pid())
    await box.restore(first.id)
    assert await box.read("a.txt") == "one"
    assert bytes_read(await box.daemon_pid()) - before < size


def bytes_read(pid: int) -> int:
    """How many bytes a process has read from files and pipes (proc(5), io)."""
    told = dict(line.split(": ") for line in Path(f"/proc/{pid}/io").read_text().splitlines())
    return int(told["rchar"])


async def test_going_back_to_a_damaged_snapshot_changes_nothing(box: Box) -> None:
    await box.start()
    await box.write("a.txt", "one")
    first = await box.save()
    await box.write("a.txt", "two")
    await box.save()
    box.damage(first.id)
    with box.phases() as phases, pytest.raises(SnapshotDamagedError):
        await box.restore(first.id)
    assert phases.kinds[-1] == "ready"
    assert await box.read("a.txt") == "two"
    assert (await box.view()).state == "running"
    await box.write("a.txt", "three")
    assert (await box.save()).lineage == "main"


async def test_going_back_while_the_store_is_away_changes_nothing(box: Box) -> None:
    await box.start()
    await box.write("a.txt", "one")
    first = await box.save()
    await box.write("a.txt", "two")
    box.house.store.down = True
    with pytest.raises(StoreUnavailableError):
        await box.restore(first.id)
    assert await box.read("a.txt") == "two"


async def test_going_back_without_a_running_sandbox_is_done_by_its_next_start(box: Box) -> None:
    await box.start()
    await box.write("a.txt", "one")
    first = await box.save()
    await box.write("a.txt", "two")
    await box.stop()
    done = await box.restore(first.id)
    assert done.saved_first is None
    assert (await box.view()).state == "stopped"
    assert await box.outcome() == "restored"
    assert await box.read("a.txt") == "one"


async def test_what_ran_before_a_restore_runs_again_after_it(house: House) -> None:
    box = await house.agent(template="page")
    await box.start()
    first = await box.save()
    await box.restore(first.id)
    client = await box.client()
    assert (await client.health()).configured
    ran = await box.service.exec(box.key.org, await box.handle(), "cat src/page.txt")
    assert ran["stdout"] == "hello\n"


async def with_a_dev_server(house: House) -> Box:
    """A sandbox whose dev server answers."""
    files = {**app_files(), "template.json": '{"title": "Node", "description": "A server"}'}
    for name, text in files.items():
        path = house.templates_dir / "node" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    await house.reopen()
    box = await house.agent(template="node")
    await box.start()
    assert await dev_servers(box) == 1
    return box


async def dev_servers(box: Box) -> int:
    """How often a dev server was started, once one answers and nothing else is to be done."""
    client = await box.client()
    async with asyncio.timeout(120):
        while True:
            now = await client.call("GET", "/health")
            if now["phase"] == "running" and not any(now["orchestrator"].values()):
                break
    told = await client.call("GET", "/_sandbox/tasks")
    return sum(task["logName"] == "dev" for task in told["tasks"])


async def test_going_back_starts_the_dev_server_once(house: House) -> None:
    box = await with_a_dev_server(house)
    saved = await box.save()
    await box.restore(saved.id)
    assert await dev_servers(box) == 2


async def test_going_back_in_vain_leaves_the_dev_server_alone(house: House) -> None:
    box = await with_a_dev_server(house)
    await box.write("a.txt", "one")
    saved = await box.save()
    await box.write("a.txt", "two")
    box.damage(saved.id)
    with pytest.raises(SnapshotDamagedError):
        await box.restore(saved.id)
    assert await box.read("a.txt") == "two"
    assert await dev_servers(box) == 1


async def test_going_back_touches_what_differs_alone(box: Box) -> None:
    await box.start()
    noise = "head -c 3000000 /dev/urandom > large && mkdir deep && echo 1 > deep/kept"
    await box.service.exec(box.key.org, await box.handle(), noise)
    await box.write("a.txt", "one")
    first = await box.save()
    await box.write("a.txt", "two")
    repo = await box.root() / "workspace" / "repo"
    before = [(repo / name).stat().st_ino for name in ("large", "deep/kept")]
    done = await box.restore(first.id)
    assert await box.read("a.txt") == "one"
    assert [(repo / name).stat().st_ino for name in ("large", "deep/kept")] == before
    assert done.receipt is not None
    assert done.receipt.counts == {"changed": 1}
    head = await box.head()
    assert head is not None
    assert head.stored_bytes == 0, "going back copies nothing"
    await box.lose()
    assert await box.outcome() == "restored"
    assert await box.read("a.txt") == "one"


async def test_a_sandbox_that_was_held_stays_held_after_a_restore(house: House) -> None:
    box = await house.agent(template="page")
    await box.start(hold="restored")
    first = await box.save()
    await box.restore(first.id)
    assert not (await (await box.client()).health()).configured


async def test_a_snapshot_of_another_branch_is_not_found(box: Box, house: House) -> None:
    await box.start()
    await box.write("a.txt", "one")
    saved = await box.save()
    other = await house.agent()
    await other.start()
    with pytest.raises(NotFoundError):
        await other.restore(saved.id)


async def test_what_is_exported_can_be_imported_elsewhere(box: Box, house: House) -> None:
    await box.start()
    await box.write("a.txt", "one")
    saved = await box.save()
    told, chunks = await box.service.export(box.key.org, box.key.agent, None, SnapshotId(saved.id))
    assert told.id == saved.id
    tar = b"".join([chunk async for chunk in chunks])
    with tarfile.open(fileobj=io.BytesIO(tar)) as opened:
        assert any(name.endswith("repo/a.txt") for name in opened.getnames())
    other = await house.agent()
    imported = await other.service.import_(other.key.org, other.key.agent, None, pieces(tar))
    assert (imported.reason, imported.lineage, imported.is_head) == ("import", "main", True)
    assert await other.outcome() == "restored"
    assert await other.read("a.txt") == "one"
    assert list((house.data_dir / "imports").iterdir()) == []


async def test_an_import_stores_what_the_org_does_not_have(box: Box, house: House) -> None:
    await box.start()
    await box.write("a.txt", "one" * 50_000)
    saved = await box.save()
    _, chunks = await box.service.export(box.key.org, box.key.agent, None, SnapshotId(saved.id))
    tar = b"".join([chunk async for chunk in chunks])
    other = await house.agent()
    imported = await other.service.import_(other.key.org, other.key.agent, None, pieces(tar))
    assert imported.stored_bytes < 1000
    assert imported.receipt is not None
    assert imported.receipt.complete


async def test_an_import_that_is_cut_off_leaves_nothing(box: Box, house: House) -> None:
    tar = foreign_tar("repo/b.txt")

    async def cut() -> AsyncIterator[bytes]:
        yield tar[:600]
        raise ConnectionResetError("gone")

    with pytest.raises(ConnectionResetError):
        await box.service.import_(box.key.org, box.key.agent, None, cut())
    assert await box.snapshots() == []
    assert list((house.data_dir / "imports").iterdir()) == []


async def test_what_a_killed_import_left_is_deleted_at_the_next_start(house: House) -> None:
    left = house.data_dir / "imports" / "import-x" / "workspace"
    left.mkdir(parents=True)
    (left / "file").write_text("x")
    (left.parent).chmod(0o500)
    await house.reopen()
    assert not (house.data_dir / "imports").exists()


@pytest.mark.parametrize("name", ["../escaped", "/absolute", "repo/../../escaped"])
async def test_an_import_that_leads_out_is_refused(box: Box, house: House, name: str) -> None:
    with pytest.raises((SnapshotDamagedError, InvalidInputError)):
        await box.service.import_(box.key.org, box.key.agent, None, pieces(foreign_tar(name)))
    assert await box.snapshots() == []
    assert not list(house.data_dir.rglob("escaped"))


async def test_an_import_into_a_running_sandbox_is_offered_not_forced_on_it(box: Box) -> None:
    await box.start()
    await box.write("a.txt", "one")
    await box.save()
    imported = await box.service.import_(
        box.key.org, box.key.agent, None, pieces(foreign_tar("repo/b.txt"))
    )
    assert imported.lineage != "main"
    assert [s.id for s in (await box.view()).side_snapshots] == [imported.id]
    await box.write("a.txt", "two")
    assert (await box.save()).lineage == "main"
    await box.restore(imported.id)
    assert await box.read("b.txt") == "foreign"
    assert await box.read("a.txt") is None


async def test_an_import_is_of_use_to_a_stopped_sandbox_at_its_next_start(box: Box) -> None:
    await box.start()
    await box.write("a.txt", "one")
    await box.stop()
    await box.service.import_(box.key.org, box.key.agent, None, pieces(foreign_tar("repo/b.txt")))
    assert await box.outcome() == "restored"
    assert await box.read("b.txt") == "foreign"
    assert len(await box.snapshots()) == 2


@pytest.mark.parametrize("tar", [b"", b"no tar", b"\0" * 10240])
async def test_an_import_that_is_no_tar_leaves_nothing(box: Box, tar: bytes) -> None:
    if tar.strip(b"\0"):
        with pytest.raises((SnapshotDamagedError, InvalidInputError)):
            await box.service.import_(box.key.org, box.key.agent, None, pieces(tar))
        assert await box.snapshots() == []
    assert (await box.start()).restore is not None


async def pieces(data: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(data), 700):
        yield data[start : start + 700]


def foreign_tar(name: str) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as made:
        info = tarfile.TarInfo(name)
        info.size = 7
        made.addfile(info, io.BytesIO(b"foreign"))
    return out.getvalue()
