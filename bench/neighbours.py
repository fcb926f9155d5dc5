"""`make bench-neighbours`: one sandbox does its worst, and another's preview is timed meanwhile.

The whole way: a real server, two sandboxes of it, the preview through its host name. Each attack is
a line of figures beside the one of a quiet neighbour. The data folder lies on a small memory file
system where this machine allows it, so that a full disk is one.
"""

import argparse
import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.gitserver import GitServer
from tests.live import QUIET_SAVER, REPOSITORY, LiveLimpet, poll_until

RESULT: Final = REPOSITORY / "bench" / "results" / "neighbours.txt"
DISK_BYTES: Final = 768 << 20
BAR_MS: Final = 250.0
"""Ninety-nine of a hundred answers of the neighbour's preview, whatever goes on beside it."""
LIMITS: Final = {
    "LIMPET_SANDBOX_MEMORY_BYTES": str(512 << 20),
    "LIMPET_SANDBOX_PIDS": "512",
    "LIMPET_SANDBOX_CPUS": "1",
}
THIEF: Final = """
import socket, resource, threading
resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
held = []
for port in range(1024, 65536):
    try:
        held.append(socket.create_server(("127.0.0.1", port)))
    except OSError:
        pass
print("holds", len(held), flush=True)
def knock():
    while True:
        for port in range(1024, 65536, 7):
            try:
                socket.create_connection(("10.0.0.1", port), timeout=0.01).close()
            except OSError:
                pass
for _ in range(16):
    threading.Thread(target=knock).start()
"""
ATTACKS: Final = {
    "nothing": "true",
    "a fork bomb": "python3 -c 'import os\nwhile True:\n  try: os.fork()\n  except OSError: pass'",
    "a memory hog": "while :; do python3 -c 'k = []\nwhile True: k.append(bytearray(1 << 24))';"
    " done",
    "a busy processor": "for n in 1 2 3 4 5 6 7 8; do yes > /dev/null & done; wait",
    "a full disk": "n=0; while :; do n=$((n + 1)); head -c 64M /dev/zero > fill$n || sleep 0.1;"
    " done",
    "a port thief": f"cat > thief.py << 'EOF'\n{THIEF}\nEOF\npython3 thief.py",
}


@dataclass(frozen=True, slots=True)
class Figures:
    """Answers of the neighbour's preview, in milliseconds, and how many failed."""

    what: str
    times_ms: list[float]
    failed: int
    stopped_s: float

    @property
    def late_ms(self) -> float:
        """What ninety-nine of a hundred did not exceed."""
        return statistics.quantiles(self.times_ms, n=100)[98]

    @property
    def reached(self) -> bool:
        """Whether the bar was."""
        return not self.failed and self.late_ms <= BAR_MS

    def line(self) -> str:
        """One row of the table."""
        return (
            f"  {self.what:18} median {statistics.median(self.times_ms):6.1f} ms"
            f"   99 % {self.late_ms:6.1f} ms   most {max(self.times_ms):6.1f} ms"
            f"   {len(self.times_ms)} answers, {self.failed} failed"
            f"   stopped in {self.stopped_s:4.1f} s   {'yes' if self.reached else 'NO'}"
        )


@contextlib.contextmanager
def small_disk() -> Iterator[tuple[Path, bool]]:
    """A folder for data, and whether it is a disk of its own that may be filled."""
    with tempfile.TemporaryDirectory(prefix="limpet-neighbours-") as made:
        folder = Path(made)
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", folder],
            check=False, capture_output=True,
        ).returncode == 0  # fmt: skip
        try:
            yield folder, mounted
        finally:
            if mounted:
                subprocess.run(["umount", "-l", folder], check=True)


def site(live: LiveLimpet, url: str, title: str) -> tuple[str, str]:
    """An agent whose preview is up; its id and its sandbox's handle."""
    agent: str = live.api("POST", "/agents", {"title": title, "clone_url": url})["id"]
    live.cli("start", agent)
    return agent, str(live.wait_phase(agent, "running")["handle"])


def watched(
    live: LiveLimpet, what: str, attack: str, url: str, handle: str, for_s: float
) -> Figures:
    """Attack from a fresh sandbox, and time the neighbour for so long."""
    agent, own = site(live, url, what)
    attacker = subprocess.Popen(
        [sys.executable, "-m", "limpet.cli", "exec", agent, "--", "bash", "-c", attack],
        env=live.full_environ(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        times, failed = timed(live, handle, for_s)
    finally:
        began = time.monotonic()
        live.cli("stop", agent, "--force")
        stopped_s = time.monotonic() - began
        attacker.kill()
        attacker.wait()
    subprocess.run(["rm", "-rf", live.root_of(own)], check=True)
    return Figures(what, times, failed, stopped_s)


def timed(live: LiveLimpet, handle: str, for_s: float) -> tuple[list[float], int]:
    """The preview's answers, one after the other with a breath between."""
    times: list[float] = []
    failed = 0
    end = time.monotonic() + for_s
    while time.monotonic() < end:
        began = time.perf_counter()
        answer = live.preview(handle)
        times.append((time.perf_counter() - began) * 1000)
        failed += answer.status != 200 or b"still here" not in answer.data
        time.sleep(0.01)
    return times, failed


def main() -> int:
    """0 when every bar was reached."""
    parser = argparse.ArgumentParser(prog="python -m bench.neighbours", description=__doc__)
    parser.add_argument("--seconds", type=float, default=15.0, help="of each attack")
    parser.add_argument("--keep", action="store_true", help=f"write {RESULT.name}")
    asked = parser.parse_args()
    head = f"another sandbox's preview meanwhile; load {os.getloadavg()[0]:.1f} on"
    head += f" {os.cpu_count()} processors; bar: 99 % within {BAR_MS:g} ms, none failed"
    lines = [head]
    print(lines[0], flush=True)
    figures = []
    with small_disk() as (folder, own_disk), GitServer.start(folder / "git") as git:
        url = git.add_repository("site", {"index.html": "<body><h1>still here</h1></body>"})
        live = LiveLimpet(folder / "data", {**QUIET_SAVER, **LIMITS, **git.environ})
        with live:
            isolation = live.system()["isolation"]
            lines += [f"  limit: {line}" for line in isolation["limits"]]
            lines += [f"  missing: {line}" for line in isolation["missing"]]
            _, handle = site(live, url, "The neighbour")
            poll_until("its preview", lambda: live.preview(handle).status == 200)
            for what, attack in ATTACKS.items():
                if what == "a full disk" and not own_disk:
                    print("  a full disk: not tried, no disk of its own can be had here")
                    continue
                figures.append(watched(live, what, attack, url, handle, asked.seconds))
                print(figures[-1].line(), flush=True)
                lines.append(figures[-1].line())
    if asked.keep:
        RESULT.write_text("\n".join(lines) + "\n")
    return 0 if all(one.reached for one in figures) else 1


if __name__ == "__main__":
    sys.exit(main())
