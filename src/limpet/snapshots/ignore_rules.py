"""The rules of one ignore file, in the syntax and with the meaning of git's own. Pure.

A rule becomes a regular expression over bytes, as names are bytes. Where a rule has several stars
each takes the first place that fits and never goes back (an atomic group), which changes no answer:
so that no rule, however it is made, costs more than its length times the path's.
docs/decisions/0018-limpetignore.md says why git's C code is followed to the letter.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

_BOM: Final = b"\xef\xbb\xbf"
_WILD: Final = re.compile(rb"[*?\[\\]")
_ANY: Final = b"[^/]"
_STAR: Final = b"*"
_SPACE: Final = frozenset(b"\t\n\r ")
_PRINT: Final = frozenset(range(0x20, 0x7F))
_UPPER: Final = frozenset(range(0x41, 0x5B))
_LOWER: Final = frozenset(range(0x61, 0x7B))
_DIGIT: Final = frozenset(range(0x30, 0x3A))
_ALNUM: Final = _UPPER | _LOWER | _DIGIT
_CLASSES: Final = {
    b"alnum": _ALNUM,
    b"alpha": _UPPER | _LOWER,
    b"blank": frozenset(b" \t"),
    b"cntrl": frozenset({*range(0x20), 0x7F}),
    b"digit": _DIGIT,
    b"graph": _PRINT - _SPACE,
    b"lower": _LOWER,
    b"print": _PRINT,
    b"punct": _PRINT - _ALNUM - _SPACE,
    b"space": _SPACE,
    b"upper": _UPPER,
    b"xdigit": frozenset(b"0123456789abcdefABCDEF"),
}
"""As git has them: ASCII alone, and a space is neither a vertical tab nor a form feed."""


class _NeverMatchesError(Exception):
    """A pattern that is not well-formed: git takes it and it matches nothing."""


@dataclass(frozen=True)
class Rule:
    """One line. `expression` is matched with the name alone, or with the path below the file."""

    line: int
    text: bytes
    negated: bool
    folders_only: bool
    by_name: bool
    expression: bytes

    @cached_property
    def compiled(self) -> re.Pattern[bytes]:
        """To be matched in full."""
        return re.compile(self.expression, re.DOTALL)


class RuleFile:
    """The rules of the ignore file of one folder, which is named by its relative path."""

    def __init__(self, folder: bytes, rules: Sequence[Rule]) -> None:
        self.folder = folder
        self._below = len(folder) + 1 if folder else 0
        self._for_folders = _Matcher(rules)
        self._for_others = _Matcher([rule for rule in rules if not rule.folders_only])

    def last_match(self, path: bytes, name: bytes, *, is_folder: bool) -> Rule | None:
        """The rule that decides about an entry somewhere below the folder, or None."""
        matcher = self._for_folders if is_folder else self._for_others
        return matcher.last_match(path, name, self._below)


class _Matcher:
    """Mostly nothing matches, which one look at each expression of all rules together tells."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._last_first = rules[::-1]
        self._names = _any_of([rule for rule in rules if rule.by_name])
        self._paths = _any_of([rule for rule in rules if not rule.by_name])

    def last_match(self, path: bytes, name: bytes, below: int) -> Rule | None:
        by_name = self._names is not None and self._names.fullmatch(name)
        by_path = self._paths is not None and self._paths.fullmatch(path, below)
        if not by_name and not by_path:
            return None
        for rule in self._last_first:
            if rule.by_name:
                if by_name and rule.compiled.fullmatch(name):
                    return rule
            elif by_path and rule.compiled.fullmatch(path, below):
                return rule
        return None


def _any_of(rules: Sequence[Rule]) -> re.Pattern[bytes] | None:
    return re.compile(b"|".join(rule.expression for rule in rules), re.DOTALL) if rules else None


def parse_rules(data: bytes) -> list[Rule]:
    """The rules of an ignore file that holds `data`, without those that can match nothing."""
    return list(_rules(data.removeprefix(_BOM)))


def _rules(data: bytes) -> Iterator[Rule]:
    for number, line in enumerate(data.split(b"\n"), 1):
        if line.startswith(b"#"):
            continue
        text = _without_spaces(line.removesuffix(b"\r"))
        pattern = text.removeprefix(b"!")
        folders_only = pattern.endswith(b"/")
        if folders_only:
            pattern = pattern[:-1]
        if not pattern:
            continue
        by_name = b"/" not in pattern
        try:
            expression = _expression(pattern.removeprefix(b"/"), by_name=by_name)
        except _NeverMatchesError:
            continue
        negated = text.startswith(b"!")
        yield Rule(number, text, negated, folders_only, by_name, expression)


def _without_spaces(line: bytes) -> bytes:
    """Without spaces at the end, unless a backslash stands before the first of them."""
    bare = line.rstrip(b" ")
    backslashes = len(bare) - len(bare.rstrip(b"\\"))
    return line[: len(bare) + 1] if backslashes % 2 else bare


