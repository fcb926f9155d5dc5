"""A disk that has no room, or runs out of it, is told as that, and what was begun is gone again."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from limpet.errors import NotEnoughSpaceError
from limpet.snapshots.restore_tree import restore_stream
from tests.snapshots.packed_trees import pack_folder
from tests.snapshots.places import mount
from tests.snapshots.trees import File, Folder, build, describe


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MiB and 200 inodes."""
    disk = tmp_path / "disk"
    disk.mkdir()
    with ExitStack() as stack:
        mount(stack, disk, "-t", "tmpfs", "-o", "size=4m,nr_inodes=200")
        yield disk


def records_of(where: Path, tree: Folder) -> list[bytes]:
    return list(
        pack_folder(build(where / "source", tree), cut_bytes=100_000).records(frame_bytes=100_000)
    )


def refuse(records: list[bytes], disk: Path) -> None:
    before = sorted(os.listdir(disk))
    with pytest.raises(NotEnoughSpaceError):
        restore_stream(records, disk / "into")
    assert sorted(os.listdir(disk)) == before


def test_more_bytes_than_there_is_room_for_are_refused_before_anything_is_made(
    small_disk: Path, tmp_path: Path
) -> None:
    refuse(records_of(tmp_path, Folder({b"f": File(os.urandom(5_000_000))})), small_disk)


def test_small_files_count_as_the_blocks_they_need(small_disk: Path, tmp_path: Path) -> None:
    (small_disk / "room").write_bytes(bytes(2_600_000))
    tree = Folder({b"%d" % n: File(b"%d" % n) for n in range(150)})
    refuse(records_of(tmp_path, tree), small_disk)


def test_more_files_than_there_is_room_for_are_refused(small_disk: Path, tmp_path: Path) -> None:
    refuse(records_of(tmp_path, Folder({b"%d" % n: File() for n in range(300)})), small_disk)


def fill_up(disk: Path) -> None:
    with (disk / "somebody else's").open("wb", buffering=0) as out, suppress(OSError):
        while True:
            out.write(bytes(4096))


@pytest.mark.parametrize("kind", ["small files", "a large file"])
def test_a_disk_that_fills_up_meanwhile_leaves_nothing_behind(
    small_disk: Path, tmp_path: Path, kind: str
) -> None:
    tree = {
        "small files": Folder({b"%d" % n: File(os.urandom(20_000)) for n in range(100)}),
        "a large file": Folder({b"f": File(os.urandom(2_000_000))}),
    }[kind]
    records = records_of(tmp_path, tree)

    def chunks() -> Iterator[bytes]:
        yield from records[:4]
        assert (small_disk / "into").is_dir()
        fill_up(small_disk)
        yield from records[4:]

    with pytest.raises(NotEnoughSpaceError):
        restore_stream(chunks(), small_disk / "into")
    assert os.listdir(small_disk) == ["somebody else's"]


def test_the_same_restore_works_once_there_is_room(small_disk: Path, tmp_path: Path) -> None:
    (small_disk / "room").write_bytes(bytes(2_500_000))
    records = records_of(tmp_path, Folder({b"f": File(os.urandom(1_000_000))}))
    refuse(records, small_disk)
    (small_disk / "room").unlink()
    restore_stream(records, small_disk / "into")
    assert describe(small_disk / "into") == describe(tmp_path / "source")
