"""A run whose agent has other MCP servers: our own loop, a scripted model, a real server."""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from limpet.control.db import EMBEDDED_ORG, EMBEDDED_USER
from limpet.control.operations.thread_models import ModelProviderCreate, Thread
from limpet.control.threads.transfer import export
from limpet.harness.base import Harness
from limpet.harness.decopilot import Decopilot
from limpet.harness.events import Notice, RunFinished, ToolFinished
from limpet.ids import AgentId
from tests.control.sandboxes.conftest import House
from tests.control.threads.conftest import OWNER, Chat, thread_service
from tests.control.threads.scripted import Scripted
from tests.harness.driving import QUICK, replies
from tests.harness.weather import weather_server
from tests.models.server import KEY, ScriptedModels, scripted

pytestmark = pytest.mark.anyio

TOKEN = "planted-token-4711"
AUTH = {"Authorization": f"Bearer {TOKEN}"}
CALLED = {"calls": [{"tool": "weather_weather", "input": {"city": "Lisbon"}}]}
DONE = {"text": "Done."}


def own_loop() -> Harness:
    return Decopilot(patience=QUICK)


@asynccontextmanager
async def talking(house: House, *script: Any) -> AsyncIterator[tuple[Chat, ScriptedModels]]:
    """An agent whose runs are our own loop's, with a model that says what is written."""
    service = thread_service(house, own_loop)
    box = await house.agent(template="page")
    async with scripted(replies(*script)) as models:
        await service.parts.providers.create(
            EMBEDDED_ORG,
            ModelProviderCreate(
                kind="anthropic", api_key=KEY, base_url=models.url, models=["claude-sonnet-4-6"]
            ),
        )
        async with service.working():
            yield Chat(house, box, service, Scripted()), models


async def has(chat: Chat, name: str, url: str) -> None:
    await chat.service.parts.servers.set(
        EMBEDDED_ORG, AgentId(chat.box.agent.id), name, url, AUTH, EMBEDDED_USER
    )


async def of(chat: Chat, thread: Thread, kind: type[Any]) -> list[Any]:
    return [kept.event for kept in await chat.events(thread) if isinstance(kept.event, kind)]


async def test_a_servers_tool_is_called_with_the_agents_headers(house: House) -> None:
    async with (
        weather_server(TOKEN) as weather,
        talking(house, CALLED, {"calls": [{"tool": "weather_headers", "input": {"city": "-"}}]},
                DONE) as (chat, models),
    ):  # fmt: skip
        await has(chat, "weather", weather.url)
        thread = await chat.thread()
        await chat.ask(thread, "What is the weather?")
        assert {one["authorization"] for one in weather.asked} == {AUTH["Authorization"]}
        finished = await of(chat, thread, ToolFinished)
        assert [one.ok for one in finished] == [True, True]
        assert finished[0].output == "Rain in Lisbon."
        assert await of(chat, thread, Notice) == []
        [ended] = await of(chat, thread, RunFinished)
        assert ended.how == "done"
        assert not any(TOKEN in one.text for one in models.asked)
        exported = await export(chat.service, OWNER, thread.id)
        assert TOKEN not in exported.model_dump_json()
    stored = b"".join(p.read_bytes() for p in house.data_dir.glob("limpet.sqlite3*"))
    assert b"Rain in Lisbon." in stored
    assert TOKEN.encode() not in stored


async def test_a_server_that_is_away_is_said_and_the_run_goes_on(house: House) -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        url = f"http://127.0.0.1:{gone.getsockname()[1]}/mcp"
    async with weather_server(TOKEN) as weather, talking(house, CALLED, DONE) as (chat, _):
        await has(chat, "away", url)
        await has(chat, "weather", weather.url)
        thread = await chat.thread()
        await chat.ask(thread, "What is the weather?")
        [notice] = await of(chat, thread, Notice)
        assert "away cannot be used" in notice.text
        [finished] = await of(chat, thread, ToolFinished)
        assert finished.output == "Rain in Lisbon."
        [ended] = await of(chat, thread, RunFinished)
        assert ended.how == "done"


async def test_one_that_was_deleted_is_not_asked_any_more(house: House) -> None:
    async with weather_server(TOKEN) as weather, talking(house, DONE) as (chat, models):
        await has(chat, "weather", weather.url)
        agent = AgentId(chat.box.agent.id)
        await chat.service.parts.servers.delete(EMBEDDED_ORG, agent, "weather")
        thread = await chat.thread()
        await chat.ask(thread, "Hello.")
        assert weather.asked == []
        assert "weather_" not in models.asked[0].text


async def test_a_harness_in_the_sandbox_is_given_none(chat: Chat) -> None:
    await has(chat, "weather", "http://127.0.0.1:1/mcp")
    thread = await chat.thread()
    await chat.ask(thread, "say one")
    assert [(one.name, one.headers) for one in chat.harness.turns[-1].servers] == [
        ("weather", AUTH)
    ]
    harnesses = chat.service.parts.harnesses
    assert isinstance(harnesses, dict)
    harnesses["claude-code"] = chat.harness
    thread = await chat.thread(harness="claude-code")
    await chat.ask(thread, "say two")
    assert chat.harness.turns[-1].prompt == "say two"
    assert list(chat.harness.turns[-1].servers) == []
