"""Processes of this machine: who is who across restarts, who belongs to whom, how they end.

A pid alone names nobody for long, so a process is named by its pid and its start. Reads /proc on
Linux; where there is none, `ps` tells less (no environments, no working folders).
Scans block: call them in a thread.
"""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

import anyio
import anyio.to_thread

PROC: Final = Path("/proc")
_TYING: Final = frozenset({b"HOME", b"APP_ROOT", b"SANDBOX_ROOT", b"WORKDIR"})
_ROUND_S: Final = 0.02
_UNSURE_LOOKS: Final = 5


@dataclass(frozen=True, slots=True)
class ProcessId:
    """One process and no other: `started` also tells apart boots of the machine."""

    pid: int
    started: str


@dataclass(frozen=True, slots=True)
class Process:
    """A row of the process table. `terminal` is whether it has a controlling terminal."""

    id: ProcessId
    parent: int
    dead: bool
    terminal: bool


def identify(pid: int) -> ProcessId | None:
    """The process that has this pid now, or None when it is gone or only its status is left."""
    process = _row(pid)
    return None if process is None or process.dead else process.id


def is_alive(process: ProcessId) -> bool:
    """Whether this very process still runs."""
    return identify(process.pid) == process


def send(process: ProcessId, number: signal.Signals) -> None:
    """Send a signal to this very process; gone is fine."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if not hasattr(os, "pidfd_open"):
            if is_alive(process):
                os.kill(process.pid, number)
            return
        descriptor = os.pidfd_open(process.pid)
        try:
            if is_alive(process):
                signal.pidfd_send_signal(descriptor, number)
        finally:
            os.close(descriptor)


async def wait_ended(process: ProcessId, timeout_s: float) -> bool:
    """Whether the process ended within `timeout_s`; it need not be a child of ours."""
    with anyio.move_on_after(timeout_s):
        if hasattr(os, "pidfd_open"):
            try:
                descriptor = os.pidfd_open(process.pid)
            except ProcessLookupError:
                return True
            try:
                if is_alive(process):
                    await anyio.wait_readable(descriptor)
            finally:
                os.close(descriptor)
        else:
            while is_alive(process):  # noqa: ASYNC110  (there is no event for others' children)
                await anyio.sleep(_ROUND_S)
    return not is_alive(process)


def process_table() -> dict[int, Process]:
    """Every process that can be seen, by pid."""
    if not _has_proc():
        return _table_of_ps()
    rows = (_row(int(name)) for name in os.listdir(PROC) if name.isdigit())
    return {row.id.pid: row for row in rows if row is not None}


def descendants(table: dict[int, Process], roots: Iterable[int]) -> set[ProcessId]:
    """All live processes below `roots`, themselves left out."""
    children: dict[int, list[Process]] = {}
    for process in table.values():
        children.setdefault(process.parent, []).append(process)
    found: set[ProcessId] = set()
    todo = list(roots)
    while todo:
        for process in children.get(todo.pop(), ()):
            if process.id not in found:
                found.add(process.id)
                todo.append(process.id.pid)
    return {process for process in found if not table[process.pid].dead}


def tied_to(folder: Path, table: dict[int, Process] | None = None) -> dict[ProcessId, str]:
    """The live processes that belong to the sandbox whose root is `folder`, or lies in it.

    Those whose environment names the folder as home or workspace, and all below them; and orphans
    without a terminal that work in it and whose environment was wiped: of init, or of whoever above
    us takes orphans in its place. A person's own shell or editor in the folder is neither. With
    each the first name below `folder` that ties it.
    """
    table = process_table() if table is None else table
    if not _has_proc():
        return {}
    spared = _ourselves(table)
    inside = os.fsencode(folder)
    tied: dict[ProcessId, str] = {}
    for row in table.values():
        by = None if row.dead or row.id.pid in spared else _tie(row, inside, spared)
        if by is not None:
            tied[row.id] = _first_name(by, inside)
    for process, name in list(tied.items()):
        for below in descendants(table, [process.pid]):
            tied.setdefault(below, name)
    return {process: name for process, name in tied.items() if process.pid not in spared}


def held_bytes(folder: Path, own: Iterable[ProcessId]) -> int | None:
    """The memory of `own`, all below them, and what is tied to `folder`; None where none is told.

    What processes share is counted in parts where the kernel says so (PSS of proc(5)), else whole.
    """
    table = process_table()
    roots = [process for process in own if is_alive(process)]
    found = {*roots, *descendants(table, [one.pid for one in roots]), *tied_to(folder, table)}
    held = [size for process in found if (size := _held(process.pid)) is not None]
    return sum(held) if held else None


def _held(pid: int) -> int | None:
    place = PROC / str(pid)
    with contextlib.suppress(OSError, ValueError, IndexError):
        told = (place / "smaps_rollup").read_text()
        return int(told.split("\nPss:", 1)[1].split()[0]) << 10
    with contextlib.suppress(OSError, ValueError, IndexError):
        pages = int((place / "statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")
    return None


def bubblewraps_of(folder: Path, table: dict[int, Process] | None = None) -> dict[ProcessId, str]:
    """The live bubblewrap processes that bind a root in `folder`, and the root's name there."""
    table = process_table() if table is None else table
    inside = os.fsencode(folder)
    found: dict[ProcessId, str] = {}
    for pid, row in table.items():
        with contextlib.suppress(OSError):
            words = (PROC / str(pid) / "cmdline").read_bytes().split(b"\0")
            if not words[0].endswith(b"bwrap") or row.dead:
                continue
            binds = (words[i + 1] for i, word in enumerate(words[:-2]) if word == b"--bind")
            for source in binds:
                if _lies_in(source, inside):
                    found[row.id] = _first_name(source, inside)
    return found


