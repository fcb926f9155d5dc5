"""The panes beside the preview in a real sandbox: files, terminals, changes; and axe on each."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page, WebSocketRoute, expect

from tests.e2e.accessible import assert_accessible
from tests.live import QUIET_SAVER, LiveLimpet, poll_until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]
FILES = {
    "template.json": json.dumps({"title": "Tides", "description": "One page"}),
    "index.html": "<!doctype html>\n<title>Tides</title>\n<h1>One</h1>\n",
    "src/tide.ts": "export const tide = (hours: number) => `in ${hours} h`;\n",
}


@pytest.fixture
def live(tmp_path: Path) -> Iterator[LiveLimpet]:
    """A server whose only template is one plain page."""
    template = tmp_path / "templates" / "tides"
    for name, text in FILES.items():
        (template / name).parent.mkdir(parents=True, exist_ok=True)
        (template / name).write_text(text)
    environ = {**QUIET_SAVER, "LIMPET_TEMPLATES_DIR": str(template.parent)}
    with LiveLimpet.temporary(environ) as up:
        yield up


class Opened:
    """An agent's page, and its sandbox seen from outside."""

    def __init__(self, live: LiveLimpet, page: Page) -> None:
        self.live = live
        self.page = page
        self.agent = live.api("POST", "/agents", {"template": "tides"})["id"]
        self.handle = live.api("POST", "/vm/start", {"virtualMcpId": self.agent})["vmId"]
        live.wait_phase(self.agent, "running")
        self.repo = live.root_of(self.handle) / "workspace" / "repo"

    def show(self, view: str) -> Page:
        """One of its panes."""
        self.page.goto(f"{self.live.url}/local/agents/{self.agent}?main={view}")
        return self.page

    def daemon(self, method: str, route: str) -> Any:
        """What the sandbox's daemon answers."""
        return self.live.api(method, f"/sandboxes/{self.handle}/daemon/{route}")


@pytest.fixture
def opened(live: LiveLimpet, page: Page) -> Opened:
    return Opened(live, page)


def test_an_edit_shows_in_the_preview_and_never_overwrites_another(opened: Opened) -> None:
    page = opened.show("code")
    page.get_by_role("treeitem", name="index.html").press("Enter")
    editor = page.get_by_role("textbox", name="index.html")
    expect(editor).to_contain_text("<h1>One</h1>")
    editor.get_by_text("One").click()
    page.keyboard.press("End")
    page.keyboard.type("<p>From the editor</p>")
    expect(page.get_by_text("Not saved", exact=True)).to_be_visible()
    page.keyboard.press("Control+s")
    expect(page.get_by_text("Saved", exact=True)).to_be_visible()
    page.get_by_role("tab", name="Preview").click()
    page.get_by_role("button", name="Reload the preview").click()
    preview = page.frame_locator('iframe[title="Live preview"]')
    expect(preview.get_by_text("From the editor")).to_be_visible()

    page.get_by_role("tab", name="Code").click()
    page.keyboard.press("Escape")
    editor.press("Control+Home")
    page.keyboard.type("mine ")
    (opened.repo / "index.html").write_text("<h1>The agent's</h1>\n")
    told = page.get_by_role("alert", name="The file changed on disk")
    expect(told).to_be_visible()
    page.keyboard.press("Control+s")
    told.get_by_role("button", name="Compare").click()
    assert_accessible(page)
    assert (opened.repo / "index.html").read_text() == "<h1>The agent's</h1>\n"
    told.get_by_role("button", name="Take the one on disk").click()
    expect(editor).to_contain_text("The agent's")
    expect(told).to_be_hidden()


