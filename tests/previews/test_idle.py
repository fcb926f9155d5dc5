"""An open page keeps no sandbox awake; what a person does in it counts as work."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.live import poll_until
from tests.previews.conftest import SLOW_MS, Shown, Sockets

pytestmark = [pytest.mark.preview, pytest.mark.timeout(600)]
PINGS = 3


def settled(box: Shown, page: Page) -> int:
    """The counter once the page has loaded all that it loads by itself."""

    def quiet() -> bool:
        page.wait_for_timeout(100)
        return bool(box.idle()["idleMs"] > 1500)

    poll_until("the sandbox to be quiet", quiet, 120)
    return box.activity_seq()


def test_an_open_next_tab_lets_the_sandbox_fall_asleep(
    page: Page, shown: Callable[[str], Shown]
) -> None:
    box, sockets = shown("next-on-webpack"), Sockets(page)
    page.goto(box.local, timeout=SLOW_MS)
    expect(page.locator("#word")).to_be_visible(timeout=SLOW_MS)
    sockets.wait_until_live()
    before = settled(box, page)
    sockets.wait_for_more_sent(PINGS)
    assert box.activity_seq() == before, sockets.sent[-PINGS:]

    page.fill("#text", "a person's")
    page.click("button")
    expect(page.locator("#said")).to_have_text("a person's", timeout=SLOW_MS)
    posted = settled(box, page)
    assert posted > before, "a form that is sent is work"
    page.goto(box.local + "?again", timeout=SLOW_MS)
    assert box.activity_seq() > posted, "a navigation is work"


def test_an_open_vite_tab_lets_the_sandbox_fall_asleep(
    page: Page, shown: Callable[[str], Shown]
) -> None:
    box, sockets = shown("vite"), Sockets(page)
    box.project.say(box.repo, "sleeping")
    page.goto(box.local, timeout=SLOW_MS)
    expect(page.locator("#word")).to_have_text("sleeping", timeout=SLOW_MS)
    sockets.wait_until_live()
    settled(box, page)
    page.evaluate("setInterval(() => window.__hot.send('tick', {}), 50)")
    sockets.wait_for_more_sent(20)
    repeated = box.activity_seq()
    sockets.wait_for_more_sent(20)
    assert box.activity_seq() == repeated, "what repeats is no work"
    page.evaluate("window.__hot.send('typed', { text: 'by a person, letter by letter' })")
    poll_until("the typed message to count", lambda: box.activity_seq() > repeated, 30)


def test_a_page_that_stands_in_for_an_api_lets_the_sandbox_fall_asleep(
    page: Page, shown: Callable[[str], Shown]
) -> None:
    """It looks again and again whether there is a web page by now."""
    box = shown("api")
    looks: list[str] = []
    loads: list[str] = []
    page.on("request", lambda request: looks.append(request.url))
    page.on("framenavigated", lambda frame: loads.append(frame.url))
    page.goto(box.local, timeout=SLOW_MS)
    expect(page.get_by_role("heading")).to_have_text("No web page at this URL")
    before = settled(box, page)
    looks.clear()
    while len(looks) < 3:
        page.wait_for_timeout(100)
    box.live.api("POST", f"/agents/{box.agent}/snapshots", {})
    assert box.activity_seq() == before, "neither looks nor saves are work"
    assert len(loads) == 1, "it was loaded over and over"
