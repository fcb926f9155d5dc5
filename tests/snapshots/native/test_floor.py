"""The floor, compiled and in Python: the same results for everything."""

import ctypes
import errno
import os
import socket
import stat
import struct
import subprocess
import threading
from array import array
from collections.abc import Callable, Iterator
from importlib import import_module
from itertools import accumulate
from pathlib import Path
from random import Random
from types import ModuleType
from typing import Any

import pytest
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st

from limpet.snapshots.native import (
    KIND,
    Listings,
    NewFiles,
    WriteJobs,
    parse_records,
    plain,
)
from limpet.snapshots.native.records import CHANGED, LAST_NS, pack_records
from tests.snapshots.native.building import NATIVE, compile_shared, needs_compiler
from tests.snapshots.trees import Folder, build, describe, modes, scratch_folder, times, trees

NS = 1_234_567_891
NOBODY = 65534
ODD = [b"a", b"\xff\xfe", b"n" * 255, b".hidden", b" ", "é漢".encode(), b"-x", b"\n"]


@pytest.fixture(params=["plain", pytest.param("compiled", marks=needs_compiler)])
def floor(request: pytest.FixtureRequest) -> ModuleType:
    return import_module(f"limpet.snapshots.native.{request.param}")


@pytest.fixture
def fd(tmp_path: Path) -> Iterator[int]:
    opened = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    yield opened
    os.close(opened)


def jobs(fd: int, *files: tuple[bytes, int, int, int, int]) -> tuple[WriteJobs, NewFiles]:
    """Files to be made: name, offset in the buffer, length, mode, mtime."""
    made, of = WriteJobs(), NewFiles()
    for name, offset, length, mode, mtime_ns in files:
        of.add_columns([name], [length], [mode], [mtime_ns])
        made.files.append(len(made))
        made.folder_fds.append(fd)
        made.offsets.append(offset)
    return made, of


# -- listing --------------------------------------------------------------------------------------


def test_a_listing_has_every_entry_by_name_as_lstat_sees_it(
    floor: ModuleType, tmp_path: Path, fd: int
) -> None:
    for name in ODD:
        (tmp_path / os.fsdecode(name)).write_bytes(name)
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("nowhere")
    os.link(tmp_path / "a", tmp_path / "hard")
    os.mkfifo(tmp_path / "fifo")
    os.utime(tmp_path / "a", ns=(0, -NS))
    listing = floor.scan_folder(fd)
    entries = parse_records(listing.records)
    names = [entry.name for entry in entries]
    assert names == sorted(os.fsencode(name) for name in os.listdir(tmp_path))
    assert listing.errors == ()
    for entry in entries:
        status = os.lstat(tmp_path / os.fsdecode(entry.name))
        assert entry == (
            status.st_mode, status.st_nlink, status.st_dev, status.st_ino, status.st_size,
            status.st_mtime_ns, status.st_ctime_ns, status.st_blocks, entry.name,
        )  # fmt: skip
    assert pack_records(entries) == listing.records


def test_a_descriptor_that_was_read_from_gives_a_whole_listing(
    floor: ModuleType, tmp_path: Path, fd: int
) -> None:
    for number in range(10):
        (tmp_path / str(number)).touch()
    listing = floor.scan_folder(fd)
    assert len(parse_records(listing.records)) == 10
    with os.scandir(fd) as begun:
        next(begun)
        assert floor.scan_folder(fd) == listing
    assert floor.scan_folder(fd) == listing


def test_times_that_64_bits_cannot_hold_come_as_the_nearest(
    floor: ModuleType, tmp_path: Path, fd: int
) -> None:
    (tmp_path / "late").write_bytes(b"1")
    os.utime(tmp_path / "late", ns=(0, 9_300_000_000 * 10**9))
    if (tmp_path / "late").stat().st_mtime_ns <= LAST_NS:
        pytest.skip("this file system cannot hold such a time itself")
    [entry] = parse_records(floor.scan_folder(fd).records)
    assert entry.mtime_ns == LAST_NS
    assert floor.read_files(fd, [b"late"], [1]).mtimes_ns[0] == LAST_NS


