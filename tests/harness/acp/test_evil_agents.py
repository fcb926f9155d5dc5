"""Agents that are broken, or mean harm: each ends in words, or is put up with; none hangs."""

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from limpet.harness.acp import wire
from limpet.harness.base import ModelError
from limpet.harness.events import Text, ToolStarted
from limpet.harness.tools import Folders, ToolFailedError
from tests.harness.acp.driving import CLAUDE, HASTY, QUICK, Stand
from tests.harness.folder_tools import StraightGateway, all_gone

pytestmark = pytest.mark.anyio
SHORT = replace(HASTY, start_s=0.3)


async def refused(stand: Stand, *lines: str, **given: Any) -> str:
    """What a turn's failure says; nothing that was begun is left."""
    with pytest.raises(ModelError) as told:
        await stand.take(*lines, **given)
    await all_gone(stand.tools)
    return str(told.value)


async def test_a_program_that_is_not_there_is_said(tmp_path: Path) -> None:
    said = await refused(Stand(tmp_path), "say a", command=["no-such-agent", "acp"])
    assert "no-such-agent" in said
    assert "acp_command" in said


async def test_a_sandbox_that_is_gone_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand = Stand(tmp_path)

    async def gone() -> Folders:
        raise ToolFailedError("The sandbox went away.")

    monkeypatch.setattr(stand.tools, "folders", gone)
    assert "The sandbox went away." in await refused(stand, "say a")


async def test_no_command_is_said(tmp_path: Path) -> None:
    assert "acp_command" in await refused(Stand(tmp_path), "say a", command=[])


async def test_a_program_that_speaks_something_else_is_said_with_what_it_printed(
    tmp_path: Path,
) -> None:
    said = await refused(Stand(tmp_path), "a", command=["sh", "-c", "echo usage: x >&2; exit 2"])
    assert "ended in the middle (code 2)" in said
    assert "usage: x" in said


async def test_another_version_of_the_protocol_is_said(tmp_path: Path) -> None:
    said = await refused(Stand(tmp_path, ["version", "7"]), "say a")
    assert "version 7" in said


@pytest.mark.parametrize("method", ["initialize", "session/new", "session/load"])
async def test_an_agent_that_never_answers_is_waited_for_no_longer(
    method: str, tmp_path: Path
) -> None:
    state = None
    if method == "session/load":
        state = (await Stand(tmp_path, ["offers", "load"]).take("say a")).state
        state["command"] = [*state["command"][:2], "silent", method, "offers", "load"]
    quick = replace(HASTY, start_s=0.3 if method == "initialize" else 20.0, session_s=0.3)
    stand = Stand(tmp_path, ["silent", method, "offers", "load"], quick)
    assert f"did not answer to {method}" in await refused(stand, "say a", state=state)


async def test_an_agent_that_takes_nothing_in_is_waited_for_no_longer(tmp_path: Path) -> None:
    said = await refused(Stand(tmp_path, waits=SHORT), "a", command=["sleep", "600"])
    assert "did not answer to initialize" in said


@pytest.mark.parametrize("method", ["initialize", "session/new", "session/prompt"])
async def test_an_agent_that_dies_is_said_with_its_last_words(method: str, tmp_path: Path) -> None:
    said = await refused(Stand(tmp_path, ["dies", method, "3"]), "say a")
    assert "ended in the middle (code 3)" in said
    assert "no such feature" in said


async def test_what_was_told_before_a_death_is_kept(tmp_path: Path) -> None:
    stand = Stand(tmp_path)
    await refused(stand, "say kept", "die 1 out of memory")
    assert stand.took.answer == "kept"


async def test_the_gateways_token_is_in_no_words(tmp_path: Path) -> None:
    stand = Stand(tmp_path)
    stand.tools.models = StraightGateway("http://127.0.0.1:9", "run-token-42")
    for line in ("die 1 key run-token-42 is bad", "fail -32603 key run-token-42 is bad"):
        said = await refused(stand, line, model=CLAUDE)
        assert "is bad" in said
        assert "run-token-42" not in said


async def test_lines_that_are_no_messages_are_passed_over(tmp_path: Path) -> None:
    took = await Stand(tmp_path, ["noise", "50"]).take(
        "say a",
        "raw {broken",
        "raw [1, 2]",
        'raw "text"',
        "raw null",
        'raw {"id": {"an": "object"}, "result": 1}',
        'raw {"id": 99999, "result": 1}',
        'raw {"method": 5}',
        'raw {"method": "session/update", "params": [1]}',
        'raw {"method": "session/update"}',
        'raw {"method": "session/update", "params": {"sessionId": "session-1", "update": 3}}',
        'raw {"jsonrpc": "2.0", "method": "no/such/notification", "params": {}}',
        'update {"sessionUpdate": "invented_next_year"}',
        'update {"sessionUpdate": "agent_message_chunk", "content": 5}',
        'update {"sessionUpdate": "tool_call", "title": 5}',
        "raw " + "[" * 20_000,
        "say b",
    )
    assert took.answer == "ab"


