"""S3 credentials by web identity: a token in a file becomes a role's short-lived keys."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from limpet.errors import InvalidInputError, LimpetError, StoreUnavailableError
from limpet.stores import objectstore
from limpet.stores.base import SandboxStore
from limpet.stores.settings import BUCKET, ENDPOINT, FORCE_PATH_STYLE, open_store
from tests.stores.contents import read
from tests.stores.s3_server import KEYS
from tests.stores.sts_server import ROLE, TokenService, token_service

pytestmark = pytest.mark.anyio
TOKEN = "a-token-that-nobody-may-see"


@pytest.fixture
def service(keys: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TokenService]:
    """The token service, in an environment that has no credentials but a token in a file."""
    for name in KEYS:
        monkeypatch.delenv(name)
    (tmp_path / "token").write_text(TOKEN)
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(tmp_path / "token"))
    monkeypatch.setenv("AWS_ROLE_ARN", ROLE)
    monkeypatch.setitem(objectstore.RETRIES, "max_retries", 0)
    with token_service(tmp_path, token=TOKEN) as service:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", service.endpoint)
        monkeypatch.setenv("SSL_CERT_FILE", str(service.authority))
        yield service


def opened(service: TokenService, folder: Path) -> SandboxStore:
    return open_store(
        {BUCKET: "bucket", ENDPOINT: service.s3_endpoint, FORCE_PATH_STYLE: "1"}, folder
    )


async def test_the_roles_keys_are_asked_for_once_and_used(
    service: TokenService, tmp_path: Path
) -> None:
    store = opened(service, tmp_path)
    await store.put("k", b"x")
    assert await read(store, "k") == b"x"
    assert service.given == ["ASIATESTS0"]
    assert service.used == ["ASIATESTS0"] * 2


async def test_keys_that_ended_are_renewed_with_the_token_that_the_file_holds_then(
    service: TokenService, tmp_path: Path
) -> None:
    service.lifetime_s = -1
    store = opened(service, tmp_path)
    await store.put("k", b"x")
    service.token, service.lifetime_s = "another-token", 3600
    (tmp_path / "token").write_text("another-token")
    assert await read(store, "k") == b"x"
    assert await read(store, "k") == b"x"
    assert service.used == ["ASIATESTS0", "ASIATESTS1", "ASIATESTS1"]


async def told_by(store: SandboxStore) -> LimpetError:
    with pytest.raises(StoreUnavailableError) as told:
        await store.head("k")
    assert TOKEN not in told.value.message + told.value.hint
    return told.value


async def test_a_role_that_is_refused_is_said_without_the_token(
    service: TokenService, tmp_path: Path
) -> None:
    service.token = "another"
    told = await told_by(opened(service, tmp_path))
    assert "gives no credentials for the role (HTTP 400 InvalidIdentityToken)" in told.message
    assert "AWS_ROLE_ARN" in told.hint
    service.status = 503
    told = await told_by(opened(service, tmp_path))
    assert "(STS) does not answer (HTTP 503)" in told.message
    assert service.used == []


async def test_a_token_service_that_does_not_answer_is_said(
    service: TokenService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", f"https://127.0.0.1:{port}")
    told = await told_by(opened(service, tmp_path))
    assert "the token service (STS) does not answer" in told.message
    assert "AWS_ENDPOINT_URL_STS" in told.hint


async def test_a_token_file_that_is_not_there_is_said(
    service: TokenService, tmp_path: Path
) -> None:
    (tmp_path / "token").unlink()
    told = await told_by(opened(service, tmp_path))
    assert "AWS_WEB_IDENTITY_TOKEN_FILE" in told.hint


async def test_a_token_is_never_sent_in_the_clear(
    service: TokenService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", service.endpoint.replace("https", "http"))
    with pytest.raises(InvalidInputError, match="AWS_ENDPOINT_URL_STS"):
        opened(service, tmp_path)
