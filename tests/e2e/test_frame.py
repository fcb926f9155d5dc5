"""Home, the palette, the history and the admin page over a real server; and axe on each."""

import re

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.e2e.accessible import assert_accessible
from tests.e2e.chatting import Chatting

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]
PHONE = {"width": 390, "height": 844}


@pytest.fixture
def home(chatting: Chatting, context: BrowserContext) -> Page:
    page = context.new_page()
    page.goto(chatting.sign_in_url)
    return page


def test_what_is_written_on_the_home_page_is_built(home: Page, chatting: Chatting) -> None:
    box = home.get_by_role("textbox", name="What shall we build?")
    expect(box).to_be_visible()
    assert_accessible(home)
    box.fill("say Here it is.\nwrite index.html <h1>Surf school</h1>")
    box.press("Enter")
    home.wait_for_url(re.compile("/local/agents/.*thread="))
    said = home.get_by_role("region", name="What was said")
    expect(said.get_by_text("Here it is.")).to_be_visible(timeout=60_000)
    preview = home.frame_locator('iframe[title="Live preview"]')
    expect(preview.get_by_role("heading")).to_be_visible(timeout=60_000)
    expect(said.get_by_role("figure", name=re.compile("write index.html"))).to_be_visible()
    home.get_by_role("button", name="Reload the preview").click()
    expect(preview.get_by_role("heading", name="Surf school")).to_be_visible()
    made = home.url.split("/agents/")[1].split("?")[0]
    pinned = home.get_by_role("region", name="Pinned").get_by_role("link")
    expect(pinned).to_have_count(2)
    chatting.api("DELETE", f"/agents/{made}", None)


@pytest.mark.e2e_deep
def test_the_palette_leads_everywhere_by_the_keyboard(home: Page, chatting: Chatting) -> None:
    expect(home.get_by_role("heading", name="Your agents")).to_be_visible()
    home.keyboard.press("Control+k")
    expect(home.get_by_role("combobox", name="Find or do something")).to_be_focused()
    assert_accessible(home)
    home.keyboard.type("page")
    expect(home.get_by_role("option", selected=True)).to_contain_text("Page")
    home.keyboard.press("Enter")
    home.wait_for_url(re.compile(f"/agents/{chatting.agent}"))
    expect(home.get_by_role("heading", name="Page", exact=True)).to_be_visible()
    home.keyboard.press("Control+k")
    home.keyboard.type("settings")
    home.keyboard.press("Enter")
    expect(home.get_by_role("tab", name="Settings")).to_have_attribute("aria-selected", "true")
    expect(home.get_by_role("region", name="Retention")).to_be_visible()
    assert_accessible(home)
    home.keyboard.press("Control+k")
    home.keyboard.press("Escape")
    expect(home.get_by_role("combobox", name="Find or do something")).to_have_count(0)


def test_going_back_in_the_history_is_undone(home: Page, chatting: Chatting) -> None:
    chatting.open(home)
    frame = home.frame_locator('iframe[title="Live preview"]')
    expect(frame.get_by_role("heading", name="One")).to_be_visible(timeout=60_000)
    home.get_by_role("tab", name="History").click()
    home.get_by_role("textbox", name="Name of the snapshot").fill("the first page")
    home.get_by_role("button", name="Save now").click()
    expect(home.get_by_text("Saved: the first page")).to_be_visible(timeout=60_000)
    box = home.get_by_role("textbox", name="Message")
    box.fill("write index.html <h1>Two</h1>")
    box.press("Enter")
    rows = home.get_by_role("list", name="Snapshots").get_by_role("listitem")
    after = rows.filter(has_text="After turn 1")
    expect(after).to_be_visible(timeout=60_000)

    after.get_by_role("button", name=re.compile("^Look inside")).click()
    changes = home.get_by_role("list", name="Changes")
    changes.get_by_role("button", name="repo/index.html").click()
    lines = home.get_by_role("figure", name="Lines of repo/index.html")
    expect(lines).to_contain_text("<h1>Two</h1>")
    assert_accessible(home)
    home.get_by_role("tab", name="Files").click()
    home.get_by_role("button", name="repo", exact=True).click()
    home.get_by_role("button", name=re.compile("^index.html")).click()
    with home.expect_download() as download:
        home.get_by_role("link", name="Download").click()
    assert download.value.path().read_text() == "<h1>Two</h1>\n"
    home.get_by_role("button", name="History", exact=True).click()

    rows.filter(has_text="the first page").get_by_role("button", name="Restore").click()
    home.get_by_role("button", name="Bring it back").click()
    expect(home.get_by_text(re.compile("^It is back"))).to_be_visible(timeout=60_000)
    home.get_by_role("tab", name="Preview").click()
    expect(frame.get_by_role("heading", name="One")).to_be_visible(timeout=60_000)
    home.get_by_role("tab", name="History").click()
    home.get_by_role("button", name="Undo", exact=True).click()
    newest = rows.filter(has_text="newest")
    expect(newest.filter(has_text="Brought back")).to_be_visible(timeout=60_000)
    home.get_by_role("tab", name="Preview").click()
    expect(frame.get_by_role("heading", name="Two")).to_be_visible(timeout=60_000)


@pytest.mark.e2e_deep
def test_admin_shows_what_runs_and_a_phone_has_it_all(home: Page, chatting: Chatting) -> None:
    chatting.api("POST", "/vm/start", {"virtualMcpId": chatting.agent})
    chatting.api("POST", f"/agents/{chatting.agent}/snapshots", {})
    home.get_by_role("link", name="Admin").click()
    row = home.get_by_role("table", name="Sandboxes that run").get_by_role("row").nth(1)
    expect(row).to_contain_text("Page")
    expect(row).to_contain_text("running")
    expect(row.get_by_role("cell").nth(4)).to_have_text(re.compile(r"^\d+\.\d MB$"))
    usage = home.get_by_role("table", name="Usage of the store")
    expect(usage.get_by_role("row", name=re.compile(r"^Stored \d"))).to_be_visible()
    expect(home.get_by_role("list", name="Findings").get_by_text("git")).to_be_visible()
    assert_accessible(home)
    home.set_viewport_size(PHONE)  # type: ignore[arg-type]
    expect(home.get_by_role("navigation", name="Limpet")).to_have_count(0)
    wide = home.evaluate("document.querySelector('#page').scrollWidth")
    assert wide <= PHONE["width"]
    home.get_by_role("button", name="Menu").click()
    assert_accessible(home)
    home.get_by_role("dialog", name="Menu").get_by_role("link", name=re.compile("^Page")).click()
    home.wait_for_url(re.compile(f"/agents/{chatting.agent}"))
    expect(home.get_by_role("dialog", name="Menu")).to_have_count(0)
    expect(home.get_by_role("heading", name="Page", exact=True)).to_be_visible()
    assert_accessible(home)
