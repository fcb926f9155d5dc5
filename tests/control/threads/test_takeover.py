"""Control planes that die in the middle of a run, and those that go on."""

import asyncio
import contextlib
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import update

from limpet.control.db import EMBEDDED_ORG, RunRow, SandboxRow
from limpet.control.operations.thread_models import ThreadSend, ThreadStop
from limpet.control.threads.keys import ThreadKey
from limpet.control.threads.service import ThreadService
from limpet.harness.events import Notice, RunFinished, Text, ToolFinished
from tests.control.threads.conftest import OWNER, Chat, thread_service
from tests.control.threads.scripted import Scripted

pytestmark = pytest.mark.anyio


async def expire(chat: Chat) -> None:
    """The leases of whoever had runs and sandboxes run out."""
    past = datetime.now(UTC) - timedelta(seconds=1)
    async with chat.house.db.session() as session:
        await session.execute(update(RunRow).values(lease_until=past, lease_owner="the-dead"))
        await session.execute(update(SandboxRow).values(lease_until=past, lease_owner="the-dead"))


async def die(chat: Chat) -> None:
    """What goes on ends without a word, as by kill -9."""
    for task in chat.service.scheduler._tasks.values():
        task.cancel()
    await asyncio.gather(*chat.service.scheduler._tasks.values(), return_exceptions=True)
    chat.service.scheduler._closing.set()
    await expire(chat)


async def test_a_run_goes_on_from_the_state_that_was_kept(chat: Chat) -> None:
    thread = await chat.thread()
    sent = await chat.send(
        thread, "write a.txt one", "say before", "keep", "wait death", "say after"
    )
    await chat.harness.reached("death")
    await die(chat)
    chat.harness.open("death")
    async with thread_service(
        chat.house, chat.harness, owner=chat.house.service.parts.leases.owner, exclusive=False
    ).working():
        await chat.finished(thread, sent.run)
    events = [kept.event for kept in await chat.events(thread)]
    assert events[-1] == RunFinished(run=sent.run, how="done")
    assert "".join(e.delta for e in events if isinstance(e, Text)) == "beforeafter"
    assert any(isinstance(e, Notice) and "goes on" in e.text for e in events)
    first, second = chat.harness.turns
    assert (first.resumes, second.resumes) == (False, True)
    assert [e.kind for e in events].count("run_started") == 1


async def test_a_run_without_a_state_says_where_it_stopped(chat: Chat) -> None:
    thread = await chat.thread()
    sent = await chat.send(thread, "say half", "bash echo on; sleep 986")
    await chat.until(thread, lambda e: e.event.kind == "tool_output")
    await die(chat)
    async with thread_service(
        chat.house, chat.harness, owner=chat.house.service.parts.leases.owner, exclusive=False
    ).working():
        await chat.finished(thread, sent.run)
    events = [kept.event for kept in await chat.events(thread)]
    last = events[-1]
    assert isinstance(last, RunFinished)
    assert (last.how, len(chat.harness.turns)) == ("interrupted", 1)
    assert "server ended" in (last.error or "")
    [cut] = [event for event in events if isinstance(event, ToolFinished)]
    assert not cut.ok
    assert (await chat.view(thread)).status == "failed"


async def test_a_run_that_had_not_begun_is_simply_done(chat: Chat) -> None:
    thread = await chat.thread()
    sent = await chat.send(thread, "wait death", "say done")
    await chat.harness.reached("death")
    await die(chat)
    chat.harness.open("death")
    async with thread_service(
        chat.house, chat.harness, owner=chat.house.service.parts.leases.owner, exclusive=False
    ).working():
        await chat.finished(thread, sent.run)
    assert (await chat.events(thread))[-1].event == RunFinished(run=sent.run, how="done")


async def test_a_run_that_kills_every_server_is_given_up(chat: Chat) -> None:
    thread = await chat.thread()
    sent = await chat.send(thread, "keep", "wait death")
    await chat.harness.reached("death")
    await die(chat)
    async with chat.house.db.session() as session:
        await session.execute(update(RunRow).values(takeovers=3))
    async with thread_service(
        chat.house, chat.harness, owner=chat.house.service.parts.leases.owner, exclusive=False
    ).working():
        await chat.finished(thread, sent.run)
    last = (await chat.events(thread))[-1].event
    assert isinstance(last, RunFinished)
    assert last.how == "interrupted"


async def test_a_server_that_ends_hands_its_run_on(chat: Chat) -> None:
    thread = await chat.thread()
    sent = await chat.send(thread, "say one ", "keep", "wait end", "say two")
    await chat.harness.reached("end")
    await chat.service.close()
    assert chat.harness.cancelled == ["end"]
    chat.harness.open("end")
    async with thread_service(chat.house, chat.harness).working():
        await chat.finished(thread, sent.run)
    text = "".join(e.event.delta for e in await chat.events(thread) if isinstance(e.event, Text))
    assert text == "one two"


async def test_a_server_whose_lease_was_taken_writes_nothing_more(chat: Chat) -> None:
    thread = await chat.thread()
    await chat.send(thread, "say one", "wait taken", "say two")
    await chat.harness.reached("taken")
    before = len(await chat.events(thread))
    async with chat.house.db.session() as session:
        later = datetime.now(UTC) + timedelta(hours=1)
        await session.execute(update(RunRow).values(lease_owner="another", lease_until=later))
        await session.execute(update(SandboxRow).values(lease_owner="another", lease_until=later))
    chat.service.parts.claims._exclusive = False
    chat.harness.open("taken")
    await chat.settled(thread)
    assert len(await chat.events(thread)) == before


async def test_another_server_sees_the_run_stops_it_and_leaves_it_where_its_sandbox_is(
    chat: Chat,
) -> None:
    chat.service.parts.claims._exclusive = False
    elsewhere = thread_service(chat.house, Scripted(), owner="another", exclusive=False)
    thread = await chat.thread()
    await chat.ask(thread, "say warm")
    async with elsewhere.working():
        follower = elsewhere.parts.hub.follow(ThreadKey(EMBEDDED_ORG, thread.id))
        sent = await elsewhere.send(
            OWNER, ThreadSend(thread_id=thread.id, text="say here\nwait stop")
        )
        await chat.harness.reached("stop")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(60):
                while len(await _texts(elsewhere, thread.id)) < 2:
                    await follower.news(10)
        assert await _texts(elsewhere, thread.id) == ["warm", "here"]
        await elsewhere.stop(OWNER, ThreadStop(thread_id=thread.id))
        await chat.finished(thread, sent.run)
        follower.close()
    assert chat.harness.cancelled == ["stop"]
    assert chat.harness.turns[-1].run == sent.run


async def _texts(service: ThreadService, thread: str) -> list[str]:
    events, _ = await service.parts.journal.read(
        ThreadKey(EMBEDDED_ORG, thread), after=0, limit=500
    )
    return [e.event.delta for e in events if isinstance(e.event, Text)]
