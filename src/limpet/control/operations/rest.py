"""The REST side of the operations: one FastAPI route each, below `/api/{org}`."""

import inspect
from collections.abc import Iterable
from typing import Annotated, Any, cast

from fastapi import APIRouter, Body, Path, Query, Request
from pydantic import BaseModel, ConfigDict, create_model

from limpet.control.auth import identity_of
from limpet.control.operations.idempotency import HEADER, Repeats
from limpet.control.operations.registry import Call, Operation
from limpet.control.operations.services import Services
from limpet.control.operations.shapes import Input

AnyOperation = Operation[Any, Any]


def rest_router(operations: Iterable[AnyOperation], services: Services) -> APIRouter:
    """A route for each operation."""
    router = APIRouter(prefix="/api/{org}")
    repeats = Repeats(services.database)
    for operation in operations:
        router.add_api_route(
            operation.path,
            _endpoint(operation, services, repeats),
            methods=[operation.method],
            response_model=operation.output,
            summary=operation.summary,
            description=operation.description,
            operation_id=operation.name,
            tags=[operation.name.partition("_")[0].lower()],
        )
    return router


def _endpoint(operation: AnyOperation, services: Services, repeats: Repeats) -> Any:
    async def endpoint(request: Request, **given: Any) -> BaseModel:
        rest = given.pop("rest", None)
        said = rest.model_dump(exclude_unset=True) if rest is not None else {}
        given.pop("org")
        call = Call(identity_of(request), services)
        wanted = {**said, **given}
        key = request.headers.get(HEADER)
        if key is None or not operation.keyed:
            answer: BaseModel = await operation.call(call, wanted)
            return answer
        return await repeats.once(
            call.identity,
            key,
            operation.name,
            wanted,
            lambda: operation.call(call, wanted),
            operation.output,
        )

    endpoint.__name__ = operation.name.lower()
    endpoint.__signature__ = inspect.Signature(_parameters(operation))  # type: ignore[attr-defined]
    return endpoint


def _parameters(operation: AnyOperation) -> list[inspect.Parameter]:
    fields = operation.input.model_fields
    parameters = [_keyword("request", Request), _keyword("org", Annotated[str, Path()])]
    for name in operation.path_fields:
        field = fields[name]
        stated = Path(description=field.description)
        annotation = cast(Any, Annotated)[field.annotation, *field.metadata, stated]
        parameters.append(_keyword(name, annotation))
    others = {n: f for n, f in fields.items() if n not in operation.path_fields}
    if not others:
        return parameters
    model = _model_of(operation, others)
    if operation.method in {"GET", "DELETE"}:
        parameters.append(_keyword("rest", Annotated[model, Query()]))
    elif any(field.is_required() for field in others.values()):
        parameters.append(_keyword("rest", Annotated[model, Body()]))
    else:
        parameters.append(_keyword("rest", Annotated[model, Body(default_factory=model)]))
    return parameters


def _model_of(operation: AnyOperation, fields: dict[str, Any]) -> type[BaseModel]:
    """The input without what stands in the path; the input itself when nothing does."""
    if len(fields) == len(operation.input.model_fields):
        checked: type[BaseModel] = operation.input
        return checked
    definitions: dict[str, Any] = {name: (f.annotation, f) for name, f in fields.items()}
    return create_model(
        f"{operation.input.__name__}Rest",
        __config__=ConfigDict(**Input.model_config),
        __doc__=operation.input.__doc__,
        **definitions,
    )


def _keyword(name: str, annotation: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=annotation)
