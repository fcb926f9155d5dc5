"""Each suite's seed and its counts, told in one line when the run is over."""

import os
import secrets
from collections import Counter
from collections.abc import Iterator

_SUITES: dict[str, "Suite"] = {}


class Suite:
    """Counts of one suite. `seed` is `LIMPET_SEED`, else `SEED`, else a new one each time."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.seed = int(
            os.environ.get("LIMPET_SEED") or os.environ.get("SEED") or secrets.randbelow(10**9)
        )
        self.counts: Counter[str] = Counter()
        _SUITES[name] = self

    def count(self, what: str, number: int = 1) -> None:
        """So many more of something."""
        self.counts[what] += number

    def __str__(self) -> str:
        told = ", ".join(f"{number:,} {what}" for what, number in self.counts.items())
        return f"{self.name}: {told}, seed {self.seed} (LIMPET_SEED replays)"


def told() -> Iterator[str]:
    """A line for each suite that ran."""
    for suite in _SUITES.values():
        if suite.counts:
            yield str(suite)
