"""Runs over real sandboxes: what is told, kept, stopped, capped and gone on with."""

import asyncio
from typing import cast

import pytest

from limpet.control.db import EMBEDDED_ORG
from limpet.control.operations.thread_models import Thread, ThreadStop, ThreadUpdate
from limpet.control.threads.keys import ThreadKey
from limpet.errors import InvalidInputError
from limpet.harness.base import Caps
from limpet.harness.events import (
    Checkpoint,
    Notice,
    RunFinished,
    Text,
    Thinking,
    ToolFinished,
    ToolInput,
)
from limpet.ids import AgentId
from tests.control.threads.conftest import OWNER, Chat

pytestmark = pytest.mark.anyio


async def ended(chat: Chat, thread: Thread) -> RunFinished:
    """How the last run ended."""
    [*_, last] = [e.event for e in await chat.events(thread) if isinstance(e.event, RunFinished)]
    return last


async def test_a_message_is_answered_and_everything_is_kept_in_order(chat: Chat) -> None:
    thread = await chat.thread()
    sent = await chat.ask(
        thread, "say Hello ", "write page.txt new", "bash echo one; echo two >&2", "say done"
    )
    events = [kept.event for kept in await chat.events(thread)]
    assert [event.kind for event in events if event.kind != "tool_output"] == [
        "user_message", "run_started", "checkpoint", "text", "tool_started", "tool_finished",
        "tool_started", "tool_finished", "text", "checkpoint", "run_finished",
    ]  # fmt: skip
    assert await chat.box.read("page.txt") == "new\n"
    [written, ran] = [event for event in events if isinstance(event, ToolFinished)]
    assert "+new" in (written.diff or "")
    assert "one" in ran.output
    assert "two" in ran.output
    assert events[-1] == RunFinished(run=sent.run, how="done")
    turn = chat.harness.turns[0]
    assert "Make it blue." in turn.instructions
    assert turn.model.name == "scripted"
    await chat.settled(thread)
    view = await chat.view(thread)
    assert (view.status, view.run, view.queued) == ("idle", None, 0)
    assert view.title.startswith("say Hello")


async def test_numbers_have_no_gaps_while_it_happens_and_joined_pieces_cover_theirs(
    chat: Chat,
) -> None:
    thread = await chat.thread()
    sent = await chat.send(thread, "say a", "wait one", "say b", "wait two", "say c", "wait three")
    for gate, text in (("one", "a"), ("two", "b"), ("three", "c")):
        await chat.harness.reached(gate)
        before = await chat.until(
            thread, lambda e, t=text: isinstance(e.event, Text) and e.event.delta == t
        )
        assert [kept.seq for kept in before] == list(range(1, len(before) + 1))
        chat.harness.open(gate)
    await chat.finished(thread, sent.run)
    await chat.settled(thread)
    events = await chat.events(thread)
    [joined] = [kept for kept in events if isinstance(kept.event, Text)]
    assert joined.event == Text(part=f"{sent.run}-text", delta="abc")
    assert joined.seq == before[-1].seq
    for after, rest in ((joined.seq - 3, "abc"), (joined.seq - 2, "bc"), (joined.seq - 1, "c")):
        key = ThreadKey(EMBEDDED_ORG, thread.id)
        page, _ = await chat.service.parts.journal.read(key, after=after, limit=1)
        assert page[0].event == Text(part=f"{sent.run}-text", delta=rest)


async def test_whatever_comes_in_pieces_is_one_event_for_each_part_in_the_end(chat: Chat) -> None:
    thread = await chat.thread()
    await chat.ask(thread, "think a", "think b", "draft {", "draft }", "keep", "draft !", "say c")
    await chat.settled(thread)
    told = [
        (kept.event.kind, kept.event.delta)
        for kept in await chat.events(thread)
        if isinstance(kept.event, Text | Thinking | ToolInput)
    ]
    assert told == [("thinking", "ab"), ("tool_input", "{}!"), ("text", "c")]


async def test_the_agent_reads_the_old_file_after_its_sandbox_was_lost(chat: Chat) -> None:
    thread = await chat.thread()
    await chat.ask(thread, "write kept.txt from before")
    await chat.box.lose()
    await chat.ask(thread, "read kept.txt")
    events = [kept.event for kept in await chat.events(thread)]
    [*_, read] = [event for event in events if isinstance(event, ToolFinished)]
    assert read.ok
    assert "from before" in read.output
    assert any(isinstance(event, Notice) and "restored" in event.text for event in events)


