"""A restore gives the tree exactly: names, modes, times, links, holes, whatever its shape."""

import os
import resource
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st

from limpet.snapshots.restore_tree import restore_stream
from tests.snapshots.packed_trees import pack_folder
from tests.snapshots.trees import (
    File,
    Folder,
    Hard,
    Link,
    build,
    describe,
    scratch_folder,
    trees,
)


def restored(source: Path, into: Path, *, cut_bytes: int = 1 << 20, piece: int = 1 << 16) -> None:
    stream = pack_folder(source, cut_bytes=cut_bytes).stream(frame_bytes=5000)
    pieces = (stream[at : at + piece] for at in range(0, len(stream), piece))
    receipt = restore_stream(pieces, into)
    assert receipt.complete
    assert receipt.size_bytes == len(stream)


@settings(deadline=None, max_examples=60, suppress_health_check=list(HealthCheck))
@given(tree=trees(), cut_bytes=st.sampled_from([1 << 20, 7, 4096]))
def test_what_was_packed_comes_back(tree: Folder, cut_bytes: int) -> None:
    with scratch_folder() as where:
        source = build(where / "source", tree)
        try:
            restored(source, where / "into", cut_bytes=cut_bytes)
        except OverflowError:
            reject()
        assert describe(where / "into") == describe(source)


def test_a_deep_tree_comes_back(tmp_path: Path) -> None:
    tree = Folder({b"leaf": File(b"deepest")}, 0o500)
    for depth in range(300):
        tree = Folder({b"d" * 100: tree, b"s%d" % depth: Folder({b"f": File(b"%d" % depth)})})
    source = build(tmp_path / "source", tree)
    restored(source, tmp_path / "into")
    assert describe(tmp_path / "into") == describe(source)


def test_few_descriptors_are_open_at_once(tmp_path: Path) -> None:
    tree = Folder({b"d%d" % n: Folder({b"f": File(b"%d" % n)}) for n in range(600)})
    source = build(tmp_path / "source", tree)
    stream = pack_folder(source).stream()
    (tmp_path / "stream").write_bytes(stream)
    program = """
import resource, sys
from pathlib import Path
from limpet.snapshots.delta import stream_delta
from limpet.snapshots.restore_tree import restore_stream
from limpet.snapshots.statcache import StatCaches
from limpet.snapshots.wire import StreamFrame, StreamReader
resource.setrlimit(resource.RLIMIT_NOFILE, (300, 300))
restore_stream([Path(sys.argv[1]).read_bytes()], Path(sys.argv[2]))
"""
    arguments = [str(tmp_path / "stream"), str(tmp_path / "into")]
    subprocess.run([sys.executable, "-c", program, *arguments], check=True)
    assert describe(tmp_path / "into") == describe(source)
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] >= 300


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077, 0o777])
def test_the_umask_does_not_matter(tmp_path: Path, umask: int) -> None:
    modes = [0o000, 0o400, 0o644, 0o666, 0o755, 0o777, 0o1777]
    tree = Folder(
        {b"f%o" % mode: File(b"x", mode) for mode in modes}
        | {b"e%o" % mode: File(b"", mode) for mode in modes}
        | {b"d%o" % mode: Folder({b"in": File(b"y", mode)}, mode) for mode in modes},
        0o1777,
    )
    source = build(tmp_path / "source", tree)
    before = os.umask(umask)
    try:
        restored(source, tmp_path / "into")
    finally:
        os.umask(before)
    assert describe(tmp_path / "into") == describe(source)


def test_a_folder_that_hands_on_its_group_hands_on_no_mode(tmp_path: Path) -> None:
    source = build(tmp_path / "source", Folder({b"d": Folder({b"f": File(b"x")})}))
    (tmp_path / "group").mkdir()
    (tmp_path / "group").chmod(0o2755)
    restored(source, tmp_path / "group" / "into")
    assert describe(tmp_path / "group" / "into") == describe(source)


def test_set_user_id_never_comes_back(tmp_path: Path) -> None:
    source = build(tmp_path / "source", Folder({b"f": File(b"x", 0o6755)}))
    restored(source, tmp_path / "into")
    assert (tmp_path / "into/f").stat().st_mode & 0o7777 == 0o755


def test_holes_stay_holes(tmp_path: Path) -> None:
    holey = File(segments=[(1 << 30, b"x" * 5000), (3 << 30, b"y")], size=(4 << 30) + 17)
    tree = Folder({b"holey": holey, b"hole": File(segments=[], size=1 << 39)})
    source = build(tmp_path / "source", tree)
    restored(source, tmp_path / "into", cut_bytes=1000)
    for name in ("holey", "hole"):
        status, wanted = (tmp_path / "into" / name).stat(), (source / name).stat()
        assert (status.st_size, status.st_mtime_ns) == (wanted.st_size, wanted.st_mtime_ns)
        assert status.st_blocks <= wanted.st_blocks + 16
    with (tmp_path / "into/holey").open("rb") as opened:
        assert os.pread(opened.fileno(), 5000, 1 << 30) == b"x" * 5000
        assert os.pread(opened.fileno(), 2, 3 << 30) == b"y\0"


def test_links_of_every_kind_come_back(tmp_path: Path) -> None:
    tree = Folder({
        b"a": Folder({b"file": File(b"one"), b"link": Link(b"../nowhere"), b"e": File(b"")}),
        b"b": Folder({b"more": Hard(b"a/file"), b"link": Hard(b"a/link"), b"e": Hard(b"a/e")}),
        b"again": Hard(b"a/file"), b"loop": Link(b"loop"), b"up": Link(b"/etc"),
    })  # fmt: skip
    source = build(tmp_path / "source", tree)
    restored(source, tmp_path / "into")
    assert describe(tmp_path / "into") == describe(source)


def test_equal_contents_are_written_wherever_they_belong(tmp_path: Path) -> None:
    piece = os.urandom(4096)
    tree = Folder({
        b"whole": File(piece), b"twice": File(piece * 2), b"d": Folder({b"whole": File(piece)}),
        b"mixed": File(b"x" * 4096 + piece + b"y"),
    })  # fmt: skip
    source = build(tmp_path / "source", tree)
    restored(source, tmp_path / "into", cut_bytes=4096)
    assert describe(tmp_path / "into") == describe(source)


def test_a_big_folder_comes_back(tmp_path: Path) -> None:
    tree = Folder({b"%05d" % n: File(b"%d" % n) for n in range(3000)})
    source = build(tmp_path / "source", tree)
    restored(source, tmp_path / "into", piece=17)
    assert describe(tmp_path / "into") == describe(source)


def test_frames_may_hold_what_nobody_asked_for(tmp_path: Path) -> None:
    source = build(tmp_path / "source", Folder({b"f": File(b"mine")}))
    snapshot = pack_folder(source)
    stream = snapshot.stream(data=[b"of another snapshot", *snapshot.data.values(), b"mine", b"z"])
    restore_stream([stream], tmp_path / "into")
    assert describe(tmp_path / "into") == describe(source)


def test_progress_is_told(tmp_path: Path) -> None:
    source = build(tmp_path / "source", Folder({b"f": File(b"x" * 100_000)}))
    stream = pack_folder(source).stream()
    told: list[tuple[int, int]] = []
    threads = threading.active_count()
    restore_stream(
        [stream[:50], stream[50:]], tmp_path / "into", on_progress=lambda *step: told.append(step)
    )
    assert told[-1][0] == len(stream)
    assert threading.active_count() == threads
