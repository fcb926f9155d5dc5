"""What the API takes and gives, as users see it: the schemas of OpenAPI and of the MCP tools."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, SecretStr, StringConstraints, model_validator

from limpet.control.operations.command_models import AcpCommandText, StartCommandText
from limpet.control.operations.egress_models import EgressChoice, EgressInfo
from limpet.control.operations.shapes import Input, Output
from limpet.control.preview_address import PreviewAccess
from limpet.snapshots.snapshot_names import MAX_NAME_LENGTH

Title = Annotated[str, Field(min_length=1, max_length=255)]
AgentIdText = Annotated[str, Field(min_length=1, max_length=64, description="The agent's id")]
HandleText = Annotated[str, Field(pattern=r"^[a-z0-9-]{1,48}$", description="The sandbox's handle")]
BranchText = Annotated[
    str, Field(min_length=1, max_length=200, description="Default: the agent's default branch")
]
SnapshotIdText = Annotated[str, Field(pattern=r"^[A-Za-z0-9-]{1,64}$")]
SnapshotNameText = Annotated[
    str,
    StringConstraints(
        strip_whitespace=True,
        min_length=1,
        max_length=MAX_NAME_LENGTH,
        pattern=r"^[^\x00-\x1f\x7f-\x9f\u2028\u2029]*$",
    ),
]


class Nothing(Input):
    """No input."""


class Ok(Output):
    """It is done."""

    ok: Literal[True] = True


# --- agents -----------------------------------------------------------------------------------


class Layout(Output):
    """How the agent's page opens."""

    model_config = ConfigDict(extra="forbid", from_attributes=True)
    default_main_view: Literal["preview", "chat", "terminal", "history", "settings"] = "chat"
    chat_side: Literal["left", "right", "none"] = "right"


class AgentUi(Output):
    """How the agent is shown."""

    model_config = ConfigDict(extra="forbid", from_attributes=True)
    layout: Layout = Layout()


class AgentMetadata(Output):
    """The agent's instructions, looks and source. `clone_url` never holds credentials."""

    instructions: str
    ui: AgentUi
    github_repo: dict[str, Any] | None = None
    clone_url: str | None
    clone_url_has_credentials: bool
    template: str | None
    start_command: str | None
    acp_command: str | None


class Agent(Output):
    """What a user talks to; a *virtual MCP* on the wire."""

    id: str
    org: str
    title: str
    description: str
    icon: str | None
    status: Literal["active", "inactive"]
    pinned: bool
    metadata: AgentMetadata
    egress: EgressInfo
    default_branch: str
    thumbnail_at: datetime | None = Field(
        default=None,
        description="When the picture at `.../thumbnail` was taken; null: there is none",
    )
    created_at: datetime
    updated_at: datetime


class AgentChoices(Input):
    """What may be said of an agent when it is made and later."""

    title: Title | None = None
    description: str | None = Field(default=None, max_length=10_000)
    icon: str | None = Field(default=None, max_length=100_000)
    instructions: str | None = Field(default=None, max_length=100_000)
    pinned: bool | None = None
    ui: AgentUi | None = None
    start_command: StartCommandText | None = None
    acp_command: AcpCommandText | None = None
    egress: EgressChoice | None = Field(
        default=None,
        description="Where its sandboxes may connect to, from their next start on; null: as the "
        "operator has set it",
    )


class AgentCreate(AgentChoices):
    """A new agent with one source (a bundled template or an https clone URL), or with none."""

    template: str | None = Field(default=None, max_length=64)
    clone_url: str | None = Field(default=None, description="https only; credentials are sealed")
    clone_username: str | None = Field(default=None, max_length=2048)
    clone_password: SecretStr | None = Field(default=None, max_length=2048)

    @model_validator(mode="after")
    def _one_source(self) -> "AgentCreate":
        if self.template is not None and self.clone_url is not None:
            raise ValueError("give a template or a clone_url, not both")
        if self.clone_url is None and (self.clone_username or self.clone_password):
            raise ValueError("clone credentials need a clone_url")
        return self


class AgentUpdate(AgentChoices):
    """What shall be different; fields that are left out stay.

    With `clone_username` or `clone_password` the source's credentials are replaced; the source
    itself stays, since a sandbox's work belongs to it.
    """

    agent_id: AgentIdText
    status: Literal["active", "inactive"] | None = None
    clone_username: str | None = Field(default=None, max_length=2048)
    clone_password: SecretStr | None = Field(default=None, max_length=2048)


class AgentRef(Input):
    """One agent."""

    agent_id: AgentIdText


class AgentList(Output):
    """All agents of the org, the pinned ones first, then the newest."""

    agents: list[Agent]


class TemplateInfo(Output):
    """A bundled starting point."""

    name: str
    title: str
    description: str


class TemplateList(Output):
    """All bundled templates."""

    templates: list[TemplateInfo]


# --- snapshots --------------------------------------------------------------------------------


