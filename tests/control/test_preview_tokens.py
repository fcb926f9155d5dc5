"""Tickets, links and cookies of private previews: what counts, and what never does."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limpet.control.preview_tokens import (
    COOKIE_S,
    DAY_S,
    TICKET_S,
    Kind,
    PreviewTokens,
    Token,
    UsedTickets,
    cookie_name,
    cookies_named,
    is_ours,
    with_ticket,
    without_ticket,
)
from limpet.control.secrets import SecretBox

HANDLE = "calm-cove-0123456789"
ANY: tuple[Kind, ...] = ("ticket", "link", "cookie")
BOX = SecretBox([b"k" * 32])


@dataclass
class Clock:
    now: float = 1_000_000.5

    def __call__(self) -> float:
        return self.now


def tokens(box: SecretBox = BOX, clock: Clock | None = None) -> PreviewTokens:
    return PreviewTokens(box.signer("test"), clock or Clock())


def test_a_ticket_counts_for_its_sandbox_its_epoch_and_its_minute() -> None:
    clock = Clock()
    made = tokens(clock=clock)
    text, until_s = made.ticket(HANDLE, 3)
    assert until_s == int(clock.now) + TICKET_S
    read = made.read(text, ANY, HANDLE, 3)
    assert read is not None
    assert (read.kind, read.handle, read.epoch) == ("ticket", HANDLE, 3)
    assert made.read(text, ANY, "another-cove-01", 3) is None
    assert made.read(text, ANY, HANDLE, 4) is None
    assert made.read(text, ANY, HANDLE, 2) is None
    assert made.read(text, ("link", "cookie"), HANDLE, 3) is None
    clock.now += TICKET_S
    assert made.read(text, ANY, HANDLE, 3) is None


def test_a_cookie_lives_twelve_hours_but_no_longer_than_the_link_that_it_came_of() -> None:
    clock = Clock()
    made = tokens(clock=clock)
    for text, most_s in (
        (made.ticket(HANDLE, 0)[0], COOKIE_S),
        (made.link(HANDLE, 0, 7)[0], COOKIE_S),
    ):
        token = made.read(text, ANY, HANDLE, 0)
        assert token is not None
        cookie, until_s = made.cookie_of(token)
        assert until_s == made.now_s() + most_s
        assert made.read(cookie, ("cookie",), HANDLE, 0) is not None
    link, ends_s = made.link(HANDLE, 0, 1)
    token = made.read(link, ANY, HANDLE, 0)
    assert token is not None
    clock.now += DAY_S - 60
    assert made.cookie_of(token)[1] == ends_s


def test_a_ticket_is_used_once_and_a_link_over_and_over() -> None:
    used = UsedTickets()
    ticket = Token("ticket", HANDLE, 0, 100, "n" * 16)
    link = Token("link", HANDLE, 0, 100, "n" * 16)
    assert used.use(ticket, 50)
    assert not used.use(ticket, 51)
    assert used.use(link, 51)
    assert used.use(link, 52)
    later = Token("ticket", HANDLE, 0, 200, "m" * 16)
    assert used.use(later, 150)
    assert not used.use(later, 151)


def test_what_another_server_signed_or_signed_for_something_else_does_not_count() -> None:
    text, _ = tokens().ticket(HANDLE, 0)
    assert tokens(SecretBox([b"o" * 32])).read(text, ANY, HANDLE, 0) is None
    assert PreviewTokens(BOX.signer("other"), Clock()).read(text, ANY, HANDLE, 0) is None


def test_what_an_older_key_signed_counts_until_the_key_is_taken_away() -> None:
    text, _ = tokens(SecretBox([b"o" * 32])).ticket(HANDLE, 0)
    both = tokens(SecretBox([b"k" * 32, b"o" * 32]))
    assert both.read(text, ANY, HANDLE, 0) is not None
    fresh, _ = both.ticket(HANDLE, 0)
    assert tokens(SecretBox([b"o" * 32])).read(fresh, ANY, HANDLE, 0) is None


@given(st.data())
def test_what_was_cut_changed_or_added_to_does_not_count(data: st.DataObject) -> None:
    made = tokens()
    text, _ = made.ticket(HANDLE, 1)
    at = data.draw(st.integers(0, len(text) - 1))
    kind = data.draw(st.sampled_from(["cut", "gone", "other", "more"]))
    letter = data.draw(st.characters(codec="latin-1"))
    changed = {
        "cut": text[:at],
        "gone": text[:at] + text[at + 1 :],
        "other": text[:at] + letter + text[at + 1 :],
        "more": text[:at] + letter + text[at:],
    }[kind]
    if changed != text:
        assert made.read(changed, ANY, HANDLE, 1) is None


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused(text: str) -> None:
    assert tokens().read(text, ANY, HANDLE, 0) is None


@pytest.mark.parametrize(
    "epoch_and_until", ["01.2000000", "+1.2000000", "1.02000000", "1_0.2000000", "\uff11.2000000"]
)
def test_a_number_is_written_in_one_way_alone(epoch_and_until: str) -> None:
    signer = BOX.signer("test")
    text = f"t.{HANDLE}.{epoch_and_until}.{'n' * 16}"
    assert tokens().read(f"{text}.{signer.sign(text)}", ANY, HANDLE, 1) is None


PARTS = st.lists(st.from_regex(r"[a-z0-9%+=/;,.~-]{0,12}", fullmatch=True), max_size=6)


@given(st.from_regex(r"/[a-z/%.~-]{0,20}", fullmatch=True), PARTS)
def test_a_ticket_goes_in_and_out_and_the_rest_stays_letter_by_letter(
    path: str, parts: list[str]
) -> None:
    target = f"{path}?{'&'.join(parts)}" if "".join(parts) or len(parts) > 1 else path
    carried = with_ticket(target, "the.ticket")
    assert without_ticket(carried) == (target, "the.ticket")
    assert without_ticket(target) == (target, None)


@pytest.mark.parametrize(
    ("carried", "target", "ticket"),
    [
        ("/a?limpet_ticket=x", "/a", "x"),
        ("/a?b=1&limpet_ticket=x&c=%20", "/a?b=1&c=%20", "x"),
        ("/a?limpet_ticket=x&limpet_ticket=y", "/a", "y"),
        ("/a?limpet%5Fticket=x&b", "/a?b", "x"),
        ("/a?limpet_ticket", "/a", ""),
        ("/a?limpet_tickets=x", "/a?limpet_tickets=x", None),
        ("/limpet_ticket=x", "/limpet_ticket=x", None),
        ("//evil.example/?limpet_ticket=x", "//evil.example/", "x"),
    ],
)
def test_nothing_but_the_ticket_is_taken_out(carried: str, target: str, ticket: str | None) -> None:
    assert without_ticket(carried) == (target, ticket)


def test_a_ticket_comes_before_the_fragment_and_in_place_of_an_older_one() -> None:
    assert with_ticket("/a?limpet_ticket=old&b=1#top", "new") == "/a?b=1&limpet_ticket=new#top"


def test_cookies_are_found_among_others_and_each_counts_alone() -> None:
    name = cookie_name(HANDLE)
    headers = [f"a=1; {name}=one;b=2", f"\t{name} = two ; {name}x=three; {name.upper()}=four"]
    assert list(cookies_named(headers, [name])) == ["one", "two"]
    assert is_ours(name)
    assert is_ours(cookie_name(HANDLE, in_tabs=True))
    assert not is_ours("limpet_previews")
