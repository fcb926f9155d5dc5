"""Google and Azure: what they refuse is told in words, as S3's refusals are."""

from pathlib import Path

import pytest

from limpet.errors import LimpetError, StoreUnavailableError
from limpet.stores import objectstore
from limpet.stores.bucket_errors import store_error
from limpet.stores.settings import BUCKET, open_store
from tests.stores.gcs_server import gcs_server

pytestmark = pytest.mark.anyio
CLOUDS = {"gcs": "gs://", "azure": "az://"}


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(objectstore.RETRIES, "max_retries", 0)


async def told(environ: dict[str, str], folder: Path) -> LimpetError:
    with pytest.raises(StoreUnavailableError) as told:
        await open_store(environ, folder).put("k", b"x", condition="create-only")
    with pytest.raises(StoreUnavailableError):
        await open_store(environ, folder).get("k")
    return told.value


@pytest.mark.parametrize("cloud", CLOUDS)
async def test_a_bucket_that_is_not_there_is_said(
    cloud: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    environ = request.getfixturevalue(cloud)
    error = await told({**environ, BUCKET: f"{CLOUDS[cloud]}there-is-none"}, tmp_path)
    assert "there is no such bucket" in error.message
    assert BUCKET in error.hint


async def test_a_key_that_google_does_not_know_is_said(
    gcs: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with gcs_server() as another:
        (tmp_path / "account.json").write_text(another.credentials)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "account.json"))
    assert "does not accept the credentials" in (await told(gcs, tmp_path)).message


async def test_a_key_that_azure_does_not_know_is_said(
    azure: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", "bm8ga2V5IG9mIGFueWJvZHk=")
    error = await told(azure, tmp_path)
    assert "(AuthorizationFailure)" in error.message  # the emulator's own word for it
    assert "bm8ga2V5" not in error.message + error.hint


@pytest.mark.parametrize(
    ("cloud", "place", "hint"),
    [
        ("S3", "latest/api/token", "AWS_ACCESS_KEY_ID"),
        ("GCS", "computeMetadata/v1/instance", "GOOGLE_APPLICATION_CREDENTIALS"),
        ("MicrosoftAzure", "metadata/identity/oauth2/token", "AZURE_STORAGE_ACCOUNT_KEY"),
    ],
)
def test_whoever_gives_no_credentials_is_told_how_that_cloud_wants_them(
    cloud: str, place: str, hint: str
) -> None:
    """The words are those of the client where the machine has no role to ask for."""
    error = Exception(
        f"Generic {cloud} error: Error performing GET http://169.254.169.254/{place} in 1ms"
    )
    said = store_error(error, "look", "somewhere")
    assert "no credentials were found" in said.message
    assert hint in said.hint
