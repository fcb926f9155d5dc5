"""`make runners`: every behaviour of every runner; the last line counts them.

The machine's own process table, network and engine are the tests' ground, so they run one after
the other, in one process.
"""

import re
import sys
import time
from collections import Counter

import pytest

PLACES = {"none": "host", "bubblewrap": "host with bubblewrap", "docker": "docker"}
OUTCOMES = ("passed", "failed", "skipped")


class CountsByPlace:
    """What became of each test, by the place that it ran in."""

    def __init__(self) -> None:
        self.counts: Counter[tuple[str, str]] = Counter()
        self.reasons: Counter[str] = Counter()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.skipped:
            reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else ""
            self.reasons[reason.removeprefix("Skipped: ")] += 1
            self.counts[place_of(report), "skipped"] += 1
        elif report.failed:
            self.counts[place_of(report), "failed"] += 1
        elif report.when == "call":
            self.counts[place_of(report), "passed"] += 1

    def of(self, outcome: str) -> int:
        """How many ended so."""
        return sum(count for (_, ended), count in self.counts.items() if ended == outcome)


def place_of(report: pytest.TestReport) -> str:
    """Where a test ran: what its parameters say, else its marker."""
    parameters = re.findall(r"[a-z0-9_]+", report.nodeid.partition("[")[2])
    for name, place in PLACES.items():
        if name in parameters:
            return place
    if "docker" in report.keywords or "test_docker_path" in report.nodeid:
        return "docker"
    return "parts"


def main() -> int:
    """pytest's exit code."""
    started = time.monotonic()
    counted = CountsByPlace()
    arguments = ["-p", "no:cacheprovider", "--timeout=1500", "tests/runners", *sys.argv[1:]]
    code = int(pytest.main(arguments, plugins=[counted]))
    for reason, count in counted.reasons.items():
        say(f"skipped {count}: {reason}")
    for place in (*PLACES.values(), "parts"):
        told = ", ".join(f"{counted.counts[place, outcome]} {outcome}" for outcome in OUTCOMES)
        say(f"{place}: {told}")
    total = ", ".join(f"{counted.of(outcome)} {outcome}" for outcome in OUTCOMES)
    say(f"runners: {total}, {time.monotonic() - started:.0f} s")
    return code


def say(text: str) -> None:
    sys.stdout.write(text + "\n")


if __name__ == "__main__":
    sys.exit(main())
