"""The real Claude Code in a real sandbox: over the daemon's pipe, through the run's gateway."""

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from limpet.control.threads.console import PreviewConsoles
from limpet.control.threads.npm_install import folder_name
from limpet.control.threads.npm_programs import NpmPrograms
from limpet.control.threads.run_model import RunModel
from limpet.control.threads.sandbox_tools import DaemonTools
from limpet.harness.base import CappedError, Caps, ModelChoice
from limpet.harness.claude_code import ClaudeCode
from limpet.harness.claude_code.release import CLAUDE_CODE
from limpet.harness.events import Notice, ToolFinished, ToolStarted, Usage
from limpet.runners.bubblewrap import probe_isolation
from tests.control.sandboxes import conftest as sandboxes
from tests.control.sandboxes.conftest import Box, House
from tests.harness.claude_code.staging import call
from tests.harness.driving import Took, replies, turn_of
from tests.harness.programs import installed
from tests.models.server import KEY, ScriptedModels, scripted

pytestmark = pytest.mark.anyio
template_folder = sandboxes.template_folder
DONE = {"text": "Done."}


@pytest.fixture(params=["none", "bubblewrap"])
async def house(
    request: pytest.FixtureRequest, tmp_path: Path, template_folder: Path
) -> AsyncIterator[House]:
    if request.param == "bubblewrap" and probe_isolation(own_network=False).kind == "none":
        pytest.skip("bubblewrap does not work here")
    made = House(tmp_path / "data", template_folder, {"isolation": request.param})
    await made.open()
    await with_cli(made.data_dir / "tools")
    yield made
    await made.destroy()


async def with_cli(folder: Path) -> None:
    """What an installation leaves there, out of the tests' own."""

    async def unheard(_words: str) -> None:
        return

    program = Path(await installed(CLAUDE_CODE, unheard))
    made = folder / folder_name(CLAUDE_CODE)
    made.mkdir(parents=True)
    try:
        os.link(program, made / program.name)
    except OSError:
        shutil.copy2(program, made / program.name)


class Turns:
    """Turns of one thread in one sandbox."""

    def __init__(self, box: Box, models: ScriptedModels, caps: Caps | None = None) -> None:
        self.box, self.models = box, models
        self.choice = ModelChoice("anthropic", "claude-sonnet-4-6", KEY, models.url)
        self.caps = caps or Caps()

    async def take(self, prompt: str, took: Took | None = None, **given: Any) -> Took:
        async def revive() -> None:
            await self.box.start()

        box, took = self.box, took or Took()
        programs = NpmPrograms(box.house.data_dir / "tools")
        model = RunModel(self.choice, self.caps)
        tools = DaemonTools(box.service, box.key, PreviewConsoles(), revive, model, programs)
        turn = turn_of(self.choice, prompt, caps=self.caps, **given)
        async with aclosing(ClaudeCode().run(turn, tools)) as events:
            async for event in events:
                took.events.append(event)
        return took


async def test_turns_in_a_sandbox_that_is_rolled_back_and_comes_home(house: House) -> None:
    box = await house.agent(template="page")
    await box.start()
    async with scripted([]) as models:
        turns = Turns(box, models)
        models.replies += replies(
            call("Write", file_path="new.txt", content="one\n"),
            {
                "calls": [
                    {"tool": "Bash", "input": {"command": "pwd; env; id -u"}},
                    {"tool": "mcp__limpet__save", "input": {"name": "one"}},
                ]
            },
            DONE,
        )
        first = await turns.take("Write new.txt.")
        saved = first.of(ToolFinished)[2].output.rpartition(" ")[2].rstrip(".")
        ran = first.of(ToolFinished)[1].output
        assert "repo\n" in ran
        assert KEY not in ran
        assert (
            first.of(ToolFinished)[0].diff == "--- /dev/null\n+++ b/new.txt\n@@ -0,0 +1 @@\n+one\n"
        )
        assert first.of(Usage)[-1].requests == 3
        assert first.of(Usage)[-1].cost_usd
        assert first.of(Notice) == []

        models.replies += replies(
            call("Bash", command="echo two > new.txt"),
            call("mcp__limpet__roll_back", snapshot=saved),
            DONE,
        )
        second = await turns.take("Try two.", state=first.state)
        assert second.answer == "Done."
        assert "you rolled the workspace back" in models.asked[-1].text
        assert (await box.root() / "workspace/repo/new.txt").read_text() == "one\n"

        await box.delete()
        models.replies += replies({"text": "I remember."})
        third = await turns.take("And now?", state=second.state)
        assert (await box.root() / "workspace/repo/new.txt").read_text() == "one\n"
        assert third.answer == "I remember."
        assert "Write new.txt." in models.asked[-1].text
        assert third.of(Notice) == []
        assert models.refused == []
    assert [event.title for event in second.of(ToolStarted)] == [
        "echo two > new.txt",
        f"Roll back to {saved}",
    ]


async def test_a_cap_ends_the_run(house: House) -> None:
    box = await house.agent(template="page")
    await box.start()
    script = replies(call("Bash", command="echo 1"), call("Bash", command="echo 2"), DONE)
    async with scripted(script) as models:
        turns = Turns(box, models, Caps(requests=2))
        took = Took()
        with pytest.raises(CappedError):
            await turns.take("Go.", took=took)
        assert len(models.asked) == 2
    assert took.of(Usage)[-1].requests == 2
