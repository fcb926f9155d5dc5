"""The preview of a real little node server, through a real daemon."""

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from limpet.daemon import preview_pages
from limpet.daemon.preview import (
    is_chatter,
    mapped_cookie,
    mapped_location,
    without_frame_ancestors,
    without_our_cookies,
)
from limpet.daemon.preview_inject import Injector
from tests.daemon.setup.projects import SERVER_JS, lifecycle, state, wait_phase
from tests.daemon_process import TOKEN, DaemonProcess
from tests.live import poll_until

pytestmark = pytest.mark.anyio

PAGE = {"Accept": "text/html", "Sec-Fetch-Dest": "document", "Sec-Fetch-Mode": "navigate"}


def write_app(repo: Path, server_js: str = SERVER_JS) -> None:
    (repo / "package.json").write_text(
        json.dumps({"name": "x", "scripts": {"dev": "node server.js"}})
    )
    (repo / "server.js").write_text(server_js)


@pytest.fixture
def app(daemon: DaemonProcess, repo: Path) -> DaemonProcess:
    write_app(repo)
    daemon.post("/config", {})
    wait_phase(daemon, "running")
    return daemon


def get(daemon: DaemonProcess, path: str, **headers: str) -> Any:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return daemon.http.request("GET", daemon.url + path, headers=names, redirect=False)


def seq(daemon: DaemonProcess) -> int:
    found: int = daemon.request("GET", "/idle").json()["activitySeq"]
    return found


def previews(daemon: DaemonProcess) -> list[tuple[int, str, bool]]:
    """What `GET /previews` tells."""
    ports = daemon.request("GET", "/previews").json()["ports"]
    return [(one["port"], one["process"], one["main"]) for one in ports]


def quiet_seq(daemon: DaemonProcess) -> int:
    """The counter when what was written to the workspace has been noticed."""
    poll_until("quiet", lambda: daemon.request("GET", "/idle").json()["idleMs"] > 400)
    return seq(daemon)


def test_the_dev_server_sees_localhost_and_none_of_our_secrets(app: DaemonProcess) -> None:
    port = lifecycle(app)["port"]
    seen = get(
        app,
        "/headers",
        Host="handle.localhost:7070",
        Origin="http://handle.localhost:7070",
        Cookie="a=1; limpet_session=s; b=2; limpet_preview=p",
        Authorization=f"Bearer {TOKEN}",
    ).json()
    assert seen["host"] == f"localhost:{port}"
    assert seen["origin"] == f"http://localhost:{port}"
    assert seen["cookie"] == "a=1; b=2"
    assert "authorization" not in seen
    assert seen["x-forwarded-host"] == "handle.localhost:7070"
    assert seen["x-forwarded-proto"] == "http"
    assert seen["x-forwarded-port"] == "7070"
    assert seen["x-forwarded-for"] == "127.0.0.1"


def test_a_preview_host_may_pass_the_users_own_authorization_on(app: DaemonProcess) -> None:
    trusted = {
        "X_Limpet_Token": TOKEN,
        "Authorization": "Basic dXNlcg==",
        "X_Forwarded_Host": "h.example.com",
        "X_Forwarded_Proto": "https",
        "X_Forwarded_For": "9.9.9.9",
        "Origin": "https://h.example.com",
    }
    seen = get(app, "/headers", **trusted).json()
    assert seen["authorization"] == "Basic dXNlcg=="
    assert "x-limpet-token" not in seen
    assert seen["x-forwarded-host"] == "h.example.com"
    assert seen["x-forwarded-proto"] == "https"
    assert seen["x-forwarded-for"] == "9.9.9.9, 127.0.0.1"
    assert seen["origin"].startswith("http://localhost:")
    seen = get(app, "/headers", **{**trusted, "X_Limpet_Token": "wrong"}).json()
    assert "authorization" not in seen
    assert "x-limpet-token" not in seen
    assert seen["x-forwarded-host"] != "h.example.com"


