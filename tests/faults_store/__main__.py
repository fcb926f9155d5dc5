"""`make faults-store`: a faulty network, races on one head, prunes beside saves.

The last line counts them and names the seed that replays them. `--only PART` runs one part;
`SCHEDULES`, `RACES` (on each store) and `PRUNES` in the environment say how many.
"""

import argparse
import contextlib
import multiprocessing
import os
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from limpet.stores.settings import BUCKET, ENDPOINT, FORCE_PATH_STYLE, PREFIX
from tests.faults_store import schedules
from tests.faults_store.blocks import some_prunes, some_schedules
from tests.faults_store.races import race
from tests.snapshots import prune_schedules
from tests.stores.gcs_server import gcs_server
from tests.stores.other_servers import BUCKET_NAME, NotInstalledError, azurite
from tests.stores.s3_server import KEYS, make_bucket, s3_server

PARTS: Final = ("schedules", "prunes", "races")
WORKERS: Final = 2
RACES_PER_SERVER: Final = 500
PER_BLOCK: Final = 40
"""Seeds of one server: what holds all in memory grows slow."""
TOLD_EVERY: Final = 5
"""Blocks."""
Total = schedules.Counts | prune_schedules.Counts


def _blocks(part: str, seed: int, count: int) -> tuple[Total, list[str]]:
    """Run a part's seeds in two processes, block by block; what they came to, and what failed."""
    work = {"schedules": some_schedules, "prunes": some_prunes}[part]
    total: Total = schedules.Counts() if part == "schedules" else prune_schedules.Counts()
    failures: list[str] = []
    with multiprocessing.get_context("spawn").Pool(WORKERS) as pool:
        asked = [
            pool.apply_async(work, (seed + first, min(PER_BLOCK, count - first)))
            for first in range(0, count, PER_BLOCK)
        ]
        for number, one in enumerate(asked, 1):
            try:
                total.add(one.get())
            except Exception:  # noqa: BLE001 - whatever it is, it is the finding
                failures.append(traceback.format_exc())
            if number % TOLD_EVERY == 0:
                say(f"  {total.schedules:,} of {count:,}, {len(failures)} failed")
    say(f"  {total}")
    return total, failures


@contextlib.contextmanager
def _stores() -> Iterator[dict[str, Mapping[str, str]]]:
    """The kinds of stores that are raced on, and the environments that ask for them; each new."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="limpet-race-")))
        endpoint = stack.enter_context(s3_server())
        make_bucket(endpoint, "races")
        found: dict[str, Mapping[str, str]] = {
            "local": {},
            "s3": {**KEYS, BUCKET: "races", ENDPOINT: endpoint, FORCE_PATH_STYLE: "1"},
        }
        google = stack.enter_context(gcs_server())
        google.buckets["races"] = {}
        account = folder / "account.json"
        account.write_text(google.credentials)
        found["gcs"] = {
            "GOOGLE_APPLICATION_CREDENTIALS": str(account), BUCKET: "gs://races",
            ENDPOINT: google.endpoint, PREFIX: f"races-{time.monotonic_ns()}",
        }  # fmt: skip
        try:
            azure = stack.enter_context(azurite())
        except NotInstalledError as error:
            say(f"  azure: not raced on: {error}")
        else:
            found["azure"] = {
                **azure.credentials, BUCKET: f"az://{BUCKET_NAME}", ENDPOINT: azure.endpoint,
                PREFIX: f"races-{time.monotonic_ns()}",
            }  # fmt: skip
        yield found


def _races(count: int) -> tuple[int, list[str]]:
    """Race on every store; how many rounds, and what went wrong."""
    done: Counter[str] = Counter()
    aside: Counter[str] = Counter()
    wrong: list[str] = []
    spent: Counter[str] = Counter()
    while True:
        with _stores() as stores:
            left = {name: min(RACES_PER_SERVER, count - done[name]) for name in stores}
            if not any(left.values()):
                break
            for name, environ in stores.items():
                began = time.monotonic()
                raced = race(name, environ, left[name])
                spent[name] += round(time.monotonic() - began)
                done[name] += raced.winners
                aside[name] += raced.aside
                wrong += [f"{name}: {what}" for what in raced.wrong]
                if done[name] < count:
                    say(f"  {name}: {done[name]:,} of {count:,}")
            if wrong:
                break
    for name, rounds in done.items():
        say(f"  {name}: {rounds:,} rounds, one winner each, {aside[name]:,} kept aside,"
            f" {spent[name]} s")  # fmt: skip
    return done.total(), wrong


def main() -> int:
    """0 when everything held."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults_store", description=__doc__)
    parser.add_argument("--only", choices=PARTS, action="append", help="run this part")
    parts = parser.parse_args().only or PARTS
    seed = int(os.environ.get("SEED") or time.time())
    counts = {
        part: int(os.environ.get(part.upper()) or default)
        for part, default in (("schedules", 2000), ("prunes", 1000), ("races", 10_000))
    }
    began, told, failed = time.monotonic(), [], 0
    for part in parts:
        say(f"faults-store: {part}")
        if part == "races":
            rounds, wrong = _races(counts["races"])
            failed += len(wrong)
            for what in wrong:
                say(f"  WRONG {what}")
            told.append(f"{rounds:,} races")
            continue
        total, failures = _blocks(part, seed, counts[part])
        failed += len(failures)
        for failure in failures:
            say(failure)
        told.append(f"{total.schedules:,} {part}")
    say(
        f"faults-store: {', '.join(told)}, {failed} failed,"
        f" {time.monotonic() - began:.0f} s, seed {seed}"
    )
    return 1 if failed else 0


def say(text: str) -> None:
    """A line of the report."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
