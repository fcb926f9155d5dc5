"""A packed snapshot as a tar: what a restore of either gives is the same."""

import asyncio
import io
import os
import subprocess
import tarfile

import pytest
from hypothesis import HealthCheck, given, settings

from limpet.errors import SnapshotDamagedError
from limpet.snapshots import tar_export
from limpet.snapshots.lineage import Head
from limpet.snapshots.node import FOLDER, Entry
from limpet.snapshots.tar_export import Exported, export_tar
from limpet.snapshots.tar_read import TarLimits, TarVerifier, extract_tar
from limpet.snapshots.tar_write import stream_tar
from tests.snapshots.engine import Engine, objects
from tests.snapshots.trees import Folder, build, describe, scratch_folder, trees

LEFT_OUT = (b"tmp", b".limpet-root")


def tar_of(engine: Engine, head: Head) -> list[bytes]:
    async def run() -> list[bytes]:
        return [chunk async for chunk in await engine.repository.open_tar(head)]

    return asyncio.run(run())


def folder_tar(engine: Engine, head: Head, path: bytes) -> bytes:
    assert head.packed is not None
    root = head.packed.root
    found = engine.trees(head).find(root.node, path)
    assert found is not None
    exported = Exported(engine.trees(head), root.node, path, found)

    async def run() -> bytes:
        read = lambda names: engine.repository.read_blobs(head, names)  # noqa: E731
        return b"".join([chunk async for chunk in export_tar(exported, read, {})])

    return asyncio.run(run())


@settings(max_examples=60, deadline=None, suppress_health_check=[*HealthCheck])
@given(trees())
def test_the_tar_of_a_packed_snapshot_restores_to_the_same_tree(tree: Folder) -> None:
    with scratch_folder() as folder:
        engine = Engine(folder)
        build(engine.workspace, tree)
        head = engine.save()
        receipt = extract_tar(iter(tar_of(engine, head)), folder / "back", limits=TarLimits())
        assert describe(folder / "back") == describe(engine.workspace, leave_out=LEFT_OUT)
        assert receipt.complete


@pytest.mark.parametrize(("blobs", "folders"), [(1, 5000), (7, 5000), (50_000, 1)])
def test_it_does_not_matter_how_much_is_read_at_a_time(
    blobs: int, folders: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    with scratch_folder() as folder:
        engine = Engine(folder)
        engine.workspace.mkdir()
        for number in range(100):
            place = engine.workspace / f"f{number % 9}"
            place.mkdir(exist_ok=True)
            (place / f"{number}").write_text(f"{number % 50}")
        (engine.workspace / "f3" / "large").write_bytes(os.urandom(3_000_000))
        head = engine.save()
        whole = b"".join(tar_of(engine, head))
        monkeypatch.setattr(tar_export, "_BLOBS_AT_ONCE", blobs)
        monkeypatch.setattr(tar_export, "_FOLDERS_AT_ONCE", folders)
        assert b"".join(tar_of(engine, head)) == whole


@settings(max_examples=30, deadline=None, suppress_health_check=[*HealthCheck])
@given(trees())
def test_its_members_are_those_of_the_tar_that_a_daemon_writes(tree: Folder) -> None:
    with scratch_folder() as folder:
        engine = Engine(folder)
        build(engine.workspace, tree)
        exported = b"".join(tar_of(engine, engine.save()))
        written = b"".join(stream_tar(engine.workspace))
        assert members(exported) == members(written)


def members(tar: bytes) -> dict[str, tuple[object, ...]]:
    with tarfile.open(fileobj=io.BytesIO(tar), errors="surrogateescape") as opened:
        return {
            one.name: (
                one.type, one.mode, one.uid, one.gid, one.uname, one.gname, one.size, one.linkname,
                one.mtime, {k: v for k, v in one.pax_headers.items() if not k.startswith("LIMPET")},
            )
            for one in opened
        }  # fmt: skip


def test_the_tar_carries_our_record_and_the_receipt_of_the_save() -> None:
    with scratch_folder() as folder:
        engine = Engine(folder)
        engine.workspace.mkdir()
        (engine.workspace / "a").write_text("one")
        os.mkfifo(engine.workspace / "fifo")
        head = engine.save()
        verifier = TarVerifier()
        for chunk in tar_of(engine, head):
            verifier.feed(chunk)
        summary = verifier.finish()
        assert summary.limpet_record
        assert summary.receipt_of_save is not None
        assert summary.receipt_of_save["skipped"][0]["path"] == "fifo"


def test_other_tools_read_it() -> None:
    with scratch_folder() as folder:
        engine = Engine(folder)
        engine.workspace.mkdir()
        (engine.workspace / "deep").mkdir()
        (engine.workspace / "deep" / "large").write_bytes(os.urandom(3_000_000))
        with (engine.workspace / "holes").open("wb") as out:
            out.truncate(5_000_000)
            out.seek(2_000_000)
            out.write(b"in the middle")
        head = engine.save()
        (folder / "back").mkdir()
        command = ["tar", "-xf", "-", "-C", str(folder / "back")]
        subprocess.run(command, input=b"".join(tar_of(engine, head)), check=True)
        assert describe(folder / "back") == describe(engine.workspace)


def test_a_folder_alone_is_a_tar_of_its_own() -> None:
    with scratch_folder() as folder:
        engine = Engine(folder)
        repo = engine.workspace / "repo"
        (repo / "tmp" / "in").mkdir(parents=True)
        (engine.workspace / "outside").write_text("shared")
        (repo / "tmp" / "a").write_text("1")
        os.link(engine.workspace / "outside", repo / "tmp" / "in" / "b")
        os.link(repo / "tmp" / "a", repo / "tmp" / "in" / "c")
        head = engine.save()
        with tarfile.open(fileobj=io.BytesIO(folder_tar(engine, head, b"repo"))) as tar:
            names = tar.getnames()
            assert sorted(names) == [".", "tmp", "tmp/a", "tmp/in", "tmp/in/b", "tmp/in/c"]
            inside = tar.extractfile("tmp/in/b")
            assert inside is not None
            assert inside.read() == b"shared"
            assert tar.getmember("tmp/in/c").linkname == "tmp/a"


def test_a_damaged_pack_never_gives_a_whole_tar() -> None:
    with scratch_folder() as folder:
        engine = Engine(folder)
        engine.workspace.mkdir()
        (engine.workspace / "a").write_bytes(os.urandom(200_000))
        head = engine.save()
        [pack] = [one for one in objects(folder / "store") if "/packs/" in str(one)]
        data = bytearray(pack.read_bytes())
        data[1000] ^= 1
        pack.chmod(0o644)
        pack.write_bytes(data)
        with pytest.raises(SnapshotDamagedError):
            tar_of(engine, head)


def test_the_top_looks_as_the_folder_does() -> None:
    with scratch_folder() as folder:
        engine = Engine(folder)
        engine.workspace.mkdir()
        (engine.workspace / "sub").mkdir(mode=0o750)
        os.utime(engine.workspace / "sub", ns=(5, 5))
        head = engine.save()
        assert head.packed is not None
        found = engine.trees(head).find(head.packed.root.node, b"sub")
        assert found == Entry(b"sub", FOLDER, 0o750, 5, 0, found.hash if found else None)
        with tarfile.open(fileobj=io.BytesIO(folder_tar(engine, head, b"sub"))) as tar:
            [top] = tar.getmembers()
            assert (top.mode, top.mtime) == (0o750, 5e-09)
