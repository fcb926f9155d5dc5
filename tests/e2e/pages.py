"""The pages of the web app, one a line: where each is, and what is there once it can be used."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from playwright.sync_api import Locator, Page


@dataclass(frozen=True)
class Shown:
    """One page. `path` is filled with the agent's id."""

    name: str
    path: str
    ready: Callable[[Page], Locator]


def _view(name: str, ready: Callable[[Page], Locator]) -> Shown:
    return Shown(name, f"/local/agents/{{agent}}?main={name}", ready)


PAGES: Final = (
    Shown("home", "/", lambda page: page.get_by_role("textbox", name="What shall we build?")),
    _view("preview", lambda page: page.locator('iframe[title="Live preview"]')),
    _view("chat", lambda page: page.get_by_role("textbox", name="Message")),
    _view("code", lambda page: page.get_by_role("treeitem", name="index.html")),
    _view("terminal", lambda page: page.get_by_role("tabpanel", name="Terminal")),
    _view("changes", lambda page: page.get_by_role("tabpanel", name="Changes")),
    _view("history", lambda page: page.get_by_role("button", name="Save now")),
    _view("logs", lambda page: page.get_by_role("tab", name="setup")),
    _view("settings", lambda page: page.get_by_role("region", name="Retention")),
    Shown("admin", "/admin", lambda page: page.get_by_role("heading", name="Admin", exact=True)),
    Shown("nowhere", "/no/such/page", lambda page: page.get_by_role("link", name="Back home")),
)
LOOKS: Final = ("light", "dark")
SIZES: Final = {"wide": (1280, 800), "phone": (390, 844)}
