"""The clock of a file system, and what is told when it cannot be asked."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from limpet.snapshots.file_clock import FileClock
from tests.snapshots.native.building import PROJECT, compile_shared, needs_compiler

FAILING = PROJECT / "tests/faults_engine/failing.c"
SAVED_ON_A_FULL_DISK = """
import ctypes, errno, os, sys
from pathlib import Path
from tests.snapshots.engine import Engine
engine = Engine(Path(sys.argv[1]))
engine.workspace.mkdir()
(engine.workspace / "large").write_bytes(os.urandom(3_000_000))
library = ctypes.CDLL(None)
library.limpet_last.restype = ctypes.c_char_p
library.limpet_arm(ctypes.c_long(1), errno.ENOSPC)
head = engine.save()
print(library.limpet_last().decode(), head.receipt.complete, head.receipt.files)
"""


def test_what_is_written_after_an_instant_is_stamped_no_earlier(tmp_path: Path) -> None:
    fd = os.open(tmp_path, os.O_RDONLY)
    try:
        with FileClock(fd) as clock:
            now_ns = clock.now_ns()
            (tmp_path / "later").touch()
        assert now_ns <= (tmp_path / "later").stat().st_ctime_ns
        assert clock.now_ns() < time.time_ns(), "closed, it knows only what is long past"
    finally:
        os.close(fd)


@needs_compiler
@pytest.mark.skipif(sys.platform != "linux", reason="libraries are preloaded otherwise here")
def test_a_disk_that_fails_the_clock_costs_no_file(tmp_path: Path) -> None:
    compile_shared(FAILING, tmp_path / "failing.so")
    preloaded = f"{os.environ.get('LD_PRELOAD', '')} {tmp_path / 'failing.so'}".strip()
    (tmp_path / "sandbox").mkdir()
    done = subprocess.run(
        [sys.executable, "-c", SAVED_ON_A_FULL_DISK, tmp_path / "sandbox"],
        env={**os.environ, "LD_PRELOAD": preloaded, "PYTHONPATH": str(PROJECT)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout == "fchmod True 1\n", done.stderr
