"""The chat beside the preview, over real runs in a real sandbox; the model is scripted."""

import re

import pytest
from playwright.sync_api import BrowserContext, FrameLocator, Page, expect

from tests.e2e.chatting import Chatting
from tests.e2e.conversation import say, told

pytestmark = [pytest.mark.long, pytest.mark.e2e, pytest.mark.timeout(240)]


@pytest.fixture
def tab(chatting: Chatting, context: BrowserContext) -> Page:
    page = context.new_page()
    page.goto(chatting.sign_in_url)
    return chatting.open(page)


def preview(page: Page) -> FrameLocator:
    page.get_by_role("button", name="Reload the preview").click()
    return page.frame_locator('iframe[title="Live preview"]')


def test_a_turn_shows_as_it_happens_and_can_be_undone(tab: Page, chatting: Chatting) -> None:
    errors: list[str] = []
    tab.on("pageerror", lambda error: errors.append(str(error)))
    frame = tab.frame_locator('iframe[title="Live preview"]')
    expect(frame.get_by_role("heading", name="One")).to_be_visible(timeout=60_000)
    expect(tab.get_by_role("heading", name="Say what you want to see")).to_be_visible()

    say(tab, "say It says **Two** now.", "write index.html <h1>Two</h1>", "cost 0.5")
    expect(told(tab).get_by_text("It says Two now.")).to_be_visible(timeout=60_000)
    change = tab.get_by_role("figure", name=re.compile("write index.html"))
    expect(change).to_contain_text("<h1>Two</h1>")
    expect(told(tab).get_by_text(re.compile(r"12 tokens · \$0\.50")).first).to_be_visible(
        timeout=60_000
    )
    expect(preview(tab).get_by_role("heading", name="Two")).to_be_visible()

    tab.reload()
    expect(change).to_contain_text("<h1>Two</h1>")
    tab.get_by_role("button", name="This turn", exact=True).click()
    tab.get_by_role("menuitem", name="Undo this turn").click()
    tab.get_by_role("button", name="Undo it").click()
    expect(told(tab).get_by_text("Undone", exact=True)).to_be_visible(timeout=60_000)
    expect(preview(tab).get_by_role("heading", name="One")).to_be_visible(timeout=60_000)
    assert errors == []


@pytest.mark.e2e_deep
def test_a_closed_tab_stops_nothing_and_stop_does(tab: Page, chatting: Chatting) -> None:
    say(tab, "bash echo first words", "wait for ever")
    expect(told(tab).get_by_text("first words", exact=True)).to_be_hidden()
    tab.get_by_role("button", name="bash echo first words").click(timeout=60_000)
    expect(told(tab).get_by_text("first words", exact=True)).to_be_visible()
    context = tab.context
    tab.close()

    again, beside = chatting.open(context.new_page()), chatting.open(context.new_page())
    for page in (again, beside):
        expect(page.get_by_role("button", name="bash echo first words")).to_be_visible()
        expect(told(page).get_by_text("Working…")).to_be_visible()
    say(again, "say After that.")
    expect(told(beside).get_by_text("Waits for its turn")).to_be_visible()
    again.get_by_role("button", name="Stop this turn").click()
    again.get_by_role("menuitem", name="Stop this, go on with what waits").click()
    for page in (again, beside):
        expect(told(page).get_by_text("Stopped. What was done so far is kept.")).to_be_visible()
        expect(told(page).get_by_text("After that.", exact=True)).to_be_visible(timeout=60_000)


@pytest.mark.e2e_deep
def test_a_fork_is_another_conversation_with_the_files_of_then(
    tab: Page, chatting: Chatting
) -> None:
    say(tab, "write index.html <h1>Two</h1>", "say Done.")
    expect(told(tab).get_by_text("Done.", exact=True)).to_be_visible(timeout=60_000)
    tab.get_by_role("button", name="This turn", exact=True).click(timeout=60_000)
    tab.get_by_role("menuitem", name="Fork from before it").click()
    tab.get_by_role("button", name="Fork", exact=True).click()
    tab.get_by_role("link", name="Open it").click(timeout=60_000)
    frame = tab.frame_locator('iframe[title="Live preview"]')
    expect(frame.get_by_role("heading", name="One")).to_be_visible(timeout=60_000)
    expect(tab.get_by_role("button", name=re.compile("all conversations"))).to_be_visible()


@pytest.mark.e2e_deep
def test_what_the_page_logs_as_an_error_reaches_the_agent(tab: Page, chatting: Chatting) -> None:
    frame = tab.frame_locator('iframe[title="Live preview"]')
    expect(frame.get_by_role("heading", name="One")).to_be_visible(timeout=60_000)
    broken = "<h1>Two</h1><script>setTimeout(() => console.error('the tide is out'))</script>"
    with tab.expect_request(
        lambda asked: (
            asked.url.endswith("/console") and "the tide is out" in (asked.post_data or "")
        )
    ):
        say(tab, f"write index.html {broken}")
        expect(tab.get_by_role("figure", name=re.compile("write index.html"))).to_be_visible(
            timeout=60_000
        )
        preview(tab)
    tab.get_by_role("button", name="Ask the agent to fix").click()
    expect(tab.get_by_role("textbox", name="Message")).to_have_value(re.compile("the tide is out"))
