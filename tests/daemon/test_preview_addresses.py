"""A dev server's own address in a page's tags becomes the one that the browser knows."""

import json
import re
from pathlib import Path

import pytest

from limpet.daemon.preview import mapped_location
from limpet.daemon.preview_addresses import address_mender
from limpet.daemon.preview_inject import MAX_TAG_BYTES, Injector
from tests.daemon.setup.projects import SERVER_JS, lifecycle, wait_phase
from tests.daemon_process import TOKEN, DaemonProcess

OWN = "http://localhost:3000"
PUBLIC = "https://h.example.com:8443"


def mended(page: str, size: int = 1000, host: str = "h.example.com:8443") -> str:
    """A page as it goes on, without the script."""
    injector = Injector(b"", address_mender(3000, "https", host))
    data = page.encode()
    out = b"".join(injector.feed(data[i : i + size]) for i in range(0, len(data), size))
    return (out + injector.end()).decode()


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
@pytest.mark.parametrize(
    "page",
    [
        '<a href="OWN/who">OWN/who</a>',
        "<a href='OWN'>",
        "<A HREF=OWN?x=1>",
        '<img alt="a > b" srcset="OWN/1.png 1x, OWN/2.png 2x">',
        '<script src="OWN/x.js">fetch("OWN-in-script/<a href=OWN-in-script/>")</script><a x=OWN>',
        '<!-- <a href="OWN-in-comment/"> --><form action="OWN/sign-in">',
        '<title><a href="OWN-in-title/"></title><link href="OWN/x.css"/>',
        '<meta http-equiv=refresh content="0; url=OWN/next">',
        "<p>a < b</p><div data-props='{&quot;at&quot;:&quot;OWN&quot;}'>",
        '<p it\'s odd><a href="OWN/a"></body><a href="OWN/after">',
    ],
)
def test_every_tag_is_mended_and_nothing_else(page: str, size: int) -> None:
    given = re.sub(r"OWN(-in-\w+)?", OWN, page)
    in_tags = page.replace(">OWN/who<", f">{OWN}/who<")
    expected = re.sub(r"OWN-in-\w+", OWN, in_tags).replace("OWN", PUBLIC)
    assert mended(given, size) == expected


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]", "0.0.0.0"])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_each_name_of_this_machine_is_the_servers_own(scheme: str, host: str) -> None:
    assert mended(f'<a href="{scheme}://{host}:3000/a">') == f'<a href="{PUBLIC}/a">'


@pytest.mark.parametrize(
    "address",
    [
        "http://localhost:4000/a",
        "http://localhost:30001/",
        "http://localhost/a",
        "http://my.localhost:3000/",
        "http://example.com/?at=xhttp://localhost:3000/",
        "http://localhost:3000.example.com/",
        "http://localhost:3000@example.com/",
    ],
)
def test_other_addresses_stay(address: str) -> None:
    assert mended(f'<a href="{address}">') == f'<a href="{address}">'


@pytest.mark.parametrize("host", ['h"><script>', "a b", "", "h/x", "h@x"])
def test_a_host_that_could_not_stand_in_a_page_changes_nothing(host: str) -> None:
    assert mended(f'<a href="{OWN}/">', host=host) == f'<a href="{OWN}/">'


def test_what_never_ends_as_a_tag_is_not_held_for_ever() -> None:
    injector = Injector(b"@", address_mender(3000, "https", "h.example.com"))
    endless = b'<p title="' + b"x" * MAX_TAG_BYTES
    assert injector.feed(b"<p>" + endless[:100]) == b"<p>"
    assert injector.feed(endless[100:]) == endless
    assert injector.end() == b"@"


@pytest.mark.parametrize(
    ("scheme", "given", "mapped"),
    [
        ("https", "http://h.example.com:8443/a?b", "/a?b"),
        ("https", "HTTP://H.example.com:8443/a", "/a"),
        ("https", "https://h.example.com:8443/a", "https://h.example.com:8443/a"),
        ("https", "http://h.example.com/a", "http://h.example.com/a"),
        ("https", "http://other.example.com:8443/a", "http://other.example.com:8443/a"),
        ("http", "http://h.example.com:8443/a", "http://h.example.com:8443/a"),
    ],
)
def test_a_redirect_to_the_asked_host_in_the_clear_stays_on_it(
    scheme: str, given: str, mapped: str
) -> None:
    assert mapped_location(given, 3000, scheme, "h.example.com:8443") == mapped


def test_a_page_that_a_preview_host_asks_for_names_that_host(
    daemon: DaemonProcess, repo: Path
) -> None:
    link = "`<body><a href='http://${q.headers.host}/x'></a></body>`"
    server = SERVER_JS.replace(
        "{\n  if (q", "{\n  if (q.url === '/linked') { r.setHeader('content-type', 'text/html');"
        f" return r.end({link}); }}\n  if (q", 1,
    )  # fmt: skip
    (repo / "package.json").write_text(json.dumps({"scripts": {"dev": "node server.js"}}))
    (repo / "server.js").write_text(server)
    daemon.post("/config", {})
    wait_phase(daemon, "running")

    def asked(**headers: str) -> str:
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        answer = daemon.http.request("GET", daemon.url + "/linked", headers=names)
        return answer.data.decode().split("'")[1]

    outside = {
        "X_Limpet_Token": TOKEN,
        "X_Forwarded_Host": "h.example.com:8443",
        "X_Forwarded_Proto": "https",
    }
    assert asked(**outside, Sec_Fetch_Dest="document") == f"{PUBLIC}/x"
    own = f"http://localhost:{lifecycle(daemon)['port']}/x"
    assert asked(**outside, Sec_Fetch_Dest="empty") == own, "what is fetched is data"
    assert asked(Host="h.localhost:7070", Sec_Fetch_Dest="iframe") == "http://h.localhost:7070/x"
