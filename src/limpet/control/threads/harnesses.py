"""Harnesses by name. Each is imported when it is first needed: model libraries are slow to load."""

import shlex
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Final, cast

from limpet.control.db import AgentRow
from limpet.control.threads.keys import NoCommandError
from limpet.errors import InvalidInputError
from limpet.harness.base import Harness

Harnesses = Mapping[str, Callable[[], Harness]]


def _late(module: str, name: str) -> Callable[[], Harness]:
    return lambda: cast(Harness, getattr(import_module(module), name)())


HARNESSES: Harnesses = {
    "decopilot": _late("limpet.harness.decopilot", "Decopilot"),
    "claude-code": _late("limpet.harness.claude_code", "ClaudeCode"),
    "acp": _late("limpet.harness.acp", "AcpAgent"),
}
MODEL_OPTIONAL: Final = frozenset({"acp"})
"""Harnesses whose agents may have a model of their own."""

OUTSIDE: Final = frozenset({"decopilot"})
"""Harnesses that work in the control plane: what the others have, the sandbox has too."""


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


def command_of(harness: str, agent: AgentRow) -> Sequence[str]:
    """The program that a harness runs for the agent, if it runs one; `NoCommandError` without."""
    if harness != "acp":
        return ()
    if not agent.acp_command:
        raise NoCommandError(
            "This agent has no command of an agent that speaks the Agent Client Protocol",
            hint="Set its acp_command, such as `opencode acp` (`limpet acp AGENT COMMAND`).",
        )
    return shlex.split(agent.acp_command)
