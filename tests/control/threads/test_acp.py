"""Threads whose agent is a program of its own, in a real sandbox: told, stopped, gone on with."""

import asyncio
import json
import shlex
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from limpet.control.db import EMBEDDED_ORG, AgentRow
from limpet.control.operations.thread_models import (
    ModelProviderCreate,
    Thread,
    ThreadStop,
    ThreadUpdate,
)
from limpet.control.threads.keys import NoCommandError, NoModelError
from limpet.harness.base import Caps
from limpet.harness.events import Notice, RunFinished, RunStarted, Text
from tests.control.threads.conftest import OWNER, Chat
from tests.harness.acp.driving import AGENT
from tests.harness.driving import replies
from tests.models.server import KEY, ScriptedModels, scripted

pytestmark = pytest.mark.anyio
COMMAND = shlex.join([sys.executable, str(AGENT), "offers", "load"])


async def named(chat: Chat, command: str | None) -> None:
    """The agent's command from now on."""
    async with chat.house.db.session() as session:
        row = await session.get(AgentRow, (EMBEDDED_ORG, chat.box.agent.id))
        assert row is not None
        row.acp_command = command


async def without_models(chat: Chat) -> None:
    providers = chat.service.parts.providers
    for provider in await providers.all(EMBEDDED_ORG):
        await providers.delete(EMBEDDED_ORG, provider.id)


async def acp_thread(chat: Chat) -> Thread:
    await named(chat, COMMAND)
    await without_models(chat)
    return await chat.thread(harness="acp")


async def ended(chat: Chat, thread: Thread) -> RunFinished:
    [*_, last] = [e.event for e in await chat.events(thread) if isinstance(e.event, RunFinished)]
    return last


def written(path: str, content: str) -> str:
    wanted = {"sessionId": "$session", "path": f"$repo/{path}", "content": content}
    return f"ask fs/write_text_file {json.dumps(wanted)}"


async def test_a_message_changes_a_file_and_the_next_one_goes_on_in_its_session(chat: Chat) -> None:
    thread = await acp_thread(chat)
    sent = await chat.ask(
        thread, "think hm", "say I write. ", written("page.txt", "new\n"), "cost 0.25"
    )
    assert await chat.box.read("page.txt") == "new\n"
    assert await ended(chat, thread) == RunFinished(run=sent.run, how="done")
    kinds = [kind for kind in await chat.kinds(thread) if kind != "tool_output"]
    assert kinds == [
        "user_message", "run_started", "checkpoint", "thinking", "text", "usage", "checkpoint",
        "run_finished",
    ]  # fmt: skip
    assert (await chat.view(thread)).usage.cost_usd == 0.25
    again = await chat.ask(thread, "say And again. ", "told")
    events = [kept.event for kept in await chat.events(thread) if kept.run == again.run]
    said = "".join(event.delta for event in events if isinstance(event, Text))
    assert said == "And again. []"
    assert not [event for event in events if isinstance(event, Notice)]
    [started] = [event for event in events if isinstance(event, RunStarted)]
    assert (started.harness, started.model) == ("acp", "")
    asked = await asked_of(chat)
    assert [one["method"] for one in asked if one["method"].startswith("session/")] == [
        "session/new", "session/prompt", "session/load", "session/prompt",
    ]  # fmt: skip
    assert "Make it blue." in asked[2]["prompt"][0]["text"]


async def asked_of(chat: Chat) -> list[dict[str, Any]]:
    """What the agent was asked, as it wrote it down in the sandbox's home."""
    home = await chat.box.root() / "workspace" / "home"
    return [json.loads(line) for line in (home / "asked").read_text().splitlines()]


async def test_a_sandbox_that_was_lost_comes_home_with_the_agents_session(chat: Chat) -> None:
    thread = await acp_thread(chat)
    await chat.ask(thread, "say one")
    await chat.box.lose()
    sent = await chat.ask(thread, "say two", "told")
    events = [kept.event for kept in await chat.events(thread) if kept.run == sent.run]
    assert "".join(event.delta for event in events if isinstance(event, Text)) == "two[]"