def test_a_foreign_origin_stays_foreign(app: DaemonProcess) -> None:
    seen = get(app, "/headers", Host="h.localhost:1", Origin="https://evil.example").json()
    assert seen["origin"] == "https://evil.example"


def test_next_compares_a_posts_origin_with_the_forwarded_host(
    daemon: DaemonProcess, repo: Path
) -> None:
    """A form without JavaScript has no `Next-Action`: that it is Next is known from its answers."""
    write_app(
        repo,
        SERVER_JS.replace("{\n  if (q", "{\n  r.setHeader('x-powered-by', 'Next.js');\n  if (q"),
    )
    daemon.post("/config", {})
    wait_phase(daemon, "running")
    asked = {"Host": "h.example.com", "Origin": "http://h.example.com"}
    local = f"http://localhost:{lifecycle(daemon)['port']}"
    url = daemon.url + "/headers"
    action = {**asked, "Next-Action": "x"}
    assert daemon.http.request("POST", url, headers=action).json()["origin"] == asked["Origin"]
    assert daemon.http.request("GET", url, headers=asked).json()["origin"] == local
    assert daemon.http.request("POST", url, headers=asked).json()["origin"] == asked["Origin"]


def test_another_server_compares_a_posts_origin_with_the_host(app: DaemonProcess) -> None:
    asked = {"Host": "h.example.com", "Origin": "http://h.example.com"}
    seen = app.http.request("POST", app.url + "/headers", headers=asked).json()
    assert seen["origin"] == f"http://{seen['host']}"


def test_documents_get_the_script_and_others_do_not(app: DaemonProcess) -> None:
    page = get(app, "/", **{name.replace("-", "_"): value for name, value in PAGE.items()})
    assert page.status == 200
    assert re.search(rb"hello<script data-limpet>.*</script></body>", page.data, re.DOTALL)
    fetched = get(app, "/", Sec_Fetch_Dest="empty", Accept="*/*")
    assert fetched.data == b"<!doctype html><title>hi</title><body>hello</body>"


def test_what_forbids_framing_goes(app: DaemonProcess) -> None:
    page = get(app, "/framed", Sec_Fetch_Dest="iframe")
    assert "x-frame-options" not in page.headers
    assert "content-security-policy" not in page.headers
    part = get(app, "/framed", Sec_Fetch_Dest="empty")
    assert part.headers["content-security-policy"] == "default-src 'self'"


async def test_a_page_that_streams_is_not_held_back(
    app: DaemonProcess, http: aiohttp.ClientSession
) -> None:
    async with http.get("/stream", headers=PAGE) as answer:
        assert (await answer.content.readany()).startswith(b"<body><p>first")
        async with http.get("/go-on") as go_on:
            assert go_on.status == 200
        rest = await answer.content.read()
        assert rest.endswith(b"</script></body></html>")
        assert b"<p>second</p><script data-limpet>" in rest


def test_redirects_and_cookies_are_mapped_back(app: DaemonProcess) -> None:
    answer = get(app, "/away")
    assert answer.status == 302
    assert answer.headers["location"] == "/there?x=1"
    assert answer.headers.getlist("set-cookie") == ["a=1; Path=/", "b=2"]


def test_no_dev_server_is_a_page(daemon: DaemonProcess) -> None:
    for path in ("/", "/deep/down"):
        page = get(daemon, path, Accept="text/html")
        assert page.status == 503
        assert b"No dev server running" in page.data
        assert page.headers["cache-control"] == "no-store"
        assert b"prefers-color-scheme: dark" in page.data
        assert b"location.reload" in page.data


