"""A save of a workspace in use: what changes, vanishes or cannot be read is told, never hidden."""

import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from limpet.snapshots.tar_read import TarVerifier, extract_tar
from limpet.snapshots.tar_write import TarStream, stream_tar
from tests.snapshots.test_tree import as_nobody
from tests.snapshots.trees import File, Folder, Hard, build, describe, scratch_folder

Reading = Callable[[int, int], bytes]


def disturb(
    monkeypatch: pytest.MonkeyPatch, act: Callable[[int], None], call: str = "read"
) -> None:
    """Call `act(n)` right after the n-th read of a file's content."""
    real = getattr(os, call)
    count = 0

    def reading(*arguments: int) -> bytes:
        nonlocal count
        data: bytes = real(*arguments)
        count += 1
        act(count)
        return data

    monkeypatch.setattr(os, call, reading)


def whole(stream: TarStream) -> bytes:
    tar = b"".join(stream)
    verifier = TarVerifier()
    verifier.feed(tar)
    assert verifier.finish().limpet_record
    return tar


def test_a_file_that_changes_once_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = build(tmp_path / "workspace", Folder({b"file": File(b"before" * 10)}))
    disturb(
        monkeypatch, lambda n: n == 1 and (workspace / "file").write_bytes(b"after, longer" * 10)
    )
    stream = stream_tar(workspace)
    tar = whole(stream)
    assert stream.receipt.complete
    assert stream.receipt.torn == ()
    extract_tar([tar], tmp_path / "restored")
    assert (tmp_path / "restored/file").read_bytes() == b"after, longer" * 10


@pytest.mark.parametrize("size", [100, 3 << 20])
def test_a_file_that_keeps_changing_is_torn_and_the_tar_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    workspace = build(tmp_path / "workspace", Folder({b"log": File(b"x" * size), b"z": File(b"z")}))

    def append(n: int) -> None:
        with (workspace / "log").open("ab") as log:
            log.write(b"more" * n)

    disturb(monkeypatch, append)
    disturb(monkeypatch, append, "pread")
    stream = stream_tar(workspace)
    tar = whole(stream)
    assert stream.receipt.torn[0].path == "log"
    assert not stream.receipt.complete
    assert stream.receipt.incomplete_because
    receipt = extract_tar([tar], tmp_path / "restored")
    assert not receipt.complete
    assert (tmp_path / "restored/log").read_bytes().startswith(b"x" * size)


@pytest.mark.parametrize("change", ["shrinks", "grows"])
def test_a_large_file_that_changes_while_streamed_is_torn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    size = 18 << 20
    workspace = build(tmp_path / "workspace", Folder({b"big": File(b"x" * size), b"z": File(b"z")}))
    length = 5 << 20 if change == "shrinks" else size + 100
    disturb(monkeypatch, lambda n: n == 3 and os.truncate(workspace / "big", length), "pread")
    stream = stream_tar(workspace)
    tar = whole(stream)
    assert [remark.path for remark in stream.receipt.torn] == ["big"]
    extract_tar([tar], tmp_path / "restored")
    assert (tmp_path / "restored/big").stat().st_size == size
    assert (tmp_path / "restored/z").read_bytes() == b"z"


def test_a_write_with_the_time_set_back_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = build(tmp_path / "workspace", Folder({b"file": File(b"old")}))
    status = (workspace / "file").stat()

    def sneak(n: int) -> None:
        if n == 1:
            (workspace / "file").write_bytes(b"new")
            os.utime(workspace / "file", ns=(status.st_atime_ns, status.st_mtime_ns))

    disturb(monkeypatch, sneak)
    extract_tar([whole(stream_tar(workspace))], tmp_path / "restored")
    assert (tmp_path / "restored/file").read_bytes() == b"new"


def test_what_vanishes_is_no_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree = Folder({b"a": File(b"1"), b"b": File(b"2"), b"d": Folder({b"f": File()}), b"e": File()})
    workspace = build(tmp_path / "workspace", tree)
    (workspace / "link").symlink_to("x")

    def remove(n: int) -> None:
        if n == 1:
            for name in ("b", "link", "d/f"):
                (workspace / name).unlink()
            (workspace / "d").rmdir()

    disturb(monkeypatch, remove)
    stream = stream_tar(workspace)
    extract_tar([whole(stream)], tmp_path / "restored")
    assert sorted(os.listdir(tmp_path / "restored")) == ["a", "e"]
    assert stream.receipt.complete
    assert stream.receipt.counts["vanished"] == 3


def test_what_cannot_be_read_makes_the_save_incomplete(tmp_path: Path) -> None:
    tree = Folder({
        b"secret": File(b"x", 0o000), b"closed": Folder({b"in": File()}, 0o000),
        b"fine": File(b"y"),
    })  # fmt: skip
    workspace = build(tmp_path / "workspace", tree)
    for folder in (tmp_path, *tmp_path.parents):
        folder.chmod(folder.stat().st_mode | 0o011)

    def save() -> None:
        stream = stream_tar(workspace)
        whole(stream)
        receipt = stream.receipt
        assert not receipt.complete
        assert {remark.path for remark in receipt.skipped} == {"secret", "closed"}
        assert receipt.incomplete_because == ("2 entries could not be read",)

    as_nobody(save)


