"""A live server and a real browser, signed in."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page

from tests.e2e.chatting import Chatting, serving
from tests.e2e.chromium import installed, launched
from tests.live import FAST_SAVER, LiveLimpet


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's Chromium, headless. Not for the session: its driver keeps an event loop running."""
    executable = installed()
    if executable is None:
        pytest.skip("no Chromium here (Debian: apt install chromium)")
    with launched(executable) as started:
        yield started


@pytest.fixture
def live() -> Iterator[LiveLimpet]:
    with LiveLimpet.temporary(FAST_SAVER) as server:
        yield server


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    fresh = browser.new_context(viewport={"width": 1280, "height": 800})
    yield fresh
    fresh.close()


@pytest.fixture
def page(live: LiveLimpet, context: BrowserContext) -> Page:
    """The home page, signed in by the printed URL."""
    shown = context.new_page()
    assert live.sign_in_url is not None
    shown.goto(live.sign_in_url)
    return shown


@pytest.fixture
def chatting(tmp_path: Path) -> Iterator[Chatting]:
    with serving(tmp_path) as server:
        yield server
