"""Every page, light and dark, wide and on a phone: no errors, no barriers, and a picture of it."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, StorageState, expect

from tests.e2e.accessible import violations
from tests.e2e.chatting import Chatting, serving
from tests.e2e.findings import note
from tests.e2e.looking import LOOKS, SIZES, Look, look_at, signed_in, window
from tests.e2e.pages import PAGES, Shown
from tests.live import poll_until

pytestmark = [pytest.mark.long, pytest.mark.e2e, pytest.mark.e2e_deep, pytest.mark.timeout(240)]
# From the page's start to the moment at which something can be pressed or written into.
USABLE = """() => new Promise((usable) => {
  const look = () => {
    const part = document.querySelector("main textarea, main button:not([disabled])");
    if (part && part.checkVisibility()) usable(performance.now());
    else requestAnimationFrame(look);
  };
  look();
})"""
ROUNDS = 5


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chatting]:
    """A server with one agent, whose sandbox runs and was saved, and which has two MCP servers."""
    with serving(tmp_path_factory.mktemp("pages")) as server:
        server.api("POST", "/vm/start", {"virtualMcpId": server.agent})
        server.api("POST", f"/agents/{server.agent}/snapshots", {})
        poll_until("the page to be served", lambda: phases(server) == ["running"])
        key = {"Authorization": "Bearer secret", "X-Workspace": "tides"}
        for name, url, headers in (
            ("docs", "http://127.0.0.1:1/mcp", {}),
            ("tracker", "https://tracker.example.com/mcp", key),
        ):
            wanted = {"name": name, "url": url, "headers": headers}
            server.api("POST", f"/agents/{server.agent}/mcp-servers", wanted)
        yield server


def phases(server: Chatting) -> list[str | None]:
    return [box["phase"] for box in server.api("GET", "/sandboxes", None)["sandboxes"]]


@pytest.fixture(scope="module")
def state(up: Chatting, browser: Browser) -> StorageState:
    return signed_in(browser, up.sign_in_url)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("listed", PAGES, ids=[one.name for one in PAGES])
def test_a_page_shows_without_errors_or_barriers(
    up: Chatting, browser: Browser, state: StorageState, listed: Shown, look: Look, size: str
) -> None:
    with window(browser, state, look, size) as page:
        look_at(page, up.url + listed.path.format(agent=up.agent), listed, look, size)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("unanswered", ["/api/local/", r"/api/local/(?!agents/[^/?]+$)"])
@pytest.mark.parametrize(
    "listed", [one for one in PAGES if one.then is None], ids=lambda one: one.name
)
def test_a_page_that_waits_for_the_server_has_no_barriers(
    up: Chatting, browser: Browser, state: StorageState, listed: Shown, unanswered: str, size: str
) -> None:
    """Once with nothing known of an agent, once with all but its own description under way."""
    with window(browser, state, "light", size) as page:
        page.route(re.compile(unanswered), lambda _: None)
        page.goto(up.url + listed.path.format(agent=up.agent))
        expect(page.get_by_role("heading", level=1)).to_be_visible()
        broken = violations(page)
        note("barriers", f"{listed.name}, waiting, {size}", broken)
        assert broken == []


@pytest.mark.parametrize(("look", "size"), [("light", "wide")])
def test_how_soon_the_home_page_can_be_used_is_told(
    up: Chatting, browser: Browser, state: StorageState, look: str, size: str
) -> None:
    """Each round with nothing in the browser's cache. How long it may take is the report's bar."""
    width, height = SIZES[size]
    for _ in range(ROUNDS):
        context = browser.new_context(
            viewport={"width": width, "height": height}, storage_state=state
        )
        page = context.new_page()
        page.goto(up.url, wait_until="commit")
        note("usable_ms", f"home, {look}, {size}", page.evaluate(USABLE))
        context.close()
