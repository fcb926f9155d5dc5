"""The gate that closes while a restore swaps the workspace: no process starts, nothing is written.

One a process, since one daemon serves one workspace.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from limpet.errors import ConflictError


class Gate:
    """Open but for the moments of a swap. `turn` counts the swaps."""

    def __init__(self) -> None:
        self.closed_because: str | None = None
        self.turn = 0
        self._inside = 0
        self._empty = asyncio.Event()
        self._empty.set()

    def check(self) -> None:
        """`ConflictError` when closed."""
        if self.closed_because is not None:
            raise ConflictError(
                f"not now: {self.closed_because}", hint="Try again when the restore is over."
            )

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Held by whoever writes to the workspace for a moment; `ConflictError` when closed."""
        self.check()
        self._inside += 1
        self._empty.clear()
        try:
            yield
        finally:
            self._inside -= 1
            if not self._inside:
                self._empty.set()

    def close(self, reason: str) -> None:
        """Let nobody in from now on."""
        self.check()
        self.closed_because = reason

    async def emptied(self) -> None:
        """Wait until those inside have left."""
        await self._empty.wait()

    def open(self) -> None:
        """Let everybody in again."""
        self.turn += 1
        self.closed_because = None


gate = Gate()
