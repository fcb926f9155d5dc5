"""`make faults-engine`: every failing call, every damaged object; the last line counts them."""

import json
import os
import sys
import time

import pytest

from tests.faults.report import Counts

ALL = 1_000_000
TESTS = (
    "tests/faults_engine/test_objects.py",
    "tests/snapshots/test_consolidate.py",
    "tests/snapshots/test_repair.py",
    "tests/faults_engine/test_moving.py",
    "tests/faults_engine/test_hostile_daemon.py",
    "tests/faults_engine/test_hostile_store.py",
    "tests/faults_engine/test_planted_secrets.py",
)


def main() -> int:
    """0 when everything held."""
    seed = int(os.environ.get("LIMPET_SEED") or os.environ.get("SEED") or time.time())
    os.environ["SEED"] = os.environ["LIMPET_SEED"] = str(seed)
    os.environ.setdefault("LIMPET_FLIPS", "60")
    os.environ.setdefault("LIMPET_SAVES", "1000")
    os.environ.setdefault("LIMPET_ROUNDS", "40")
    started = time.monotonic()
    say("faults-engine: damaged objects, a thousand saves, what moves, lies and tells secrets")
    counts = Counts()
    code = int(
        pytest.main(
            ["-q", "-p", "no:cacheprovider", "--timeout=0", *TESTS, *sys.argv[1:]],
            plugins=[counts],
        )
    )  # fmt: skip
    say("faults-engine: every call that changes the disk, killed, ENOSPC and EIO")
    from tests.faults_engine import calls  # what it imports, pytest must have met first

    done = calls.run_under_preload(ALL, seed)
    *said, last = done.stdout.splitlines() or ["", "{}"]
    for line in said:
        say(line)
    if done.returncode:
        say(done.stderr)
    told = json.loads(last) if last.startswith("{") else {}
    failed = counts.failed + told.get("cases", 0) - told.get("held", 0)
    say(
        f"faults-engine: {counts.held + counts.failed} tests, {told.get('cases', 0)} failing"
        f" calls ({told.get('killed', 0)} killed, {told.get('refused', 0)} refused,"
        f" {told.get('worked', 0)} went on), {failed} failed, {time.monotonic() - started:.0f} s,"
        f" seed {seed}"
    )
    return 1 if failed or code or done.returncode else 0


def say(text: str) -> None:
    """A line of the report."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
