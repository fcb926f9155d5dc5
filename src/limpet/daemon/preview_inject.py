"""Puts a script into HTML while it streams: before `</body>`, else at the end. Pure.

Only the last few bytes of a chunk are ever held back, so a page that streams goes on streaming.
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
        data = self._held + chunk
        out, position = self._scan(data)
        if not self._held_back():
            return out + data[position:]
        keep = max(position, len(data) - _LONGEST)
        self._held = data[keep:]
        return out + data[position:keep]

    def end(self) -> bytes:
        """What is left, and the script if it had no place before."""
        held, self._held = self._held, b""
        placed, self._placed = self._placed, True
        return held if placed else held + self._snippet

    def _held_back(self) -> bool:
        """Whether the end of the body is still looked for."""
        if self._placed:
            self._held = b""
        return not self._placed

    def _scan(self, data: bytes) -> tuple[bytes, int]:
        """Follow the markup; what was decided, and up to where."""
        position = 0
        while True:
            found = (self._inside or _OPENS).search(data, position)
            if found is None:
                # What has been looked at in vain is not looked at again, but for its last bytes.
                keep = max(position, len(data) - _LONGEST)
                return data[:keep], keep
            if self._inside is not None:
                self._inside, position = None, found.end()
            elif found[0].lower() == b"</body":
                self._placed = True
                return data[: found.start()] + self._snippet, found.start()
            else:
                name = found[1]
                end = rb"-->" if name is None else rb"</" + re.escape(name) + rb"(?=[\s/>])"
                self._inside, position = re.compile(end, re.IGNORECASE), found.end()


async def injected(body: AsyncIterator[bytes], snippet: bytes) -> AsyncIterator[bytes]:
    """`body` with the snippet in it."""
    injector = Injector(snippet)
    async for chunk in body:
        if out := injector.feed(chunk):
            yield out
    if out := injector.end():
        yield out
