"""`make fuzz`: coverage-guided fuzzing of every codec, then generated trees in great number.

The last line has the counts and the seed that replays them. RUNS sets the inputs of each target,
EXAMPLES the trees.
"""

import argparse
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.fuzz.seeds import write_seeds
from tests.fuzz.targets import TARGETS

TREES = ("tests/fuzz", "tests/snapshots/test_delta_property.py", "tests/snapshots/test_seeding.py")
_RUNS = re.compile(r"stat::number_of_executed_units:\s*(\d+)|#(\d+)\s+DONE")


def main() -> int:
    """0 when nothing was found."""
    parser = argparse.ArgumentParser(prog="make fuzz", description=__doc__)
    parser.add_argument("--runs", type=int, default=int(os.environ.get("RUNS", "300000")))
    parser.add_argument("--examples", type=int, default=int(os.environ.get("EXAMPLES", "20000")))
    parser.add_argument(
        "--seed", type=int, default=int(os.environ.get("SEED", str(int(time.time()))))
    )
    parser.add_argument("--only", choices=[*TARGETS, "trees"], action="append")
    asked = parser.parse_args()
    seed = asked.seed % (1 << 31) or 1
    started = time.monotonic()
    wanted = asked.only or [*TARGETS, "trees"]
    found: list[str] = []
    inputs = 0
    folder = Path(tempfile.mkdtemp(prefix="limpet-fuzz-"))
    try:
        for name in TARGETS:
            if name in wanted:
                runs, fine = fuzz_target(name, folder / name, asked.runs, seed)
                inputs += runs
                found += [] if fine else [name]
        examples = 0
        if "trees" in wanted:
            examples = asked.examples
            if not fuzz_trees(asked.examples, seed):
                found.append("trees")
    finally:
        if not found:
            shutil.rmtree(folder, ignore_errors=True)
    if found:
        say(f"what was found lies in {folder}")
    say(
        f"fuzz: {len(wanted)} targets, {inputs:,} inputs, {examples:,} examples a tree property, "
        f"{len(found)} found{': ' + ', '.join(found) if found else ''}, "
        f"{time.monotonic() - started:.0f} s, seed {asked.seed}"
    )
    return 1 if found else 0


def fuzz_target(name: str, folder: Path, runs: int, seed: int) -> tuple[int, bool]:
    """Fuzz one codec; how many inputs it took, and whether all was well."""
    corpus = folder / "corpus"
    corpus.mkdir(parents=True)
    write_seeds(name, corpus, random.Random(seed))
    say(f"fuzz: {name}, {runs:,} inputs")
    command = [
        sys.executable, "-m", "tests.fuzz.atheris_target", name, str(corpus),
        f"-runs={runs}", f"-seed={seed}", "-max_len=4096", "-timeout=20", "-rss_limit_mb=2048",
        f"-artifact_prefix={folder}/", "-print_final_stats=1", "-verbosity=1",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    told = done.stdout + done.stderr
    counts = [int(one or other) for one, other in _RUNS.findall(told)]
    if done.returncode != 0:
        say("\n".join(told.splitlines()[-40:]))
    return max(counts, default=0), done.returncode == 0


def fuzz_trees(examples: int, seed: int) -> bool:
    """The properties of whole trees, with many examples."""
    say(f"fuzz: trees, {examples:,} examples a property")
    environ = {**os.environ, "LIMPET_FUZZ_EXAMPLES": str(examples)}
    command = [
        sys.executable, "-m", "pytest", "-q", *TREES, "-p", "no:cacheprovider",
        f"--hypothesis-seed={seed}", "--timeout=0", "-n", str(os.cpu_count() or 1),
    ]  # fmt: skip
    return subprocess.run(command, env=environ, check=False).returncode == 0


def say(text: str) -> None:
    """A line of the report."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
