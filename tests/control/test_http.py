"""Shapes, limits and headers that hold for every route."""

import asyncio
import json
from typing import Any

import pytest

from limpet.control.operations.catalog import OPERATIONS
from tests.control.live_app import LiveApp

pytestmark = pytest.mark.anyio


async def test_health_needs_no_credentials(live: LiveApp) -> None:
    status, headers, answer = await live.raw("GET", "/health")
    assert (status, answer["status"]) == (200, "ok")
    assert headers["cache-control"] == "no-store"


async def test_system_says_what_this_server_is(live: LiveApp) -> None:
    bearer = {"Authorization": f"Bearer {live.key}"}
    status, _, answer = await live.raw("GET", "/api/system", headers=bearer)
    assert status == 200
    assert answer.keys() == {
        "version", "org", "user", "isolation", "runner", "store", "data_dir", "harnesses",
    }  # fmt: skip
    assert answer["isolation"].keys() == {"kind", "reason", "network", "limits", "missing"}
    assert answer["store"].keys() == {"kind", "where", "mode"}
    assert answer["store"]["mode"] == "normal"


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/api/local/nothing", 404, "not_found"),
        ("GET", "/api/local", 404, "not_found"),
        ("PUT", "/api/local/agents", 405, "method_not_allowed"),
        ("DELETE", "/api/system", 405, "method_not_allowed"),
        ("GET", "/api/local/sandboxes/NOT..A--HANDLE", 400, "invalid"),
        ("GET", "/api/local/agents/" + "x" * 65, 400, "invalid"),
        ("GET", "/api/local/sandboxes?agent=x", 400, "invalid"),
        ("POST", "/missing", 405, "method_not_allowed"),
        ("GET", "/missing.js", 404, "not_found"),
    ],
)
async def test_every_error_has_the_one_shape(
    refusing: LiveApp, method: str, path: str, status: int, code: str
) -> None:
    bearer = {"Authorization": f"Bearer {refusing.key}"}
    given, _, answer = await refusing.raw(method, path, headers=bearer)
    assert (given, answer["error"]["code"]) == (status, code)
    assert answer.keys() == {"error"}
    assert answer["error"].keys() == {"code", "message", "hint"}


@pytest.mark.parametrize(
    "body", [b"", b"{", b"null", b"[]", b'"x"', b"\xff", b'{"title": NaN}', b"[" * 100_000]
)
async def test_bodies_that_are_no_object_are_400(refusing: LiveApp, body: bytes) -> None:
    headers = {"Authorization": f"Bearer {refusing.key}", "Content-Type": "application/json"}
    status, _, answer = await refusing.raw(
        "POST", "/api/local/vm/start", headers=headers, data=body
    )
    assert (status, answer["error"]["code"]) == (400, "invalid")


async def test_a_body_over_the_limit_is_413_with_and_without_a_length(live: LiveApp) -> None:
    headers = {"Authorization": f"Bearer {live.key}", "Content-Type": "application/json"}
    body = json.dumps({"description": "x" * (5 * 1024 * 1024)}).encode()

    async def chunks() -> Any:
        for start in range(0, len(body), 65536):
            yield body[start : start + 65536]

    for data in (body, chunks()):
        status, _, answer = await live.raw("POST", "/api/local/agents", headers=headers, data=data)
        assert (status, answer["error"]["code"]) == (413, "too_large")


async def test_pages_cannot_be_framed_sniffed_or_injected_into(live: LiveApp) -> None:
    for path in ("/", "/sign-in", "/api/openapi.json", "/health", "/missing.js"):
        _, headers, _ = await live.raw("GET", path)
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert headers["referrer-policy"] == "no-referrer"
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
    _, headers, _ = await live.raw("GET", "/")
    policy = headers["content-security-policy"]
    assert "script-src 'self';" in policy
    assert "frame-src http://*.localhost:*" in policy
    _, headers, _ = await live.raw("GET", "/health")
    assert headers["content-security-policy"].startswith("default-src 'none'")
    assert "sandbox" in headers["content-security-policy"]


async def test_no_other_origin_may_read_answers(live: LiveApp) -> None:
    headers = {"Authorization": f"Bearer {live.key}", "Origin": "http://127.0.0.1:1"}
    for method in ("GET", "OPTIONS"):
        _, given, _ = await live.raw(method, "/api/system", headers=headers)
        assert not any(name.lower().startswith("access-control-") for name in given)


async def test_openapi_tells_every_operation_once_with_our_errors(live: LiveApp) -> None:
    status, _, schema = await live.raw("GET", "/api/openapi.json")
    assert status == 200
    told = {
        route["operationId"]: (method.upper(), path, route)
        for path, methods in schema["paths"].items()
        for method, route in methods.items()
    }
    for operation in OPERATIONS:
        method, path, route = told[operation.name]
        assert (method, path) == (operation.method, f"/api/{{org}}{operation.path}")
        assert "422" not in route["responses"]
        assert route["responses"]["4XX"]["content"]["application/json"]["schema"]["$ref"].endswith(
            "ErrorBody"
        )
    assert "HTTPValidationError" not in schema["components"]["schemas"]
    body = told["AGENT_CREATE"][2]["requestBody"]["content"]["application/json"]["schema"]
    properties = schema["components"]["schemas"][body["$ref"].rsplit("/", 1)[-1]]["properties"]
    assert {"title", "template", "clone_url", "clone_username", "clone_password"} <= set(properties)


async def test_once_it_stops_every_new_request_is_refused(live: LiveApp) -> None:
    await live.limpet.save_all()
    for path in ("/health", "/", "/api/local/agents", "/mcp"):
        status, headers, answer = await live.raw("GET", path)
        assert (status, answer["error"]["code"]) == (503, "stopping")
        assert headers["retry-after"]


async def test_an_idempotency_key_makes_one_agent_of_many_tries(live: LiveApp) -> None:
    key = {"Idempotency-Key": "7e0c6a0e-one"}
    body = {"title": "Once", "clone_url": "https://u:hunter2@h/r"}
    tries = await asyncio.gather(
        *(live.api("POST", "/agents", body, headers=key) for _ in range(4))
    )
    assert {status for status, _ in tries} == {200}
    assert len({agent["id"] for _, agent in tries}) == 1
    assert len((await live.api("GET", "/agents"))[1]["agents"]) == 1
    status, answer = await live.api("POST", "/agents", {"title": "Other"}, headers=key)
    assert (status, answer["error"]["code"]) == (409, "conflict")
    other = {"Idempotency-Key": "7e0c6a0e-two"}
    status, second = await live.api("POST", "/agents", body, headers=other)
    assert (status, second["id"] != tries[0][1]["id"]) == (200, True)
    status, answer = await live.api("POST", "/agents", body, headers={"Idempotency-Key": "x" * 256})
    assert (status, answer["error"]["code"]) == (400, "invalid")


async def test_a_try_that_failed_may_be_tried_again_with_its_key(live: LiveApp) -> None:
    key = {"Idempotency-Key": "again"}
    assert (await live.api("POST", "/agents", {"template": "none"}, headers=key))[0] == 404
    assert (await live.api("POST", "/agents", {"template": "webapp"}, headers=key))[0] == 200
