"""Puts a script into HTML while it streams: before `</body>`, else at the end. Pure.

Only the beginning of what may be a tag is ever held back, so a page that streams goes on streaming.
"""

import re
from collections.abc import AsyncIterator
from typing import Final

_OPENS: Final = re.compile(
    rb"<!--|<(script|style|textarea|title)(?=[\s/>])|</body(?=[\s/>])",
    re.IGNORECASE,
)
_LONGEST: Final = 12


class Injector:
    """Looks for the real end of the body; what scripts and comments hold is not it."""

    def __init__(self, snippet: bytes) -> None:
        self._snippet = snippet
        self._placed = False
        self._held = b""
        self._inside: re.Pattern[bytes] | None = None

    def feed(self, chunk: bytes) -> bytes:
        """What can go on now."""
        if self._placed:
            return chunk
        data, self._held = self._held + chunk, b""
        out = bytearray()
        while True:
            found = (self._inside or _OPENS).search(data)
            if found is None:
                cut = self._undecided(data)
                self._held = data[cut:]
                return bytes(out + data[:cut])
            end = found.end()
            if self._inside is not None:
                self._inside = None
            elif found[0].lower() == b"</body":
                self._placed = True
                return bytes(out + data[: found.start()] + self._snippet + data[found.start() :])
            else:
                name = found[1]
                tag = rb"-->" if name is None else rb"</" + re.escape(name) + rb"(?=[\s/>])"
                self._inside = re.compile(tag, re.IGNORECASE)
            out += data[:end]
            data = data[end:]

    def _undecided(self, data: bytes) -> int:
        """Where something may begin whose rest is still to come."""
        if self._inside is not None and self._inside.pattern == rb"-->":
            return len(data) - (2 if data.endswith(b"--") else data.endswith(b"-"))
        last = data.rfind(b"<", max(0, len(data) - _LONGEST))
        return len(data) if last < 0 else last

    def end(self) -> bytes:
        """What is left, and the script if it had no place before."""
        held, self._held = self._held, b""
        placed, self._placed = self._placed, True
        return held if placed else held + self._snippet


async def injected(body: AsyncIterator[bytes], snippet: bytes) -> AsyncIterator[bytes]:
    """`body` with the snippet in it."""
    injector = Injector(snippet)
    async for chunk in body:
        if out := injector.feed(chunk):
            yield out
    if out := injector.end():
        yield out
