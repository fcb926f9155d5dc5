"""One click to a live preview, an edit that shows at once, and the way home after kill -9."""

import re
import shutil

import pytest
from playwright.sync_api import Page, expect

from tests.live import LiveLimpet, poll_until

pytestmark = [pytest.mark.long, pytest.mark.e2e, pytest.mark.timeout(420)]
HEADLINE = "Something good starts here."


def test_one_click_makes_a_web_app_that_survives_everything(page: Page, live: LiveLimpet) -> None:
    expect(page.get_by_role("heading", name="What shall we build?")).to_be_visible()
    page.get_by_role("button", name=re.compile("Web app")).click()
    page.wait_for_url(re.compile("/local/agents/"))
    agent = page.url.split("/agents/")[1].split("?")[0]
    expect(page.get_by_role("list", name="Progress")).to_be_visible()
    preview = page.frame_locator('iframe[title="Live preview"]')
    expect(preview.get_by_role("heading", level=1)).to_have_text(HEADLINE, timeout=180_000)

    box = live.wait_phase(agent, "running")
    root = live.root_of(box["handle"])
    content = root / "workspace/repo/src/content.ts"
    before = box["last_save"]
    content.write_text(content.read_text().replace(HEADLINE, "Edited on disk."))
    expect(preview.get_by_role("heading", level=1)).to_have_text("Edited on disk.")

    def edit_saved() -> bool:
        now = live.sandbox(agent)
        return now["last_save"] != before and now["unsaved"] is False and not now["saving"]

    poll_until("the edit to be saved", edit_saved)
    expect(page.get_by_text(re.compile(r"^Saved \d+ s ago$"))).to_be_visible(timeout=60_000)

    preview.get_by_role("link", name="About", exact=True).first.click()
    apart = page.get_by_role("link", name="Open the preview in a tab of its own")
    expect(apart).to_have_attribute("href", re.compile("/about$"))

    page.get_by_role("tab", name="History").click()
    expect(page.get_by_text("Complete and verified").first).to_be_visible()
    page.get_by_role("tab", name="Logs").click()
    expect(page.get_by_role("tab", name="setup")).to_be_visible()

    live.kill_all()
    shutil.rmtree(root)
    live.start()
    assert live.sign_in_url is not None
    page.goto(live.sign_in_url)
    page.get_by_role("main").get_by_role("link", name=re.compile("Web app")).click()
    preview = page.frame_locator('iframe[title="Live preview"]')
    expect(preview.get_by_role("heading", level=1)).to_have_text("Edited on disk.", timeout=60_000)
    assert live.sandbox(agent)["restore"]["outcome"] == "restored"


def test_without_a_session_the_page_says_how_to_sign_in(page: Page, live: LiveLimpet) -> None:
    page.context.clear_cookies()
    page.goto(live.url)
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
