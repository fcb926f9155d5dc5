"""The processes of the machine as the daemon sees them, and how it ends all that are its own.

Linux: read from /proc. The daemon is a child subreaper, so whatever its children leave behind
becomes its child, however often it forked or called setsid(2).
"""

import asyncio
import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from limpet.daemon.capabilities import has

_PR_SET_DUMPABLE = 4
_PR_SET_CHILD_SUBREAPER = 36
_ROUND_S = 0.005
_MAX_ROUNDS = 2000


@dataclass(frozen=True, slots=True)
class Process:
    """One line of /proc/<pid>/stat. `session` is the pid of its session's leader."""

    pid: int
    parent: int
    group: int
    session: int
    state: str

    @property
    def dead(self) -> bool:
        """Whether only its exit status is left."""
        return self.state in "ZX"


def process_table() -> dict[int, Process]:
    """Every process that can be seen, by pid; empty where there is no /proc."""
    table: dict[int, Process] = {}
    if not has("proc"):
        return table
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            line = Path(f"/proc/{name}/stat").read_bytes()
        except OSError:  # it ended meanwhile
            continue
        fields = line[line.rfind(b")") + 2 :].split()
        pid = int(name)
        table[pid] = Process(pid, int(fields[1]), int(fields[2]), int(fields[3]), chr(fields[0][0]))
    return table


def descendants(table: dict[int, Process], root: int) -> list[Process]:
    """All processes below `root`, itself left out."""
    children: dict[int, list[Process]] = {}
    for process in table.values():
        children.setdefault(process.parent, []).append(process)
    found: list[Process] = []
    todo = [root]
    while todo:
        for process in children.get(todo.pop(), ()):
            found.append(process)
            todo.append(process.pid)
    return found


def become_subreaper() -> bool:
    """Make orphans of ours our children (Linux); whether that worked."""
    return has("subreaper") and _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def hide_memory() -> bool:
    """Keep same-user processes from reading our memory and descriptors; whether that worked."""
    return _prctl(_PR_SET_DUMPABLE, 0)


def _prctl(option: int, value: int) -> bool:
    if sys.platform != "linux":
        return False
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        return bool(libc.prctl(option, value, 0, 0, 0) == 0)
    except (OSError, AttributeError):
        return False


def owns_pid_namespace(*, told: bool) -> bool:
    """Whether every process that we see is the sandbox's: told so, being init, or under bwrap."""
    if told or os.getpid() == 1:
        return True
    try:
        return os.getppid() == 1 and Path("/proc/1/comm").read_text().strip() == "bwrap"
    except OSError:
        return False


def signal_group(pid: int, number: int) -> None:
    """Send a signal to the process group of `pid`; gone is fine."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


def signal_session(leader: int, number: int) -> None:
    """Send a signal to every process of the session of `leader` (job control makes groups)."""
    members = [p for p in process_table().values() if p.session == leader and not p.dead]
    if not members:
        signal_group(leader, number)
    for process in members:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(process.pid, number)


class Reaper:
    """Collects the exit status of orphans that became our children.

    `ours` are the pids that somebody else waits for. A zombie is collected only when it was there
    at two looks a moment apart, so that a child that is just being started is never taken away.
    """

    def __init__(self, ours: set[int], pause_s: float = 1.0) -> None:
        self._ours = ours
        self._pause_s = pause_s
        self._seen: set[int] = set()
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Look whenever a child ends."""
        with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):
            asyncio.get_running_loop().add_signal_handler(signal.SIGCHLD, self._soon)

    def stop(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()
        with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):
            asyncio.get_running_loop().remove_signal_handler(signal.SIGCHLD)

    def _soon(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._pause_s, self._look)

    def _look(self) -> None:
        self._timer = None
        waiting = self.collect(self._seen)
        self._seen = waiting
        if waiting:
            self._soon()

    def collect(self, candidates: set[int] | None = None) -> set[int]:
        """Collect the orphans' zombies among `candidates` (None: all); those not collected."""
        left: set[int] = set()
        me = os.getpid()
        for process in process_table().values():
            if process.parent != me or not process.dead or process.pid in self._ours:
                continue
            if candidates is not None and process.pid not in candidates:
                left.add(process.pid)
                continue
            with contextlib.suppress(ChildProcessError):
                os.waitpid(process.pid, os.WNOHANG)
        return left


async def end_all(*, whole_namespace: bool, spare: frozenset[int] = frozenset()) -> int:
    """Kill every process of the sandbox but this one, until none is left; how many there were.

    With `whole_namespace` everything but pid 1 and we is theirs, else all our descendants.
    `TimeoutError` when some cannot be ended.
    """
    return await _end(lambda: _theirs(whole_namespace=whole_namespace, spare=spare))


async def end_started(leader: int, marker: str) -> int:
    """Kill what a child of ours started, itself among it; how many processes there were.

    That is its session, all below it, and whoever of our descendants has `marker` (NAME=value) in
    its environment. `TimeoutError` when some cannot be ended.
    """
    return await _end(lambda: _started(leader, marker))


async def _end(look: Callable[[], list[int]]) -> int:
    """Kill what `look` finds until it finds nothing more; how many there were.

    They are stopped first, over and over until no new one shows up, then killed: so a shell that
    forks without end cannot outrun it.
    """
    ended: set[int] = set()
    for _ in range(_MAX_ROUNDS):
        found = look()
        if not found:
            return len(ended)
        stopped: set[int] = set()
        while fresh := [p for p in found if p not in stopped]:
            for pid in fresh:
                _kill(pid, signal.SIGSTOP)
                stopped.add(pid)
            found = look()
        for pid in stopped:
            _kill(pid, signal.SIGKILL)
        ended |= stopped
        await asyncio.sleep(_ROUND_S)  # their ends are seen in the table alone: nothing to await
    raise TimeoutError(f"some processes of the sandbox do not end: {found[:5]}")


def _started(leader: int, marker: str) -> list[int]:
    table = process_table()
    ours = descendants(table, os.getpid())
    # Once it has ended its number may be anybody's: what is below it is looked at while it is ours.
    below = descendants(table, leader) if any(p.pid == leader for p in ours) else []
    found = {process.pid for process in below}
    for process in ours:
        if leader in {process.pid, process.session} or _is_marked(process.pid, marker):
            found.add(process.pid)
    return [pid for pid in found if not table[pid].dead]


def _is_marked(pid: int, marker: str) -> bool:
    try:
        environ = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:  # it ended meanwhile, or is not ours to look at
        return False
    return f"\0{marker}\0".encode() in b"\0" + environ


def _theirs(*, whole_namespace: bool, spare: frozenset[int]) -> list[int]:
    table = process_table()
    me = os.getpid()
    if whole_namespace:
        candidates = [p for p in table.values() if p.pid not in {1, me}]
    else:
        candidates = descendants(table, me)
    return [p.pid for p in candidates if not p.dead and p.pid not in spare]


def _kill(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def end_marked(marker: str) -> int:
    """Kill the descendants of ours that were started with `marker` (NAME=value) in their
    environment; how many those were. Blocking, but quick.
    """
    count = 0
    for process in descendants(process_table(), os.getpid()):
        if not process.dead and _is_marked(process.pid, marker):
            count += 1
            _kill(process.pid, signal.SIGKILL)
    return count
