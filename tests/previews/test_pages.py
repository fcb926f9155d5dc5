"""What stands in for a preview: it says why, can be reached by keyboard, gives way by itself."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.previews.conftest import Shown

pytestmark = [pytest.mark.preview, pytest.mark.timeout(300)]


@pytest.mark.parametrize("host", ["local", "named"])
def test_a_server_that_does_not_start_says_why_and_shows_once_it_does(
    page: Page, shown: Callable[[str], Shown], host: str
) -> None:
    box = shown("failing")
    box.project.say(box.repo, "throw new Error('<img src=x onerror=\"document.title = 1\">')")
    box.start("start-failed")
    page.goto(getattr(box, host))
    expect(page.get_by_role("heading")).to_have_text(
        "No dev server running: the dev server does not start"
    )
    log = page.get_by_role("log")
    expect(log).to_contain_text("Error: <img src=x onerror=")
    expect(log.locator("img")).to_have_count(0)
    page.keyboard.press("Tab")
    expect(log).to_be_focused()
    box.project.say(box.repo, "")
    box.start("running")
    expect(page.locator("body")).to_contain_text("It runs now.", timeout=60_000)
