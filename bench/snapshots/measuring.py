"""Rounds in which everyone takes a turn, and what is made of their times."""

import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

_BLOCK: Final = bytes(4 << 20)
_BALLAST_AT_LEAST: Final = 64 << 20
_BALLAST_AT_MOST: Final = 2 << 30


def seconds(*acts: Callable[[], object]) -> float:
    """How long these took, one after another, by the wall."""
    started = time.perf_counter()
    for act in acts:
        act()
    return time.perf_counter() - started


def warm_memory(folder: Path, size_bytes: int) -> None:
    """Have the machine's memory for what is measured next, twice its size: written to, let go.

    A virtual machine gives free memory back to its host. Who is the first to use it again pays for
    that, several times the work itself, and who comes next does not.
    """
    ballast = folder / "ballast"
    size_bytes = min(max(2 * size_bytes, _BALLAST_AT_LEAST), _BALLAST_AT_MOST)
    fd = os.open(ballast, os.O_WRONLY | os.O_CREAT)
    try:
        for _ in range(0, size_bytes, len(_BLOCK)):
            os.write(fd, _BLOCK)
    finally:
        os.close(fd)
        ballast.unlink()


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
