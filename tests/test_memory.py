"""What the C library is told about memory."""

import subprocess
import sys

import pytest

CODE = """
import ctypes, sys, threading
from limpet.memory import share_one_arena
if sys.argv[1] == "shared":
    share_one_arena()
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
both = threading.Barrier(4)
def allocate():
    both.wait()
    libc.free(libc.malloc(1000))
    both.wait()
threads = [threading.Thread(target=allocate) for _ in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
libc.malloc_stats()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc alone has arenas")
def test_all_threads_share_one_arena() -> None:
    found = {
        how: subprocess.run(
            [sys.executable, "-c", CODE, how], capture_output=True, text=True, check=True
        ).stderr.count("Arena ")
        for how in ("shared", "apart")
    }
    assert found["shared"] == 1
    assert found["apart"] > 1
