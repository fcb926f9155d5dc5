"""Other MCP servers of agents: set, listed without values, tried, copied, forgotten."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from limpet.control.db import McpServerRow, MembershipRow, OrgRow, UserRow
from limpet.control.mcp_probe import McpServerUnreachableError, tool_names
from limpet.control.mcp_servers import MAX_HEADERS, MAX_SERVERS, MAX_VALUE_LENGTH
from limpet.control.secrets import SecretBox
from limpet.harness.base import ToolServer
from limpet.ids import AgentId, OrgId, UserId
from tests.control.live_app import LiveApp
from tests.harness.weather import NAMES, weather_server

pytestmark = [pytest.mark.anyio, pytest.mark.long]

URL = "https://mcp.example.com/mcp"
TOKEN = "planted-token-4711"
AUTH = {"Authorization": f"Bearer {TOKEN}"}
LOCAL = OrgId("local")


async def put(live: LiveApp, agent: str, name: str = "weather", **more: Any) -> tuple[int, Any]:
    return await live.api("POST", f"/agents/{agent}/mcp-servers", {"name": name, "url": URL} | more)


async def an_agent(live: LiveApp) -> str:
    return str((await live.agent(title="A"))["id"])


async def listed(live: LiveApp, agent: str) -> list[dict[str, Any]]:
    status, answer = await live.api("GET", f"/agents/{agent}/mcp-servers")
    assert status == 200, answer
    servers: list[dict[str, Any]] = answer["servers"]
    return servers


async def tried(live: LiveApp, agent: str, name: str = "weather") -> dict[str, Any]:
    status, answer = await live.api("POST", f"/agents/{agent}/mcp-servers/{name}/test", {})
    assert status == 200, answer
    assert isinstance(answer, dict)
    return answer


async def opened(live: LiveApp, agent: str, name: str = "weather") -> ToolServer:
    return await live.limpet.services.mcp_servers.opened(LOCAL, AgentId(agent), name)


@asynccontextmanager
async def answering(
    handler: Callable[[web.Request], Awaitable[web.StreamResponse]],
) -> AsyncIterator[str]:
    """A web server that answers everything so."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/mcp"
    finally:
        await runner.cleanup()


async def test_headers_go_in_are_sealed_and_are_never_told(live: LiveApp, tmp_path: Path) -> None:
    agent = await an_agent(live)
    status, made = await put(live, agent, headers=AUTH | {"X-Team": "planted-team-4711"})
    assert status == 200, made
    assert made.keys() == {"name", "url", "header_names", "updated_at", "updated_by"}
    assert (made["header_names"], made["updated_by"]) == (["Authorization", "X-Team"], "owner")
    assert await listed(live, agent) == [made]
    server = await opened(live, agent)
    assert server.headers == AUTH | {"X-Team": "planted-team-4711"}
    assert "4711" not in repr(server)
    stored = b"".join(p.read_bytes() for p in (tmp_path / "data").glob("limpet.sqlite3*"))
    assert URL.encode() in stored
    assert b"-4711" not in stored
    assert "4711" not in str((made, await listed(live, agent)))


async def test_headers_stay_are_replaced_and_are_taken_away(live: LiveApp) -> None:
    agent = await an_agent(live)
    await put(live, agent, headers=AUTH)
    assert (await put(live, agent))[1]["header_names"] == ["Authorization"]
    assert (await opened(live, agent)).headers == AUTH
    assert (await put(live, agent, headers={"X-Key": "k"}))[1]["header_names"] == ["X-Key"]
    assert (await opened(live, agent)).headers == {"X-Key": "k"}
    assert (await put(live, agent, headers={}))[1]["header_names"] == []
    assert (await opened(live, agent)).headers == {}
    assert len(await listed(live, agent)) == 1


async def test_headers_do_not_follow_to_another_url(live: LiveApp) -> None:
    agent = await an_agent(live)
    await put(live, agent, headers=AUTH)
    status, told = await put(live, agent, url="https://evil.example.com/mcp")
    assert (status, told["error"]["code"]) == (400, "invalid")
    assert "headers" in told["error"]["hint"]
    assert (await opened(live, agent)).url == URL
    status, moved = await put(live, agent, url="https://b.example.com/mcp", headers={"X-Key": "k"})
    assert (status, moved["url"]) == (200, "https://b.example.com/mcp")
    await put(live, agent, headers={})
    assert (await put(live, agent, url="https://c.example.com/mcp"))[0] == 200


async def test_one_that_answers_names_its_tools(live: LiveApp) -> None:
    agent = await an_agent(live)
    async with weather_server(TOKEN) as weather:
        await put(live, agent, url=weather.url, headers=AUTH)
        assert await tried(live, agent) == {"ok": True, "tools": list(NAMES), "problem": None}
        assert all(one["authorization"] == AUTH["Authorization"] for one in weather.asked)


