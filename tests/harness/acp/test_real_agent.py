"""An agent that other people wrote, against a scripted model: Claude's adapter out of npm."""

import asyncio
import json
from pathlib import Path

import pytest

from limpet.harness.acp import Waits
from limpet.harness.events import (
    Notice,
    Text,
    Thinking,
    ToolFinished,
    ToolOutput,
    ToolStarted,
    Usage,
)
from tests.harness.acp.driving import CLAUDE, Stand
from tests.harness.acp.installed import installed
from tests.harness.driving import replies
from tests.harness.folder_tools import StraightGateway, all_gone
from tests.models.server import KEY, ScriptedModels, scripted

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(900)]
NAME, VERSION = "@agentclientprotocol/claude-agent-acp", "0.49.0"
WAITS = Waits(start_s=120.0, session_s=120.0, settle_s=2.0, end_s=5.0)


@pytest.fixture(scope="module")
def command() -> list[str]:
    return [str(installed(NAME, VERSION) / "claude-agent-acp")]


def stand_with(folder: Path, models: ScriptedModels) -> Stand:
    stand = Stand(folder, waits=WAITS)
    stand.tools.models = StraightGateway(models.url, KEY)
    # Requests of its own besides the conversation (a title, for one) would take a reply each.
    stand.tools.environ["CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC"] = "1"
    return stand


async def test_it_thinks_writes_a_file_runs_a_command_and_goes_on_in_its_session(
    command: list[str], tmp_path: Path
) -> None:
    path = str(tmp_path / "repo" / "a.txt")
    script = replies(
        {"thinking": "A file is wanted.", "text": "I write it.",
         "calls": [{"tool": "Write", "input": {"file_path": path, "content": "hello\n"}}]},
        {"calls": [{"tool": "Bash", "input": {"command": "cat a.txt; echo two"}}]},
        {"calls": [{"tool": "TodoWrite", "input": {"todos": [
            {"content": "Rest", "status": "pending", "activeForm": "Resting"}]}}]},
        {"text": "It says hello."},
        {"text": "It was called a.txt."},
    )  # fmt: skip
    async with scripted(script) as models:
        stand = stand_with(tmp_path, models)
        took = await stand.take("Write a.txt.", model=CLAUDE, command=command,
                                instructions="Answer in English.")  # fmt: skip
        again = await stand.take("What was it called?", model=CLAUDE, command=command,
                                 state=took.state)  # fmt: skip
        asked = models.asked
        assert models.refused == []
    assert (stand.repo / "a.txt").read_text() == "hello\n"
    assert "".join(event.delta for event in took.of(Thinking)) == "A file is wanted."
    assert took.answer == "I write it.It says hello."
    wrote, ran = took.of(ToolStarted)[:2]
    assert wrote.input["file_path"] == path
    assert ran.input["command"] == "cat a.txt; echo two"
    first, second = took.of(ToolFinished)[:2]
    assert (first.call, first.ok, second.call, second.ok) == (wrote.call, True, ran.call, True)
    assert "+hello" in (first.diff or "")
    assert "hello\ntwo" in second.output
    assert [event.text for event in took.of(Notice)] == ["Plan: ○ Rest"]
    assert took.of(Usage)[-1].output_tokens > 0
    assert again.answer == "It was called a.txt."
    assert again.of(Notice) == []
    assert {one.headers["x-api-key"] for one in asked} == {KEY}
    assert {one.body["model"] for one in asked} == {CLAUDE.name}
    assert "Answer in English." in asked[0].text
    assert "It says hello." in asked[-1].text


async def test_a_stop_in_the_middle_of_an_answer_ends_all_of_it(
    command: list[str], tmp_path: Path
) -> None:
    call = {"tool": "Bash", "input": {"command": "echo begun; sleep 600"}}
    async with scripted(replies({"text": "Soon.", "calls": [call]})) as models:
        stand = stand_with(tmp_path, models)
        running = asyncio.create_task(stand.take("Sleep.", model=CLAUDE, command=command))
        while not stand.took.of(ToolStarted):
            await asyncio.sleep(0.02)
            assert not running.done(), running.exception()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
    assert "".join(event.delta for event in stand.took.of(Text)) == "Soon."
    assert not stand.took.of(ToolFinished), json.dumps(
        [event.model_dump() for event in stand.took.of(ToolOutput)]
    )
    await all_gone(stand.tools)
