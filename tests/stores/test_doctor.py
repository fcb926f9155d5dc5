"""`limpet doctor --store` against real servers: healthy, degraded, or what is missing."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from limpet.cli.main import app
from limpet.stores import objectstore
from limpet.stores.settings import BUCKET, ENDPOINT, FORCE_PATH_STYLE, REGION
from tests.stores.refusing_server import REPEATED, Refusal, refusing_server

Doctor = Callable[..., tuple[int, str]]


@pytest.fixture
def doctor(keys: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Doctor:
    """Runs it where nothing but the store can be wrong; gives its exit code and output."""
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("node", "npm", "git"):
        (tools / name).write_text(f"#!{shutil.which('sh')}\necho v22.0.0\n")
        (tools / name).chmod(0o755)
    monkeypatch.setitem(objectstore.RETRIES, "max_retries", 0)

    def run(*options: str, **environ: str) -> tuple[int, str]:
        ran = CliRunner().invoke(
            app,
            ["doctor", "--store", *options],
            env={
                "LIMPET_URL": "",
                "LIMPET_PORT": "0",
                "LIMPET_DATA_DIR": str(tmp_path / "data"),
                "PATH": str(tools),
                **environ,
            },
        )
        return ran.exit_code, ran.output

    return run


def findings(told: str) -> dict[str, dict[str, Any]]:
    return {one["what"]: one for one in json.loads(told)["findings"]}


@pytest.mark.parametrize("asked", ["bucket", "gcs", "azure"])
def test_a_sound_store_is_said_to_be_healthy(
    asked: str, doctor: Doctor, request: pytest.FixtureRequest
) -> None:
    environ = request.getfixturevalue(asked)
    code, told = doctor("--json", **environ)
    assert code == 0, told
    store = findings(told)["store"]
    assert store["verdict"] == "ok"
    assert store["found"].endswith(" is healthy")
    assert json.loads(told)["ok"] is True


@pytest.mark.parametrize("asked", ["s3rver_bucket", "juicefs_bucket", "refusing_bucket"])
def test_a_store_that_knows_no_conditions_is_said_to_be_degraded_and_can_be_used(
    asked: str, doctor: Doctor, request: pytest.FixtureRequest
) -> None:
    environ = request.getfixturevalue(asked)
    code, told = doctor("--json", **environ)
    assert code == 0, told
    found = findings(told)
    assert found["store"]["verdict"] == "warning"
    assert "degraded: it ignores conditions" in found["store"]["found"]
    assert "share one database" in found["store"]["remedy"]
    assert found["store create-only put"]["verdict"] == "warning"
    assert {one["verdict"] for what, one in found.items() if what == "store put"} == {"ok"}
    _, shown = doctor(**environ)
    assert "! store:" in shown
    assert "✓ store put: works" in shown
    assert "! store create-only put:" in shown


@pytest.mark.parametrize(
    ("of", "operation", "permission"),
    [("DELETE", "delete", "s3:DeleteObject"), ("LIST", "list", "s3:ListBucket"),
     ("GET", "get", "s3:GetObject"), ("PUT", "put", "s3:PutObject")],
)  # fmt: skip
def test_a_permission_that_is_missing_is_named(
    doctor: Doctor, of: str, operation: str, permission: str
) -> None:
    with refusing_server(Refusal(of, 403, "AccessDenied")) as endpoint:
        code, told = doctor(
            "--json", **{BUCKET: "bucket", ENDPOINT: endpoint, FORCE_PATH_STYLE: "1"}
        )
    found = findings(told)
    assert code == 1
    assert operation in found["store"]["found"]
    assert found[f"store {operation}"]["verdict"] == "failed"
    assert permission in found[f"store {operation}"]["remedy"]
    assert REPEATED not in told


@pytest.mark.parametrize(
    ("status", "code", "said", "remedy"),
    [
        (404, "NoSuchBucket", "there is no such bucket", BUCKET),
        (400, "AuthorizationHeaderMalformed", "in another region", REGION),
        (403, "InvalidAccessKeyId", "does not accept the credentials", "access key"),
        (403, "SignatureDoesNotMatch", "does not accept the credentials", "access key"),
        (403, "RequestTimeTooSkewed", "clock is wrong", "NTP"),
    ],
)
def test_what_the_store_refuses_all_with_is_said_once_with_its_remedy(
    doctor: Doctor, status: int, code: str, said: str, remedy: str
) -> None:
    with refusing_server(Refusal("ALL", status, code)) as endpoint:
        exit_code, told = doctor(
            "--json", **{BUCKET: "bucket", ENDPOINT: endpoint, FORCE_PATH_STYLE: "1"}
        )
    found = findings(told)
    assert exit_code == 1
    assert [what for what in found if what.startswith("store ")] == ["store put"]
    assert said in found["store put"]["found"]
    assert remedy in found["store put"]["remedy"]
    assert REPEATED not in told


def test_a_store_that_only_replaces_without_looking_is_said_and_not_called_degraded(
    doctor: Doctor,
) -> None:
    with refusing_server(None, ignoring="If-Match") as endpoint:
        code, told = doctor(
            "--json", **{BUCKET: "bucket", ENDPOINT: endpoint, FORCE_PATH_STYLE: "1"}
        )
    store = findings(told)["store"]
    assert (code, store["verdict"]) == (0, "warning")
    assert store["found"].endswith("ignores replace-if puts")
    assert "check --repair" in store["remedy"]
