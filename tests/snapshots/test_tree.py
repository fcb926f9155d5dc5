"""Walking, deleting and judging trees by descriptors."""

import errno
import itertools
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path

import pytest

from limpet.snapshots import tree
from limpet.snapshots.tree import (
    KEPT_OPEN,
    changed_since,
    delete_tree,
    is_empty,
    settled_clock_ns,
    walk,
)
from tests.snapshots.places import mount
from tests.snapshots.trees import File, Folder, Link, build, scratch_folder

NOBODY = 65534


def deep(root: Path, depth: int, part: str = "d" * 100) -> Path:
    """A chain of folders, deeper than a path may be long, with a file in each."""
    root.mkdir()
    fd = os.open(root, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir(part, dir_fd=fd)
        inner = os.open(part, os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = inner
        os.close(os.open("file", os.O_CREAT, dir_fd=fd))
    os.close(fd)
    return root


def fail(path: bytes, error: OSError) -> None:
    raise AssertionError((path, error))


def as_nobody(act: Callable[[], object]) -> None:
    """Do it in a process of a user for whom modes count."""
    child = os.fork()
    if not child:
        code = 1
        try:
            if os.geteuid() == 0:
                os.setgroups([])
                os.setgid(NOBODY)
                os.setuid(NOBODY)
            act()
            code = 0
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_the_walk_meets_every_folder_and_few_are_open(tmp_path: Path) -> None:
    root = deep(tmp_path / "deep", KEPT_OPEN * 3)
    (root / "beside" / "inner").mkdir(parents=True)
    before = len(os.listdir("/proc/self/fd"))
    most = 0
    paths = []
    for folder in walk(root, on_error=fail):
        paths.append(folder.path)
        most = max(most, len(os.listdir("/proc/self/fd")) - before)
    assert len(paths) == KEPT_OPEN * 3 + 3
    assert paths.index(b"beside") < paths.index(b"beside/inner") < paths.index(b"d" * 100)
    assert most <= KEPT_OPEN + 5
    assert len(os.listdir("/proc/self/fd")) == before


def test_many_folders_beside_deep_ones_are_all_met(tmp_path: Path) -> None:
    root = deep(tmp_path / "deep", KEPT_OPEN + 20, "a")
    fd = os.open(root, os.O_RDONLY)
    for _ in range(KEPT_OPEN + 20):
        os.mkdir("z", dir_fd=fd)
        inner = os.open("a", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = inner
    os.close(fd)
    assert sum(1 for _ in walk(root, on_error=fail)) == 2 * (KEPT_OPEN + 20) + 1


def test_a_folder_moved_while_it_is_read_is_told(tmp_path: Path) -> None:
    root = deep(tmp_path / "deep", KEPT_OPEN + 20, "a")
    (root / "a" / "later").mkdir()
    (root / "later").mkdir()
    told: list[tuple[bytes, int | None]] = []
    met = []
    for folder in walk(root, on_error=lambda path, error: told.append((path, error.errno))):
        if folder.path.count(b"/") == KEPT_OPEN + 15:
            (root / "a" / "a").rename(tmp_path / "elsewhere")
            (root / "a").rename(tmp_path / "replaced")
            (root / "a").mkdir()
        met.append(folder.path)
    assert told == [(b"a/later", errno.ESTALE)]
    assert met[-1] == b"later"


def test_steering_leaves_folders_out(tmp_path: Path) -> None:
    root = build(tmp_path / "root", Folder({b"a": Folder({b"b": Folder()}), b"c": Folder()}))
    met = []
    for folder in walk(root, on_error=fail):
        met.append(folder.path)
        folder.folders[:] = [name for name in folder.folders if name != "a"][::-1]
    assert met == [b"", b"c"]


def test_links_are_not_followed_and_other_file_systems_not_entered(tmp_path: Path) -> None:
    (tmp_path / "outside" / "inner").mkdir(parents=True)
    root = build(tmp_path / "root", Folder({b"l": Link(b"../outside"), b"m": Folder()}))
    told: list[bytes] = []
    with ExitStack() as stack:
        mount(stack, root / "m", "-t", "tmpfs")
        met = [f.path for f in walk(root, on_error=lambda path, _: told.append(path))]
        assert (met, told) == ([b""], [b"m"])
        with pytest.raises(OSError, match="file system"):
            delete_tree(root)
    delete_tree(root)
    assert (tmp_path / "outside" / "inner").is_dir()


def test_a_deep_tree_is_deleted() -> None:
    with scratch_folder() as scratch:
        delete_tree(deep(scratch / "deep", 500))
        delete_tree(deep(scratch / "deeper", 5000, "x"))
        assert not any(scratch.iterdir())


def test_what_is_no_folder_or_not_there_is_deleted_too(tmp_path: Path) -> None:
    (tmp_path / "target").mkdir()
    (tmp_path / "link").symlink_to("target")
    delete_tree(tmp_path / "link")
    delete_tree(tmp_path / "nowhere")
    assert os.listdir(tmp_path) == ["target"]


def test_read_only_folders_are_deleted_by_their_owner() -> None:
    folders = Folder({
        b"a": Folder({b"b": Folder({b"file": File(b"x", 0o400)}, 0o500)}, 0o555),
        b"locked": Folder({b"inner": Folder({b"f": File()}, 0o000)}, 0o000),
    }, 0o500)  # fmt: skip
    with scratch_folder() as scratch:
        scratch.chmod(0o711)
        (scratch / "mine").mkdir()
        root = build(scratch / "mine" / "root", folders)
        if os.geteuid() == 0:
            subprocess.run(["chown", "-hR", f"{NOBODY}:{NOBODY}", scratch / "mine"], check=True)
        as_nobody(lambda: delete_tree(root))
        assert not root.exists()


@contextmanager
def before_call(number: int, act: Callable[[], object]) -> Iterator[list[str]]:
    """Somebody acts right before one of the system calls made inside, or, with -1, before each.

    Gives the calls that were made.
    """
    made: list[str] = []
    acting = False

    def meddled(name: str) -> Callable[..., object]:
        real = getattr(os, name)

        def call(*arguments: object, **options: object) -> object:
            nonlocal acting
            if not acting:
                made.append(name)
                if number in (-1, len(made) - 1):
                    acting = True
                    with suppress(OSError):
                        act()
                    acting = False
            return real(*arguments, **options)

        return call

    with pytest.MonkeyPatch.context() as patch:
        for name in ("open", "scandir", "unlink", "rmdir"):
            patch.setattr(os, name, meddled(name))
        yield made


def write_into(folder: Path, name: str = "late") -> None:
    (folder / name).mkdir()
    (folder / name / "file").touch()
    (folder / f"{name}-file").touch()


def replace_by_file(folder: Path) -> None:
    folder.rename(folder.parent.parent / "was")
    folder.touch()


def replace_by_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()
    (file / "inner").touch()


def replace_by_link(folder: Path, outside: Path) -> None:
    folder.rename(folder.parent.parent / "was")
    folder.symlink_to(outside)


MEDDLING: dict[str, Callable[[Path, Path], object]] = {
    "all is deleted": lambda root, _: shutil.rmtree(root, ignore_errors=True),
    "a folder is deleted": lambda root, _: shutil.rmtree(root / "a/b", ignore_errors=True),
    "a file is deleted": lambda root, _: (root / "a/b/f").unlink(),
    "a folder is moved away": lambda root, outside: (root / "a/b").rename(outside / "moved"),
    "the root is moved away": lambda root, outside: root.rename(outside / "moved"),
    "a folder becomes a file": lambda root, _: replace_by_file(root / "a/b"),
    "a folder becomes a link": lambda root, outside: replace_by_link(root / "a/b", outside),
    "a file becomes a folder": lambda root, _: replace_by_folder(root / "a/b/f"),
    "a folder is written to": lambda root, _: write_into(root / "a/b"),
    "the root is written to": lambda root, _: write_into(root),
}


@pytest.mark.parametrize("depth", [0, KEPT_OPEN + 8])
@pytest.mark.parametrize("meddling", MEDDLING)
def test_what_others_do_to_a_tree_meanwhile_does_not_hinder_its_deletion(
    meddling: str, depth: int
) -> None:
    with scratch_folder() as scratch:
        outside = scratch / "outside"
        act = partial(MEDDLING[meddling], scratch / "root", outside)
        for number in itertools.count(step=1 if depth == 0 else 7):
            outside.mkdir()
            (outside / "kept").touch()
            inner = {b"f": File(), b"c": Folder({b"g": File()})}
            folders = {b"a": Folder({b"b": Folder(inner), b"z": File()}), b"l": Link(b"a")}
            root = build(scratch / "root", Folder(folders))
            deep(root / "a/b/deep", depth, "d")
            open_before = len(os.listdir("/proc/self/fd"))
            with before_call(number, act) as made:
                delete_tree(root)
            assert not os.path.lexists(root), number
            assert (outside / "kept").exists(), number
            assert len(os.listdir("/proc/self/fd")) == open_before, number
            delete_tree(outside)
            if number >= len(made):
                break
        assert number >= 20


def test_a_writer_that_is_never_done_ends_a_deletion_and_not_for_good(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tree, "_LATE_ENTRIES", 200)
    count = itertools.count()
    with scratch_folder() as scratch:
        root = build(scratch / "root", Folder({b"a": Folder({b"b": Folder()}), b"c": Folder()}))
        with (
            before_call(-1, lambda: write_into(root / "a/b", f"late-{next(count)}")) as made,
            pytest.raises(OSError, match="keeps writing") as ended,
        ):
            delete_tree(root)
        assert ended.value.errno == errno.ENOTEMPTY
        assert len(made) < 5000
        delete_tree(root)
        assert not root.exists()


def test_two_that_delete_the_same_tree_do_not_disturb_each_other() -> None:
    with scratch_folder() as scratch:
        folders = {b"d%d" % n: Folder({b"f": File(), b"g": Folder()}) for n in range(300)}
        root = build(scratch / "root", Folder(folders))
        with ThreadPoolExecutor(3) as pool:
            list(pool.map(delete_tree, [root] * 3))
        assert not root.exists()


def test_a_tree_at_rest_has_not_changed(tmp_path: Path) -> None:
    root = build(tmp_path / "root", Folder({b"a": Folder({b"f": File()}), b"l": Link(b"x")}))
    (tmp_path / "scratch").mkdir()
    assert not changed_since(root, settled_clock_ns(tmp_path / "scratch"))
    assert os.listdir(tmp_path / "scratch") == []


CHANGES = {
    "a file is written": lambda root: (root / "a/f").write_bytes(b"x"),
    "a file is written and its time set back": lambda root: (
        (root / "a/f").write_bytes(b"x"), os.utime(root / "a/f", ns=(0, 0))
    ),
    "a mode": lambda root: (root / "a/f").chmod(0o600),
    "a file is removed": lambda root: (root / "a/f").unlink(),
    "a file is made": lambda root: (root / "a/new").touch(),
    "a file at the top is made": lambda root: (root / "new").touch(),
    "a file at the top is removed": lambda root: (root / "top").unlink(),
    "a folder is renamed": lambda root: (root / "a").rename(root / "b"),
    "a link": lambda root: (root / "a/l").symlink_to("x"),
}  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_any_change_is_seen(tmp_path: Path, change: str) -> None:
    root = build(tmp_path / "root", Folder({b"a": Folder({b"f": File()}), b"top": File()}))
    before = settled_clock_ns(tmp_path)
    CHANGES[change](root)
    assert changed_since(root, before)


def test_what_is_in_tmp_is_no_change(tmp_path: Path) -> None:
    tree = Folder({b"tmp": Folder(), b".limpet-root": Folder(), b"a": File()})
    root = build(tmp_path / "root", tree)
    before = settled_clock_ns(tmp_path)
    (root / "tmp/new").touch()
    (root / ".limpet-root/new").touch()
    assert not changed_since(root, before)


def test_a_rename_of_the_workspace_itself_is_no_change(tmp_path: Path) -> None:
    root = build(tmp_path / "root", Folder({b"a": File()}))
    before = settled_clock_ns(tmp_path)
    moved = root.rename(tmp_path / "moved")
    assert not changed_since(moved, before)


def test_a_missing_workspace_is_empty(tmp_path: Path) -> None:
    assert is_empty(tmp_path / "nowhere")


def test_a_repo_that_is_a_link_is_something(tmp_path: Path) -> None:
    (tmp_path / "repo").symlink_to("/nowhere")
    assert not is_empty(tmp_path)
