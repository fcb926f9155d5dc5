"""What a person sees while a turn runs, and what the model is sent."""

import asyncio
import base64
import json
from contextlib import aclosing
from pathlib import Path

import pytest

from limpet.harness.base import ProviderKind
from limpet.harness.events import (
    EVENTS,
    Notice,
    Text,
    Thinking,
    ToolFinished,
    ToolInput,
    ToolOutput,
    ToolStarted,
    Usage,
)
from limpet.harness.tools import PageState
from tests.harness.driving import PROTOCOLS, chosen, put, replies, staged, turn_of
from tests.harness.folder_tools import lives
from tests.live import poll_until

pytestmark = pytest.mark.anyio
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
DONE = {"text": "Done."}


def call(tool: str, **given: object) -> dict[str, object]:
    return {"calls": [{"tool": tool, "input": given}]}


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_text_thinking_and_a_tools_input_come_in_pieces_that_make_the_whole(
    protocol: ProviderKind, tmp_path: Path
) -> None:
    content = "line\n" * 40
    first = {
        "thinking": "First I think about it for a while.",
        "text": "I write the file that you asked for.",
        "calls": [{"tool": "write", "input": {"path": "a.txt", "content": content}}],
    }
    async with staged(protocol, tmp_path, replies(first, DONE)) as stage:
        took = await stage.take()
    thoughts, texts = took.of(Thinking), took.of(Text)
    assert "".join(event.delta for event in thoughts) == first["thinking"]
    assert len(thoughts) > 1
    assert len({event.part for event in thoughts}) == 1
    assert [len({e.part for e in texts}), took.answer] == [2, f"{first['text']}Done."]
    written = took.of(ToolInput)
    assert len(written) > 5 or protocol == "google"  # which sends a call whole
    assert json.loads("".join(event.delta for event in written)) == first["calls"][0]["input"]
    started = took.of(ToolStarted)[0]
    assert (started.name, started.title) == ("write", "Write a.txt")
    assert {event.call for event in written} == {started.call}
    kinds = [event.kind for event in took.events]
    assert kinds.index("tool_input") < kinds.index("usage") < kinds.index("tool_started")
    for event in took.events:
        assert EVENTS.validate_json(event.model_dump_json()) == event


async def test_a_change_is_shown_as_a_diff(tmp_path: Path) -> None:
    put(tmp_path, {"a.txt": "one\ntwo\n"})
    edit = call("edit", path="a.txt", edits=[{"old": "two", "new": "three"}])
    async with staged("anthropic", tmp_path, replies(edit, DONE)) as stage:
        took = await stage.take()
    assert "-two\n+three\n" in (took.of(ToolFinished)[0].diff or "")


async def test_a_commands_output_is_shown_while_it_runs(tmp_path: Path) -> None:
    wait = "echo begun; until [ -e go ]; do read -t 0.05 < <(:) ; done; echo ended; exit 3"
    async with staged("openai", tmp_path, replies(call("bash", command=wait), DONE)) as stage:
        shown = ""
        turn = turn_of(chosen("openai", stage.models))
        finished = None
        async with aclosing(stage.harness.run(turn, stage.tools)) as events:
            async for event in events:
                if isinstance(event, ToolOutput):
                    shown += event.delta
                    assert finished is None
                    (tmp_path / "go").touch()
                if isinstance(event, ToolFinished):
                    finished = event
    assert shown == "begun\nended\n"
    assert finished is not None
    assert not finished.ok
    assert finished.output == "begun\nended\n\n[It ended with exit code 3.]"


async def test_what_a_command_prints_on_and_on_is_bounded(tmp_path: Path) -> None:
    much = call("bash", command="head -c 5000000 /dev/zero | tr '\\0' 'x'")
    async with staged("openai", tmp_path, replies(much, DONE)) as stage:
        took = await stage.take()
    assert sum(len(event.delta) for event in took.of(ToolOutput)) < 210_000
    assert "characters left out" in took.of(ToolFinished)[0].output
    assert len(stage.models.asked[1].text) < 60_000


async def test_a_command_that_takes_too_long_is_stopped_and_the_model_told(tmp_path: Path) -> None:
    slow = call("bash", command="echo hi; sleep 1000", timeout_s=2)
    async with staged("openai", tmp_path, replies(slow, DONE)) as stage:
        took = await stage.take()
    finished = took.of(ToolFinished)[0]
    assert not finished.ok
    assert finished.output.startswith("hi\n")
    assert "stopped after 2 s" in finished.output


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_the_model_sees_a_screenshot_and_only_the_last_one_is_kept(
    protocol: ProviderKind, tmp_path: Path
) -> None:
    look = call("preview", path="/", screenshot=True)
    async with staged(protocol, tmp_path, replies(look, look, DONE)) as stage:
        stage.tools.page = PageState(
            "http://app/", "Shop", 200, ["TypeError: x is undefined"], "Buy now", PNG
        )
        took = await stage.take()
    picture = base64.b64encode(PNG).decode()
    assert [asked.pictures(picture) for asked in stage.models.asked] == [0, 1, 1]
    finished = took.of(ToolFinished)[0]
    assert "TypeError: x is undefined" in finished.output
    assert "Buy now" in finished.output
    assert picture not in finished.output


