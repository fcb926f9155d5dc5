"""One project's way: clone, install, preview, edit, save, wipe, and home again in three ways.

Everything is real: git over HTTPS, the daemon as a process, the registries, a browser that looks at
the page through the daemon's proxy.
"""

import contextlib
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from playwright.sync_api import Browser, Error, Page, WebSocket

from limpet.daemon.setup.orchestrator import FAILED
from limpet.snapshots.tree import delete_tree
from tests.daemon.setup.projects import configure, health, setup_log, wait_phase
from tests.daemon_process import DaemonProcess
from tests.gitserver import GitServer
from tests.live import poll_until
from tests.matrix import tools
from tests.matrix.rows import AFTER, BEFORE, Row

PROJECTS: Final = Path(__file__).parent / "projects"
INSTALL_S: Final = 420.0
SHOWN_S: Final = 90.0
_INSTALLING: Final = re.compile(r"Installing with .*?: (.*)\.\n")
_MARKER: Final = "window.limpetMarker = 'the same document'"


class JourneyError(AssertionError):
    """A step did not come out as it should; the message says which, with the setup's log."""


class Journey:
    """One row on its way; `times` has the seconds of each step, `notes` what was said of it."""

    def __init__(self, row: Row, browser: Browser, git: GitServer) -> None:
        self.row = row
        self.times: dict[str, float] = {}
        self.notes: list[str] = []
        self._browser = browser
        self._git = git
        self._url = ""
        self._path = ""
        self._is_greeted = False
        self._place = Path(tempfile.mkdtemp(prefix=f"limpet-matrix-{row.name}-"))
        self._place.chmod(0o755)

    def close(self) -> None:
        """Delete what is left of it."""
        delete_tree(self._place)

    def go(self) -> None:
        """All steps, one after another."""
        row = self.row
        self._path = tools.path_with(*row.tools)
        self._url = self._git.add_repository(row.name, files_of(row))
        home = self._place / "root"
        with self._daemon(home) as daemon:
            self._bring_up(daemon)
            self._edit(daemon)
            snapshot = self._save(daemon)
        self._come_home("same", home, snapshot, installs=False)
        self._come_home("moved", self._place / "elsewhere", snapshot, installs=row.bound)
        if os.geteuid() == 0:
            self._come_home("uid", home, snapshot, installs=False, DAEMON_DROP_PRIVILEGES="1")
        else:
            self.notes.append("uid: not run, it takes root")

    # -- the steps -----------------------------------------------------------------------------

    def _bring_up(self, daemon: DaemonProcess) -> None:
        row = self.row
        begun = time.monotonic()
        more = {"application": dict(row.application)} if row.application else {}
        configure(daemon, self._url, branch="main", **more)
        with self._timed("clone"):
            _past(daemon, "cloning", begun)
        with self._timed("install"):
            _past(daemon, "installing", begun)
        with self._timed("start"):
            _running(daemon)
        said = setup_log(daemon)
        if row.installs != bool(_INSTALLING.search(said)):
            raise JourneyError(f"installs: {row.installs} was expected\n{said}")
        if row.said not in said:
            raise JourneyError(f"the log does not say {row.said!r}\n{said}")
        with self._timed("preview"), self._page(daemon) as page:
            _await_text(page, BEFORE)

    def _edit(self, daemon: DaemonProcess) -> None:
        row = self.row
        change = {"path": row.source, "old_string": BEFORE, "new_string": AFTER}
        with self._page(daemon) as page:
            _await_text(page, BEFORE)
            if row.socket:
                self._await_client(page)
            page.evaluate(_MARKER)
            with self._timed("edit"):
                daemon.post("/edit", change)
                if row.reload == "server":
                    _await_text(page, AFTER, again=True)
                    return
                _await_text(page, AFTER)
            kept = page.evaluate("window.limpetMarker") is not None
            if kept != (row.reload == "module"):
                raise JourneyError(f"the edit came by {'module' if kept else 'page'}")

    def _save(self, daemon: DaemonProcess) -> bytes:
        with self._timed("save"):
            snapshot = daemon.create()
        self.times["MB"] = len(snapshot) / 1e6
        daemon.process.terminate()
        daemon.process.wait(30)
        shutil.rmtree(daemon.workspace.parent)
        return snapshot

    def _come_home(
        self, how: str, root: Path, snapshot: bytes, *, installs: bool, **environ: str
    ) -> None:
        """Restore on an empty root, bring it up, and see the edited page."""
        with self._daemon(root, **environ) as daemon:
            with self._timed(how):
                answer = daemon.restore(snapshot)
                if answer.status != 200:
                    raise JourneyError(f"{how}: restore: {answer.status} {answer.data[:500]!r}")
                row = self.row
                more = {"application": dict(row.application)} if row.application else {}
                configure(daemon, self._url, branch="main", **more)
                _running(daemon)
                with self._page(daemon) as page:
                    _await_text(page, AFTER)
            said = setup_log(daemon)
            why = _INSTALLING.search(said)
            if "$ git fetch" in said:
                raise JourneyError(f"{how}: it was cloned again\n{said}")
            if bool(why) != installs:
                raise JourneyError(f"{how}: installs: {installs} was expected\n{said}")
            if why is not None:
                self.notes.append(f"{how}: installed again: {why[1]}")
                if "place" not in why[1]:
                    raise JourneyError(f"{how}: it says only {why[1]!r}")
            if "DAEMON_DROP_PRIVILEGES" in environ:
                self._is_somebody_else(daemon)
            daemon.process.terminate()
            daemon.process.wait(30)
        shutil.rmtree(root)

    def _is_somebody_else(self, daemon: DaemonProcess) -> None:
        """Commands are another user's, who can change the workspace as if it were made there."""
        work = "touch made-here && git add made-here && rm -rf .git/index.lock && id -u"
        done = daemon.post("/bash", {"command": work})
        if done["stdout"].split() != ["1000"]:
            raise JourneyError(f"uid: {done}")
        daemon.post("/edit", {"path": self.row.source, "old_string": AFTER, "new_string": BEFORE})
        done = daemon.post("/bash", {"command": f"echo >> '{self.row.source}'"})
        if done["exitCode"] != 0:
            raise JourneyError(f"uid: an edited file is not its own: {done}")

    # -- parts of them -------------------------------------------------------------------------

    @contextlib.contextmanager
    def _daemon(self, root: Path, **environ: str) -> Iterator[DaemonProcess]:
        root.mkdir(mode=0o755, exist_ok=True)
        with DaemonProcess.running(
            root / "workspace",
            PATH=self._path,
            GIT_SSL_CAINFO=str(self._git.ca_file),
            **environ,
        ) as daemon:
            try:
                yield daemon
            finally:
                if daemon.process.poll() is None:
                    daemon.process.terminate()
                    daemon.process.wait(30)

    @contextlib.contextmanager
    def _timed(self, step: str) -> Iterator[None]:
        begun = time.monotonic()
        yield
        self.times[step] = time.monotonic() - begun

    def _await_client(self, page: Page) -> None:
        """Wait until the framework's client in the page has been greeted by its server: what is
        edited before that comes with no reload. A first visit may load itself anew meanwhile.
        """
        poll_until("the client's socket", lambda: self._pumped(page), SHOWN_S)
        page.wait_for_load_state("networkidle", timeout=SHOWN_S * 1000)
        poll_until("the client's socket", lambda: self._pumped(page), SHOWN_S)

    def _greeted(self, *, now: bool) -> None:
        self._is_greeted = now

    def _pumped(self, page: Page) -> bool:
        page.wait_for_timeout(100)  # it is here that the browser's events are taken in
        return self._is_greeted

    @contextlib.contextmanager
    def _page(self, daemon: DaemonProcess) -> Iterator[Page]:
        context = self._browser.new_context()
        try:
            page = context.new_page()
            self._is_greeted = False

            def on_socket(socket: WebSocket) -> None:
                socket.on("framereceived", lambda _: self._greeted(now=True))
                socket.on("close", lambda _: self._greeted(now=False))

            page.on("websocket", on_socket)
            page.goto(daemon.url, wait_until="domcontentloaded", timeout=SHOWN_S * 1000)
            yield page
        finally:
            context.close()


