"""How much of the machine one sandbox may take: by control groups where we may make them.

Both versions of them are used as they are found (cgroups(7)): version 2 in a folder whose
controllers are handed down and which we may write, version 1 controller by controller.
"""

import contextlib
import errno
import os
import re
import resource
import shutil
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, Self

from limpet.ids import Handle
from limpet.runners.processes import ProcessId

Controller = Literal["memory", "pids", "cpu"]

CPU_PERIOD_US: Final = 100_000
CPU_SHARE: Final = 0.5
"""Of what the control plane weighs, when both want the processor."""
FIRST_TO_DIE: Final = 200
"""The `oom_score_adj` of sandboxes: when the machine runs out of memory, one of them goes first."""
REMOVED_WITHIN_S: Final = 5.0
_CONTROLLERS: Final[tuple[Controller, ...]] = ("memory", "pids", "cpu")


@dataclass(frozen=True, slots=True)
class Limits:
    """What one sandbox may take at most; None: no limit. Sizes are bytes.

    `file_bytes` is of one file: most machines offer no quota for a folder.
    """

    memory_bytes: int | None = None
    pids: int | None = None
    cpus: float | None = None
    file_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class _Place:
    """A folder of control groups that we may write, and what it controls."""

    folder: Path
    version: Literal[1, 2]
    controllers: tuple[Controller, ...]


class Limiter:
    """Applies `limits` to sandboxes. `group` is a folder name of its own for this data folder."""

    def __init__(self, limits: Limits, group: str, places: Iterable[_Place]) -> None:
        self._limits = limits
        self._group = group
        self._places = tuple(places)

    @classmethod
    def here(cls, limits: Limits, data_dir: Path) -> Self:
        """With the control groups of this machine that can be used, found out by trying."""
        group = "limpet-" + re.sub(r"[^a-z0-9]", "-", str(data_dir).lower()).strip("-")[-100:]
        return cls(limits, group, [place for place in _places() if _works(place, group)])

    @property
    def missing(self) -> tuple[str, ...]:
        """Which limits cannot be kept on this machine, a line each."""
        had = {name for place in self._places for name in place.controllers}
        lines = []
        if self._limits.memory_bytes is not None and "memory" not in had:
            lines.append("a limit on memory: no control group that we may write")
        if self._limits.pids is not None and "pids" not in had and os.geteuid() == 0:
            lines.append("a limit on processes: no control group, and rlimits do not bind root")
        if self._limits.cpus is not None and "cpu" not in had:
            lines.append("a limit on processors: no control group that we may write")
        lines.append(
            "a limit on disk: folders have no quota, so that a sandbox can fill the disk that the"
            " data folder lies on; give it a volume of its own"
        )
        return tuple(lines)

    @property
    def kept(self) -> tuple[str, ...]:
        """Which limits are kept, and by what, a line each."""
        by = {name: place.version for place in self._places for name in place.controllers}
        limits = self._limits
        wanted: dict[Controller, float | None] = {
            "memory": limits.memory_bytes, "pids": limits.pids, "cpu": limits.cpus,
        }  # fmt: skip
        lines = [
            f"{name}: {wanted[name]:,} (control groups, version {by[name]})"
            for name in _CONTROLLERS
            if wanted[name] is not None and name in by
        ]
        if limits.pids is not None and "pids" not in by and os.geteuid() != 0:
            lines.append(f"pids: {limits.pids:,} (rlimit)")
        if limits.file_bytes is not None:
            lines.append(f"bytes of one file: {limits.file_bytes:,} (rlimit)")
        return tuple(lines)

    def apply(self, handle: Handle, processes: Iterable[ProcessId]) -> None:
        """Bind the processes, which have not begun yet, and all that will come of them. Blocks."""
        processes = tuple(processes)
        for place in self._places:
            folder = place.folder / self._group / handle
            with contextlib.suppress(FileExistsError):
                folder.mkdir(parents=True)
            if place.version == 2:
                _hand_down(place.folder / self._group, place.controllers)
            for file, value in _values(place, self._limits):
                _write(folder / file, value)
            for process in processes:
                _write(folder / "cgroup.procs", str(process.pid))
        for process in processes:
            self._apply_rlimits(process.pid)

    def release(self, handle: Handle) -> None:
        """Take the groups of a sandbox that has ended away. Blocks."""
        for place in self._places:
            _remove(place.folder / self._group / handle)
            _removed(place.folder / self._group)

    def sweep(self, known: Iterable[Handle]) -> None:
        """Take the groups away that no known sandbox has. Blocks."""
        kept = set(known)
        for place in self._places:
            group = place.folder / self._group
            for folder in sorted(group.iterdir()) if group.is_dir() else ():
                if folder.is_dir() and folder.name not in kept:
                    _remove(folder)

    def _apply_rlimits(self, pid: int) -> None:
        wanted = {resource.RLIMIT_CORE: 0}
        if self._limits.pids is not None:
            wanted[resource.RLIMIT_NPROC] = self._limits.pids
        if self._limits.file_bytes is not None:
            wanted[resource.RLIMIT_FSIZE] = self._limits.file_bytes
        with contextlib.suppress(ProcessLookupError):
            for name, value in wanted.items():
                hard = resource.prlimit(pid, name)[1]
                most = value if hard == resource.RLIM_INFINITY else min(value, hard)
                resource.prlimit(pid, name, (most, most))
        with contextlib.suppress(OSError):  # where /proc/PID is another user's
            Path(f"/proc/{pid}/oom_score_adj").write_text(str(FIRST_TO_DIE))


