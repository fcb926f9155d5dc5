"""Stopping every process of the sandbox for a moment, so that a save reads one state of its files.

Parents are stopped before their children and go on after them, so that no shell sees a child that
stopped. A guard process of its own lets all go on when the daemon cannot: it holds the list of who
was stopped and waits for the daemon's end of a pipe, for two seconds at most.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

from limpet.daemon.capabilities import has
from limpet.daemon.processes import Process, descendants, process_table

STOP_WITHIN_S: Final = 0.2
"""Stopping takes this long at most; when more and more processes come up it is given up."""
GUARD_AFTER_S: Final = 2.0
_LOOK_AGAIN_S: Final = 0.001
_GUARD: Final = """
import os, select, signal, sys
told, after = b"", float(sys.argv[1])
while select.select([0], [], [], after)[0]:
    more = os.read(0, 65536)
    if not more:
        break
    told += more
for pid in reversed(told.split()):
    try:
        os.kill(int(pid), signal.SIGCONT)
    except OSError:
        pass
"""


class ProcessFreezer:
    """A `limpet.snapshots.delta.Freezer` over the sandbox's processes. For one thread."""

    def __init__(self, *, whole_namespace: bool) -> None:
        self._whole_namespace = whole_namespace
        self._stopped: list[int] = []
        self._guard: subprocess.Popen[bytes] | None = None

    def freeze(self) -> bool:
        """Stop every process but this one; False, and all of them run, when that is not possible.

        True also when there is none.
        """
        if not has("proc"):
            return False
        if not self._theirs():
            return True
        try:
            self._guard = _start_guard()
        except OSError:
            return False
        give_up_at_s = time.monotonic() + STOP_WITHIN_S
        while time.monotonic() < give_up_at_s:
            fresh = [pid for pid in self._theirs() if pid not in self._stopped]
            if fresh:
                if not self._tell_guard(fresh):
                    break
                for pid in fresh:
                    self._stopped.append(pid)
                    _signal(pid, signal.SIGSTOP)
            elif all(_has_stopped(pid) for pid in self._stopped):
                return True
            else:
                time.sleep(_LOOK_AGAIN_S)  # a thread stops when it next leaves the kernel
        self.thaw()
        return False

    def thaw(self) -> None:
        """Let all go on, children first."""
        for pid in reversed(self._stopped):
            _signal(pid, signal.SIGCONT)
        self._stopped = []
        guard, self._guard = self._guard, None
        if guard is not None:
            guard.kill()
            guard.communicate()

    def _theirs(self) -> list[int]:
        """The sandbox's processes, each after its parent."""
        table = process_table()
        me = os.getpid()
        spare = {me} if self._guard is None else {me, self._guard.pid}
        found = descendants(table, me)
        if self._whole_namespace:
            known = {process.pid for process in found}
            others = [p for p in table.values() if p.pid not in known and p.pid not in {1, me}]
            found += sorted(others, key=lambda process: _depth(table, process))
        return [p.pid for p in found if not p.dead and p.pid not in spare]

    def _tell_guard(self, pids: list[int]) -> bool:
        assert self._guard is not None
        assert self._guard.stdin is not None
        try:
            self._guard.stdin.write(b"".join(b"%d " % pid for pid in pids))
            self._guard.stdin.flush()
        except OSError:  # the guard is gone: nobody would let them go on
            return False
        return True


def _start_guard() -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", _GUARD, str(GUARD_AFTER_S)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        env={},
        start_new_session=True,
    )


def _depth(table: dict[int, Process], process: Process) -> int:
    depth = 0
    while process.parent in table and depth < len(table):
        process = table[process.parent]
        depth += 1
    return depth


def _has_stopped(pid: int) -> bool:
    """Whether no thread of the process runs any more."""
    try:
        for thread in Path(f"/proc/{pid}/task").iterdir():
            line = (thread / "stat").read_bytes()
            if line[line.rfind(b")") + 2 : line.rfind(b")") + 3] not in b"TtZX":
                return False
    except OSError:  # it ended meanwhile
        return True
    return True


def _signal(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)
