"""A private preview in the app's frame, on each kind of host that a browser may have it on."""

import contextlib
import os
import re
import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, FrameLocator, Page, expect

from tests.live import FAST_SAVER, LiveLimpet
from tests.previews.tls_front import TlsFront, tls_front

pytestmark = [pytest.mark.long, pytest.mark.e2e, pytest.mark.e2e_deep, pytest.mark.timeout(420)]
HEADLINE = "Something good starts here."
DOMAIN = "preview.test"


@pytest.fixture(scope="module", autouse=True)
def front() -> Iterator[TlsFront]:
    """What ends TLS; made before any browser is, since its driver keeps a loop running."""
    with tls_front(DOMAIN) as made:
        yield made


@contextlib.contextmanager
def another(browser: Browser, *arguments: str) -> Iterator[Browser]:
    """A browser of the same kind that is told something else of the network."""
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chrome")
    started = browser.browser_type.launch(
        executable_path=chromium, args=["--no-sandbox", *arguments]
    )
    try:
        yield started
    finally:
        started.close()


def web_app(browser: Browser, live: LiveLimpet) -> tuple[Page, str, FrameLocator]:
    """The page of a new agent, its id, and the frame in which its preview is shown."""
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    assert live.sign_in_url is not None
    page.goto(live.sign_in_url)
    page.get_by_role("button", name=re.compile("Web app")).click()
    page.wait_for_url(re.compile("/local/agents/"))
    frame = page.frame_locator('iframe[title="Live preview"]')
    expect(frame.get_by_role("heading", level=1)).to_have_text(HEADLINE, timeout=180_000)
    return page, page.url.split("/agents/")[1].split("?")[0], frame


def make_private(live: LiveLimpet, agent: str, frame: FrameLocator) -> None:
    """Until the page that was shown in the frame is gone."""
    frame.locator("html").evaluate("html => html.setAttribute('data-before', '')")
    assert live.json("share", agent, "--private")["access"] == "private"
    expect(frame.locator("html[data-before]")).to_have_count(0)


def origin(page: Page) -> str:
    """Where the frame's page is from."""
    [inner] = [one for one in page.frames if one.parent_frame == page.main_frame]
    return str(inner.evaluate("location.origin"))


def test_on_a_loopback_port_where_names_in_localhost_are_not_known(
    browser: Browser, live: LiveLimpet
) -> None:
    with another(browser, "--host-resolver-rules=MAP *.localhost ~NOTFOUND") as started:
        page, agent, frame = web_app(started, live)
        make_private(live, agent, frame)
        expect(frame.get_by_role("heading", level=1)).to_have_text(HEADLINE)
        assert f"{origin(page)}/" == live.sandbox(agent)["loopback_preview_url"]


def test_on_a_domain_with_tls(browser: Browser, front: TlsFront) -> None:
    with (
        LiveLimpet.temporary(
            {**FAST_SAVER, "LIMPET_PREVIEW_URL": f"https://{DOMAIN}:{front.port}"}
        ) as live,
        another(
            browser,
            f"--host-resolver-rules=MAP *.{DOMAIN} 127.0.0.1",
            f"--ignore-certificate-errors-spki-list={front.key_pin}",
        ) as started,
    ):
        front.to = int(live.url.rsplit(":", 1)[1])
        page, agent, frame = web_app(started, live)
        make_private(live, agent, frame)
        expect(frame.get_by_role("heading", level=1)).to_have_text(HEADLINE)
        handle = live.sandbox(agent)["handle"]
        assert origin(page) == f"https://{handle}.{DOMAIN}:{front.port}"


def test_on_a_domain_without_tls_it_opens_in_a_tab_of_its_own_and_says_so(
    browser: Browser,
) -> None:
    with LiveLimpet.temporary({**FAST_SAVER, "LIMPET_PREVIEW_URL": f"http://{DOMAIN}"}) as live:
        own_port = live.url.rsplit(":", 1)[1]
        rule = f"--host-resolver-rules=MAP *.{DOMAIN} 127.0.0.1:{own_port}"
        with another(browser, rule) as started:
            page, agent, frame = web_app(started, live)
            make_private(live, agent, frame)
            why = frame.get_by_text(re.compile("Without TLS no browser keeps"))
            expect(why).to_be_visible()
            told = page.get_by_role("link", name="Open it in a tab of its own")
            expect(told).to_be_visible()
            with page.context.expect_page() as opening:
                frame.get_by_role("link", name="Open it with Limpet").click()
            tab = opening.value
            expect(tab.get_by_role("heading", level=1)).to_have_text(HEADLINE)
            assert tab.url == live.sandbox(agent)["preview_url"]
