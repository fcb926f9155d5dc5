"""Both floors where the kernel says no: system calls that fail or are interrupted (failing.c)."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.snapshots.native.building import compile_shared, needs_compiler

pytestmark = [
    needs_compiler,
    pytest.mark.skipif(sys.platform != "linux", reason="libraries are preloaded otherwise here"),
]
CALLS = """
import importlib, json, os, sys
from array import array
from limpet.snapshots.native import NewFiles, WriteJobs, parse_records
floor = importlib.import_module("limpet.snapshots.native." + sys.argv[1])
fd = os.open(sys.argv[2], os.O_RDONLY)
names = [name.encode() for name in sys.argv[4:]]
if sys.argv[3] == "scan":
    listing = floor.scan_folder(fd)
    said = [[e.name.decode() for e in parse_records(listing.records)],
            [[name.decode(), error] for name, error in listing.errors]]
elif sys.argv[3] == "read":
    read = floor.read_files(fd, names, [10] * len(names))
    said = [list(read.errnos), [read.data[at : at + n].decode()
            for at, n in zip(read.offsets, read.lengths)]]
else:
    of = NewFiles()
    count = len(names)
    of.add_columns(names, [10] * count, [0o1644] * count, [5] * count)
    numbers, fds = array("I", range(count)), array("i", [fd] * count)
    done = floor.write_files(
        b"0123456789", WriteJobs(numbers, fds, array("Q", bytes(8 * count))), of
    )
    said = [list(done.errnos), sorted(os.listdir(sys.argv[2]))]
print(json.dumps(said))
"""


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    library = tmp_path_factory.mktemp("shim") / "failing.so"
    compile_shared(Path(__file__).with_name("failing.c"), library)
    return library


@pytest.fixture(params=["plain", "compiled"])
def floor(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def said(shim: Path, floor: str, folder: Path, call: str, *names: str) -> Any:
    preloaded = f"{os.environ.get('LD_PRELOAD', '')} {shim}".strip()  # a sanitizer comes first
    done = subprocess.run(
        [sys.executable, "-c", CALLS, floor, folder, call, *names],
        env={**os.environ, "LD_PRELOAD": preloaded},
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_entries_that_cannot_be_looked_at_are_told_and_those_that_vanish_are_not(
    shim: Path, floor: str, tmp_path: Path
) -> None:
    for name in ("good", "bad-look", "gone-look", "zero"):
        (tmp_path / name).touch()
    assert said(shim, floor, tmp_path, "scan") == [["good", "zero"], [["bad-look", errno.EIO]]]


def test_reads_go_on_after_signals_and_tell_what_failed(
    shim: Path, floor: str, tmp_path: Path
) -> None:
    for name in ("good", "bad-read", "slow"):
        (tmp_path / name).write_text("0123456789")
    assert said(shim, floor, tmp_path, "read", "good", "bad-read", "slow") == [
        [0, errno.EIO, 0],
        ["0123456789", "", "0123456789"],
    ]


def test_writes_go_on_after_signals_until_all_is_written(
    shim: Path, floor: str, tmp_path: Path
) -> None:
    names = ["good", "slow"]
    assert said(shim, floor, tmp_path, "write", *names) == [[0, 0], names]
    for name in names:
        assert (tmp_path / name).read_text() == "0123456789"
        assert (tmp_path / name).stat().st_mtime_ns == 5


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("bad-write", errno.ENOSPC), ("no-write", errno.EIO), ("bad-time", errno.EPERM),
        ("bad-mode", errno.EPERM), ("bad-close", errno.EDQUOT),
    ],
)  # fmt: skip
def test_a_file_that_fails_at_any_step_is_removed_and_ends_the_batch(
    shim: Path, floor: str, tmp_path: Path, name: str, error: int
) -> None:
    assert said(shim, floor, tmp_path, "write", "first", name, "last") == [
        [0, error, errno.ECANCELED],
        ["first"],
    ]