def test_files_are_found_made_moved_and_deleted(opened: Opened) -> None:
    page = opened.show("code")
    page.get_by_role("treeitem", name="index.html").wait_for()
    page.keyboard.press("Alt+p")
    page.get_by_role("combobox", name="File").fill("tidets")
    assert_accessible(page)
    page.keyboard.press("Enter")
    expect(page.get_by_role("textbox", name="src/tide.ts")).to_contain_text("hours")
    page.keyboard.press("Alt+Shift+f")
    page.get_by_role("searchbox", name="Search in all files").fill("hours:")
    page.keyboard.press("Enter")
    expect(page.get_by_text("1 line in 1 file.")).to_be_visible()
    assert_accessible(page)

    page.get_by_role("tab", name="Files").click()
    page.get_by_role("treeitem", name="src").click()
    page.get_by_role("button", name="New file").click()
    page.get_by_role("textbox", name="Name").fill("moon.css")
    page.keyboard.press("Enter")
    moon = page.get_by_role("treeitem", name=re.compile("moon.css"))
    moon.press("F2")
    page.get_by_role("textbox", name="Path in the repository").fill("styles/moon.css")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("file=styles%2Fmoon.css"))
    assert (opened.repo / "styles/moon.css").is_file()
    page.get_by_role("treeitem", name="styles").press("Delete")
    page.get_by_role("button", name="Save first, then delete").click()
    expect(page.get_by_role("dialog")).to_be_hidden(timeout=60_000)
    expect(page.get_by_role("treeitem", name="styles")).to_be_hidden()
    assert not (opened.repo / "styles").exists()
    snapshots = opened.live.api("GET", f"/agents/{opened.agent}/snapshots")["snapshots"]
    assert "Before: Delete styles?" in [one["name"] for one in snapshots]


def test_a_terminal_is_still_there_after_a_reload(opened: Opened) -> None:
    page = opened.show("terminal")
    begin = page.get_by_role("button", name="Open a terminal")
    expect(begin).to_be_visible()
    assert_accessible(page)
    begin.click()
    screen = page.locator(".xterm-rows")
    typed = page.get_by_role("textbox", name=re.compile("^Shell 1"))
    typed.focus()
    page.keyboard.type("echo $((6 * 7)) > answer; cat answer\n")
    expect(screen.get_by_text("42", exact=True)).to_be_attached()
    assert (opened.repo / "answer").read_text() == "42\n"
    page.keyboard.press("Shift+F6")
    expect(page.get_by_role("button", name="Shell 1", exact=True)).to_be_focused()
    [before] = opened.daemon("GET", "pty")["terminals"]

    page.reload()
    expect(screen.get_by_text("42", exact=True)).to_be_attached()
    assert_accessible(page)
    typed.focus()
    page.keyboard.type("sleep 1000\n")
    expect(screen).to_contain_text("sleep 1000")
    poll_until("it to run", lambda: opened.daemon("GET", "pty")["terminals"][0]["busy"])
    [after] = opened.daemon("GET", "pty")["terminals"]
    assert (after["id"], after["status"]) == (before["id"], "running")
    page.get_by_role("button", name="Close Shell 1").click()
    page.get_by_role("button", name="End it and close").click()
    expect(page.get_by_text("No terminal is open")).to_be_visible()
    assert opened.daemon("GET", "pty")["terminals"] == []


@pytest.mark.e2e_deep
def test_a_lost_connection_is_taken_up_again(opened: Opened) -> None:
    sockets: list[WebSocketRoute] = []

    def passed_on(socket: WebSocketRoute) -> None:
        socket.connect_to_server()
        sockets.append(socket)

    opened.page.route_web_socket(re.compile("/pty/"), passed_on)
    page = opened.show("terminal")
    page.get_by_role("button", name="Open a terminal").click()
    typed = page.get_by_role("textbox", name=re.compile("^Shell 1"))
    typed.focus()
    page.keyboard.type("echo be''fore\n")
    screen = page.locator(".xterm-rows")
    expect(screen.get_by_text("before", exact=True)).to_be_attached()
    sockets[0].close()
    expect(page.get_by_text("The connection is lost; what runs goes on.")).to_be_visible()
    expect(page.get_by_text("The connection is lost; what runs goes on.")).to_be_hidden()
    expect(screen.get_by_text("before", exact=True)).to_be_attached()
    page.keyboard.type("echo af''ter\n")
    expect(screen.get_by_text("after", exact=True)).to_be_attached()
    assert len(sockets) == 2


