"""Our tars are read by others, and theirs by us."""

import io
import os
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from limpet.snapshots import tar_format as tf
from limpet.snapshots.tar_read import extract_tar
from limpet.snapshots.tar_write import stream_tar
from tests.snapshots.trees import (
    Description,
    File,
    Folder,
    Hard,
    Link,
    build,
    describe,
    scratch_folder,
    trees,
)

QUIET = "--warning=no-unknown-keyword"
CALM = (QUIET, "--warning=no-timestamp")
TREE = Folder({
    b"repo": Folder({
        b"file": File(b"hello" * 500), b"run.sh": File(b"#!/bin/sh", 0o755),
        b"n" * 255: File(b"a name of 255 bytes"), b"caf\xc3\xa9": File(b"utf-8"),
        b"long-" * 45: Folder({b"part-" * 45: File(b"a long path")}),
        b"old": File(b"1985", mtime_ns=499162500 * 10**9), b"empty": Folder({}, 0o700),
        b"before": File(b"1969", mtime_ns=-500_000_000),
        b"future": File(mtime_ns=8**11 * 10**9 + 1),
    }),
    b"holes": File(segments=[(0, b"a" * 4096), (1 << 20, b"b" * 10)], size=(1 << 20) + 50_000),
    b"hard": Hard(b"repo/file"), b"link": Link(b"repo/file"), b"long link": Link(b"to/" * 60),
    b"latin-1 \xe9": File(b"not utf-8"),
})  # fmt: skip


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    return build(tmp_path / "workspace", TREE)


def gnu_tar(*arguments: object, **named: object) -> "subprocess.CompletedProcess[bytes]":
    return subprocess.run(
        ["tar", *map(str, arguments)], check=True, capture_output=True, **named  # type: ignore[call-overload]
    )  # fmt: skip


def saved(workspace: Path, to: Path) -> bytes:
    tar = b"".join(stream_tar(workspace))
    to.write_bytes(tar)
    return tar


def test_gnu_tar_restores_ours_exactly(workspace: Path, tmp_path: Path) -> None:
    saved(workspace, tmp_path / "ours.tar")
    (tmp_path / "theirs").mkdir()
    done = gnu_tar("-xpf", tmp_path / "ours.tar", "-C", tmp_path / "theirs", *CALM)
    assert done.stderr == b""
    assert describe(tmp_path / "theirs") == describe(workspace)


def test_gnu_tar_lists_and_compares_ours(workspace: Path, tmp_path: Path) -> None:
    saved(workspace, tmp_path / "ours.tar")
    listed = gnu_tar("-tf", tmp_path / "ours.tar", QUIET).stdout.splitlines()
    assert len(listed) == len(describe(workspace))
    assert gnu_tar("-df", tmp_path / "ours.tar", "-C", workspace, QUIET).stdout == b""


def test_pythons_tarfile_reads_ours(workspace: Path, tmp_path: Path) -> None:
    saved(workspace, tmp_path / "ours.tar")
    with tarfile.open(tmp_path / "ours.tar") as tar:
        assert len(tar.getnames()) == len(describe(workspace))
        assert tar.pax_headers["LIMPET.count"] == str(len(tar.getnames()))
        tar.extractall(tmp_path / "theirs", filter="fully_trusted")
    assert without_times(describe(tmp_path / "theirs")) == without_times(describe(workspace))


def without_times(description: Description) -> Description:
    """Python keeps times as floats, so nanoseconds get lost there."""
    return {
        path: tuple(part for part in parts if not isinstance(part, int) or part < 10**8)
        for path, parts in description.items()
    }


@pytest.mark.skipif(not shutil.which("bsdtar"), reason="bsdtar is not installed")
def test_bsdtar_restores_ours(workspace: Path, tmp_path: Path) -> None:
    saved(workspace, tmp_path / "ours.tar")
    (tmp_path / "theirs").mkdir()
    subprocess.run(["bsdtar", "-xpf", tmp_path / "ours.tar", "-C", tmp_path / "theirs"], check=True)
    assert describe(tmp_path / "theirs") == describe(workspace)


