"""A tar becomes a packed snapshot, exactly; one that is damaged or unsafe becomes nothing."""

import asyncio
import io
import os
import tarfile
import warnings
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from limpet.errors import LimpetError, TarDamagedError, TarUnsafeError
from limpet.snapshots.lineage import Head
from limpet.snapshots.repository import SaveSupersededError
from limpet.snapshots.tar_import import TarUnreadableError, import_tar
from limpet.snapshots.tar_write import stream_tar
from tests.snapshots.engine import REF, Engine, objects
from tests.snapshots.trees import Folder, build, describe, scratch_folder, trees

LEFT_OUT = (b"tmp", b".limpet-root")


async def in_pieces(tar: bytes, size: int = 3000) -> AsyncIterator[bytes]:
    for start in range(0, len(tar), size):
        yield tar[start : start + size]


def imported(engine: Engine, tar: bytes, **others: object) -> Head:
    scratch = engine.folder / "scratch"
    scratch.mkdir(exist_ok=True)
    try:
        return asyncio.run(
            import_tar(
                engine.repository,
                REF,
                in_pieces(tar),
                scratch,
                parent=None,
                fencing=1,
                **{"expected_generation": 0, **others},  # type: ignore[arg-type]
            )
        )
    finally:
        assert not list(scratch.iterdir()), "nothing stays in the scratch folder"


def tar_of(workspace: Path) -> bytes:
    return b"".join(stream_tar(workspace))


@settings(max_examples=40, deadline=None, suppress_health_check=[*HealthCheck])
@given(trees())
def test_a_tar_of_ours_comes_back_from_its_packed_snapshot(tree: Folder) -> None:
    with scratch_folder() as folder:
        engine = Engine(folder)
        build(engine.workspace, tree)
        head = imported(engine, tar_of(engine.workspace))
        assert head.kind == "tree"
        assert head.receipt.complete
        engine.restore(head, folder / "back")
        assert describe(folder / "back") == describe(engine.workspace, leave_out=LEFT_OUT)


def test_it_is_the_state_that_a_save_of_the_same_workspace_makes() -> None:
    with scratch_folder() as folder:
        engine = Engine(folder)
        engine.workspace.mkdir()
        (engine.workspace / "a").write_bytes(os.urandom(3_000_000))
        (engine.workspace / "b").mkdir()
        os.link(engine.workspace / "a", engine.workspace / "b" / "c")
        engine.head = imported(engine, tar_of(engine.workspace))
        assert engine.head.blake3 == engine.save(from_head=False).blake3


def test_a_tar_of_others_is_taken_as_it_is() -> None:
    with scratch_folder() as folder:
        engine = Engine(folder)
        made = io.BytesIO()
        with tarfile.open(fileobj=made, mode="w") as tar:
            one = tarfile.TarInfo("deep/er/file")
            one.size, one.mtime, one.mode = 5, 1_700_000_000, 0o640
            tar.addfile(one, io.BytesIO(b"12345"))
            scrap = tarfile.TarInfo("tmp/scrap")
            tar.addfile(scrap, io.BytesIO(b""))
        head = imported(engine, made.getvalue())
        engine.restore(head, folder / "back")
        found = describe(folder / "back")
        assert found[b"/deep/er/file"] == ("file", b"12345", 0o640, 1_700_000_000 * 10**9)
        assert b"/tmp" not in found


def test_what_the_tar_says_of_its_save_stays_said() -> None:
    with scratch_folder() as folder:
        engine = Engine(folder)
        engine.workspace.mkdir()
        (engine.workspace / "a").write_text("1")
        os.mkfifo(engine.workspace / "fifo")
        receipt = imported(engine, tar_of(engine.workspace)).receipt
        assert [one.path for one in receipt.skipped] == ["fifo"]
        assert receipt.counts["skipped"] == 1
        assert receipt.entries == 1


@pytest.mark.parametrize("damage", ["cut", "flip", "between members"])
def test_a_damaged_tar_leaves_nothing(damage: str) -> None:
    with scratch_folder() as folder:
        engine = Engine(folder)
        engine.workspace.mkdir()
        for number in range(20):
            (engine.workspace / f"{number}").write_bytes(b"x" * 700)
        tar = bytearray(tar_of(engine.workspace))
        if damage == "flip":
            tar[len(tar) // 2] ^= 1
        else:
            del tar[len(tar) // 2 // 512 * 512 if damage == "between members" else -700 :]
        with pytest.raises(TarDamagedError):
            imported(engine, bytes(tar))
        assert not objects(folder / "store")


def test_a_tar_that_leads_outside_leaves_nothing() -> None:
    with scratch_folder() as folder:
        engine = Engine(folder)
        made = io.BytesIO()
        with tarfile.open(fileobj=made, mode="w") as tar:
            tar.addfile(tarfile.TarInfo("../outside"), io.BytesIO(b""))
        with pytest.raises(TarUnsafeError):
            imported(engine, made.getvalue())
        assert not objects(folder / "store")
        assert not (folder / "outside").exists()


def test_a_sender_that_breaks_off_leaves_nothing() -> None:
    with scratch_folder() as folder:
        engine = Engine(folder)
        (folder / "scratch").mkdir()
        build(engine.workspace, Folder({}))

        async def breaking() -> AsyncIterator[bytes]:
            yield tar_of(engine.workspace)[:512]
            raise LimpetError("the sender has gone")

        with pytest.raises(LimpetError, match="the sender has gone"):
            asyncio.run(
                import_tar(
                    engine.repository, REF, breaking(), folder / "scratch",
                    parent=None, fencing=1, expected_generation=0,
                )
            )  # fmt: skip
        assert not list((folder / "scratch").iterdir())
        assert not objects(folder / "store")


def test_one_that_is_given_up_leaves_nothing() -> None:
    with scratch_folder() as folder:
        engine = Engine(folder)
        (folder / "scratch").mkdir()
        waiting = asyncio.Event()

        async def silent() -> AsyncIterator[bytes]:
            waiting.set()
            await asyncio.Event().wait()
            yield b""

        async def run() -> None:
            task = asyncio.create_task(
                import_tar(
                    engine.repository, REF, silent(), folder / "scratch",
                    parent=None, fencing=1, expected_generation=0,
                )
            )  # fmt: skip
            await waiting.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

        asyncio.run(run())
        assert not list((folder / "scratch").iterdir())


def test_a_lost_race_is_kept_on_the_side() -> None:
    with scratch_folder() as folder:
        engine = Engine(folder)
        build(engine.workspace, Folder({}))
        imported(engine, tar_of(engine.workspace))
        with pytest.raises(SaveSupersededError) as raised:
            imported(engine, tar_of(engine.workspace))
        assert raised.value.head.side_reason == "lost-race"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_what_the_importer_may_not_read_is_told_and_not_left_out() -> None:
    with scratch_folder() as folder:
        engine = Engine(folder)
        engine.workspace.mkdir()
        (engine.workspace / "closed").write_text("secret")
        (engine.workspace / "closed").chmod(0)
        tar = tar_of(engine.workspace)
        folder.chmod(0o777)
        (folder / "scratch").mkdir(mode=0o777)
        (folder / "scratch").chmod(0o777)
        (folder / "store").chmod(0o777)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # no thread of ours runs now
            child = os.fork()
        if not child:
            os.setuid(65534)
            code = 1
            try:
                imported(Engine(folder), tar)
            except TarUnreadableError:
                code = 0
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
