"""Tabs that follow a thread: several, slow ones, and those that come back."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from limpet.control.db import EMBEDDED_ORG
from limpet.control.threads.keys import ThreadKey
from tests.control.live_app import LiveApp, live_app
from tests.control.threads.following import tab
from tests.control.threads.scripted import Scripted

pytestmark = pytest.mark.anyio


@pytest.fixture
async def app(tmp_path: Path, harness: Scripted) -> AsyncIterator[LiveApp]:
    data = tmp_path / "data"
    async with live_app(data, harnesses={"decopilot": harness}, isolation="none") as made:
        body = {"kind": "openai-compatible", "base_url": "http://127.0.0.1:1/v1", "models": ["m"]}
        status, _ = await made.api("POST", "/model-providers", body)
        assert status == 200
        yield made
        for row in await made.limpet.services.sandboxes.parts.rows.everywhere():
            await made.limpet.services.runner.delete(row.handle)


async def a_thread(app: LiveApp) -> dict[str, Any]:
    agent = await app.agent(title="Worker")
    status, thread = await app.api("POST", "/threads", {"agent_id": agent["id"]})
    assert status == 200, thread
    assert isinstance(thread, dict)
    return thread


async def say(app: LiveApp, thread: dict[str, Any], *lines: str) -> dict[str, Any]:
    path = f"/threads/{thread['id']}/messages"
    status, sent = await app.api("POST", path, {"text": "\n".join(lines)})
    assert status == 200, sent
    assert isinstance(sent, dict)
    return sent


async def test_two_tabs_see_the_same_and_a_late_one_sees_all(
    app: LiveApp, harness: Scripted
) -> None:
    thread = await a_thread(app)
    async with (
        tab(app.url, app.key, thread["id"]) as one,
        tab(app.url, app.key, thread["id"]) as two,
    ):
        first = await one.until(lambda name, _: name == "thread")
        assert first["id"] == thread["id"]
        await say(app, thread, "say a", "wait gate", "say b")
        for follower in (one, two):
            await follower.until_kind("text")
            assert follower.text == "a"
        harness.open("gate")
        for follower in (one, two):
            await follower.until_kind("run_finished")
            await follower.until(lambda name, data: name == "thread" and data["status"] == "idle")
        assert one.events == two.events
        assert one.ids == list(range(1, len(one.ids) + 1))
        assert one.text == "ab"
    async with tab(app.url, app.key, thread["id"]) as late:
        await late.until(lambda name, _: name == "caught_up")
        assert late.text == "ab"
        kinds = [event["kind"] for event in late.events]
        assert [k for k in kinds if k != "text"] == [
            e["kind"] for e in one.events if e["kind"] != "text"
        ]


async def test_closing_the_tab_stops_nothing_and_coming_back_misses_nothing(
    app: LiveApp, harness: Scripted
) -> None:
    thread = await a_thread(app)
    sent: dict[str, Any]
    async with tab(app.url, app.key, thread["id"]) as first:
        sent = await say(app, thread, "say a", "wait one", "say b", "wait two", "say c")
        await first.until_kind("text")
    harness.open("one")
    await harness.reached("two")
    async with tab(app.url, app.key, thread["id"], last=first.ids[-1]) as second:
        await second.until_kind("text")
        assert second.ids[0] == first.ids[-1] + 1
        harness.open("two")
        await second.until_kind("run_finished")
    key = ThreadKey(EMBEDDED_ORG, thread["id"])
    await app.limpet.services.threads.scheduler.settled(key)
    for seen in range(first.ids[-1], second.ids[-1]):
        async with tab(app.url, app.key, thread["id"], last=seen) as again:
            await again.until(lambda name, _: name == "caught_up")
        before = "".join(
            e["delta"]
            for n, e in zip(first.ids + second.ids, first.events + second.events, strict=True)
            if e["kind"] == "text" and n <= seen
        )
        assert before + again.text == "abc"
    assert sent["run"] == second.events[-1]["run"]


async def test_a_slow_reader_holds_nobody_up(app: LiveApp, harness: Scripted) -> None:
    thread = await a_thread(app)
    line = "x" * 2000
    async with (
        tab(app.url, app.key, thread["id"]) as slow,  # takes nothing while all of it happens
        tab(app.url, app.key, thread["id"]) as quick,
    ):
        for _ in range(3):
            await say(app, thread, *(f"bash yes {line} | head -2000" for _ in range(2)))
            await quick.until_kind("run_finished")
        await slow.until(lambda name, data: name == "event" and data["seq"] == quick.ids[-1])
        assert slow.events[-1] == quick.events[-1]


async def test_a_deleted_thread_is_gone_for_those_who_follow(app: LiveApp) -> None:
    thread = await a_thread(app)
    async with tab(app.url, app.key, thread["id"]) as follower:
        await follower.until(lambda name, _: name == "caught_up")
        status, _ = await app.api("DELETE", f"/threads/{thread['id']}")
        assert status == 200
        await follower.until(lambda name, _: name == "gone")
        with pytest.raises(EOFError):
            await follower.until(lambda *_: False)
    status, _ = await app.api("GET", f"/threads/{thread['id']}")
    assert status == 404


async def test_a_deleted_thread_leaves_no_run_behind(app: LiveApp, harness: Scripted) -> None:
    thread = await a_thread(app)
    await say(app, thread, "wait for-ever")
    await harness.reached("for-ever")
    status, _ = await app.api("DELETE", f"/threads/{thread['id']}")
    assert status == 200
    assert harness.cancelled == ["for-ever"]
    assert not app.limpet.services.threads.scheduler._running


async def test_the_server_says_bye_when_it_ends(app: LiveApp) -> None:
    thread = await a_thread(app)
    async with tab(app.url, app.key, thread["id"]) as follower:
        await follower.until(lambda name, _: name == "caught_up")
        await app.limpet.services.threads.close()
        await follower.until(lambda name, _: name == "bye")


@pytest.mark.parametrize("last", ["-1", "abc", "1.5", "٣", "1e9"])
async def test_ids_that_are_none_are_refused(app: LiveApp, last: str) -> None:
    thread = await a_thread(app)
    headers = {"Last-Event-ID": last.encode().decode("latin-1")}
    status, answer = await app.api("GET", f"/threads/{thread['id']}/events", headers=headers)
    assert status == 400, answer
