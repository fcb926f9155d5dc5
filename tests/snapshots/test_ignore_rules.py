"""Ignore rules mean what they mean to git, which is asked each time; none takes long."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from limpet.snapshots.ignore_rules import RuleFile, parse_rules
from tests.snapshots.ignore_files import ignore_files, kept_by_git, kept_by_us, paths, repository

EXAMPLES = int(os.environ.get("LIMPET_FUZZ_EXAMPLES", "150"))


@pytest.fixture(scope="module")
def tree() -> Iterator[Path]:
    with repository() as folder:
        yield folder


HARD_CASES = [
    # anchoring, folders alone, negation
    b"a", b"/a", b"a/", b"/a/", b"a/b", b"/a/b/", b"a//", b"//a", b"/", b"//", b"!", b"!/", b"b/a/",
    b"a\n!a", b"a/\n!a/b", b"a/*\n!a/b", b"*\n!*/\n!*.f", b"!a\na", b"/*\n!/a/\n/a/*\n!/a/b",
    # stars
    b"*", b"**", b"***", b"/*", b"/**", b"*/", b"**/", b"*.f", b"*b", b"a*", b"a*b", b"*a*b*",
    b"*a*ab",
    b"/*/b", b"a/*", b"a/**", b"a/**/", b"**/b", b"**/b/", b"a/**/b", b"**/a/**/a/b", b"a/**/*",
    b"**/a/**/b",
    b"a/***/b",
    b"**/**/b", b"a**b", b"a/b**", b"/a**", b"a**/b", b"/a**/b", b"aa**/a", b"?**/b", b"**a/b",
    b"a/**b", b"**\\/b", b"a**\\/b", b"/**\\/", b"**//b", b"*/**/*/b", b"a/*/b", b"/*a*/**/*b*",
    # classes
    b"[ab]", b"[!ab]", b"[^ab]", b"[a-b]", b"[b-a]", b"[]]", b"[]-a]", b"[!]]", b"[a-]", b"[-a]",
    b"[\\]]", b"[\\a-b]", b"[a-\\b]", b"[a\\-b]", b"[", b"[a", b"[!", b"[a-", b"[\\", b"[a-\\",
    b"a[", b"[[:alpha:]]", b"[![:alpha:]]", b"[[:no:]]", b"[[:alpha]", b"[[:]]", b"[[:alpha:]",
    b"[:a:]", b"[[:digit:][:upper:]]", b"[a-[:alpha:]]", b"[[:alpha:]-]", b"a[/]b", b"a[!b]b",
    b"a[.-0]b",
    b"[\xff]\xfe", b"?\xfe", "[é]".encode(), b"[A-C]", b"[a-a-b]", b"[--0]", b"[*]", b"[a\nb]",
    # escapes and what looks like something else
    b"\\a", b"\\*", b"\\", b"a\\", b"\\\\", b"\\!a", b"!a\n\\!a", b"#a", b"\\#a", b" #a", b"a\\/b",
    b"\\/a", b"!\\!a", b"!!a", b"\\[a]", b"a\\b", b"a\\/", b"/\\a/b",
    # spaces, ends of lines, bytes
    b"a ", b"a\\ ", b"a\\  ", b"a\\\\ ", b"a\t", b"   ", b" a", b"a b", b"a b   ", b"a\r\n",
    b"a\r\r\n", b"\r\n", b"\ra", b"a", b"\xef\xbb\xbfa", b"\xef\xbb\xbf#a\nb",
    b"b\n\xef\xbb\xbfa", b"\xff\xfe",
    "é".encode(), b"\xc3?", b"a?b", b"a*b\n", b"..a", b"../a", b"./a", b"a/./b", b"a/../b",
    b".", b"..",
]  # fmt: skip


@pytest.mark.parametrize("data", HARD_CASES, ids=repr)
def test_hard_cases_mean_what_they_mean_to_git(tree: Path, data: bytes) -> None:
    with ignore_files(tree, {"": data}):
        assert kept_by_us(tree) == kept_by_git(tree)
    with ignore_files(tree, {"a": data}):
        assert kept_by_us(tree) == kept_by_git(tree)


def test_the_table_has_rules_that_match_and_rules_that_do_not(tree: Path) -> None:
    matching = 0
    for data in HARD_CASES:
        with ignore_files(tree, {"": data}):
            matching += kept_by_us(tree) != paths()
    assert 60 < matching < len(HARD_CASES) - 20


CLASSES = [
    b"alnum", b"alpha", b"blank", b"cntrl", b"digit", b"graph", b"lower", b"print", b"punct",
    b"space",
    b"upper", b"xdigit",
]  # fmt: skip


def test_every_byte_is_in_the_classes_that_git_has_it_in(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    for byte in {*range(1, 256)} - {ord("/")}:
        (tmp_path / os.fsdecode(b"x%c" % byte)).touch()
    for name in CLASSES:
        for data in (b"x[[:%b:]]" % name, b"x[^[:%b:]]" % name):
            with ignore_files(tmp_path, {"": data}):
                assert kept_by_us(tmp_path) == kept_by_git(tmp_path), data


piece = st.sampled_from([
    b"a", b"b", b"ab", b"o", b".", b"*", b"**", b"?", b"/", b"/", b"\\", b"[ab]", b"[!a]", b"[a-",
    b"]", b" ", b"\\ ", b"!", b"#", b"[[:alpha:]]", b"[^[:punct:]]", b"**/", b"/**", b"/**/",
    b"*/", b"f",
    b"\xff", b"\xc3", b"\r", b"\t", b"-", b"[", b"foo",
])  # fmt: skip
plain = st.sampled_from([b"a", b"b/", b"*.f", b"/a", b"a/b", b"**/b", b"*", b"foo", b"*/", b"a*"])
pattern = st.one_of(plain, st.lists(piece, min_size=1, max_size=6).map(b"".join))
line = st.builds(lambda negated, text: negated + text, st.sampled_from([b"", b"", b"!"]), pattern)
rules = st.builds(
    lambda lines, end, last: end.join(lines) + last,
    st.lists(line, max_size=5),
    st.sampled_from([b"\n", b"\r\n"]),
    st.sampled_from([b"", b"\n"]),
)
files = st.dictionaries(st.sampled_from(["", "a", "b", "a/b", "ab/a"]), rules, max_size=4)


@settings(max_examples=EXAMPLES, deadline=None)
@given(files)
@example({"": b"*\n!a/", "a": b"!b/\n!*.f", "a/b": b"*"})
def test_any_files_in_any_folders_mean_what_they_mean_to_git(
    tree: Path, files: dict[str, bytes]
) -> None:
    with ignore_files(tree, files):
        assert kept_by_us(tree) == kept_by_git(tree)


@settings(max_examples=EXAMPLES * 4, deadline=None)
@given(st.binary(max_size=60), st.binary(max_size=20))
def test_no_bytes_are_too_odd_for_the_parser(data: bytes, name: bytes) -> None:
    for is_folder in (False, True):
        RuleFile(b"", parse_rules(data)).last_match(name, name, is_folder=is_folder)


@pytest.mark.parametrize(
    ("hostile", "path"),
    [
        (b"*a" * 100 + b"*b", b"a" * 255),
        (b"a*" * 120 + b"b", b"a" * 255),
        (b"**/a" * 40 + b"/b", b"a/" * 2000 + b"a"),
        (b"**/*a*a*a*a/" * 12 + b"b", b"aaaaaaaa/" * 400 + b"a"),
        (b"/**" * 50 + b"/b", b"a/" * 1000 + b"a"),
        (b"*[ab]" * 60 + b"[!ab]", b"ab" * 127),
        (b"**/" + b"*a?" * 60 + b"/**/b", (b"a" * 250 + b"/") * 10 + b"a"),
    ],
)
def test_a_hostile_rule_costs_no_more_than_its_length_times_the_paths(
    hostile: bytes, path: bytes
) -> None:
    """One that backtracks would not come to an end before the test's own time-out."""
    file = RuleFile(b"", parse_rules(hostile))
    assert file.last_match(path, path.rpartition(b"/")[2], is_folder=True) is None