def test_an_empty_folder_and_a_large_one(floor: ModuleType, tmp_path: Path, fd: int) -> None:
    assert floor.scan_folder(fd) == (b"", ())
    for number in range(5000):
        (tmp_path / f"{number:05}").touch()
    names = [entry.name for entry in parse_records(floor.scan_folder(fd).records)]
    assert names == [b"%05d" % number for number in range(5000)]


def test_of_two_names_the_one_that_the_other_begins_with_comes_first(
    floor: ModuleType, tmp_path: Path, fd: int
) -> None:
    names = [b"n" * length for length in range(1, 61)]
    for name in names[::2] + names[1::2][::-1]:
        (tmp_path / os.fsdecode(name)).touch()
    assert [entry.name for entry in parse_records(floor.scan_folder(fd).records)] == names


def test_what_is_no_folder_cannot_be_listed(floor: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    fd = os.open(tmp_path / "file", os.O_RDONLY)
    with pytest.raises(NotADirectoryError):
        floor.scan_folder(fd)
    os.close(fd)


def test_entries_that_come_and_go_never_break_a_listing(
    floor: ModuleType, tmp_path: Path, fd: int
) -> None:
    over = threading.Event()

    def churn() -> None:
        while not over.is_set():
            for number in range(50):
                (tmp_path / f"{number}").touch()
            for number in range(50):
                (tmp_path / f"{number}").unlink()

    (tmp_path / "stays").touch()
    thread = threading.Thread(target=churn)
    thread.start()
    try:
        for _ in range(300):
            listing = floor.scan_folder(fd)
            assert b"stays" in [entry.name for entry in parse_records(listing.records)]
            assert listing.errors == ()
    finally:
        over.set()
        thread.join()


# -- comparing ------------------------------------------------------------------------------------

STRIDE = 20


def listings(floor: ModuleType, fd: int, paths: list[bytes]) -> Listings:
    """The listings of these folders as they are now, with a table of rows of `STRIDE` bytes."""
    found, table = bytearray(b"before"), bytearray()
    for path in paths:
        folder = os.open(path or b".", os.O_RDONLY, dir_fd=fd)
        records = floor.scan_folder(folder).records
        os.close(folder)
        table += struct.pack("<QI8x", len(found), len(records))
        found += records
    return Listings(found + table, len(found), STRIDE, len(paths))


def folders_below(top: Path) -> list[bytes]:
    """Their relative paths, each before those below it."""
    every = [os.fsencode(Path(place).relative_to(top)) for place, _, _ in os.walk(top)]
    return sorted(
        (b"" if path == b"." else path for path in every), key=lambda path: path.split(b"/")
    )


@pytest.fixture
def grown(tmp_path: Path) -> Path:
    top = tmp_path / "top"
    for path in ("a/b/c", "a/b-c", "a/bb", "d", "e/f", "empty"):
        (top / path).mkdir(parents=True)
        (top / path / "file").write_text(path)
    (top / "empty" / "file").unlink()
    return top


def compared(floor: ModuleType, top: Path, paths: list[bytes], then: Listings) -> set[bytes]:
    """The folders that are not as they were; and nothing stays open."""
    opened = os.open(top, os.O_RDONLY)
    before = len(os.listdir("/proc/self/fd"))
    same = floor.compare_listings(opened, paths, then, 0)
    assert len(os.listdir("/proc/self/fd")) == before
    os.close(opened)
    assert set(same) <= {0, 1}
    return {path for path, one in zip(paths, same, strict=True) if not one}


def test_folders_that_are_as_they_were_are_told_from_others(floor: ModuleType, grown: Path) -> None:
    fd = os.open(grown, os.O_RDONLY)
    paths = folders_below(grown)
    then = listings(floor, fd, paths)
    os.close(fd)
    assert compared(floor, grown, paths, then) == set()
    (grown / "a/b/c/file").write_text("other")
    assert compared(floor, grown, paths, then) == {b"a/b/c"}
    (grown / "a/bb/new").touch()
    (grown / "e/f/file").unlink()
    assert compared(floor, grown, paths, then) == {b"a", b"a/b/c", b"a/bb", b"e", b"e/f"}
    (grown / "d").rename(grown / "moved")
    (grown / "d").symlink_to("moved")
    assert compared(floor, grown, paths, then) >= {b"", b"d"}
    (grown / "empty").rmdir()
    (grown / "empty").touch()
    assert compared(floor, grown, paths, then) >= {b"", b"d", b"empty"}


def test_a_part_of_the_rows_is_compared_by_itself(floor: ModuleType, grown: Path) -> None:
    fd = os.open(grown, os.O_RDONLY)
    paths = folders_below(grown)
    then = listings(floor, fd, paths)
    (grown / "d/file").unlink()
    number = paths.index(b"d")
    assert floor.compare_listings(fd, paths[number : number + 2], then, number)[0] == 0
    assert floor.compare_listings(fd, paths[number + 1 : number + 2], then, number + 1) == b"\1"
    assert floor.compare_listings(fd, [], then, len(paths)) == b""
    for first, some in ((0, [*paths, b"x"]), (1, paths), (-1, paths), (len(paths), [b"d"])):
        with pytest.raises(ValueError, match="rows"):
            floor.compare_listings(fd, some, then, first)
    with pytest.raises(ValueError, match="NUL"):
        floor.compare_listings(fd, [b"d\0"], then, 0)
    os.close(fd)


@pytest.mark.parametrize(
    "path",
    [b"..", b".", b"a/..", b"a//b", b"/", b"a/", b"/a", b"d/file", b"n" * 256, b"missing/x",
     b"/".join([b"x"] * 65)],
)  # fmt: skip
def test_what_is_no_path_of_a_folder_is_not_as_it_was(
    floor: ModuleType, grown: Path, path: bytes
) -> None:
    deepest = grown
    for _ in range(65):
        deepest /= "x"
    deepest.mkdir(parents=True)
    fd = os.open(grown, os.O_RDONLY)
    then = listings(floor, fd, [b"a", b"a/b", b"d"])
    os.close(fd)
    assert compared(floor, grown, [path, b"a/b", b"d"], then) == {path}


def test_a_folder_64_deep_is_compared(floor: ModuleType, grown: Path) -> None:
    path = b"/".join([b"x"] * 64)
    (grown / os.fsdecode(path)).mkdir(parents=True)
    fd = os.open(grown, os.O_RDONLY)
    then = listings(floor, fd, [path])
    os.close(fd)
    assert compared(floor, grown, [path], then) == set()


@pytest.mark.parametrize(
    ("at", "length"), [(1 << 63, 10), ((1 << 64) - 1, 1), (0, (1 << 32) - 1), (10, 1 << 20)]
)
def test_a_row_that_reaches_beyond_the_buffer_is_like_no_folder(
    floor: ModuleType, grown: Path, at: int, length: int
) -> None:
    table = struct.pack("<QI8x", at, length)
    then = Listings(bytearray(b"12345678" + table), 8, STRIDE, 1)
    assert compared(floor, grown, [b"d"], then) == {b"d"}


def test_a_table_that_reaches_beyond_the_buffer_is_refused(floor: ModuleType, fd: int) -> None:
    for rows_at, stride in ((1, STRIDE), (-1, STRIDE), (0, 11), (1 << 70, STRIDE)):
        with pytest.raises(ValueError, match="table"):
            floor.compare_listings(fd, [b"d"], Listings(bytearray(20), rows_at, stride, 1), 0)


@needs_compiler
@settings(max_examples=60)
@given(tree=trees(), chosen=st.randoms(use_true_random=False))
def test_both_floors_find_the_same_folders_as_they_were(tree: Folder, chosen: Random) -> None:
    compiled = import_module("limpet.snapshots.native.compiled")
    with scratch_folder() as folder:
        top = build(folder / "tree", tree)
        paths = [path for path in folders_below(top) if path.count(b"/") < 64]
        fd = os.open(top, os.O_RDONLY)
        then = listings(plain, fd, paths)
        for path in chosen.sample(paths, min(3, len(paths))):
            where = top / os.fsdecode(path)
            where.chmod(0o755)
            (where / f"new-{chosen.random()}").touch()
        assert plain.compare_listings(fd, paths, then, 0) == compiled.compare_listings(
            fd, paths, then, 0
        )
        os.close(fd)


# -- reading --------------------------------------------------------------------------------------


def test_files_are_read_whole_with_what_they_look_like(
    floor: ModuleType, tmp_path: Path, fd: int
) -> None:
    (tmp_path / "a").write_bytes(b"alpha")
    (tmp_path / "empty").touch()
    (tmp_path / "z").write_bytes(b"omega!")
    os.utime(tmp_path / "z", ns=(0, -NS))
    read = floor.read_files(fd, [b"a", b"empty", b"z"], [5, 0, 6])
    assert bytes(read.data) == b"alphaomega!"
    assert list(read.errnos) == [0, 0, 0]
    assert list(read.offsets) == [0, 5, 5]
    assert list(read.lengths) == [5, 0, 6]
    status = (tmp_path / "z").stat()
    found = (read.mtimes_ns[2], read.ctimes_ns[2], read.inos[2], read.modes[2], read.nlinks[2])
    assert found == (
        -NS, status.st_ctime_ns, status.st_ino, status.st_mode, 1,
    )  # fmt: skip


def test_what_cannot_be_read_is_told_file_by_file(
    floor: ModuleType, tmp_path: Path, fd: int
) -> None:
    (tmp_path / "link").symlink_to("good")
    (tmp_path / "good").write_bytes(b"1234")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "fifo")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(f"/proc/self/fd/{fd}/socket")
    names = [b"gone", b"link", b"folder", b"fifo", b"socket", b"good", b"good", b"good"]
    read = floor.read_files(fd, names, [1, 4, 4096, 0, 0, 3, 5, 4])
    assert list(read.errnos) == [
        errno.ENOENT, errno.ELOOP, CHANGED, CHANGED, errno.ENXIO, CHANGED, CHANGED, 0,
    ]  # fmt: skip
    assert list(read.lengths) == [0, 0, 0, 0, 0, 0, 0, 4]
    assert bytes(read.data[read.offsets[7] :]) == b"1234"


