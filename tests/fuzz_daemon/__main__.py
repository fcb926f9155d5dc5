"""`make fuzz-daemon`: every route from its schema, then hostile clients; SEED repeats a run."""

import os
import random
import sys
import tempfile
import time
from pathlib import Path

from tests.fuzz_daemon.clients import CLIENTS
from tests.fuzz_daemon.running import fuzzed_daemon
from tests.fuzz_daemon.schema import fuzz

EXAMPLES = int(os.environ.get("EXAMPLES", "150"))
ROUNDS = int(os.environ.get("ROUNDS", "3"))


def say(line: str) -> None:
    """Tell how far it is."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> None:
    """Run it all; the last line has the counts and the seed."""
    seed = int(os.environ.get("SEED") or time.time())
    rng = random.Random(seed)
    thrown = 0
    with tempfile.TemporaryDirectory(prefix="limpet-fuzz-") as folder:
        with fuzzed_daemon(Path(folder) / "schema") as fuzzed:
            from_schema = fuzz(fuzzed, EXAMPLES, seed)
            say(f"fuzz-daemon: {from_schema} requests from the schema")
        for number in range(ROUNDS):
            with fuzzed_daemon(Path(folder) / f"clients-{number}") as fuzzed:
                for client in CLIENTS:
                    client(fuzzed, rng)
                    say(f"fuzz-daemon: {client.__name__}, round {number + 1}")
                thrown += fuzzed.requests
    say(
        f"fuzz-daemon: {from_schema} requests from the schema, {thrown} by {len(CLIENTS)} hostile "
        f"clients in {ROUNDS} rounds, no 5xx, nothing that the schema does not say; SEED={seed}"
    )


if __name__ == "__main__":
    sys.exit(main())
