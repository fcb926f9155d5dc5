"""The REST side of the operations: one FastAPI route each, below `/api/{org}`."""

import inspect
from collections.abc import Iterable
from typing import Annotated, Any, cast

from fastapi import APIRouter, Body, Path, Query, Request
from pydantic import BaseModel

from limpet.control.auth import identity_of
from limpet.control.operations.idempotency import HEADER, Repeats
from limpet.control.operations.registry import Call, Operation
from limpet.control.operations.services import Services

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
    model = operation.rest_input
    if model is None:
        return parameters
    if operation.method in {"GET", "DELETE"}:
        parameters.append(_keyword("rest", Annotated[model, Query()]))
    elif any(field.is_required() for field in model.model_fields.values()):
        parameters.append(_keyword("rest", Annotated[model, Body()]))
    else:
        parameters.append(_keyword("rest", Annotated[model, Body(default_factory=model)]))
    return parameters


def _keyword(name: str, annotation: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=annotation)
