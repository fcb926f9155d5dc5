"""What every runner does, and what flows in and out of it."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, Protocol

from limpet.ids import AgentId, BootId, Branch, Handle, OrgId
from limpet.runners.egress import EgressPolicy

RunnerKind = Literal["host", "docker", "agent-sandbox", "freestyle"]
IsolationKind = Literal["bubblewrap", "container", "none"]
NetworkKind = Literal["own", "shared"]


@dataclass(frozen=True, slots=True)
class Isolation:
    """How far sandboxes are kept apart, and in words why not further (empty when they are).

    `network` is `own` when none reaches another's ports or this machine's. `limits` tells, a line
    each, what one may take of the machine; `missing`, what could be had on another machine.
    """

    kind: IsolationKind
    reason: str = ""
    network: NetworkKind = "shared"
    limits: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SandboxId:
    """The identity of a sandbox: the same triple gives the same handle everywhere.

    A `transient` one ends with the control plane that started it: none after it adopts it.
    """

    org: OrgId
    agent: AgentId
    branch: Branch
    handle: Handle
    transient: bool = False


@dataclass(frozen=True, slots=True)
class Repo:
    """What a daemon clones. `clone_url` may carry credentials: never log it."""

    clone_url: str
    branch: str | None
    user_name: str
    user_email: str
    display_name: str


@dataclass(frozen=True, slots=True)
class Workload:
    """What is known of the app beforehand; None where the daemon shall find out.

    `start_command` is a shell's command, run in the app's folder.
    """

    runtime: str | None = None
    package_manager: str | None = None
    dev_port: int | None = None
    path: str | None = None
    start_command: str | None = None


DaemonReady = Callable[[str, str], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class EnsureOptions:
    """How a sandbox is provisioned.

    `on_daemon_ready(daemon_url, daemon_token)` is awaited in every `ensure` that has it, after the
    daemon's health and before its config is posted: on a fresh provision, an adoption and a
    sandbox that runs already alike (the callback can tell by the daemon's origin). What it raises
    is logged and swallowed. It may call `find` and `proxy_daemon_request` for its sandbox, and
    neither `ensure`, `stop` nor `delete`, which wait for it. Without `hold` the config is posted
    then, however little is in it: it lets a held sandbox go on. `progress` is told of each step.
    """

    repo: Repo | None = None
    begin_branch: str | None = None
    """A branch that a repository which is there begins as it is, unless it has it."""
    workload: Workload = field(default_factory=Workload)
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    egress: EgressPolicy = field(default_factory=EgressPolicy)
    """For a sandbox that this call starts: one that runs keeps its own until it is started anew."""
    on_daemon_ready: DaemonReady | None = None
    hold: bool = False
    progress: Callable[[str], None] | None = None


@dataclass(frozen=True, slots=True)
class Provisioned:
    """A sandbox whose daemon answers. `is_new` when it was started by this call."""

    handle: Handle
    daemon_url: str
    daemon_token: str
    boot_id: BootId
    is_new: bool
    isolation: Isolation


class DaemonResponse(NamedTuple):
    """A daemon's streamed answer. `headers` compares names without case."""

    status: int
    headers: Mapping[str, str]
    body: AsyncIterator[bytes]


class RunnerState(Protocol):
    """Where a runner keeps what it must know after a restart; values are sealed by the owner."""

    async def get(self, handle: Handle) -> dict[str, object] | None: ...
    async def put(self, sandbox: SandboxId, value: dict[str, object]) -> None: ...
    async def delete(self, handle: Handle) -> None: ...
    async def list(self) -> list[tuple[Handle, dict[str, object]]]: ...


class Runner(Protocol):
    """Provisions sandboxes. Failures raise `RunnerError`."""

    @property
    def kind(self) -> RunnerKind: ...

    @property
    def isolation(self) -> Isolation: ...

    async def runtime(self) -> str:
        """What its sandboxes run apps with, such as `node v22.1.0`: installed packages rely on it.

        Empty when that is not known.
        """
        ...

    async def ensure(self, sandbox: SandboxId, options: EnsureOptions) -> Provisioned:
        """The sandbox, started or adopted; two callers at once get the same one."""
        ...

    async def stop(self, handle: Handle) -> None:
        """End every process of the sandbox; its files stay. Nothing there is no error."""
        ...

    async def delete(self, handle: Handle) -> None:
        """End every process of the sandbox and delete its files. Nothing there is no error."""
        ...

    async def alive(self, handle: Handle) -> bool:
        """Whether the sandbox's daemon answers."""
        ...

    async def find(self, handle: Handle) -> Provisioned | None:
        """The sandbox if its daemon answers, adopted when it survived a restart of ours."""
        ...

    async def memory_bytes(self, handle: Handle) -> int | None:
        """What all processes of the sandbox hold; None where none run, or that cannot be told."""
        ...

    def proxy_daemon_request(
        self,
        handle: Handle,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | AsyncIterator[bytes] | None = None,
    ) -> AbstractAsyncContextManager[DaemonResponse]:
        """One request to the daemon with its token; the answer streams."""
        ...

    async def close(self) -> None:
        """Let go of connections; sandboxes run on."""
        ...