@settings(deadline=None, max_examples=40, suppress_health_check=list(HealthCheck))
@given(trees())
def test_gnu_tar_restores_any_tree_of_ours(tree: Folder) -> None:
    with scratch_folder() as scratch:
        workspace = build(scratch / "workspace", tree)
        saved(workspace, scratch / "ours.tar")
        (scratch / "theirs").mkdir()
        gnu_tar("-xpf", scratch / "ours.tar", "-C", scratch / "theirs", QUIET)
        assert describe(scratch / "theirs") == describe(workspace)


@pytest.mark.parametrize("form", ["gnu", "posix", "ustar", "oldgnu"])
@pytest.mark.parametrize("sparse", [[], ["--sparse"]])
def test_we_restore_gnu_tars(tmp_path: Path, form: str, sparse: list[str]) -> None:
    tree = TREE
    if sparse and form == "ustar":
        pytest.skip("ustar has no sparse files")
    if form == "ustar":
        kept = {name: node for name, node in TREE.entries.items() if name != b"long link"}
        repo = TREE.entries[b"repo"]
        assert isinstance(repo, Folder)
        inner = {name: repo.entries[name] for name in (b"file", b"run.sh", b"old", b"empty")}
        tree = Folder({**kept, b"repo": Folder(inner)})
    workspace = build(tmp_path / "workspace", tree)
    gnu_tar(f"--format={form}", *sparse, "-cf", tmp_path / "t.tar", "-C", workspace, ".")
    receipt = extract_tar([(tmp_path / "t.tar").read_bytes()], tmp_path / "restored")
    found, wanted = describe(tmp_path / "restored"), describe(workspace)
    if form != "posix":
        found, wanted = whole_seconds(found), whole_seconds(wanted)
    assert found == wanted
    assert not receipt.complete
    if sparse and form != "ustar":
        holes = (tmp_path / "restored/holes").stat()
        assert holes.st_blocks == (workspace / "holes").stat().st_blocks


def whole_seconds(description: Description) -> Description:
    return {
        path: tuple(
            part // 10**9 if isinstance(part, int) and abs(part) > 10**7 else part for part in parts
        )
        for path, parts in description.items()
    }


@pytest.mark.parametrize("version", ["0.0", "0.1", "1.0"])
def test_every_sparse_format_of_pax_is_read(tmp_path: Path, version: str) -> None:
    segments = [(4096 * 4 * n, bytes([n + 1]) * 4096) for n in range(30)]
    tree = Folder({b"holes": File(segments=segments, size=1 << 20)})
    workspace = build(tmp_path / "workspace", tree)
    gnu_tar(
        "--format=posix", "--sparse", f"--sparse-version={version}",
        "-cf", tmp_path / "t.tar", "-C", workspace, "holes",
    )  # fmt: skip
    extract_tar([(tmp_path / "t.tar").read_bytes()], tmp_path / "restored")
    found, wanted = describe(tmp_path / "restored"), describe(workspace)
    assert found[b"/holes"] == wanted[b"/holes"]


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT])
def test_we_restore_tars_of_python(tmp_path: Path, form: int) -> None:
    second = 10**9
    inner = {b"f": File(b"x", mtime_ns=second), b"l": Link(b"f", second)}
    tree = Folder({b"a": Folder(inner, 0o750, second), b"h": Hard(b"a/f")}, 0o755, second)
    workspace = build(tmp_path / "workspace", tree)
    with tarfile.open(tmp_path / "t.tar", "w", format=form) as tar:
        tar.add(workspace, ".")
    extract_tar([(tmp_path / "t.tar").read_bytes()], tmp_path / "restored")
    found, wanted = describe(tmp_path / "restored"), describe(workspace)
    assert whole_seconds(found) == whole_seconds(wanted)


