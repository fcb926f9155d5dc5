"""Glob patterns over paths, and the walk that finds what matches. Pure but for the walk.

`*` and `?` stay within one part and match no leading dot; `**` is any number of parts, none of
them hidden; `[abc]`, `[!a]` and `{a,b}` (nested too) mean what shells mean by them.
"""

import os
import re
import time
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

from limpet.errors import InvalidInputError

PRUNED = frozenset({".git", "node_modules"})
MAX_ALTERNATIVES = 256
MAX_DEEP = 8
"""How often `**` may be in a pattern: each makes the ways to fit a path many times more."""
WALK_S = 30.0


def expand_braces(pattern: str) -> list[str]:
    """`a{b,c}d` as `abd`, `acd`; a brace that is never closed stands for itself.

    `InvalidInputError` for more than 256 alternatives, found out before they are made.
    """
    done: list[str] = []
    todo = [pattern]
    while todo:
        one = todo.pop()
        alternatives = _first_braces(one)
        if alternatives is None:
            done.append(one)
        else:
            todo.extend(reversed(alternatives))
        if len(done) + len(todo) > MAX_ALTERNATIVES:
            raise InvalidInputError("the pattern has too many alternatives")
    return done


def _first_braces(pattern: str) -> list[str] | None:
    """The pattern with each of what its first braces hold in their place; None without any."""
    start = -1
    depth = 0
    commas: list[int] = []
    for index, letter in enumerate(pattern):
        if letter == "{":
            if depth == 0:
                start, commas = index, []
            depth += 1
        elif letter == "}" and depth:
            depth -= 1
            if depth == 0 and commas:
                edges = [start, *commas, index]
                head, tail = pattern[:start], pattern[index + 1 :]
                return [head + pattern[a + 1 : b] + tail for a, b in pairwise(edges)]
        elif letter == "," and depth == 1:
            commas.append(index)
    return None


def compile_pattern(pattern: str) -> re.Pattern[str]:
    """A regular expression for whole relative paths; `InvalidInputError` for a senseless one."""
    if not pattern or "\0" in pattern or len(pattern) > 4096:
        raise InvalidInputError("the pattern is empty, too long or holds a NUL byte")
    alternatives = [_one(p.removeprefix("./")) for p in expand_braces(pattern)]
    try:
        return re.compile("|".join(f"(?:{a})" for a in alternatives), re.DOTALL)
    except re.error as error:
        raise InvalidInputError(f"the pattern does not hold: {error}") from error


def _one(pattern: str) -> str:
    every = pattern.strip("/").split("/")
    # Any number of parts, twice in a row, is any number of parts.
    parts = [p for n, p in enumerate(every) if p != "**" or n == 0 or every[n - 1] != "**"]
    if parts.count("**") > MAX_DEEP:
        raise InvalidInputError(f"the pattern has more than {MAX_DEEP} times **")
    out = ""
    for index, part in enumerate(parts):
        last = index == len(parts) - 1
        if part == "**":
            visible = r"(?:(?!\.)[^/]+/)*"
            out += visible + (r"(?!\.)[^/]+" if last else "")
        else:
            out += _part(part) + ("" if last else "/")
    return out


def _part(part: str) -> str:
    out = "" if part.startswith(".") else r"(?!\.)"
    index = 0
    while index < len(part):
        letter = part[index]
        if letter == "*":
            out += "[^/]*"
            while index + 1 < len(part) and part[index + 1] == "*":
                index += 1
        elif letter == "?":
            out += "[^/]"
        elif letter == "[":
            end = part.find("]", index + 2)
            if end < 0:
                out += r"\["
            else:
                inside = part[index + 1 : end].replace("\\", r"\\").replace("[", r"\[")
                negated = inside[:1] in {"!", "^"}
                out += f"[{'^' if negated else ''}{inside[1:] if negated else inside}]"
                index = end
        elif letter == "\\" and index + 1 < len(part):
            index += 1
            out += re.escape(part[index])
        else:
            out += re.escape(letter)
        index += 1
    return out


def walk_files(start: Path, *, prune: Iterable[str]) -> Iterable[str]:
    """Paths of regular files below `start`, sorted folder by folder; links are not followed."""
    pruned = frozenset(prune)
    todo = [""]
    while todo:
        prefix = todo.pop()
        try:
            with os.scandir(start / prefix) as entries:
                listed = sorted(entries, key=lambda entry: entry.name)
        except OSError:  # it went away, or may not be read
            continue
        folders = []
        for entry in listed:
            if entry.is_dir(follow_symlinks=False):
                if entry.name not in pruned:
                    folders.append(f"{prefix}{entry.name}/")
            elif entry.is_file(follow_symlinks=False):
                yield prefix + entry.name
        todo.extend(reversed(folders))


def walk_matching(start: Path, pattern: str, *, prune: Iterable[str], limit: int) -> list[Path]:
    """The first `limit` files below `start` whose relative path matches `pattern`, sorted."""
    regex = compile_pattern(pattern)
    found: list[str] = []
    until_s = time.monotonic() + WALK_S
    for path in walk_files(start, prune=prune):
        if time.monotonic() > until_s:
            raise InvalidInputError(
                f"the search took longer than {WALK_S:g} s", hint="Begin it further down."
            )
        if regex.fullmatch(path):
            found.append(path)
            if len(found) >= limit:
                break
    return [start / path for path in sorted(found)]
