"""Undo, fork, export and import, over real sandboxes."""

import json
import subprocess
from typing import Any

import pytest

from limpet.control.db import EMBEDDED_ORG, ThreadRow
from limpet.control.operations.thread_models import (
    Thread,
    ThreadFork,
    ThreadImport,
    ThreadSend,
    ThreadUndo,
)
from limpet.control.sandboxes.events import SandboxKey
from limpet.control.sandboxes.service import SnapshotSource
from limpet.control.threads import transfer, turning
from limpet.control.threads.keys import NotYoursError, RunningError
from limpet.control.threads.parts import sandbox_key
from limpet.control.threads.prompts import UNDONE
from limpet.control.threads.turning import NoCheckpointError
from limpet.errors import InvalidInputError, NotFoundError
from limpet.harness.events import Text
from limpet.ids import SnapshotId, handle_for
from limpet.snapshots.stored_heads import stored_head_key
from tests.control.threads.conftest import OTHER, OWNER, Chat

pytestmark = pytest.mark.anyio


async def three_turns(chat: Chat) -> tuple[Thread, list[str]]:
    thread = await chat.thread()
    runs = [
        (await chat.ask(thread, f"write page.txt {word}", f"say wrote {word}")).run
        for word in ("one", "two", "three")
    ]
    await chat.settled(thread)
    return thread, runs


async def test_undo_brings_the_workspace_back_and_keeps_what_is_newer(chat: Chat) -> None:
    thread, runs = await three_turns(chat)
    before = {snapshot.id for snapshot in await chat.box.snapshots()}
    await chat.box.write("page.txt", "by hand, since")
    undone = await turning.undo(chat.service, OWNER, ThreadUndo(thread_id=thread.id, run=runs[1]))
    assert await chat.box.read("page.txt") == "one\n"
    after = {snapshot.id: snapshot for snapshot in await chat.box.snapshots()}
    assert before <= set(after)
    assert undone.restored.saved_first is not None
    assert undone.restored.head.made_from is not None
    shown = await chat.service.runs(EMBEDDED_ORG, thread.id)
    assert [run.undone for run in shown] == [False, True, True]
    await chat.box.restore(undone.restored.saved_first.id)
    assert await chat.box.read("page.txt") == "by hand, since"


async def test_undo_without_a_turn_undoes_one_after_the_other(chat: Chat) -> None:
    thread, _ = await three_turns(chat)
    for word in ("two", "one"):
        await turning.undo(chat.service, OWNER, ThreadUndo(thread_id=thread.id))
        assert await chat.box.read("page.txt") == f"{word}\n"
    await chat.ask(thread, "say on")
    assert chat.harness.turns[-1].prompt == f"{UNDONE}\n\nsay on"


async def test_snapshots_say_which_turn_they_are_of(chat: Chat) -> None:
    thread, runs = await three_turns(chat)
    shown = {one.id: one for one in await chat.box.snapshots()}
    told = await chat.service.runs(EMBEDDED_ORG, thread.id)
    first = shown[told[0].checkpoint_before or ""].turn
    assert first is not None
    assert (first.when, first.number, first.thread, first.run) == ("before", 1, thread.id, runs[0])
    assert first.author == OWNER.user
    repo = await chat.box.root() / "workspace" / "repo"
    head = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=repo, check=True, capture_output=True, text=True
    )
    assert first.commit == head.stdout.strip()
    assert [shown[run.checkpoint_after or ""].turn is not None for run in told] == [True] * 3


async def test_a_turn_whose_snapshot_is_gone_is_not_undone_and_says_so(chat: Chat) -> None:
    thread, runs = await three_turns(chat)
    gone = (await chat.service.runs(EMBEDDED_ORG, thread.id))[1].checkpoint_before
    source = SnapshotSource(chat.box.key.agent, chat.box.key.branch, SnapshotId(gone or ""))
    head = await chat.house.service.find_snapshot(EMBEDDED_ORG, source)
    await chat.house.store.delete(stored_head_key(head))
    with pytest.raises(NoCheckpointError, match="not kept any more"):
        await turning.undo(chat.service, OWNER, ThreadUndo(thread_id=thread.id, run=runs[1]))
    with pytest.raises(NoCheckpointError, match="not kept any more"):
        await turning.fork(
            chat.service, OWNER, ThreadFork(thread_id=thread.id, run=runs[1], when="before")
        )
    assert await chat.box.read("page.txt") == "three\n"


async def test_nothing_is_undone_while_a_run_goes_on_nor_by_somebody_else(chat: Chat) -> None:
    thread = await chat.thread()
    with pytest.raises(NotFoundError):
        await turning.undo(chat.service, OWNER, ThreadUndo(thread_id=thread.id))
    sent = await chat.send(thread, "wait gate")
    await chat.harness.reached("gate")
    with pytest.raises(RunningError):
        await turning.undo(chat.service, OWNER, ThreadUndo(thread_id=thread.id, run=sent.run))
    with pytest.raises(NotYoursError):
        await turning.undo(chat.service, OTHER, ThreadUndo(thread_id=thread.id))
    chat.harness.open("gate")
    await chat.finished(thread, sent.run)


async def test_a_stopped_sandbox_is_undone_when_it_starts_again(chat: Chat) -> None:
    thread, _ = await three_turns(chat)
    await chat.box.stop()
    await turning.undo(chat.service, OWNER, ThreadUndo(thread_id=thread.id))
    await chat.ask(thread, "read page.txt")
    assert await chat.box.read("page.txt") == "two\n"


