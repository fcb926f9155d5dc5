"""Server-sent events: however the bytes are cut, the same events come out."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limpet.sdk import sse
from limpet.sdk.sse import Event, EventTooLargeError, parse_events

NAMES = st.text("abc-", min_size=1, max_size=8)
DATA = st.recursive(st.text() | st.integers() | st.none(), lambda s: st.lists(s, max_size=3))


@given(
    st.lists(st.tuples(NAMES, DATA), max_size=6),
    st.integers(1, 40),
    st.sampled_from(["\n", "\r\n"]),
)
def test_events_survive_any_cut(events: list[tuple[str, object]], size: int, end: str) -> None:
    text = "".join(
        f"id: {n}{end}event: {name}{end}data: {json.dumps(data)}{end}{end}"
        for n, (name, data) in enumerate(events)
    )
    wire = text.encode()
    chunks = [wire[i : i + size] for i in range(0, len(wire), size)]
    assert list(parse_events(chunks)) == [
        Event(name, json.dumps(data), str(n)) for n, (name, data) in enumerate(events)
    ]


def test_comments_are_left_out_and_data_lines_are_joined() -> None:
    wire = (
        b": heartbeat\n\nevent: log\ndata: one\ndata: two\n\ndata:bare\n\nevent: cut off\ndata: x\n"
    )
    assert list(parse_events([wire])) == [Event("log", "one\ntwo"), Event("message", "bare")]


@pytest.mark.parametrize("data", ["", "[1]", "no json", "3"])
def test_data_that_is_no_object_is_an_empty_one(data: str) -> None:
    assert Event("x", data).json() == {}


@pytest.mark.parametrize("line", [b"data: " + b"x" * 200, b"data: xxxxxxx\n" * 40])
def test_an_endless_event_is_an_error(monkeypatch: pytest.MonkeyPatch, line: bytes) -> None:
    monkeypatch.setattr(sse, "MAX_EVENT_BYTES", 100)
    with pytest.raises(EventTooLargeError):
        list(parse_events([line]))
