"""Astro, SvelteKit, plain files, Express, FastAPI and Flask on a domain behind TLS, as they come.

Their projects are the matrix's. Each page has a link to an absolute address that the framework made
from the request, and a form whose answer sets a cookie and redirects to an absolute address.
"""

import re
from collections.abc import Callable
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import ConsoleMessage, Error, Page, Request, expect

from tests.live import REPOSITORY, poll_until
from tests.matrix.rows import AFTER, BEFORE
from tests.previews.conftest import SLOW_MS, FrameworkBox, Sockets

pytestmark = [pytest.mark.preview, pytest.mark.timeout(900)]
Framework = Callable[[str], FrameworkBox]

ALL = ("static", "express", "flask-pip", "fastapi-pip", "sveltekit", "astro")
WITH_SERVERS = ALL[1:]
HEAR = """() => {
  window.heard = []
  const source = new EventSource('/events')
  source.onmessage = (event) => {
    window.heard.push(event.data)
    if (event.data === 'second') source.close()
  }
}"""
TELL = "fetch('/events', { method: 'POST' }).then((answer) => answer.status, String)"


NETWORK_CHANGED = "net::ERR_NETWORK_CHANGED"
"""Chromium gives up connections in the making when the machine gets another network, as it does
beside tests of Docker: nothing that a preview has to do with."""


class Complaints:
    """What a browser has to complain of in a page; made before the page is opened."""

    def __init__(self, page: Page) -> None:
        self.seen: list[str] = []
        page.on("pageerror", lambda error: self.seen.append(str(error)))
        page.on("requestfailed", self._failed)
        page.on("console", self._said)

    def _failed(self, request: Request) -> None:
        left = request.failure == "net::ERR_ABORTED"  # the page that asked was
        if not left and request.failure != NETWORK_CHANGED:
            self.seen.append(f"{request.failure}: {request.url}")

    def _said(self, message: ConsoleMessage) -> None:
        asked_by_itself = message.location["url"].endswith("/favicon.ico")
        excused = asked_by_itself or NETWORK_CHANGED in message.text
        if message.type in {"error", "warning"} and not excused:
            self.seen.append(f"{message.text} ({message.location['url']})")


def settled(page: Page, box: FrameworkBox, sockets: Sockets) -> None:
    """Wait until the page's hot reload is connected, and all is loaded that it is to replace."""
    if box.row.socket:
        sockets.wait_until_greeted()
        page.wait_for_load_state("networkidle", timeout=SLOW_MS)


def opened(page: Page, box: FrameworkBox, path: str = "") -> None:
    try:
        page.goto(box.named + path, wait_until="domcontentloaded", timeout=SLOW_MS)
    except Error as error:
        if NETWORK_CHANGED not in error.message:
            raise
        page.goto(box.named + path, wait_until="domcontentloaded", timeout=SLOW_MS)


@pytest.mark.parametrize("name", ALL)
def test_a_page_loads_and_nothing_complains(page: Page, framework: Framework, name: str) -> None:
    box = framework(name)
    first = page.context.new_page()  # at a first visit servers optimize what they serve
    opened(first, box)
    first.wait_for_load_state("networkidle" if name != "static" else "load", timeout=SLOW_MS)
    first.close()
    complaints, sockets = Complaints(page), Sockets(page)
    opened(page, box)
    expect(page.locator("h1")).to_have_text(BEFORE, timeout=SLOW_MS)
    settled(page, box, sockets)
    page.wait_for_load_state("load")
    assert complaints.seen == []
    assert page.evaluate("location.origin") + "/" == box.named
    assert page.evaluate("isSecureContext")


@pytest.mark.parametrize("name", ALL)
def test_an_edit_shows_as_the_framework_does_it(
    page: Page, framework: Framework, name: str
) -> None:
    box, sockets = framework(name), Sockets(page)
    opened(page, box)
    expect(page.locator("h1")).to_have_text(BEFORE, timeout=SLOW_MS)
    settled(page, box, sockets)
    page.evaluate("window.kept = true")
    box.edit(box.row.source, BEFORE, AFTER)
    if box.row.reload == "server":
        poll_until("the server to have started anew", lambda: shows(page, box, AFTER), 120)
    else:
        expect(page.locator("h1")).to_have_text(AFTER, timeout=SLOW_MS)
        assert page.evaluate("window.kept === true") == (box.row.reload == "module")
    if box.row.socket:
        assert {urlsplit(url).scheme for url in sockets.urls} == {"wss"}
    page.goto("about:blank")  # no open stream keeps a server from starting anew
    box.edit(box.row.source, AFTER, BEFORE)
    poll_until("the page as it was", lambda: shows(page, box, BEFORE), 120)


def shows(page: Page, box: FrameworkBox, text: str) -> bool:
    try:
        opened(page, box)
        return page.locator("h1").text_content(timeout=2000) == text
    except Error:  # it stands between two pages
        return False


