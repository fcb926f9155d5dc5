"""A server to speak to."""

from collections.abc import Iterator

import pytest

from limpet.sdk import Client
from tests.sdk.wire import Wire


@pytest.fixture
def wire() -> Iterator[Wire]:
    with Wire() as server:
        yield server


@pytest.fixture
def client(wire: Wire) -> Iterator[Client]:
    with wire.client() as made:
        yield made
