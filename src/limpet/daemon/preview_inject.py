"""Puts a script into HTML while it streams: before `</body>`, else at the end; tags can be mended
on the way. Pure.

What scripts, styles and comments hold is no tag and stays as it is. Only the beginning of a tag
whose end is still to come is ever held back, so a page that streams goes on streaming.
"""

import re
from collections.abc import AsyncIterator, Callable
from typing import Final

MAX_TAG_BYTES: Final = 16 * 1024
_OPENS: Final = re.compile(rb"<(?:!--|/?[a-zA-Z]|/?\Z|!-?\Z)")
_TAG: Final = re.compile(
    rb"""<(/?[a-zA-Z][^\s/>]*+)(?:[^>=]++|=\s*+(?:"[^"]*+"|'[^']*+'|(?!["'])))*+>"""
)
_RAW: Final = frozenset([b"script", b"style", b"textarea", b"title"])
_LONGEST: Final = 12


class Injector:
    """Looks for the real end of the body, and shows every tag before and after it to `mend`."""

    def __init__(self, snippet: bytes, mend: Callable[[bytes], bytes] = bytes) -> None:
        self._snippet = snippet
        self._mend = mend
        self._placed = False
        self._held = b""
        self._inside: re.Pattern[bytes] | None = None

    def feed(self, chunk: bytes) -> bytes:
        """What can go on now."""
        data, self._held = self._held + chunk, b""
        out = bytearray()
        at = 0
        while True:
            found = (self._inside or _OPENS).search(data, at)
            if found is None:
                cut = self._undecided(data, at)
                self._held = data[cut:]
                return bytes(out + data[at:cut])
            end = found.end()
            if self._inside is not None:
                self._inside = None
            elif found[0] == b"<!--":
                self._inside = re.compile(rb"-->")
            else:
                out += data[at : found.start()]
                at = found.start()
                tag = _TAG.match(data, at, at + MAX_TAG_BYTES)
                if tag is None and len(data) - at < MAX_TAG_BYTES:
                    self._held = data[at:]
                    return bytes(out)
                if tag is None:  # nothing that anybody wrote as a tag
                    return bytes(out + data[at:])
                out += self._passed(tag)
                at = tag.end()
                continue
            out += data[at:end]
            at = end

    def _passed(self, tag: re.Match[bytes]) -> bytes:
        """A tag as it goes on, with what goes before it."""
        name = tag[1].lower()
        if name in _RAW:
            self._inside = re.compile(rb"</" + name + rb"(?=[\s/>])", re.IGNORECASE)
        mended = self._mend(tag[0])
        if name != b"/body" or self._placed:
            return mended
        self._placed = True
        return self._snippet + mended

    def _undecided(self, data: bytes, at: int) -> int:
        """Where the end of what we are inside of may begin, when its rest is still to come."""
        if self._inside is None:
            return len(data)
        if self._inside.pattern == rb"-->":
            return max(at, len(data) - (2 if data.endswith(b"--") else data.endswith(b"-")))
        last = data.rfind(b"<", max(at, len(data) - _LONGEST))
        return len(data) if last < 0 else last

    def end(self) -> bytes:
        """What is left, and the script if it had no place before."""
        held, self._held = self._held, b""
        placed, self._placed = self._placed, True
        return held if placed else held + self._snippet


async def injected(
    body: AsyncIterator[bytes], snippet: bytes, mend: Callable[[bytes], bytes] = bytes
) -> AsyncIterator[bytes]:
    """`body` with the snippet in it, and its tags as `mend` makes them."""
    injector = Injector(snippet, mend)
    async for chunk in body:
        if out := injector.feed(chunk):
            yield out
    if out := injector.end():
        yield out