def test_a_server_that_starts_is_a_page_and_elsewhere_an_error(
    daemon: DaemonProcess, repo: Path
) -> None:
    slow = "const wait = setInterval(() => { if (require('fs').existsSync('go')) {\n"
    write_app(repo, slow + "clearInterval(wait);\n" + SERVER_JS + "}}, 20);")
    daemon.post("/config", {})
    wait_phase(daemon, "starting")
    before = quiet_seq(daemon)
    page = get(daemon, "/", Accept="text/html")
    assert page.status == 503
    assert page.headers["retry-after"] == "1"
    assert "Server is starting…" in page.data.decode()
    answer = get(daemon, "/api/x")
    assert answer.status == 502
    assert answer.json()["error"].startswith("proxy error")
    assert seq(daemon) == before, "waiting for a server is no work"
    (repo / "go").touch()
    wait_phase(daemon, "running")
    assert get(daemon, "/", Accept="text/html").status == 200


def test_an_api_at_the_root_is_told_kindly(daemon: DaemonProcess, repo: Path) -> None:
    write_app(repo)
    daemon.post("/config", {"env": {"PLAIN": "1"}})
    wait_phase(daemon, "running")
    page = get(daemon, "/", **{name.replace("-", "_"): value for name, value in PAGE.items()})
    assert page.status == 200
    assert b"No web page at this URL" in page.data
    assert get(daemon, "/", Accept="application/json").data == b"{}"
    assert get(daemon, "/other", Accept="text/html").data == b"{}"


async def test_a_websocket_goes_through_without_our_secrets(
    app: DaemonProcess, http: aiohttp.ClientSession
) -> None:
    port = lifecycle(app)["port"]
    headers = {
        "Cookie": "limpet_session=s; mine=1",
        "Origin": app.url,
        "X-Limpet-Token": TOKEN,
    }
    async with http.ws_connect("/hmr?token=x", protocols=["vite-hmr"], headers=headers) as ws:
        assert ws.protocol == "vite-hmr"
        seen = json.loads(await ws.receive_str())
        assert seen == {
            "url": "/hmr?token=x",
            "host": f"localhost:{port}",
            "origin": f"http://localhost:{port}",
            "cookie": "mine=1",
        }
        await ws.send_str("hello")
        assert await ws.receive_str() == "hello"
        await ws.send_str("close")
        message = await ws.receive()
        assert (message.data, message.extra) == (4321, "done")


async def test_a_websocket_without_a_server_is_closed_with_a_reason(
    daemon: DaemonProcess, http: aiohttp.ClientSession
) -> None:
    async with http.ws_connect("/", protocols=["vite-hmr"]) as ws:
        message = await ws.receive()
        assert (message.data, message.extra) == (1011, "no upstream dev server")


async def test_only_what_a_person_does_is_work(
    app: DaemonProcess, http: aiohttp.ClientSession
) -> None:
    before = quiet_seq(app)
    async with http.ws_connect("/hmr", protocols=["vite-hmr"]) as ws:
        await ws.receive_str()
        for _ in range(3):
            await ws.send_str('{"type":"ping"}')
            await ws.receive_str()
        assert seq(app) == before
        await ws.send_str("tick")
        await ws.receive_str()
        once = seq(app)
        assert once > before
        for _ in range(3):
            await ws.send_str("tick")
            await ws.receive_str()
        assert seq(app) == once
        await ws.send_str("another")
        await ws.receive_str()
        assert seq(app) > once
    now = seq(app)
    get(app, "/", Accept="text/x-vite-ping")
    get(app, "/", X_Limpet_Poll="1")
    assert seq(app) == now
    get(app, "/headers")
    assert seq(app) > now


