"""The daemon's routes as data, without a daemon: what the page and the tables are compared with."""

import asyncio
import types
from collections.abc import Iterator
from typing import Any, cast, get_args, get_origin, get_type_hints

import msgspec

from limpet.daemon.context import DaemonContext
from limpet.daemon.main import all_routes
from limpet.daemon.routes import Route
from limpet.daemon.status_routes import health_route


def every_route() -> list[Route]:
    """All native routes and `/health`; none of the modules looks at its context for that."""

    async def made() -> list[Route]:
        return [health_route(), *all_routes(cast("DaemonContext", None))]

    return asyncio.run(made())


def fields_of(struct: type[msgspec.Struct]) -> set[str]:
    """The names that a Struct has on the wire, its tag among them."""
    config = struct.__struct_config__
    tag = {cast("str", config.tag_field)} if config.tag_field else set()
    return {field.encode_name for field in msgspec.structs.fields(struct)} | tag


def structs_within(struct: type[msgspec.Struct]) -> Iterator[type[msgspec.Struct]]:
    """Structs that the fields of a Struct hold, at any depth."""
    for hint in get_type_hints(struct).values():
        yield from _structs_in(hint)


def _structs_in(hint: Any) -> Iterator[type[msgspec.Struct]]:
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct) and get_origin(hint) is None:
        yield hint
        yield from structs_within(hint)
    elif isinstance(hint, types.UnionType) or get_origin(hint) is not None:
        for part in get_args(hint):
            yield from _structs_in(part)
