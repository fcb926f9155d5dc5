"""Exact replacements in a text, and why one does not fit, so that a model can act on it. Pure."""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from limpet.errors import InvalidInputError

MAX_LINES_TOLD: Final = 10
MAX_SHOWN: Final = 200
MAX_COMPARED_LINES: Final = 50_000
MAX_ALIKE: Final = 300
MAX_ALIKE_LINES: Final = 3_000
_NUMBERED: Final = re.compile(r"^ *\d+\t", re.MULTILINE)
_LOOKALIKES: Final = str.maketrans({
    "\u2018": "'", "\u2019": "'", "\u201c": '"', "\u201d": '"', "\u2013": "-", "\u2014": "-",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Replacement:
    """Replace `old` by `new`: where it stands once, or everywhere with `everywhere`."""

    old: str
    new: str
    everywhere: bool = False


class EditError(InvalidInputError):
    """A replacement does not fit; `details` says the same as the message, for programs."""

    code = "edit"

    def __init__(self, message: str, *, hint: str = "", **details: object) -> None:
        super().__init__(message, hint=hint)
        self.details = details


@dataclass(slots=True)
class _Found:
    reason: str
    lines: list[int] = field(default_factory=list)


def apply(text: str, edits: Sequence[Replacement], path: str) -> tuple[str, int]:
    """The text after all of them, one after the other, and how many places they changed.

    `EditError` for the first that does not fit: then nothing of them is done.
    """
    total = 0
    for number, edit in enumerate(edits, start=1):
        which = f"edit {number} of {len(edits)}: " if len(edits) > 1 else ""
        _check(edit, which, number)
        count = text.count(edit.old)
        if count == 0:
            raise _not_found(text, edit.old, path, which, number)
        if count > 1 and not edit.everywhere:
            lines = _lines_of(text, edit.old)
            raise EditError(
                f"{which}old_string is not unique in {path}: found {count} times, "
                f"at lines {_listed(lines, count)}",
                hint="Give more of its surroundings, or set replace_all.",
                reason="not unique",
                edit=number,
                matches=count,
                lines=lines,
            )
        text = text.replace(edit.old, edit.new)
        total += count
    return text, total


def _check(edit: Replacement, which: str, number: int) -> None:
    if not edit.old:
        raise EditError(f"{which}old_string is empty", reason="empty", edit=number)
    if edit.old == edit.new:
        raise EditError(f"{which}old_string and new_string are equal", reason="equal", edit=number)


def _not_found(text: str, old: str, path: str, which: str, number: int) -> EditError:
    found = _almost(text, old)
    begin = f"{which}old_string not found in {path}"
    if found is not None:
        said = f"{begin}: {found.reason}"
        if found.lines:
            said += f", at line{'s' if len(found.lines) > 1 else ''} {_listed(found.lines)}"
            said += f" ({_shown(text, found.lines[0])})"
        return EditError(said, reason=found.reason, edit=number, lines=found.lines)
    line, wanted, nearest = _nearest(text, old)
    if line is None:
        return EditError(
            f"{begin}, nor anything like it",
            hint="Read the file again.",
            reason="not found",
            edit=number,
            lines=[],
        )
    return EditError(
        f"{begin}. The nearest is at line {line}: the file has {nearest!r} "
        f"where old_string has {wanted!r}",
        hint="Read the file again around that line.",
        reason="not found",
        edit=number,
        lines=[line],
    )


def _almost(text: str, old: str) -> _Found | None:
    """A difference of a kind that has a name, if one of them is all there is."""
    plain_text, plain_old = text.replace("\r\n", "\n"), old.replace("\r\n", "\n")
    if plain_old in plain_text:
        crlf = "\r\n" in text and "\r\n" not in old
        have, given = ("CRLF", "LF") if crlf else ("LF", "CRLF")
        reason = f"its line ends are {given}, the file's are {have}"
        return _Found(reason, _lines_of(plain_text, plain_old))
    unnumbered = _NUMBERED.sub("", plain_old)
    if unnumbered != plain_old and unnumbered.strip() and unnumbered in plain_text:
        reason = "it holds the line numbers that /read adds, which are not in the file"
        return _Found(reason, _lines_of(plain_text, unnumbered))
    lines, wanted = plain_text.split("\n"), plain_old.strip("\n").split("\n")
    for reason, same in (
        ("it differs in blanks at the ends of lines", str.rstrip),
        ("it differs in indentation", str.strip),
        ("it differs in blanks", _squeezed),
        ("it differs in quotes, dashes or blanks that look alike", _plain),
        ("it differs in upper and lower case", str.casefold),
    ):
        at = _lines_like([same(line) for line in lines], [same(line) for line in wanted])
        if at:
            if reason.endswith("indentation"):
                reason += f": {_indentation(lines[at[0] - 1], wanted[0])}"
            return _Found(reason, at)
    return None


def _squeezed(line: str) -> str:
    return "".join(line.split())


def _plain(line: str) -> str:
    return _squeezed(unicodedata.normalize("NFKC", line).translate(_LOOKALIKES))


def _indentation(have: str, given: str) -> str:
    def said(line: str) -> str:
        blank = line[: len(line) - len(line.lstrip())]
        tabs, spaces = blank.count("\t"), blank.count(" ")
        parts = [f"{n} {what}" for n, what in ((tabs, "tabs"), (spaces, "spaces")) if n]
        return " and ".join(parts) or "none"

    return f"the file's line begins with {said(have)}, old_string's with {said(given)}"


def _lines_like(lines: Sequence[str], wanted: Sequence[str]) -> list[int]:
    """Where (from 1) the lines `wanted` follow each other; parts of a line count for one alone."""
    if not any(wanted):
        return []
    if len(wanted) == 1:
        found = [n for n, line in enumerate(lines, start=1) if wanted[0] in line]
        return found[:MAX_LINES_TOLD]
    first = wanted[0]
    found = [
        n + 1
        for n, line in enumerate(lines)
        if line.endswith(first)
        and list(lines[n + 1 : n + len(wanted) - 1]) == list(wanted[1:-1])
        and n + len(wanted) <= len(lines)
        and lines[n + len(wanted) - 1].startswith(wanted[-1])
    ]
    return found[:MAX_LINES_TOLD]


def _nearest(text: str, old: str) -> tuple[int | None, str, str]:
    """The line (from 1) where a text like `old` departs from it, and both versions of it."""
    lines = text.split("\n")[:MAX_COMPARED_LINES]
    wanted = old.strip("\n").split("\n")
    stripped = [line.strip() for line in lines]
    best, best_begin = 0, None
    anchors: dict[str, list[int]] = {}
    for n, line in enumerate(stripped):
        if line:
            anchors.setdefault(line, []).append(n)
    for offset, wanted_line in enumerate(wanted[:50]):
        for n in anchors.get(wanted_line.strip(), ())[:20]:
            begin = n - offset
            same = sum(
                0 <= begin + k < len(lines) and stripped[begin + k] == other.strip()
                for k, other in enumerate(wanted[:200])
            )
            if same > best:
                best, best_begin = same, begin
    if best_begin is not None:
        for k, other in enumerate(wanted):
            have = lines[best_begin + k] if 0 <= best_begin + k < len(lines) else ""
            if have.strip() != other.strip():
                at = min(max(best_begin + k + 1, 1), len(lines))
                return at, _cut(other), _cut(have)
    return _alike(lines, stripped, max(wanted, key=len).strip())


def _alike(
    lines: Sequence[str], stripped: Sequence[str], wanted: str
) -> tuple[int | None, str, str]:
    from difflib import get_close_matches

    candidates = list(dict.fromkeys(s[:MAX_ALIKE] for s in stripped if s))[:MAX_ALIKE_LINES]
    close = get_close_matches(wanted[:MAX_ALIKE], candidates, 1, 0.6)
    if not close:
        return None, "", ""
    at = next(n for n, s in enumerate(stripped) if s[:MAX_ALIKE] == close[0])
    return at + 1, _cut(wanted), _cut(lines[at])


def _lines_of(text: str, part: str) -> list[int]:
    """The lines (from 1) where `part` begins, the first ten of them."""
    found: list[int] = []
    place, line = 0, 1
    while len(found) < MAX_LINES_TOLD:
        at = text.find(part, place)
        if at < 0:
            break
        line += text.count("\n", place, at)
        found.append(line)
        line += part.count("\n")
        place = at + len(part)
    return found


def _listed(lines: Sequence[int], count: int | None = None) -> str:
    more = ", ..." if count is not None and count > len(lines) else ""
    return ", ".join(map(str, lines)) + more


def _shown(text: str, line: int) -> str:
    return repr(_cut(text.split("\n")[line - 1]))


def _cut(line: str) -> str:
    return line if len(line) <= MAX_SHOWN else line[:MAX_SHOWN] + "..."
