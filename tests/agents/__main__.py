"""`make agents`: each harness from the first message to the last undo, with what was said; the
last line counts the stories."""

import sys
import time
from collections import Counter

import pytest

OUTCOMES = ("passed", "failed", "skipped")


class CountsByHarness:
    """What became of each story, by harness; prints its transcript as it ends."""

    def __init__(self) -> None:
        self.counts: Counter[tuple[str, str]] = Counter()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        harness = report.nodeid.rpartition("[")[2].removesuffix("]")
        if report.skipped or report.failed:
            self.counts[harness, "skipped" if report.skipped else "failed"] += 1
        elif report.when == "call":
            self.counts[harness, "passed"] += 1
        if report.when == "teardown":
            for name, value in report.user_properties:
                if name == "transcript":
                    say(f"\n{report.nodeid.rpartition('::')[2]}\n{value}")

    def told(self, of: str | None = None) -> str:
        """The counts of one harness, or of all."""
        ended = Counter[str]()
        for (harness, outcome), count in self.counts.items():
            ended[outcome] += count if of in (harness, None) else 0
        return ", ".join(f"{ended[outcome]} {outcome}" for outcome in OUTCOMES)


def main() -> int:
    """pytest's exit code."""
    started = time.monotonic()
    counted = CountsByHarness()
    arguments = ["-p", "no:cacheprovider", "-m", "agents", "tests/agents", *sys.argv[1:]]
    code = int(pytest.main(arguments, plugins=[counted]))
    for harness in dict.fromkeys(who for who, _ in counted.counts):
        say(f"{harness}: {counted.told(harness)}")
    say(f"agents: {counted.told()}, {time.monotonic() - started:.0f} s")
    return code


def say(text: str) -> None:
    sys.stdout.write(text + "\n")


if __name__ == "__main__":
    sys.exit(main())
