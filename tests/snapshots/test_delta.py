"""What a save of changes promises: what it reads, what it sends, what its receipt tells."""

import mmap
import os
import socket
import stat
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from limpet.errors import NotFoundError
from limpet.snapshots.blobs import hash_of
from limpet.snapshots.delta import stream_delta
from limpet.snapshots.file_clock import FileClock
from limpet.snapshots.mapped import MappedFiles
from limpet.snapshots.native import EntryStat, parse_records
from limpet.snapshots.node import Reference
from limpet.snapshots.node_encode import content_of
from limpet.snapshots.statcache import Chunks, StatCaches, cached_folder
from limpet.snapshots.workspace_size import WorkspaceTooLargeError
from tests.snapshots.saves import Saves
from tests.snapshots.trees import describe


@pytest.fixture
def saves(tmp_path: Path) -> Saves:
    made = Saves(tmp_path)
    made.workspace.mkdir()
    return made


def make(top: Path, files: dict[str, bytes]) -> None:
    for name, data in files.items():
        path = top / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


class Standing:
    """A freezer that says so and does something meanwhile."""

    def __init__(self, meanwhile: Callable[[], None] = lambda: None, *, works: bool = True) -> None:
        self.meanwhile = meanwhile
        self.works = works
        self.calls: list[str] = []

    def freeze(self) -> bool:
        self.calls.append("freeze")
        self.meanwhile()
        return self.works

    def thaw(self) -> None:
        self.calls.append("thaw")


def test_a_change_sends_itself_and_the_folders_above_it(saves: Saves) -> None:
    make(saves.workspace, {"a/b/c": b"one", "a/d": b"two", "e/f": b"three"})
    saves.save()
    (saves.workspace / "a/b/c").write_bytes(b"four")
    state = saves.save()
    assert list(state.sent_data.values()) == [b"four"]
    assert len(state.sent_trees) == 3
    assert state.tree == describe(saves.workspace)


def test_the_same_content_elsewhere_is_not_sent_again(saves: Saves) -> None:
    make(saves.workspace, {"a": b"content", "large": os.urandom(5 << 20)})
    saves.save()
    make(saves.workspace, {"x/a": b"content", "x/b": b"content"})
    (saves.workspace / "x/large").write_bytes((saves.workspace / "large").read_bytes())
    assert not saves.save().sent_data


def test_a_few_bytes_in_a_large_file_send_a_few_chunks(saves: Saves) -> None:
    make(saves.workspace, {"large": os.urandom(16 << 20)})
    saves.save()
    with (saves.workspace / "large").open("r+b") as file:
        file.seek(5 << 20)
        file.write(b"changed")
    state = saves.save()
    assert 0 < sum(map(len, state.sent_data.values())) <= 3 << 20
    assert state.tree == describe(saves.workspace)


def test_only_the_top_s_own_looks_changed(saves: Saves) -> None:
    make(saves.workspace, {"a/b": b"one"})
    saves.save()
    os.utime(saves.workspace, ns=(0, 5))
    saves.workspace.chmod(0o700)
    state = saves.save()
    assert not state.unchanged
    assert not state.sent_trees
    assert state.tree[b""] == ("folder", 0o700, 5)
    assert saves.save().unchanged


def test_what_was_written_a_moment_ago_is_read_again(saves: Saves) -> None:
    make(saves.workspace, {"a": b"one"})
    state = saves.save()
    cache = saves.caches.open(state.digest)
    assert cache is not None
    with cache:
        known = cache.folder(b"")
        assert known is not None
        (entry,) = parse_records(known.records)
    now = (saves.workspace / "a").lstat()
    assert (entry.ino, entry.size, entry.mtime_ns) == (now.st_ino, 3, now.st_mtime_ns)
    assert entry.ctime_ns != now.st_ctime_ns


def test_a_file_that_is_written_through_memory_is_never_believed(saves: Saves) -> None:
    make(saves.workspace, {"a": b"x" * 4096})
    with (saves.workspace / "a").open("r+b") as file, mmap.mmap(file.fileno(), 0) as mapped:
        assert os.fstat(file.fileno()).st_ino in MappedFiles().inodes()
        for content in (b"one", b"two", b"six"):
            mapped[:3] = content
            state = saves.save()
            told = state.tree[b"/a"][1]
            assert isinstance(told, bytes)
            assert told[:3] == content


