"""What the acts on sandboxes share: the rows, the runner, the store, and who is told of changes."""

from collections.abc import Callable
from dataclasses import dataclass, field

from limpet.control.env_secrets import EnvSecrets
from limpet.control.sandboxes.daemons import Daemons
from limpet.control.sandboxes.events import EventHub, SandboxKey
from limpet.control.sandboxes.leases import Leases
from limpet.control.sandboxes.rows import SandboxRows
from limpet.control.sandboxes.template_builds import TemplateBuilds
from limpet.control.sandboxes.turns import Turns
from limpet.control.secrets import SecretBox
from limpet.control.settings import Settings
from limpet.control.templates import TemplateCatalog
from limpet.control.usage import OrgUsage
from limpet.errors import UnreachableError
from limpet.ids import handle_for
from limpet.runners.base import Runner, SandboxId
from limpet.snapshots.repository import BranchRef, SnapshotRepository


class ShuttingDownError(UnreachableError):
    """The server is ending and takes no new work."""

    code = "shutting_down"


@dataclass(slots=True)
class Parts:
    """Everything that start, save, stop, delete and restore work with.

    `lifecycle` is held by what starts, stops, deletes or restores a sandbox, `saves` by what
    reads a snapshot out of it; who needs both takes `lifecycle` first. `saving` are those with a
    save under way, `held` those that were restored and not configured yet, `stop_wanted` those
    whose start is to give up waiting. `on_change` is told of every change that users would see,
    `on_saved` of every snapshot that was taken of a running sandbox; neither may raise or wait.
    """

    rows: SandboxRows
    leases: Leases
    runner: Runner
    repository: SnapshotRepository
    settings: Settings
    templates: TemplateCatalog
    secrets: SecretBox
    env_secrets: EnvSecrets
    events: EventHub
    daemons: Daemons
    template_builds: TemplateBuilds
    usage: OrgUsage
    lifecycle: Turns[SandboxKey] = field(default_factory=Turns)
    saves: Turns[SandboxKey] = field(default_factory=Turns)
    saving: set[SandboxKey] = field(default_factory=set)
    held: set[SandboxKey] = field(default_factory=set)
    stop_wanted: set[SandboxKey] = field(default_factory=set)
    closing: bool = False
    on_change: Callable[[SandboxKey], None] = lambda _key: None
    on_saved: Callable[[SandboxKey], None] = lambda _key: None

    def refuse_when_closing(self) -> None:
        """Raise `ShuttingDownError` once the server has begun to end."""
        if self.closing:
            raise ShuttingDownError("The server is ending", hint="Try again when it is back.")

    def phase(self, key: SandboxKey, kind: str, **more: object) -> None:
        """Tell how far a start has come."""
        self.events.publish(key, "phase", {"kind": kind, **more})


def ref_of(key: SandboxKey) -> BranchRef:
    """The branch whose snapshots these are."""
    return BranchRef(key.org, key.agent, key.branch)


def sandbox_id(key: SandboxKey) -> SandboxId:
    """The sandbox as runners know it."""
    return SandboxId(key.org, key.agent, key.branch, handle_for(key.org, key.agent, key.branch))
