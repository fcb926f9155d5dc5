"""Glob patterns against Python's own for what both know, and the parts that only we know."""

from fnmatch import fnmatchcase

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limpet.daemon.patterns import compile_pattern, expand_braces
from limpet.errors import InvalidInputError


@given(st.text("ab*?[]!-.", min_size=1, max_size=8), st.text("ab.-]", min_size=1, max_size=6))
def test_one_part_matches_as_fnmatch_does(pattern: str, name: str) -> None:
    if name.startswith(".") or "[." in pattern or pattern.startswith("./") or ".]" in pattern:
        return
    if any(odd in pattern for odd in ("--", "[-", "-]", "[!-", "[]", "[!]", "!")):
        return  # the odd corners of bracket ranges differ between shells too
    if "**" in pattern:
        return
    try:
        ours = compile_pattern(pattern)
    except InvalidInputError:
        return
    assert bool(ours.fullmatch(name)) == fnmatchcase(name, pattern)


@pytest.mark.parametrize(
    ("pattern", "expanded"),
    [
        ("a", ["a"]),
        ("a{b,c}d", ["abd", "acd"]),
        ("{a,b}{1,2}", ["a1", "a2", "b1", "b2"]),
        ("{a,{b,c}}", ["a", "b", "c"]),
        ("{a}", ["{a}"]),
        ("{a", ["{a"]),
    ],
)
def test_braces(pattern: str, expanded: list[str]) -> None:
    assert expand_braces(pattern) == expanded


@pytest.mark.parametrize(
    ("pattern", "path", "matches"),
    [
        ("**/*.ts", "a.ts", True),
        ("**/*.ts", "a/b/c.ts", True),
        ("**/*.ts", ".hidden/c.ts", False),
        ("**", "a/b", True),
        ("a/**", "a/b/c", True),
        ("a/**", "a", False),
        ("*.ts", "a/b.ts", False),
        (".github/**/*.yml", ".github/workflows/ci.yml", True),
        ("src/[!a]*.ts", "src/b.ts", True),
        ("src/[!a]*.ts", "src/a.ts", False),
        ("a+b(c).ts", "a+b(c).ts", True),
        ("./a", "a", True),
    ],
)
def test_paths(pattern: str, path: str, matches: bool) -> None:
    assert bool(compile_pattern(pattern).fullmatch(path)) is matches


@pytest.mark.parametrize("pattern", ["{a,b}" * 30, "{a,{b,c}}" * 20, "x/" + "**/a/" * 9])
def test_patterns_that_would_take_for_ever_are_refused_at_once(pattern: str) -> None:
    with pytest.raises(InvalidInputError):
        compile_pattern(pattern)


def test_many_deep_parts_in_a_row_are_one() -> None:
    assert compile_pattern("**/" * 30 + "a").fullmatch("x/y/z/" * 10 + "a")
    assert not compile_pattern("**/" * 30 + "a").fullmatch("x/y/z/" * 10 + "b")