async def test_a_flood_of_lines_that_are_no_messages_ends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire, "MAX_NOISE_LINES", 20)
    assert "no message of the protocol" in await refused(Stand(tmp_path, ["noise", "50"]), "say a")


async def test_a_line_without_an_end_ends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire, "MAX_LINE_BYTES", 1 << 20)
    stand = Stand(tmp_path, waits=HASTY)
    said = await refused(stand, "say a", f"long {2 << 20}", "hang")
    assert "a line of more than 1 MiB" in said


async def test_a_flood_waits_for_whoever_takes_it_and_comes_in_order(tmp_path: Path) -> None:
    took = await Stand(tmp_path).take("flood 3000")
    assert took.answer.split() == [str(number) for number in range(3000)]


async def test_an_agent_that_floods_is_stopped_at_once(tmp_path: Path) -> None:
    stand = Stand(tmp_path, waits=HASTY)
    running = asyncio.create_task(stand.take("flood 100000000"))
    while not stand.took.of(Text):
        await asyncio.sleep(0.01)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    await all_gone(stand.tools)


async def test_calls_without_end_end_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("limpet.harness.acp.updates.MAX_CALLS", 10)
    calls = [
        {"sessionUpdate": "tool_call", "toolCallId": f"c{n}", "title": "x", "status": "in_progress"}
        for n in range(12)
    ]
    stand = Stand(tmp_path)
    said = await refused(stand, *(f"update {json.dumps(call)}" for call in calls))
    assert "more than 10 tool calls" in said
    assert len(stand.took.of(ToolStarted)) == 10


async def test_requests_that_we_do_not_know_are_answered_so(tmp_path: Path) -> None:
    took = await Stand(tmp_path).take(
        "ask no/such/method {}",
        'ask elicitation/create {"message": "Your password?", "mode": "form"}',
        "ask fs/read_text_file {}",
        "say b",
    )
    unknown, elicitation, wrong, after = took.answer.splitlines()
    assert json.loads(unknown)["code"] == json.loads(elicitation)["code"] == -32601
    assert json.loads(wrong)["code"] == -32602
    assert after == "b"


async def test_a_request_after_the_turn_is_not_served(tmp_path: Path) -> None:
    stand = Stand(tmp_path)
    wanted = {"sessionId": "$session", "path": "$repo/late.txt", "content": "late"}
    took = await stand.take(f"later fs/write_text_file {json.dumps(wanted)}", "say done")
    assert took.answer == "done"
    await all_gone(stand.tools)


async def test_too_many_requests_at_once_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire, "MAX_REQUESTS", 2)
    create = {"sessionId": "$session", "command": "sleep 600"}
    wait = {"sessionId": "session-1", "terminalId": "term-1"}
    waiting = [
        {"jsonrpc": "2.0", "id": number, "method": "terminal/wait_for_exit", "params": wait}
        for number in range(2)
    ]
    took = await Stand(tmp_path).take(
        f"ask terminal/create {json.dumps(create)}",
        *(f"raw {json.dumps(one)}" for one in waiting),
        f"ask terminal/output {json.dumps(wait)}",
    )
    assert "2 requests wait already" in took.answer.splitlines()[1]


@pytest.mark.parametrize(
    ("method", "answer", "words"),
    [
        ("initialize", '{"jsonrpc":"2.0","id":$id,"result":{}}', "does not keep to the protocol"),
        ("initialize", '{"jsonrpc":"2.0","id":$id,"error":"no"}', "no"),
        ("session/new", '{"jsonrpc":"2.0","id":$id,"result":{}}', "its session has no id"),
        ("session/new", '{"jsonrpc":"2.0","id":$id,"result":{"sessionId":5}}', "has no id"),
        ("session/prompt", '{"jsonrpc":"2.0","id":$id,"result":null}', "does not keep to"),
        ("session/prompt", '{"jsonrpc":"2.0","id":$id,"error":{"code":"x","data":{"a":1}}}', "a"),
    ],
)
async def test_answers_of_the_wrong_shape_are_said(
    method: str, answer: str, words: str, tmp_path: Path
) -> None:
    assert words in await refused(Stand(tmp_path, ["answers", method, answer], QUICK), "say a")


async def test_choices_of_the_wrong_shape_are_none(tmp_path: Path) -> None:
    answer = '{"jsonrpc":"2.0","id":$id,"result":{"sessionId":"session-9","modes":[1]}}'
    stand = Stand(tmp_path, ["answers", "session/new", answer])
    said = await refused(stand, "say a")  # the agent itself knows no such session
    assert "Scripted" in said
    assert stand.asked("session/prompt")[0]["sessionId"] == "session-9"
