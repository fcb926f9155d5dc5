"""What people and tools do to files, at random: as data that hypothesis draws and shrinks."""

import contextlib
import os
import shutil
import socket
from pathlib import Path

from hypothesis import strategies as st

from limpet.snapshots.tree import delete_tree

Edit = tuple[str, bytes, object]

_names = st.sampled_from([b"a", b"b", b"c", b"d", b"objects", b"refs", b"x.db", b"x.db-wal"])
_paths = st.lists(_names, min_size=1, max_size=3).map(b"/".join)
_small = st.sampled_from([b"", b"one", b"two", b"six", b"12345", b"54321", b"z" * 5000])
edits: st.SearchStrategy[Edit] = st.one_of(
    st.tuples(st.just("write"), _paths, _small),
    st.tuples(st.just("write"), _paths, _small),
    st.tuples(st.just("append"), _paths, _small),
    st.tuples(st.just("rewrite"), _paths, st.integers(0, 255)),
    st.tuples(st.just("remove"), _paths, st.none()),
    st.tuples(st.just("folder"), _paths, st.none()),
    st.tuples(st.just("rename"), _paths, _paths),
    st.tuples(st.just("swap"), _paths, _paths),
    st.tuples(st.just("copy"), _paths, _paths),
    st.tuples(st.just("link"), _paths, _paths),
    st.tuples(st.just("symlink"), _paths, st.sampled_from([b"a", b"b", b"../c", b"/none"])),
    st.tuples(st.just("mode"), _paths, st.sampled_from([0o600, 0o755, 0o444, 0o1777])),
    st.tuples(st.just("time"), _paths, st.sampled_from([0, 10**18, 1_600_000_000_123_456_789])),
    st.tuples(st.just("truncate"), _paths, st.sampled_from([0, 1, 3, 9000, 2 << 20])),
    st.tuples(st.just("large"), _paths, st.integers(0, 3)),
    st.tuples(st.just("many"), _paths, st.sampled_from([3, 300])),
    st.tuples(st.just("socket"), _paths, st.none()),
    st.tuples(st.just("fifo"), _paths, st.none()),
)
rounds = st.lists(st.lists(edits, max_size=7), min_size=1, max_size=5)


def carry_out(workspace: Path, edit: Edit) -> None:
    """One edit; one that cannot be is passed over, as users' are."""
    what, where, how = edit
    place = workspace / os.fsdecode(where)
    other = workspace / os.fsdecode(how) if isinstance(how, bytes) else place
    if any(one.is_symlink() for one in place.parents if one != workspace):
        return
    with contextlib.suppress(OSError, shutil.Error):
        _ACTS[what](place, other, how)


def _write(place: Path, _: Path, how: object) -> None:
    assert isinstance(how, bytes)
    place.parent.mkdir(parents=True, exist_ok=True)
    if _is_writable(place):
        place.write_bytes(how)


def _is_writable(place: Path) -> bool:
    """Not what leads elsewhere, nor what waits for a reader."""
    return (place.is_file() and not place.is_symlink()) or not os.path.lexists(place)


def _append(place: Path, _: Path, how: object) -> None:
    assert isinstance(how, bytes)
    if place.is_file():
        with place.open("ab") as out:
            out.write(how)


def _rewrite(place: Path, _: Path, how: object) -> None:
    """In place, of the same size, with the old time set again."""
    assert isinstance(how, int)
    if not place.is_file():
        return
    status = place.stat()
    with place.open("r+b") as out:
        out.write(bytes([how]) * min(status.st_size, 100))
    os.utime(place, ns=(status.st_atime_ns, status.st_mtime_ns))


def _remove(place: Path, _: Path, __: object) -> None:
    delete_tree(place)


def _folder(place: Path, _: Path, __: object) -> None:
    place.mkdir(parents=True, exist_ok=True)


def _rename(place: Path, other: Path, _: object) -> None:
    place.rename(other)


def _swap(place: Path, other: Path, _: object) -> None:
    between = place.with_name("between")
    place.rename(between)
    try:
        other.rename(place)
    finally:
        between.rename(other)


def _copy(place: Path, other: Path, _: object) -> None:
    if place.is_dir() and not place.is_symlink():
        shutil.copytree(place, other, symlinks=True)
    elif place.is_file() and not other.is_dir():
        shutil.copy2(place, other, follow_symlinks=False)


def _link(place: Path, other: Path, _: object) -> None:
    os.link(place, other, follow_symlinks=False)


def _symlink(place: Path, _: Path, how: object) -> None:
    assert isinstance(how, bytes)
    place.unlink(missing_ok=True)
    place.symlink_to(os.fsdecode(how))


def _mode(place: Path, _: Path, how: object) -> None:
    assert isinstance(how, int)
    if not place.is_symlink():
        place.chmod(how | (0o700 if place.is_dir() else 0))


def _time(place: Path, _: Path, how: object) -> None:
    assert isinstance(how, int)
    os.utime(place, ns=(how, how), follow_symlinks=False)


def _truncate(place: Path, _: Path, how: object) -> None:
    assert isinstance(how, int)
    if place.is_file():
        os.truncate(place, how)


def _large(place: Path, _: Path, how: object) -> None:
    assert isinstance(how, int)
    if _is_writable(place):
        with place.open("wb") as out:
            out.write(
                b"".join(b"%d %d\n" % (number * 7919 % 104729, how) for number in range(150_000))
            )


def _many(place: Path, _: Path, how: object) -> None:
    assert isinstance(how, int)
    place.mkdir()
    for number in range(how):
        (place / f"m{number}").write_bytes(b"%d" % (number % 7))


def _socket(place: Path, _: Path, __: object) -> None:
    if len(os.fsencode(place)) < 100:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(os.fspath(place))


def _fifo(place: Path, _: Path, __: object) -> None:
    os.mkfifo(place)


_ACTS = {
    "write": _write, "append": _append, "rewrite": _rewrite, "remove": _remove,
    "folder": _folder, "rename": _rename, "swap": _swap, "copy": _copy, "link": _link,
    "symlink": _symlink, "mode": _mode, "time": _time, "truncate": _truncate, "large": _large,
    "many": _many, "socket": _socket, "fifo": _fifo,
}  # fmt: skip
