"""`make matrix`: every row, a table of times, and a last line of counts.

ONLY=next,pip runs the rows whose names have one of these words in them.
"""

import os
import shutil
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Final

from playwright.sync_api import sync_playwright

from tests.gitserver import GitServer
from tests.matrix.journey import Journey
from tests.matrix.rows import ROWS, Row
from tests.matrix.tools import NotToBeHadError, open_path

STEPS: Final = (
    "clone",
    "install",
    "start",
    "preview",
    "edit",
    "save",
    "MB",
    "same",
    "moved",
    "uid",
)
HEAD: Final = f"{'row':<18}" + "".join(f"{step:>9}" for step in STEPS)


def main() -> int:
    """Run them; the exit code is 1 when one failed."""
    rows = chosen(os.environ.get("ONLY", ""))
    if not rows:
        print(f"no row is called like {os.environ['ONLY']!r}")
        return 2
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chrome")
    if chromium is None:
        print("no Chromium here (Debian: apt-get install chromium)")
        return 2
    print("seconds, but MB: clone to start until the dev server answers, preview until the page")
    print("shows, edit until the change shows, save as a tar, then home again on an empty root at")
    print("the same path, at another one, and as another user, each until the page shows\n")
    print(HEAD, flush=True)
    counts = {"passed": 0, "failed": 0, "skipped": 0}
    place = Path(tempfile.mkdtemp(prefix="limpet-matrix-git-"))
    place.chmod(0o755)
    try:
        with GitServer.start(place) as git, sync_playwright() as playwright:
            for row in rows:
                browser = playwright.chromium.launch(
                    executable_path=chromium,
                    args=["--no-sandbox", "--disable-background-networking", "--disable-sync"],
                )
                journey = Journey(row, browser, git)
                try:
                    counts[run(row, journey)] += 1
                finally:
                    browser.close()
                    journey.close()
    finally:
        shutil.rmtree(place, ignore_errors=True)
    print(f"\n{counts['passed']} passed, {counts['failed']} failed, {counts['skipped']} skipped")
    return 1 if counts["failed"] else 0


def chosen(only: str) -> list[Row]:
    """The rows that ONLY names; all without it."""
    words = [word for word in only.replace(",", " ").split() if word]
    return [row for row in ROWS if not words or any(word in row.name for word in words)]


def run(row: Row, journey: Journey) -> str:
    """One row, its line printed: passed, failed or skipped."""
    outcome, error = "passed", ""
    try:
        journey.go()
    except NotToBeHadError as missing:
        outcome, error = "skipped", str(missing)
    except Exception as failed:
        outcome = "failed"
        error = "".join(traceback.format_exception(failed))[-6000:]
    cells = "".join(
        f"{journey.times[step]:>9.1f}" if step in journey.times else f"{'-':>9}" for step in STEPS
    )
    print(f"{row.name:<18}{cells}  {'' if outcome == 'passed' else outcome}".rstrip())
    for note in journey.notes:
        print(f"{'':<18}  {note}")
    if error:
        print("".join(f"    {line}\n" for line in error.splitlines()))
    sys.stdout.flush()
    return outcome


if __name__ == "__main__":
    assert open_path()
    sys.exit(main())
