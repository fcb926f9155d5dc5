"""A preview made private in the page, shown to who is signed in, shared by link, and taken back."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.e2e.accessible import assert_accessible, violations
from tests.live import LiveLimpet

pytestmark = [pytest.mark.long, pytest.mark.e2e, pytest.mark.e2e_deep, pytest.mark.timeout(420)]
HEADLINE = "Something good starts here."


@pytest.fixture
def guest(browser: Browser) -> Iterator[BrowserContext]:
    """Another browser, which never signed in."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    yield context
    context.close()


def edit(live: LiveLimpet, handle: str, before: str, after: str) -> None:
    content = live.root_of(handle) / "workspace/repo/src/content.ts"
    content.write_text(content.read_text().replace(before, after))


def test_a_preview_is_made_private_shared_and_taken_back(
    page: Page, live: LiveLimpet, browser: Browser, guest: BrowserContext
) -> None:
    page.get_by_role("button", name=re.compile("Web app")).click()
    page.wait_for_url(re.compile("/local/agents/"))
    agent = page.url.split("/agents/")[1].split("?")[0]
    frame = page.frame_locator('iframe[title="Live preview"]')
    shown = frame.get_by_role("heading", level=1)
    expect(shown).to_have_text(HEADLINE, timeout=180_000)
    box = live.wait_phase(agent, "running")
    address = box["preview_url"]

    visitor = guest.new_page()
    visitor.goto(address)
    expect(visitor.get_by_role("heading", level=1)).to_have_text(HEADLINE)

    # Made private: the frame goes on, hot reload too, and the visitor is out.
    page.get_by_role("button", name="Share the preview").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_text(re.compile("^Anyone with the address sees it now"))).to_be_visible()
    assert_accessible(page)
    dialog.get_by_role("radio", name=re.compile("^Private")).click()
    expect(dialog.get_by_text("Only people signed in to this Limpet see it now.")).to_be_visible()
    expect(page.locator('iframe[title="Live preview"]')).to_have_attribute(
        "src", re.compile("^/open-preview")
    )
    expect(shown).to_have_text(HEADLINE)
    marked = "window.stays = true"
    frame.locator("body").evaluate(marked)
    edit(live, box["handle"], HEADLINE, "Edited in private.")
    expect(shown).to_have_text("Edited in private.")
    assert frame.locator("body").evaluate("window.stays"), "hot, without a reload"
    visitor.goto(f"{address}about")
    expect(visitor.get_by_role("heading", name="This preview is private")).to_be_visible()
    assert violations(visitor) == []

    # The way in leads somebody who is not signed in to the sign-in page, and no further.
    visitor.get_by_role("link", name="Open it with Limpet").click()
    expect(visitor.get_by_role("heading", name="Sign in to Limpet")).to_be_visible()

    # Who is signed in comes in by it, in a tab of its own, on the page that was asked for.
    tab = page.context.new_page()
    tab.goto(f"{address}about")
    tab.get_by_role("link", name="Open it with Limpet").click()
    tab.wait_for_url(f"{address}about")
    expect(tab.get_by_role("heading", name="This preview is private")).to_have_count(0)
    tab.close()

    # Who signs in meanwhile goes on from the sign-in page.
    waiting = browser.new_context()
    late = waiting.new_page()
    late.goto(address)
    late.get_by_role("link", name="Open it with Limpet").click()
    expect(late.get_by_role("heading", name="Sign in to Limpet")).to_be_visible()
    assert violations(late) == []
    signing = waiting.new_page()
    signing.goto(live.json("open")["url"])
    expect(signing.get_by_role("heading", name="What shall we build?")).to_be_visible()
    late.get_by_role("link", name="Signed in? Go on to the preview").click()
    late.wait_for_url(address)
    expect(late.get_by_role("heading", level=1)).to_have_text("Edited in private.")
    waiting.close()

    # A link lets the visitor in, hot reload too.
    dialog.get_by_role("combobox", name="A link for").select_option("1 day")
    dialog.get_by_role("button", name="Make a link").click()
    copy = dialog.get_by_role("button", name=re.compile("^Copy: .*limpet_ticket="))
    link = (copy.get_attribute("aria-label") or "").removeprefix("Copy: ")
    assert_accessible(page)
    visitor.goto(link)
    seen = visitor.get_by_role("heading", level=1)
    expect(seen).to_have_text("Edited in private.")
    assert "limpet_ticket" not in visitor.url
    assert "limpet_preview" not in visitor.evaluate("document.cookie")
    edit(live, box["handle"], "Edited in private.", "Edited for a guest.")
    expect(seen).to_have_text("Edited for a guest.")

    # Sharing stops: the visitor is out, the frame is not.
    dialog.get_by_role("button", name="Stop sharing").click()
    expect(dialog.get_by_text("Only people signed in to this Limpet see it now.")).to_be_visible()
    for where in (address, link):
        visitor.goto(where)
        expect(visitor.get_by_role("heading", name="This preview is private")).to_be_visible()
    dialog.get_by_role("button", name="Close").click()
    expect(shown).to_have_text("Edited for a guest.")

    # The bar works on a private preview: where it is, another page, another width.
    page.get_by_role("textbox", name="Page").fill("/about")
    page.get_by_role("textbox", name="Page").press("Enter")
    apart = page.get_by_role("link", name="Open the preview in a tab of its own")
    expect(apart).to_have_attribute("href", re.compile("^/open-preview.*about$"))
    expect(shown).to_be_visible()
    expect(shown).not_to_have_text("Edited for a guest.")
    page.get_by_role("button", name="As on a phone").click()
    page.get_by_role("button", name="Reload the preview").click()
    expect(shown).to_be_visible()
    expect(shown).not_to_have_text("Edited for a guest.")
    with page.context.expect_page() as opening:
        apart.click()
    opening.value.wait_for_url(f"{address}about")
    opening.value.close()
    expect(page.get_by_role("textbox", name="Page")).to_have_value("/about")

    # Taken away behind the page's back, the frame is let in again by itself, where it was.
    about = shown.inner_text()
    frame.locator("html").evaluate("html => html.setAttribute('data-before', '')")
    assert live.json("share", agent, "--stop")["access"] == "private"
    frame.locator("body").evaluate("() => location.reload()")
    expect(frame.locator("html[data-before]")).to_have_count(0)
    expect(shown).to_have_text(about)