async def test_a_sandbox_that_goes_away_in_the_middle_of_a_turn_comes_home(chat: Chat) -> None:
    thread = await chat.thread()
    sent = await chat.send(thread, "write a.txt one", "save mine", "wait lost", "read a.txt")
    await chat.harness.reached("lost")
    await chat.box.lose()
    chat.harness.open("lost")
    await chat.finished(thread, sent.run)
    assert (await ended(chat, thread)).how == "done"
    [*_, read] = [e.event for e in await chat.events(thread) if isinstance(e.event, ToolFinished)]
    assert "one" in read.output


async def test_stop_ends_the_run_at_once_and_its_command_with_it(chat: Chat) -> None:
    thread = await chat.thread()
    await chat.send(thread, "bash echo begun; sleep 987; echo never")
    await chat.until(thread, lambda e: e.event.kind == "tool_output")
    waiting = await chat.send(thread, "say later")
    assert waiting.queued
    await chat.service.stop(OWNER, ThreadStop(thread_id=thread.id))
    await chat.settled(thread)
    events = [kept.event for kept in await chat.events(thread)]
    hows = {e.run: e.how for e in events if isinstance(e, RunFinished)}
    assert set(hows.values()) == {"stopped"}
    assert waiting.run in hows
    [cut] = [event for event in events if isinstance(event, ToolFinished)]
    assert not cut.ok
    client = await chat.box.client()
    told = await client.call("GET", "/_sandbox/tasks?status=running")
    running = told["tasks"]
    assert isinstance(running, list)
    assert not any("sleep 987" in str(task) for task in running)
    assert (await chat.view(thread)).status == "idle"


async def test_messages_wait_their_turn(chat: Chat) -> None:
    thread = await chat.thread()
    first = await chat.send(thread, "wait gate", "say one")
    await chat.harness.reached("gate")
    second = await chat.send(thread, "say two")
    third = await chat.send(thread, "say three")
    assert (first.queued, second.queued, third.queued) == (False, True, True)
    assert third.thread.queued == 2
    chat.harness.open("gate")
    await chat.finished(thread, third.run)
    assert [turn.run for turn in chat.harness.turns] == [first.run, second.run, third.run]


async def test_two_threads_of_one_branch_take_turns(chat: Chat) -> None:
    one, two = await chat.thread(), await chat.thread()
    assert one.branch == two.branch
    first = await chat.send(one, "wait gate")
    await chat.harness.reached("gate")
    second = await chat.send(two, "say mine")
    await chat.settled(two)
    waiting = await chat.view(two)
    assert (waiting.run, waiting.queued) == (None, 1)
    chat.harness.open("gate")
    await chat.finished(one, first.run)
    await chat.finished(two, second.run)


async def test_a_message_that_is_sent_twice_is_said_once(chat: Chat) -> None:
    thread = await chat.thread()
    first = await chat.send(thread, "say once", id="msg-1")
    again = await chat.send(thread, "say once", id="msg-1")
    assert (first.run, first.message) == (again.run, again.message)
    await chat.finished(thread, first.run)
    assert len(chat.harness.turns) == 1


async def test_a_turn_knows_the_ones_before_it(chat: Chat) -> None:
    thread = await chat.thread()
    await chat.ask(thread, "say one")
    await chat.ask(thread, "refuse The key is wrong.")
    await chat.ask(thread, "say three")
    turn = chat.harness.turns[-1]
    assert turn.state == {"lines": ["say one"], "at": 1}
    assert [(e.prompt, e.answer) for e in turn.history] == [("refuse The key is wrong.", "")]
    assert not turn.resumes


@pytest.mark.parametrize(
    ("line", "how", "words"),
    [
        ("refuse The key is wrong.", "failed", "The key is wrong."),
        ("break", "failed", "RuntimeError"),
        ("cost 3.5", "capped", "$3.50"),
    ],
)
async def test_what_goes_wrong_is_said(chat: Chat, line: str, how: str, words: str) -> None:
    await chat.service.parts.caps.set(EMBEDDED_ORG, AgentId(chat.box.agent.id), Caps(cost_usd=2.0))
    thread = await chat.thread()
    await chat.ask(thread, "say first", line, "say never")
    last = await ended(chat, thread)
    assert last.how == how
    assert words in (last.error or "")
    text = "".join(e.event.delta for e in await chat.events(thread) if isinstance(e.event, Text))
    assert text == "first"
    await chat.settled(thread)
    view = await chat.view(thread)
    assert view.status == ("failed" if how == "failed" else "idle")