def _places() -> Iterable[_Place]:
    """The folders of control groups that this process is in, by what is mounted."""
    own = _own_groups()
    for mount, kind, options in _mounts():
        if kind == "cgroup2":
            yield from _handed_down(mount, own.get("", "/"))
        controllers = tuple(name for name in _CONTROLLERS if name in options)
        if kind == "cgroup" and controllers:
            below = mount / own.get(controllers[0], "/").lstrip("/")
            yield _Place(below if below.is_dir() else mount, 1, controllers)


def _handed_down(mount: Path, own: str) -> Iterable[_Place]:
    """The nearest folder, from our own upwards, whose folders get controllers."""
    folder = mount / own.lstrip("/")
    for place in (folder, *folder.parents):
        if place != mount and mount not in place.parents:
            return
        with contextlib.suppress(OSError):
            handed = (place / "cgroup.subtree_control").read_text().split()
            controllers = tuple(name for name in _CONTROLLERS if name in handed)
            if controllers and os.access(place, os.W_OK):
                yield _Place(place, 2, controllers)
                return


def _own_groups() -> dict[str, str]:
    """This process' group by controller; by an empty name for version 2."""
    found = {}
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            _, names, path = line.split(":", 2)
            for name in names.split(","):
                found[name] = path
    return found


def _mounts() -> Iterable[tuple[Path, str, set[str]]]:
    """Where control groups are mounted, which version, and with what options (proc(5))."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/mountinfo").read_text().splitlines():
            before, _, after = line.partition(" - ")
            kind, _, options = after.split(" ", 2)
            if kind in {"cgroup", "cgroup2"}:
                yield Path(before.split()[4]), kind, set(options.split(","))


def _works(place: _Place, group: str) -> bool:
    """Whether a group can be made there, bound, and given a process."""
    probe = place.folder / group / f".probe-{os.getpid()}"
    try:
        probe.mkdir(parents=True)
        if place.version == 2:
            _hand_down(place.folder / group, place.controllers)
        for file, value in _values(place, Limits(1 << 40, 4096, 1.0)):
            _write(probe / file, value)
        _enter_and_leave(probe)
    except OSError:
        return False
    finally:
        _remove(probe)
        _removed(probe.parent)
    return True


def _enter_and_leave(probe: Path) -> None:
    """Move a child there: to make a folder and to move a process are two rights."""
    pid = os.posix_spawn(shutil.which("sleep") or "sleep", ["sleep", "60"], {})
    try:
        _write(probe / "cgroup.procs", str(pid))
    finally:
        os.kill(pid, 9)
        os.waitpid(pid, 0)


def _hand_down(group: Path, controllers: Iterable[str]) -> None:
    _write(group / "cgroup.subtree_control", " ".join(f"+{name}" for name in controllers))


def _values(place: _Place, limits: Limits) -> Iterable[tuple[str, str]]:
    """The files of a group and what goes into them, by the version's names."""
    if "memory" in place.controllers and limits.memory_bytes is not None:
        yield {1: "memory.limit_in_bytes", 2: "memory.max"}[place.version], str(limits.memory_bytes)
    if "pids" in place.controllers and limits.pids is not None:
        yield "pids.max", str(limits.pids)
    if "cpu" not in place.controllers:
        return
    if place.version == 1:
        yield "cpu.shares", str(round(1024 * CPU_SHARE))
    else:
        yield "cpu.weight", str(round(100 * CPU_SHARE))
    if limits.cpus is not None:
        quota = round(limits.cpus * CPU_PERIOD_US)
        if place.version == 1:
            yield "cpu.cfs_period_us", str(CPU_PERIOD_US)
            yield "cpu.cfs_quota_us", str(quota)
        else:
            yield "cpu.max", f"{quota} {CPU_PERIOD_US}"


def _write(file: Path, value: str) -> None:
    descriptor = os.open(file, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, value.encode())
    finally:
        os.close(descriptor)


def _remove(folder: Path) -> None:
    """A group can be removed when the last process in it is wholly gone, a moment after its end."""
    _until(lambda: _removed(folder), REMOVED_WITHIN_S)


def _removed(folder: Path) -> bool:
    try:
        folder.rmdir()
    except OSError as error:
        return error.errno != errno.EBUSY
    return True


def _until(done: Callable[[], bool], within_s: float) -> None:
    deadline = time.monotonic() + within_s
    pause_s = 0.001
    while not done() and time.monotonic() < deadline:
        time.sleep(pause_s)
        pause_s = min(2 * pause_s, 0.1)
