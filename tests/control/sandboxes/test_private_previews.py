"""Private previews over a real server: who is let in, how, until when, and what the app learns."""

import socket
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote, urlsplit

import aiohttp
import pytest
from aiohttp import web

from limpet.control.db import SandboxRow
from limpet.control.preview_door import PreviewDoor
from limpet.control.preview_hosts import PreviewHosts
from limpet.control.preview_tokens import PreviewTokens
from limpet.control.sandboxes.daemons import Reached
from limpet.control.secrets import SecretBox
from tests.control.sandboxes.private_page import KINDS, Kind, PrivatePage, private_page

pytestmark = pytest.mark.anyio
CLOSED = aiohttp.WSMsgType.CLOSE


@pytest.fixture(scope="module")
async def shared(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[PrivatePage]:
    async with private_page(Path(tmp_path_factory.mktemp("private"))) as made:
        yield made


@pytest.fixture
async def page(shared: PrivatePage) -> PrivatePage:
    """The page, private, whatever another test made of it."""
    await shared.make("private")
    return shared


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"])
async def test_nobody_sees_it_on_any_host_by_any_method(
    page: PrivatePage, kind: Kind, method: str
) -> None:
    got = await page.go(f"{page.base(kind)}/x?y=1", method=method)
    assert got.status == 403
    assert not got.shows_the_app
    assert "Set-Cookie" not in got.headers
    assert got.headers["Cache-Control"] == "no-store"
    assert got.headers["Referrer-Policy"] == "no-referrer"
    assert all("/x" not in one[1] for one in await page.seen())


@pytest.mark.parametrize("kind", KINDS)
async def test_the_page_says_that_it_is_private_and_leads_to_the_app(
    page: PrivatePage, kind: Kind
) -> None:
    got = await page.go(f"{page.base(kind)}/x?y=1&z=%20#")
    assert "This preview is private" in got.text
    app = page.page.app
    to = quote(f"{page.base(kind)}/x?y=1&z=%20", safe="")
    assert f'href="{app.url}/open-preview?to={to}"' in got.text
    assert "Retry-After" not in got.headers
    in_words = await page.go(f"{page.base(kind)}/x.js", Accept="*/*")
    assert (in_words.status, in_words.text) == (403, "This preview is private\n")


@pytest.mark.parametrize("kind", KINDS)
async def test_a_ticket_becomes_a_cookie_and_the_address_is_as_before(
    page: PrivatePage, kind: Kind
) -> None:
    at = f"{page.base(kind)}/a%2Fb//c?q=%7E&empty=&&x"
    status, way = await page.api("POST", "/open", {"at": at})
    assert status == 200
    assert way["url"].startswith(at)
    got = await page.go(way["url"])
    assert (got.status, got.headers["Location"]) == (303, at)
    assert got.headers["Referrer-Policy"] == "no-referrer"
    assert got.headers["Cache-Control"] == "no-store"
    seen = await page.go(at, cookie=got.cookie)
    assert seen.status == 200
    assert seen.shows_the_app
    target = at.removeprefix(page.base(kind))
    assert ["GET", target, "", ""] in await page.seen()


@pytest.mark.parametrize("kind", KINDS)
async def test_what_is_said_of_the_cookies(page: PrivatePage, kind: Kind) -> None:
    _, way = await page.api("POST", "/open", {"at": f"{page.base(kind)}/"})
    cookies = (await page.go(way["url"])).cookies
    handle = page.page.handle
    anywhere = cookies.pop(f"limpet_preview_{handle}")
    for said in ("Path=/", "Max-Age=43200", "HttpOnly", "Secure", "SameSite=None", "Partitioned"):
        assert said in anywhere.split("; ")
    assert "Domain" not in anywhere
    if kind == "named":
        assert cookies == {}
        return
    in_tabs = cookies.pop(f"limpet_preview_tab_{handle}")
    assert {"HttpOnly", "SameSite=Lax"} < set(in_tabs.split("; "))
    assert "Secure" not in in_tabs
    assert cookies == {}


@pytest.mark.parametrize("kind", KINDS)
async def test_web_sockets_are_closed_without_the_cookie_and_pass_with_it(
    page: PrivatePage, kind: Kind
) -> None:
    async with page.socket(kind) as line:
        closing = await line.receive()
        assert (closing.type, closing.data, closing.extra) == (CLOSED, 1008, "private")
    assert all("/hot" not in one[1] for one in await page.seen())
    cookie = await page.own_cookie(kind)
    async with page.socket(kind, cookie, Origin=page.base(kind)) as line:
        assert (await line.receive()).data == "secret"
    assert ["GET", "/hot", "", ""] in await page.seen()


async def test_a_ticket_works_once_and_for_its_own_sandbox(page: PrivatePage) -> None:
    _, way = await page.api("POST", "/open")
    assert way["url"].startswith(f"{page.base('named')}/?limpet_ticket=")
    assert (await page.go(way["url"])).status == 303
    again = await page.go(way["url"])
    assert again.status == 403
    assert "used before" in again.text
    assert "limpet_ticket" not in again.text
    cookie = await page.own_cookie()
    used = await page.go(way["url"], cookie=cookie)
    assert (used.status, used.cookies) == (303, {}), "who was let in goes on with a used ticket"


async def test_the_cookie_of_another_sandbox_lets_nobody_in(page: PrivatePage) -> None:
    app = page.page.app
    agent = (await app.agent(title="Other"))["id"]
    status, started = await app.api("POST", "/vm/start", {"virtualMcpId": agent})
    assert status == 200, started
    other = started["vmId"]
    try:
        status, _ = await app.api("PATCH", f"/sandboxes/{other}/preview", {"access": "private"})
        assert status == 200
        _, way = await app.api("POST", f"/sandboxes/{other}/preview/open", {})
        got = await page.go(way["url"])
        theirs = got.cookie
        assert (await page.go(f"https://{other}.preview.test:8443/", cookie=theirs)).status != 403
        renamed = theirs.replace(other, page.page.handle, 1)
        value = theirs.partition("=")[2]
        ticket = way["url"].partition("limpet_ticket=")[2]
        own = page.base("named")
        assert (await page.go(f"{own}/", cookie=theirs)).status == 403
        assert (await page.go(f"{own}/", cookie=renamed)).status == 403
        assert (await page.go(f"{own}/?limpet_ticket={ticket}")).status == 403
        assert (await page.go(f"{own}/?limpet_ticket={value}")).status == 403
    finally:
        await app.api("POST", "/vm/delete", {"virtualMcpId": agent})


async def test_a_cookie_is_no_ticket_and_a_ticket_no_cookie(page: PrivatePage) -> None:
    cookie = await page.own_cookie("named")
    name, _, value = cookie.partition("=")
    assert (await page.go(f"{page.base('named')}/?limpet_ticket={value}")).status == 403
    _, way = await page.api("POST", "/open")
    ticket = way["url"].partition("limpet_ticket=")[2]
    assert (await page.go(f"{page.base('named')}/", cookie=f"{name}={ticket}")).status == 403


async def test_a_link_lets_in_over_and_over_until_sharing_stops(page: PrivatePage) -> None:
    status, link = await page.api("POST", "/links", {"days": 1, "at": f"{page.base('local')}/p"})
    assert status == 200, link
    assert link["url"].startswith(f"{page.base('local')}/p?limpet_ticket=")
    cookies = []
    for _ in range(2):
        got = await page.go(link["url"])
        assert (got.status, got.headers["Location"]) == (303, f"{page.base('local')}/p")
        cookies.append(got.cookie)
    _, sharing = await page.api("GET")
    assert sharing == {"access": "private", "is_default": False, "links_until": link["until"]}
    longer = (await page.api("POST", "/links", {"days": 30}))[1]
    shorter = (await page.api("POST", "/links", {"days": 1}))[1]
    assert shorter["until"] < longer["until"]
    assert (await page.api("GET"))[1]["links_until"] == longer["until"]
    status, sharing = await page.api("DELETE", "/links")
    assert (status, sharing["links_until"]) == (200, None)
    assert (await page.go(link["url"])).status == 403
    assert (await page.go(longer["url"])).status == 403
    for cookie in cookies:
        assert (await page.go(f"{page.base('local')}/p", cookie=cookie)).status == 403


async def test_an_open_preview_is_open_and_private_anew_puts_everybody_out(
    page: PrivatePage,
) -> None:
    cookie = await page.own_cookie()
    _, link = await page.api("POST", "/links", {"days": 7})
    assert (await page.make("private"))["links_until"] == link["until"], "nothing changed"
    assert (await page.go(f"{page.base('local')}/", cookie=cookie)).status == 200
    sharing = await page.make("link")
    assert sharing == {"access": "link", "is_default": False, "links_until": None}
    assert (await page.go(f"{page.base('local')}/")).shows_the_app
    led = await page.go(link["url"])
    assert (led.status, led.headers["Location"]) == (303, f"{page.base('named')}/")
    assert led.cookies == {}
    status, refused = await page.api("POST", "/links", {"days": 7})
    assert (status, refused["error"]["code"]) == (409, "conflict")
    assert (await page.api("POST", "/open"))[1] == {"url": f"{page.base('named')}/", "until": None}
    await page.make("private")
    assert (await page.go(f"{page.base('local')}/", cookie=cookie)).status == 403
    assert (await page.go(link["url"])).status == 403


async def test_what_is_open_when_access_is_taken_away_ends(page: PrivatePage) -> None:
    cookie = await page.own_cookie()
    where, sent = page.served(f"{page.base('local')}/drip")
    async with (
        page.socket("local", cookie) as line,
        page.http.get(where, headers={**sent, "Cookie": cookie}) as stream,
    ):
        assert (await line.receive()).data == "secret"
        assert b"first" in await stream.content.readany()
        await page.api("DELETE", "/links")
        closing = await line.receive(timeout=20)
        assert (closing.type, closing.data, closing.extra) == (CLOSED, 1008, "private")
        with pytest.raises(aiohttp.ClientPayloadError):
            await stream.content.read()


async def test_what_was_open_to_all_ends_when_it_is_made_private(page: PrivatePage) -> None:
    await page.make("link")
    async with page.socket("local") as line:
        assert (await line.receive()).data == "secret"
        await page.make("private")
        closing = await line.receive(timeout=20)
        assert (closing.type, closing.data) == (CLOSED, 1008)


async def test_the_app_learns_neither_cookie_nor_ticket(page: PrivatePage) -> None:
    cookie = await page.own_cookie("loopback")
    await page.seen()
    _, way = await page.api("POST", "/open", {"at": f"{page.base('loopback')}/p?a=1"})
    token = cookie.partition("=")[2].partition(";")[0]
    tricks = [
        f"a=1; {cookie}; b=2",
        f"{cookie};b=2",
        f'a="1; {cookie}"; b=2',
        f"\t{cookie} ;;  b=2",
        f"b=2; limpet_session=x; limpet_preview_other-1={token}; {cookie}",
    ]
    for trick in tricks:
        for method in ("POST", "PUT"):
            got = await page.go(
                way["url"], cookie=trick, method=method, Referer=f"{way['url']}&c=3"
            )
            assert got.status == 200, trick
    seen = await page.seen()
    assert len(seen) == len(tricks) * 2
    for _, target, cookies, referer in seen:
        assert target == "/p?a=1"
        assert referer == f"{page.base('loopback')}/p?a=1&c=3"
        assert "limpet" not in cookies
        assert token not in cookies
        assert "b=2" in cookies


async def test_the_sandbox_itself_is_not_given_them(
    page: PrivatePage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its daemon takes them off as well, but a sandbox runs what nobody vouches for."""
    cookie = await page.own_cookie()
    sandboxes = page.page.app.limpet.services.sandboxes
    given: list[tuple[str, str, str]] = []

    async def noted(request: web.Request) -> web.Response:
        headers = request.headers
        given.append((request.path_qs, headers.get("Cookie", ""), headers.get("Referer", "")))
        return web.Response(text="noted")

    stand_in = web.Application()
    stand_in.router.add_route("*", "/{path:.*}", noted)
    runner = web.AppRunner(stand_in)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        reach = sandboxes.reach_row

        async def reach_the_stand_in(row: SandboxRow) -> Reached:
            reached = await reach(row)
            at = replace(reached.provisioned, daemon_url=f"http://127.0.0.1:{port}")
            return replace(reached, provisioned=at)

        monkeypatch.setattr(sandboxes, "reach_row", reach_the_stand_in)
        url = f"{page.base('local')}/p?limpet_ticket=t.x&a=1"
        sent = f"a=1; {cookie}; limpet_preview_other-1=x; limpet_session=y"
        got = await page.go(url, cookie=sent, method="POST", Referer=url)
        assert got.text == "noted"
        with pytest.raises(aiohttp.WSServerHandshakeError):
            async with page.socket("local", sent, "/p?a=1&limpet_ticket=t.x"):
                pass
    finally:
        await runner.cleanup()
    assert given == [("/p?a=1", "a=1", f"{page.base('local')}/p?a=1"), ("/p?a=1", "a=1", "")]


async def test_cookies_on_several_lines_are_all_looked_at(page: PrivatePage) -> None:
    """A page of a domain above can set a cookie of the same name: the right one counts still."""
    cookie = (await page.own_cookie("named")).partition(";")[0]
    name = cookie.partition("=")[0]
    for header in (f"{name}=x; {cookie}", f"{cookie}; {name}=x", f"a=1;{name}= ; {cookie}"):
        assert (await page.go(f"{page.base('named')}/", cookie=header)).status == 200
    for header in (f"{name}=x", f"a={cookie}", f"{name.upper()}={cookie.partition('=')[2]}"):
        assert (await page.go(f"{page.base('named')}/", cookie=header)).status == 403


@pytest.mark.parametrize(
    "path",
    [
        "//evil.example/x",
        "/\\evil.example",
        "//evil.example:80/..",
        "/%2F/evil.example",
        "/.//evil",
    ],
)
@pytest.mark.parametrize("kind", KINDS)
async def test_a_ticket_leads_nowhere_else(page: PrivatePage, kind: Kind, path: str) -> None:
    _, way = await page.api("POST", "/open", {"at": f"{page.base(kind)}/"})
    ticket = way["url"].partition("?")[2]
    got = await page.go(f"{page.base(kind)}{path}?{ticket}")
    assert got.status == 303
    assert got.headers["Location"] == f"{page.base(kind)}{path}"
    assert urlsplit(got.headers["Location"]).netloc == urlsplit(page.base(kind)).netloc


async def test_pages_of_others_cannot_use_the_cookie_of_who_looks_at_them(
    page: PrivatePage,
) -> None:
    cookie = await page.own_cookie("named")
    own = page.base("named")
    sibling = "https://other-1.preview.test:8443"
    port = own.replace(page.page.handle, f"{page.page.handle}--3000")

    async def status(site: str, mode: str, **more: str) -> int:
        got = await page.go(
            f"{own}/x.js", cookie=cookie, Sec_Fetch_Site=site, Sec_Fetch_Mode=mode, **more
        )
        return got.status

    assert await status("same-site", "no-cors", Sec_Fetch_Dest="script") == 403
    assert await status("cross-site", "no-cors", Sec_Fetch_Dest="image") == 403
    assert await status("same-site", "cors", Origin=sibling) == 403
    assert await status("same-origin", "no-cors", Sec_Fetch_Dest="script") == 200
    assert await status("same-site", "cors", Origin=port) == 200
    assert await status("cross-site", "navigate", Sec_Fetch_Dest="document") == 200
    assert await status("none", "navigate") == 200
    for origin in (sibling, "null", "https://evil.example", own.replace("https", "http")):
        async with page.socket("named", cookie, Origin=origin) as line:
            assert (await line.receive()).data == 1008, origin
    for origin in (own, port):
        async with page.socket("named", cookie, Origin=origin) as line:
            assert (await line.receive()).data == "secret", origin


async def test_pictures_of_it_are_taken_as_before(page: PrivatePage) -> None:
    services = page.page.app.limpet.services
    tokens = PreviewTokens(SecretBox([b"k" * 32]).signer("test"))
    door = PreviewDoor(tokens, "private", None)
    previews = PreviewHosts(services.sandboxes, services.settings.previews, door)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        async with previews.serving_unwatched(listener):
            at = f"http://127.0.0.1:{listener.getsockname()[1]}/"
            async with page.http.get(at, headers={"Host": page.page.host}) as answer:
                assert "the secret app" in await answer.text()


async def test_native_routes_stay_away_and_a_stopped_sandbox_tells_nobody(
    page: PrivatePage,
) -> None:
    cookie = await page.own_cookie()
    for path in ("/health", "/_sandbox/idle"):
        assert (await page.go(page.base("local") + path, cookie=cookie)).status == 404
    app = page.page.app
    running = await page.go(f"{page.base('local')}/")
    status, _ = await app.api("POST", f"/sandboxes/{page.page.handle}/stop", {})
    assert status == 200
    stopped = await page.go(f"{page.base('local')}/")
    assert (stopped.status, stopped.text) == (running.status, running.text)
    async with page.socket("local") as line:
        assert (await line.receive()).data == 1008
    assert (await page.go(f"{page.base('local')}/", cookie=cookie)).status == 503
    status, _ = await app.api("POST", "/vm/start", {"virtualMcpId": page.page.agent})
    assert status == 200
    box = await page.page.until_phase("running")
    assert box["preview_access"] == "private", "it stays so"
    async with page.page.events() as events:
        seen = await events.until("sandbox", lambda one: one["loopback_preview_url"])
    page.loopback = seen[-1][1]["loopback_preview_url"]
    assert (await page.go(f"{page.base('local')}/", cookie=cookie)).status == 200


# --- the app's way in ---------------------------------------------------------------------------


def way_in(page: PrivatePage, to: str) -> str:
    return f"{page.page.app.url}/open-preview?to={quote(to, safe='')}"


@pytest.mark.parametrize("kind", KINDS)
async def test_who_is_signed_in_is_let_in(page: PrivatePage, kind: Kind) -> None:
    at = f"{page.base(kind)}/a?b=1&c=%26#top"
    got = await page.go(way_in(page, at), cookie=await page.page.app.cookie())
    assert got.status == 303, got.text
    assert got.headers["Referrer-Policy"] == "no-referrer"
    assert got.headers["X-Frame-Options"] == "SAMEORIGIN"
    location = got.headers["Location"]
    assert location.startswith(f"{page.base(kind)}/a?b=1&c=%26&limpet_ticket=")
    assert location.endswith("#top")
    let_in = await page.go(location.partition("#")[0])
    assert let_in.headers["Location"] == f"{page.base(kind)}/a?b=1&c=%26"


async def test_who_is_not_signed_in_is_told_how_and_comes_back(
    page: PrivatePage,
) -> None:
    url = way_in(page, f"{page.base('local')}/")
    got = await page.go(url)
    assert got.status == 401
    assert "limpet open" in got.text
    assert f'href="{url.removeprefix(page.page.app.url)}"' in got.text
    harmful = await page.go(way_in(page, '"><script>'))
    assert "<script>" not in harmful.text
    assert "frame-ancestors 'self'" in got.headers["Content-Security-Policy"]
    for cookie in ("limpet_session=x", await page.own_cookie("loopback")):
        refused = await page.go(url, cookie=cookie)
        assert refused.status == 401


async def test_the_way_in_leads_to_previews_of_this_server_alone(page: PrivatePage) -> None:
    cookie = await page.page.app.cookie()
    handle, port = page.page.handle, page.page.app.port
    for to in (
        "", "/", "https://evil.example/", f"https://{handle}.evil.example/", "javascript:alert(1)",
        f"http://{handle}.preview.test:8443/", f"https://{handle}.preview.test/",
        f"https://{handle}.preview.test:8443@evil.example/", f"//{handle}.preview.test:8443/",
        f"https://{handle}.preview.test:8443.evil.example/",
        f"https://evil.example\\.{handle}.preview.test:8443/",
        f"http://{handle}.localhost:{page.dev_port}/", f"http://{handle}.localhost/",
        f"http://localhost:{page.dev_port}/", f"http://localhost:{port}/", f"http://127.0.0.1:{port}/",
        f"http://{handle}.localhost:{port}/\r\nSet-Cookie: a=1", f"https://{handle}.localhost:{port}/",
        f" http://{handle}.localhost:{port}/", f"http://{handle}.localhost:{port}/a b",
        f"http://user@{handle}.localhost:{port}/",
    ):  # fmt: skip
        got = await page.go(way_in(page, to), cookie=cookie)
        assert got.status == 400, to
        assert "limpet_ticket" not in str(got.headers), to
        status, _ = await page.api("POST", "/open", {"at": to} if to else {"at": "x"})
        assert status == 400, to
    unknown = "https://nobody-0123.preview.test:8443/"
    got = await page.go(way_in(page, unknown), cookie=cookie)
    assert got.status == 404


async def test_scripts_and_frames_of_others_get_no_ticket(page: PrivatePage) -> None:
    cookie = await page.page.app.cookie()
    url = way_in(page, f"{page.base('local')}/")

    async def status(mode: str, dest: str, site: str) -> int:
        got = await page.go(
            url, cookie=cookie, Sec_Fetch_Mode=mode, Sec_Fetch_Dest=dest, Sec_Fetch_Site=site
        )
        return got.status

    assert await status("navigate", "document", "cross-site") == 303
    assert await status("navigate", "iframe", "same-origin") == 303
    assert await status("navigate", "iframe", "same-site") == 403
    assert await status("navigate", "iframe", "cross-site") == 403
    assert await status("no-cors", "image", "same-site") == 403
    assert await status("cors", "empty", "same-origin") == 403


async def test_an_open_preview_is_opened_without_a_ticket(page: PrivatePage) -> None:
    await page.make("link")
    cookie = await page.page.app.cookie()
    got = await page.go(way_in(page, f"{page.base('local')}/p?q"), cookie=cookie)
    assert (got.status, got.headers["Location"]) == (303, f"{page.base('local')}/p?q")


async def test_another_org_gets_nothing(page: PrivatePage) -> None:
    status, _ = await page.page.app.api("GET", "/sandboxes/nobody-1/preview")
    assert status == 404
    _, _, text = await page.page.app.raw(
        "GET",
        f"/api/other/sandboxes/{page.page.handle}/preview",
        headers={"Authorization": f"Bearer {page.page.app.key}"},
    )
    assert text["error"]["code"] == "not_found"