class RemarkInfo(Output):
    """One path and what is to be said of it."""

    path: str
    reason: str


class ReceiptInfo(Output):
    """What one save or restore did; see limpet.snapshots.receipt."""

    operation: Literal["save", "restore"]
    entries: int
    files: int
    bytes: int
    size_bytes: int
    blake3: str
    duration_ms: int
    complete: bool
    incomplete_because: list[str]
    skipped: list[RemarkInfo]
    torn: list[RemarkInfo]
    healed: list[RemarkInfo]
    ignored: list[RemarkInfo]
    dropped: dict[str, int]
    counts: dict[str, int]
    relocated: bool
    live: bool


class MadeFromInfo(Output):
    """The snapshot whose content another one was given, by a fork or by going back."""

    agent_id: str
    branch: str
    snapshot_id: str


class TurnInfo(Output):
    """The workspace before or after a thread's turn; turns are counted from 1."""

    when: Literal["before", "after"]
    number: int
    thread: str
    run: str
    author: str
    commit: str | None
    """What the repository stood at."""


class Snapshot(Output):
    """One immutable state of a workspace. One that people *named* is kept until it is deleted."""

    id: str
    agent_id: str
    branch: str
    lineage: str
    generation: int
    parent: str | None
    kind: str
    created_at: datetime
    reason: str
    name: str | None
    turn: TurnInfo | None
    """The turn that named it, where no person did; the last of these are kept (`retention`)."""
    receipt: ReceiptInfo | None
    size_bytes: int
    stored_bytes: int
    """What the save put in the store; less than the size where most of it was there already."""
    is_head: bool
    """What a start would restore; of a side lineage its newest."""
    side_reason: str | None
    """Why it is on a side lineage."""
    adoptable: bool
    """The newest of a side lineage, and the main one never had its content: SNAPSHOT_RESTORE makes
    it the head."""
    made_from: MadeFromInfo | None
    condemned_at: datetime | None
    """Since when it is going to be deleted; giving it a name keeps it."""
    condemned_because: Literal["retention", "deleted", "unnamed"] | None
    deleted_after: datetime | None
    """When its bytes go, at the earliest."""


class SnapshotList(Output):
    """All snapshots of a branch, newest first, those of side lineages and condemned ones too."""

    snapshots: list[Snapshot]


class SnapshotSave(Input):
    """Save the branch's sandbox now."""

    agent_id: AgentIdText
    branch: BranchText | None = None
    name: SnapshotNameText | None = None


class SnapshotsOf(Input):
    """The snapshots of one branch of an agent."""

    agent_id: AgentIdText
    branch: BranchText | None = None


class SnapshotRef(Input):
    """One snapshot of a branch of an agent."""

    agent_id: AgentIdText
    snapshot_id: SnapshotIdText
    branch: BranchText | None = None


class SnapshotRestore(Input):
    """Make a snapshot the present, and the head; the present state is saved first.

    Of a side lineage's snapshot the same: this adopts it.
    """

    agent_id: AgentIdText
    snapshot_id: SnapshotIdText
    branch: BranchText | None = None


class Restored(Output):
    """`head` is the branch's new head; `saved_first` is what was there before."""

    head: Snapshot
    saved_first: Snapshot | None
    receipt: ReceiptInfo | None


class NewAgentOfFork(Input):
    """A copy of the agent's settings, with a default branch of its own."""

    title: Title | None = Field(default=None, description="Default: the agent's own, and '(fork)'")


class SnapshotFork(Input):
    """Let another branch begin with a snapshot: of the same agent, of another, or of a new one.

    Where the branch is left out a name is made up. A branch that has snapshots already, a sandbox
    that is up, or that is another agent's default one, is refused.
    """

    agent_id: AgentIdText
    snapshot_id: SnapshotIdText
    branch: BranchText | None = None
    to_agent_id: AgentIdText | None = None
    new_agent: NewAgentOfFork | None = None
    to_branch: str | None = Field(
        default=None, min_length=1, max_length=200, description="Default: a name that is made up"
    )
    name: SnapshotNameText | None = Field(default=None, description="What to call the new snapshot")

    @model_validator(mode="after")
    def _one_agent(self) -> "SnapshotFork":
        if self.to_agent_id is not None and self.new_agent is not None:
            raise ValueError("give to_agent_id or new_agent, not both")
        return self


class SnapshotForked(Output):
    """`head` is the first snapshot of the branch; the next start there restores it."""

    agent: Agent
    branch: str
    is_new_agent: bool
    head: Snapshot


class SnapshotName(Input):
    """Give a snapshot a name, change it, or take it away (null).

    A named snapshot is kept until it is deleted; naming one that is condemned keeps it after all.
    """

    agent_id: AgentIdText
    snapshot_id: SnapshotIdText
    branch: BranchText | None = None
    name: SnapshotNameText | None