async def test_one_that_refuses_its_headers_says_so(live: LiveApp) -> None:
    agent = await an_agent(live)
    async with weather_server("another-token") as weather:
        await put(live, agent, url=weather.url, headers=AUTH)
        told = await tried(live, agent)
    assert (told["ok"], told["tools"]) == (False, [])
    assert told["problem"]["code"] == "mcp_server_refuses"
    assert "Authorization" in told["problem"]["hint"]
    assert TOKEN not in str(told)


async def test_one_that_is_away_says_so(live: LiveApp) -> None:
    agent = await an_agent(live)
    with socket.create_server(("127.0.0.1", 0)) as gone:
        url = f"http://127.0.0.1:{gone.getsockname()[1]}/mcp"
    await put(live, agent, url=url, headers=AUTH)
    told = await tried(live, agent)
    assert (told["ok"], told["problem"]["code"]) == (False, "mcp_server_unreachable")


async def test_one_that_says_nothing_is_waited_for_only_so_long() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/mcp"
        with pytest.raises(McpServerUnreachableError):
            await tool_names(ToolServer("silent", url), timeout_s=0.2)


@pytest.mark.parametrize(
    ("status", "body", "says"),
    [(500, "oops", "500"), (404, "planted", "404"), (200, "<html>planted", "no MCP server"),
     (200, '{"planted": 1}', "no MCP server")],
)  # fmt: skip
async def test_what_is_none_is_said_without_its_words(
    live: LiveApp, status: int, body: str, says: str
) -> None:
    agent = await an_agent(live)

    async def answer(_request: web.Request) -> web.Response:
        kind = "application/json" if body.startswith("{") else "text/html"
        return web.Response(status=status, text=body, content_type=kind)

    async with answering(answer) as url:
        await put(live, agent, url=url)
        told = await tried(live, agent)
    assert told["problem"]["code"] == "mcp_server_refuses"
    assert says in told["problem"]["message"]
    assert "planted" not in str(told)


async def test_headers_do_not_follow_a_redirect_to_another_host(live: LiveApp) -> None:
    agent = await an_agent(live)
    async with weather_server(None) as elsewhere:

        async def answer(_request: web.Request) -> web.Response:
            raise web.HTTPTemporaryRedirect(elsewhere.url)

        async with answering(answer) as url:
            await put(live, agent, url=url, headers=AUTH)
            told = await tried(live, agent)
        assert elsewhere.asked == []
    assert (told["ok"], told["problem"]["code"]) == (False, "mcp_server_refuses")
    assert "elsewhere" in told["problem"]["message"]


@pytest.mark.parametrize(
    "url",
    ["", "mcp.example.com", "ftp://mcp.example.com", "file:///etc/passwd", "https://u:p@h/mcp",
     "https://h/mcp?key=secret-4711", "https://h/mcp#a", "https://h/a b", "https://h/\r\nX: y",
     "https://", f"https://h/{'x' * 2048}", None, 7],
)  # fmt: skip
async def test_a_bad_url_is_400(refusing: LiveApp, url: object) -> None:
    agent = await an_agent(refusing)
    status, told = await put(refusing, agent, url=url)
    assert status == 400, told
    assert "url" in told["error"]["message"]
    assert "4711" not in str(told)
    assert await listed(refusing, agent) == []


@pytest.mark.parametrize(
    "headers",
    [
        {"": "v-4711"}, {"A B": "v-4711"}, {"A:": "v-4711"}, {"A\r\nB": "v-4711"}, {"Ä": "v-4711"},
        {"x" * 129: "v-4711"}, {"Bearer v-4711": "Authorization"}, {"Host": "v-4711"},
        {"content-length": "4711"}, {"Mcp-Session-Id": "4711"}, {"A": ""}, {"A": " 4711"},
        {"A": "4711 "}, {"A": "v\r\nB: 4711"}, {"A": "v\n4711"}, {"A": "v\r4711"},
        {"A": "v\0004711"}, {"A": "é-4711"}, {"A": "4711" + "x" * MAX_VALUE_LENGTH},
        {"A": "4711", "a": "4711"}, {f"H{n}": "4711" for n in range(MAX_HEADERS + 1)},
        {"A": ["4711"]}, ["4711"], "4711",
    ],
)  # fmt: skip
async def test_headers_that_cannot_be_sent_are_400_and_never_repeated(
    refusing: LiveApp, headers: Any
) -> None:
    agent = await an_agent(refusing)
    status, told = await put(refusing, agent, headers=headers)
    assert status == 400, told
    assert "4711" not in str(told)
    assert await listed(refusing, agent) == []


@pytest.mark.parametrize("name", ["", "A", "1a", "-a", "a_b", "a b", "a/b", "a\n", "ä", "a" * 25])
async def test_a_name_that_is_no_short_slug_is_400(refusing: LiveApp, name: str) -> None:
    agent = await an_agent(refusing)
    status, told = await put(refusing, agent, name)
    assert (status, "name" in told["error"]["message"]) == (400, True)


