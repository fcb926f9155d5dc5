"""What an operation is: one definition that the REST router and the MCP endpoint both serve."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Generic, Literal, TypeVar

from pydantic import BaseModel, ValidationError, create_model

from limpet.control.auth import Identity
from limpet.control.errors import invalid_input
from limpet.control.operations.services import Services
from limpet.control.operations.shapes import Input

In = TypeVar("In", bound=Input)
Out = TypeVar("Out", bound=BaseModel)
Method = Literal["GET", "POST", "PATCH", "DELETE"]


@dataclass(frozen=True, slots=True)
class Call:
    """Who calls, and what the handler may use."""

    identity: Identity
    services: Services


@dataclass(frozen=True)
class Operation(Generic[In, Out]):
    """One thing that callers can do.

    `path` is below `/api/{org}`; names in braces are fields of `input`. The other fields come from
    the query of a GET or DELETE, from the JSON body of a POST or PATCH, and, over MCP, all of them
    from the tool's arguments. `destructive` tells MCP clients to ask first. A `keyed` operation
    makes something new at each call, and honours an `Idempotency-Key`.
    """

    name: str
    method: Method
    path: str
    input: type[In]
    output: type[Out]
    handler: Callable[[Call, In], Awaitable[Out]]
    summary: str
    destructive: bool = False
    keyed: bool = False

    @cached_property
    def path_fields(self) -> tuple[str, ...]:
        """The input's fields that stand in the path."""
        return tuple(part[1:-1] for part in self.path.split("/") if part.startswith("{"))

    @cached_property
    def input_schema(self) -> dict[str, object]:
        """The JSON schema of what it takes, made when it is first asked for."""
        return self.input.model_json_schema()

    @cached_property
    def output_schema(self) -> dict[str, object]:
        """The JSON schema of what it answers with, made when it is first asked for."""
        return self.output.model_json_schema(mode="serialization")

    @cached_property
    def rest_input(self) -> type[BaseModel] | None:
        """The input without what stands in the path; None where nothing else is in it."""
        fields = self.input.model_fields
        others = {name: field for name, field in fields.items() if name not in self.path_fields}
        if not others:
            return None
        if len(others) == len(fields):
            return self.input
        definitions: dict[str, Any] = {name: (f.annotation, f) for name, f in others.items()}
        rest: type[BaseModel] = create_model(
            f"{self.input.__name__}Rest",
            __config__=self.input.model_config,
            __doc__=self.input.__doc__,
            **definitions,
        )
        return rest

    @property
    def description(self) -> str:
        """What the operation does, for OpenAPI and for models that choose among tools."""
        return f"{self.summary}\n\n{self.input.__doc__ or ''}".strip()

    async def call(self, call: Call, given: dict[str, object]) -> Out:
        """Check what was given and run the handler; `InvalidInputError` names each wrong field."""
        try:
            wanted = self.input.model_validate(given)
        except ValidationError as error:
            raise invalid_input(error.errors(include_input=False, include_url=False)) from None
        return await self.handler(call, wanted)
