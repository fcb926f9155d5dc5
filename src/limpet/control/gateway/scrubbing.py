"""Takes a key out of what passes by, also where it comes in pieces. Pure."""

from typing import Final

MIN_CHARS: Final = 8
"""A shorter one is no secret, and would blot out ordinary words."""
HIDDEN: Final = b"[key]"


class KeyScrubber:
    """One stream of bytes: an end that may be the beginning of the key is held back."""

    def __init__(self, key: str | None) -> None:
        self._key = (key or "").encode() if len(key or "") >= MIN_CHARS else b""
        self._held = b""

    def feed(self, chunk: bytes) -> bytes:
        """What can be handed on once `chunk` has come."""
        if not self._key:
            return chunk
        text = (self._held + chunk).replace(self._key, HIDDEN)
        keep = next(
            (n for n in range(min(len(self._key) - 1, len(text)), 0, -1)
             if text.endswith(self._key[:n])),
            0,
        )  # fmt: skip
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]

    def end(self) -> bytes:
        """What was held back: no more will come."""
        held, self._held = self._held, b""
        return held


def without_key(text: str, key: str | None) -> str:
    """A whole text without the key."""
    return text.replace(key, HIDDEN.decode()) if key and len(key) >= MIN_CHARS else text
