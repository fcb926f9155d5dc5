"""Edits: all or none, and errors that say what to do next."""

import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limpet.daemon.edits import EditError, Replacement, apply
from tests.daemon_process import DaemonProcess

CODE = "def a():\n\tif x:\n\t\treturn 1\n\ndef b():\n\tif x:\n\t\treturn 2\n"


def why(text: str, old: str) -> EditError:
    with pytest.raises(EditError) as error:
        apply(text, [Replacement(old, "other")], "a.py")
    return error.value


@pytest.mark.parametrize(
    ("text", "old", "words", "lines"),
    [
        (CODE, "    if x:\n        return 2", "with 1 tabs, old_string's with 4 spaces", [6]),
        ("one\r\ntwo\r\n", "one\ntwo", "line ends are LF, the file's are CRLF", [1]),
        ("one\ntwo\n", "one\r\ntwo", "line ends are CRLF, the file's are LF", [1]),
        ("one  \ntwo\n", "one\ntwo", "blanks at the ends of lines", [1]),
        ("x = a  +  b\n", "x = a + b", "it differs in blanks", [1]),
        ("say “hi”\n", 'say "hi"', "look alike", [1]),
        ("const Name = 1\n", "const name = 1", "upper and lower case", [1]),
        (CODE, "5\tdef b():\n6\t\tif x:", "line numbers that /read adds", [5]),
        ("a\n  go()\nb\n\tgo()\n", "   go()", "indentation", [2, 4]),
    ],
)  # fmt: skip
def test_what_almost_fits_is_told_by_its_difference(
    text: str, old: str, words: str, lines: list[int]
) -> None:
    error = why(text, old)
    assert words in error.message
    assert error.details["lines"] == lines


def test_the_nearest_line_is_shown_with_both_versions() -> None:
    error = why(CODE, "def b():\n\tif x:\n\t\treturn 3")
    assert "line 7" in error.message
    assert "return 2" in error.message
    assert "return 3" in error.message
    assert (
        "line 2" in why("alpha\nconst total = first + second;\n", "total = frist + second;").message
    )
    assert "nor anything like it" in why("alpha\n", "zzzzzzzz qqqqqq").message


def test_several_matches_are_counted_and_placed() -> None:
    error = why("a\nb\na\n" + "x\n" * 5 + "a a\n", "a")
    assert "found 4 times, at lines 1, 3, 9, 9" in error.message
    assert why("a\n" * 50, "a").message.endswith("10, ...")


def test_edits_follow_each_other_and_one_that_does_not_fit_undoes_all() -> None:
    edits = [Replacement("one", "two"), Replacement("two", "three", everywhere=True)]
    assert apply("one two", edits, "a") == ("three three", 3)
    with pytest.raises(EditError) as error:
        apply("one two", [*edits, Replacement("four", "five")], "a")
    assert error.value.message.startswith("edit 3 of 3: old_string not found in a")
    assert error.value.details["edit"] == 3


@given(
    st.text(alphabet='ab \t\n\r“"1\x00', max_size=60),
    st.text(alphabet='abAB \t\n\r“"1', max_size=20),
)
def test_an_edit_is_exact_or_an_error_whatever_the_text(text: str, old: str) -> None:
    edit = Replacement(old, "Z", everywhere=True)
    if old and old in text:
        assert apply(text, [edit], "a") == (text.replace(old, "Z"), text.count(old))
    else:
        with pytest.raises(EditError):
            apply(text, [edit], "a")


def test_many_edits_of_a_file_are_one_change(daemon: DaemonProcess, repo: Path) -> None:
    (repo / "a").write_text("one two")
    edits = [
        {"old_string": "one", "new_string": "1"},
        {"old_string": "1 two", "new_string": "1 2"},
    ]
    done = daemon.post("/edit", {"path": "a", "edits": edits})
    assert done == {"ok": True, "replacements": 2, "content": "1 2"}
    edits.append({"old_string": "three", "new_string": "3"})
    (repo / "a").write_text("one two")
    before = (repo / "a").stat()
    told = daemon.post("/edit", {"path": "a", "edits": edits}, 400)
    assert (told["code"], told["reason"], told["edit"]) == ("edit", "not found", 3)
    assert (repo / "a").stat() == before
    for body in ({"edits": []}, {}, {"old_string": "a"}, {"edits": edits, "old_string": "a"}):
        daemon.post("/edit", {"path": "a", **body}, 400)


def test_edits_of_one_file_at_once_lose_nothing(daemon: DaemonProcess, repo: Path) -> None:
    (repo / "a").write_text("".join(f"<{n}>\n" for n in range(40)))

    def change(n: int) -> None:
        daemon.post("/edit", {"path": "a", "old_string": f"<{n}>", "new_string": f"[{n}]"})

    threads = [threading.Thread(target=change, args=(n,)) for n in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (repo / "a").read_text() == "".join(f"[{n}]\n" for n in range(40))
