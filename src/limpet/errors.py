"""The errors of Limpet: one small tree, each with a stable code and what to do about it.

A library's exception is translated into one of these where it is understood. Knows nothing of
HTTP beyond the status number that a route answers with, and nothing of the shell beyond the exit
code that the command line ends with.
"""

from typing import ClassVar


class LimpetError(Exception):
    """Something went wrong in a way that we can name.

    `code` is stable and machine-readable, `status` the HTTP status, `exit_code` what the command
    line ends with. `hint` says what the reader can do, in one sentence, or is empty.
    """

    code: ClassVar[str] = "internal"
    status: ClassVar[int] = 500
    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def as_dict(self) -> dict[str, str]:
        """The JSON body that every route of the control plane gives for this error."""
        return {"code": self.code, "message": self.message, "hint": self.hint}


class InvalidInputError(LimpetError):
    """What the caller gave is malformed, too large, or not allowed."""

    code = "invalid"
    status = 400
    exit_code = 2


class NotFoundError(LimpetError):
    """The thing named does not exist, or is not the caller's."""

    code = "not_found"
    status = 404
    exit_code = 4


class ConflictError(LimpetError):
    """The thing is in a state that does not allow this now."""

    code = "conflict"
    status = 409
    exit_code = 5


class FencedError(ConflictError):
    """A newer owner has taken over; this one may not move the head any more."""

    code = "fenced"


class UnauthorizedError(LimpetError):
    """No credentials, or wrong ones."""

    code = "unauthorized"
    status = 401
    exit_code = 3


class ForbiddenError(LimpetError):
    """Known caller, but not allowed."""

    code = "forbidden"
    status = 403


class UnreachableError(LimpetError):
    """Something that must answer did not."""

    code = "unreachable"
    status = 503
    exit_code = 3


class StoreUnavailableError(UnreachableError):
    """The blob store cannot be reached or answers with errors."""

    code = "store_unreachable"


class PreconditionFailedError(ConflictError):
    """A conditional put found the key in another state than the caller expected."""

    code = "precondition_failed"


class SnapshotDamagedError(LimpetError):
    """A stored snapshot is cut off, changed or missing parts; nothing of it was used."""

    code = "snapshot_damaged"
    status = 422
    exit_code = 6


class TarDamagedError(SnapshotDamagedError):
    """A tar is cut off, malformed, or does not match its own digest."""

    code = "tar_damaged"


class TarUnsafeError(InvalidInputError):
    """A tar holds a name, link or entry that could reach outside, or breaks a limit."""

    code = "tar_unsafe"


class NotEnoughSpaceError(LimpetError):
    """The file system has too little room for what was asked."""

    code = "no_space"
    status = 507


class DaemonUnreachableError(UnreachableError):
    """The sandbox's daemon does not answer."""

    code = "daemon_unreachable"


class DaemonError(LimpetError):
    """The daemon answered with an error; `daemon_status` is its HTTP status."""

    code = "daemon_error"
    status = 502

    def __init__(self, message: str, *, daemon_status: int, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.daemon_status = daemon_status


class RunnerError(LimpetError):
    """A sandbox could not be provisioned or ended."""

    code = "runner_failed"
    status = 502