async def test_another_port_of_the_sandbox_can_be_asked_for(
    app: DaemonProcess, http: aiohttp.ClientSession, repo: Path
) -> None:
    other = "const s = require('http').createServer((_, r) => r.end('other'))\n"
    (repo / "other.js").write_text(
        other + "s.listen(0, '127.0.0.1', () => console.log(s.address().port))"
    )
    assert previews(app) == [(lifecycle(app)["port"], "node server.js", True)]
    task = app.post("/bash", {"command": "node other.js", "mode": "background"})["taskId"]
    while not (said := app.request("GET", f"/tasks/{task}").json()["stdout"]).strip():
        await asyncio.sleep(0.02)
    port = said.strip()
    assert get(app, "/", X_Limpet_Token=TOKEN, X_Limpet_Port=port).data == b"other"
    assert b"hello" in get(app, "/", X_Limpet_Port=port).data, "only preview hosts may ask"
    mine = app.url.rsplit(":", 1)[1]
    assert get(app, "/x", X_Limpet_Token=TOKEN, X_Limpet_Port=mine).status == 502
    page = get(app, "/", X_Limpet_Token=TOKEN, X_Limpet_Port=mine)
    assert (page.status, f"Nothing listens on port {mine}" in page.data.decode()) == (503, True)
    assert (int(port), "node other.js", False) in previews(app)
    told = state(app, "previews")["ports"]
    assert {"port": int(port), "process": "node other.js", "main": False} in told
    assert int(mine) not in [one["port"] for one in told]

    at = {"X_Limpet_Token": TOKEN, "X_Limpet_Ports_At": "https://h--{port}.example.com"}
    sent = get(app, f"/to?http://localhost:{port}/a?b", **at)
    assert sent.headers["location"] == f"https://h--{port}.example.com/a?b"
    for elsewhere in (f"http://localhost:{mine}/", "https://example.com/a"):
        assert get(app, f"/to?{elsewhere}", **at).headers["location"] == elsewhere
    untold = get(app, f"/to?http://localhost:{port}/a", X_Limpet_Ports_At="https://evil/{port}")
    assert untold.headers["location"] == f"http://localhost:{port}/a"


async def test_a_port_that_closes_or_opens_is_told_to_who_listens(
    app: DaemonProcess, http: aiohttp.ClientSession, repo: Path
) -> None:
    (repo / "other.js").write_text("require('http').createServer().listen(0, '127.0.0.1')")
    seen: list[int] = []
    async with http.get("/_sandbox/events") as answer, asyncio.timeout(60):
        task = app.post("/bash", {"command": "node other.js", "mode": "background"})["taskId"]
        while 2 not in seen or seen[-1] != 1:
            line = (await answer.content.readline()).decode()
            if line.startswith("data: ") and '"ports"' in line:
                seen.append(len(json.loads(line[6:])["ports"]))
                if seen[-1] == 2:
                    app.post(f"/tasks/{task}/kill", {})


# -- the rules alone ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("page", "expected"),
    [
        ("<body>a</body></html>", "<body>a@</body></html>"),
        ("<BODY>a</BODY >", "<BODY>a@</BODY >"),
        ("<p>fragment", "<p>fragment@"),
        ("<script>'</body>'</script><b></b></body>", "<script>'</body>'</script><b></b>@</body>"),
        ("<!-- </body> --><p></body>", "<!-- </body> --><p>@</body>"),
        ("<style></body></style></body>", "<style></body></style>@</body>"),
        ("<scripty></body>", "<scripty>@</body>"),
        ("", "@"),
        ("<body>x</bodyguard></body>", "<body>x</bodyguard>@</body>"),
    ],
)
@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_the_script_goes_before_the_real_end_of_the_body(
    page: str, expected: str, size: int
) -> None:
    injector = Injector(b"@")
    data = page.encode()
    out = b"".join(injector.feed(data[i : i + size]) for i in range(0, len(data), size))
    assert (out + injector.end()).decode() == expected


def test_hardly_anything_is_held_back() -> None:
    injector = Injector(b"@")
    fed = b"<p>" + b"x" * 1000
    assert injector.feed(fed) == fed
    assert injector.feed(b"a <b") == b"a "


