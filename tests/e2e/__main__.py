"""`make e2e`: all that is tried in a real browser, then what it found; the last line counts it.

Pictures of the pages and the findings lie in `artefacts/e2e`.
"""

import statistics
import sys
import time
from collections import Counter

import pytest

from tests.e2e.budget import DIST, MOST_BYTES, USABLE_MS, first_scripts
from tests.e2e.findings import ARTEFACTS, begin, noted

OUTCOMES = ("passed", "failed", "skipped")


class Counts:
    """What became of each test, and why some were left out."""

    def __init__(self) -> None:
        self.outcomes: Counter[str] = Counter()
        self.reasons: Counter[str] = Counter()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.skipped:
            reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else ""
            self.reasons[reason.removeprefix("Skipped: ")] += 1
            self.outcomes["skipped"] += 1
        elif report.failed:
            self.outcomes["failed"] += 1
        elif report.when == "call":
            self.outcomes["passed"] += 1


def main() -> int:
    """pytest's exit code."""
    started = time.monotonic()
    counted = Counts()
    begin()
    code = int(
        pytest.main(["-p", "no:cacheprovider", "tests/e2e", *sys.argv[1:]], plugins=[counted])
    )
    for reason, count in counted.reasons.items():
        say(f"skipped {count}: {reason}")
    report()
    total = ", ".join(f"{counted.outcomes[outcome]} {outcome}" for outcome in OUTCOMES)
    say(f"e2e: {total}, {time.monotonic() - started:.0f} s")
    return code


def report() -> None:
    """What the first page costs, how soon it can be used, and what is wrong with which page."""
    size = sum(first_scripts(DIST).values())
    bar = f"{against(size, MOST_BYTES)} {MOST_BYTES / 1000:.0f} kB"
    say(f"first page's JavaScript: {size / 1000:.1f} kB compressed {bar}")
    if times := [ms for _, ms in noted("usable_ms")]:
        middle = statistics.median(times)
        each = ", ".join(f"{ms:.0f}" for ms in times)
        bar = f"{against(middle, USABLE_MS)} {USABLE_MS:.0f} ms"
        say(f"home page usable: {middle:.0f} ms {bar} (median of {each})")
    for kind, what in (("errors", "console errors"), ("barriers", "axe violations")):
        pages = noted(kind)
        found = [(page, one) for page, several in pages for one in several]
        say(f"{what}: {len(found)} on {len(pages)} pages")
        for page, one in found:
            say(f"  {page}: {one}")
    say(f"pictures: {len(list(ARTEFACTS.glob('*.png')))} in {ARTEFACTS}")


def against(measured: float, bar: float) -> str:
    """The word between a figure and its bar."""
    return "of" if measured <= bar else "OVER"


def say(text: str) -> None:
    sys.stdout.write(text + "\n")


if __name__ == "__main__":
    sys.exit(main())
