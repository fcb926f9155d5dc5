"""A control plane behind a TLS front, a browser that knows its domain, sandboxes of projects."""

import contextlib
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, WebSocket, sync_playwright

from limpet.daemon.setup.orchestrator import FAILED
from tests.gitserver import GitServer
from tests.live import QUIET_SAVER, LiveLimpet
from tests.matrix.journey import INSTALL_S, files_of
from tests.matrix.rows import ROWS, Row
from tests.previews.dev_servers import FAILING, INSTALL, PROJECTS, Project, installed
from tests.previews.tls_front import TlsFront, tls_front

DOMAIN = "preview.test"
SLOW_MS = 120_000
LIVE = """() => {
  const field = document.getElementById('kept');
  const next = document.querySelector('script[src*="/_next/"]');
  return field && (!next || Object.keys(field).some((name) => name.startsWith('__react')));
}"""
"""Next's page is there before React has taken it over."""


@dataclass
class Box:
    """A sandbox in which a dev server runs."""

    live: LiveLimpet
    front: TlsFront
    agent: str
    handle: str

    @property
    def repo(self) -> Path:
        """The project's folder on this machine."""
        return self.live.root_of(self.handle) / "workspace" / "repo"

    @property
    def port(self) -> int:
        """The control plane's."""
        return int(self.live.url.rsplit(":", 1)[1])

    @property
    def local(self) -> str:
        """Its address on this machine."""
        return f"http://{self.handle}.localhost:{self.port}/"

    @property
    def named(self) -> str:
        """Its address in the domain, behind TLS."""
        return f"https://{self.handle}.{DOMAIN}:{self.front.port}/"

    def start(self, phase: str) -> None:
        """Start the dev server, and wait until its phase is this one."""
        self.live.api("POST", f"/sandboxes/{self.handle}/daemon/setup/start", {})
        self.live.wait_phase(self.agent, phase)

    def idle(self) -> dict[str, Any]:
        """What the daemon says of its work."""
        said: dict[str, Any] = self.live.api("GET", f"/sandboxes/{self.handle}/daemon/idle")
        return said

    def activity_seq(self) -> int:
        """How much was worked on so far."""
        return int(self.idle()["activitySeq"])

    def kill(self) -> None:
        """End it at once: a stop would save half a gigabyte of packages."""
        for pid in self.live.sandbox_processes(self.live.root_of(self.handle)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


@dataclass
class Shown(Box):
    """One that shows a project of a few files."""

    project: Project


@dataclass
class FrameworkBox(Box):
    """One that has cloned and installed a project of the matrix."""

    row: Row

    def edit(self, file: str, before: str, after: str) -> None:
        """Change a file of the project in place: `node --watch` loses one that is replaced."""
        path = self.repo / file
        text = path.read_text()
        assert before in text, f"{file} has no {before!r}"
        path.write_text(text.replace(before, after))


class Sockets:
    """What a page's WebSockets have sent and received; made before the page is opened."""

    def __init__(self, page: Page) -> None:
        self._page = page
        self.sent: list[str | bytes] = []
        self.received: list[str | bytes] = []
        self.urls: list[str] = []
        page.on("websocket", self._opened)

    def _opened(self, socket: WebSocket) -> None:
        self.urls.append(socket.url)
        socket.on("framesent", self._sent)
        socket.on("framereceived", self._received)

    def _sent(self, frame: str | bytes) -> None:
        self.sent.append(frame)

    def _received(self, frame: str | bytes) -> None:
        self.received.append(frame)

    def wait_until_live(self) -> None:
        """Until the page is the browser's own, and its hot reload is connected."""
        self._page.wait_for_function(LIVE, timeout=SLOW_MS)
        self.wait_until_greeted()

    def wait_until_greeted(self) -> None:
        """Until its hot reload is connected."""
        while not self.received:
            self._page.wait_for_timeout(100)  # only so does the browser's news come in

    def wait_for_more_sent(self, number: int) -> None:
        """Until so many more were sent."""
        wanted = len(self.sent) + number
        while len(self.sent) < wanted:
            self._page.wait_for_timeout(100)


@pytest.fixture(scope="session")
def front() -> Iterator[TlsFront]:
    with tls_front(DOMAIN) as made:
        yield made


@pytest.fixture(scope="session")
def git(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GitServer]:
    with GitServer.start(tmp_path_factory.mktemp("git")) as server:
        yield server


@pytest.fixture(scope="session")
def live(front: TlsFront, git: GitServer) -> Iterator[LiveLimpet]:
    settings = {
        "LIMPET_PREVIEW_URL": f"https://{DOMAIN}:{front.port}",
        **git.environ,
        **QUIET_SAVER,
    }
    with LiveLimpet.temporary(settings) as server:
        front.to = int(server.url.rsplit(":", 1)[1])
        yield server


@pytest.fixture(scope="module")
def browser(front: TlsFront) -> Iterator[Browser]:
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chrome")
    if chromium is None:
        pytest.skip("no Chromium here (Debian: apt install chromium)")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(
            executable_path=chromium,
            args=[
                "--no-sandbox", "--disable-background-networking", "--disable-sync",
                f"--host-resolver-rules=MAP *.{DOMAIN} 127.0.0.1",
                f"--ignore-certificate-errors-spki-list={front.key_pin}",
            ],
        )  # fmt: skip
        yield started
        started.close()


@pytest.fixture(scope="module")
def shown(live: LiveLimpet, front: TlsFront) -> Iterator[Callable[[str], Shown]]:
    """Makes a sandbox that shows a project; each project once."""
    if not installed():
        pytest.skip(f"the dev servers are not installed; {INSTALL}")
    made: dict[str, Shown] = {}

    def show(name: str) -> Shown:
        if name not in made:
            made[name] = _show(live, front, PROJECTS[name])
        return made[name]

    yield show
    for one in made.values():
        one.kill()


def _show(live: LiveLimpet, front: TlsFront, project: Project) -> Shown:
    agent = live.api("POST", "/agents", {"title": "Shown"})["id"]
    handle = live.api("POST", "/vm/start", {"virtualMcpId": agent})["vmId"]
    box = Shown(live, front, agent, handle, project)
    project.write(box.repo, "'before'" if project is FAILING else "before")
    box.start("running")
    return box


@pytest.fixture(scope="module")
def framework(
    live: LiveLimpet, front: TlsFront, git: GitServer
) -> Iterator[Callable[[str], FrameworkBox]]:
    """Makes a sandbox of a row of the matrix, cloned, installed and started; each row once."""
    made: dict[str, FrameworkBox] = {}

    def come_up(name: str) -> FrameworkBox:
        if name not in made:
            row = next(row for row in ROWS if row.name == name)
            files = files_of(row)
            files.pop("pnpm-workspace.yaml", None)  # npm is everywhere; the matrix is for managers
            url = git.add_repository(row.name, files)
            agent = live.api("POST", "/agents", {"clone_url": url})["id"]
            handle = live.api("POST", "/vm/start", {"virtualMcpId": agent})["vmId"]
            made[name] = FrameworkBox(live, front, agent, handle, row)
        box = made[name]
        reached = live.wait_phase(box.agent, "running", *FAILED, timeout_s=INSTALL_S)
        logs = live.api("GET", f"/sandboxes/{box.handle}/logs")["logs"]
        assert reached["phase"] == "running", logs
        return box

    yield come_up
    for one in made.values():
        one.kill()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context()
    yield context.new_page()
    context.close()
