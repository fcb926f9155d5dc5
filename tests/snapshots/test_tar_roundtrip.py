"""What goes into a tar comes out of it exactly."""

import os
import socket
import stat
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from limpet.errors import InvalidInputError, LimpetError, NotFoundError
from limpet.snapshots.receipt import Receipt
from limpet.snapshots.tar_read import TarVerifier, extract_tar
from limpet.snapshots.tar_write import stream_tar
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

calm = settings(
    deadline=None,
    max_examples=150,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


def saved(workspace: Path) -> tuple[bytes, Receipt]:
    stream = stream_tar(workspace)
    tar = b"".join(stream)
    return tar, stream.receipt


def in_pieces(tar: bytes, size: int) -> list[bytes]:
    return [tar[at : at + size] for at in range(0, len(tar), size)]


@calm
@given(trees(), st.sampled_from([1 << 20, 512, 100, 1537]))
def test_a_tree_comes_back_exactly(tree: Folder, piece: int) -> None:
    with scratch_folder() as scratch:
        workspace = build(scratch / "workspace", tree)
        before = describe(workspace, leave_out=(b"tmp",))
        tar, receipt = saved(workspace)
        restored = extract_tar(
            in_pieces(tar, piece), scratch / "restored",
            expect_blake3=receipt.blake3, expect_size=receipt.size_bytes,
        )  # fmt: skip
        assert describe(scratch / "restored") == before
        assert receipt.complete
        assert restored.complete
        assert (restored.entries, restored.files, restored.bytes) == (
            receipt.entries, receipt.files, receipt.bytes,
        )  # fmt: skip
        assert restored.entries == len(before)


@calm
@given(trees(), st.sampled_from([1 << 20, 512, 333]))
def test_the_verifier_tells_what_was_saved(tree: Folder, piece: int) -> None:
    with scratch_folder() as scratch:
        tar, receipt = saved(build(scratch / "workspace", tree))
    verifier = TarVerifier()
    for chunk in in_pieces(tar, piece):
        verifier.feed(chunk)
    summary = verifier.finish()
    assert summary.limpet_record
    assert summary.receipt_of_save is not None
    assert Receipt.from_dict(summary.receipt_of_save) == receipt
    assert (summary.blake3, summary.size_bytes) == (receipt.blake3, len(tar))


def test_the_same_tree_gives_the_same_tar_but_for_the_receipt(tmp_path: Path) -> None:
    tree = Folder({b"b": File(b"1"), b"a": Folder({b"z": File(b"2")}), b"c": Link(b"b")})
    first = saved(build(tmp_path / "one", tree))[0]
    second = saved(build(tmp_path / "two", tree))[0]
    assert first[:3000] == second[:3000]


def test_a_tree_deeper_than_path_max_comes_back(tmp_path: Path) -> None:
    for part, depth in ((b"d" * 200, 60), (b"e", 3000)):
        with scratch_folder() as scratch:
            workspace = scratch / "workspace"
            workspace.mkdir()
            fd = os.open(workspace, os.O_RDONLY)
            for _ in range(depth):
                os.mkdir(part, dir_fd=fd)
                inner = os.open(part, os.O_RDONLY, dir_fd=fd)
                os.close(fd)
                fd = inner
            out = os.open("deepest", os.O_CREAT | os.O_WRONLY, dir_fd=fd)
            os.write(out, b"here")
            os.close(out)
            os.close(fd)
            tar, receipt = saved(workspace)
            assert receipt.entries == depth + 2
            extract_tar([tar], scratch / "restored")
            assert describe(scratch / "restored") == describe(workspace)


def test_large_files_are_streamed_and_come_back(tmp_path: Path) -> None:
    with scratch_folder() as scratch:
        tree = Folder({
            b"just over 1 MiB": File(os.urandom((1 << 20) + 1)),
            b"just over what is held": File(os.urandom(1 << 20) * 17 + b"odd"),
            b"hole at the end": File(segments=[(0, b"x" * 4096)], size=1 << 22),
            b"only a hole": File(segments=[], size=1 << 30),
            b"large with holes": File(segments=[(1 << 22, b"y" * (18 << 20))], size=1 << 26),
        })  # fmt: skip
        workspace = build(scratch / "workspace", tree)
        del tree.entries[b"only a hole"]
        stream = stream_tar(workspace)
        chunks = list(stream)
        assert max(map(len, chunks)) <= 4 << 20
        assert stream.receipt.size_bytes < 60 << 20
        extract_tar(chunks, scratch / "restored")
        hole = (scratch / "restored" / "only a hole").stat()
        assert (hole.st_size, hole.st_blocks) == (1 << 30, 0)
        for root in (workspace, scratch / "restored"):
            (root / "only a hole").unlink()
            os.utime(root, ns=(0, 0))
        assert describe(scratch / "restored") == describe(workspace)
        for name in ("hole at the end", "large with holes"):
            assert (scratch / "restored" / name).stat().st_blocks == (
                workspace / name
            ).stat().st_blocks


def test_a_hard_link_whose_partner_lies_outside_is_a_plain_file(tmp_path: Path) -> None:
    workspace = build(tmp_path / "workspace", Folder({b"inside": File(b"shared")}))
    (tmp_path / "outside").hardlink_to(workspace / "inside")
    tar, receipt = saved(workspace)
    extract_tar([tar], tmp_path / "restored")
    restored = tmp_path / "restored" / "inside"
    assert restored.read_bytes() == b"shared"
    assert restored.stat().st_nlink == 1
    assert receipt.complete
    assert receipt.counts["links_outside"] == 1


def test_hard_links_share_one_file_again(tmp_path: Path) -> None:
    tree = Folder({b"a": Folder({b"one": File(b"x" * 2_000_000)}), b"two": Hard(b"a/one")})
    tar, receipt = saved(build(tmp_path / "workspace", tree))
    extract_tar([tar], tmp_path / "restored")
    one, two = tmp_path / "restored/a/one", tmp_path / "restored/two"
    assert one.stat().st_ino == two.stat().st_ino
    assert receipt.counts == {"hard_links": 1}
    assert len(tar) < 2_100_000


def test_set_uid_bits_are_dropped_and_told(tmp_path: Path) -> None:
    workspace = build(
        tmp_path / "workspace",
        Folder({b"su": File(b"x", 0o4755), b"sg": File(b"x", 0o2755), b"d": Folder({}, 0o2775)}),
    )
    (workspace / "su").chmod(0o4755)
    (workspace / "d").chmod(0o2775)
    tar, receipt = saved(workspace)
    extract_tar([tar], tmp_path / "restored")
    modes = {p.name: stat.S_IMODE(p.stat().st_mode) for p in (tmp_path / "restored").iterdir()}
    assert modes == {"su": 0o755, "sg": 0o755, "d": 0o775}
    assert receipt.dropped["setuid"] == 1
    assert receipt.dropped["setgid"] == 2


def test_what_is_no_file_is_skipped_and_told(tmp_path: Path) -> None:
    workspace = build(tmp_path / "workspace", Folder({b"file": File(b"x")}))
    os.mkfifo(workspace / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(workspace / "socket"))
        tar, receipt = saved(workspace)
    assert {(r.path, r.reason) for r in receipt.skipped} == {("pipe", "fifo"), ("socket", "socket")}
    assert receipt.complete
    extract_tar([tar], tmp_path / "restored")
    assert os.listdir(tmp_path / "restored") == ["file"]


def test_extended_attributes_are_counted_as_dropped(tmp_path: Path) -> None:
    workspace = build(tmp_path / "workspace", Folder({b"file": File(b"x")}))
    try:
        os.setxattr(workspace / "file", "user.note", b"1")
    except OSError as error:
        pytest.skip(f"this file system takes no user attributes: {error}")
    assert saved(workspace)[1].dropped == {"xattrs": 1}


def test_only_the_tmp_at_the_top_is_left_out(tmp_path: Path) -> None:
    tree = Folder({
        b"tmp": Folder({b"gone": File()}),
        b"repo": Folder({b"tmp": Folder({b"kept": File()})}),
    })  # fmt: skip
    tar, _ = saved(build(tmp_path / "workspace", tree))
    extract_tar([tar], tmp_path / "restored")
    assert os.listdir(tmp_path / "restored") == ["repo"]
    assert (tmp_path / "restored/repo/tmp/kept").exists()


@pytest.mark.parametrize("entries", [[], ["repo", "home"], ["repo", "tmp"]])
def test_a_workspace_with_nothing_in_it_is_empty(tmp_path: Path, entries: list[str]) -> None:
    for name in entries:
        (tmp_path / "workspace" / name).mkdir(parents=True)
    (tmp_path / "workspace").mkdir(exist_ok=True)
    stream = stream_tar(tmp_path / "workspace")
    assert stream.empty
    extract_tar(stream, tmp_path / "restored")


@pytest.mark.parametrize("name", ["repo/file", "home/.bashrc", "beside", "more/"])
def test_a_workspace_with_anything_in_it_is_not_empty(tmp_path: Path, name: str) -> None:
    path = tmp_path / "workspace" / name
    path.parent.mkdir(parents=True)
    if name.endswith("/"):
        path.mkdir()
    else:
        path.touch()
    assert not stream_tar(tmp_path / "workspace").empty


def test_a_missing_workspace_is_told(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        stream_tar(tmp_path / "nowhere")


def test_a_receipt_before_the_end_is_refused(tmp_path: Path) -> None:
    stream = stream_tar(tmp_path)
    with pytest.raises(LimpetError):
        _ = stream.receipt
    stream.close()


def test_a_folder_with_something_in_it_is_not_extracted_into(tmp_path: Path) -> None:
    (tmp_path / "workspace").mkdir()
    (tmp_path / "mine").write_text("mine")
    with pytest.raises(InvalidInputError):
        extract_tar(stream_tar(tmp_path / "workspace"), tmp_path)
    assert (tmp_path / "mine").read_text() == "mine"


def test_no_descriptor_is_left_open(tmp_path: Path) -> None:
    tree = Folder({b"a": Folder({b"b": Folder({b"c": File(b"x" * (17 << 20))})})})
    workspace = build(tmp_path / "workspace", tree)
    before = os.listdir("/proc/self/fd")
    stream = stream_tar(workspace)
    next(stream)
    stream.close()
    extract_tar(stream_tar(workspace), tmp_path / "restored")
    with pytest.raises(LimpetError):
        extract_tar([b"x" * 1024], tmp_path / "bad")
    assert not (tmp_path / "bad").exists()
    assert os.listdir("/proc/self/fd") == before
