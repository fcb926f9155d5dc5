"""Following a sandbox's boot: what it does, since when, and the last lines of its log."""

import re
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

from rich.console import Group
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from limpet.cli.output import err, size
from limpet.errors import ConflictError, LimpetError, UnreachableError
from limpet.sdk import Client, Event, EventFeed
from limpet.sdk.models import Started

WORDS = {
    "claiming": "Getting the sandbox",
    "starting-daemon": "Starting the sandbox",
    "pulling-image": "Fetching the image of sandboxes",
    "waiting-for-store": "Waiting for the snapshot store",
    "restoring": "Restoring the workspace",
    "configuring": "Configuring",
    "ready": "The sandbox is ready",
    "cloning": "Cloning the repository",
    "checking-out": "Checking out the branch",
    "installing": "Installing dependencies",
    "starting": "Starting the dev server",
    "running": "The preview is up",
    "crashed": "The dev server crashed; starting it again",
}
FAILED = {
    "clone-failed": "Cloning the repository did not work",
    "install-failed": "Installing dependencies did not work",
    "start-failed": "The dev server did not start",
    "needs-credentials": "The repository needs credentials",
}
_IN_SETUP = {"cloning", "checking-out", "installing", "starting"}
_LINES_SHOWN = 4
_LINES_KEPT = 20
_ESCAPES = re.compile(
    r"\x1b\[[0-9;:?]*[ -/]*[@-~]|\x1b[\]P^_][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b.|[\x00-\x08\x0b-\x1f]"
)


class BootFailedError(ConflictError):
    """A step of the boot failed; the sandbox runs on, and the step can be tried again."""

    code = "boot_failed"
    exit_code = 1


class Boot:
    """What is known of one boot; one thread feeds it, another waits and shows it."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet
        self.step = "claiming"
        self.tail: list[str] = []
        self._begun = self._since = time.monotonic()
        self._amount = ""
        self._settled: str | None = None
        self._set_up = False
        self._over = False
        self._failure: LimpetError | None = None
        self._changed = threading.Condition()
        self._spinner = Spinner("dots")

    def __rich__(self) -> Group:
        now = time.monotonic()
        line = Table.grid(padding=(0, 1))
        words = WORDS.get(self.step, self.step)
        line.add_row(self._spinner, f"{words}{self._amount}  [dim]{now - self._since:.0f} s[/]")
        tail = [
            Text(f"  {text}", style="dim", no_wrap=True, overflow="ellipsis")
            for text in self.tail[-_LINES_SHOWN:]
        ]
        return Group(line, *tail)

    def take(self, event: Event) -> None:
        """What one event says of the boot."""
        told = event.json()
        if event.name == "log":
            self._log(str(told.get("data", "")))
        elif event.name == "phase":
            self._enter(str(told.get("kind", "")))
            if told.get("kind") == "restoring" and told.get("total"):
                self._amount = (
                    f"  {size(int(told.get('bytes') or 0))} of {size(int(told['total']))}"
                )
        elif event.name == "lifecycle":
            state = told.get("state")
            self._lifecycle(state if isinstance(state, dict) else {})

    def end(self, failure: LimpetError | None = None) -> None:
        """No more events will come, because of `failure` if there is one."""
        with self._changed:
            self._over, self._failure = True, failure
            self._changed.notify_all()

    def wait(self) -> str:
        """The phase in which the boot settled: `running`, `idle`, or one that failed.

        Raises what ended the events before that.
        """
        with self._changed:
            while self._settled is None and not self._over:
                # A time-out, since a wait without one does not see Ctrl-C on every platform.
                self._changed.wait(1.0)
            if self._settled is not None:
                return self._settled
        raise self._failure or UnreachableError(
            "The server stopped while the sandbox was starting",
            hint="Start the server, then: limpet start AGENT --wait",
        )

    @property
    def took_s(self) -> float:
        """Seconds since the boot was begun."""
        return time.monotonic() - self._begun

    def _lifecycle(self, state: dict[str, object]) -> None:
        phase = str(state.get("phase", ""))
        self._set_up = self._set_up or phase in _IN_SETUP
        if phase in FAILED and state.get("error"):
            self._log(str(state["error"]))
        self._enter(phase)
        settled = phase == "running" or phase in FAILED or (phase == "idle" and self._set_up)
        with self._changed:
            self._settled = phase if settled else None
            self._changed.notify_all()

    def _enter(self, step: str) -> None:
        if step == self.step or (step not in WORDS and step not in FAILED):
            return
        now = time.monotonic()
        if not self._quiet and now - self._since >= 0.05 and self.step != "ready":
            mark = "[red]✗[/]" if step in FAILED else "[green]✓[/]"
            took = f"[dim]{now - self._since:.1f} s[/]"
            err.print(f"{mark} {WORDS.get(self.step, self.step)}  {took}")
        self.step, self._since, self._amount = step, now, ""

    def _log(self, text: str) -> None:
        lines = _ESCAPES.sub("", text.replace("\r", "\n")).split("\n")
        self.tail = [*self.tail, *(line.rstrip() for line in lines if line.strip())][-_LINES_KEPT:]


def start_and_follow(
    limpet: Client,
    agent_id: str,
    begin: Callable[[], Started],
    *,
    branch: str | None = None,
    wait: bool,
    quiet: bool,
) -> Started:
    """Start a sandbox and show its boot; with `wait`, until the preview is up.

    Raises what the start raised, or `BootFailedError` with the end of the failing step's log.
    """
    boot = Boot(quiet=quiet)
    feed = limpet.events(agent_id, branch)
    follower = threading.Thread(target=_follow, args=(feed, boot), daemon=True)
    follower.start()
    settled = None
    try:
        with _shown(boot, quiet=quiet):
            started = begin()
            if wait:
                settled = boot.wait()
    except KeyboardInterrupt:
        if not quiet:
            told = f"The sandbox goes on starting. To follow it: limpet start {agent_id} --wait"
            err.print(told, markup=False, soft_wrap=True)
        raise
    finally:
        feed.close()
        follower.join(5)
    if settled in FAILED:
        raise BootFailedError(
            FAILED[settled] + "".join(f"\n  {line}" for line in boot.tail),
            hint=f"Mend it and try again: limpet start {agent_id} --wait",
        )
    if settled == "idle" and not quiet:
        err.print("[yellow]![/] Nothing to preview: no dev server was found in the repository")
    elif settled and not quiet:
        err.print(f"[green]✓[/] {WORDS['running']}  [dim]{boot.took_s:.1f} s in all[/]")
    return started


def _follow(feed: EventFeed, boot: Boot) -> None:
    try:
        for event in feed:
            boot.take(event)
    except LimpetError as error:
        boot.end(error)
    else:
        boot.end()


def _shown(boot: Boot, *, quiet: bool) -> AbstractContextManager[object]:
    if quiet or not err.is_terminal:
        return nullcontext()
    return Live(boot, console=err, transient=True, refresh_per_second=8)