def _await_text(page: Page, text: str, *, again: bool = False) -> None:
    """Wait for a text in the page; `again` asks for the page anew each time."""
    if not again:
        page.get_by_text(text).first.wait_for(timeout=SHOWN_S * 1000)
        return

    def seen() -> bool:
        with contextlib.suppress(Error):  # it is between two states of its server
            page.reload(wait_until="domcontentloaded", timeout=5000)
            return text in page.content()
        return False

    poll_until(f"{text!r} in the page", seen, SHOWN_S, 0.2)


def _running(daemon: DaemonProcess) -> None:
    """Wait until the dev server answers; at once an error when it never will."""
    phase = wait_phase(daemon, "running", *sorted(FAILED), timeout_s=INSTALL_S)
    if phase != "running":
        logs = "".join(setup_log(daemon, source) for source in ("setup", "dev", "start"))
        raise JourneyError(f"{phase}\n{logs}")


def _past(daemon: DaemonProcess, phase: str, begun: float) -> None:
    """Wait until the setup is past a phase, or has failed."""
    order = ["idle", "cloning", "checking-out", "installing", "starting", "running"]

    def is_past() -> bool:
        now = health(daemon)
        at: Any = now["phase"]
        if at not in order:
            raise JourneyError(f"{at}\n{setup_log(daemon)}")
        return order.index(at) > order.index(phase)

    poll_until(f"the end of {phase}", is_past, INSTALL_S - (time.monotonic() - begun), 0.02)


def files_of(row: Row) -> dict[str, str]:
    """The files of a row's project, as they are committed."""
    folder = PROJECTS / row.folder
    return {
        str(path.relative_to(folder)): path.read_text()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
