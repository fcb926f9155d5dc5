"""The config's shape, merging, validation and what a change means."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limpet.daemon.config_model import (
    Config,
    Credentials,
    Transition,
    as_document,
    classify,
    merge,
    parse,
    split_url,
)
from limpet.errors import InvalidInputError

URL = "https://example.com/a/b.git"


def config(**application: Any) -> Config:
    return parse({"git": {"repository": {"cloneUrl": URL}}, "application": application})[0]


BASE = {"git": {"repository": {"cloneUrl": URL, "branch": "main"}}}


@pytest.mark.parametrize(
    ("patch", "transition"),
    [
        ({"git": {"repository": {"cloneUrl": "https://example.com/other"}}}, "identity-conflict"),
        ({"git": {"repository": None}}, "identity-conflict"),
        ({"git": None, "env": {"A": "1"}}, "identity-conflict"),
        ({"git": {"repository": {"cloneUrl": "https://u:p@example.com/a/b.git"}}}, "no-op"),
        ({"git": {"repository": {"branch": "next"}}, "env": {"A": "1"}}, "branch-change"),
        ({"application": {"runtime": "bun", "port": 4000}}, "runtime-change"),
        ({"application": {"packageManager": {"name": "pnpm"}, "port": 1}}, "pm-change"),
        ({"application": {"packageManager": {"path": "web"}}}, "pm-change"),
        ({"application": {"port": 4000}, "env": {"A": "1"}}, "port-change"),
        ({"env": {"A": "1"}}, "env-change"),
        ({"git": {"identity": {"userName": "A", "userEmail": "a@b"}}}, "no-op"),
        ({}, "no-op"),
    ],
)
def test_a_change_means_the_first_that_fits(patch: dict[str, Any], transition: Transition) -> None:
    old = parse(BASE)[0]
    assert classify(old, parse(merge(as_document(old), patch))[0]) == transition


def test_the_first_config_is_bootstrap_however_little_is_in_it() -> None:
    assert classify(None, parse({})[0]) == "bootstrap"
    assert classify(parse({})[0], config()) == "bootstrap"


@pytest.mark.parametrize(
    "document",
    [
        {"git": {"repository": {"cloneUrl": ""}}},
        {"git": {"repository": {"branch": "main"}}},
        {"git": {"repository": {"cloneUrl": "http://example.com/a"}}},
        {"git": {"repository": {"cloneUrl": "ssh://git@example.com/a"}}},
        {"git": {"repository": {"cloneUrl": "--upload-pack=touch /tmp/x"}}},
        {"git": {"repository": {"cloneUrl": "ext::sh -c touch"}}},
        {"git": {"repository": {"cloneUrl": "https://example.com/a b"}}},
        {"git": {"repository": {"cloneUrl": "https://example.com/a\nb"}}},
        {"git": {"repository": {"cloneUrl": "https://"}}},
        {"git": {"repository": {"cloneUrl": "https://example.com:port/"}}},
        {"git": {"repository": {"cloneUrl": URL, "branch": "-x"}}},
        {"git": {"repository": {"cloneUrl": URL, "branch": "a;b"}}},
        {"git": {"repository": {"cloneUrl": URL, "branch": "a..b"}}},
        {"git": {"identity": {"userName": "only"}}},
        {"application": {"port": 0}},
        {"application": {"port": 65536}},
        {"application": {"port": "3000"}},
        {"application": {"runtime": "ruby"}},
        {"application": {"packageManager": {"name": "apt"}}},
        {"application": {"packageManager": {"path": "../up"}}},
        {"application": {"packageManager": {"path": ""}}},
        {"env": {"1A": "x"}},
        {"env": {"A": "x\0"}},
        {"env": {"A": "x" * 40_000}},
        {"env": {"A": 1}},
    ],
)
def test_what_does_not_hold_is_refused(document: dict[str, Any]) -> None:
    with pytest.raises(InvalidInputError):
        parse(document)


@pytest.mark.parametrize(
    ("given_", "public", "credentials"),
    [
        (URL, URL, None),
        ("https://tok@example.com/a", "https://example.com/a", Credentials("tok", "")),
        ("https://u:p%40q@example.com/a", "https://example.com/a", Credentials("u", "p@q")),
        ("https://u:p@[::1]:8443/a", "https://[::1]:8443/a", Credentials("u", "p")),
        ("https://EXAMPLE.com:443/a", "https://example.com/a", None),
        ("file:///srv/a.git", "file:///srv/a.git", None),
    ],
)
def test_credentials_leave_the_url(
    given_: str, public: str, credentials: Credentials | None
) -> None:
    assert split_url(given_) == (public, credentials)


def test_credentials_do_not_show() -> None:
    assert "secret" not in repr(Credentials("u", "secret"))
    with pytest.raises(InvalidInputError) as caught:
        parse({"git": {"repository": {"cloneUrl": "http://u:secret@example.com/"}}})
    assert "secret" not in str(caught.value)


def test_synthetic_branches_are_let_through() -> None:
    for name in ("ephemeral", "thread:abc_1"):
        parsed, _ = parse({"git": {"repository": {"cloneUrl": URL, "branch": name}}})
        assert parsed.branch == name


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda below: st.dictionaries(st.sampled_from("abc"), below, max_size=3),
    max_leaves=8,
)
OBJECT = st.dictionaries(st.sampled_from("abc"), JSON, max_size=3)


@given(OBJECT, OBJECT)
def test_a_patch_applied_twice_is_as_once(old: dict[str, Any], patch: dict[str, Any]) -> None:
    once = merge(old, patch)
    assert merge(once, patch) == once


@given(OBJECT)
def test_an_empty_patch_keeps_everything(old: dict[str, Any]) -> None:
    assert merge(old, {}) == old


def test_a_config_comes_back_from_its_document() -> None:
    parsed = parse(
        {
            "git": {"repository": {"cloneUrl": URL, "branch": "x"}, "publishOnShutdown": True},
            "application": {"packageManager": {"name": "npm", "path": "web"}, "port": 3000},
            "env": {"A": "1"},
        }
    )[0]
    assert parse(as_document(parsed))[0] == parsed


@pytest.mark.parametrize(
    ("patch", "transition"),
    [
        ({"git": {"repository": {"depth": 0}}}, "branch-change"),
        ({"application": {"script": "serve"}}, "runtime-change"),
        ({"application": {"command": "node x.js"}}, "runtime-change"),
    ],
)
def test_how_much_history_and_what_starts_the_app_are_changes(
    patch: dict[str, Any], transition: str
) -> None:
    old, _ = parse({"git": {"repository": {"cloneUrl": "https://example.com/a.git"}}})
    new, _ = parse(merge(as_document(old), patch))
    assert classify(old, new) == transition
    assert classify(new, new) == "no-op"


@pytest.mark.parametrize(
    "document",
    [
        {"git": {"repository": {"cloneUrl": "https://example.com/a", "depth": -1}}},
        {"git": {"repository": {"cloneUrl": "https://example.com/a", "depth": "all"}}},
        {"application": {"script": "--inspect"}},
        {"application": {"command": "  "}},
        {"application": {"command": "a\0b"}},
        {"application": {"command": "ü" * (16 * 1024 + 1)}},
        {"application": {"script": "a", "command": "b"}},
    ],
)
def test_an_odd_depth_or_starter_is_refused(document: dict[str, Any]) -> None:
    with pytest.raises(InvalidInputError):
        parse(document)
