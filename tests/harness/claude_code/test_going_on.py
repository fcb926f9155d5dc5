"""The real CLI's turns go on: after a stop, a death of everything, a cap."""

import asyncio
import contextlib
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from limpet.harness.base import CappedError
from limpet.harness.claude_code import ClaudeCode
from limpet.harness.events import Notice, StateKept, ToolStarted, Usage
from tests.harness.claude_code.staging import call, staged
from tests.harness.driving import Took, chosen, no_caps, replies, turn_of
from tests.harness.folder_tools import lives

pytestmark = pytest.mark.anyio
DONE = {"text": "Done."}


def _waits(pid: Path) -> str:
    """A command that does not end, and whose shell writes down what it is."""
    return f"echo $$ > {pid}.new; mv {pid}.new {pid}; sleep 600"


async def _begun(pid: Path) -> None:
    while not pid.exists():
        await asyncio.sleep(0.02)


async def test_a_stop_ends_the_command_and_the_session_goes_on(tmp_path: Path) -> None:
    pid = tmp_path / "repo" / "pid"
    async with staged(tmp_path, replies(call("Bash", command=_waits(pid)), DONE)) as stage:
        took = Took()
        turning = asyncio.create_task(stage.take("Wait.", took=took))
        await _begun(pid)
        turning.cancel()
        with pytest.raises(asyncio.CancelledError):
            await turning
        assert not any(lives(group) for group in stage.tools.shells)
        assert not Path(f"/proc/{pid.read_text().strip()}").exists()
        after = await stage.take("Go on.", state=took.state)
        asked = stage.asked(1)
    assert after.answer == "Done."
    assert after.of(Notice) == []
    assert asked.index("Wait.") < asked.index("Go on.")


async def test_an_answer_that_is_on_its_way_is_stopped(tmp_path: Path) -> None:
    async with staged(tmp_path, replies({"text": "I begin, and", "hold_after": 3}, DONE)) as stage:
        took = Took()
        turning = asyncio.create_task(stage.take("Wait.", took=took))
        await stage.models.held.wait()
        turning.cancel()
        with pytest.raises(asyncio.CancelledError):
            await turning
        await stage.models.left.wait()
        after = await stage.take("Go on.", state=took.state)
    assert after.answer == "Done."


async def test_a_turn_goes_on_after_everything_was_killed(tmp_path: Path) -> None:
    """The control plane's process and the CLI's are killed with -9 while a command runs."""
    pid = tmp_path / "repo" / "pid"
    async with staged(tmp_path, replies(call("Bash", command=_waits(pid)), DONE)) as stage:
        choice = chosen("anthropic", stage.models)
        told = [choice.name, choice.api_key, choice.base_url, str(stage.repo), "run-k"]
        process = await asyncio.create_subprocess_exec(
            *[sys.executable, "-m", "tests.harness.claude_code.killed_turn", *map(str, told)],
            stdout=asyncio.subprocess.PIPE,
        )
        assert process.stdout is not None
        state: Any = None
        groups: list[int] = []
        async for line in process.stdout:
            event = json.loads(line)
            groups = event["groups"]
            if event["kind"] == "tool_started":
                break
            state = event["state"]
        await _begun(pid)
        process.kill()
        await process.wait()
        for group in [*groups, os.getpgid(int(pid.read_text()))]:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(group, signal.SIGKILL)
        assert state["asked"] is True
        took = await stage.take(run="run-k", state=state, resumes=True)
        asked = stage.asked(1)
    assert "You were cut off in the middle of this turn" in asked
    assert "sleep 600" in asked
    assert asked.count("Go.") == 2
    assert took.answer == "Done."
    assert took.of(ToolStarted) == []
    assert took.of(Notice) == []


async def test_a_death_before_the_model_was_asked_begins_the_turn_anew(tmp_path: Path) -> None:
    async with staged(tmp_path, replies(DONE)) as stage:
        turn = turn_of(chosen("anthropic", stage.models), "Go.", run="run-d")
        events = ClaudeCode().run(turn, stage.tools)
        first = await anext(events)
        await events.aclose()
        assert isinstance(first, StateKept)
        assert stage.tools.shells == []
        took = await stage.take(run="run-d", state=first.state, resumes=True)
        assert "cut off" not in stage.asked(0)
    assert took.answer == "Done."
    assert took.of(Notice) == []


async def test_a_cap_of_the_gateway_ends_the_run_and_the_next_one_goes_on(tmp_path: Path) -> None:
    script = replies(call("Bash", command="echo hi"), {"error": {"status": 403}}, DONE)
    async with staged(tmp_path, script) as stage:
        stage.gateway.counts, stage.gateway.refuse_after = stage.models, 1
        took = Took()
        with pytest.raises(CappedError, match="as often as it may"):
            await stage.take(took=took)
        stage.gateway.refuse_after = None
        stage.models.replies[:] = replies(DONE)
        after = await stage.take("Go on.", state=took.state)
    assert after.answer == "Done."


async def test_the_runs_own_cap_of_requests_ends_it(tmp_path: Path) -> None:
    async with staged(tmp_path, replies(call("Bash", command="echo hi"), DONE, DONE)) as stage:
        stage.gateway.counts = stage.models
        took = Took()
        with pytest.raises(CappedError, match="as often as it may: 1 times"):
            await stage.take(took=took, caps=no_caps(requests=1))
    assert took.of(Usage)[-1].requests == 2


async def test_a_run_takes_no_longer_than_it_may(tmp_path: Path) -> None:
    async with staged(tmp_path, replies({"text": "I begin", "hold_after": 3})) as stage:
        with pytest.raises(CappedError, match="as long as it may"):
            await stage.take(caps=no_caps(time_s=5.0))
        assert not any(lives(group) for group in stage.tools.shells)
