"""Requests made from the daemon's own openapi.json; what comes back must be as it says there.

Configs come last: what they set off must not keep the other routes from answering. Of what is made
up in them the source is on this machine, the command does nothing, and the package managers are
`idle_programs`.
"""

import copy
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
from tests.live import poll_until

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


def fuzz(fuzzed: Fuzzed, examples: int, seed: int, *, only: str = "") -> int:
    """`examples` requests of fitting and of senseless data to each route; how many there were.

    `only` is how the paths end that are meant.
    """
    document = json.loads(fuzzed.daemon.request("GET", "/openapi.json").data)
    count = 0
    for operation in sorted(_operations(document), key=_configures):
        if operation.path.endswith(ENDLESS) or not operation.path.endswith(only):
            continue
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
            count += _operation(fuzzed, operation, mode, examples, seed)
        fuzzed.check()
    for operation in filter(_configures, _operations(_with_every_field(document))):
        count += _operation(fuzzed, operation, GenerationMode.POSITIVE, examples, seed)
    fuzzed.check()
    _comes_to_rest(fuzzed)
    return count


def _operations(document: dict[str, Any]) -> list[Any]:
    return [one.ok() for one in schemathesis.openapi.from_dict(document).get_all_operations()]


def _with_every_field(document: dict[str, Any]) -> dict[str, Any]:
    """The description with patches of the config that say everything; else most say nothing."""
    document = copy.deepcopy(document)
    schemas = document["components"]["schemas"]
    todo = ["ConfigPatch"]
    while todo:
        shape = schemas[todo.pop()]
        for name, value in shape["properties"].items():
            shape["properties"][name] = value["anyOf"][0]
            if "$ref" in value["anyOf"][0]:
                todo.append(value["anyOf"][0]["$ref"].rpartition("/")[2])
        shape["required"] = sorted(set(shape["properties"]) - {"script", "auth"})
    return document


def _configures(operation: Any) -> bool:
    return operation.path.endswith("/config") and operation.method.upper() != "GET"


def _comes_to_rest(fuzzed: Fuzzed) -> None:
    """Whatever was configured: a config of sense is taken, its steps end, and commands run."""
    fuzzed.daemon.post("/config", {"git": {"beginBranch": None}, "application": None})
    fuzzed.daemon.post("/setup/clone", {})

    def rests() -> bool:
        health = fuzzed.daemon.http.request("GET", f"{fuzzed.daemon.url}/health").json()
        return not health["orchestrator"]["running"] and not health["orchestrator"]["pending"]

    poll_until("the setup's steps to end", rests)
    assert fuzzed.daemon.post("/bash", {"command": "git log --format=%s"})["exitCode"] == 0
    fuzzed.check()


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
        _tame(case, fuzzed)
        count += 1
        headers = {"Authorization": f"Bearer {TOKEN}"}
        answer = case.call(base_url=fuzzed.daemon.url, headers=headers, timeout=120)
        assert answer.status_code < 500 or answer.status_code in {502, 507}, answer.text
        case.validate_response(answer, checks=CHECKS)
        fuzzed.configured += _configures(operation) and answer.status_code == 200

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            one()
        except hypothesis.errors.Unsatisfiable:
            return count  # there is no senseless data for a route without any input
    return count


def _tame(case: Any, fuzzed: Fuzzed) -> None:
    """Keep what is made up from being run, from naming the machine, and from changing the token."""
    body = case.body
    if isinstance(body, dict):
        _tame_config(body, fuzzed)
        if isinstance(body.get("command"), str):
            body["command"] = f": {shlex.quote(body['command'])}"
        for name in ("path", "cwd"):
            if isinstance(body.get(name), str):
                body[name] = body[name].lstrip("/.") or "src"
    query = case.query or {}
    if isinstance(query.get("path"), str):
        query["path"] = query["path"].lstrip("/.") or "src"


def _tame_config(body: dict[str, Any], fuzzed: Fuzzed) -> None:
    application, auth = body.get("application"), body.get("auth")
    if isinstance(application, dict) and isinstance(application.get("command"), str):
        application["command"] = f": {shlex.quote(application['command'])}"
    if isinstance(auth, dict) and isinstance(auth.get("rotateToken"), str):
        auth["rotateToken"] = TOKEN if len(auth["rotateToken"]) % 8 else auth["rotateToken"][:31]
    git = body.get("git")
    repository = git.get("repository") if isinstance(git, dict) else None
    url = repository.get("cloneUrl") if isinstance(repository, dict) else None
    if isinstance(repository, dict) and str(url).startswith(("https://", "file://")):
        other = "" if len(str(url)) % 2 else "-other"  # a conflict, once there is one
        repository["cloneUrl"] = f"file://{fuzzed.remote}{other}"
