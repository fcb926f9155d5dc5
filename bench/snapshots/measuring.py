"""Rounds in which everyone takes a turn, and what is made of their times."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field


def seconds(*acts: Callable[[], object]) -> float:
    """How long these took, one after another, by the wall."""
    started = time.perf_counter()
    for act in acts:
        act()
    return time.perf_counter() - started


@dataclass
class Case:
    """One thing that was done by several tools, in seconds, a number for each round."""

    name: str
    times: dict[str, list[float]] = field(default_factory=dict)
    stored: dict[str, int] = field(default_factory=dict)
    """Bytes that were put, of the last round."""
    notes: dict[str, str] = field(default_factory=dict)

    def add(self, tool: str, taken_s: float) -> None:
        """One more round of a tool."""
        self.times.setdefault(tool, []).append(taken_s)

    def median(self, tool: str) -> float:
        """Seconds."""
        return statistics.median(self.times[tool])

    def ratio(self, tool: str, other: str) -> float:
        """The median over the rounds of what one took in proportion to another."""
        pairs = zip(self.times[tool], self.times[other], strict=True)
        return statistics.median(one / two for one, two in pairs)

    def has(self, *tools: str) -> bool:
        """Whether all of these were measured."""
        return all(tool in self.times for tool in tools)

    def as_dict(self) -> dict[str, object]:
        """Plain JSON types."""
        return {"times_s": self.times, "stored_bytes": self.stored, "notes": self.notes}