@pytest.mark.parametrize("where", ["first", "middle", "last", "cut", "empty", "gone"])
def test_a_damaged_cache_means_a_full_read(saves: Saves, where: str) -> None:
    make(saves.workspace, {f"{n}/{n}": b"%d" % n for n in range(20)})
    before = saves.save()
    path = saves.caches.folder / before.digest
    data = bytearray(path.read_bytes())
    place = {"first": 0, "middle": len(data) // 2, "last": len(data) - 1}.get(where)
    if place is not None:
        data[place] ^= 1
    path.write_bytes({"cut": data[:-20], "empty": b""}.get(where, data))
    if where == "gone":
        path.unlink()
    state = saves.save()
    assert state.base is None
    assert state.digest == before.digest
    assert state.tree == before.tree


def test_the_receipt_of_a_delta_tells_as_much_as_that_of_a_full_read(saves: Saves) -> None:
    top = saves.workspace
    make(top, {"a/one": b"1", "a/two": b"2", "b/three": b"3"})
    os.link(top / "a/one", top / "b/linked")
    os.link(top / "a/two", saves.folder / "outside")
    (top / "b/link").symlink_to("three")
    (top / "b/three").chmod(0o4755)
    os.mkfifo(top / "b/pipe")
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(os.fspath(top / "a/socket"))
    for path in (top / "a/one", top / "b/three", top / "b"):
        os.setxattr(path, "user.mine", b"x")
    first = saves.save().receipt
    (top / "a/new").write_bytes(b"new")
    told, full = saves.save().receipt, saves.full().receipt
    assert told.counts == full.counts
    assert told.skipped == full.skipped
    assert told.dropped == full.dropped
    assert told.dropped["xattrs"] == 3
    assert told.dropped["setuid"] == 1
    assert (first.files, told.files) == (3, 4)


def test_too_large_a_workspace_is_refused_before_a_byte_is_sent(saves: Saves) -> None:
    make(saves.workspace, {"big/deep/a": bytes(60_000), "small/b": bytes(100)})
    for _ in range(2):  # read in full, and known by a cache
        sent: list[bytes] = []
        with pytest.raises(WorkspaceTooLargeError, match=r"big/deep \(60,000 bytes\)"):
            sent.extend(
                stream_delta(
                    saves.workspace,
                    caches=saves.caches,
                    base=saves.last.digest if saves.last else None,
                    fields={},
                    limit_bytes=60_099,
                )
            )
        assert not sent
        assert saves.save(limit_bytes=60_100).receipt.bytes == 60_100


def test_further_names_of_a_file_do_not_count_against_the_limit(saves: Saves) -> None:
    make(saves.workspace, {"a": bytes(1000)})
    os.link(saves.workspace / "a", saves.workspace / "b")
    assert saves.save(limit_bytes=1000).receipt.bytes == 1000


def test_what_changes_before_all_stands_still_is_in_the_save(saves: Saves) -> None:
    make(saves.workspace, {"a": b"one", "b": b"two"})

    def change() -> None:
        (saves.workspace / "a").write_bytes(b"1")
        (saves.workspace / "b").write_bytes(b"2")

    standing = Standing(change)
    state = saves.save(freezer=standing)
    assert standing.calls == ["freeze", "thaw"]
    assert not state.receipt.live
    assert state.tree == describe(saves.workspace)
    assert [state.tree[b"/a"][1], state.tree[b"/b"][1]] == [b"1", b"2"]


def test_where_nothing_can_be_frozen_the_save_goes_on_live(saves: Saves) -> None:
    make(saves.workspace, {"a": b"one"})
    standing = Standing(works=False)
    state = saves.save(freezer=standing)
    assert standing.calls == ["freeze", "thaw"]
    assert state.receipt.live
    assert state.tree == describe(saves.workspace)


def test_an_unchanged_workspace_is_not_frozen(saves: Saves) -> None:
    make(saves.workspace, {"a": b"one"})
    saves.save()
    while True:  # until what was written a moment ago is settled
        standing = Standing()
        assert saves.save(freezer=standing).unchanged
        if not standing.calls:
            break


def test_a_save_that_is_given_up_leaves_nothing_open(saves: Saves) -> None:
    make(saves.workspace, {f"{n}/{m}": os.urandom(3000) for n in range(30) for m in range(20)})
    make(saves.workspace, {"large": os.urandom(9 << 20)})
    before = sorted(os.listdir("/proc/self/fd"))
    threads = threading.active_count()
    for steps in (0, 1, 2, 5):
        stream = stream_delta(saves.workspace, caches=saves.caches, base=None, fields={})
        for _ in range(steps):
            next(stream)
        stream.close()
    assert sorted(os.listdir("/proc/self/fd")) == before
    assert threading.active_count() == threads
    assert not list(saves.caches.folder.glob(".new-*"))


def test_a_link_in_place_of_a_folder_leads_nowhere(saves: Saves) -> None:
    outside = saves.folder / "outside"
    make(outside, {"secret": b"not yours"})
    make(saves.workspace, {"a/b": b"one"})
    saves.save()
    (saves.workspace / "a/b").unlink()
    (saves.workspace / "a").rmdir()
    (saves.workspace / "a").symlink_to(outside)
    state = saves.save()
    assert state.tree[b"/a"][0] == "link"
    assert b"not yours" not in state.data.values()


def test_a_workspace_that_does_not_exist_is_told(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        stream_delta(tmp_path / "none", caches=StatCaches(tmp_path), base=None, fields={})


def test_the_clock_of_a_file_system_is_the_one_that_stamps_files(tmp_path: Path) -> None:
    folder_fd = os.open(tmp_path, os.O_RDONLY)
    with FileClock(folder_fd, tmp_path) as clock:
        before = clock.now_ns()
        (tmp_path / "a").touch()
        stamp = (tmp_path / "a").stat().st_ctime_ns
        assert before <= stamp < clock.wait_until_after(stamp)
        # What is stamped in the future for good is not waited for without end.
        assert clock.wait_until_after(1 << 62) < 1 << 62
    os.close(folder_fd)
    assert sorted(os.listdir(tmp_path)) == ["a"]


def test_a_mode_alone_that_changed_sends_no_data(saves: Saves) -> None:
    make(saves.workspace, {"a": b"one"})
    saves.save()
    (saves.workspace / "a").chmod(0o755)
    state = saves.save()
    assert not state.sent_data
    assert state.tree[b"/a"][2] == stat.S_IMODE(0o755)


@pytest.mark.parametrize("log", ["-wal", "-journal"])
def test_a_folder_of_a_database_and_its_log_alone_is_saved(saves: Saves, log: str) -> None:
    for database in (b"old", b"new"):
        make(saves.workspace, {"d/work.db": database, f"d/work.db{log}": database + b" log"})
        state = saves.save()
        assert state.tree[b"/d/work.db"][1] == database
        assert state.tree[f"/d/work.db{log}".encode()][1] == database + b" log"


def test_what_a_further_name_of_a_file_held_once_is_not_taken_as_sent(tmp_path: Path) -> None:
    """Names that were read at different moments: the state holds what the first of them held."""
    chunks = {
        name: Chunks((), tuple(Reference(hash_of(name + bytes([n])), 9) for n in range(70)))
        for name in (b"first", b"later")
    }

    def names(*told: tuple[bytes, bytes]) -> list[EntryStat]:
        return [
            EntryStat(stat.S_IFREG | 0o644, 2, 7, 1 if b"small" in name else 2, 5, 1, 1, 8, name)
            for name, _ in told
        ]

    caches = StatCaches(tmp_path / "caches")
    with caches.create() as writer:
        for path, held in ((b"a-b", b"later"), (b"a/c", b"first")):
            told = names((b"large", held), (b"small", held))
            contents = [chunks[held], hash_of(held)]
            writer.add(path, cached_folder(told, contents, [hash_of(path)]))
        writer.commit("0" * 64)
    cache = caches.open("0" * 64)
    assert cache is not None
    tables: set[bytes] = set()
    content_of(chunks[b"first"].references, (), lambda _, name: tables.add(name))
    with cache:
        first = {one.name for one in chunks[b"first"].references}
        assert cache.data_blobs() == {hash_of(b"first"), *first}
        assert cache.tree_blobs() == {hash_of(b"a-b"), hash_of(b"a/c"), *tables}