def test_read_only_folders_come_back_for_a_user_too() -> None:
    inner = Folder({b"b": Folder({b"f": File(b"x", 0o400)}, 0o500)}, 0o555)
    with scratch_folder() as scratch:
        workspace = build(scratch / "workspace", Folder({b"a": inner}, 0o555))
        tar = whole(stream_tar(workspace))
        scratch.chmod(0o711)
        (scratch / "users").mkdir()
        (scratch / "users").chmod(0o777)
        restored = scratch / "users" / "restored"
        as_nobody(lambda: extract_tar([tar], restored))
        assert describe(restored) == describe(workspace)


def test_a_link_to_an_unreadable_file_does_not_break_the_tar(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = Folder({b"a": File(b"x"), b"b": Hard(b"a"), b"c": Hard(b"a")})
    workspace = build(tmp_path / "workspace", tree)
    real = os.open

    def opening(path: str, *arguments: object, **named: object) -> int:
        if path == "a":
            raise PermissionError(13, "denied")
        return real(path, *arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "open", opening)
    stream = stream_tar(workspace)
    tar = whole(stream)
    monkeypatch.undo()
    extract_tar([tar], tmp_path / "restored")
    assert sorted(os.listdir(tmp_path / "restored")) == ["b", "c"]
    assert (tmp_path / "restored/b").stat().st_nlink == 2


def test_a_name_whose_file_was_written_meanwhile_is_no_link_to_the_old(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = Folder({b"a": File(b"old"), b"b": File(b"between"), b"c": Hard(b"a")})
    workspace = build(tmp_path / "workspace", tree)
    real = os.open

    def opening(path: str, *arguments: object, **named: object) -> int:
        if path == "b":
            (workspace / "a").write_bytes(b"new content")
        return real(path, *arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "open", opening)
    stream = stream_tar(workspace)
    tar = whole(stream)
    monkeypatch.undo()
    extract_tar([tar], tmp_path / "restored")
    assert (tmp_path / "restored/a").read_bytes() == b"old"
    assert (tmp_path / "restored/c").read_bytes() == b"new content"
    assert [remark.path for remark in stream.receipt.torn] == ["c"]


def names_in(tar: bytes, tmp_path: Path) -> list[str]:
    (tmp_path / "listed.tar").write_bytes(tar)
    listed = subprocess.run(
        ["tar", "-tf", tmp_path / "listed.tar"], check=True, capture_output=True, text=True
    )
    return listed.stdout.splitlines()


def test_refs_and_index_are_read_before_objects(tmp_path: Path) -> None:
    repo = tmp_path / "workspace" / "repo"
    repo.mkdir(parents=True)
    subprocess.run(["git", "init", "-q", "-b", "main"], cwd=repo, check=True)
    (repo / "file").write_text("x")
    subprocess.run(["git", "add", "file"], cwd=repo, check=True)
    names = names_in(whole(stream_tar(tmp_path / "workspace")), tmp_path)
    first_object = names.index("repo/.git/objects/")
    for name in ("repo/.git/HEAD", "repo/.git/index", "repo/.git/refs/heads/"):
        assert names.index(name) < first_object
    inside = [name for name in names if name.startswith("repo/.git/")]
    assert all(name.startswith("repo/.git/objects/") for name in inside[inside.index(
        "repo/.git/objects/") :])  # fmt: skip


WRITER = """
import sqlite3, sys, time
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute("pragma journal_mode=wal"); db.execute("pragma wal_autocheckpoint=20")
db.execute("create table if not exists t (n integer primary key, x)")
n = 0
while True:
    db.execute("begin")
    for _ in range(10):
        db.execute("insert into t (x) values (?)", ("x" * 500,))
    db.execute("commit"); time.sleep(0.002)
    n += 1
    if n == 5:
        print("ready", flush=True)
"""


def test_a_database_in_use_is_consistent_or_torn(tmp_path: Path) -> None:
    (tmp_path / "workspace").mkdir()
    path = tmp_path / "workspace" / "app.db"
    writer = subprocess.Popen([sys.executable, "-c", WRITER, path], stdout=subprocess.PIPE)
    try:
        assert writer.stdout is not None
        writer.stdout.readline()
        for turn in range(10):
            stream = stream_tar(tmp_path / "workspace")
            restored = tmp_path / f"restored{turn}"
            extract_tar(stream, restored)
            torn = {remark.path for remark in stream.receipt.torn}
            if torn & {"app.db", "app.db-wal"}:
                continue
            db = sqlite3.connect(restored / "app.db")
            assert db.execute("pragma integrity_check").fetchall() == [("ok",)]
            rows = db.execute("select count(*) from t").fetchone()[0]
            assert rows % 10 == 0
            db.close()
    finally:
        writer.kill()
        writer.communicate()


def test_a_database_at_rest_comes_with_its_wal(tmp_path: Path) -> None:
    (tmp_path / "workspace").mkdir()
    path = tmp_path / "workspace" / "app.db"
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("pragma journal_mode=wal")
    db.execute("create table t (x)")
    db.execute("insert into t values (1)")
    stream = stream_tar(tmp_path / "workspace")
    extract_tar([whole(stream)], tmp_path / "restored")
    assert stream.receipt.complete
    db.close()
    copy = sqlite3.connect(tmp_path / "restored" / "app.db")
    assert copy.execute("select x from t").fetchall() == [(1,)]
    copy.close()
