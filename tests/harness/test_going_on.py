"""A thread goes on: after a death in any moment, a stop, another harness, another provider."""

import asyncio
import json
import sys
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from limpet.harness.base import CappedError, Exchange, ProviderKind
from limpet.harness.events import Notice, StateKept, ToolFinished, ToolStarted, Usage
from tests.harness.driving import PROTOCOLS, Took, chosen, no_caps, put, replies, staged, turn_of
from tests.models.scenario import load
from tests.sampled import one_in

pytestmark = pytest.mark.anyio
DONE = {"text": "Done."}
TURNED = {"text": "I see what there is, and go on."}
MAY_HAVE = "look before you do it again"


def call(tool: str, **given: object) -> dict[str, Any]:
    return {"calls": [{"tool": tool, "input": given}]}


async def dies_after(stage: Any, kept: int, **given: Any) -> Any:
    """Leave a turn when it has kept its state so often; that state, if it came to it."""
    seen = 0
    turn = turn_of(chosen(stage.protocol, stage.models), **given)
    async with aclosing(stage.harness.run(turn, stage.tools)) as events:
        async for event in events:
            if isinstance(event, StateKept):
                seen += 1
                if seen == kept:
                    return json.loads(json.dumps(event.state))
    return None


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("moment", one_in(3, range(1, 9)))
async def test_a_run_goes_on_from_any_moment_that_was_kept(
    moment: int, protocol: ProviderKind, tmp_path: Path
) -> None:
    scenario = load("edits_a_page")
    put(tmp_path, scenario.files)
    async with staged(protocol, tmp_path, scenario.replies) as stage:
        state = await dies_after(stage, moment, prompt=scenario.prompt, run="run-d")
        assert state is not None
        prompted = {"prompt": scenario.prompt, "run": "run-d", "resumes": True}
        if moment == 8:
            stage.models.replies += replies(DONE)
            took = await stage.take(state=state, **prompted)
            assert took.of(ToolStarted) == []
            return
        took = await stage.take(state=state, **prompted)
        asked = stage.models.asked[-1].text
        assert stage.models.replies == []
        assert asked.count(scenario.prompt[:40]) == 1
    assert took.answer.endswith("The page is dark now and its title is Night.")
    edited = (tmp_path / "index.html").read_text() == scenario.expected.files["index.html"]
    if moment == 4:
        assert MAY_HAVE in asked
        assert not edited
        assert took.of(ToolFinished)[0].ok is False
    else:
        assert edited
    assert took.of(Usage)[-1].requests == 4


async def test_only_the_call_that_may_have_been_at_work_is_not_done_again(tmp_path: Path) -> None:
    three = {
        "calls": [
            {"tool": "write", "input": {"path": f"{name}.txt", "content": name}} for name in "abc"
        ]
    }
    async with staged("anthropic", tmp_path, replies(three, DONE)) as stage:
        state = await dies_after(stage, 3, run="run-d")
        took = await stage.take(run="run-d", state=state, resumes=True)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.txt", "c.txt"]
    assert [event.ok for event in took.of(ToolFinished)] == [False, True]
    assert len(took.of(ToolStarted)) == 1
    assert "goes on" in took.of(Notice)[0].text


@pytest.mark.parametrize("protocol", one_in(2, PROTOCOLS))
async def test_a_run_killed_in_a_command_goes_on_elsewhere(
    protocol: ProviderKind, tmp_path: Path
) -> None:
    """The whole process is killed with -9 while bash runs."""
    marker = "echo x >> runs.txt; sleep 600"
    async with staged(protocol, tmp_path, replies(call("bash", command=marker), DONE)) as stage:
        choice = chosen(protocol, stage.models)
        arguments = [protocol, choice.name, choice.api_key, choice.base_url, str(tmp_path), "run-k"]
        process = await asyncio.create_subprocess_exec(
            *[sys.executable, "-m", "tests.harness.killed_turn", *map(str, arguments)],
            stdout=asyncio.subprocess.PIPE,
        )
        assert process.stdout is not None
        state = None
        async for line in process.stdout:
            event = json.loads(line)
            if event["kind"] == "tool_started":
                break
            state = event["state"]
        process.kill()
        await process.wait()
        assert state is not None
        took = await stage.take(run="run-k", state=state, resumes=True)
        assert MAY_HAVE in stage.models.asked[-1].text
    assert took.answer == "Done."
    assert took.of(ToolStarted) == []


