"""`make bench-daemon`: from exec to `/health` 200, and what an idle daemon holds, with their bars.

A start is counted as processor time too, user and system of all its threads: on a machine that
others share the wall tells of them. Bytecode is there, as an installed package's is.
"""

import argparse
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

RESULT: Final = Path(__file__).parent.parent / "results" / "daemon.txt"
TEMPLATE: Final = Path(__file__).parents[2] / "templates" / "webapp"
START_BAR_MS: Final = 300
MEMORY_BAR_MB: Final = 60
FILES: Final = 50_000
FILES_A_FOLDER: Final = 50
QUIET_S: Final = 0.5


@dataclass(frozen=True, slots=True)
class Run:
    """One daemon: milliseconds to its first answer, megabytes when it had come to rest."""

    cpu_ms: float
    wall_ms: float
    rss_mb: float
    pss_mb: float
    bare_ms: float
    """What a Python that does no more than import asyncio took, right before."""


def template(workspace: Path) -> None:
    """The bundled template, as a sandbox has it."""
    repo = workspace / "repo"
    shutil.copytree(TEMPLATE, repo, ignore=shutil.ignore_patterns("node_modules"))
    who = ["-c", "user.name=bench", "-c", "user.email=bench@example.invalid"]
    for words in (["init", "-q"], ["add", "."], [*who, "commit", "-qm", "template"]):
        subprocess.run(["git", *words], cwd=repo, check=True, stdout=subprocess.DEVNULL)


def many_files(workspace: Path) -> None:
    """Fifty thousand small files in a thousand folders, all of them watched."""
    for number in range(FILES // FILES_A_FOLDER):
        folder = workspace / "repo" / "src" / f"part{number // 40}" / f"folder{number}"
        folder.mkdir(parents=True)
        for name in range(FILES_A_FOLDER):
            (folder / f"module{name}.ts").write_text(f"export const n = {number * name}\n")


def one(workspace: Path, bytecode: Path) -> Run:
    """Start a daemon on the workspace, let it come to rest, end it."""
    bare_ms = _bare_ms()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        begun_s = time.perf_counter()
        daemon = subprocess.Popen(
            [sys.executable, "-m", "limpet.daemon"],
            env={
                "PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"),
                "PYTHONPYCACHEPREFIX": str(bytecode), "DAEMON_TOKEN": "bench" * 8,
                "APP_ROOT": str(workspace), "DAEMON_LISTEN_FD": str(listener.fileno()),
            },
            pass_fds=[listener.fileno()], stderr=subprocess.DEVNULL, cwd="/",
        )  # fmt: skip
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=120) as answer:
            assert answer.status == 200
        wall_ms = (time.perf_counter() - begun_s) * 1000
        cpu_ms = _cpu_ns(daemon.pid) / 1e6
        _come_to_rest(daemon.pid)
        rss_mb, pss_mb = _memory_mb(daemon.pid)
    finally:
        daemon.terminate()
        daemon.wait(60)
    return Run(cpu_ms, wall_ms, rss_mb, pss_mb, bare_ms)


def _bare_ms() -> float:
    process = subprocess.Popen([sys.executable, "-c", "import asyncio"])
    _, _, used = os.wait4(process.pid, 0)
    process.returncode = 0
    return (used.ru_utime + used.ru_stime) * 1000


def _cpu_ns(pid: int) -> int:
    """What all threads that live have run for; the kernel counts it in nanoseconds."""
    spent = 0
    for thread in Path(f"/proc/{pid}/task").iterdir():
        spent += int((thread / "schedstat").read_text().split()[0])
    return spent


def _come_to_rest(pid: int) -> None:
    before = -1
    while (now := _cpu_ns(pid)) != before:
        before = now
        time.sleep(QUIET_S)


def _memory_mb(pid: int) -> tuple[float, float]:
    """Resident set and its proportional share (NaN where we may not see it), in MB."""
    status = Path(f"/proc/{pid}/status").read_text()
    rss = next(line for line in status.splitlines() if line.startswith("VmRSS:"))
    try:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except PermissionError:
        return int(rss.split()[1]) * 1024 / 1e6, float("nan")
    pss = next(line for line in rollup.splitlines() if line.startswith("Pss:"))
    return int(rss.split()[1]) * 1024 / 1e6, int(pss.split()[1]) * 1024 / 1e6


def measured(name: str, make: Callable[[Path], None], runs: int, bytecode: Path) -> list[str]:
    """The lines of one workspace."""
    with tempfile.TemporaryDirectory(prefix="limpet-bench-daemon-") as folder:
        workspace = Path(folder) / "workspace"
        workspace.mkdir()
        make(workspace)
        one(workspace, bytecode)  # writes the bytecode, fills the page cache
        found = [one(workspace, bytecode) for _ in range(runs)]
    lines = [name]
    for label, unit, bar, values in (
        ("start, processor time", "ms", START_BAR_MS, [run.cpu_ms for run in found]),
        ("start, wall", "ms", None, [run.wall_ms for run in found]),
        ("idle, resident (RSS)", "MB", MEMORY_BAR_MB, [run.rss_mb for run in found]),
        ("idle, its share (PSS)", "MB", MEMORY_BAR_MB, [run.pss_mb for run in found]),
    ):
        median = statistics.median(values)
        told = f"  {label:24}{median:8.1f} {unit}  ({min(values):.1f} to {max(values):.1f})"
        if bar is not None:
            told += f"   bar {bar} {unit}: {'reached' if median < bar else 'MISSED'}"
        lines.append(told)
    ratio = statistics.median(run.cpu_ms / run.bare_ms for run in found)
    lines.append(f"  start, beside a bare `python -c 'import asyncio'`: x {ratio:.2f}")
    return lines


def main() -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=11)
    parser.add_argument("--keep", action="store_true", help="write bench/results/daemon.txt anew")
    asked = parser.parse_args()
    busy = f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
    lines = [f"The daemon alone, medians of {asked.runs} starts (least to most); {busy}"]
    with tempfile.TemporaryDirectory(prefix="limpet-bench-bytecode-") as bytecode:
        for name, make in (
            ("a workspace of the template", template),
            (f"a workspace of {FILES:,} files", many_files),
        ):
            lines += ["", *measured(name, make, asked.runs, Path(bytecode))]
    print("\n".join(lines))
    if asked.keep:
        RESULT.write_text("\n".join(lines) + "\n")
    if any("MISSED" in line for line in lines):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