def test_a_file_that_ends_before_its_size_is_changed(floor: ModuleType) -> None:
    kernel = Path("/sys/kernel")
    if not (kernel / "uevent_seqnum").exists():
        pytest.skip("no file here claims more bytes than it has")
    size = (kernel / "uevent_seqnum").stat().st_size
    fd = os.open(kernel, os.O_RDONLY)
    assert size > len((kernel / "uevent_seqnum").read_bytes())
    assert list(floor.read_files(fd, [b"uevent_seqnum"], [size]).errnos) == [CHANGED]
    os.close(fd)


def test_a_file_that_grows_and_shrinks_meanwhile_is_whole_or_changed(
    floor: ModuleType, tmp_path: Path, fd: int
) -> None:
    size = 1 << 20
    path = tmp_path / "a"
    path.write_bytes(bytes(size))
    over = threading.Event()

    def resize() -> None:
        while not over.is_set():
            for other in (size // 2, 2 * size, size):
                os.truncate(path, other)

    thread = threading.Thread(target=resize)
    thread.start()
    try:
        for _ in range(300):
            read = floor.read_files(fd, [b"a", b"gone"], [size, 4])
            assert (read.errnos[0], read.lengths[0]) in {(0, size), (CHANGED, 0)}
            assert len(read.data) == size + 4
    finally:
        over.set()
        thread.join()
    assert floor.read_files(fd, [b"a"], [size]).errnos[0] == 0


def test_reading_leaves_the_access_time_where_that_is_allowed(
    floor: ModuleType, tmp_path: Path, fd: int
) -> None:
    for name in (b"ours", b"control"):
        (tmp_path / os.fsdecode(name)).write_bytes(b"1")
        os.utime(tmp_path / os.fsdecode(name), ns=(NS, 10**18))
    (tmp_path / "control").read_bytes()
    if (tmp_path / "control").stat().st_atime_ns == NS:
        pytest.skip("no access times are kept here")
    assert list(floor.read_files(fd, [b"ours"], [1]).errnos) == [0]
    assert (tmp_path / "ours").stat().st_atime_ns == NS


def test_a_file_of_another_user_can_be_read(floor: ModuleType, tmp_path: Path, fd: int) -> None:
    if os.geteuid() != 0:
        pytest.skip("becoming another user needs root")
    (tmp_path / "a").write_bytes(b"1")
    (tmp_path / "secret").write_bytes(b"1")
    (tmp_path / "secret").chmod(0o600)
    tmp_path.chmod(0o755)
    os.seteuid(NOBODY)
    try:
        read = floor.read_files(fd, [b"a", b"secret"], [1, 1])
    finally:
        os.seteuid(0)
    assert list(read.errnos) == [0, errno.EACCES]


def test_xattrs_are_noticed(floor: ModuleType, tmp_path: Path, fd: int) -> None:
    (tmp_path / "a").write_bytes(b"1")
    (tmp_path / "b").write_bytes(b"1")
    try:
        os.setxattr(tmp_path / "b", "user.note", b"x")
    except OSError:
        pytest.skip("this file system has no user xattrs")
    assert list(floor.read_files(fd, [b"a", b"b"], [1, 1]).xattrs) == [0, 1]


@pytest.mark.parametrize("name", [b"", b".", b"..", b"a/b", b"a\0b", b"n" * 256])
def test_names_that_lead_elsewhere_are_refused(floor: ModuleType, fd: int, name: bytes) -> None:
    with pytest.raises(ValueError, match="name"):
        floor.read_files(fd, [name], [0])
    with pytest.raises(ValueError, match="name"):
        floor.write_files(b"", *jobs(fd, (b"good", 0, 0, 0o644, 0), (name, 0, 0, 0o644, 0)))
    assert os.listdir(fd) == []


def test_sizes_that_fit_no_names_are_refused(floor: ModuleType, fd: int) -> None:
    for sizes in ([], [1, 2]):
        with pytest.raises(ValueError, match="names for"):
            floor.read_files(fd, [b"a"], sizes)
    for sizes in ([-1, 0], [3, -1], [-1, 3]):
        with pytest.raises(ValueError, match="a size is negative"):
            floor.read_files(fd, [b"a", b"b"], sizes)
    assert floor.read_files(fd, [], []).data == b""


def test_files_of_many_folders_are_read_in_one_call_and_hashed(
    floor: ModuleType, tmp_path: Path
) -> None:
    fds = []
    for folder, held in (("a", b"alpha"), ("b", b""), ("c", bytes(70_000))):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "file").write_bytes(held)
        fds.append(os.open(tmp_path / folder, os.O_RDONLY))
    read = floor.read_files([*fds, fds[0]], [b"file"] * 3 + [b"gone"], [5, 0, 70_000, 9])
    for fd in fds:
        os.close(fd)
    assert list(read.errnos) == [0, 0, 0, errno.ENOENT]
    held = [b"alpha", b"", bytes(70_000), b""]
    assert read.hashes == b"".join(blake3(one).digest() for one in held)


