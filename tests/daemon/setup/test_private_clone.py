"""While a private clone runs and after it: its password is nowhere that anybody could read it."""

import contextlib
import os
import threading
from pathlib import Path

import pytest

from tests.daemon.setup.conftest import CREDENTIALS, StartDaemon
from tests.daemon.setup.projects import configure, wait_phase
from tests.daemon_process import DaemonProcess
from tests.gitserver import GitServer

PASSWORD = CREDENTIALS[1].encode()
ENCODED = b"dXNlcjpodW50ZXIy"  # user:hunter2, as basic authentication sends it


def below(pid: int) -> list[int]:
    """The process and everything that it started, however far down."""
    parents = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            parents[int(name)] = int(
                Path(f"/proc/{name}/stat").read_text().rpartition(")")[2].split()[1]
            )
    found = [pid]
    for one in found:
        found += [child for child, parent in parents.items() if parent == one]
    return found


class Spy(threading.Thread):
    """Reads command lines and environments of the daemon and all below it, again and again."""

    def __init__(self, pid: int) -> None:
        super().__init__()
        self.found: set[str] = set()
        self.saw_git = threading.Event()
        self._pid = pid
        self._stop_it = threading.Event()

    def run(self) -> None:
        while not self._stop_it.wait(0.002):
            for pid in below(self._pid):
                for what in ("cmdline", "environ"):
                    try:
                        text = Path(f"/proc/{pid}/{what}").read_bytes()
                    except OSError:
                        continue
                    if PASSWORD in text or ENCODED in text:
                        self.found.add(f"{what} of {text[:80]!r}")
                    if what == "cmdline" and b"git-remote-https" in text:
                        self.saw_git.set()

    def stop(self) -> None:
        self._stop_it.set()
        self.join()


def on_disk(top: Path) -> list[str]:
    found = []
    for place, _, names in os.walk(top):
        for name in names:
            path = Path(place) / name
            if path.is_symlink() or not path.is_file():
                continue
            data = path.read_bytes()
            if PASSWORD in data or ENCODED in data:
                found.append(str(path))
    return found


def told(daemon: DaemonProcess) -> bytes:
    """Everything that the daemon tells anybody, with the token and without."""
    answer = daemon.http.request(
        "GET", f"{daemon.url}/_sandbox/events", preload_content=False, timeout=10.0
    )
    events = next(answer.stream(4 << 20))
    answer.close()
    routes = ("/config", "/logs", "/tasks", "/git/status", "/git/branches", "/scripts")
    said = [bytes(daemon.request("GET", route).data) for route in routes]
    return b"".join([events, daemon.http.request("GET", f"{daemon.url}/health").data, *said])


@pytest.mark.parametrize("failing", [False, True])
def test_a_password_is_nowhere(
    start_daemon: StartDaemon, url: str, server: GitServer, root: Path, failing: bool
) -> None:
    if failing:  # it is refused once it was told the credentials
        server.credentials = ("user", "another")
    with start_daemon() as daemon:
        spy = Spy(daemon.process.pid)
        spy.start()

        def hold(path: str) -> None:
            """Keep git waiting until it was looked at."""
            spy.saw_git.wait(30)

        server.failing = hold
        try:
            configure(daemon, url, branch="main")
            wait_phase(daemon, "clone-failed" if failing else "running")
        finally:
            spy.stop()
        assert spy.saw_git.is_set(), "no git was seen at work: the spy is blind"
        assert spy.found == set()
        said = told(daemon)
        assert b"127.0.0.1" in said
        assert PASSWORD not in said
        assert on_disk(root) == []
        daemon.process.terminate()
        daemon.process.wait(30)
        assert daemon.process.stdout is not None
        assert PASSWORD not in daemon.process.stdout.read()
    assert any(ENCODED.decode() in seen for seen in server.seen_headers), "the server was told it"
