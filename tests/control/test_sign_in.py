"""Who gets in, and what a page that shares the loopback cannot do."""

import asyncio
from datetime import timedelta
from typing import Any

import aiohttp
import pytest
from sqlalchemy import update

from limpet.control.db import EMBEDDED_ORG, EMBEDDED_USER, ApiKeyRow, SessionRow
from limpet.control.db.models import utc_now
from tests.control.live_app import LiveApp, live_app

pytestmark = [pytest.mark.anyio, pytest.mark.long]


async def test_the_sign_in_link_gives_a_careful_cookie_and_leads_home(live: LiveApp) -> None:
    token = live.limpet.services.authenticator.new_sign_in_token()
    status, headers, _ = await live.raw("GET", f"/sign-in?token={token}")
    assert (status, headers["location"]) == (303, "/")
    said = headers["set-cookie"].lower()
    assert said.startswith("limpet_session=")
    assert "httponly" in said
    assert "samesite=lax" in said
    assert "path=/" in said
    assert "domain" not in said


async def test_a_sign_in_link_works_once(live: LiveApp) -> None:
    token = live.limpet.services.authenticator.new_sign_in_token()
    _, headers, _ = await live.raw("GET", f"/sign-in?token={token}")
    cookie = headers["set-cookie"].split(";")[0]
    status, headers, page = await live.raw("GET", f"/sign-in?token={token}")
    assert (status, "set-cookie" in headers) == (403, False)
    assert "limpet open" in page
    again = await live.raw("GET", f"/sign-in?token={token}", headers={"Cookie": cookie})
    assert (again[0], again[1]["location"]) == (303, "/")


@pytest.mark.parametrize("query", ["", "?token=", "?token=wrong", "?token=" + "x" * 5000])
async def test_a_wrong_token_is_explained(live: LiveApp, query: str) -> None:
    status, headers, _ = await live.raw("GET", f"/sign-in{query}")
    assert (status, "set-cookie" in headers) == (403, False)


async def test_a_browsers_guess_does_not_use_the_link_up(live: LiveApp) -> None:
    token = live.limpet.services.authenticator.new_sign_in_token()
    prefetch = {"Sec-Purpose": "prefetch;prerender"}
    status, _, _ = await live.raw("GET", f"/sign-in?token={token}", headers=prefetch)
    assert status == 204
    assert (await live.raw("GET", f"/sign-in?token={token}"))[0] == 303


async def test_more_links_can_be_made_by_who_is_signed_in(live: LiveApp) -> None:
    bearer = {"Authorization": f"Bearer {live.key}"}
    status, _, link = await live.raw("POST", "/api/sign-in-links", headers=bearer)
    assert status == 200
    assert link["url"].startswith(f"{live.url}/sign-in?token=")
    assert (await live.raw("GET", link["url"].removeprefix(live.url)))[0] == 303
    assert (await live.raw("POST", "/api/sign-in-links"))[0] == 401


async def test_sessions_outlive_the_server_and_end_by_signing_out(
    live: LiveApp, tmp_path: Any
) -> None:
    cookie = await live.cookie()
    seen = {"Cookie": cookie}
    status, _, system = await live.raw("GET", "/api/system", headers=seen)
    assert (status, system["user"], system["org"]) == (200, "owner", "local")
    own = {**seen, "Origin": live.url}
    assert (await live.raw("POST", "/api/sign-out", headers=own))[0] == 200
    assert (await live.raw("GET", "/api/system", headers=seen))[0] == 401


async def test_a_restart_keeps_browsers_signed_in(tmp_path: Any) -> None:
    async with live_app(tmp_path / "data") as first:
        cookie = await first.cookie()
    async with live_app(tmp_path / "data") as second:
        assert (await second.raw("GET", "/api/system", headers={"Cookie": cookie}))[0] == 200


@pytest.mark.parametrize(
    "value",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        "Basic bHU6bHU=",
        "Bearer lmp_000000000000_" + "0" * 64,
        "Bearer lmp",
        "Bearer ___",
        "Bearer lmp_x_y_z",
        "Bearer " + "x" * 4000,
    ],
)
@pytest.mark.parametrize("path", ["/api/system", "/api/local/agents", "/api/other/agents", "/mcp"])
async def test_without_a_valid_credential_the_answer_is_401(
    refusing: LiveApp, path: str, value: str | None
) -> None:
    headers = {} if value is None else {"Authorization": value}
    status, given, answer = await refusing.raw("GET", path, headers=headers)
    assert status == 401
    assert answer["error"]["code"] == "unauthorized"
    assert given["www-authenticate"] == "Bearer"


async def test_a_key_with_a_wrong_end_is_refused(live: LiveApp) -> None:
    wrong = live.key[:-1] + ("0" if live.key[-1] != "0" else "1")
    status, _, _ = await live.raw(
        "GET", "/api/system", headers={"Authorization": f"Bearer {wrong}"}
    )
    assert status == 401