async def test_a_death_before_anything_was_kept_begins_the_turn_anew(tmp_path: Path) -> None:
    async with staged("openai", tmp_path, replies(DONE, DONE)) as stage:
        before = await stage.take("The first.")
        await stage.take("The second.", state=before.state, resumes=True)
        asked = stage.models.asked[-1].text
    assert asked.index("The first.") < asked.index("The second.")


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("moment", one_in(3, range(1, 8)))
async def test_a_thread_goes_on_with_a_new_message_after_a_stop_in_any_moment(
    moment: int, protocol: ProviderKind, tmp_path: Path
) -> None:
    scenario = load("edits_a_page")
    put(tmp_path, scenario.files)
    async with staged(protocol, tmp_path, scenario.replies) as stage:
        state = await dies_after(stage, moment)
        stage.models.replies[:] = replies(DONE)
        took = await stage.take("Do something else.", state=state)
        asked = stage.models.asked[-1].text
    assert took.answer == "Done."
    assert "Do something else." in asked
    assert ("stopped the run" in asked) == (moment in {2, 4, 6})


async def test_a_thread_goes_on_after_a_cap(tmp_path: Path) -> None:
    async with staged("anthropic", tmp_path, replies(call("glob", pattern="*"), DONE)) as stage:
        took = Took()
        with pytest.raises(CappedError):
            await stage.take(took=took, caps=no_caps(requests=1))
        after = await stage.take("Go on.", state=took.state)
    assert after.of(Usage)[-1].requests == 1
    assert after.answer == "Done."


@pytest.mark.parametrize("second", one_in(2, PROTOCOLS))
@pytest.mark.parametrize("first", PROTOCOLS)
async def test_a_thread_goes_on_with_another_providers_model(
    first: ProviderKind, second: ProviderKind, tmp_path: Path
) -> None:
    scenario = load("edits_a_page")
    put(tmp_path, scenario.files)
    async with staged(first, tmp_path, [*scenario.replies, *replies(DONE)]) as stage:
        before = await stage.take(scenario.prompt)
        stage.protocol = second
        after = await stage.take("Thanks.", state=before.state)
        asked = stage.models.asked[-1].text
    assert after.answer == "Done."
    assert "The page is dark now" in asked
    assert "index.html is written." in asked


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_what_another_harness_did_is_known(protocol: ProviderKind, tmp_path: Path) -> None:
    history = [Exchange("Make it blue.", "It is blue."), Exchange("And now?", "")]
    async with staged(protocol, tmp_path, replies(DONE, DONE)) as stage:
        before = await stage.take("Hello.")
        await stage.take("What colour is it?", state=before.state, history=history)
        asked = stage.models.asked[-1].text
    places = [asked.index(w) for w in ("Hello.", "Make it blue.", "It is blue.", "What colour")]
    assert places == sorted(places)


@pytest.mark.parametrize("state", [[], "x", {"version": 2}, {"messages": [{"kind": "odd"}]}])
async def test_a_state_that_cannot_be_read_is_said(state: Any, tmp_path: Path) -> None:
    history = [Exchange("Make it blue.", "It is blue.")]
    async with staged("anthropic", tmp_path, replies(DONE)) as stage:
        took = await stage.take(state=state, history=history)
        assert "It is blue." in stage.models.asked[0].text
    assert "cannot be read" in took.of(Notice)[0].text


async def test_nothing_goes_on_before_what_was_kept_is_taken(tmp_path: Path) -> None:
    script = replies(call("write", path="a.txt", content="a"), DONE)
    async with staged("openai", tmp_path, script) as stage:
        turn = turn_of(chosen("openai", stage.models))
        kept = 0
        async with aclosing(stage.harness.run(turn, stage.tools)) as events:
            async for event in events:
                if isinstance(event, StateKept):
                    kept += 1
                    for _ in range(20):
                        await asyncio.sleep(0)
                    assert (tmp_path / "a.txt").exists() == (kept > 2)
                    assert len(stage.models.asked) == (0, 1, 1, 2)[kept - 1]
    assert kept == 4
