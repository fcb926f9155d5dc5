"""A real S3 server, and a bucket of one's own in it."""

import itertools
import os
from collections.abc import Iterator

import pytest

from limpet.stores.settings import BUCKET, ENDPOINT, FORCE_PATH_STYLE, PREFIX
from tests.stores.s3_server import KEYS, make_bucket, s3_server

_numbers = itertools.count()


@pytest.fixture(scope="session")
def endpoint() -> Iterator[str]:
    with s3_server() as found:
        yield found


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment holds the tests' credentials, and no others."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def bucket(endpoint: str, keys: None) -> dict[str, str]:
    """The environment that asks for a new, empty bucket."""
    name = f"bucket-{next(_numbers)}"
    make_bucket(endpoint, name)
    return {BUCKET: name, ENDPOINT: endpoint, FORCE_PATH_STYLE: "1", PREFIX: "some/prefix"}