async def test_a_run_that_takes_too_long_is_ended(chat: Chat) -> None:
    await chat.service.parts.caps.set(EMBEDDED_ORG, None, Caps(time_s=0.5))
    thread = await chat.thread()
    await chat.ask(thread, "wait for-ever")
    assert (await ended(chat, thread)).how == "capped"


async def test_costs_and_tokens_are_counted(chat: Chat) -> None:
    thread = await chat.thread()
    await chat.ask(thread, "say x", "cost 0.25")
    await chat.ask(thread, "say x", "cost 0.5")
    usage = (await chat.view(thread)).usage
    assert (usage.cost_usd, usage.input_tokens, usage.output_tokens) == (0.75, 20, 4)


async def test_a_save_in_the_middle_of_a_run_breaks_nothing(chat: Chat) -> None:
    thread = await chat.thread()
    sent = await chat.send(thread, "write a.txt one", "wait gate", "write b.txt two", "read a.txt")
    await chat.harness.reached("gate")
    before = await chat.house.service.idle(chat.box.key)
    saved = asyncio.create_task(chat.house.service.save_for(chat.box.key, "interval"))
    chat.harness.open("gate")
    await asyncio.gather(saved, chat.finished(thread, sent.run))
    assert (await ended(chat, thread)).how == "done"
    after = await chat.house.service.idle(chat.box.key)
    assert before
    assert after
    assert after.activity_seq > before.activity_seq
    assert await chat.box.read("b.txt") == "two\n"


async def test_each_turn_has_snapshots_that_are_named_by_it_and_know_their_commit(
    chat: Chat,
) -> None:
    thread = await chat.thread()
    await chat.ask(thread, "write a.txt one")
    await chat.box.write("b.txt", "by hand")
    await chat.ask(thread, "write a.txt two")
    marks = [e.event for e in await chat.events(thread) if isinstance(e.event, Checkpoint)]
    assert [mark.when for mark in marks] == ["before", "after"] * 2
    assert all(mark.commit for mark in marks)
    known = {snapshot.id: snapshot for snapshot in await chat.box.snapshots()}
    assert [known[mark.snapshot].name for mark in marks] == [
        "Before turn 1: write a.txt one",
        "After turn 1: write a.txt one",
        "Before turn 2: write a.txt two",
        "After turn 2: write a.txt two",
    ]


async def test_a_turn_that_changes_nothing_makes_no_snapshot_of_its_own(chat: Chat) -> None:
    thread = await chat.thread()
    await chat.ask(thread, "write a.txt one")
    there = [snapshot.id for snapshot in await chat.box.snapshots()]
    await chat.ask(thread, "read a.txt")
    assert [snapshot.id for snapshot in await chat.box.snapshots()] == there
    marks = [e.event for e in await chat.events(thread) if isinstance(e.event, Checkpoint)]
    assert {mark.snapshot for mark in marks[1:]} == {there[0]}


async def test_a_thread_of_an_agent_without_a_source_has_a_branch_of_its_own(chat: Chat) -> None:
    bare = await chat.house.agent()
    thread = await chat.thread(agent_id=bare.agent.id)
    assert thread.branch == f"thread:{thread.id}"
    await chat.ask(thread, "write a.txt one", "read a.txt")
    assert (await ended(chat, thread)).how == "done"


async def test_a_harness_that_is_not_there_cannot_be_chosen(chat: Chat) -> None:
    thread = await chat.thread()
    with pytest.raises(InvalidInputError, match="no harness 'claude-code'"):
        await chat.service.update(OWNER, ThreadUpdate(thread_id=thread.id, harness="claude-code"))
    assert (await chat.view(thread)).harness == "decopilot"


async def test_a_harness_that_is_gone_is_said_when_it_should_run(chat: Chat) -> None:
    thread = await chat.thread()
    cast(dict[str, object], chat.service.parts.harnesses).clear()
    await chat.ask(thread, "say x")
    assert "no harness 'decopilot'" in ((await ended(chat, thread)).error or "")
