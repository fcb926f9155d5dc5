"""A real daemon on a fresh root, over loopback."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import pytest

from tests.daemon_process import TOKEN, DaemonProcess


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The sandbox's root: `workspace` and its siblings appear in it."""
    return tmp_path / "root"


@pytest.fixture
def daemon(root: Path) -> Iterator[DaemonProcess]:
    """A daemon that answers; whatever it started is gone afterwards."""
    with DaemonProcess.running(root / "workspace") as running:
        yield running
        running.process.terminate()  # a kill would leave what it started behind
        running.process.wait(30)


@pytest.fixture
async def http(daemon: DaemonProcess) -> AsyncIterator[aiohttp.ClientSession]:
    """A session for the daemon's streams and sockets, with the token."""
    async with aiohttp.ClientSession(
        daemon.url, headers={"Authorization": f"Bearer {TOKEN}"}
    ) as session:
        yield session


@pytest.fixture
def repo(root: Path) -> Path:
    """The checkout's folder."""
    return root / "workspace" / "repo"