@pytest.mark.parametrize(
    ("given", "mapped"),
    [
        ("http://localhost:3000/a?b=1#c", "/a?b=1#c"),
        ("http://127.0.0.1:3000", "/"),
        ("http://localhost:3000?x=1", "/?x=1"),
        ("https://[::1]:3000/a", "/a"),
        ("//localhost:3000/a", "/a"),
        ("http://localhost:3000//evil.example/", "/evil.example/"),
        ("http://localhost:4000/a", "http://localhost:4000/a"),
        ("https://example.com/a", "https://example.com/a"),
        ("/a", "/a"),
        ("a", "a"),
        ("http://[bad", "http://[bad"),
    ],
)
def test_locations(given: str, mapped: str) -> None:
    assert mapped_location(given, 3000) == mapped


@pytest.mark.parametrize("name", ["no_server", "starting"])
def test_what_a_log_says_is_text_and_nothing_else(name: str) -> None:
    log = "\x1b[31mred\x1b[0m <script>alert(1)</script>\r\n10 %\r100 %\x07\n\x1b]0;title\x07end&"
    page, _ = getattr(preview_pages, name)("install-failed", log)
    shown = page.partition("<pre")[2].partition("</pre>")[0].partition(">")[2]
    assert shown == "red &lt;script&gt;alert(1)&lt;/script&gt;\n100 %\nend&amp;"


def test_of_a_long_log_the_end_is_shown() -> None:
    kept = preview_pages.tail("\n".join(f"line {number}" for number in range(1000)) + "\n\n")
    assert kept.splitlines()[-1] == "line 999"
    assert len(kept.splitlines()) == preview_pages.TAIL_LINES
    assert len(preview_pages.tail("x" * 100_000)) == preview_pages.TAIL_CHARACTERS


@pytest.mark.parametrize(
    ("given", "mapped"),
    [
        ("a=1; Domain=localhost; Path=/", "a=1; Path=/"),
        ("a=1; domain=.localhost", "a=1"),
        ("a=1; Domain=127.0.0.1; Secure", "a=1; Secure"),
        ("a=1; Domain=example.com", "a=1; Domain=example.com"),
        ("a=domain", "a=domain"),
        ("a=1; Domain=preview.test; Path=/", "a=1; Path=/"),
        ("a=1; Domain=.h.preview.test", "a=1"),
        ("a=1; Domain=review.test", "a=1; Domain=review.test"),
        ("a=1; Secure; SameSite=None; Partitioned", "a=1; Secure; SameSite=None; Partitioned"),
        ("limpet_preview=x; Path=/", None),
    ],
)
def test_cookies_set(given: str, mapped: str | None) -> None:
    assert mapped_cookie(given, "h.preview.test:8443") == mapped


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("a=1; limpet_session=x; b=2", "a=1; b=2"),
        ("limpet_session=x;limpet_preview=y", ""),
        ("limpet_sessions=x", "limpet_sessions=x"),
        ("a=limpet_session", "a=limpet_session"),
        (" limpet_session =x", ""),
        ("", ""),
    ],
)
def test_cookies_sent(given: str, kept: str) -> None:
    assert without_our_cookies(given) == kept


def test_policies() -> None:
    assert without_frame_ancestors("frame-ancestors 'none'") == ""
    assert without_frame_ancestors("a b; Frame-Ancestors x; c d") == "a b; c d"


@pytest.mark.parametrize(
    ("frame", "ping"),
    [
        ('{"event":"ping","tree":["",{"children":["' + "x" * 200 + '"]}]}', True),
        ('{"type":"ping"}', True),
        ("ping", True),
        (b"ping", True),
        ('{"type":"custom","event":"ping"}', False),
        ('{"event":"pinguin"}', False),
        ("hello", False),
        ('{"type":"ping"', False),
        ("", False),
        ('{"event":"client-success","clientId":1795868350463}', True),
        ('{"event":"browser-logs","entries":[]}', True),
        ('{"type":"turbopack-subscribe","path":"a.js"}', True),
        ('{"event":"client-sent-a-message"}', False),
        ('{"event":["ping"],"type":"ping"}', False),
    ],
)
def test_pings(frame: str | bytes, ping: bool) -> None:
    assert is_chatter(frame) is ping