async def end_all(find: Callable[[], set[ProcessId]], timeout_s: float) -> set[ProcessId]:
    """Kill all that `find` gives until it gives none; what is left after `timeout_s`.

    They are stopped first, over and over until no new one shows up, so that a process that forks
    without end cannot outrun it. A look while processes start proves little: one that was listed
    may have ended and left a child behind that was not. So it is one without such starts, or
    several in a row, that ends the search.
    """
    deadline = time.monotonic() + timeout_s
    unsure_looks = 0
    while True:
        before = _newest_pid()
        left = await anyio.to_thread.run_sync(_kill_round, find)
        unsure_looks = 0 if left else unsure_looks + 1
        is_sure = not left and before is not None and before == _newest_pid()
        if is_sure or unsure_looks == _UNSURE_LOOKS or time.monotonic() > deadline:
            return left
        await anyio.sleep(_ROUND_S)  # others' children: nothing can be awaited for all of them


def _newest_pid() -> int | None:
    """The pid that was given last; None where that is not told."""
    try:
        return int((PROC / "loadavg").read_text().split()[4])
    except (OSError, ValueError, IndexError):
        return None


def _kill_round(find: Callable[[], set[ProcessId]]) -> set[ProcessId]:
    stopped: set[ProcessId] = set()
    while fresh := find() - stopped:
        for process in fresh:
            send(process, signal.SIGSTOP)
        stopped |= fresh
    for process in stopped:
        send(process, signal.SIGKILL)
    return stopped


def _ourselves(table: dict[int, Process]) -> set[int]:
    """We and all above us: never the sandbox's, whatever they look like."""
    found = {0, 1}
    pid = os.getpid()
    while pid not in found:
        found.add(pid)
        pid = table[pid].parent if pid in table else 0
    return found


def _tie(row: Process, inside: bytes, reapers: set[int]) -> bytes | None:
    """The path in `inside` that ties the process to it."""
    try:
        variables = (PROC / str(row.id.pid) / "environ").read_bytes().split(b"\0")
    except OSError:  # gone, another user's, or not to be read
        return None
    has_home = False
    for variable in variables:
        name, _, value = variable.partition(b"=")
        if name in _TYING and _lies_in(value, inside):
            return value
        has_home = has_home or name == b"HOME"
    if has_home or row.terminal:
        return None
    now = _row(row.id.pid)  # its parent may have ended since the table was read
    if now is None or now.id != row.id or now.parent not in reapers:
        return None
    try:
        where = os.fsencode((PROC / str(row.id.pid) / "cwd").readlink())
    except OSError:
        return None
    return where if _lies_in(where, inside) else None


def _first_name(path: bytes, inside: bytes) -> str:
    return os.fsdecode(path[len(inside) + 1 :].split(b"/")[0])


def _lies_in(path: bytes, inside: bytes) -> bool:
    return path == inside or path.startswith(inside + b"/")


@cache
def _has_proc() -> bool:
    return (PROC / "self/stat").exists()


@cache
def _boot() -> str:
    try:
        return (PROC / "sys/kernel/random/boot_id").read_text().strip()[:8]
    except OSError:
        return ""


def _row(pid: int) -> Process | None:
    if not _has_proc():
        return _table_of_ps().get(pid)
    try:
        line = (PROC / str(pid) / "stat").read_bytes()
    except OSError:  # it ended meanwhile
        return None
    # proc(5): the name is in parentheses and may hold anything; state is the field after it.
    fields = line[line.rfind(b")") + 2 :].split()
    started = f"{_boot()}/{fields[19].decode()}"
    return Process(
        ProcessId(pid, started),
        parent=int(fields[1]),
        dead=fields[0] in {b"Z", b"X"},
        terminal=fields[4] != b"0",
    )


def _table_of_ps() -> dict[int, Process]:
    listed = subprocess.run(
        ["ps", "-axo", "pid=,ppid=,tty=,stat=,lstart="],
        capture_output=True,
        text=True,
        check=False,
        env={"LC_ALL": "C", "PATH": os.environ.get("PATH", os.defpath)},
    )
    table = {}
    for line in listed.stdout.splitlines():
        pid, parent, terminal, state, started = line.split(None, 4)
        table[int(pid)] = Process(
            ProcessId(int(pid), f"ps/{started.strip()}"),
            parent=int(parent),
            dead=state.startswith("Z"),
            terminal=terminal not in {"?", "??", "-"},
        )
    return table
