"""The first five minutes: from the tile to a change that survives everything; and on a phone."""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.e2e.chatting import Chatting
from tests.e2e.conversation import say, told
from tests.live import REPOSITORY, LiveLimpet, poll_until
from tests.models.scenario import load
from tests.models.server import KEY

pytestmark = [pytest.mark.long, pytest.mark.e2e, pytest.mark.e2e_deep, pytest.mark.timeout(420)]
SCENARIO = "changes_a_headline"
PREVIEW = 'iframe[title="Live preview"]'


@pytest.fixture
def model() -> Iterator[str]:
    """The URL of a model that changes the page's headline."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.models", SCENARIO],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        yield process.stdout.readline().split()[0]
    finally:
        process.terminate()
        process.wait(60)
        process.stdout.close()


def turns_saved(live: LiveLimpet, agent: str) -> list[str]:
    """Of the snapshots that turns made: whether before or after one."""
    snapshots = live.api("GET", f"/agents/{agent}/snapshots", None)["snapshots"]
    return [one["turn"]["when"] for one in snapshots if one["turn"]]


def test_a_change_asked_for_in_the_first_minutes_comes_home(
    page: Page, live: LiveLimpet, model: str
) -> None:
    headline = page.frame_locator(PREVIEW).get_by_role("heading", level=1)
    provider = {"kind": "openai-compatible", "base_url": f"{model}/v1", "api_key": KEY}
    live.api("POST", "/model-providers", {**provider, "models": ["scripted"]})
    page.reload()
    page.get_by_role("button", name=re.compile("Web app")).click()
    page.wait_for_url(re.compile("/local/agents/"))
    agent = page.url.split("/agents/")[1].split("?")[0]
    expect(headline).to_have_text("Something good starts here.", timeout=180_000)

    say(page, load(SCENARIO).prompt)
    expect(told(page).get_by_text("The headline says it.")).to_be_visible(timeout=120_000)
    expect(headline).to_have_text("Home again.", timeout=60_000)
    poll_until("the turn to be saved", lambda: "after" in turns_saved(live, agent))
    expect(page.get_by_text(re.compile(r"^Saved \d+ s ago$"))).to_be_visible(timeout=120_000)

    root = live.root_of(live.sandbox(agent)["handle"])
    live.kill_all()
    shutil.rmtree(root)
    live.start()
    assert live.sign_in_url is not None
    page.goto(live.sign_in_url)
    page.goto(f"{live.url}/local/agents/{agent}")
    expect(headline).to_have_text("Home again.", timeout=120_000)
    expect(told(page).get_by_text("The headline says it.")).to_be_visible()
    assert live.sandbox(agent)["restore"]["outcome"] == "restored"


def test_on_a_phone_one_talks_and_looks(chatting: Chatting, browser: Browser) -> None:
    context = browser.new_context(
        viewport={"width": 390, "height": 844}, is_mobile=True, has_touch=True
    )
    page = context.new_page()
    page.goto(chatting.sign_in_url)
    chatting.open(page)
    preview = page.frame_locator(PREVIEW)
    expect(preview.get_by_role("heading", name="One")).to_be_visible(timeout=60_000)
    page.get_by_role("tab", name="Chat").tap()
    say(page, "write index.html <h1>Two</h1>", "say It says two.")
    expect(told(page).get_by_text("It says two.", exact=True)).to_be_visible(timeout=60_000)
    page.get_by_role("tab", name="Preview").tap()
    page.get_by_role("button", name="Reload the preview").tap()
    expect(preview.get_by_role("heading", name="Two")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    context.close()


def test_two_tabs_of_one_agent_show_the_same(chatting: Chatting, browser: Browser) -> None:
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    one, two = context.new_page(), context.new_page()
    one.goto(chatting.sign_in_url)
    for page in (one, two):
        chatting.open(page)
        frame = page.frame_locator(PREVIEW)
        expect(frame.get_by_role("heading", name="One")).to_be_visible(timeout=60_000)
    say(one, "say First.", "wait for ever")
    expect(told(one).get_by_text("First.", exact=True)).to_be_visible(timeout=60_000)
    two.reload()  # the conversation that is the newest now
    expect(told(two).get_by_text("First.", exact=True)).to_be_visible(timeout=60_000)
    say(two, "say Second.")
    expect(told(one).get_by_text("Waits for its turn")).to_be_visible(timeout=60_000)
    two.get_by_role("button", name="Stop this turn").click()
    two.get_by_role("menuitem", name="Stop this, go on with what waits").click()
    for page in (one, two):
        expect(told(page).get_by_text("Second.", exact=True)).to_be_visible(timeout=60_000)
    assert chatting.api("GET", "/events", None)["connections"] == 1
    context.close()
