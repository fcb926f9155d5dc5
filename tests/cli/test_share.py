"""share, and `open --preview`: who sees an agent's preview."""

from typing import Any

import pytest

from tests.cli.conftest import Cli
from tests.sdk.wire import Wire, error

AT = "/sandboxes/calm-cove-0123/preview"
OPEN: dict[str, Any] = {"access": "link", "is_default": True, "links_until": None}
PRIVATE: dict[str, Any] = {"access": "private", "is_default": False, "links_until": None}
LINK = {
    "url": "http://calm-cove-0123.localhost:7070/?limpet_ticket=l.x",
    "until": "2030-01-08T00:00Z",
}


def asked(wire: Wire) -> list[str]:
    paths = [(one.method, one.path.removeprefix("/api/local")) for one in wire.asked]
    return [f"{method} {path}" for method, path in paths if path.startswith(AT)]


def test_without_options_it_tells_who_sees_it(wire: Wire, cli: Cli) -> None:
    wire.on(f"GET {AT}", OPEN)
    ran = cli("share", "My shop")
    assert "link: anyone with the address sees it (the operator's default)" in ran.out
    assert "http://calm-cove-0123.localhost:7070" in ran.out
    assert cli("share", "My shop", "--json").json["access"] == "link"
    wire.on(f"GET {AT}", {**PRIVATE, "links_until": "2030-01-08T00:00:00Z"})
    ran = cli("share", "My shop")
    assert ran.out.startswith(
        "private: people signed in see it, and those with a link, until 2030-01"
    )
    assert "http" not in ran.out


def test_it_is_made_private_and_a_link_is_printed(wire: Wire, cli: Cli) -> None:
    wire.on(f"PATCH {AT}", PRIVATE)
    wire.on(f"POST {AT}/links", LINK)
    wire.on(f"GET {AT}", {**PRIVATE, "links_until": LINK["until"]})
    ran = cli("share", "My shop", "--private", "--for", "7d")
    assert ran.code == 0, ran.err
    assert ran.out.strip() == LINK["url"]
    assert wire.last(f"PATCH {AT}").json == {"access": "private"}
    assert wire.last(f"POST {AT}/links").json == {"days": 7}
    told = cli("share", "My shop", "--for", "30", "--json").json
    assert told["link"] == LINK
    assert told["links_until"] == LINK["until"]
    assert wire.last(f"POST {AT}/links").json == {"days": 30}


def test_sharing_is_stopped_before_a_new_link_is_made(wire: Wire, cli: Cli) -> None:
    wire.on(f"DELETE {AT}/links", PRIVATE)
    wire.on(f"POST {AT}/links", LINK)
    wire.on(f"GET {AT}", PRIVATE)
    ran = cli("share", "My shop", "--stop")
    assert "All links have ended." in ran.err
    assert "only people signed in see it" in ran.out
    cli("share", "My shop", "--stop", "--for", "1d")
    routes = [one for one in asked(wire) if "links" in one]
    assert routes[-2:] == [f"DELETE {AT}/links", f"POST {AT}/links"]


@pytest.mark.parametrize(
    "options",
    [
        ("--private", "--link"), ("--link", "--for", "7d"), ("--for", "31d"), ("--for", "0d"),
        ("--for", "7h"), ("--for", "-1d"), ("--for", ""),
    ],
)  # fmt: skip
def test_what_does_not_go_together_is_wrong_use(
    wire: Wire, cli: Cli, options: tuple[str, ...]
) -> None:
    assert cli("share", "My shop", *options).code == 2
    assert asked(wire) == []


def test_a_refusal_says_what_to_do(wire: Wire, cli: Cli) -> None:
    wire.on(f"POST {AT}/links", error(409, "conflict", "It is open", "Make it private first."))
    ran = cli("share", "My shop", "--for", "7d")
    assert ran.code == 5
    assert "Make it private first." in ran.err


def test_a_preview_is_opened_by_an_address_for_this_browser(wire: Wire, cli: Cli) -> None:
    way = {"url": "http://calm-cove-0123.localhost:7070/?limpet_ticket=t.x", "until": None}
    wire.on(f"POST {AT}/open", way)
    assert cli("open", "My shop", "--preview").out.strip() == way["url"]
    assert cli("open", "My shop", "--preview", "--json").json == {"url": way["url"]}
    assert cli("open", "--preview").code == 2
    assert cli("open", "My shop", "--branch", "b").code == 2