def test_folders_that_are_only_implied_are_made(tmp_path: Path) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        info = tarfile.TarInfo("a/b/file")
        info.size = 1
        tar.addfile(info, io.BytesIO(b"x"))
        late = tarfile.TarInfo("a")
        late.type, late.mode, late.mtime = tarfile.DIRTYPE, 0o700, 5
        tar.addfile(late)
    extract_tar([out.getvalue()], tmp_path / "restored")
    assert (tmp_path / "restored/a/b/file").read_bytes() == b"x"
    assert (tmp_path / "restored/a").stat().st_mtime == 5
    assert (tmp_path / "restored/a").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "restored/a/b").stat().st_mode & 0o777 == 0o755


def test_a_git_archive_is_read(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q", tmp_path / "repo"], check=True)
    (tmp_path / "repo/file").write_text("x")
    who = ["-c", "user.name=a", "-c", "user.email=a@b"]
    for command in (["add", "."], [*who, "commit", "-q", "-m", "first"]):
        subprocess.run(["git", *command], cwd=tmp_path / "repo", check=True)
    tar = subprocess.run(
        ["git", "archive", "HEAD"], cwd=tmp_path / "repo", check=True, capture_output=True
    ).stdout
    extract_tar([tar], tmp_path / "restored")
    assert os.listdir(tmp_path / "restored") == ["file"]


def test_the_digest_is_that_of_the_bytes_before_the_record(workspace: Path, tmp_path: Path) -> None:
    from blake3 import blake3

    tar = saved(workspace, tmp_path / "ours.tar")
    with tarfile.open(tmp_path / "ours.tar") as opened:
        opened.getnames()
        record = opened.pax_headers
    size = int(record["LIMPET.size"])
    assert blake3(tar[:size]).hexdigest() == record["LIMPET.blake3"]
    assert len(tar) - size < 8 * tf.BLOCK


# -- the format's pieces ------------------------------------------------------------------------


@given(st.binary(min_size=1, max_size=30).filter(lambda key: b"=" not in key), st.binary())
def test_pax_records_come_back(key: bytes, value: bytes) -> None:
    assert tf.parse_pax(tf.pax_record(key, value) * 2) == [(key, value)] * 2


@given(st.integers(-(10**27) + 1, 10**27 - 1))
def test_pax_times_come_back(time_ns: int) -> None:
    assert tf.parse_pax_time(tf.pax_time(time_ns)) == time_ns


@given(
    st.binary(min_size=1, max_size=100).filter(lambda name: 0 not in name),
    st.integers(0, 0o7777), st.integers(0, 8**11 - 1), st.integers(0, 8**11 - 1),
    st.binary(max_size=100).filter(lambda name: 0 not in name),
    st.binary(max_size=155).filter(lambda name: 0 not in name),
)  # fmt: skip
def test_headers_are_what_python_reads(
    name: bytes, mode: int, size: int, mtime_s: int, link: bytes, prefix: bytes
) -> None:
    block = tf.header(name, mode, size, mtime_s, b"0", link, prefix)
    assert tf.checksum_matches(block)
    info = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    assert (info.mode, info.size, info.mtime) == (mode, size, mtime_s)
    assert tf.parse_number(block[124:136]) == size


@given(st.lists(st.binary(min_size=1, max_size=130), min_size=1, max_size=6))
def test_a_split_name_is_whole_again(parts: list[bytes]) -> None:
    name = b"/".join(part.replace(b"/", b"-") for part in parts)
    split = tf.split_name(name)
    if split is not None:
        prefix, rest = split
        assert (prefix + b"/" + rest if prefix else rest) == name
        assert len(prefix) <= 155
        assert 0 < len(rest) <= 100
    else:
        assert len(name) > 100


@given(st.integers(-(2**80), 2**80))
def test_base_256_numbers_are_read_as_python_writes_them(number: int) -> None:
    field = tarfile.itn(number, 12, tarfile.GNU_FORMAT)  # type: ignore[attr-defined]
    assert tf.parse_number(field) == number
