"""Keeps the values of the config's variables out of what is kept and told. Pure.

A value of 8 characters or more is replaced wherever it stands as it is, also where it comes in
pieces; of a value with several lines each such line is. What is encoded, wrapped or coloured by the
program that prints it is not known again, and shorter values would blot out ordinary words.
"""

from collections.abc import Callable, Mapping
from typing import Final

MIN_CHARACTERS: Final = 8
MAX_KEPT: Final = 4000
"""Of values and their lines; the oldest are forgotten first."""


class Masks:
    """The values that this daemon was ever told: what runs may still have one that was replaced."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}

    def learn(self, variables: Mapping[str, str]) -> None:
        """From now on these values are masked too."""
        for name, value in variables.items():
            for form in _forms(value):
                self._names.pop(form, None)
                self._names[form] = name
        while len(self._names) > MAX_KEPT:
            self._names.pop(next(iter(self._names)))

    def mask(self, text: str) -> str:
        """A whole text without the values."""
        if not self._names:
            return text
        stream = self.stream()
        return stream.feed(text) + stream.flush()

    def stream(self) -> "MaskedStream":
        """For a text that comes in pieces."""
        return MaskedStream(self._names)

    def filtered(self, on_text: Callable[[str], None]) -> "Filtered":
        """Hands text on to `on_text` without the values; close it at the end."""
        return Filtered(self.stream(), on_text)


class MaskedStream:
    """One stream of text: an end that may be the beginning of a value is held back.

    `names` are the values with their variables' names; it may grow meanwhile.
    """

    def __init__(self, names: Mapping[str, str]) -> None:
        self._names = names
        self._held = ""
        self._done = 0
        """So many characters of what is held belong to a value that was masked already."""

    def feed(self, text: str) -> str:
        """What can be told once `text` has come."""
        if not self._names and not self._held:
            return text
        return self._tell(self._held + text, last=False)

    def flush(self) -> str:
        """What was held back: no more will come."""
        return self._tell(self._held, last=True) if self._held else ""

    def _tell(self, text: str, *, last: bool) -> str:
        ends = () if last else (_open_end(text, value) for value in self._names)
        hold = min(ends, default=len(text))
        told: list[str] = []
        at = self._done
        for begin, end, name in _found(text, self._names):
            if end <= at:
                continue
            if begin >= hold:
                break
            if begin > at:
                told.append(text[at:begin])
            if begin >= at:
                told.append(f"[hidden: {name}]")
            at = end
        told.append(text[at:hold])
        self._held = text[hold:]
        self._done = max(0, at - hold)
        return "".join(told)


class Filtered:
    """A masked stream and where it goes to."""

    def __init__(self, stream: MaskedStream, on_text: Callable[[str], None]) -> None:
        self._stream = stream
        self._on_text = on_text

    def __call__(self, text: str) -> None:
        """Take in a piece."""
        if told := self._stream.feed(text):
            self._on_text(told)

    def close(self) -> None:
        """Hand on what was held back."""
        if told := self._stream.flush():
            self._on_text(told)


def _forms(value: str) -> set[str]:
    """What is looked for: the value, as a terminal writes it too, and each of its lines."""
    lines = value.splitlines()
    forms = {value, value.replace("\n", "\r\n"), *(line.strip() for line in lines)}
    return {form for form in forms if len(form) >= MIN_CHARACTERS and not form.isspace()}


def _found(text: str, names: Mapping[str, str]) -> list[tuple[int, int, str]]:
    """Where values stand, in order; of those that overlap one piece, under the first's name."""
    spans: list[tuple[int, int, str]] = []
    for value, name in names.items():
        at = text.find(value)
        while at >= 0:
            spans.append((at, at + len(value), name))
            at = text.find(value, at + 1)
    spans.sort(key=lambda span: (span[0], -span[1]))
    merged: list[tuple[int, int, str]] = []
    for begin, end, name in spans:
        if merged and begin < merged[-1][1]:
            first, until, known = merged[-1]
            merged[-1] = first, max(until, end), known
        else:
            merged.append((begin, end, name))
    return merged


def _open_end(text: str, value: str) -> int:
    """Where the longest end of `text` begins that `value` may go on from; else the text's end."""
    at = text.find(value[0], max(0, len(text) - len(value) + 1))
    while at >= 0:
        length = len(text) - at
        if text[-1] == value[length - 1] and value.startswith(text[at:]):
            return at
        at = text.find(value[0], at + 1)
    return len(text)