def rule_for(folder: bytes) -> str:
    """The line that leaves out a folder, given by its path below the ignore file.

    A byte that no line of text can hold is written as `?`, which stands for any.
    """
    text = _WILD.sub(rb"\\\g<0>", folder).decode("utf-8", "surrogateescape")
    return "/" + "".join(one if one.isprintable() else "?" * _size(one) for one in text) + "/"


def _size(character: str) -> int:
    return len(character.encode("utf-8", "surrogateescape"))


# --- patterns -----------------------------------------------------------------------------------


@dataclass
class _Part:
    """What lies between two double stars. `opening` is what the one before it may stand for."""

    opening: bytes
    tokens: list[bytes]
    """Each an expression for one byte, or a star."""


def _expression(pattern: bytes, *, by_name: bool) -> bytes:
    parts = _parts(pattern, by_name=by_name)
    found = b""
    for number, part in enumerate(parts):
        if number == len(parts) - 1:
            opening = {b"": b"", b"/": b"(?:.*/)?", b".": b".*"}[part.opening]
            found += opening + _between_stars(part.tokens, last=True)
        else:
            opening = {b"": b"", b"/": b"(?:.*?/)??", b".": b".*?"}[part.opening]
            found += b"(?>" + opening + _between_stars(part.tokens, last=False) + b")"
    return found


def _between_stars(tokens: list[bytes], *, last: bool) -> bytes:
    first, *others = _split(tokens)
    found = first
    for number, fixed in enumerate(others, 1):
        at_end = last and number == len(others)
        found += b"[^/]*" + fixed if at_end else b"(?>[^/]*?" + fixed + b")"
    return found


def _split(tokens: list[bytes]) -> list[bytes]:
    runs = [b""]
    for token in tokens:
        if token is _STAR:
            runs.append(b"")
        else:
            runs[-1] += token
    return runs


def _parts(pattern: bytes, *, by_name: bool) -> list[_Part]:
    wild = _WILD.search(pattern)
    start = wild.start() if wild else len(pattern)
    # git compares what comes before the first wildcard as it is, and takes the rest for a pattern
    # of its own: a double star right there counts as if a slash were before it.
    parts = [_Part(b"", [re.escape(pattern[:start])])]
    at = start
    while at < len(pattern):
        tokens = parts[-1].tokens
        byte = pattern[at : at + 1]
        if byte == b"*":
            end = at + 1
            while pattern[end : end + 1] == b"*":
                end += 1
            after = pattern[end : end + 2]
            whole = at == start or pattern[at - 1 : at] == b"/"
            if by_name or end == at + 1 or not whole:
                tokens.append(_STAR)
            elif after[:1] == b"/":
                parts.append(_Part(b"/", []))
                end += 1
            elif after in {b"", b"\\/"}:
                parts.append(_Part(b".", []))
            else:
                tokens.append(_STAR)
            at = end
        elif byte == b"?":
            tokens.append(_ANY)
            at += 1
        elif byte == b"[":
            token, at = _class(pattern, at + 1)
            tokens.append(token)
        elif byte == b"\\":
            if at + 1 == len(pattern):
                raise _NeverMatchesError
            tokens.append(re.escape(pattern[at + 1 : at + 2]))
            at += 2
        else:
            tokens.append(re.escape(byte))
            at += 1
    return parts


def _class(pattern: bytes, at: int) -> tuple[bytes, int]:
    """The expression for a class of bytes that begins at `at`, and where the pattern goes on."""
    members: set[int] = set()
    negated = pattern[at : at + 1] in {b"!", b"^"}
    at += negated
    before = b""
    while True:
        byte = pattern[at : at + 1]
        following = pattern[at + 1 : at + 2]
        if byte == b"-" and before and following not in {b"", b"]"}:
            byte, at = _member(pattern, at + 1)
            members.update(range(before[0], byte[0] + 1))
            byte = b""
        elif byte == b"[" and following == b":":
            end = pattern.find(b"]", at + 2)
            if end < 0:
                raise _NeverMatchesError
            if end > at + 2 and pattern[end - 1 : end] == b":":
                named = _CLASSES.get(pattern[at + 2 : end - 1])
                if named is None:
                    raise _NeverMatchesError
                members |= named
                at, byte = end, b""
            else:
                members.add(byte[0])
        else:
            byte, at = _member(pattern, at)
            members.add(byte[0])
        before = byte
        at += 1
        if pattern[at : at + 1] == b"]":
            return _one_of(members, negated=negated), at + 1


def _member(pattern: bytes, at: int) -> tuple[bytes, int]:
    """A byte of a class, perhaps after a backslash, and where it stands."""
    if pattern[at : at + 1] == b"\\":
        at += 1
    byte = pattern[at : at + 1]
    if not byte:
        raise _NeverMatchesError
    return byte, at


def _one_of(members: set[int], *, negated: bool) -> bytes:
    allowed = (set(range(256)) - members if negated else members) - {0x2F}
    if not allowed:
        raise _NeverMatchesError
    return b"[" + b"".join(b"\\x%02x" % byte for byte in sorted(allowed)) + b"]"
