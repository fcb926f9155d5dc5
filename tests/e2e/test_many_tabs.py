"""Many tabs of one browser: all of them live, over one event connection."""

import re

import pytest
from playwright.sync_api import BrowserContext, Page, Response, expect

from tests.e2e.chatting import Chatting
from tests.e2e.conversation import say, told
from tests.live import LiveLimpet, poll_until

pytestmark = [pytest.mark.long, pytest.mark.e2e, pytest.mark.e2e_deep, pytest.mark.timeout(420)]
TABS = 8


def an_agent(chatting: Chatting, title: str) -> str:
    """The id of a new agent that has no source."""
    return str(chatting.api("POST", "/agents", {"title": title})["id"])


def figures(chatting: Chatting) -> dict[str, int]:
    """What the server counts of this user's event connections."""
    return dict(chatting.api("GET", "/events", None))


def state(page: Page, words: str) -> None:
    """Wait until the header says how the sandbox is."""
    expect(page.locator("header").get_by_text(words, exact=True)).to_be_visible(timeout=120_000)


@pytest.mark.parametrize(
    ("lacking", "connections"),
    [("nothing", 1), ("SharedWorker", TABS)],
)
def test_eight_tabs_of_eight_agents_are_live(
    chatting: Chatting, context: BrowserContext, lacking: str, connections: int
) -> None:
    context.add_init_script(f"delete window.{lacking}")
    first = context.new_page()
    first.goto(chatting.sign_in_url)
    agents = [an_agent(chatting, f"Agent {number}") for number in range(TABS)]
    tabs = [context.new_page() for _ in agents]
    for agent, tab in zip(agents, tabs, strict=True):
        tab.goto(f"{chatting.url}/local/agents/{agent}")
    first.close()
    for number, tab in enumerate(tabs):
        say(tab, f"say Before {number}.", "wait for ever")
    for number, tab in enumerate(tabs):
        expect(told(tab).get_by_text(f"Before {number}.", exact=True)).to_be_visible(
            timeout=120_000
        )
        state(tab, "running")
    counted = figures(chatting)
    assert counted["connections"] == connections, counted
    assert counted["subscriptions"] == 2 * TABS, counted

    for tab in reversed(tabs):
        tab.get_by_role("button", name="Stop this turn").click()
        expect(told(tab).get_by_text(re.compile("^Stopped"))).to_be_visible(timeout=60_000)
    for tab in tabs:
        tab.get_by_role("button", name="Stop", exact=True).click()
        tab.get_by_role("button", name="Save and stop").click()
    for tab in tabs:
        state(tab, "stopped")

    tabs.pop().close()
    poll_until(
        "the closed tab's streams to be left",
        lambda: figures(chatting)["subscriptions"] == 2 * len(tabs),
    )
    for tab in tabs:
        tab.close()
    poll_until(
        "the connection to go with the last tab",
        lambda: figures(chatting)["connections"] == 0,
    )
    for agent in agents:
        chatting.api("DELETE", f"/agents/{agent}", None)


SETTLED = "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"


def is_a_look(answer: Response) -> bool:
    """Whether a page was told how its sandbox is."""
    return "/sandboxes?agent_id=" in answer.url and answer.ok


def test_tabs_come_back_when_the_server_does_and_start_nothing_that_was_stopped(
    page: Page, live: LiveLimpet
) -> None:
    agent = live.api("POST", "/agents", {"title": "Two tabs"})["id"]
    tabs = [page, page.context.new_page()]
    for tab in tabs:
        tab.goto(f"{live.url}/local/agents/{agent}")
        state(tab, "running")
    assert live.api("GET", "/events")["connections"] == 1
    live.environ = {**live.environ, "LIMPET_PORT": live.url.rsplit(":", 1)[1]}

    def restart() -> None:
        live.kill_server()
        for tab in tabs:
            expect(tab.get_by_text("reconnecting…")).to_be_visible()
        live.start()
        for tab in tabs:
            expect(tab.get_by_text("reconnecting…")).to_be_hidden(timeout=60_000)

    restart()
    live.api("POST", f"/sandboxes/{live.sandbox(agent)['handle']}/stop", {})
    for tab in tabs:
        state(tab, "stopped")
        expect(tab.get_by_text("by a program or from the command line")).to_be_visible()
    assert live.api("GET", "/events")["connections"] == 1

    asked: list[str] = []
    for tab in tabs:
        tab.on("request", lambda request: asked.append(request.url))
    one, other = tabs
    with one.expect_response(is_a_look), other.expect_response(is_a_look):
        restart()
    for tab in tabs:
        tab.evaluate(SETTLED)
        state(tab, "stopped")
    assert [url for url in asked if url.endswith("/vm/start")] == []
