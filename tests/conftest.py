"""Fixtures that every area shares, and which files begin first."""

import pytest


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that take long begin first: a run in several processes ends with its last file."""
    items.sort(key=lambda item: item.get_closest_marker("long") is None)