def test_folders_that_fit_no_names_are_refused(floor: ModuleType, fd: int) -> None:
    for folders in ([], [fd, fd]):
        with pytest.raises(ValueError, match="folders for"):
            floor.read_files(folders, [b"a"], [1])


# -- hashing --------------------------------------------------------------------------------------

EDGES = [0, 1, 63, 64, 65, 1023, 1024, 1025, 2048, 3072, 3073, 16_384, 17_409, 65_537, 1 << 20]


def check_hashes(hash_blobs: Callable[..., bytes], data: bytes, lengths: list[int]) -> None:
    offsets = [0, *accumulate(lengths)][:-1]
    wanted = [
        blake3(data[at : at + length]).digest() for at, length in zip(offsets, lengths, strict=True)
    ]
    assert hash_blobs(data, offsets, lengths) == b"".join(wanted)


def test_hashes_are_blake3_of_every_length(floor: ModuleType) -> None:
    data = b"".join(number.to_bytes(4, "little") for number in range(400_000))
    for length in [*range(200), *EDGES]:
        check_hashes(floor.hash_blobs, data, [length])
    check_hashes(floor.hash_blobs, data, list(range(300)))
    check_hashes(floor.hash_blobs, data, EDGES)
    check_hashes(floor.hash_blobs, data, EDGES[::-1])


