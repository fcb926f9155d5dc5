"""The store breaks, fills up, or gives back something else than what was put there."""

import contextlib
import io
import os
import random
import shutil
import signal
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults.conftest import Worker
from tests.live import QUIET_SAVER, LiveLimpet, differences, poll_until

pytestmark = pytest.mark.fault


def lose_sandbox(worker: Worker) -> None:
    """The sandbox dies with its folder, as an evicted one does; the server goes on."""
    worker.live.kill_all()
    shutil.rmtree(worker.root)


def evict(worker: Worker) -> None:
    """The sandbox's processes and its folder go; the server goes on and is not told."""

    def killed() -> bool:
        for pid in (found := worker.live.sandbox_processes(worker.root)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return not found

    poll_until("the sandbox's processes to end", killed)
    shutil.rmtree(worker.root)


def start_anew(worker: Worker, **environ: str) -> None:
    worker.live.environ = {**worker.live.environ, **environ}
    worker.live.start()


def break_store(live: LiveLimpet) -> Path:
    """Put a file where the store's folder should be; gives where the real one waits."""
    store = live.data_dir / "sandbox-snapshots"
    aside = live.data_dir / "sandbox-snapshots.aside"
    store.rename(aside)
    store.write_text("not a folder")
    return aside


def mend_store(live: LiveLimpet, aside: Path) -> None:
    store = live.data_dir / "sandbox-snapshots"
    if store.is_dir():
        shutil.rmtree(store)
    else:
        store.unlink(missing_ok=True)
    aside.rename(store)


def test_a_store_broken_at_start_loses_neither_the_old_work_nor_the_new(worker: Worker) -> None:
    live = worker.live
    worker.write("old.txt", "old work")
    old = worker.save()
    lose_sandbox(worker)
    aside = break_store(live)
    start_anew(worker, LIMPET_STORE_WAIT_S="1")
    live.cli("start", worker.agent, code=3)
    live.cli("start", worker.agent, "--without-snapshot")
    assert worker.box()["detached"]
    assert not worker.has("old.txt")
    worker.write("new.txt", "new work")
    mend_store(live, aside)
    side = worker.save()
    assert side["lineage"] != "main", side
    [head] = [s for s in worker.snapshots() if s["is_head"] and s["lineage"] == "main"]
    assert head["id"] == old["id"]

    worker.write("newer.txt", "newer work")
    live.cli("stop", worker.agent)
    live.cli("start", worker.agent)
    assert worker.read("old.txt") == "old work"
    assert not worker.has("new.txt")
    assert not worker.box()["detached"]
    offered = worker.box()["side_snapshots"]
    assert offered, "the new work is not offered"
    live.cli("snapshots", "restore", worker.agent, offered[0]["id"], "--yes")
    assert worker.read("new.txt") == "new work"
    assert worker.read("newer.txt") == "newer work"
    kept = [s["id"] for s in worker.snapshots()]
    assert old["id"] in kept


def test_idle_saves_of_a_detached_sandbox_never_move_the_head() -> None:
    with LiveLimpet.temporary(
        {"LIMPET_POLL_S": "1", "LIMPET_IDLE_S": "1", "LIMPET_STORE_WAIT_S": "1"}
    ) as live:
        worker = Worker.make(live)
        worker.write("old.txt", "old work")
        old = worker.save()
        lose_sandbox(worker)
        aside = break_store(live)
        live.start()
        live.cli("start", worker.agent, code=3)
        live.cli("start", worker.agent, "--without-snapshot")
        worker.write("new.txt", "new work")
        mend_store(live, aside)
        poll_until(
            "an idle save to a side lineage",
            lambda: any(s["lineage"] != "main" for s in worker.snapshots()),
        )
        heads = [s for s in worker.snapshots() if s["is_head"] and s["lineage"] == "main"]
        assert [s["id"] for s in heads] == [old["id"]]


@pytest.mark.parametrize("made_anew_by", ["nobody", "somebody", "the next server"])
def test_a_store_that_was_moved_away_is_never_taken_for_a_new_one(made_anew_by: str) -> None:
    with LiveLimpet.temporary({**QUIET_SAVER, "LIMPET_STORE_WAIT_S": "1"}) as live:
        agent = live.api("POST", "/agents", {"title": "Page", "template": "webapp"})["id"]
        live.cli("start", agent, "--hold", "restored")
        worker = Worker(live, agent, live.sandbox(agent)["handle"])
        (worker.workspace / "repo" / "old.txt").write_text("old work")
        before = worker.tree()
        old = worker.save()
        store = live.data_dir / "sandbox-snapshots"
        aside = live.data_dir / "sandbox-snapshots.aside"
        store.rename(aside)
        evict(worker)
        if made_anew_by == "somebody":
            store.mkdir()
        elif made_anew_by == "the next server":
            live.kill_all()
            live.start()

        worker.start("--hold", "restored", code=3)
        asked = {"virtualMcpId": agent, "hold": "restored"}
        told = live.api("POST", "/vm/start", asked, status=503)["error"]
        assert told["code"] == "store_unreachable", told
        if made_anew_by != "nobody":
            assert "has none of the snapshots" in told["message"], told
        assert not worker.has("package.json"), "it began from the template"
        assert not worker.box()["detached"]

        shutil.rmtree(store, ignore_errors=True)
        aside.rename(store)
        worker.start("--hold", "restored")
        restore = worker.box()["restore"]
        assert (restore["outcome"], restore["snapshot"]) == ("restored", old["id"])
        assert differences(before, worker.tree()) == []
        assert [s["id"] for s in worker.snapshots()] == [old["id"]]


@pytest.fixture
def small_tmpfs(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """Mounts of a given size in MiB; skipped where mounting is not allowed."""
    mounted: list[Path] = []

    def mount(size_mib: int) -> Path:
        where = tmp_path / f"small{len(mounted)}"
        where.mkdir()
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={size_mib}m,mode=0755", "limpet-test", where],
            check=False,
            capture_output=True,
        )
        if done.returncode:
            pytest.skip("mounting a tmpfs is not allowed here")
        mounted.append(where)
        return where

    yield mount
    for where in mounted:
        subprocess.run(["umount", "-l", where], check=False)


def fill(worker: Worker, mib: int) -> None:
    """Work that does not compress and takes `mib` MiB."""
    worker.live.cli(
        "exec", worker.agent, "--", "sh", "-c",
        f"head -c {mib << 20} /dev/urandom > ballast.bin && echo full > marker.txt",
    )  # fmt: skip


def test_a_disk_that_fills_up_during_a_save_leaves_the_old_snapshot(
    worker: Worker, small_tmpfs: Callable[[int], Path]
) -> None:
    live = worker.live
    worker.write("a.txt", "first")
    first = worker.save()
    store = live.data_dir / "sandbox-snapshots"
    small = small_tmpfs(8)
    shutil.copytree(store, small / "s", dirs_exist_ok=True)
    shutil.rmtree(store)
    store.symlink_to(small / "s")
    live.kill_all()
    live.start()
    worker.start()
    fill(worker, 16)
    before = worker.tree()
    live.cli("snapshots", "save", worker.agent, code=1)
    assert worker.tree() == before
    assert [s["id"] for s in worker.snapshots()] == [first["id"]]
    assert not list((small / "s").rglob("*tmp*")), "a half-written object stayed"
    live.cli("exec", worker.agent, "--", "rm", "ballast.bin")
    assert worker.save()["receipt"]["complete"]


def test_a_disk_too_full_for_a_restore_says_so_and_keeps_the_workspace(
    small_tmpfs: Callable[[int], Path],
) -> None:
    with LiveLimpet.temporary(QUIET_SAVER) as live:
        small = small_tmpfs(24)
        (live.data_dir / "sandboxes").rmdir() if (live.data_dir / "sandboxes").exists() else None
        (live.data_dir / "sandboxes").symlink_to(small)
        live.kill_all()
        live.start()
        worker = Worker.make(live)
        fill(worker, 14)
        big = worker.save()
        live.cli("exec", worker.agent, "--", "sh", "-c", "rm ballast.bin; echo small > marker.txt")
        worker.save()
        live.cli(
            "exec", worker.agent, "--", "sh", "-c", "head -c 12000000 /dev/zero | tr '\\0' x > pad"
        )
        before = {k: v for k, v in worker.tree().items() if "/repo" in k}
        live.cli("snapshots", "restore", worker.agent, big["id"], "--yes", code=1)
        assert {k: v for k, v in worker.tree().items() if "/repo" in k} == before
        assert not any((worker.root / "staging").iterdir())
        live.cli("exec", worker.agent, "--", "rm", "pad")
        live.cli("snapshots", "restore", worker.agent, big["id"], "--yes")
        assert worker.read("marker.txt") == "full\n"


def hostile_tars() -> dict[str, bytes]:
    """Whole tars that would write outside if they were believed."""

    def tar(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as made:
            for info, data in members:
                info.size = len(data)
                made.addfile(info, io.BytesIO(data))
        return out.getvalue()

    def entry(
        name: str, kind: bytes = tarfile.REGTYPE, link: str = "", data: bytes = b""
    ) -> tuple[tarfile.TarInfo, bytes]:
        info = tarfile.TarInfo(name)
        info.type, info.linkname, info.mode = kind, link, 0o755
        return info, data

    symlink, hard, folder = tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE
    return {
        "parent": tar(entry("../escaped", data=b"x")),
        "parent deep": tar(entry("repo", folder), entry("repo/../../escaped", data=b"x")),
        "absolute": tar(entry("/tmp/limpet-escaped", data=b"x")),
        "through a symlink": tar(
            entry("repo", symlink, "/tmp"), entry("repo/limpet-escaped", data=b"x")
        ),
        "symlinked parent later": tar(
            entry("a", symlink, ".."), entry("a/escaped", data=b"x"), entry("a", folder)
        ),
        "hard link out": tar(entry("repo/passwd", hard, "../../../../etc/passwd")),
        "hard link absolute": tar(entry("repo/passwd", hard, "/etc/passwd")),
        "hard link through a symlink": tar(
            entry("etc", symlink, "/etc"), entry("p", hard, "etc/passwd")
        ),
        "device": tar(entry("null", tarfile.CHRTYPE)),
        "fifo": tar(entry("pipe", tarfile.FIFOTYPE)),
        "root as link": tar(entry(".", symlink, "/tmp")),
        "empty name": tar(entry("", data=b"x")),
        "file below a file": tar(entry("f", data=b"x"), entry("f/g", data=b"x")),
        "twice": tar(entry("f", data=b"x"), entry("f", data=b"y")),
    }


@pytest.mark.parametrize("kind", sorted(hostile_tars()))
def test_a_stored_snapshot_replaced_by_a_hostile_tar_writes_nowhere(
    worker: Worker, kind: str
) -> None:
    worker.write("a.txt", "first")
    first = worker.save()
    worker.write("a.txt", "second")
    second = worker.save()
    worker.stored(second["id"]).write_bytes(hostile_tars()[kind])
    lose_sandbox(worker)
    outside = sorted(p.name for p in worker.root.parent.iterdir())
    start_anew(worker)
    worker.start()
    assert worker.read("a.txt") == "first"
    assert worker.box()["restore"]["outcome"] == "damaged-used-older", worker.box()["restore"]
    assert worker.box()["restore"]["snapshot"] == first["id"]
    assert not Path("/tmp/limpet-escaped").exists()
    new = {p.name for p in worker.root.parent.iterdir()} - set(outside)
    assert new <= {worker.handle}
    assert sorted(p.name for p in worker.root.iterdir()) == [
        "scratch", "staging", "state", "workspace",
    ]  # fmt: skip


def test_a_hostile_tar_imported_by_a_user_is_refused(worker: Worker, tmp_path: Path) -> None:
    worker.write("a.txt", "first")
    worker.save()
    for kind, content in hostile_tars().items():
        (tmp_path / "hostile.tar").write_bytes(content)
        before = len(worker.snapshots())
        done = subprocess.run(
            ["limpet", "snapshots", "import", worker.agent, tmp_path / "hostile.tar"],
            env={**worker.live.full_environ(), "PATH": _venv_path()},
            check=False, capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode in (2, 6), (kind, done)
        assert len(worker.snapshots()) == before, kind


def _venv_path() -> str:
    return f"{Path(sys.executable).parent}:{os.environ['PATH']}"


BLOCK = 64


def damaged_copies(whole: bytes, dice: random.Random) -> Iterator[tuple[str, bytes]]:
    """A pack cut at every 64-byte boundary; a bit flipped in each block of its frames; two swapped.

    Its index is left alone: a server that has read it does not need it again.
    """
    frames = len(whole) - int.from_bytes(whole[-8:-4], "little")
    for cut in range(0, len(whole), BLOCK):
        yield f"cut at {cut}", whole[:cut]
    for start in range(48, frames, BLOCK):
        flipped = bytearray(whole)
        at = start + dice.randrange(min(BLOCK, frames - start))
        flipped[at] ^= 1 << dice.randrange(8)
        yield f"bit flipped at {at}", bytes(flipped)
    for start in range(48, frames - 2 * BLOCK, BLOCK):
        first, second = whole[start:][:BLOCK], whole[start + BLOCK :][:BLOCK]
        if first != second:
            swapped = whole[:start] + second + first + whole[start + 2 * BLOCK :]
            yield f"blocks swapped at {start}", swapped


def test_a_damaged_snapshot_is_told_before_a_byte_reaches_the_workspace(
    worker: Worker, dice: random.Random
) -> None:
    worker.write("a.txt", "first")
    worker.write("noise.txt", dice.randbytes(800).hex())
    first = worker.save()
    stored = worker.stored(first["id"])
    whole = stored.read_bytes()
    worker.write("a.txt", "present")
    before = {k: v for k, v in worker.tree().items() if "/repo" in k}
    cases = 0
    for what, damaged in damaged_copies(whole, dice):
        stored.write_bytes(damaged)
        answer = worker.live._http.request(
            "POST",
            f"{worker.live.url}/api/local/agents/{worker.agent}/snapshots/{first['id']}/restore",
            body=b"{}",
            headers={
                "Authorization": f"Bearer {worker.live.discovery['api_key']}",
                "Content-Type": "application/json",
            },
        )
        assert answer.status == 422, (what, answer.status, answer.data[:300])
        now = {k: v for k, v in worker.tree().items() if "/repo" in k}
        assert now == before, what
        cases += 1
    assert cases > 30
    stored.write_bytes(whole)
    worker.live.cli("snapshots", "restore", worker.agent, first["id"], "--yes")
    assert worker.read("a.txt") == "first"
