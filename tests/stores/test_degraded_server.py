"""A server on a store that ignores conditions, or that is away: it runs, and says so."""

import contextlib
import socket
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from limpet.errors import StoreUnavailableError
from limpet.stores import objectstore
from limpet.stores.degradable import DegradableStore
from limpet.stores.settings import ENDPOINT
from tests.control.live_app import live_app

pytestmark = pytest.mark.anyio


async def mode_after_asking(data_dir: Path) -> tuple[str, list[str]]:
    """What the server says of its store once it knows, or once it has tried; and its log."""
    with capture_logs() as logs:
        async with live_app(data_dir, templates_dir=data_dir / "none", isolation="none") as live:
            store = live.limpet.services.store
            assert isinstance(store, DegradableStore)
            while not any(one["event"].startswith("store_") for one in logs):
                with contextlib.suppress(StoreUnavailableError):
                    if await store.learn():
                        break
            bearer = {"Authorization": f"Bearer {live.key}"}
            _, _, system = await live.raw("GET", "/api/system", headers=bearer)
    return system["store"]["mode"], [
        f"{one['event']}: {one.get('means') or one.get('why')}"
        for one in logs
        if one["event"].startswith("store_")
    ]


@pytest.mark.parametrize("asked", ["s3rver_bucket", "bucket"])
async def test_a_server_says_whether_its_store_is_degraded(
    asked: str, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in request.getfixturevalue(asked).items():
        monkeypatch.setenv(name, value)
    mode, said = await mode_after_asking(tmp_path / "data")
    if asked == "bucket":
        assert (mode, said) == ("normal", [])
    else:
        assert mode == "degraded"
        [line] = said
        assert "store_degraded: it ignores conditions" in line


async def test_a_store_that_is_away_keeps_no_server_from_starting(
    bucket: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(objectstore.RETRIES, "max_retries", 0)
    with socket.create_server(("127.0.0.1", 0)) as closed:
        nowhere = f"http://127.0.0.1:{closed.getsockname()[1]}"
    for name, value in {**bucket, ENDPOINT: nowhere}.items():
        monkeypatch.setenv(name, value)
    mode, said = await mode_after_asking(tmp_path / "data")
    assert mode == "normal"
    assert "store_unreachable: " in said[0]
    assert "does not answer" in said[0]
