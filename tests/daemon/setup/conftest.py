"""A git server with a small app, and a daemon that trusts it."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from tests.daemon.setup.projects import app_files
from tests.daemon_process import DaemonProcess
from tests.gitserver import GitServer

CREDENTIALS = ("user", "hunter2")
StartDaemon = Callable[..., AbstractContextManager[DaemonProcess]]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[GitServer]:
    with GitServer.start(tmp_path / "git", CREDENTIALS) as running:
        running.add_repository("small", app_files())
        yield running


@pytest.fixture
def url(server: GitServer) -> str:
    """The small app's clone URL, credentials and all."""
    return server.url("small", authenticated=True)


@pytest.fixture
def start_daemon(root: Path, server: GitServer) -> StartDaemon:
    """Starts a daemon on the root, again and again if need be."""

    def start(**environ: str) -> AbstractContextManager[DaemonProcess]:
        environ = {"GIT_SSL_CAINFO": str(server.ca_file), **environ}
        return DaemonProcess.running(root / "workspace", **environ)

    return start


@pytest.fixture
def daemon(start_daemon: StartDaemon) -> Iterator[DaemonProcess]:
    with start_daemon() as running:
        yield running
