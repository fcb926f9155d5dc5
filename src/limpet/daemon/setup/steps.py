"""What the setup's steps share: how one fails, and the tail of output that says why."""

from collections import deque
from typing import Final

TAIL_CHARACTERS: Final = 4000


class StepFailedError(Exception):
    """A step did not come about. `phase` is what the lifecycle shows, the message says why."""

    def __init__(self, phase: str, message: str) -> None:
        super().__init__(message)
        self.phase = phase
        self.message = message


class Tail:
    """The last few thousand characters of output, and where it goes on to."""

    def __init__(self, limit: int = TAIL_CHARACTERS) -> None:
        self._parts: deque[str] = deque()
        self._size = 0
        self._limit = limit

    def add(self, text: str) -> None:
        """Take in a chunk."""
        self._parts.append(text)
        self._size += len(text)
        while len(self._parts) > 1 and self._size - len(self._parts[0]) >= self._limit:
            self._size -= len(self._parts.popleft())

    def text(self) -> str:
        """What was said last, without the blanks around it."""
        return "".join(self._parts)[-self._limit :].strip()
