"""What every native route has in common: prefixes, auth, CORS, bodies, errors."""

import base64
import json
from pathlib import Path

import pytest

from tests.daemon_process import TOKEN, DaemonProcess

BEARER = {"Authorization": f"Bearer {TOKEN}"}


@pytest.mark.parametrize("prefix", ["/_sandbox", "/_decopilot_vm"])
def test_both_prefixes_serve_the_same(daemon: DaemonProcess, prefix: str) -> None:
    answer = daemon.http.request(
        "POST", f"{daemon.url}{prefix}/bash", json={"command": "echo hi"}, headers=BEARER
    )
    assert answer.json()["stdout"] == "hi\n"


@pytest.mark.parametrize("path", ["/idle", "/events", "/scripts"])
def test_open_routes_need_no_token_and_ignore_a_stray_one(daemon: DaemonProcess, path: str) -> None:
    for headers in ({}, {"Authorization": "Bearer junk"}, {"Authorization": "nonsense"}):
        answer = daemon.http.request(
            "GET", f"{daemon.url}/_sandbox{path}", headers=headers, preload_content=False
        )
        assert answer.status == 200
        assert answer.headers["access-control-allow-origin"] == "*"
        answer.close()


@pytest.mark.parametrize(
    "headers",
    [{}, {"Authorization": "Bearer "}, {"Authorization": f"Basic {TOKEN}"},
     {"Authorization": f"Bearer {TOKEN}x"}, {"Authorization": f"Bearer {TOKEN[:-1]}"},
     {"X-Limpet-Token": "junk"}],
)  # fmt: skip
def test_everything_else_asks_for_the_token(daemon: DaemonProcess, headers: dict[str, str]) -> None:
    for method, path in (
        ("POST", "/bash"), ("GET", "/config"), ("GET", "/tasks"), ("POST", "/snapshot/create"),
        ("GET", "/nothing-here"), ("POST", "/snapshot/restore"),
    ):  # fmt: skip
        answer = daemon.http.request(method, f"{daemon.url}/_sandbox{path}", headers=headers)
        assert answer.status == 401, path
        assert answer.json() == {"error": "unauthorized"}
        assert answer.headers["access-control-allow-origin"] == "*"


def test_our_own_header_carries_the_token_too(daemon: DaemonProcess) -> None:
    answer = daemon.http.request(
        "GET",
        f"{daemon.url}/_sandbox/tasks",
        headers={"X-Limpet-Token": TOKEN, "Authorization": "Bearer of-the-app"},
    )
    assert answer.status == 200


def test_unknown_native_routes_are_404_and_never_proxied(daemon: DaemonProcess) -> None:
    for path in ("/_sandbox/nothing", "/_sandbox", "/_decopilot_vm/x/y", "/_sandbox/health"):
        answer = daemon.http.request("GET", daemon.url + path, headers=BEARER)
        assert answer.status == 404
        assert answer.json()["error"].startswith("Not found: /_")


def test_options_answers_without_auth(daemon: DaemonProcess) -> None:
    for path in ("/_sandbox/bash", "/_decopilot_vm/anything"):
        answer = daemon.http.request("OPTIONS", daemon.url + path)
        assert answer.status == 204
        assert answer.headers["access-control-allow-methods"] == "GET, POST, PUT, DELETE"
        assert "Authorization" in answer.headers["access-control-allow-headers"]


def test_a_body_may_be_base64_of_json(daemon: DaemonProcess) -> None:
    body = base64.b64encode(json.dumps({"command": "echo é"}).encode())
    answer = daemon.request("POST", "/bash", body)
    assert answer.json()["stdout"] == "é\n"


@pytest.mark.parametrize(
    "body", [b"nonsense", b"{", b"[]", b'"text"', b"\xff\xfe", b"bm9uc2Vuc2U="]
)
def test_a_body_that_is_no_json_object_is_400(daemon: DaemonProcess, body: bytes) -> None:
    answer = daemon.request("POST", "/bash", body)
    assert answer.status == 400
    assert answer.json()["error"]


def test_health_is_at_the_root_and_tells_the_boot(root: Path) -> None:
    with DaemonProcess.running(root / "workspace", DAEMON_BOOT_ID="boot-7") as daemon:
        health = daemon.http.request("GET", f"{daemon.url}/health").json()
        assert health["bootId"] == "boot-7"
        assert health["configured"] is False
        assert health["orchestrator"] == {"running": None, "pending": []}
        assert health["version"]


def test_named_origins_alone_are_let_in_where_they_are_set(root: Path) -> None:
    with DaemonProcess.running(
        root / "workspace", DAEMON_ALLOWED_ORIGINS="http://a.test, http://b.test"
    ) as daemon:
        for origin, allowed in (("http://b.test", "http://b.test"), ("http://c.test", None)):
            answer = daemon.http.request("GET", f"{daemon.url}/health", headers={"Origin": origin})
            assert answer.headers.get("access-control-allow-origin") == allowed


def test_a_strict_daemon_asks_for_the_token_everywhere_but_on_health(root: Path) -> None:
    with DaemonProcess.running(root / "workspace", DAEMON_REQUIRE_TOKEN="1") as daemon:
        assert daemon.http.request("GET", f"{daemon.url}/health").status == 200
        for path in ("/_sandbox/idle", "/_sandbox/events", "/", "/index.html"):
            assert daemon.http.request("GET", daemon.url + path).status == 401
            answer = daemon.http.request(
                "GET", daemon.url + path, headers=BEARER, preload_content=False
            )
            assert answer.status != 401
            answer.close()


def test_work_moves_the_counter_and_looking_does_not(daemon: DaemonProcess) -> None:
    def seq() -> int:
        found: int = daemon.request("GET", "/idle").json()["activitySeq"]
        return found

    before = seq()
    daemon.request("GET", "/tasks")
    daemon.request("GET", "/snapshot/origin")
    daemon.request("POST", "/snapshot/create")
    daemon.http.request("GET", f"{daemon.url}/health")
    assert seq() == before
    daemon.post("/bash", {"command": "true"})
    assert seq() > before


def test_the_description_names_every_route(daemon: DaemonProcess) -> None:
    described = daemon.request("GET", "/openapi.json").json()["paths"]
    for path in ("/read", "/write", "/bash", "/tasks/{id}", "/snapshot/create", "/pty", "/grep"):
        assert f"/_sandbox{path}" in described