async def test_a_model_without_eyes_goes_on_without_the_picture(tmp_path: Path) -> None:
    look = call("preview", path="/", screenshot=True)
    blind = {"error": {"status": 400}}
    async with staged("openai-compatible", tmp_path, replies(look, blind, DONE)) as stage:
        stage.tools.page = PageState("http://app/", "Shop", 200, screenshot_png=PNG)
        took = await stage.take()
    assert took.answer == "Done."
    assert "no pictures" in took.of(Notice)[0].text
    assert "image_url" not in stage.models.asked[2].text


async def test_every_tool_of_the_sandbox_can_be_called(tmp_path: Path) -> None:
    put(tmp_path, {"a.txt": "one\n"})
    script = replies(
        call("git", args=["init", "-q"]),
        call("git", args=["status", "--short"]),
        call("git", args=["nonsense"]),
        call("save", name="before"),
        call("write", path="a.txt", content="two\n"),
        call("start_task", command="echo served; exec sleep 1000"),
        call("task_log", task="task-1"),
        call("stop_task", task="task-1"),
        call("stop_task", task="task-1"),
        call("roll_back", snapshot="before"),
        DONE,
    )
    async with staged("anthropic", tmp_path, script) as stage:
        took = await stage.take()
    finished = took.of(ToolFinished)
    assert [event.ok for event in finished] == [
        *[True, True, False, True, True],
        *[True, True, True, False, True],
    ]
    assert "?? a.txt" in finished[1].output
    assert (tmp_path / "a.txt").read_text() == "one\n"


async def test_usage_grows_and_has_a_price_where_one_is_known(tmp_path: Path) -> None:
    script = replies(
        {**call("glob", pattern="*"), "tokens": {"input": 1_000_000, "output": 1000}},
        {**DONE, "tokens": {"input": 1_000_000, "output": 1000, "cached": 900_000}},
    )
    async with staged("anthropic", tmp_path, script, context_window=10**9) as stage:
        first, second = (await stage.take()).of(Usage)
    assert (first.requests, first.input_tokens, first.output_tokens) == (1, 1_000_000, 1000)
    assert (second.requests, second.input_tokens, second.cache_read_tokens) == (
        2,
        2_000_000,
        900_000,
    )
    assert first.cost_usd is not None
    assert second.cost_usd is not None
    assert second.cost_usd < 2 * first.cost_usd


async def test_a_local_models_price_is_not_made_up(tmp_path: Path) -> None:
    async with staged("openai-compatible", tmp_path, replies(DONE)) as stage:
        took = await stage.take()
    assert took.of(Usage)[0].cost_usd is None


async def test_an_answer_at_the_models_limit_is_said_to_be_cut(tmp_path: Path) -> None:
    cut_call = {
        "calls": [{"tool": "write", "raw": '{"path": "a.txt", "content": "aaaa'}],
        "ends": "length",
    }
    cut_text = {"text": "And then", "ends": "length"}
    async with staged("anthropic", tmp_path, replies(cut_call, cut_text)) as stage:
        took = await stage.take()
    assert "write less at once" in took.of(ToolFinished)[0].output
    assert "was cut there" in took.of(Notice)[0].text


async def test_leaving_stops_the_request_to_the_model_at_once(tmp_path: Path) -> None:
    hold = {"text": "A long answer that never ends.", "hold_after": 6}
    async with staged("anthropic", tmp_path, replies(hold)) as stage:
        running = asyncio.create_task(stage.take())
        await stage.models.held.wait()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        await asyncio.wait_for(stage.models.left.wait(), 20)


async def test_leaving_stops_a_running_command_at_once(tmp_path: Path) -> None:
    script = replies(call("bash", command="echo begun; sleep 1000 & sleep 1000"), DONE)
    async with staged("anthropic", tmp_path, script) as stage:
        turn = turn_of(chosen("anthropic", stage.models))
        async with aclosing(stage.harness.run(turn, stage.tools)) as events:
            async for event in events:
                if isinstance(event, ToolOutput):
                    break
        (shell,) = stage.tools.shells
        poll_until("the command's end", lambda: not lives(shell))
        assert len(stage.models.asked) == 1
