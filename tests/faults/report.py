"""`make faults-main`: runs every case marked `fault`; its last line has counts and seed."""

import os
import sys
import time

import pytest


class Counts:
    """How many cases held, failed or were skipped, and why skipped."""

    def __init__(self) -> None:
        self.held = self.failed = 0
        self.skipped: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.skipped:
            reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else ""
            self.skipped.append(f"{report.nodeid}: {reason}")
        elif report.failed:
            self.failed += 1
        elif report.when == "call":
            self.held += 1


def main() -> int:
    """pytest's exit code; the last line tells the counts and the seed that replays them."""
    seed = os.environ.setdefault("SEED", str(int(time.time())))
    counts = Counts()
    started = time.monotonic()
    code = pytest.main(["-m", "fault", "-p", "no:cacheprovider", *sys.argv[1:]], plugins=[counts])
    for line in counts.skipped:
        print(f"skipped: {line}")
    total = counts.held + counts.failed + len(counts.skipped)
    print(
        f"faults-main: {total} cases, {counts.held} held, {counts.failed} failed,"
        f" {len(counts.skipped)} skipped, {time.monotonic() - started:.0f} s, seed {seed}"
    )
    return int(code)


if __name__ == "__main__":
    sys.exit(main())
