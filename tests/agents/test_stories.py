"""What a person does with an agent, from the first message to the last undo, on each harness."""

import contextlib
import json
import re
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.agents.stage import HEADLINE, PAGE, Stage, Theatre, theatre
from tests.live import poll_until
from tests.models.server import KEY

pytestmark = [pytest.mark.agents, pytest.mark.timeout(600)]
# Requests of its own besides the conversation (a title, for one) would take a reply each.
ADAPTER = (
    "env CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC=1 "
    "npx -y @agentclientprotocol/claude-agent-acp@0.49.0"
)
HARNESSES = {
    "decopilot": {"harness": "decopilot", "kind": "anthropic"},
    "decopilot-openai": {"harness": "decopilot", "kind": "openai-compatible"},
    "claude-code": {"harness": "claude-code", "kind": "anthropic"},
    "acp": {"harness": "acp", "kind": "anthropic", "command": ADAPTER},
}
NEW = "Made by an agent."


@pytest.fixture(scope="module", params=HARNESSES)
def house(request: pytest.FixtureRequest) -> Iterator[Theatre]:
    """A server whose threads run on one harness."""
    with theatre(**HARNESSES[request.param]) as opened:
        yield opened


@pytest.fixture
def stage(house: Theatre, record_property: Callable[[str, object], None]) -> Iterator[Stage]:
    """An agent from the tile; what was said is the test's property."""
    made = house.stage()
    yield made
    record_property("transcript", "\n".join(made.said))
    house.live.cli("rm", made.agent, "--yes")


@pytest.fixture
def preview(stage: Stage, browser: Browser) -> Iterator[Page]:
    """The app in a real browser, as the person sees it."""
    port = stage.live.url.rsplit(":", 1)[1]
    page = browser.new_page()
    page.goto(f"http://{stage.handle}.localhost:{port}/")
    yield page
    page.close()


def headline(page: Page) -> Any:
    return expect(page.get_by_role("heading", level=1))


def edits(stage: Stage, old: str, new: str, says: str = "Done.") -> None:
    """The model reads the page's words, changes one, and says so."""
    stage.will(stage.hands.read(PAGE), stage.hands.replace(PAGE, old, new), says)


def test_from_the_first_message_to_the_preview(stage: Stage, preview: Page) -> None:
    headline(preview).to_have_text(HEADLINE, timeout=60_000)
    edits(stage, HEADLINE, NEW, "The headline is new.")
    run = stage.ask("Make the headline say who made it.")
    assert run["status"] == "done", run
    headline(preview).to_have_text(NEW)
    [before, after] = stage.of(run["id"], "checkpoint")
    assert (before["when"], after["when"]) == ("before", "after")
    assert before["snapshot"] != after["snapshot"]
    changed = [done["diff"] for done in stage.of(run["id"], "tool_finished") if done["diff"]]
    assert any(NEW in diff and HEADLINE in diff for diff in changed)
    assert "headline is new" in "".join(e["delta"] for e in stage.of(run["id"], "text"))
    [*_, used] = stage.of(run["id"], "usage")
    assert used["requests"] >= 3
    assert used["input_tokens"] > 0


def test_stopped_at_once_and_the_next_message_is_answered(stage: Stage) -> None:
    mark = b"sleep 86399"
    stage.will(stage.hands.run(f"echo begun; {mark.decode()}; echo over"))
    run = stage.send("Do something long.")
    stage.wait_for(run, "tool_started")
    root = stage.live.root_of(stage.handle)
    poll_until("the command to run", lambda: running(stage, root, mark))
    stage.live.api("POST", f"/threads/{stage.thread}/stop")
    assert stage.ended(run)["status"] == "stopped"
    poll_until("the command to be gone", lambda: not running(stage, root, mark), 30)
    edits(stage, HEADLINE, NEW)
    assert stage.ask("Now the headline.")["status"] == "done"
    assert NEW in stage.file()


def running(stage: Stage, root: Path, mark: bytes) -> bool:
    """Whether the command runs in the sandbox."""
    for pid in stage.live.sandbox_processes(root):
        with contextlib.suppress(OSError):
            if Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").strip() == mark:
                return True
    return False


