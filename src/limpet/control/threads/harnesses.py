"""Harnesses by name. Each is imported when it is first needed: model libraries are slow to load."""

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import cast

from limpet.errors import InvalidInputError
from limpet.harness.base import Harness

Harnesses = Mapping[str, Callable[[], Harness]]


def _late(module: str, name: str) -> Callable[[], Harness]:
    return lambda: cast(Harness, getattr(import_module(module), name)())


HARNESSES: Harnesses = {
    "decopilot": _late("limpet.harness.decopilot", "Decopilot"),
    "claude-code": _late("limpet.harness.claude_code", "ClaudeCode"),
}


def require_harness(harnesses: Harnesses, name: str) -> Callable[[], Harness]:
    """What makes the harness; `InvalidInputError` when this server has none of that name."""
    make = harnesses.get(name)
    if make is None:
        raise InvalidInputError(
            f"There is no harness {name!r} here",
            hint=f"There are: {', '.join(sorted(harnesses)) or 'none'}.",
        )
    return make


def harness_of(harnesses: Harnesses, name: str) -> Harness:
    """A harness, ready for a run; `InvalidInputError` when this server has none of that name."""
    return require_harness(harnesses, name)()
