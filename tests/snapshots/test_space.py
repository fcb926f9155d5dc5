"""A disk that is full is told as that, and what was begun is gone again."""

import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from limpet.errors import NotEnoughSpaceError
from limpet.snapshots.space import free_bytes, require_space
from limpet.snapshots.swap import SandboxRoot, new_staging_folder, recover, swap
from limpet.snapshots.tar_read import extract_tar
from limpet.snapshots.tar_write import stream_tar
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


@pytest.fixture
def large_tar(tmp_path: Path) -> bytes:
    tree = Folder({b"a": File(b"a" * 3_000_000), b"b": Folder({b"c": File(b"c" * 3_000_000)})})
    return b"".join(stream_tar(build(tmp_path / "source", tree)))


def test_a_restore_that_does_not_fit_is_refused_before_it_begins(
    small_disk: Path, large_tar: bytes
) -> None:
    with pytest.raises(NotEnoughSpaceError) as raised:
        extract_tar([large_tar], small_disk / "into", expect_size=len(large_tar))
    assert raised.value.status == 507
    assert os.listdir(small_disk) == []


def test_a_disk_that_fills_up_leaves_nothing_behind(small_disk: Path, large_tar: bytes) -> None:
    before = free_bytes(small_disk)
    with pytest.raises(NotEnoughSpaceError):
        extract_tar([large_tar], small_disk / "into")
    assert os.listdir(small_disk) == []
    assert free_bytes(small_disk) == before


def test_a_disk_without_room_for_names_leaves_nothing_behind(
    small_disk: Path, tmp_path: Path
) -> None:
    tree = Folder({b"f%d" % n: File() for n in range(300)})
    tar = b"".join(stream_tar(build(tmp_path / "source", tree)))
    with pytest.raises(NotEnoughSpaceError):
        extract_tar([tar], small_disk / "into")
    assert os.listdir(small_disk) == []
    with pytest.raises(NotEnoughSpaceError):
        require_space(small_disk, 1, 300)


def test_the_workspace_stays_and_the_next_restore_works(small_disk: Path, large_tar: bytes) -> None:
    root = SandboxRoot(small_disk / "root", small_disk / "root" / "workspace")
    root.prepare()
    (root.workspace / "mine").write_text("mine")
    before = describe(root.workspace)
    with pytest.raises(NotEnoughSpaceError):
        extract_tar([large_tar], new_staging_folder(root))
    assert describe(root.workspace) == before
    assert recover(root).rolled == "none"
    staged = new_staging_folder(root)
    extract_tar(stream_tar(root.workspace), staged)
    swap(root, staged)
    assert describe(root.workspace) == before
