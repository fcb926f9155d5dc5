"""What names a thread and a run, and the errors that speak of them. Pure."""

from dataclasses import dataclass

from limpet.errors import ConflictError, ForbiddenError, InvalidInputError, NotFoundError
from limpet.ids import OrgId


@dataclass(frozen=True, slots=True)
class ThreadKey:
    """One thread of one org."""

    org: OrgId
    thread: str


@dataclass(frozen=True, slots=True)
class RunKey:
    """One run of a thread."""

    thread: ThreadKey
    run: str


class NotYoursError(ForbiddenError):
    """Only a thread's owner writes to it."""

    code = "not_yours"


class RunningError(ConflictError):
    """A run goes on in the thread, or another one works on its branch."""

    code = "running"


class NoModelError(InvalidInputError):
    """There is no model to answer with."""

    code = "no_model"


class NoCommandError(InvalidInputError):
    """The harness runs a program of the agent's, and none is named."""

    code = "no_acp_command"


class ThreadGoneError(NotFoundError):
    """There is no such thread."""


def no_thread(thread: str) -> ThreadGoneError:
    """The error of a thread that is not there, or is another org's."""
    return ThreadGoneError(f"There is no thread {thread[:80]!r}", hint="`limpet threads ls`.")
