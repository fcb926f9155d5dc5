"""`python -m bench.snapshots`: measure, print, write JSON, text and pictures."""

import argparse
import contextlib
import os
import platform
import shutil
import signal
import sys
import tempfile
from functools import partial
from pathlib import Path

from bench.snapshots import workspaces
from bench.snapshots.cases import COLD, FIRST, Comparison
from bench.snapshots.measuring import Case, seconds, warm_memory
from bench.snapshots.memory import peaks
from bench.snapshots.ours import Limpet
from bench.snapshots.report import RESTIC, TAR, ZSTD, Measured, lines, write
from bench.snapshots.sandboxes import begin_many
from bench.snapshots.slow_disk import CannotLimitError, forget, reads_limited
from bench.snapshots.tools import PEERS, Floor, Tar, Tool
from bench.snapshots.whole import whole_way

HERE = Path(__file__).resolve().parent
GROWTH = ("tiny", "few", "many")
PARTS = ("peers", "whole", "growth", "memory", "sandboxes")
NEEDS_BYTES = 12 << 30


def options() -> argparse.Namespace:
    """What was asked for."""
    asked = argparse.ArgumentParser(prog="make bench", description=__doc__)
    asked.add_argument("--rounds", type=int, default=5, help="rounds of the comparison (5)")
    asked.add_argument(
        "--workspace", choices=workspaces.KINDS, default="npm", help="what is compared (npm)"
    )
    asked.add_argument(
        "--only", action="append", choices=PARTS, help="a part alone; may be given again"
    )
    asked.add_argument("--disk", type=Path, help="also once in this folder of a disk, beside tar")
    asked.add_argument(
        "--disk-mb-s", type=int, default=125,
        help="how fast that disk may read when it stands for a cloud's volume (125)",
    )  # fmt: skip
    asked.add_argument("--scratch", type=Path, default=Path("/dev/shm"), help="a tmpfs (/dev/shm)")
    asked.add_argument("--sandboxes", type=int, default=1000, help="how many begin (1000)")
    asked.add_argument("--results", type=Path, default=HERE.parent / "results" / "snapshots.json")
    asked.add_argument("--images", type=Path, default=HERE.parents[1] / "docs" / "images")
    return asked.parse_args()


def _memory_gb() -> float:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9


