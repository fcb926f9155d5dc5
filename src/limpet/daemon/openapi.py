"""`openapi.json`: the native routes as OpenAPI 3.1, made from the same data that routes them.

Clients are generated from it and the fuzzer reads it, so every status, field and media type that a
route may answer is in it. Pure.
"""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

import msgspec
from starlette.requests import Request

from limpet import __version__
from limpet.daemon.context import DaemonContext
from limpet.daemon.routes import ErrorAnswer, Route

JSON = "application/json"
_REF = "#/components/schemas/{name}"
_WITHOUT_BODY = frozenset({204, 304})


def openapi(routes: Sequence[Route], *, prefix: str = "/_sandbox") -> dict[str, Any]:
    """The description of `routes`."""
    types: set[type[msgspec.Struct]] = {ErrorAnswer}
    for route in routes:
        told = (route.input, route.patch, route.query, *route.outputs)
        types |= {t for t in told if t is not None}
    ordered = sorted(types, key=lambda t: t.__name__)
    schemas, components = msgspec.json.schema_components(ordered, ref_template=_REF)
    for name in {t.__name__ for route in routes if (t := route.patch) is not None}:
        _take_null(components, name)
    describe = _Described(dict(zip(ordered, schemas, strict=True)), components)
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        for method in route.methods:
            path = route.path if route.path == "/health" else prefix + route.path
            paths.setdefault(path, {})[method.lower()] = describe.operation(route, method)
    for name in {t.__name__ for route in routes if (t := route.query) is not None}:
        components.pop(name, None)  # its fields are parameters, the object is nowhere
    components["ErrorAnswer"]["additionalProperties"] = True
    return {
        "openapi": "3.1.0",
        "info": {"title": "Limpet daemon", "version": __version__},
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
        },
    }


class _Described:
    def __init__(self, by_type: dict[type, Any], components: dict[str, Any]) -> None:
        self._by_type = by_type
        self._components = components

    def operation(self, route: Route, method: str) -> dict[str, Any]:
        operation: dict[str, Any] = {
            "summary": route.summary,
            "responses": {str(s): self._response(route, s) for s in route.answers},
            "security": [{"bearer": []}] if route.auth else [],
        }
        parameters = [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
            for name in (route.pattern.groupindex if route.pattern is not None else ())
        ]
        if route.query is not None:
            parameters += self._query(route.query)
        parameters += [
            {"name": name, "in": "header", "required": False, "schema": {"type": "string"}}
            for name in route.headers
        ]
        if parameters:
            operation["parameters"] = parameters
        if method != "GET" and route.input is not None:
            required = any(f.required for f in msgspec.structs.fields(route.input))
            operation["requestBody"] = {
                "required": required,
                "content": {JSON: {"schema": self._by_type[route.input]}},
            }
        elif method != "GET" and route.body:
            raw: dict[str, Any] = {"schema": {"type": "string", "format": "binary"}}
            if route.patch is not None:
                raw = {"schema": self._by_type[route.patch]}
            operation["requestBody"] = {
                "required": False,
                "content": dict.fromkeys(route.body, raw),
            }
        return operation

    def _response(self, route: Route, status: int) -> dict[str, Any]:
        answer: dict[str, Any] = {"description": HTTPStatus(status).phrase}
        if status >= 400:
            answer["content"] = {JSON: {"schema": self._by_type[ErrorAnswer]}}
        elif status not in _WITHOUT_BODY:
            schemas = [self._by_type[t] for t in route.outputs]
            content: dict[str, Any] = {}
            if schemas:
                schema = schemas[0] if len(schemas) == 1 else {"anyOf": schemas}
                content[JSON] = {"schema": schema}
            for media in route.media:
                content[media] = {"schema": {"type": "object" if media == JSON else "string"}}
            if content:
                answer["content"] = content
        return answer

    def _query(self, query: type[msgspec.Struct]) -> list[dict[str, Any]]:
        shape = self._components[query.__name__]
        return [
            {
                "name": name,
                "in": "query",
                "required": name in shape.get("required", ()),
                "schema": schema,
            }
            for name, schema in shape["properties"].items()
        ]


def _take_null(components: dict[str, Any], name: str) -> None:
    """Let every field of a component, and of those that it names, be null, too."""
    for field, shape in components[name]["properties"].items():
        components[name]["properties"][field] = _or_null(components, shape)


def _or_null(components: dict[str, Any], shape: dict[str, Any]) -> dict[str, Any]:
    if "$ref" in shape:
        _take_null(components, shape["$ref"].rpartition("/")[2])
    if isinstance(below := shape.get("additionalProperties"), dict):
        shape = {**shape, "additionalProperties": _or_null(components, below)}
    if {"type": "null"} in shape.get("anyOf", ()):
        return shape
    default = {name: shape[name] for name in ("default",) if name in shape}
    plain = {name: value for name, value in shape.items() if name not in default}
    return {"anyOf": [plain, {"type": "null"}], **default}


def openapi_route(all_routes: Sequence[Route]) -> Route:
    """`GET /openapi.json`, describing `all_routes` and itself."""

    async def describe(_: DaemonContext, __: object, ___: Request) -> dict[str, Any]:
        return described

    route = Route(
        ("GET",),
        "/openapi.json",
        describe,
        media=(JSON,),
        activity=False,
        summary="This description",
    )
    described = openapi([*all_routes, route])
    return route
