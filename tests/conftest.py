"""Fixtures that every area shares, and which files begin first."""

import os
import signal

import pytest
from hypothesis import HealthCheck, settings

# How long an example takes says how busy the machine is.
settings.register_profile("limpet", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("limpet")

# Under nohup a hang-up is ignored, and would be by all that tests start; what is handled is not
# handed on (POSIX, exec).
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, lambda *_: None)

# Pictures of previews are taken by the tests of pictures alone.
os.environ["LIMPET_BROWSER"] = "off"


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that take long begin first: a run in several processes ends with its last file."""
    items.sort(key=lambda item: item.get_closest_marker("long") is None)