def tell(what: str) -> None:
    """Progress, on a terminal's one line."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{what}", end="", file=sys.stderr, flush=True)


def main() -> int:
    """Measure what was asked for; 0 also when a bar was not reached."""
    asked = options()
    # Asked to end, it still ends its servers and deletes its gigabytes.
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
    free = shutil.disk_usage(asked.scratch).free
    if free < NEEDS_BYTES and asked.workspace != "tiny":
        print(f"{asked.scratch} has {free / 1e9:.0f} GB free; 12 are needed (--scratch FOLDER)")
        return 2
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "limpet-bench"
    cache.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix="limpet-bench-", dir=asked.scratch))
    try:
        found = measure(asked, cache, scratch)
    finally:
        tell("")
        shutil.rmtree(scratch, ignore_errors=True)
    print("\n".join(lines(found)))
    for path in write(found, asked.results, asked.images):
        print(f"wrote {path}")
    return 0


def measure(asked: argparse.Namespace, cache: Path, scratch: Path) -> Measured:
    """All parts that were asked for."""
    parts = asked.only or PARTS
    load = " ".join(f"{one:.2f}" for one in os.getloadavg())
    found = Measured(
        f"{os.cpu_count()} cores, {_memory_gb():.0f} GB, Linux {platform.release()}, "
        f"Python {platform.python_version()}, load at start {load}, {asked.rounds} rounds"
    )
    tools: list[Tool] = []
    for tool in PEERS:
        version = tool.version()
        found.versions[tool.name] = version or f"not here: apt-get install {tool.packages}"
        if version is not None:
            tools.append(tool)
    floor = Floor(scratch) if shutil.which("cc") else None
    if floor is None:
        found.versions["C"] = "no compiler: apt-get install gcc libc6-dev"
    tell("making the workspace")
    main_one = workspaces.make(asked.workspace, scratch / "workspace", cache)
    found.workspaces[asked.workspace] = str(main_one)
    if "peers" in parts:
        comparison = Comparison(main_one, scratch, tools, floor, tell)
        for number in range(asked.rounds):
            comparison.round(number)
        found.cases[asked.workspace] = comparison.cases
        found.changed_bytes = comparison.changed_bytes
    if "whole" in parts:
        whole = whole_way(main_one, scratch, max(1, asked.rounds // 2), tell)
        mine = found.cases.setdefault(asked.workspace, whole)
        for name, case in whole.items():
            for tool_name, times in case.times.items():
                mine[name].times[tool_name] = times
            mine[name].stored.update(case.stored)
            mine[name].notes.update(case.notes)
    if "sandboxes" in parts:
        tell(f"{asked.sandboxes} sandboxes")
        found.sandboxes = begin_many(main_one.folder, _fresh(scratch, "many"), asked.sandboxes)
    if "memory" in parts:
        tell("memory")
        found.memory[asked.workspace] = peaks(main_one.folder, _fresh(scratch, "memory"))
        shutil.rmtree(scratch / "memory")
    if asked.disk is not None:
        found.disk = on_disk(asked, main_one)
        found.volume_mb_s = asked.disk_mb_s
        try:
            found.volume = from_volume(asked, main_one, tools)
        except CannotLimitError as error:
            found.not_measured.append(f"a disk that reads {asked.disk_mb_s} MB/s: {error}")
    shutil.rmtree(main_one.folder)
    if "growth" in parts and asked.workspace == "npm":
        for name in GROWTH:
            _growth(asked, name, cache, scratch, found, parts)
    return found


def _growth(
    asked: argparse.Namespace,
    name: str,
    cache: Path,
    scratch: Path,
    found: Measured,
    parts: "tuple[str, ...] | list[str]",
) -> None:
    tell(f"making the workspace {name}")
    one = workspaces.make(name, scratch / name, cache)
    found.workspaces[name] = str(one)
    comparison = Comparison(one, scratch, [Tar(compressed=False)], None, tell)
    for number in range(min(3, asked.rounds)):
        comparison.round(number)
    found.cases[name] = comparison.cases
    if "memory" in parts:
        found.memory[name] = peaks(one.folder, _fresh(scratch, f"memory-{name}"))
        shutil.rmtree(scratch / f"memory-{name}")
    shutil.rmtree(one.folder)


def _fresh(scratch: Path, name: str) -> Path:
    (scratch / name).mkdir()
    return scratch / name


def on_disk(asked: argparse.Namespace, workspace: workspaces.Workspace) -> dict[str, Case]:
    """First save and restore, ours and tar's in turns, each until the disk has it."""
    folder = Path(tempfile.mkdtemp(prefix="limpet-bench-", dir=asked.disk))
    cases = {name: Case(name) for name in (FIRST, COLD)}
    try:
        for number in range(min(3, asked.rounds)):
            with contextlib.closing(Limpet()) as ours:
                every: list[Tool] = [ours, Tar(compressed=False)]
                for tool in every if number % 2 else every[::-1]:
                    tell(f"on the disk: {tool.name}")
                    state = folder / f"{tool.name}-{number}".replace(" ", "-")
                    into = folder / f"{tool.name}-{number}-into".replace(" ", "-")
                    tool.prepare(state)
                    warm_memory(asked.scratch, workspace.bytes)
                    os.sync()
                    took = seconds(partial(tool.save, workspace.folder, state), os.sync)
                    cases[FIRST].add(tool.name, took)
                    warm_memory(asked.scratch, workspace.bytes)
                    took = seconds(partial(tool.restore, state, into), os.sync)
                    cases[COLD].add(tool.name, took)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    assert cases[FIRST].has(TAR)
    return cases


def from_volume(
    asked: argparse.Namespace, workspace: workspaces.Workspace, tools: list[Tool]
) -> dict[str, Case]:
    """Restores from a disk as slow as a cloud's, of which nothing is in memory, in turns.

    Raises `CannotLimitError` where no disk can be made slow.
    """
    folder = Path(tempfile.mkdtemp(prefix="limpet-bench-", dir=asked.disk))
    case = Case(COLD)
    peers = [tool for tool in tools if tool.name in {TAR, ZSTD, RESTIC}]
    limit = partial(reads_limited, folder, asked.disk_mb_s * 1_000_000)
    try:
        with limit():
            pass  # where that cannot be, nothing is saved in vain
        for number in range(min(3, asked.rounds)):
            with contextlib.closing(Limpet()) as ours:
                every: list[Tool] = [ours, *peers]
                for tool in every if number % 2 else every[::-1]:
                    tell(f"from a slow disk: {tool.name}")
                    state = folder / f"{tool.name}-{number}".replace(" ", "-").replace("|", "-")
                    tool.prepare(state)
                    tool.save(workspace.folder, state)
                    forget(folder)
                    warm_memory(asked.scratch, workspace.bytes)
                    into = state.with_name(state.name + "-into")
                    with limit():
                        case.add(tool.name, seconds(partial(tool.restore, state, into)))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return {COLD: case}


if __name__ == "__main__":
    sys.exit(main())
