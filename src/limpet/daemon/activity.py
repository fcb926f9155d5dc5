"""What counts as work: one monotonic counter and the moment of its last step.

The saver tells unsaved work by `seq` alone; the clock serves only to tell how long it has been
quiet. Runs on the event loop's thread.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime


class Activity:
    """Counts work. `seq` begins at 0 with the daemon and only ever grows."""

    def __init__(self) -> None:
        self.seq = 0
        self.last_what = "start"
        self.last_at = datetime.now(UTC)
        self._last_monotonic_s = time.monotonic()
        self._busy = 0

    @contextmanager
    def busy(self) -> Iterator[None]:
        """While this is held, a command works: it is not idle, however quiet it is."""
        self._busy += 1
        try:
            yield
        finally:
            self._busy -= 1

    def touch(self, what: str) -> None:
        """Something was worked on; `what` names it for logs."""
        self.seq += 1
        self.last_what = what
        self.last_at = datetime.now(UTC)
        self._last_monotonic_s = time.monotonic()

    def idle_ms(self) -> int:
        """Milliseconds since the last work, by a clock that nobody sets."""
        if self._busy:
            return 0
        return int((time.monotonic() - self._last_monotonic_s) * 1000)