def test_a_script_of_astro_is_changed_in_place(page: Page, framework: Framework) -> None:
    """Its pages are loaded anew, the modules of its scripts are not."""
    box, sockets = framework("astro"), Sockets(page)
    opened(page, box)
    expect(page.locator("#words")).to_have_text("said by a script", timeout=SLOW_MS)
    settled(page, box, sockets)
    page.evaluate("window.kept = true")
    box.edit("src/words.js", "a script", "a person")
    expect(page.locator("#words")).to_have_text("said by a person", timeout=SLOW_MS)
    assert page.evaluate("window.kept === true"), "the page was loaded anew"
    box.edit("src/words.js", "a person", "a script")
    expect(page.locator("#words")).to_have_text("said by a script", timeout=SLOW_MS)


@pytest.mark.parametrize("name", WITH_SERVERS)
def test_a_form_sets_a_cookie_and_redirects_to_an_absolute_address(
    page: Page, framework: Framework, name: str
) -> None:
    box, complaints = framework(name), Complaints(page)
    opened(page, box)
    page.fill("[name=name]", f"by-{name}")
    page.click("button")
    expect(page.locator("#name")).to_have_text(f"by-{name}", timeout=SLOW_MS)
    assert page.url.rstrip("/") == box.named + "who"
    [cookie] = page.context.cookies(box.named)
    assert (cookie["name"], cookie["domain"]) == ("name", urlsplit(box.named).hostname)
    assert cookie["httpOnly"]
    assert complaints.seen == []


def test_a_cookie_that_is_secure_for_express_is_so(page: Page, framework: Framework) -> None:
    box = framework("express")
    opened(page, box)
    page.fill("[name=name]", "me")
    page.click("button")
    expect(page.locator("#name")).to_have_text("me", timeout=SLOW_MS)
    assert page.context.cookies(box.named)[0]["secure"]


@pytest.mark.parametrize("name", ALL)
def test_a_link_to_an_absolute_address_leads_to_the_public_host(
    page: Page, framework: Framework, name: str
) -> None:
    box = framework(name)
    opened(page, box)
    address = page.locator("#address").evaluate("link => link.href")
    path = "about" if name == "static" else "who"
    assert address.rstrip("/") == box.named + path
    page.click("#address")
    expect(page.locator("#name")).to_have_text("nobody", timeout=SLOW_MS)
    assert page.url.rstrip("/") == box.named + path


@pytest.mark.parametrize("name", ["express", "flask-pip", "fastapi-pip"])
def test_an_app_that_believes_its_proxy_tells_its_public_address_in_data_too(
    page: Page, framework: Framework, name: str
) -> None:
    """Express is told to in the project; the lines for the others are the documentation's."""
    box = framework(name)
    made, lines = believing(name)
    before = (box.repo / box.row.source).read_text()
    box.edit(box.row.source, made, made + lines)

    def told() -> bool:
        try:
            opened(page, box)
            said: object = page.evaluate("fetch('/address').then((answer) => answer.json())")
        except Error:  # the server starts anew
            return False
        return str(said).rstrip("/") == box.named + "who"

    poll_until("the public address", told, 120)
    page.goto("about:blank")
    (box.repo / box.row.source).write_text(before)


def believing(name: str) -> tuple[str, str]:
    """Where the app is made, and what the documentation says to put after it."""
    if name == "express":
        return "app.set('trust proxy', 'loopback')\n", ""
    kind = "Flask(__name__)" if name == "flask-pip" else "FastAPI()"
    text = (REPOSITORY / "docs" / "setup.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    made = f"app = {kind}\n"
    [block] = [block for block in blocks if made in block]
    imports, _, lines = block.partition(made)
    return made, imports + lines


@pytest.mark.parametrize(
    ("name", "path", "to"),
    [("flask-pip", "who", "who/"), ("fastapi-pip", "who/", "who"), ("static", "about", "about/")],
)
def test_a_redirect_of_the_framework_itself_stays_on_the_public_host(
    page: Page, framework: Framework, name: str, path: str, to: str
) -> None:
    """Each is told of a slash too few or too many."""
    box = framework(name)
    opened(page, box, path)
    expect(page.locator("#name")).to_have_text("nobody", timeout=SLOW_MS)
    assert page.url == box.named + to


@pytest.mark.parametrize("name", WITH_SERVERS)
def test_events_come_one_by_one(page: Page, framework: Framework, name: str) -> None:
    box, complaints = framework(name), Complaints(page)
    opened(page, box)
    page.evaluate(HEAR)
    page.wait_for_function("heard.length === 1", timeout=SLOW_MS)
    poll_until("the listeners to be told", lambda: page.evaluate(TELL) == 204, 60)
    page.wait_for_function("heard.length === 2", timeout=SLOW_MS)
    assert complaints.seen == []
    assert page.evaluate("heard") == ["first", "second"]
    page.goto("about:blank")
