"""Trees for tests: built from a plain description, and described again without Limpet's code."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import mkdtemp

from hypothesis import strategies as st

from limpet.snapshots.tree import delete_tree

Description = dict[bytes, tuple[object, ...]]


@dataclass
class File:
    data: bytes = b""
    mode: int = 0o644
    mtime_ns: int = 1_700_000_000_123_456_789
    segments: list[tuple[int, bytes]] | None = None
    size: int = 0


@dataclass
class Link:
    target: bytes
    mtime_ns: int = 1_600_000_000_000_000_001


@dataclass
class Hard:
    """Another name for the file (or symlink) that lies at `to` in the same description."""

    to: bytes


@dataclass
class Folder:
    entries: dict[bytes, "Node"] = field(default_factory=dict)
    mode: int = 0o755
    mtime_ns: int = 1_500_000_000_999_999_999


Node = File | Link | Hard | Folder


def build(root: Path, tree: Folder) -> Path:
    """Make the tree at `root`, a path that does not exist."""
    root.mkdir()
    late: list[tuple[int, bytes, bytes]] = []
    fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    _fill(fd, tree, late)
    for folder_fd, name, to in late:
        os.link(to, name, src_dir_fd=fd, dst_dir_fd=folder_fd, follow_symlinks=False)
        os.close(folder_fd)
    _set_times(fd, tree)
    os.close(fd)
    return root


def _fill(fd: int, tree: Folder, late: list[tuple[int, bytes, bytes]]) -> None:
    for name, node in tree.entries.items():
        if isinstance(node, Folder):
            os.mkdir(name, dir_fd=fd)
            inner = os.open(name, os.O_RDONLY | os.O_DIRECTORY, dir_fd=fd)
            _fill(inner, node, late)
            os.close(inner)
        elif isinstance(node, Link):
            os.symlink(node.target, name, dir_fd=fd)
            os.utime(name, ns=(0, node.mtime_ns), dir_fd=fd, follow_symlinks=False)
        elif isinstance(node, Hard):
            late.append((os.dup(fd), name, node.to))
        else:
            out = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=fd)
            if node.segments is None:
                os.write(out, node.data)
            else:
                os.ftruncate(out, node.size)
                for offset, data in node.segments:
                    os.pwrite(out, data, offset)
            os.fchmod(out, node.mode)
            os.utime(out, ns=(0, node.mtime_ns))
            os.close(out)


def _set_times(fd: int, tree: Folder) -> None:
    for name, node in tree.entries.items():
        if isinstance(node, Folder):
            inner = os.open(name, os.O_RDONLY | os.O_DIRECTORY, dir_fd=fd)
            _set_times(inner, node)
            os.close(inner)
    os.fchmod(fd, tree.mode)
    os.utime(fd, ns=(0, tree.mtime_ns))


def describe(root: Path, *, leave_out: tuple[bytes, ...] = ()) -> Description:
    """Every entry with all that must round-trip; hard links by the names that share a file."""
    found: Description = {}
    inodes: dict[tuple[int, int], list[bytes]] = {}
    pending = [(os.open(root, os.O_RDONLY | os.O_DIRECTORY), b"")]
    while pending:
        fd, path = pending.pop()
        status = os.fstat(fd)
        found[path] = ("folder", stat.S_IMODE(status.st_mode), status.st_mtime_ns)
        for text in os.listdir(fd):
            name = os.fsencode(text)
            where = path + b"/" + name
            if not path and name in leave_out:
                continue
            status = os.stat(name, dir_fd=fd, follow_symlinks=False)
            if stat.S_ISDIR(status.st_mode):
                pending.append((os.open(name, os.O_RDONLY | os.O_DIRECTORY, dir_fd=fd), where))
                continue
            if status.st_nlink > 1:
                inodes.setdefault((status.st_dev, status.st_ino), []).append(where)
            if stat.S_ISLNK(status.st_mode):
                found[where] = ("link", os.readlink(name, dir_fd=fd), status.st_mtime_ns)
            elif stat.S_ISREG(status.st_mode):
                inner = os.open(name, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=fd)
                with os.fdopen(inner, "rb") as opened:
                    data = opened.read()
                found[where] = (
                    "file", data, stat.S_IMODE(status.st_mode), status.st_mtime_ns,
                )  # fmt: skip
            else:
                found[where] = ("special", stat.S_IFMT(status.st_mode))
        os.close(fd)
    for names in inodes.values():
        for name in names:
            found[name] += (tuple(sorted(names)),)
    return found


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """A folder on tmpfs where there is one; gone afterwards, whatever was put into it."""
    shm = Path("/dev/shm")
    where = Path(mkdtemp(prefix="limpet-test-", dir=shm if os.access(shm, os.W_OK) else None))
    try:
        yield where
    finally:
        delete_tree(where)


# -- random trees --------------------------------------------------------------------------------

name_parts = st.one_of(
    st.text("abcXYZ.-_ é漢", min_size=1, max_size=12).map(str.encode),
    st.binary(min_size=1, max_size=255),
    st.just(b"n" * 255),
).filter(lambda name: not {0, 0x2F} & set(name) and name not in {b".", b".."} and len(name) < 256)
modes = st.sampled_from([0o644, 0o600, 0o755, 0o444, 0o400, 0o777, 0o000, 0o1755])
times = st.one_of(
    st.integers(-(10**9), 8**11 + 6 * 10**8).map(lambda seconds: seconds * 10**9),
    st.integers(-(10**18), 4 * 10**18),
    st.sampled_from([0, -1, 1, 8**11 * 10**9, (8**11 - 1) * 10**9, 499162500 * 10**9]),
)
contents = st.one_of(
    st.binary(max_size=40),
    st.sampled_from([0, 511, 512, 513, 5000, 70_000]).map(lambda size: b"x" * size),
    st.just(5000).map(bytes),
)
holey = st.builds(
    lambda places, tail: File(
        segments=[(4096 * 4 * n, b"x" * length) for n, length in enumerate(places) if length],
        size=4096 * 4 * len(places) + tail,
    ),
    st.lists(st.sampled_from([0, 1, 4096, 5000]), min_size=1, max_size=6),
    st.sampled_from([0, 1, 511, 4096]),
)
files = st.one_of(st.builds(File, contents, modes, times), holey)
links = st.builds(
    Link, st.binary(min_size=1, max_size=300).filter(lambda target: 0 not in target), times
)
folders = st.recursive(
    st.builds(
        Folder, st.dictionaries(name_parts, st.one_of(files, links), max_size=4), modes, times
    ),
    lambda inner: st.builds(
        Folder,
        st.dictionaries(name_parts, st.one_of(files, links, inner), max_size=4),
        modes,
        times,
    ),
    max_leaves=8,
)


@st.composite
def trees(draw: st.DrawFn) -> Folder:
    """A tree, some of its files with more than one name."""
    tree = draw(folders)
    named = [path for path, node in _paths(tree, b"") if isinstance(node, File | Link)]
    if named:
        for number in range(draw(st.integers(0, 3))):
            tree.entries[b"hard-%d" % number] = Hard(draw(st.sampled_from(named)))
    return tree


def _paths(tree: Folder, above: bytes) -> Iterator[tuple[bytes, Node]]:
    for name, node in tree.entries.items():
        path = above + b"/" + name if above else name
        yield path, node
        if isinstance(node, Folder):
            yield from _paths(node, path)
