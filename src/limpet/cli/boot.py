"""Following a sandbox's boot: what it does, since when, and the last line of its log."""

import re
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from rich.live import Live
from rich.markup import escape
from rich.spinner import Spinner
from rich.table import Table

from limpet.cli.output import err
from limpet.errors import ConflictError, LimpetError
from limpet.sdk import Client, Event
from limpet.sdk.models import Started

WORDS = {
    "claiming": "Getting the sandbox",
    "starting-daemon": "Starting the sandbox",
    "waiting-for-store": "Waiting for the snapshot store",
    "restoring": "Restoring the workspace",
    "configuring": "Configuring",
    "cloning": "Cloning the repository",
    "checking-out": "Checking out the branch",
    "installing": "Installing dependencies",
    "starting": "Starting the dev server",
    "running": "The preview is up",
}
FAILED = {"clone-failed", "install-failed", "start-failed", "needs-credentials"}
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b\][^\x07]*\x07|[\x00-\x08\x0b-\x1f]")


class BootFailedError(ConflictError):
    """A step of the boot failed; the sandbox runs on, and the step can be tried again."""

    code = "boot_failed"
    exit_code = 1


class _Steps:
    """What is on the screen: finished steps above, the present one with its last log line."""

    def __init__(self) -> None:
        self.now = "claiming"
        self.since = time.monotonic()
        self.last_line = ""
        self.tail: list[str] = []
        self.spinner = Spinner("dots")

    def __rich__(self) -> Table:
        grid = Table.grid(padding=(0, 1))
        words = WORDS.get(self.now, self.now)
        grid.add_row(self.spinner, f"{words}  [dim]{time.monotonic() - self.since:.0f} s[/]")
        grid.add_row("", f"[dim]{escape(self.last_line[:100])}[/]")
        return grid

    def enter(self, step: str) -> None:
        if step == self.now:
            return
        took = time.monotonic() - self.since
        if took >= 0.05:
            err.print(f"[green]✓[/] {WORDS.get(self.now, self.now)}  [dim]{took:.1f} s[/]")
        self.now, self.since = step, time.monotonic()

    def log(self, text: str) -> None:
        for line in _ESCAPES.sub("", text.replace("\r", "\n")).split("\n"):
            if line.strip():
                self.last_line = line.strip()
                self.tail = [*self.tail[-19:], line.rstrip()]


def start_and_follow(
    limpet: Client, agent_id: str, begin: Callable[[], Started], *, wait: bool, quiet: bool
) -> Started:
    """Start a sandbox and show its boot; with `wait`, until the preview is up.

    Raises what the start raised, or `BootFailedError` with the end of the failing step's log.
    """
    steps = _Steps()
    ended = threading.Event()
    with (
        ThreadPoolExecutor(2) as pool,
        Live(steps, console=err, transient=True, refresh_per_second=8)
        if err.is_terminal and not quiet
        else _Nothing(),
    ):
        starting = pool.submit(begin)
        following = pool.submit(_follow, limpet, agent_id, steps, starting, ended, wait=wait)
        try:
            started = starting.result()
            if wait:
                failed = following.result()
                if failed:
                    raise BootFailedError(
                        f"{WORDS.get(failed, failed)} did not work ({failed})"
                        + "".join(f"\n  {line}" for line in steps.tail),
                        hint=f"Mend it and try again: limpet start {agent_id} --wait",
                    )
        finally:
            ended.set()
    return started


class _Nothing:
    """In place of a live display."""

    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None: ...


def _follow(
    limpet: Client,
    agent_id: str,
    steps: _Steps,
    starting: Future[Started],
    ended: threading.Event,
    *,
    wait: bool,
) -> str | None:
    """Until the preview is up (None) or a step failed (its phase)."""
    try:
        for event in limpet.events(agent_id, ended=ended):
            if ended.is_set() or (starting.done() and starting.exception()):
                return None
            verdict = _take(event, steps)
            if verdict is not None and starting.done() and wait:
                return None if verdict == "running" else verdict
    except LimpetError:
        if not wait:
            return None
        raise
    return None


def _take(event: Event, steps: _Steps) -> str | None:
    """What the event says of the boot's end: `running`, the phase that failed, or None."""
    told = event.json()
    if event.name == "log":
        steps.log(str(told.get("data", "")))
    elif event.name == "phase":
        kind = str(told.get("kind", ""))
        if kind in WORDS:
            steps.enter(kind)
    elif event.name == "lifecycle":
        phase = str(told.get("state", {}).get("phase", ""))
        if phase in WORDS:
            steps.enter(phase)
        if phase in FAILED and (error := told["state"].get("error")):
            steps.log(str(error))
        if phase == "running" or phase in FAILED:
            return phase
    return None
