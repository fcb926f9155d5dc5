"""Requests made from the daemon's own openapi.json; what comes back must be as it says there."""

import json
import shlex
import warnings
from typing import Any

import hypothesis
import schemathesis
from hypothesis import HealthCheck, Phase
from schemathesis.checks import CheckFunction
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.daemon_process import TOKEN
from tests.fuzz_daemon.running import Fuzzed

ENDLESS = ("/events", "/stream")
FORMS = ("application/x-tar", "application/vnd.limpet.snapshot.v1", "application/octet-stream")
CHECKS: list[CheckFunction] = [
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]


@schemathesis.serializer(*FORMS)
def as_it_is(_: Any, value: Any) -> bytes:
    """A raw body that was made up is sent as it is."""
    return value if isinstance(value, bytes) else str(value).encode(errors="replace")


def fuzz(fuzzed: Fuzzed, examples: int, seed: int) -> int:
    """`examples` requests of fitting and of senseless data to each route; how many there were."""
    document = json.loads(fuzzed.daemon.request("GET", "/openapi.json").data)
    count = 0
    for found in schemathesis.openapi.from_dict(document).get_all_operations():
        operation: Any = found.ok()
        if operation.path.endswith(ENDLESS):
            continue
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
            count += _operation(fuzzed, operation, mode, examples, seed)
        fuzzed.check()
    return count


def _operation(
    fuzzed: Fuzzed, operation: Any, mode: GenerationMode, examples: int, seed: int
) -> int:
    count = 0

    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=examples,
        deadline=None,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
        print_blob=False,
    )
    @hypothesis.given(case=operation.as_strategy(generation_mode=mode))
    def one(case: Any) -> None:
        nonlocal count
        _tame(case)
        count += 1
        headers = {"Authorization": f"Bearer {TOKEN}"}
        answer = case.call(base_url=fuzzed.daemon.url, headers=headers, timeout=120)
        assert answer.status_code < 500 or answer.status_code in {502, 507}, answer.text
        case.validate_response(answer, checks=CHECKS)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            one()
        except hypothesis.errors.Unsatisfiable:
            return count  # there is no senseless data for a route without any input
    return count


def _tame(case: Any) -> None:
    """Keep what is made up from being run, from naming the machine, and from changing the token."""
    body = case.body
    if isinstance(body, dict):
        if isinstance(body.get("command"), str):
            body["command"] = f": {shlex.quote(body['command'])}"
        body.pop("auth", None)
        for name in ("path", "cwd"):
            if isinstance(body.get(name), str):
                body[name] = body[name].lstrip("/.") or "src"
    query = case.query or {}
    if isinstance(query.get("path"), str):
        query["path"] = query["path"].lstrip("/.") or "src"
