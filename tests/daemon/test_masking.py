import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from limpet.daemon.masking import MAX_KEPT, MIN_CHARACTERS, Masks

KEY = "sk-0123456789"


def told(masks: Masks, pieces: list[str]) -> str:
    stream = masks.stream()
    return "".join([*(stream.feed(piece) for piece in pieces), stream.flush()])


def of(**variables: str) -> Masks:
    masks = Masks()
    masks.learn(variables)
    return masks


def test_a_value_is_replaced_by_its_variables_name() -> None:
    assert of(API_KEY=KEY).mask(f"key={KEY}\n{KEY}") == "key=[hidden: API_KEY]\n[hidden: API_KEY]"


@pytest.mark.parametrize("at", range(1, len(KEY)))
def test_a_value_that_comes_in_two_pieces_is_masked(at: int) -> None:
    assert told(of(K=KEY), ["a " + KEY[:at], KEY[at:] + " b"]) == "a [hidden: K] b"


def test_a_value_that_comes_character_by_character_is_masked() -> None:
    assert told(of(K=KEY), list(f"<{KEY}{KEY}>")) == "<[hidden: K][hidden: K]>"


def test_only_what_may_become_a_value_is_held_back() -> None:
    stream = of(K=KEY).stream()
    assert stream.feed("ready\n") == "ready\n"
    assert stream.feed("task") == "ta"
    assert stream.feed("s") == "sk"
    assert stream.feed("k-012") == ""
    assert stream.feed("x") == "sk-012x"


def test_what_was_held_back_is_told_at_the_end() -> None:
    stream = of(K=KEY).stream()
    assert stream.feed("half: sk-0123") == "half: "
    assert stream.flush() == "sk-0123"
    assert stream.flush() == ""


def test_short_values_are_left_alone() -> None:
    short = "x" * (MIN_CHARACTERS - 1)
    assert of(K=short).mask(f"an {short}") == f"an {short}"
    assert of(K=short + "x").mask(f"an {short}x") == "an [hidden: K]"


def test_a_value_of_several_lines_is_masked_whole_and_line_by_line() -> None:
    masks = of(PEM="-----BEGIN-----\nMIIabcdefgh\nshort\n-----END-----")
    assert masks.mask("-----BEGIN-----\nMIIabcdefgh\nshort\n-----END-----") == "[hidden: PEM]"
    assert masks.mask("-----BEGIN-----\r\nMIIabcdefgh\r\nshort\r\n-----END-----") == "[hidden: PEM]"
    assert masks.mask("second: MIIabcdefgh\n") == "second: [hidden: PEM]\n"


def test_values_that_overlap_leave_nothing_of_either() -> None:
    masks = of(A="12345678", B="78zzzzzz")
    assert masks.mask("..12345678zzzzzz..") == "..[hidden: A].."
    assert told(masks, list("..12345678zzzzzz..")) == "..[hidden: A].."
    assert told(masks, list("..12345678zz..")) == "..[hidden: A]zz.."


def test_the_longer_of_two_values_that_begin_alike_is_masked_whole() -> None:
    masks = of(A="12345678", B="12345678-90")
    assert told(masks, list("12345678-90 12345678-9x")) == "[hidden: B] [hidden: A]-9x"


def test_a_value_that_was_replaced_stays_masked() -> None:
    masks = of(K=KEY)
    masks.learn({"K": "another-value"})
    assert masks.mask(f"{KEY} another-value") == "[hidden: K] [hidden: K]"


def test_a_value_that_is_learnt_while_a_stream_runs_is_masked_in_it() -> None:
    masks = Masks()
    stream = masks.stream()
    assert stream.feed(f"{KEY}\n") == f"{KEY}\n"
    masks.learn({"K": KEY})
    assert stream.feed(f"{KEY}\n") == "[hidden: K]\n"


def test_the_number_of_values_is_bounded() -> None:
    masks = Masks()
    masks.learn({f"K{n}": f"value-{n:06}" for n in range(MAX_KEPT + 1)})
    assert masks.mask("value-000000") == "value-000000"
    assert masks.mask("value-000001") == "[hidden: K1]"


LETTERS = st.text(alphabet="ab", max_size=40)
VALUES = st.lists(st.text(alphabet="ab", min_size=8, max_size=12), min_size=1, max_size=3)


@given(VALUES, LETTERS, st.lists(st.integers(1, 5), max_size=60))
@example(["abababab", "babababb"], "ab" * 20, [1] * 40)
def test_pieces_are_masked_as_the_whole_is(values: list[str], text: str, cuts: list[int]) -> None:
    for value in values:
        text = text[: len(text) // 2] + value + text[len(text) // 2 :]
    masks = Masks()
    masks.learn({f"_{number}": value for number, value in enumerate(values)})
    pieces, at = [], 0
    for cut in [*cuts, len(text)]:
        pieces.append(text[at : at + cut])
        at += cut
    whole = masks.mask(text)
    assert told(masks, pieces) == whole
    assert not any(value in whole for value in values)
