"""What a runner of daemons needs of the place that its sandboxes live in: processes, containers.

A backend starts, ends and finds; it is never asked two things of one handle at once, but for
`lives`, `adopted` and `log_tail`. Slots, locks, health, config and adoption are
`limpet.runners.daemons`' business.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from limpet.ids import BootId, Handle
from limpet.runners.base import Isolation, IsolationKind, RunnerKind, SandboxId
from limpet.runners.egress import EgressPolicy


class DaemonRecord(Protocol):
    """One daemon, as a runner remembers it across restarts of the control plane."""

    @property
    def handle(self) -> Handle: ...

    @property
    def url(self) -> str: ...

    @property
    def token(self) -> str: ...

    @property
    def boot_id(self) -> BootId: ...

    @property
    def isolation(self) -> IsolationKind: ...

    def as_dict(self) -> dict[str, object]:
        """Plain JSON types. Holds the token: it goes into sealed state alone."""
        ...


RecordT = TypeVar("RecordT", bound=DaemonRecord)
Keep = Callable[[RecordT], Awaitable[None]]
Finish = Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Start:
    """One daemon to be started. `progress` is told of steps that take long."""

    sandbox: SandboxId
    boot_id: BootId
    token: str = field(repr=False)
    egress: EgressPolicy
    progress: Callable[[str], None]


class Backend(Protocol[RecordT]):
    """Where the daemons of one runner live. Failures raise `RunnerError`."""

    @property
    def kind(self) -> RunnerKind: ...

    @property
    def isolation(self) -> Isolation:
        """How far new sandboxes are kept apart."""
        ...

    async def runtime(self) -> str:
        """What sandboxes run apps with; empty when that is not known."""
        ...

    def record(self, handle: Handle, value: Mapping[str, object]) -> RecordT | None:
        """The record whose `as_dict` gave `value`; None when it is not sound."""
        ...

    async def start(self, start: Start, keep: Keep[RecordT]) -> RecordT:
        """A daemon that was started; it need not answer yet.

        `keep` is awaited as soon as the daemon can be found again by its record and before it gets
        its token: a control plane that is killed at any point leaves none that nobody knows. When
        this raises, `end` is called.
        """
        ...

    async def exit_code(self, handle: Handle) -> int | None:
        """How the daemon that `start` gave has ended; None while it runs."""
        ...

    async def lives(self, record: RecordT) -> bool:
        """Whether the very daemon of the record still runs."""
        ...

    async def adopted(self, record: RecordT) -> None:
        """Take up a daemon that an earlier control plane started."""
        ...

    async def log_tail(self, handle: Handle) -> str:
        """The end of what the daemon has said; empty when it said nothing."""
        ...

    async def memory_bytes(self, record: RecordT) -> int | None:
        """What all processes of the sandbox hold; None where that cannot be told."""
        ...

    async def end(self, handle: Handle, record: RecordT | None, *, grace_s: float) -> None:
        """End all that runs of the sandbox; without a record, whatever can be found of it.

        The daemon gets `grace_s` seconds to end by itself. Nothing there is no error.
        """
        ...

    async def forget(self, handle: Handle) -> None:
        """Drop what was kept beside the state to find the sandbox's processes. It has ended."""
        ...

    async def set_aside(self, handle: Handle) -> Finish:
        """Take away the files of a sandbox that has ended; what it gives deletes them for good.

        Until that has run they may lie elsewhere, where the next start does not find them.
        """
        ...

    async def sweep(self, known: Mapping[Handle, RecordT]) -> set[Handle]:
        """End and delete what earlier control planes left and that is not `known`; its handles."""
        ...

    async def close(self) -> None:
        """Let go of connections and descriptors; sandboxes run on."""
        ...
