"""Which hosts are a sandbox's, and whose word on a request's way is believed."""

import pytest
from starlette.requests import HTTPConnection

from limpet.control.middleware import page_policy
from limpet.control.preview_address import LOCAL, PreviewAddresses, Site, proxies_of
from limpet.control.settings import Settings, SettingsError

ADDRESSES = PreviewAddresses(
    local=Site("http", LOCAL, 7070),
    named=Site.parse("https://preview.test:8443"),
    proxies=proxies_of("127.0.0.9, 10.0.0.0/8"),
)


def connection(peer: str = "127.0.0.1", **headers: str) -> HTTPConnection:
    pairs = [
        (name.replace("_", "-").rstrip("0123456789").encode(), value.encode())
        for name, value in headers.items()
    ]
    return HTTPConnection({"type": "http", "headers": pairs, "client": (peer, 1)})


@pytest.mark.parametrize(
    ("host", "handle", "port", "seen"),
    [
        ("calm-1.localhost:7070", "calm-1", None, "calm-1.localhost:7070"),
        ("calm-1.localhost:9", "calm-1", None, "calm-1.localhost:9"),
        ("calm-1.localhost", "calm-1", None, "calm-1.localhost"),
        ("CALM-1.LocalHost:7070", "calm-1", None, "calm-1.localhost:7070"),
        ("calm-1--3000.localhost:7070", "calm-1", 3000, "calm-1--3000.localhost:7070"),
        ("calm-1.preview.test:8443", "calm-1", None, "calm-1.preview.test:8443"),
        ("calm-1.preview.test", "calm-1", None, "calm-1.preview.test:8443"),
        ("calm-1--80.preview.test", "calm-1", 80, "calm-1--80.preview.test:8443"),
    ],
)
def test_a_host_names_a_sandbox_and_perhaps_a_port(
    host: str, handle: str, port: int | None, seen: str
) -> None:
    asked = ADDRESSES.asked(connection(host=host))
    assert asked is not None
    assert (asked.handle, asked.port, asked.host) == (handle, port, seen)
    assert asked.scheme == ("https" if "preview" in host else "http")


@pytest.mark.parametrize(
    "host",
    [
        "", "localhost", "localhost:7070", "127.0.0.1:7070", "preview.test", "a.b.preview.test",
        "a.b.localhost", "a.preview.test.evil.example", "a.evilpreview.test", "a.preview.test.",
        "a_b.preview.test", "a.preview.test:", "a.preview.test:x", "a.preview.test:123456",
        "a.preview.test@evil.example", "a.preview.test/x", "a preview.test", "a.localhost\n",
        "a--0.localhost", "a--65536.localhost", "a--03000.localhost", "x" * 49 + ".localhost",
        "[::1]:7070", ".localhost", "a%2elocalhost", "a..localhost",
    ],
)  # fmt: skip
def test_anything_else_is_no_preview(host: str) -> None:
    asked = ADDRESSES.asked(connection(host=host))
    assert asked is None or (host.startswith("a--") and asked.port is None)


def test_two_hosts_are_none() -> None:
    assert ADDRESSES.asked(connection(host="a.localhost", host2="b.localhost")) is None


def test_only_a_trusted_proxy_may_name_the_host() -> None:
    told = {"host": "127.0.0.1:7070", "x_forwarded_host": "a.preview.test"}
    assert ADDRESSES.asked(connection(**told)) is None
    asked = ADDRESSES.asked(connection("127.0.0.9", **told))
    assert asked is not None
    assert asked.handle == "a"
    told["x_forwarded_host"] = "victim.preview.test, a.preview.test"
    asked = ADDRESSES.asked(connection("10.1.2.3", **told))
    assert asked is not None
    assert asked.handle == "a", "the nearest proxy's word counts, not the client's"


def test_only_a_trusted_proxy_may_say_whom_it_came_from() -> None:
    told = {"host": "a.localhost", "x_forwarded_for": "9.9.9.9"}
    assert ADDRESSES.forwarded_for(connection(**told)) == "127.0.0.1"
    assert ADDRESSES.forwarded_for(connection("10.1.2.3", **told)) == "9.9.9.9, 10.1.2.3"


@pytest.mark.parametrize(
    ("host", "ours"),
    [
        ("localhost:1", True), ("127.0.0.1:1", True), ("[::1]:1", True), ("LOCALHOST", True),
        ("evil.example:1", False), ("a.localhost:1", False), ("127.0.0.1.evil.example", False),
        ("", False),
    ],
)  # fmt: skip
def test_a_loopback_port_answers_to_loopback_names_alone(host: str, ours: bool) -> None:
    asked = ADDRESSES.asked_on_loopback(connection(host=host), "calm-1")
    assert (asked is not None) is ours


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://preview.example.com", "https://h.preview.example.com/"),
        ("https://preview.example.com/", "https://h.preview.example.com/"),
        ("https://preview.example.com:443", "https://h.preview.example.com/"),
        ("http://preview.test:8080", "http://h.preview.test:8080/"),
        ("HTTPS://Preview.Test:8443", "https://h.preview.test:8443/"),
    ],
)
def test_a_site_makes_addresses(url: str, shown: str) -> None:
    assert Site.parse(url).url("h") == shown