@pytest.mark.e2e_deep
def test_a_terminal_outlives_the_control_plane(opened: Opened) -> None:
    page = opened.show("terminal")
    page.get_by_role("button", name="Open a terminal").click()
    page.get_by_role("textbox", name=re.compile("^Shell 1")).focus()
    page.keyboard.type("echo be''fore\n")
    screen = page.locator(".xterm-rows")
    expect(screen.get_by_text("before", exact=True)).to_be_attached()
    [before] = opened.daemon("GET", "pty")["terminals"]
    lost = page.get_by_text("The connection is lost; what runs goes on.")
    live = opened.live
    live.environ = {**live.environ, "LIMPET_PORT": str(urlsplit(live.url).port)}
    live.kill_server()
    expect(lost).to_be_visible()
    live.start()
    expect(lost).to_be_hidden(timeout=60_000)
    expect(screen.get_by_text("before", exact=True)).to_be_attached()
    page.keyboard.type("echo af''ter\n")
    expect(screen.get_by_text("after", exact=True)).to_be_attached()
    [after] = opened.daemon("GET", "pty")["terminals"]
    assert after["id"] == before["id"]


@pytest.mark.e2e_deep
def test_changes_are_committed_and_discarded(opened: Opened) -> None:
    page = opened.show("changes")
    expect(page.get_by_text("Nothing changed since the last commit")).to_be_visible()
    (opened.repo / "src/tide.ts").write_text("export const tide = 1;\n")
    (opened.repo / "new.txt").write_text("new\n")
    page.get_by_role("button", name=re.compile("^tide.ts")).click()
    diff = page.get_by_role("figure", name="How src/tide.ts changed")
    expect(diff).to_contain_text("export const tide = 1;")
    assert_accessible(page)

    page.get_by_role("checkbox", name="Commit new.txt").uncheck()
    page.get_by_role("textbox", name="What changed, for the commit").fill("One tide is enough")
    page.get_by_role("button", name="Commit 1 file").click()
    expect(page.get_by_text("Committed.")).to_be_visible()
    log = opened.daemon("GET", "git/log")["commits"]
    assert log[0]["subject"] == "One tide is enough"
    commits = page.get_by_role("region", name="Commits")
    commits.get_by_role("button", name=re.compile("One tide is enough")).click()
    expect(commits.get_by_role("figure", name="How src/tide.ts changed")).to_be_visible()

    page.get_by_role("button", name="Discard new.txt").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("No snapshot has it as it is now")
    assert_accessible(page)
    dialog.get_by_role("button", name="Discard", exact=True).click()
    expect(page.get_by_text("Nothing changed since the last commit")).to_be_visible()
    assert not (opened.repo / "new.txt").exists()
    assert opened.daemon("GET", "git/status")["clean"]


@pytest.mark.e2e_deep
def test_a_stopped_sandbox_is_started_from_a_pane_of_a_phone(opened: Opened) -> None:
    opened.page.set_viewport_size({"width": 360, "height": 740})
    page = opened.show("changes")
    expect(page.get_by_role("tab", name="Changes")).to_be_in_viewport(ratio=1)
    page.get_by_role("button", name="Stop", exact=True).click()
    page.get_by_role("button", name="Save and stop").click()
    stopped = page.get_by_role("heading", name="The sandbox is not running")
    for name in ("Changes", "Terminal", "Code"):
        page.get_by_role("tab", name=name).click()
        expect(stopped).to_be_visible(timeout=60_000)
        assert_accessible(page)
    page.get_by_role("main").get_by_role("button", name="Start").click()
    there = {
        "Code": page.get_by_role("treeitem", name="index.html"),
        "Terminal": page.get_by_role("button", name="Open a terminal"),
        "Changes": page.get_by_role("region", name="Commits"),
    }
    for name, shown in there.items():
        page.get_by_role("tab", name=name).click()
        expect(shown).to_be_visible(timeout=60_000)
        assert page.evaluate("document.documentElement.scrollWidth") == 360
        assert_accessible(page)
