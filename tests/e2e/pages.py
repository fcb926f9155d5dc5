"""The pages of the web app, one a line: where each is, and what is there once it can be used."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from playwright.sync_api import Locator, Page, expect


@dataclass(frozen=True)
class Shown:
    """One page. `path` is filled with the agent's id; `then` opens what is to be seen on it."""

    name: str
    path: str
    ready: Callable[[Page], Locator]
    then: Callable[[Page], None] | None = None


def _view(
    name: str,
    ready: Callable[[Page], Locator],
    then: Callable[[Page], None] | None = None,
    *,
    called: str | None = None,
) -> Shown:
    return Shown(called or name, f"/local/agents/{{agent}}?main={name}", ready, then)


def _palette(page: Page) -> None:
    page.keyboard.press("Control+k")
    expect(page.get_by_role("option").first).to_be_visible()


def _harness_menu(page: Page) -> None:
    page.get_by_role("button", name="Driven by").click()
    expect(page.get_by_role("menu")).to_be_visible()


def _mcp_servers(page: Page) -> Locator:
    section = page.get_by_role("region", name="MCP servers")
    section.evaluate("section => section.scrollIntoView()")
    return section


def _mcp_tried(page: Page) -> None:
    section = _mcp_servers(page)
    section.get_by_role("button", name="Try it docs").click()
    expect(section.get_by_text("The MCP server does not answer")).to_be_visible()


def _mcp_form(page: Page) -> None:
    _mcp_servers(page).get_by_role("button", name="Add a server").click()
    expect(page.get_by_role("dialog", name="Add an MCP server")).to_be_visible()


def _previewed(page: Page, heading: str) -> Locator:
    frame = page.frame_locator('iframe[title="Live preview"]')
    return frame.get_by_role("heading", name=heading)


def _share(page: Page) -> None:
    page.get_by_role("button", name="Share the preview").click()
    dialog = page.get_by_role("dialog", name="Share the preview")
    expect(dialog.get_by_text("Anyone with the address sees it now")).to_be_visible()


def _home(page: Page) -> Locator:
    return page.get_by_role("textbox", name="What shall we build?")


def _message(page: Page) -> Locator:
    return page.get_by_role("textbox", name="Message")


def _tracker(page: Page) -> Locator:
    return page.get_by_role("button", name="Change tracker")


PAGES: Final = (
    Shown("home", "/", _home),
    Shown("palette", "/", _home, _palette),
    _view("preview", lambda page: _previewed(page, "One")),
    _view("preview", lambda page: _previewed(page, "One"), _share, called="share"),
    _view("chat", _message),
    _view("chat", _message, _harness_menu, called="harness-menu"),
    _view("code", lambda page: page.get_by_role("treeitem", name="index.html")),
    _view("terminal", lambda page: page.get_by_role("heading", name="No terminal is open")),
    _view("changes", lambda page: page.get_by_role("button", name="Start from the template page")),
    _view("history", lambda page: page.get_by_text("Complete and verified").first),
    _view("logs", lambda page: page.get_by_role("tab", name="setup")),
    _view("settings", lambda page: page.get_by_role("region", name="Retention")),
    _view("settings", _tracker, _mcp_tried, called="mcp-servers"),
    _view("settings", _tracker, _mcp_form, called="mcp-form"),
    Shown("admin", "/admin", lambda page: page.get_by_role("heading", name="Admin", exact=True)),
    Shown("nowhere", "/no/such/page", lambda page: page.get_by_role("link", name="Back home")),
)
EMPTY_HOME: Final = Shown("home-empty", "/", _home)
DETACHED: Final = _view(
    "preview",
    lambda page: page.get_by_role("region", name="This sandbox is detached"),
    lambda page: expect(_previewed(page, "Low tide")).to_be_visible(timeout=60_000),
    called="detached",
)