@pytest.mark.parametrize(
    "url",
    [
        "preview.test", "ftp://preview.test", "https://", "https://preview", "https://x.localhost",
        "https://localhost", "https://preview.test/path", "https://preview.test?x", "https://a_b.test",
        "https://user@preview.test", "https://preview.test:99999", "https://preview.test:x",
        "https://10.0.0.1", "https://[::1]", "https://*.preview.test", "https://preview..test",
        "https://preview.test#x", "https://" + "a." * 100 + "test",
    ],
)  # fmt: skip
def test_what_is_no_site_is_an_error_that_names_the_variable(url: str) -> None:
    with pytest.raises(SettingsError, match="LIMPET_PREVIEW_URL"):
        Settings.load(preview_url=url)


def test_proxies_are_addresses_and_networks() -> None:
    assert len(Settings.load(trusted_proxies="10.0.0.0/8, ::1").previews.proxies) == 2
    for wrong in ("nginx", "10.0.0.1/8", "1.2.3.4.5"):
        with pytest.raises(SettingsError, match="LIMPET_TRUSTED_PROXIES"):
            Settings.load(trusted_proxies=wrong)


def test_our_pages_may_show_previews_of_the_domain() -> None:
    assert "https://*.preview.test:8443" in page_policy(ADDRESSES.named)
    assert "preview" not in page_policy()


LOOPBACK = {"calm-1": "http://localhost:41001/"}


@pytest.mark.parametrize(
    ("url", "origin", "rest", "port"),
    [
        ("http://calm-1.localhost:7070", "http://calm-1.localhost:7070", "/", None),
        ("http://calm-1.localhost:7070/a?b#c", "http://calm-1.localhost:7070", "/a?b#c", None),
        ("HTTP://Calm-1.LOCALHOST:7070/A", "http://calm-1.localhost:7070", "/A", None),
        ("http://calm-1.localhost:7070?b", "http://calm-1.localhost:7070", "/?b", None),
        ("http://calm-1--3000.localhost:7070/", "http://calm-1--3000.localhost:7070", "/", 3000),
        ("https://calm-1.preview.test:8443/x", "https://calm-1.preview.test:8443", "/x", None),
        ("http://localhost:41001/x", "http://localhost:41001", "/x", None),
    ],
)
def test_an_address_is_known_for_a_previews_own(
    url: str, origin: str, rest: str, port: int | None
) -> None:
    found = ADDRESSES.of_url(url, local_port=7070, loopback=LOOPBACK)
    assert found is not None
    asked, after = found
    assert (asked.handle, asked.port, asked.origin, after) == ("calm-1", port, origin, rest)


@pytest.mark.parametrize(
    "url",
    [
        "", "calm-1.localhost:7070", "http://calm-1.localhost/", "http://calm-1.localhost:7071/",
        "https://calm-1.localhost:7070/", "http://calm-1.preview.test:8443/",
        "https://calm-1.preview.test/", "https://preview.test:8443/", "http://localhost:41002/",
        "http://127.0.0.1:41001/", "http://localhost:7070/", "http://a.b.localhost:7070/",
        "http://calm-1.localhost:7070@evil.example/", "http://calm-1.localhost:7070.evil.example/",
        "http://calm-1.localhost:7070/\n", "http://calm-1.localhost:7070/a b",
        "http://calm-1.localhost:7070/\u00e9", "javascript://calm-1.localhost:7070/",
        "http://calm-1.localhost:07070/", "http://calm-1--99999.localhost:7070/",
        "http://calm-1.localhost:7070/" + "x" * 20_000,
    ],
)  # fmt: skip
def test_any_other_address_is_of_no_preview(url: str) -> None:
    assert ADDRESSES.of_url(url, local_port=7070, loopback=LOOPBACK) is None


def test_the_port_of_names_in_localhost_is_that_at_which_the_browser_finds_us() -> None:
    url = "http://calm-1.localhost:9000/"
    assert ADDRESSES.of_url(url, local_port=9000, loopback={}) is not None
    assert ADDRESSES.of_url(url, local_port=None, loopback={}) is None


@pytest.mark.parametrize(("said", "is_fine"), [("link", True), ("private", True), ("open", False)])
def test_who_sees_previews_unless_it_is_said_is_one_of_two(
    monkeypatch: pytest.MonkeyPatch, said: str, is_fine: bool
) -> None:
    monkeypatch.setenv("LIMPET_PREVIEW_ACCESS", said)
    if is_fine:
        assert Settings.load().preview_access == said
        return
    with pytest.raises(SettingsError, match="LIMPET_PREVIEW_ACCESS"):
        Settings.load()
