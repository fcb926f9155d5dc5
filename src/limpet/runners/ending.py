"""How sandboxes on this machine end: asked first, then killed with everything that is theirs."""

import contextlib
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from signal import SIGKILL, SIGTERM
from typing import Final

import anyio.to_thread

from limpet.errors import RunnerError
from limpet.ids import Handle
from limpet.runners.processes import (
    PROC,
    Process,
    ProcessId,
    bubblewraps_of,
    descendants,
    end_all,
    is_alive,
    process_table,
    send,
    tied_to,
    wait_ended,
)
from limpet.runners.record import Record

KILL_WITHIN_S: Final = 15.0
ORPHAN_GRACE_S: Final = 5.0
_LOOK_EVERY_S: Final = 0.2


async def end_sandbox(root: Path, record: Record | None, *, grace_s: float) -> None:
    """End every process of the sandbox at `root`; without a record, its strays.

    The daemon gets `grace_s` seconds to end by itself. Raises `RunnerError` when something cannot
    be killed.
    """
    seen: set[ProcessId] = set()
    if record is not None:
        if grace_s > 0:
            seen = await _ask(record, grace_s)
        if record.init is not None:
            await _kill_namespace(record)
        seen.add(record.leader)
    left = await end_all(lambda: _theirs(root, seen), KILL_WITHIN_S)
    if left:
        pids = sorted(process.pid for process in left)
        raise RunnerError(
            f"Processes of the sandbox {root.name} do not end: {pids[:10]}",
            hint="They may wait for a disk or be another user's; end them and try again.",
        )


async def end_orphans(
    roots: Path, recorded: Sequence[Record], known: Mapping[Handle, Record]
) -> set[Handle]:
    """End all that runs of the sandboxes in `roots` and is not `known`; their handles."""
    ended: set[Handle] = set()
    spared = {process for record in known.values() for process in record.processes}
    for record in recorded:
        alive = [process for process in record.processes if is_alive(process)]
        if alive and spared.isdisjoint(alive):
            await end_sandbox(roots / record.handle, record, grace_s=ORPHAN_GRACE_S)
            ended.add(record.handle)

    def orphans() -> set[ProcessId]:
        table = process_table()
        found: set[ProcessId] = set()
        ties = {**tied_to(roots, table), **bubblewraps_of(roots, table)}
        for process, name in ties.items():
            if name and name not in known and process not in spared:
                found.add(process)
                ended.add(Handle(name))
        return found

    left = await end_all(orphans, KILL_WITHIN_S)
    if left:
        pids = sorted(process.pid for process in left)
        raise RunnerError(f"Orphaned processes do not end: {pids[:10]}")
    return ended


async def _ask(record: Record, grace_s: float) -> set[ProcessId]:
    """Tell the daemon to end, and wait; all that was below it meanwhile."""
    table = await anyio.to_thread.run_sync(process_table)
    daemon = daemon_of(record, table)
    if daemon is None or not is_alive(daemon):
        return set()
    seen = descendants(table, [daemon.pid])
    send(daemon, SIGTERM)
    deadline = time.monotonic() + grace_s
    while not await wait_ended(daemon, min(_LOOK_EVERY_S, grace_s)):
        if time.monotonic() > deadline:
            break
        if record.init is None:
            table = await anyio.to_thread.run_sync(process_table)
            seen |= descendants(table, [daemon.pid])
    return seen if record.init is None else set()


async def _kill_namespace(record: Record) -> None:
    """Kill the namespace's init, and the kernel kills all in it before that is gone."""
    assert record.init is not None
    send(record.init, SIGKILL)
    gone = await wait_ended(record.init, KILL_WITHIN_S)
    if not await wait_ended(record.leader, 2.0):
        send(record.leader, SIGKILL)
    if not gone:
        raise RunnerError(
            f"The sandbox {record.handle} does not end: process {record.init.pid} stays",
            hint="It may wait for a disk that does not answer; try again.",
        )


def _theirs(root: Path, seen: set[ProcessId]) -> set[ProcessId]:
    table = process_table()
    alive = {row.id for row in table.values() if not row.dead}
    below = descendants(table, [process.pid for process in seen & alive])
    return (seen & alive) | below | set(tied_to(root, table))


def daemon_of(record: Record, table: Mapping[int, Process]) -> ProcessId | None:
    """The daemon itself: what we started, or in a namespace what its init starts first (pid 2)."""
    if record.init is None:
        return record.leader
    for row in table.values():
        if row.parent == record.init.pid and _pid_inside(row.id.pid) == 2:
            return row.id
    return None


def _pid_inside(pid: int) -> int | None:
    with contextlib.suppress(OSError):  # it may have ended meanwhile
        for line in (PROC / str(pid) / "status").read_text().splitlines():
            if line.startswith("NSpid:"):
                return int(line.split()[-1])
    return None