async def test_there_are_only_so_many(live: LiveApp) -> None:
    agent = await an_agent(live)
    for number in range(MAX_SERVERS):
        assert (await put(live, agent, f"s{number}"))[0] == 200
    status, told = await put(live, agent, "one-more")
    assert (status, told["error"]["code"]) == (409, "conflict")
    assert (await put(live, agent, "s0", headers=AUTH))[0] == 200, "one that is there can change"
    assert (await live.api("DELETE", f"/agents/{agent}/mcp-servers/s1"))[0] == 200
    assert (await put(live, agent, "one-more"))[0] == 200


async def test_one_that_is_deleted_is_gone(live: LiveApp) -> None:
    agent = await an_agent(live)
    await put(live, agent, headers=AUTH)
    path = f"/agents/{agent}/mcp-servers/weather"
    assert await live.api("DELETE", path) == (200, {"ok": True})
    assert await listed(live, agent) == []
    for method, route in (("DELETE", ""), ("POST", "/test")):
        status, told = await live.api(method, path + route, {} if route else None)
        assert (status, told["error"]["code"]) == (404, "not_found")
        assert "limpet mcp ls" in told["error"]["hint"]


async def test_an_unknown_agent_is_told(live: LiveApp) -> None:
    for method, body in (("GET", None), ("POST", {"name": "a", "url": URL})):
        status, told = await live.api(method, "/agents/agt_none/mcp-servers", body)
        assert (status, told["error"]["code"]) == (404, "not_found")


async def test_another_org_sees_nothing_of_it(live: LiveApp) -> None:
    agent = await an_agent(live)
    await put(live, agent, headers=AUTH)
    async with live.limpet.services.database.session() as session:
        session.add(OrgRow(id="other", slug="other", name="Other"))
        session.add(UserRow(id="stranger", name="Stranger"))
        await session.flush()
        session.add(MembershipRow(org_id="other", user_id="stranger", role="owner"))
    key = await live.limpet.services.authenticator.replace_api_key(
        OrgId("other"), UserId("stranger"), "tests"
    )
    for org in ("local", "other"):
        servers = f"/api/{org}/agents/{agent}/mcp-servers"
        for method, path, body in (
            ("GET", servers, None),
            ("POST", servers, {"name": "weather", "url": URL, "headers": {}}),
            ("DELETE", f"{servers}/weather", None),
            ("POST", f"{servers}/weather/test", {}),
        ):
            status, _, told = await live.raw(
                method, path, json=body, headers={"Authorization": f"Bearer {key}"}
            )
            assert status == 404, (org, method, told)
    assert (await opened(live, agent)).headers == AUTH


async def test_a_copy_of_an_agent_has_its_servers_and_a_deleted_one_none(live: LiveApp) -> None:
    services = live.limpet.services
    agent = await an_agent(live)
    await put(live, agent, headers=AUTH)
    copy = await services.agents.copy(LOCAL, UserId("owner"), AgentId(agent))
    assert (await opened(live, copy.id)).headers == AUTH
    await put(live, copy.id, headers={})
    assert (await opened(live, agent)).headers == AUTH
    assert (await live.api("DELETE", f"/agents/{agent}"))[0] == 200
    async with services.database.reading() as session:
        assert await session.get(McpServerRow, (LOCAL, agent, "weather")) is None
        assert await session.get(McpServerRow, (LOCAL, copy.id, "weather")) is not None


async def test_headers_whose_key_is_gone_keep_no_others_from_a_run(live: LiveApp) -> None:
    services = live.limpet.services
    agent = await an_agent(live)
    await put(live, agent, headers=AUTH)
    await put(live, agent, "other")
    async with services.database.session() as session:
        row = await session.get(McpServerRow, (LOCAL, agent, "weather"))
        assert row is not None
        row.headers_sealed = SecretBox([b"x" * 32]).seal("{}", purpose="another", org=LOCAL)
    servers, left_out = await services.mcp_servers.for_run(LOCAL, AgentId(agent))
    assert [one.name for one in servers] == ["other"]
    assert ["weather" in words for words in left_out] == [True]
    told = await tried(live, agent)
    assert told["problem"]["code"] == "unseal_failed"


async def test_no_answer_has_a_place_for_a_value(live: LiveApp) -> None:
    _, _, schema = await live.raw(
        "GET", "/api/openapi.json", headers={"Authorization": f"Bearer {live.key}"}
    )
    shapes = schema["components"]["schemas"]
    for name in ("McpServerInfo", "McpServerList", "McpServerTested"):
        assert "headers" not in shapes[name]["properties"]


async def test_many_at_once_are_one(live: LiveApp) -> None:
    agent = await an_agent(live)
    done = await asyncio.gather(*(put(live, agent, headers={"X-N": str(n)}) for n in range(5)))
    assert [status for status, _ in done] == [200] * 5
    assert len(await listed(live, agent)) == 1