async def test_stop_ends_the_agent_and_what_it_started_and_a_message_goes_on(chat: Chat) -> None:
    thread = await acp_thread(chat)
    create = {"sessionId": "$session", "command": "echo $$ > pid; exec sleep 987"}
    shown = {"sessionId": "$session", "command": "until test -s pid; do sleep 0.01; done"}
    wait = {"sessionId": "$session", "terminalId": "$last"}
    await chat.send(
        thread,
        f"ask terminal/create {json.dumps(create)}",
        f"ask terminal/create {json.dumps(shown)}",
        f"ask terminal/wait_for_exit {json.dumps(wait)}",
        "say It sleeps.",
        "hang",
    )
    await chat.until(thread, lambda e: isinstance(e.event, Text) and "sleeps" in e.event.delta)
    await chat.service.stop(OWNER, ThreadStop(thread_id=thread.id))
    await chat.settled(thread)
    assert (await ended(chat, thread)).how == "stopped"
    pid = await chat.box.read("pid")
    assert pid is not None
    while Path(f"/proc/{pid.strip()}").exists():
        await asyncio.sleep(0.02)
    sent = await chat.ask(thread, "say Back.")
    assert (await ended(chat, thread)) == RunFinished(run=sent.run, how="done")
    asked = [one["method"] for one in await asked_of(chat)]
    assert asked.count("session/new") == asked.count("session/load") == 1


async def test_without_a_command_it_is_refused_with_what_to_set(chat: Chat) -> None:
    with pytest.raises(NoCommandError) as told:
        await chat.thread(harness="acp")
    assert "acp_command" in told.value.hint
    thread = await chat.thread()
    with pytest.raises(NoCommandError):
        await chat.service.update(OWNER, ThreadUpdate(thread_id=thread.id, harness="acp"))
    assert (await chat.view(thread)).harness == "decopilot"
    await named(chat, COMMAND)
    changed = await chat.service.update(OWNER, ThreadUpdate(thread_id=thread.id, harness="acp"))
    assert changed.harness == "acp"
    await named(chat, None)
    await chat.ask(thread, "say one")
    last = await ended(chat, thread)
    assert last.how == "failed"
    assert "acp_command" in (last.error or "")


async def test_a_program_that_is_not_there_or_dies_is_said(chat: Chat) -> None:
    thread = await acp_thread(chat)
    await named(chat, "no-such-agent acp")
    await chat.ask(thread, "say one")
    last = await ended(chat, thread)
    assert last.how == "failed"
    assert "no-such-agent" in (last.error or "")
    await named(chat, COMMAND)
    await chat.ask(thread, "die 7 out of memory")
    last = await ended(chat, thread)
    assert last.how == "failed"
    assert "code 7" in (last.error or "")
    assert "out of memory" in (last.error or "")


async def test_only_an_agent_of_its_own_goes_without_a_model(chat: Chat) -> None:
    await without_models(chat)
    thread = await chat.thread()
    with pytest.raises(NoModelError):
        await chat.send(thread, "say one")


@asynccontextmanager
async def scripted_model(chat: Chat, *texts: str) -> AsyncIterator[ScriptedModels]:
    """The org's only model, and what it answers."""
    await without_models(chat)
    async with scripted(replies(*({"text": text} for text in texts))) as models:
        await chat.service.parts.providers.create(
            EMBEDDED_ORG,
            ModelProviderCreate(
                kind="anthropic", api_key=KEY, base_url=models.url, models=["claude-sonnet-4-6"]
            ),
        )
        yield models


async def test_the_agent_has_the_orgs_model_without_its_key(chat: Chat) -> None:
    async with scripted_model(chat, "Hello.") as models:
        await named(chat, COMMAND)
        thread = await chat.thread(harness="acp")
        await chat.ask(thread, "env ANTHROPIC_API_KEY", "say  ", "model hi")
        [asked] = models.asked
    said = [e.event.delta for e in await chat.events(thread) if isinstance(e.event, Text)]
    token, answer = "".join(said).split()
    assert answer == "Hello."
    assert token != KEY
    assert asked.headers["x-api-key"] == KEY
    assert asked.body["model"] == "claude-sonnet-4-6"
    usage = (await chat.view(thread)).usage
    assert (usage.requests, usage.output_tokens) == (1, 100)


async def test_a_run_ends_where_its_gateway_lets_nothing_more_through(chat: Chat) -> None:
    async with scripted_model(chat, "One.", "Two.", "Three."):
        await named(chat, COMMAND)
        await chat.service.parts.caps.set(EMBEDDED_ORG, None, Caps(requests=1))
        thread = await chat.thread(harness="acp")
        await chat.ask(thread, "model a", "model b", "model c", "hang")
    last = await ended(chat, thread)
    assert last.how == "capped"