def test_a_server_that_is_killed_goes_on_with_the_turn(stage: Stage) -> None:
    stage.will(stage.hands.read(PAGE), stage.hands.replace(PAGE, HEADLINE, NEW))
    stage.will("Held back.", hold_after=1)
    run = stage.send("Make the headline say who made it.")
    poll_until("the model to be asked a third time", stage.models.held.is_set, 120)
    stage.live.kill_server()
    stage.will("All of it is done.")
    stage.live.start()
    done = stage.ended(run)
    assert done["status"] == "done", done
    assert NEW in stage.file()
    assert HEADLINE not in stage.file()
    said = "".join(event["delta"] for event in stage.of(run, "text"))
    assert "All of it is done." in said


def test_an_undone_turn_shows_the_old_page_and_keeps_the_new_one(
    stage: Stage, preview: Page
) -> None:
    for old, new in ((HEADLINE, NEW), (NEW, "A second time.")):
        edits(stage, old, new)
        run = stage.ask(f"Say {new}")
        assert run["status"] == "done", run
    headline(preview).to_have_text("A second time.")
    undone = stage.live.api("POST", f"/threads/{stage.thread}/undo", {"run": run["id"]})
    assert NEW in stage.file()
    headline(preview).to_have_text(NEW, timeout=60_000)
    listed = stage.live.api("GET", f"/agents/{stage.agent}/snapshots")["snapshots"]
    assert undone["restored"]["head"]["id"] in {one["id"] for one in listed}
    assert run["checkpoint_after"] in {one["id"] for one in listed}


def test_a_sandbox_that_is_gone_comes_home_before_the_agent_looks(stage: Stage) -> None:
    edits(stage, HEADLINE, NEW)
    first = stage.ask("Make the headline say who made it.")
    assert first["status"] == "done", first
    stage.evict()
    asked = len(stage.models.asked)
    stage.will(stage.hands.read(PAGE), "It says who made it.")
    run = stage.ask("What does the headline say?")
    assert run["status"] == "done", run
    assert any(NEW in one.text for one in stage.models.asked[asked:]), "the old file was not read"
    assert re.search("restored", " ".join(e["text"] for e in stage.of(run["id"], "notice")))


def test_a_fork_of_a_turn_goes_on_elsewhere(stage: Stage) -> None:
    edits(stage, HEADLINE, NEW)
    run = stage.ask("Make the headline say who made it.")
    forked = stage.live.api(
        "POST", f"/threads/{stage.thread}/fork", {"run": run["id"], "when": "before"}
    )
    elsewhere = replace(stage, thread=forked["id"])
    edits(elsewhere, HEADLINE, "Another way.")
    done = elsewhere.ask("Say it another way.")
    assert done["status"] == "done", done
    assert "Another way." in elsewhere.file()
    assert NEW in stage.file()
    assert elsewhere.handle != stage.handle


def test_a_cap_ends_the_turn_with_words(stage: Stage) -> None:
    stage.live.api("POST", "/run-caps", {"agent_id": stage.agent, "requests": 2})
    for _ in range(12):
        stage.will(stage.hands.read(PAGE))
    run = stage.ask("Look at it again and again.")
    assert run["status"] == "capped", run
    assert re.search(r"\b2\b", run["error"] or ""), run


def test_no_key_is_in_the_sandbox_while_the_agent_works(stage: Stage) -> None:
    # The pattern finds the key and not the command that looks for it.
    pattern = f"{KEY[:-1]}[{KEY[-1]}]"
    everywhere = f"cat /proc/*/environ /proc/*/cmdline 2>/dev/null | grep -ac '{pattern}'"
    stage.will(stage.hands.run(f"{everywhere}; env | grep -c ="), "Looked.")
    run = stage.ask("Look at your environment.")
    assert run["status"] == "done", run
    [looked] = stage.of(run["id"], "tool_finished")
    key, variables = re.findall(r"^\d+$", looked["output"], re.MULTILINE)
    assert int(key) == 0
    assert int(variables) > 5
    assert KEY not in json.dumps(stage.events())
    root = stage.live.root_of(stage.handle)
    found = subprocess.run(["grep", "-rlF", KEY, root], check=False, capture_output=True, text=True)
    assert found.stdout == ""
