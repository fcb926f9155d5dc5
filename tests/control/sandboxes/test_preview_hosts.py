"""Previews behind hosts of their own, and behind loopback ports: a real server all the way."""

from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from tests.control.sandboxes.live_page import LivePage, live_page

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
async def page(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LivePage]:
    async with live_page(Path(tmp_path_factory.mktemp("preview"))) as made:
        yield made


async def test_the_app_is_on_its_own_host(page: LivePage) -> None:
    async with page.get("/", headers={"Accept": "text/html"}) as answer:
        assert answer.status == 200
        assert "hello" in await answer.text()
    assert (await page.box())["preview_url"] == f"http://{page.host}/"


async def test_native_routes_are_not_to_be_had_on_preview_hosts(page: LivePage) -> None:
    for path in (
        "/health", "/_sandbox/idle", "/_sandbox/config", "/_decopilot_vm/idle", "/_sandbox",
        "/_sandbox%2Fidle", "/%5fsandbox/idle", "/_sandbox/../_sandbox/idle",
    ):  # fmt: skip
        async with page.get(path) as answer:
            assert answer.status == 404, path
            assert "idleMs" not in await answer.text()
    for path in ("/_sandboxes", "/healthy", "/x/_sandbox/idle"):
        async with page.get(path) as answer:
            assert answer.status == 200, path


async def test_the_dev_server_gets_the_browsers_headers_and_none_of_our_secrets(
    page: LivePage,
) -> None:
    async with page.get(
        "/headers",
        headers={
            "Cookie": "limpet_session=secret; theirs=1",
            "Authorization": "Basic dXNlcjpvd24=",
            "X-Limpet-Token": "a guess",
            "Origin": f"http://{page.host}",
        },
    ) as answer:
        seen = await answer.json()
    assert seen["cookie"] == "theirs=1"
    assert seen["authorization"] == "Basic dXNlcjpvd24="
    assert "x-limpet-token" not in seen
    assert seen["host"].startswith("localhost:")
    assert seen["origin"] == f"http://{seen['host']}"
    assert seen["x-forwarded-host"] == page.host


async def test_redirects_and_cookies_are_mapped_back_and_ours_cannot_be_set(
    page: LivePage,
) -> None:
    async with page.get("/away", allow_redirects=False) as answer:
        assert answer.headers["Location"] in ("/there?x=1", f"http://{page.host}/there?x=1")
        cookies = answer.headers.getall("Set-Cookie")
    assert not any("limpet_session" in cookie for cookie in cookies)
    assert not any("domain" in cookie.lower() for cookie in cookies)


async def test_pages_stream_while_they_are_made(page: LivePage) -> None:
    async with page.get("/stream", headers={"Accept": "text/html"}) as answer:
        assert b"first" in await answer.content.readany()
        async with page.get("/go-on") as other:
            assert other.status == 200
        assert b"second" in await answer.content.read()


async def test_web_sockets_pass_frames_sub_protocols_and_close_codes(page: LivePage) -> None:
    async with page.app.http.ws_connect(
        f"{page.app.url}/hot?x=1",
        headers={"Host": page.host, "Origin": f"http://{page.host}"},
        protocols=["vite-hmr"],
    ) as socket:
        assert socket.protocol == "vite-hmr"
        hello = (await socket.receive()).json()
        assert hello["url"] == "/hot?x=1"
        assert hello["origin"] == f"http://{hello['host']}"
        assert "token" not in hello
        await socket.send_str("ping")
        assert (await socket.receive()).data == "ping"
        await socket.send_str("close")
        closing = await socket.receive()
        assert closing.type == aiohttp.WSMsgType.CLOSE
        assert (closing.data, closing.extra) == (4321, "done")


async def test_a_native_web_socket_is_refused(page: LivePage) -> None:
    async with page.app.http.ws_connect(
        f"{page.app.url}/_sandbox/pty/x", headers={"Host": page.host}
    ) as socket:
        closing = await socket.receive()
        assert (closing.type, closing.data) == (aiohttp.WSMsgType.CLOSE, 1008)


async def test_a_host_that_nobody_knows_says_so(page: LivePage) -> None:
    async with page.get("/", host=f"nobody-0123456789abcdef.localhost:{page.app.port}") as answer:
        assert answer.status == 404
        assert "no such sandbox" in (await answer.text()).lower()
    async with page.get("/", host=f"x.evil.example:{page.app.port}") as answer:
        assert answer.status == 421


async def test_the_host_of_a_port_that_nothing_listens_on_is_no_way_out(page: LivePage) -> None:
    """Whatever else listens on this machine is not to be had through a sandbox's host."""
    app_port = page.app.port
    async with page.get(
        "/api/system", host=f"{page.handle}--{app_port}.localhost:{app_port}"
    ) as answer:
        text = await answer.text()
        assert answer.status >= 400
        assert "isolation" not in text


async def test_a_loopback_port_is_told_as_soon_as_it_is_there(page: LivePage) -> None:
    agent = (await page.app.agent(title="Blank"))["id"]
    asked = {"virtualMcpId": agent}
    async with LivePage(page.app, agent, "").events() as events:
        status, _ = await page.app.api("POST", "/vm/start", asked)
        assert status == 200
        await events.until("sandbox", lambda box: box["loopback_preview_url"] is not None)
    status, _ = await page.app.api("POST", "/vm/delete", asked)
    assert status == 200


async def test_a_loopback_port_shows_the_same_app(page: LivePage) -> None:
    async with page.events() as events:
        seen = await events.until("sandbox", lambda box: box["loopback_preview_url"] is not None)
    url = seen[-1][1]["loopback_preview_url"]
    async with page.app.http.get(url) as answer:
        assert answer.status == 200
        assert "hello" in await answer.text()
    async with page.app.http.get(f"{url}_sandbox/idle") as answer:
        assert answer.status == 404
    async with page.app.http.get(f"{url}health") as answer:
        assert answer.status == 404


async def test_a_stopped_sandbox_shows_a_calm_page_and_comes_back(page: LivePage) -> None:
    status, answer = await page.app.api("POST", f"/sandboxes/{page.handle}/stop", {})
    assert status == 200, answer
    async with page.get("/", headers={"Accept": "text/html"}) as got:
        text = await got.text()
        assert got.status == 503
        assert "Retry-After" in got.headers
        assert "Not running" in text
    async with page.app.http.ws_connect(
        f"{page.app.url}/hot", headers={"Host": page.host}
    ) as socket:
        closing = await socket.receive()
        assert (closing.data, closing.extra) == (1011, "no upstream dev server")
    status, _ = await page.app.api("POST", "/vm/start", {"virtualMcpId": page.agent})
    assert status == 200
    await page.until_phase("running")
    async with page.get("/") as got:
        assert got.status == 200