@given(st.binary(min_size=1, max_size=999), st.lists(st.integers(0, 9000), max_size=60))
@settings(max_examples=60, deadline=None)
def test_many_blobs_together_hash_as_each_alone(seed: bytes, lengths: list[int]) -> None:
    data = seed * (sum(lengths) // len(seed) + 1)
    for name in ("plain", KIND):
        floor = import_module(f"limpet.snapshots.native.{name}")
        check_hashes(floor.hash_blobs, data, lengths)


@needs_compiler
@pytest.mark.parametrize("flags", [["-DPORTABLE_HASHES"], ["-DPORTABLE_HASHES", "-mavx2"]])
def test_hashes_are_the_same_whatever_the_processor_can(tmp_path: Path, flags: list[str]) -> None:
    if "-mavx2" in flags and "avx2" not in Path("/proc/cpuinfo").read_text():
        pytest.skip("this processor has no AVX2")
    from limpet.snapshots.native.compiled import load

    compile_shared(NATIVE / "floor.c", tmp_path / "floor.so", *flags)
    library = load(tmp_path / "floor.so")

    def hash_blobs(data: bytes, offsets: list[int], lengths: list[int]) -> bytes:
        out = bytearray(32 * len(lengths))
        room = (ctypes.c_uint8 * len(out)).from_buffer(out)
        columns = [array("Q", column) for column in (offsets, lengths)]
        at = [column.buffer_info()[0] for column in columns]
        held = ctypes.c_char_p(data)
        assert library.limpet_hash(len(lengths), held, *at, ctypes.addressof(room)) == 0
        return bytes(out)

    data = bytes(range(251)) * 6000
    for length in EDGES:
        check_hashes(hash_blobs, data, [length])
    check_hashes(hash_blobs, data, EDGES)


def test_any_buffer_can_be_hashed_and_none_beyond_its_end(floor: ModuleType) -> None:
    wanted = blake3(b"alpha").digest() + blake3(b"").digest()
    for data in (b"..alpha", bytearray(b"..alpha"), memoryview(b"..alpha")):
        assert floor.hash_blobs(data, [2, 7], [5, 0]) == wanted
        for offset, length in ((0, 8), (7, 1), (8, 0), (1 << 63, 1 << 62)):
            with pytest.raises(ValueError, match="beyond"):
                floor.hash_blobs(data, [0, offset], [1, length])
        with pytest.raises(ValueError, match="negative"):
            floor.hash_blobs(data, [-1], [1])
        with pytest.raises(ValueError, match="negative"):
            floor.hash_blobs(data, [1], [-1])
        with pytest.raises(ValueError, match="equally many"):
            floor.hash_blobs(data, [1], [])
    assert floor.hash_blobs(b"", [], []) == b""
    assert floor.hash_blobs(bytearray(), [0], [0]) == blake3(b"").digest()


# -- writing --------------------------------------------------------------------------------------


def test_files_are_made_with_bytes_mode_and_time(
    floor: ModuleType, tmp_path: Path, fd: int
) -> None:
    done = floor.write_files(
        b"alphaomega",
        *jobs(
            fd, (b"a", 0, 5, 0o644, NS), (b"\xff", 5, 5, 0o1755, -NS), (b"empty", 10, 0, 0, -1),
            (b"all", 0, 10, 0o777, 1 << 60),
        ),
    )  # fmt: skip
    assert done.first_error() is None
    looks = {}
    for name in (b"a", b"\xff", b"empty", b"all"):
        path = tmp_path / os.fsdecode(name)
        status = path.lstat()
        looks[name] = path.read_bytes(), stat.S_IMODE(status.st_mode), status.st_mtime_ns
    assert looks == {
        b"a": (b"alpha", 0o644, NS), b"\xff": (b"omega", 0o1755, -NS), b"empty": (b"", 0, -1),
        b"all": (b"alphaomega", 0o777, 1 << 60),
    }  # fmt: skip


def test_set_id_bits_are_never_made(floor: ModuleType, tmp_path: Path, fd: int) -> None:
    floor.write_files(b"", *jobs(fd, (b"a", 0, 0, 0o6755, 0)))
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o755


def test_a_umask_takes_nothing_away(floor: ModuleType, tmp_path: Path, fd: int) -> None:
    before = os.umask(0o077)
    try:
        done = floor.write_files(b"", *jobs(fd, (b"a", 0, 0, 0o666, 5), (b"b", 0, 0, 0o600, 5)))
    finally:
        os.umask(before)
    assert done.first_error() is None
    looks = [(stat.S_IMODE((tmp_path / n).stat().st_mode)) for n in ("a", "b")]
    assert looks == [0o666, 0o600]
    assert (tmp_path / "a").stat().st_mtime_ns == 5


@pytest.mark.parametrize(
    "data",
    [
        b"..alpha", bytearray(b"..alpha"), memoryview(b"xx..alpha")[2:],
        memoryview(bytearray(b"xx..alpha"))[2:], memoryview(array("H", b"..alpha.")),
    ],
    ids=["bytes", "bytearray", "read-only view", "view", "view of wider items"],
)  # fmt: skip
def test_any_buffer_can_be_written_from(
    floor: ModuleType, tmp_path: Path, fd: int, data: bytes | bytearray | memoryview
) -> None:
    assert floor.write_files(data, *jobs(fd, (b"a", 2, 5, 0o644, 0))).first_error() is None
    assert (tmp_path / "a").read_bytes() == b"alpha"
    assert floor.write_files(data[:0], *jobs(fd, (b"b", 0, 0, 0o644, 0))).first_error() is None
    if isinstance(data, bytearray):
        data.append(0)  # no longer held


def test_nothing_that_is_there_is_written_over_or_followed(
    floor: ModuleType, tmp_path: Path, fd: int
) -> None:
    (tmp_path / "there").write_bytes(b"mine")
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    for name in (b"there", b"link"):
        done = floor.write_files(
            b"x",
            *jobs(fd, (b"0" + name, 0, 1, 0o644, 0), (name, 0, 1, 0o644, 0), (b"z", 0, 1, 0, 0)),
        )
        assert list(done.errnos) == [0, errno.EEXIST, errno.ECANCELED]
        assert done.first_error() == (1, errno.EEXIST)
    assert (tmp_path / "there").read_bytes() == b"mine"
    assert not (tmp_path / "elsewhere").exists()
    assert not (tmp_path / "z").exists()


def test_a_job_beyond_the_buffer_is_refused(floor: ModuleType, fd: int) -> None:
    for offset, length in ((0, 5), (4, 1), (1 << 63, 1 << 62)):
        with pytest.raises(ValueError, match="beyond"):
            floor.write_files(b"1234", *jobs(fd, (b"a", offset, length, 0o644, 0)))


def test_what_cannot_be_a_file_adds_none() -> None:
    made = NewFiles()
    good: dict[str, list[Any]] = {"names": [b"a"], "sizes": [1], "modes": [0], "mtimes": [0]}
    for column in ("sizes", "modes", "mtimes"):
        with pytest.raises(ValueError, match="out of range"):
            made.add_columns(**{**good, column: [-(1 << 65)]})
        with pytest.raises(ValueError, match=r"equally long|names for"):
            made.add_columns(**{**good, column: []})
    made.add_columns(**good)
    assert (len(made), len(made.names), list(made.names)) == (1, 1, [b"a"])
    assert made.names.size_bytes == 1


def test_columns_that_do_not_fit_are_refused(floor: ModuleType, fd: int) -> None:
    for column in ("files", "folder_fds", "offsets"):
        short, of = jobs(fd, (b"a", 0, 1, 0o644, 0))
        getattr(short, column).pop()
        with pytest.raises(ValueError, match="equally long"):
            floor.write_files(b"1234", short, of)
        narrow, of = jobs(fd, (b"a", 0, 1, 0o644, 0))
        setattr(narrow, column, array("B", [0]))
        with pytest.raises(ValueError, match="another type"):
            floor.write_files(b"1234", narrow, of)
    nobody, of = jobs(fd, (b"a", 0, 1, 0o644, 0))
    nobody.files[0] = 1
    with pytest.raises(ValueError, match="no such file"):
        floor.write_files(b"1234", nobody, of)
    assert os.listdir(fd) == []


def test_the_table_can_be_added_to_afterwards(floor: ModuleType, fd: int) -> None:
    made, of = jobs(fd, (b"a", 0, 1, 0o644, 0))
    assert floor.write_files(b"1234", made, of).first_error() is None
    of.add_columns([b"b"], [4], [0o644], [0])
    made.files[0] = 1
    assert floor.write_files(b"1234", made, of).first_error() is None
    assert sorted(os.listdir(fd)) == ["a", "b"]


def test_a_full_disk_leaves_no_half_file(floor: ModuleType, tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("mounting a small disk needs root")
    place = tmp_path / "small"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "limpet-test", str(place)]
    if subprocess.run(command, check=False, capture_output=True).returncode != 0:
        pytest.skip("no file system can be mounted here")
    fd = os.open(place, os.O_RDONLY)
    try:
        data = bytes(50_000)
        done = floor.write_files(
            data, *jobs(fd, (b"a", 0, 50_000, 0o644, 0), (b"b", 0, 50_000, 0o644, 0))
        )
        assert list(done.errnos) == [0, errno.ENOSPC]
        assert os.listdir(place) == ["a"]
    finally:
        os.close(fd)
        subprocess.run(["umount", str(place)], check=True)


def test_threads_work_side_by_side(floor: ModuleType, tmp_path: Path) -> None:
    def work(number: int) -> None:
        folder = tmp_path / str(number)
        folder.mkdir()
        fd = os.open(folder, os.O_RDONLY)
        made = [(b"%d" % n, n, 10, 0o644, n) for n in range(300)]
        assert floor.write_files(bytes(range(256)) * 2, *jobs(fd, *made)).first_error() is None
        found = parse_records(floor.scan_folder(fd).records)
        read = floor.read_files(fd, [e.name for e in found], [e.size for e in found])
        assert not any(read.errnos)
        os.close(fd)
        done.append(number)

    done: list[int] = []
    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(done) == [0, 1, 2, 3]


# -- together -------------------------------------------------------------------------------------


@needs_compiler
@settings(max_examples=60, deadline=None)
@given(trees())
def test_both_floors_see_the_same(tree: Folder) -> None:
    from limpet.snapshots.native import compiled

    with scratch_folder() as folder:
        build(folder / "tree", tree)
        for place, _, _ in os.walk(folder / "tree"):
            fd = os.open(place, os.O_RDONLY)
            listing = plain.scan_folder(fd)
            assert listing == compiled.scan_folder(fd)
            found = [e for e in parse_records(listing.records) if e.size < 1 << 20]
            names, sizes = [e.name for e in found], [e.size for e in found]
            assert plain.read_files(fd, names, sizes) == compiled.read_files(fd, names, sizes)
            os.close(fd)


made_files = st.lists(
    st.tuples(
        st.sampled_from([b"a", b"b", b"\xff", b"n" * 255, b"there", b"link", b"folder"]),
        st.integers(0, 40),
        st.integers(0, 60),
        st.one_of(modes, st.integers(0, (1 << 16) - 1)),
        st.one_of(times, st.integers(-(1 << 63), (1 << 63) - 1)),
    ),
    max_size=6,
)


@needs_compiler
@settings(max_examples=100, deadline=None)
@given(made_files, st.binary(min_size=100, max_size=100))
def test_both_floors_make_the_same(
    files: list[tuple[bytes, int, int, int, int]], data: bytes
) -> None:
    from limpet.snapshots.native import compiled

    seen = []
    for floor in (plain, compiled):
        with scratch_folder() as folder:
            place = folder / "place"
            (place / "folder").mkdir(parents=True)
            (place / "there").write_bytes(b"mine")
            (place / "link").symlink_to("elsewhere")
            os.utime(place / "there", ns=(0, 0))
            os.utime(place / "link", ns=(0, 0), follow_symlinks=False)
            fd = os.open(place, os.O_RDONLY)
            done = floor.write_files(data, *jobs(fd, *files))
            for path in (place / "folder", place):
                os.utime(path, ns=(0, 0))
            seen.append((list(done.errnos), describe(place)))
            os.close(fd)
    assert seen[0] == seen[1]
