"""Real servers of every kind, and the environment that asks for a bucket of one's own there."""

import itertools
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from limpet.stores.settings import BUCKET, ENDPOINT, FORCE_PATH_STYLE, PREFIX
from tests.stores.gcs_server import GcsServer, gcs_server
from tests.stores.other_servers import (
    BUCKET_NAME,
    NotInstalledError,
    Server,
    azurite,
    juicefs_gateway,
    s3rver,
)
from tests.stores.refusing_server import refusing_server
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


@pytest.fixture(scope="session")
def google() -> Iterator[GcsServer]:
    with gcs_server() as found:
        yield found


@pytest.fixture
def gcs(google: GcsServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The environment that asks for a new, empty bucket of Google's."""
    (tmp_path / "account.json").write_text(google.credentials)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "account.json"))
    name = f"bucket-{next(_numbers)}"
    google.buckets[name] = {}
    return {BUCKET: f"gs://{name}", ENDPOINT: google.endpoint, PREFIX: "some/prefix"}


def _session(made: Callable[[], AbstractContextManager[Server]]) -> Iterator[Server]:
    try:
        server = made()
        with server as found:
            yield found
    except NotInstalledError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def azurite_server() -> Iterator[Server]:
    yield from _session(azurite)


@pytest.fixture(scope="session")
def s3rver_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    yield from _session(lambda: s3rver(tmp_path_factory.mktemp("s3rver")))


@pytest.fixture(scope="session")
def juicefs_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    yield from _session(lambda: juicefs_gateway(tmp_path_factory.mktemp("juicefs")))


def _asking_for(server: Server, bucket: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    for name, value in server.credentials.items():
        monkeypatch.setenv(name, value)
    prefix = f"some/prefix-{next(_numbers)}"
    return {BUCKET: bucket, ENDPOINT: server.endpoint, FORCE_PATH_STYLE: "1", PREFIX: prefix}


@pytest.fixture
def azure(azurite_server: Server, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The environment that asks for an empty place in a container of Azure's emulator."""
    return _asking_for(azurite_server, f"az://{BUCKET_NAME}", monkeypatch)


@pytest.fixture
def s3rver_bucket(
    s3rver_server: Server, keys: None, monkeypatch: pytest.MonkeyPatch
) -> dict[str, str]:
    """The environment that asks for an empty place in a bucket of s3rver's."""
    return _asking_for(s3rver_server, BUCKET_NAME, monkeypatch)


@pytest.fixture
def juicefs_bucket(
    juicefs_server: Server, keys: None, monkeypatch: pytest.MonkeyPatch
) -> dict[str, str]:
    """The environment that asks for an empty place in JuiceFS' bucket."""
    return _asking_for(juicefs_server, BUCKET_NAME, monkeypatch)


@pytest.fixture(scope="session")
def refusing_endpoint() -> Iterator[str]:
    with refusing_server() as found:
        yield found


@pytest.fixture
def refusing_bucket(refusing_endpoint: str, keys: None) -> dict[str, str]:
    """The environment that asks for an empty bucket of a server that refuses conditions."""
    name = f"bucket-{next(_numbers)}"
    return {BUCKET: name, ENDPOINT: refusing_endpoint, FORCE_PATH_STYLE: "1"}
