"""Many streams over one WebSocket: real sandboxes and threads, slow readers, ill will, the end."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from limpet.control.auth import COOKIE
from limpet.control.db import AgentRow, OrgRow
from limpet.control.streaming import route
from limpet.control.streaming.connection import Limits, event_of
from tests.control.live_app import LiveApp, live_app
from tests.control.sandboxes.live_page import LivePage, live_page
from tests.control.streaming.socket import Socket, socket
from tests.control.threads.scripted import Scripted

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
async def page(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LivePage]:
    async with live_page(Path(tmp_path_factory.mktemp("socket"))) as made:
        yield made


@pytest.fixture
async def app(tmp_path: Path, templates_dir: Path) -> AsyncIterator[LiveApp]:
    async with live_app(
        tmp_path / "data",
        templates_dir=templates_dir,
        harnesses={"decopilot": Scripted()},
        isolation="none",
    ) as made:
        body = {"kind": "openai-compatible", "base_url": "http://127.0.0.1:1/v1", "models": ["m"]}
        status, _ = await made.api("POST", "/model-providers", body)
        assert status == 200
        yield made
        for row in await made.limpet.services.sandboxes.parts.rows.everywhere():
            await made.limpet.services.runner.delete(row.handle)


async def a_thread(app: LiveApp) -> str:
    agent = await app.agent(title="Worker")
    status, thread = await app.api("POST", "/threads", {"agent_id": agent["id"]})
    assert status == 200, thread
    return str(thread["id"])


async def say(app: LiveApp, thread: str, *lines: str) -> None:
    path = f"/threads/{thread}/messages"
    status, sent = await app.api("POST", path, {"text": "\n".join(lines)})
    assert status == 200, sent


def narrow(app: LiveApp, **limits: Any) -> None:
    """Connections from now on have these limits."""
    app.limpet.event_connections.limits = Limits(**limits)


async def figures(app: LiveApp) -> tuple[int, int]:
    status, told = await app.api("GET", "/events")
    assert status == 200, told
    return told["connections"], told["subscriptions"]


async def until_figures(app: LiveApp, connections: int, subscriptions: int) -> None:
    """Wait until so much is counted."""
    async with asyncio.timeout(60):
        while await figures(app) != (connections, subscriptions):
            await asyncio.sleep(0.02)


def finished(data: Any) -> bool:
    return bool(data["event"]["kind"] == "run_finished")


# -- what it carries -----------------------------------------------------------------------------


async def test_sandboxes_and_threads_are_followed_over_one_connection(page: LivePage) -> None:
    app = page.app
    threads = []
    for _ in range(3):
        _, thread = await app.api("POST", "/threads", {"agent_id": page.agent})
        threads.append(thread["id"])
    async with socket(app) as browser:
        box = await browser.sandbox(1, page.agent)
        await browser.until_event(1, "lifecycle", lambda data: data["state"]["phase"] == "running")
        assert box.messages[0]["kind"] == "opened"
        assert box.names[0] == "sandbox"
        assert json.loads(box.events[0]["data"])["handle"] == page.handle
        for number, thread in enumerate(threads, start=2):
            await browser.thread(number, thread)
            assert (await browser.until_event(number, "thread"))["id"] == thread
        assert await figures(app) == (1, 4)
        await app.api("PATCH", f"/threads/{threads[1]}", {"title": "Tides"})
        await browser.until_event(3, "thread", lambda data: data["title"] == "Tides")
        async with page.daemon("POST", "write", json={"path": "a.txt", "content": "x"}) as answer:
            assert answer.status == 200
        await browser.until_event(1, "file-changed", lambda data: data["path"].endswith("a.txt"))
        for heard in browser.subs.values():
            assert [event["n"] for event in heard.events] == list(range(1, len(heard.events) + 1))
    await nobody_left(app)


async def nobody_left(app: LiveApp) -> None:
    """A connection that went is noticed, and nothing of it stays."""
    await until_figures(app, 0, 0)
    assert not app.limpet.services.threads.parts.hub._followers
    assert not app.limpet.services.sandboxes.parts.events._listeners


async def test_a_sandbox_is_taken_up_where_it_was_left(page: LivePage) -> None:
    async with socket(page.app) as browser:
        box = await browser.sandbox(1, page.agent)
        await browser.until_event(1, "tasks")
        last = box.ids[-1]
    async with page.daemon("POST", "write", json={"path": "seen.txt", "content": "x"}) as answer:
        assert answer.status == 200
    async with socket(page.app) as browser:
        again = await browser.sandbox(7, page.agent, last_event_id=last)
        await browser.until_event(7, "file-changed", lambda data: "seen.txt" in data["path"])
        assert not {"resync", "log"} & set(again.names)


async def test_a_thread_is_taken_up_where_it_was_left_and_nothing_comes_twice(app: LiveApp) -> None:
    thread = await a_thread(app)
    await say(app, thread, "say a", "bash echo b", "bash echo c")
    async with socket(app) as browser:
        whole = await browser.thread(1, thread)
        await browser.until_event(1, "event", finished)
    kept = [event["data"] for event in whole.events if event["id"]]
    async with socket(app) as browser:
        for sub, seen in enumerate(whole.ids, start=1):
            rest = await browser.thread(sub, thread, after=int(seen))
            await browser.until_event(sub, "caught_up")
            assert [event["data"] for event in rest.events if event["id"]] == kept[sub:]


async def test_what_is_left_is_heard_no_more(app: LiveApp) -> None:
    left, kept = await a_thread(app), await a_thread(app)
    async with socket(app) as browser:
        heard = await browser.thread(1, left)
        await browser.thread(2, kept)
        await browser.until_event(1, "caught_up")
        await browser.ask(op="leave", sub=1)
        await browser.ask(op="leave", sub=99)
        await browser.ask(op="ping")
        await browser.until_kind("pong")
        assert await figures(app) == (1, 1)
        before = len(heard.messages)
        for thread in (left, kept):
            await app.api("PATCH", f"/threads/{thread}", {"title": "Tides"})
        await browser.until_event(2, "thread", lambda data: data["title"] == "Tides")
        assert len(heard.messages) == before
        await browser.thread(1, left)
        assert (await browser.until_event(1, "thread"))["title"] == "Tides"


async def test_a_stream_that_ends_says_so(app: LiveApp) -> None:
    thread = await a_thread(app)
    async with socket(app) as browser:
        heard = await browser.thread(1, thread)
        await browser.until_event(1, "caught_up")
        await app.api("DELETE", f"/threads/{thread}")
        assert (await browser.until_kind("ended", 1))["why"] == "over"
        assert heard.names[-1] == "gone"


def test_one_events_text_stays_one_event() -> None:
    odd = '{"data":"\u2028\u0085\x0b} event: bye"}'
    assert event_of(f"id: b-1\nevent: log\ndata: {odd}\n\n".encode()) == ("b-1", "log", odd)
    assert event_of(b": beat\n\n") is None
    assert event_of(b"event: keepalive\ndata: {}\n\n") is None


# -- slow ones -----------------------------------------------------------------------------------


async def test_one_that_is_not_read_holds_nobody_up_and_is_told_to_come_again(
    app: LiveApp,
) -> None:
    narrow(app, window_events=8, stall_s=0.2)
    slow, quick = await a_thread(app), await a_thread(app)
    async with socket(app) as browser:
        browser.asleep.add(1)
        heard = await browser.thread(1, slow)
        await browser.thread(2, quick)
        for thread in (slow, quick):
            await say(app, thread, *(f"bash echo {number}" for number in range(6)))
        await browser.until_event(2, "event", finished)
        if not any(message["kind"] == "ended" for message in heard.messages):
            await browser.until_kind("ended", 1)
        assert heard.messages[-1]["why"] == "resync"
        assert len(heard.events) == 8
        again = await browser.thread(3, slow, after=int(heard.ids[-1]))
        await browser.until_event(3, "event", finished)
        seen = [json.loads(event["data"])["seq"] for event in (*heard.events, *again.events)
                if event["id"]]  # fmt: skip
        assert seen == sorted(set(seen))
        _, log = await app.api("GET", f"/threads/{slow}/log?limit=1000")
        assert seen[-1] == log["events"][-1]["seq"]


async def test_an_event_larger_than_the_window_comes_through(app: LiveApp) -> None:
    narrow(app, window_characters=100)
    thread = await a_thread(app)
    async with socket(app) as browser:
        heard = await browser.thread(1, thread)
        await say(app, thread, "say " + "x" * 1000)
        await browser.until_event(1, "event", finished)
    assert any(len(event["data"]) > 1000 for event in heard.events)


async def test_a_browser_that_reads_nothing_at_all_is_let_go_of(app: LiveApp) -> None:
    narrow(app, send_s=2)
    thread = await a_thread(app)
    await say(app, thread, f"bash yes {'x' * 2000} | head -2000")
    async with socket(app) as reader:
        await reader.thread(1, thread)
        await reader.until_event(1, "event", finished)
        bearer = {"Authorization": f"Bearer {app.key}"}
        hurried = aiohttp.ClientWSTimeout(ws_close=0.1)
        async with app.http.ws_connect(
            f"{app.url}/api/local/events", headers=bearer, timeout=hurried
        ) as connected:
            deaf = Socket(connected)
            for sub in range(1, 201):
                await deaf.thread(sub, thread)
            await until_figures(app, 2, 201)
            await until_figures(app, 1, 1)
            await reader.ask(op="ping")
            await reader.until_kind("pong")


# -- ill will ------------------------------------------------------------------------------------

UNFIT = [
    "no json", "[]", "{}", '{"op": "steal"}', '{"op": "follow-thread", "sub": 1}',
    '{"op": "leave", "sub": "1"}', '{"op": "leave", "sub": 0}', '{"op": "leave", "sub": 1.5}',
    '{"op": "ping", "org": "other"}', '{"op": "leave", "sub": 1e400}',
    '{"op": "follow-thread", "sub": 1, "thread_id": "../../agents"}',
    json.dumps({"op": "follow-sandbox", "sub": 1, "virtual_mcp_id": "a" * 65}),
    json.dumps({"op": "ping", "x": "y" * 5000}), b"\x00\xff",
]  # fmt: skip


@pytest.mark.parametrize("message", UNFIT, ids=range(len(UNFIT)))
async def test_what_does_not_fit_ends_the_connection_alone(
    page: LivePage, message: str | bytes
) -> None:
    async with socket(page.app) as good, socket(page.app) as bad:
        if isinstance(message, bytes):
            await bad.socket.send_bytes(message)
        else:
            await bad.socket.send_str(message)
        assert await bad.until_closed() == 1008
        await good.ask(op="ping")
        await good.until_kind("pong")


async def test_what_is_not_there_is_refused_and_the_rest_goes_on(page: LivePage) -> None:
    async with socket(page.app) as browser:
        await browser.thread(1, "thr_nothing")
        assert (await browser.until_kind("refused", 1))["status"] == 404
        await browser.sandbox(2, "agt_nothing")
        assert (await browser.until_kind("refused", 2))["error"]["code"] == "not_found"
        await browser.sandbox(3, page.agent, branch="-x..y")
        assert (await browser.until_kind("refused", 3))["status"] == 400
        await browser.sandbox(4, page.agent)
        await browser.until_event(4, "lifecycle")
        await browser.sandbox(4, page.agent)
        assert (await browser.until_kind("refused", 4))["status"] == 409
        await browser.ask(op="ack", sub=4, n=1 << 52)
        await browser.ask(op="ack", sub=77, n=1)
        await browser.ask(op="ping")
        await browser.until_kind("pong")


async def test_nothing_of_another_org_is_to_be_had(app: LiveApp) -> None:
    async with app.limpet.services.database.session() as session:
        session.add(OrgRow(id="other", slug="other", name="Other"))
        await session.flush()
        theirs = {"title": "Theirs", "default_branch": "x", "created_by": "somebody"}
        session.add(AgentRow(org_id="other", id="agt_theirs", **theirs))
    async with socket(app) as browser:
        await browser.sandbox(1, "agt_theirs")
        assert (await browser.until_kind("refused", 1))["status"] == 404
    with pytest.raises(aiohttp.WSServerHandshakeError):
        async with socket(app, org="other"):
            pass


async def test_only_those_signed_in_on_our_own_pages_get_in(app: LiveApp) -> None:
    cookie = await app.cookie()
    refused: list[dict[str, str]] = [
        {},
        {"Cookie": cookie},
        {"Cookie": cookie, "Origin": "https://evil.example"},
        {"Cookie": cookie, "Origin": f"http://s-1.localhost:{app.port}"},
        {"Cookie": f"{COOKIE}=wrong", "Origin": app.url},
        {"Authorization": "Bearer lmp_000000000000_wrong"},
    ]
    for headers in refused:
        with pytest.raises(aiohttp.WSServerHandshakeError):
            async with socket(app, headers=headers):
                pass
    async with socket(app, headers={"Cookie": cookie, "Origin": app.url}) as browser:
        await browser.ask(op="ping")
        await browser.until_kind("pong")


async def test_a_connection_follows_so_many_streams_and_no_more(page: LivePage) -> None:
    before = page.app.limpet.event_connections.limits
    narrow(page.app, subscriptions=3)
    try:
        async with socket(page.app) as browser:
            for number in range(1, 5):
                await browser.sandbox(number, page.agent)
            refused = await browser.until_kind("refused", 4)
            assert (refused["status"], refused["error"]["code"]) == (429, "too_many")
            await browser.ask(op="leave", sub=2)
            await browser.sandbox(5, page.agent)
            await browser.until_kind("opened", 5)
    finally:
        page.app.limpet.event_connections.limits = before


async def test_a_user_has_so_many_connections_and_no_more(
    page: LivePage, monkeypatch: pytest.MonkeyPatch
) -> None:
    await nobody_left(page.app)
    monkeypatch.setattr(route, "MAX_CONNECTIONS", 2)
    async with socket(page.app) as one, socket(page.app), socket(page.app) as third:
        assert await third.until_closed() == 1013
        await one.ask(op="ping")
        await one.until_kind("pong")


# -- its end -------------------------------------------------------------------------------------


async def test_signs_of_life_come_when_nothing_else_does(app: LiveApp) -> None:
    narrow(app, keepalive_s=0.05)
    async with socket(app) as browser:
        await browser.until_kind("keepalive")
        await browser.until_kind("keepalive")


async def test_who_signs_out_hears_nothing_more(app: LiveApp) -> None:
    narrow(app, keepalive_s=0.05)
    cookie = await app.cookie()
    async with socket(app, headers={"Cookie": cookie, "Origin": app.url}) as browser:
        await browser.until_kind("keepalive")
        await app.limpet.services.authenticator.sign_out(cookie.partition("=")[2])
        assert await browser.until_closed() == 4401
        assert browser.told[-1] == {"kind": "bye", "why": "signed-out"}


async def test_the_server_says_bye_when_it_ends(app: LiveApp) -> None:
    thread = await a_thread(app)
    async with socket(app) as browser:
        await browser.thread(1, thread)
        await browser.until_event(1, "caught_up")
        ending = asyncio.create_task(app.limpet.save_all())
        assert await browser.until_closed() == 1001
        assert {"kind": "bye", "why": "stopping"} in browser.told
        await ending
