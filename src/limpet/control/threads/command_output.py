"""What of a command's output is shown and told: all of a little, the ends of a lot. Pure."""

from typing import Final

SHOWN_CHARS: Final = 200_000
"""Of what people are shown while it runs."""
HEAD_CHARS: Final = 10_000
TAIL_CHARS: Final = 30_000
NO_MORE: Final = "\n[more is printed; it is not shown here]\n"


class CommandOutput:
    """Collects a command's output with bounded memory."""

    def __init__(self) -> None:
        self._head = ""
        self._tail = ""
        self._length = 0
        self._shown = 0

    def add(self, text: str) -> str:
        """Take a piece; gives what of it is to be shown."""
        self._length += len(text)
        room = HEAD_CHARS - len(self._head)
        self._head += text[:room]
        self._tail = (self._tail + text[room:])[-TAIL_CHARS:] if len(text) > room else self._tail
        if self._shown >= SHOWN_CHARS:
            return ""
        shown = text[: SHOWN_CHARS - self._shown]
        self._shown += len(shown)
        return shown + NO_MORE if self._shown >= SHOWN_CHARS else shown

    @property
    def truncated(self) -> bool:
        """Whether the middle is left out of `text`."""
        return self._length > HEAD_CHARS + TAIL_CHARS

    @property
    def text(self) -> str:
        """The whole output, or its beginning and its end."""
        if not self.truncated:
            return self._head + self._tail
        left_out = self._length - len(self._head) - len(self._tail)
        return f"{self._head}\n[{left_out} characters left out]\n{self._tail}"
