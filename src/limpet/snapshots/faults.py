"""Failure injection: named points between any two steps, where a test can kill or fail us.

`LIMPET_FAULT=<point>:kill` kills this process with SIGKILL when it reaches the point; `:fail`
raises ENOSPC there. `<point>@3:kill` waits for the third time. Costs one dictionary look-up when
nothing is set. The points of a swap are `limpet.snapshots.swap.SWAP_STEPS`, those of a repair
`limpet.snapshots.repair.REPAIR_STEPS`.
"""

import errno
import os
import signal
from typing import Final

VARIABLE: Final = "LIMPET_FAULT"
_reached: dict[str, int] = {}


def reach(point: str) -> None:
    """Say that `point` is reached: dies or raises `OSError` when the environment asks for it."""
    wanted = os.environ.get(VARIABLE)
    if not wanted:
        return
    where, _, action = wanted.partition(":")
    name, _, count = where.partition("@")
    if name != point:
        return
    _reached[point] = _reached.get(point, 0) + 1
    if _reached[point] != int(count or "1"):
        return
    if action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if action == "fail":
        raise OSError(errno.ENOSPC, f"made to fail at {point}")