class SnapshotDelete(Input):
    """Delete a snapshot: its name goes at once, its bytes 24 hours later at the earliest.

    Until then it can be looked at, gone back to and forked, and giving it a name keeps it. The head
    of the branch, and what a sandbox grew from, are refused.
    """

    agent_id: AgentIdText
    snapshot_id: SnapshotIdText
    branch: BranchText | None = None


# --- sandboxes --------------------------------------------------------------------------------


class Problem(Output):
    """Something that went wrong, and what to do about it."""

    code: str
    message: str
    hint: str = ""


class RestoreOutcome(Output):
    """What the last start did about the branch's snapshot."""

    outcome: Literal[
        "none",
        "restored",
        "kept",
        "damaged-used-older",
        "damaged-none",
        "store-unreachable",
        "failed",
        "without-snapshot",
        "template",
    ]
    snapshot: str | None = None
    receipt: ReceiptInfo | None = None
    message: str = ""


class EndInfo(Output):
    """Why a sandbox does not run any more.

    `asked`: somebody wanted it, `by` whom, from a browser (`session`) or with an `api-key`; `gone`:
    it was killed, evicted, or its machine went down; `interrupted`: the server ended in the middle
    of its start.
    """

    reason: Literal["asked", "gone", "interrupted"]
    at: datetime
    by: str | None = None
    through: Literal["session", "api-key"] | None = None


class Sandbox(Output):
    """One computer: (org, agent, branch).

    `ended` is null while it runs, where it never ran, and where its start failed (`last_error`).
    """

    handle: str
    agent_id: str
    agent_title: str
    branch: str
    state: Literal["stopped", "starting", "running", "stopping", "failed"]
    phase: str | None
    runner_kind: str
    isolation: str | None
    preview_url: str | None
    loopback_preview_url: str | None
    preview_access: PreviewAccess
    detached: bool
    detached_reason: str | None
    unsaved: bool | None
    saving: bool
    last_save: Snapshot | None
    last_save_error: Problem | None
    side_snapshots: list[Snapshot]
    restore: RestoreOutcome | None
    last_error: Problem | None
    ended: EndInfo | None
    created_at: datetime
    started_at: datetime | None


class SandboxList(Output):
    """Sandboxes, the newest first."""

    sandboxes: list[Sandbox]


class SandboxFilter(Input):
    """Which sandboxes."""

    agent_id: AgentIdText | None = None


class SandboxRef(Input):
    """One sandbox."""

    handle: HandleText


class SandboxStop(Input):
    """End a sandbox's processes after a last save; its files stay. `force`: also if that fails."""

    handle: HandleText
    force: bool = False


class SandboxStopped(Output):
    """`saved` is the last save, if there was anything to save."""

    sandbox: Sandbox
    saved: Snapshot | None


class SandboxExec(Input):
    """Run a shell command in the sandbox's repository."""

    handle: HandleText
    command: str = Field(min_length=1, max_length=1_000_000)
    timeout_ms: int | None = Field(default=None, ge=1, le=900_000)
    cwd: str | None = Field(default=None, max_length=4096)
    env: dict[str, str] | None = None
    mode: Literal["await", "background"] | None = None


class SandboxExecResult(Output):
    """`exitCode` is -1 when the time-out killed the command; a background one has a `status`."""

    model_config = ConfigDict(extra="allow", from_attributes=True)
    taskId: str | None = None  # noqa: N815 - the daemon's own names
    stdout: str = ""
    stderr: str = ""
    exitCode: int | None = None  # noqa: N815
    truncated: bool = False
    status: str | None = None


class SandboxLogs(Input):
    """The logs of a sandbox; all sources, or one."""

    handle: HandleText
    source: str | None = Field(default=None, max_length=255)


class SandboxLogsResult(Output):
    """`logs` holds the last part of each source."""

    sources: list[str]
    logs: dict[str, str]


class VmStart(Input):
    """Start the sandbox of (agent, branch), or find it running; two callers get the same one."""

    virtualMcpId: AgentIdText  # noqa: N815 - names that other people's clients rely on
    branch: BranchText | None = None
    hold: Literal["restored"] | None = Field(
        default=None, description="'restored': stop after the restore, before anything runs"
    )
    withoutSnapshot: bool = Field(  # noqa: N815
        default=False, description="Start detached when the store cannot be reached"
    )


class VmStarted(Output):
    """`vmId` is the sandbox's handle."""

    previewUrl: str | None  # noqa: N815
    vmId: str  # noqa: N815
    branch: str
    isNewVm: bool  # noqa: N815
    runnerKind: str  # noqa: N815
    restore: RestoreOutcome | None


class VmDelete(Input):
    """Delete the sandbox of (agent, branch) after a last save; its snapshots stay."""

    virtualMcpId: AgentIdText  # noqa: N815
    branch: BranchText | None = None
    force: bool = False


class VmDeleted(Output):
    """`saved` is the last save, if there was anything to save."""

    success: Literal[True] = True
    saved: Snapshot | None