async def test_a_replaced_key_and_an_expired_one_end(live: LiveApp) -> None:
    services = live.limpet.services
    bearer = {"Authorization": f"Bearer {live.key}"}
    assert (await live.raw("GET", "/api/system", headers=bearer))[0] == 200
    fresh = await services.authenticator.replace_api_key(EMBEDDED_ORG, EMBEDDED_USER, "tests")
    assert (await live.raw("GET", "/api/system", headers=bearer))[0] == 401
    bearer = {"Authorization": f"Bearer {fresh}"}
    assert (await live.raw("GET", "/api/system", headers=bearer))[0] == 200
    cookie = await live.cookie()
    async with services.database.session() as session:
        past = utc_now() - timedelta(seconds=1)
        await session.execute(update(ApiKeyRow).values(expires_at=past))
        await session.execute(update(SessionRow).values(expires_at=past))
    assert (await live.raw("GET", "/api/system", headers=bearer))[0] == 401
    assert (await live.raw("GET", "/api/system", headers={"Cookie": cookie}))[0] == 401


async def test_another_orgs_paths_look_as_if_there_were_none(live: LiveApp) -> None:
    bearer = {"Authorization": f"Bearer {live.key}"}
    for path in ("/api/other/agents", "/api/LOCAL/agents", "/api//agents"):
        status, _, answer = await live.raw("GET", path, headers=bearer)
        assert (status, answer["error"]["code"]) == (404, "not_found"), path


@pytest.mark.parametrize(
    "origin",
    [
        None,
        "null",
        "https://evil.example",
        "http://127.0.0.1:1",
        "http://localhost:{port}",
        "http://s-0123456789abcdef.localhost:{port}",
        "https://127.0.0.1:{port}",
        "http://127.0.0.1:{port}.evil.example",
    ],
)
async def test_a_cookie_is_not_believed_from_another_origin(
    refusing: LiveApp, origin: str | None
) -> None:
    headers = {"Cookie": await refusing.cookie()}
    if origin is not None:
        headers["Origin"] = origin.format(port=refusing.port)
    for method in ("POST", "PATCH", "DELETE"):
        status, _, answer = await refusing.raw(
            method, "/api/local/agents", headers=headers, json={}
        )
        assert (status, answer["error"]["code"]) == (403, "forbidden"), method
    status, _, answer = await refusing.raw("POST", "/mcp", headers=headers, json={})
    assert status == 403
    _, listed = await refusing.api("GET", "/agents")
    assert listed == {"agents": []}


async def test_a_cookie_is_believed_from_our_own_pages(live: LiveApp) -> None:
    headers = {"Cookie": await live.cookie(), "Origin": live.url}
    status, _, agent = await live.raw("POST", "/api/local/agents", headers=headers, json={})
    assert (status, agent["title"]) == (200, "New agent")


async def test_a_web_socket_with_a_cookie_needs_our_origin(live: LiveApp) -> None:
    headers = {"Cookie": await live.cookie(), "Origin": "http://127.0.0.1:1"}
    with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
        await live.http.ws_connect(f"{live.url}/api/local/sandboxes/x/daemon/pty", headers=headers)
    assert caught.value.status == 403


async def test_a_form_of_another_page_cannot_pass_for_json(live: LiveApp) -> None:
    status, _, answer = await live.raw(
        "POST",
        "/api/local/agents",
        data=b'{"title": "x"}',
        headers={"Authorization": f"Bearer {live.key}", "Content-Type": "text/plain"},
    )
    assert (status, answer["error"]["code"]) == (400, "invalid")


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:{port}", "127.0.0.1.evil.example", "127.0.0.2", "0", ""]
)
async def test_only_loopback_names_are_served(refusing: LiveApp, host: str) -> None:
    """A page whose own domain was pointed at 127.0.0.1 must not talk to us as its own origin."""
    headers = {"Host": host.format(port=refusing.port), "Authorization": f"Bearer {refusing.key}"}
    for path in ("/health", "/", "/api/system", "/mcp"):
        status, _, _ = await refusing.raw("GET", path, headers=headers)
        assert status in {404, 421}, path


async def test_loopback_names_are_served_on_every_port(live: LiveApp) -> None:
    for host in ("127.0.0.1", "[::1]:1", "localhost:9999", "LOCALHOST"):
        assert (await live.raw("GET", "/health", headers={"Host": host}))[0] == 200


async def test_pages_asked_for_at_localhost_move_to_where_the_cookie_lives(live: LiveApp) -> None:
    status, headers, _ = await live.raw(
        "GET", "/agents/x?y=1", headers={"Host": f"localhost:{live.port}", "Accept": "text/html"}
    )
    assert (status, headers["location"]) == (307, f"{live.url}/agents/x?y=1")


async def test_both_loopbacks_answer(live: LiveApp) -> None:
    for name in ("127.0.0.1", "[::1]"):
        async with live.http.get(f"http://{name}:{live.port}/health") as answer:
            assert (await answer.json())["status"] == "ok"


async def test_many_requests_at_once_are_all_let_in(live: LiveApp) -> None:
    """More than there are database connections: none may wait for one while it holds another."""
    answers = await asyncio.gather(*(live.api("GET", "/agents") for _ in range(80)))
    assert {status for status, _ in answers} == {200}


@pytest.mark.parametrize(
    ("wanted", "led_to"),
    [
        ("/local/agents/agt_1", "/local/agents/agt_1"),
        ("//evil.example", "/"),
        ("https://evil.example", "/"),
        ("/\\evil.example", "/"),
        ("/x%0d%0aSet-Cookie:a", "/"),
    ],
)
async def test_a_sign_in_link_leads_only_to_pages_of_ours(
    live: LiveApp, wanted: str, led_to: str
) -> None:
    token = live.limpet.services.authenticator.new_sign_in_token()
    _, headers, _ = await live.raw("GET", f"/sign-in?token={token}&next={wanted}")
    assert headers["location"] == led_to