async def key_of(chat: Chat, thread: Thread) -> SandboxKey:
    async with chat.house.db.reading() as session:
        row = await session.get(ThreadRow, (EMBEDDED_ORG, thread.id))
    assert row is not None
    return sandbox_key(row)


def _send(thread: Thread, *lines: str) -> ThreadSend:
    return ThreadSend(thread_id=thread.id, text="\n".join(lines))


async def test_a_fork_goes_on_from_a_turn_on_a_branch_of_its_own(chat: Chat) -> None:
    thread, runs = await three_turns(chat)
    fork = await turning.fork(
        chat.service, OTHER, ThreadFork(thread_id=thread.id, run=runs[1], title="Other way")
    )
    assert fork.branch != thread.branch
    assert (fork.created_by, fork.title) == (OTHER.user, "Other way")
    told = [k.event.delta for k in await chat.events(fork) if isinstance(k.event, Text)]
    assert told == ["wrote one", "wrote two"]
    fork = await chat.service.get(OTHER, fork.id)
    key = await key_of(chat, fork)
    sent = await chat.service.send(OTHER, _send(fork, "read page.txt", "write page.txt elsewhere"))
    await chat.finished(fork, sent.run)
    turn = chat.harness.turns[-1]
    assert turn.state is not None
    assert "wrote two" in str(turn.state)
    assert "wrote three" not in str(turn.state)
    elsewhere = chat.house.runner.root(handle_for(key.org, key.agent, key.branch))
    assert (elsewhere / "workspace/repo/page.txt").read_text() == "elsewhere\n"
    assert await chat.box.read("page.txt") == "three\n"


async def test_a_fork_from_before_a_turn_leaves_it_out(chat: Chat) -> None:
    thread, runs = await three_turns(chat)
    fork = await turning.fork(
        chat.service, OWNER, ThreadFork(thread_id=thread.id, run=runs[1], when="before")
    )
    told = [k.event.delta for k in await chat.events(fork) if isinstance(k.event, Text)]
    assert told == ["wrote one"]


async def test_what_is_exported_comes_in_again_and_goes_on(chat: Chat) -> None:
    thread, _ = await three_turns(chat)
    document = json.loads((await transfer.export(chat.service, OWNER, thread.id)).model_dump_json())
    again = await transfer.import_(
        chat.service, OTHER, ThreadImport(agent_id=chat.box.agent.id, document=document)
    )
    old = [k.event for k in await chat.events(thread) if k.event.kind != "checkpoint"]
    new = [k.event for k in await chat.events(again)]
    assert [e.kind for e in new] == [e.kind for e in old]
    assert [e.delta for e in new if isinstance(e, Text)] == [
        "wrote one",
        "wrote two",
        "wrote three",
    ]
    assert [k.seq for k in await chat.events(again)] == list(range(1, len(new) + 1))
    sent = await chat.service.send(OTHER, _send(again, "say more"))
    await chat.finished(again, sent.run)
    history = chat.harness.turns[-1].history
    assert [exchange.answer for exchange in history] == ["wrote one", "wrote two", "wrote three"]


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"format": "limpet.thread.v2", "thread": {}, "events": []},
        {"format": "limpet.thread.v1"},
        {"format": "limpet.thread.v1", "thread": {}, "events": [{"seq": 1}]},
        {"format": "limpet.thread.v1", "thread": {"title": []}, "events": {}},
    ],
)
async def test_what_is_no_thread_is_refused(chat: Chat, document: dict[str, Any]) -> None:
    with pytest.raises(InvalidInputError):
        await transfer.import_(
            chat.service, OWNER, ThreadImport(agent_id=chat.box.agent.id, document=document)
        )


async def test_hostile_documents_are_taken_as_mere_text(chat: Chat) -> None:
    at = "2999-01-01T00:00:00"
    message = "../x" * 99
    events: list[dict[str, Any]] = [
        {"kind": "user_message", "id": message, "text": "a\0b", "author": "root"},
        {"kind": "run_started", "run": "r", "message": message, "harness": "h" * 99, "model": ""},
        {"kind": "state_kept", "state": {"evil": 1}},
        {"kind": "checkpoint", "run": "r", "when": "before", "snapshot": "x"},
        {"kind": "text", "part": "p", "delta": "said\0"},
        {"kind": "run_finished", "run": "r", "how": "done"},
    ]
    document = {
        "format": "limpet.thread.v1",
        "thread": {
            "title": "t" * 5000,
            "agent_title": "",
            "branch": "main",
            "harness": "h",
            "model": None,
            "created_at": at,
        },
        "events": [
            {"seq": -9, "run": None if e["kind"] == "user_message" else "r", "at": at, "event": e}
            for e in events
        ],
    }
    made = await transfer.import_(
        chat.service, OWNER, ThreadImport(agent_id=chat.box.agent.id, document=document)
    )
    assert len(made.title) == 255
    assert [k.event.kind for k in await chat.events(made)] == [
        "user_message", "run_started", "text", "run_finished",
    ]  # fmt: skip
    [run] = await chat.service.runs(EMBEDDED_ORG, made.id)
    assert (run.checkpoint_before, run.harness) == (None, "decopilot")
    await chat.ask(made, "say on")
    assert chat.harness.turns[-1].state is None
