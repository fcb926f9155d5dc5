"""An edit shows in an open page, in place: Vite, Next.js and webpack, on both kinds of host."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.previews.conftest import SLOW_MS, Shown, Sockets

pytestmark = [pytest.mark.preview, pytest.mark.timeout(600)]


@pytest.mark.parametrize("host", ["local", "named"])
@pytest.mark.parametrize("name", ["vite", "webpack", "next", "next-on-webpack"])
def test_an_edit_shows_without_a_reload(
    page: Page, shown: Callable[[str], Shown], name: str, host: str
) -> None:
    box = shown(name)
    before, after = f"before on {host}", f"after on {host}"
    box.project.say(box.repo, before)
    loads: list[str] = []
    page.on("framenavigated", lambda frame: loads.append(frame.url))
    sockets = Sockets(page)
    page.goto(getattr(box, host), timeout=SLOW_MS)
    expect(page.locator("#word")).to_have_text(before, timeout=SLOW_MS)
    sockets.wait_until_live()
    page.fill("#kept", "typed by a person")
    loads.clear()
    box.project.say(box.repo, after)
    expect(page.locator("#word")).to_have_text(after, timeout=SLOW_MS)
    assert page.input_value("#kept") == "typed by a person", "the page was loaded anew"
    assert loads == []


@pytest.mark.parametrize("host", ["local", "named"])
def test_a_server_action_of_next_passes_its_origin_check(
    page: Page, shown: Callable[[str], Shown], host: str
) -> None:
    box, sockets = shown("next"), Sockets(page)
    page.goto(getattr(box, host), timeout=SLOW_MS)
    sockets.wait_until_live()
    page.fill("#text", f"sent-{host}")
    page.click("button")
    expect(page.locator("#said")).to_have_text(f"sent-{host}", timeout=SLOW_MS)
    assert page.url == getattr(box, host) + "?done=1"


def test_a_server_action_works_as_a_plain_form_too(
    page: Page, shown: Callable[[str], Shown]
) -> None:
    """Without JavaScript there is no `Next-Action` header to know it by."""
    browser = page.context.browser
    assert browser is not None
    box = shown("next")
    for host in ("local", "named"):
        context = browser.new_context(java_script_enabled=False)
        plain = context.new_page()
        plain.goto(getattr(box, host), timeout=SLOW_MS)
        plain.fill("#text", f"plain-{host}")
        plain.click("button")
        expect(plain.locator("#said")).to_have_text(f"plain-{host}", timeout=SLOW_MS)
        assert plain.url == getattr(box, host) + "?done=1"
        context.close()
