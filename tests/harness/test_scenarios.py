"""Every scenario on every protocol: what a person would see, and what lies in the folder after."""

from pathlib import Path

import pytest

from limpet.harness.base import ProviderKind
from limpet.harness.events import ToolFinished, ToolInput, ToolStarted, Usage
from tests.harness.driving import PROTOCOLS, put, staged
from tests.models.scenario import load, names

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("name", names())
async def test_a_scenario_comes_out_the_same_on_every_protocol(
    name: str, protocol: ProviderKind, tmp_path: Path
) -> None:
    scenario = load(name)
    put(tmp_path, scenario.files)
    if name == "asks_for_too_much":
        with (tmp_path / "huge.log").open("wb") as file:
            file.truncate(1_000_000_000)
    async with staged(protocol, tmp_path, scenario.replies) as stage:
        took = await stage.take(scenario.prompt)
    expected = scenario.expected
    assert stage.models.replies == []
    for path, text in expected.files.items():
        assert (tmp_path / path).read_text() == text
    started = took.of(ToolStarted)
    assert tuple(event.name for event in started) == expected.tools
    finished = took.of(ToolFinished)
    assert [event.call for event in finished] == [event.call for event in started]
    assert len({event.call for event in started}) == len(started)
    assert sum(not event.ok for event in finished) == expected.failed_calls
    assert expected.answer in took.answer
    assert max((len(event.output) for event in finished), default=0) < 40_000
    assert {event.call for event in started} <= {event.call for event in took.of(ToolInput)}
    assert took.of(Usage)[-1].requests == len(stage.models.asked)
