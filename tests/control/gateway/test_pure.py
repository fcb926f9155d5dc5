"""What a gateway reads and writes: bodies, streams in any pieces, keys in any pieces."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limpet.control.gateway.protocols import (
    Flavor,
    answered_headers,
    asked_headers,
    dialect_of,
    prepared,
    target_of,
    token_of,
)
from limpet.control.gateway.scrubbing import KeyScrubber, without_key
from limpet.control.gateway.usage import UsageReader
from limpet.errors import InvalidInputError
from limpet.harness.base import ModelChoice, ModelError
from tests.models.anthropic_messages import AnthropicMessages
from tests.models.openai_chat import OpenAIChat
from tests.models.openai_responses import OpenAIResponses
from tests.models.scenario import Call, Reply, Tokens

ANTHROPIC = ModelChoice("anthropic", "claude", "sk-key")
COMPATIBLE = ModelChoice("openai-compatible", "m", None, "http://host:1/v1beta/openai/")
REPLY = Reply(text="Some words.", calls=(Call(tool="t", input={"a": 1}),), tokens=Tokens(cached=7))


def stream_of(flavor: Flavor) -> bytes:
    protocol = {
        "messages": AnthropicMessages(), "chat": OpenAIChat(), "responses": OpenAIResponses()
    }[flavor]  # fmt: skip
    events = [protocol.frame(event) for event in protocol.events(REPLY, "m", 1)]
    return ("".join(events) + protocol.ends_with).encode()


def cut(data: bytes, places: list[int]) -> list[bytes]:
    at = sorted({place % (len(data) + 1) for place in places})
    return [data[a:b] for a, b in zip([0, *at], [*at, len(data)], strict=True)]


@pytest.mark.parametrize("flavor", ["messages", "chat", "responses"])
@given(places=st.lists(st.integers(0), max_size=12))
def test_a_stream_in_any_pieces_tells_the_same_and_is_handed_on_as_it_is(
    flavor: Flavor, places: list[int]
) -> None:
    whole = stream_of(flavor)
    reader = UsageReader(flavor, streams=True)
    for piece in cut(whole, places):
        assert reader.feed(piece) == piece
    assert reader.end() == b""
    assert reader.complete
    told = {value for value in reader.usage.values() if isinstance(value, int)}
    assert 100 in told
    assert told & {1000, 993}


@given(places=st.lists(st.integers(0), max_size=12))
def test_usage_that_nobody_asked_for_is_left_out_of_a_stream(places: list[int]) -> None:
    whole = stream_of("chat")
    reader = UsageReader("chat", streams=True, hides_usage=True)
    passed = b"".join(reader.feed(piece) for piece in cut(whole, places)) + reader.end()
    events = [event for event in whole.split(b"\n\n") if b'"choices": []' not in event]
    assert passed == b"\n\n".join(events)
    assert len(passed) < len(whole)
    assert reader.usage["completion_tokens"] == 100


@given(st.lists(st.binary(max_size=200), max_size=10), st.booleans(), st.booleans())
def test_no_bytes_are_lost_whatever_comes(
    pieces: list[bytes], streams: bool, hides_usage: bool
) -> None:
    reader = UsageReader("chat", streams=streams, hides_usage=hides_usage and streams)
    passed = b"".join(reader.feed(piece) for piece in pieces) + reader.end()
    assert passed == b"".join(pieces)


@given(st.lists(st.binary(max_size=20), max_size=6), st.lists(st.integers(0), max_size=8))
def test_a_key_is_taken_out_however_it_is_cut(parts: list[bytes], places: list[int]) -> None:
    key = "sk-secret-sk-secret"
    whole = key.encode().join(parts)
    scrubber = KeyScrubber(key)
    passed = b"".join(scrubber.feed(piece) for piece in cut(whole, places)) + scrubber.end()
    assert key.encode() not in passed
    assert passed == whole.replace(key.encode(), b"[key]")


def test_a_key_too_short_to_be_one_blots_nothing_out() -> None:
    assert KeyScrubber("none").feed(b"none") == b"none"
    assert without_key("none", "none") == "none"
    assert without_key("is sk-secret-1!", "sk-secret-1") == "is [key]!"


@pytest.mark.parametrize("flavor", ["messages", "chat", "responses"])
@given(
    body=st.dictionaries(
        st.sampled_from(
            ["model", "stream", "stream_options", "service_tier", "store", "messages", "x"]
        ),
        st.none() | st.booleans() | st.text() | st.dictionaries(st.text(), st.integers()),
    )
)
def test_the_chosen_model_is_asked_whatever_was(flavor: Flavor, body: dict[str, Any]) -> None:
    sent = json.loads(prepared(json.dumps(body).encode(), flavor, "chosen").body)
    assert sent["model"] == "chosen"
    assert "service_tier" not in sent
    assert not sent.get("store") or flavor == "messages"
    ours = {"model", "service_tier", "store", "stream_options"}
    assert {k: v for k, v in sent.items() if k not in ours} == {
        k: v for k, v in body.items() if k not in ours
    }
    if flavor == "chat" and body.get("stream"):
        assert sent["stream_options"]["include_usage"] is True


def test_a_model_named_twice_is_still_the_chosen_one() -> None:
    body = b'{"model": "cheap", "messages": [], "model": "dear"}'
    assert prepared(body, "messages", "chosen").body == b'{"model": "chosen", "messages": []}'


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"{", b"\xff", b"[" * 100_000, b'{"background": true, "input": "x"}'],
    ids=range(6),
)
def test_a_body_that_cannot_be_judged_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidInputError):
        prepared(body, "responses", "m")


def test_only_the_paths_of_inference_go_on() -> None:
    def url(choice: ModelChoice, path: str) -> str | None:
        target = target_of(choice, dialect_of(choice, "It"), path)
        return target and target.url

    assert url(ANTHROPIC, "/v1/messages?beta=true") == (
        "https://api.anthropic.com/v1/messages?beta=true"
    )
    assert url(COMPATIBLE, "/v1/chat/completions") == (
        "http://host:1/v1beta/openai/chat/completions"
    )
    moved = ModelChoice("anthropic", "m", "k", "http://h/proxy/v1/")
    assert url(moved, "/v1/messages/count_tokens") == "http://h/proxy/v1/messages/count_tokens"
    for path in (
        "/v1/messages/", "/v1/messages/../files", "/v1/messages/batches", "/v1/files", "/", "",
        "/v1/messages?x=http://a/b", "/v1/messages#", "//v1/messages", "/v1/chat/completions",
        "/V1/messages", "/v1/messages%2Fbatches", "http://elsewhere/v1/messages",
    ):  # fmt: skip
        assert url(ANTHROPIC, path) is None, path


def test_headers_are_those_of_a_list_and_the_token_is_found_in_either_place() -> None:
    headers = [
        ("anthropic-version", "2023-06-01"), ("x-api-key", "t"), ("host", "h"), ("cookie", "c"),
        ("connection", "close"), ("content-length", "4"), ("content-type", "application/json"),
    ]  # fmt: skip
    assert asked_headers(headers) == {
        "anthropic-version": "2023-06-01", "content-type": "application/json"
    }  # fmt: skip
    assert answered_headers([("Retry-After", "3"), ("Set-Cookie", "x"), ("Server", "y")]) == [
        ("retry-after", "3")
    ]
    assert token_of(headers) == "t"
    assert token_of([("authorization", "Bearer  t ")]) == "t"
    assert token_of([("authorization", "Basic t")]) == ""
    assert token_of([]) == ""


@pytest.mark.parametrize(
    "choice",
    [
        ModelChoice("google", "g", "key"),
        ModelChoice("bedrock", "b", "key", "https://bedrock-runtime.eu-central-1.amazonaws.com"),
        ModelChoice("anthropic", "c"),
        ModelChoice("openai", "o", ""),
        ModelChoice("openai-compatible", "m", "key"),
        ModelChoice("openai-compatible", "m", "key", "ftp://host"),
    ],
)
def test_a_choice_that_cannot_be_handed_through_is_said(choice: ModelChoice) -> None:
    with pytest.raises(ModelError) as said:
        dialect_of(choice, "The provider")
    assert "rovider" in str(said.value)
    assert "key" not in str(said.value).replace("no key", "")
