"""Every page, light and dark, wide and on a phone: no errors, no barriers, and a picture of it."""

from collections.abc import Iterator
from typing import Literal

import pytest
from playwright.sync_api import Browser, Page, StorageState, expect

from tests.e2e.accessible import violations
from tests.e2e.chatting import Chatting, serving
from tests.e2e.findings import note, place
from tests.e2e.pages import LOOKS, PAGES, SIZES, Shown

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
    """A server with one agent, whose sandbox runs and was saved."""
    with serving(tmp_path_factory.mktemp("pages")) as server:
        server.api("POST", "/vm/start", {"virtualMcpId": server.agent})
        server.api("POST", f"/agents/{server.agent}/snapshots", {})
        yield server


@pytest.fixture(scope="module")
def signed_in(up: Chatting, browser: Browser) -> StorageState:
    context = browser.new_context()
    page = context.new_page()
    page.goto(up.sign_in_url)
    expect(page.get_by_role("heading").first).to_be_visible()
    state = context.storage_state()
    context.close()
    return state


@pytest.fixture
def shown(
    browser: Browser, signed_in: StorageState, look: Literal["light", "dark"], size: str
) -> Iterator[Page]:
    width, height = SIZES[size]
    context = browser.new_context(
        viewport={"width": width, "height": height},
        color_scheme=look,
        reduced_motion="reduce",
        is_mobile=size == "phone",
        has_touch=size == "phone",
        storage_state=signed_in,
    )
    yield context.new_page()
    context.close()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("listed", PAGES, ids=[one.name for one in PAGES])
def test_a_page_shows_without_errors_or_barriers(
    up: Chatting, shown: Page, listed: Shown, look: str, size: str
) -> None:
    name = f"{listed.name}, {look}, {size}"
    errors: list[str] = []
    shown.on("pageerror", lambda error: errors.append(str(error)))
    shown.on("console", lambda said: errors.append(said.text) if said.type == "error" else None)
    shown.goto(up.url + listed.path.format(agent=up.agent))
    expect(listed.ready(shown)).to_be_visible(timeout=60_000)
    shown.evaluate("document.fonts.ready.then(() => true)")
    picture = place(f"{listed.name}-{look}-{size}.png")
    if picture is not None:
        shown.screenshot(path=picture)
    wider = shown.evaluate("document.documentElement.scrollWidth - innerWidth")
    note("errors", name, errors)
    assert errors == []
    assert wider <= 0, "the page is wider than the window"
    broken = violations(shown)
    note("barriers", name, broken)
    assert broken == []


@pytest.mark.parametrize(("look", "size"), [("light", "wide")])
def test_how_soon_the_home_page_can_be_used_is_told(
    up: Chatting, browser: Browser, signed_in: StorageState, look: str, size: str
) -> None:
    """Each round with nothing in the browser's cache. How long it may take is the report's bar."""
    width, height = SIZES[size]
    for _ in range(ROUNDS):
        context = browser.new_context(
            viewport={"width": width, "height": height}, storage_state=signed_in
        )
        page = context.new_page()
        page.goto(up.url, wait_until="commit")
        note("usable_ms", f"home, {look}, {size}", page.evaluate(USABLE))
        context.close()
