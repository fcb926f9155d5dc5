"""The operations over HTTP: who may, what is refused, and what never comes out."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from limpet.control.db import MembershipRow, OrgRow, UserRow
from limpet.harness.acp import AcpAgent
from limpet.ids import Handle, OrgId, UserId
from tests.control.live_app import LiveApp, live_app
from tests.control.threads.scripted import Scripted

pytestmark = pytest.mark.anyio

KEY = "sk-very-secret-4711"


@pytest.fixture
async def app(tmp_path: Path, harness: Scripted) -> AsyncIterator[LiveApp]:
    harnesses = {"decopilot": harness, "acp": AcpAgent}
    async with live_app(tmp_path / "data", harnesses=harnesses, isolation="none") as made:
        yield made
        # A server leaves what it started running for the next one.
        await made.limpet.save_all()
        for row in await made.limpet.services.sandboxes.parts.rows.everywhere():
            await made.limpet.services.runner.stop(Handle(row.handle))


async def member(app: LiveApp, org: str, user: str) -> str:
    """An API key of a member of an org, both made where they are missing."""
    async with app.limpet.services.database.session() as session:
        if await session.get(OrgRow, org) is None:
            session.add(OrgRow(id=org, slug=org, name=org))
        session.add(UserRow(id=user, name=user))
        await session.flush()
        session.add(MembershipRow(org_id=org, user_id=user, role="member"))
    return await app.limpet.services.authenticator.replace_api_key(
        OrgId(org), UserId(user), f"of {user}"
    )


async def provider(app: LiveApp, **more: Any) -> dict[str, Any]:
    body = {"kind": "openai-compatible", "base_url": "http://127.0.0.1:1/v1", "models": ["m"]}
    status, made = await app.api("POST", "/model-providers", {**body, **more})
    assert status == 200, made
    assert isinstance(made, dict)
    return made


async def a_thread(app: LiveApp, **wanted: Any) -> dict[str, Any]:
    agent = await app.agent(title="Worker")
    status, thread = await app.api("POST", "/threads", {"agent_id": agent["id"], **wanted})
    assert status == 200, thread
    assert isinstance(thread, dict)
    return thread


WRITES: list[tuple[str, str, Any]] = [
    ("PATCH", "", {"title": "Mine now"}),
    ("DELETE", "", None),
    ("POST", "/messages", {"text": "say mine"}),
    ("POST", "/stop", {}),
    ("POST", "/undo", {}),
]
READS = ["", "/log", "/runs", "/export"]


async def test_members_read_and_only_the_owner_writes(app: LiveApp) -> None:
    await provider(app)
    thread = await a_thread(app)
    headers = {"Authorization": f"Bearer {await member(app, 'local', 'friend')}"}
    path = f"/api/local/threads/{thread['id']}"
    for read in READS:
        status, _, _ = await app.raw("GET", path + read, headers=headers)
        assert status == 200
    _, _, seen = await app.raw("GET", path, headers=headers)
    assert (seen["may_write"], thread["may_write"]) == (False, True)
    for method, route, body in WRITES:
        status, _, told = await app.raw(method, path + route, headers=headers, json=body)
        assert (status, told["error"]["code"]) == (403, "not_yours"), route


async def test_another_org_sees_nothing_of_it(app: LiveApp) -> None:
    await provider(app)
    thread = await a_thread(app)
    headers = {"Authorization": f"Bearer {await member(app, 'other', 'stranger')}"}
    for org in ("local", "other"):
        path = f"/api/{org}/threads/{thread['id']}"
        for method, route, body in [
            *WRITES,
            *(("GET", read, None) for read in [*READS, "/events"]),
        ]:
            status, _, _ = await app.raw(method, path + route, headers=headers, json=body)
            assert status == 404, (org, route)
    _, _, listed = await app.raw("GET", "/api/other/threads?search=Worker", headers=headers)
    assert listed == {"threads": [], "next": None}
    _, _, models = await app.raw("GET", "/api/other/models", headers=headers)
    assert models == {"models": []}


async def test_creating_twice_with_one_id_gives_one_thread(app: LiveApp) -> None:
    agent = await app.agent(title="Worker")
    body = {"agent_id": agent["id"], "id": "0b0a7c1e-8f5e-4f53-9d62-000000000001"}
    _, one = await app.api("POST", "/threads", body)
    _, two = await app.api("POST", "/threads", body)
    assert one == two
    headers = {"Authorization": f"Bearer {await member(app, 'local', 'friend')}"}
    status, _, _ = await app.raw("POST", "/api/local/threads", json=body, headers=headers)
    assert status == 409
    other = await app.agent(title="Other")
    status, _ = await app.api("POST", "/threads", {**body, "agent_id": other["id"]})
    assert status == 409


async def test_without_a_model_a_message_is_refused_and_says_what_to_do(app: LiveApp) -> None:
    thread = await a_thread(app)
    status, told = await app.api("POST", f"/threads/{thread['id']}/messages", {"text": "hello"})
    assert (status, told["error"]["code"]) == (400, "no_model")
    assert "model provider" in told["error"]["hint"]


async def test_threads_are_found_by_page_by_title_and_by_what_was_said(app: LiveApp) -> None:
    await provider(app)
    threads = [await a_thread(app, title=f"Number {n}") for n in range(5)]
    await app.api("POST", f"/threads/{threads[1]['id']}/messages", {"text": "100% of_it"})
    found, after = [], ""
    while True:
        _, page = await app.api("GET", f"/threads?limit=2{after}")
        found += [thread["title"] for thread in page["threads"]]
        if page["next"] is None:
            break
        after = f"&before={page['next']}"
    assert found[0] == "Number 1"
    assert sorted(found) == [f"Number {n}" for n in range(5)]
    for search, expected in (("number 3", ["Number 3"]), ("100%25 of_", ["Number 1"])):
        _, page = await app.api("GET", f"/threads?search={search}")
        assert [thread["title"] for thread in page["threads"]] == expected
    _, page = await app.api("GET", "/threads?search=%25")
    assert [thread["title"] for thread in page["threads"]] == ["Number 1"]
    await app.api("PATCH", f"/threads/{threads[3]['id']}", {"archived": True, "title": "Away"})
    _, page = await app.api("GET", "/threads")
    assert "Away" not in [thread["title"] for thread in page["threads"]]
    _, page = await app.api("GET", "/threads?archived=true")
    assert [thread["title"] for thread in page["threads"]] == ["Away"]


HOSTILE: list[tuple[str, str, Any]] = [
    ("POST", "/threads", {"agent_id": "a", "id": "../../etc"}),
    ("POST", "/threads", {"agent_id": "a" * 65}),
    ("POST", "/threads", {"agent_id": "{agent}", "branch": "../main"}),
    ("POST", "/threads", {"agent_id": "{agent}", "branch": "-f"}),
    ("POST", "/threads", {"agent_id": "{agent}", "harness": "shell"}),
    ("POST", "/threads", {"agent_id": "{agent}", "harness": "claude-code"}),
    ("POST", "/threads", {"agent_id": "{agent}", "title": "a\nb"}),
    ("POST", "/threads", {"agent_id": "{agent}", "unknown": 1}),
    ("POST", "/threads", {"agent_id": "{agent}", "model": {"provider_id": "x y", "name": "m"}}),
    ("POST", "/threads/{thread}/messages", {"text": ""}),
    ("POST", "/threads/{thread}/messages", {"text": "   \n "}),
    ("POST", "/threads/{thread}/messages", {"text": "a\0b"}),
    ("POST", "/threads/{thread}/messages", {"text": "x" * 200_001}),
    ("POST", "/threads/{thread}/messages", {"text": "\ud800"}),
    ("POST", "/threads/{thread}/messages", {"text": "a", "id": "x/../y"}),
    ("POST", "/threads/{thread}/undo", {"run": "'; drop table runs; --"}),
    ("POST", "/threads/{thread}/fork", {"run": "x", "when": "during"}),
    ("POST", "/threads/{thread}/fork", {}),
    ("POST", "/threads/import", {"agent_id": "{agent}", "document": []}),
    ("POST", "/threads/import", {"agent_id": "{agent}", "document": {"format": "x"}}),
    ("GET", "/threads?limit=0", None),
    ("GET", "/threads?limit=100000", None),
    ("GET", "/threads?before=AAAA", None),
    ("GET", "/threads?before=%F0%9F%98%80", None),
    ("GET", "/threads/{thread}/log?after=-1", None),
    ("GET", "/threads/{thread}/log?after=99999999999999999999", None),
    ("GET", "/threads/{thread}/events?after=x", None),
    ("GET", "/threads/short", None),
    ("POST", "/model-providers", {"kind": "evil"}),
    ("POST", "/model-providers", {"kind": "openai-compatible"}),
    ("POST", "/model-providers", {"kind": "openai", "base_url": "file:///etc/passwd"}),
    ("POST", "/model-providers", {"kind": "openai", "base_url": "http://user:pw@host/v1"}),
    ("POST", "/model-providers", {"kind": "openai", "models": ["a b"]}),
    ("POST", "/run-caps", {}),
    ("POST", "/run-caps", {"time_s": 0}),
    ("POST", "/run-caps", {"cost_usd": -1}),
    ("POST", "/run-caps", {"cost_usd": 1, "reset": True}),
    ("POST", "/sandboxes/NOT-A-HANDLE/console", {"errors": []}),
    ("POST", "/sandboxes/s-1/console", {"errors": ["x" * 4001]}),
    ("POST", "/sandboxes/s-1/console", {"errors": ["x"] * 51}),
]


async def test_hostile_input_is_refused_with_a_reason(app: LiveApp) -> None:
    await provider(app)
    thread = await a_thread(app)

    def filled(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: filled(inner) for name, inner in value.items()}
        return thread["agent_id"] if value == "{agent}" else value

    for method, path, body in HOSTILE:
        status, told = await app.api(
            method, path.replace("{thread}", thread["id"]), filled(body) if body else body
        )
        assert status == 400, (path, body, told)
        assert told["error"]["message"], path
    _, seen = await app.api("GET", f"/threads/{thread['id']}")
    assert seen == thread


async def test_a_key_goes_in_and_never_comes_out(app: LiveApp, tmp_path: Path) -> None:
    made = await provider(app, api_key=KEY)
    _, changed = await app.api("PATCH", f"/model-providers/{made['id']}", {"name": "Mine"})
    _, listed = await app.api("GET", "/model-providers")
    _, tested = await app.api("POST", f"/model-providers/{made['id']}/test")
    assert made["has_api_key"]
    assert changed["has_api_key"]
    for told in (made, changed, listed, tested):
        assert KEY not in str(told)
    status, told = await app.api("POST", "/model-providers", {"kind": "evil", "api_key": KEY})
    assert status == 400
    assert KEY not in str(told)
    for file in (tmp_path / "data").glob("limpet.sqlite3*"):
        assert KEY.encode() not in file.read_bytes()


async def test_a_key_does_not_follow_a_new_address(app: LiveApp) -> None:
    made = await provider(app, api_key=KEY)
    path = f"/model-providers/{made['id']}"
    status, told = await app.api("PATCH", path, {"base_url": "http://127.0.0.1:2/v1"})
    assert (status, "key anew" in told["error"]["message"]) == (400, True)
    status, told = await app.api(
        "PATCH", path, {"base_url": "http://127.0.0.1:2/v1", "api_key": None}
    )
    assert (status, told["has_api_key"]) == (200, False)


async def test_the_first_provider_is_the_default_until_another_one_is(app: LiveApp) -> None:
    one = await provider(app, models=["a", "b"], default_model="b")
    two = await provider(app, models=["c"])
    _, told = await app.api("GET", "/models")
    assert [(m["name"], m["is_default"]) for m in told["models"]] == [
        ("b", True), ("a", False), ("c", False),
    ]  # fmt: skip
    await app.api("PATCH", f"/model-providers/{two['id']}", {"is_default": True})
    _, told = await app.api("GET", "/models")
    assert told["models"][0]["name"] == "c"
    await app.api("DELETE", f"/model-providers/{two['id']}")
    _, told = await app.api("GET", "/model-providers")
    assert [(p["id"], p["is_default"]) for p in told["providers"]] == [(one["id"], True)]


@pytest.mark.parametrize(
    ("status", "body", "ok", "code"),
    [
        (200, '{"data": [{"id": "m1"}, {"id": "m2"}]}', True, None),
        (200, '{"models": [{"name": "models/g1"}]}', True, None),
        (401, f'{{"error": "{KEY}"}}', False, "provider_refuses"),
        (500, "secret of the inside", False, "provider_refuses"),
        (200, "<html>no provider</html>", False, "provider_refuses"),
        (200, '{"data": 7}', False, "provider_refuses"),
        (302, "", False, "provider_refuses"),
    ],
)
async def test_a_provider_is_tested(
    app: LiveApp, status: int, body: str, ok: bool, code: str | None
) -> None:
    asked: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(request.headers.get("authorization", ""))
        headers = {"location": "http://127.0.0.1:1/"} if status == 302 else {}
        return web.Response(status=status, text=body, headers=headers)

    served = web.Application()
    served.router.add_get("/v1/models", answer)
    runner = web.AppRunner(served)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        port = runner.addresses[0][1]
        made = await provider(app, base_url=f"http://127.0.0.1:{port}/v1", api_key=KEY, models=[])
        _, told = await app.api("POST", f"/model-providers/{made['id']}/test")
    finally:
        await runner.cleanup()
    assert asked == [f"Bearer {KEY}"]
    assert told["ok"] is ok
    if ok:
        _, models = await app.api("GET", "/models")
        assert [m["name"] for m in models["models"]] == told["models"] != []
    else:
        assert told["problem"]["code"] == code
        assert "inside" not in str(told)
        assert KEY not in str(told)


async def test_caps_are_the_agents_else_the_orgs_else_the_servers(app: LiveApp) -> None:
    agent = (await app.agent(title="Worker"))["id"]
    _, told = await app.api("GET", f"/run-caps?agent_id={agent}")
    assert (told["time_s"], told["source"]) == (1800.0, "server")
    await app.api("POST", "/run-caps", {"cost_usd": 5})
    _, told = await app.api("GET", f"/run-caps?agent_id={agent}")
    assert (told["cost_usd"], told["time_s"], told["source"]) == (5.0, 1800.0, "org")
    await app.api("POST", "/run-caps", {"agent_id": agent, "time_s": None})
    _, told = await app.api("GET", f"/run-caps?agent_id={agent}")
    assert (told["cost_usd"], told["time_s"], told["source"]) == (5.0, None, "agent")
    await app.api("POST", "/run-caps", {"agent_id": agent, "reset": True})
    _, told = await app.api("GET", f"/run-caps?agent_id={agent}")
    assert told["source"] == "org"


async def test_deleting_an_agent_takes_its_threads_along(app: LiveApp) -> None:
    thread = await a_thread(app)
    status, _ = await app.api("DELETE", f"/agents/{thread['agent_id']}")
    assert status == 200
    status, _ = await app.api("GET", f"/threads/{thread['id']}")
    assert status == 404


async def test_a_server_says_which_harnesses_it_has_and_what_one_of_them_needs(
    app: LiveApp,
) -> None:
    bearer = {"Authorization": f"Bearer {app.key}"}
    status, _, system = await app.raw("GET", "/api/system", headers=bearer)
    assert status == 200
    assert system["harnesses"] == ["decopilot", "acp"]
    agent = await app.agent(title="Worker")
    wanted = {"agent_id": agent["id"], "harness": "acp"}
    status, answer = await app.api("POST", "/threads", wanted)
    assert (status, answer["error"]["code"]) == (400, "no_acp_command")
    assert "acp_command" in answer["error"]["hint"]
    await app.api("PATCH", f"/agents/{agent['id']}", {"acp_command": "opencode acp"})
    status, thread = await app.api("POST", "/threads", wanted)
    assert (status, thread["harness"]) == (200, "acp")
