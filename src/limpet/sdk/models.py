"""What the API answers, as types. Every field is documented in the server's OpenAPI page."""

from typing import Any, Literal, NotRequired, TypedDict


class Layout(TypedDict):
    """How an agent's page opens."""

    default_main_view: NotRequired[Literal["preview", "chat", "terminal", "history", "settings"]]
    chat_side: NotRequired[Literal["left", "right", "none"]]


class Ui(TypedDict):
    """How an agent is shown."""

    layout: NotRequired[Layout]


class Metadata(TypedDict):
    """An agent's instructions, looks and source. `clone_url` never holds credentials."""

    instructions: str
    ui: Ui
    github_repo: dict[str, Any] | None
    clone_url: str | None
    clone_url_has_credentials: bool
    template: str | None
    start_command: str | None
    acp_command: str | None


EgressMode = Literal["open", "listed", "closed"]


class EgressChoice(TypedDict):
    """Where an agent's sandboxes shall be able to connect to."""

    mode: EgressMode
    hosts: NotRequired[list[str]]
    registries: NotRequired[bool]


class Egress(TypedDict):
    """Where an agent's sandboxes may connect to. `is_default`: as the operator has set it."""

    mode: EgressMode
    hosts: list[str]
    registries: bool
    is_default: bool


class Agent(TypedDict):
    """What a user talks to."""

    id: str
    org: str
    title: str
    description: str
    icon: str | None
    status: str
    pinned: bool
    metadata: Metadata
    egress: Egress
    default_branch: str
    thumbnail_at: str | None
    created_at: str
    updated_at: str


class Receipt(TypedDict):
    """What a save or a restore really did."""

    operation: Literal["save", "restore"]
    entries: int
    files: int
    bytes: int
    size_bytes: int
    blake3: str
    duration_ms: int
    complete: bool
    incomplete_because: list[str]
    skipped: list[dict[str, str]]
    torn: list[dict[str, str]]
    healed: list[dict[str, str]]
    ignored: list[dict[str, str]]
    dropped: dict[str, int]
    counts: dict[str, int]
    relocated: bool
    live: bool


class MadeFrom(TypedDict):
    """The snapshot whose content another one was given, by a fork or by going back."""

    agent_id: str
    branch: str
    snapshot_id: str


class TurnOf(TypedDict):
    """The turn of a thread that a snapshot shows the workspace before or after."""

    when: Literal["before", "after"]
    number: int
    thread: str
    run: str
    author: str
    commit: str | None


class Snapshot(TypedDict):
    """One immutable state of a workspace; a condemned one is kept after all by a name."""

    id: str
    agent_id: str
    branch: str
    lineage: str
    generation: int
    parent: str | None
    kind: str
    created_at: str
    reason: str
    name: str | None
    turn: TurnOf | None
    receipt: Receipt | None
    size_bytes: int
    stored_bytes: int
    is_head: bool
    side_reason: str | None
    adoptable: bool
    made_from: MadeFrom | None
    condemned_at: str | None
    condemned_because: Literal["retention", "deleted", "unnamed"] | None
    deleted_after: str | None


class SnapshotEntry(TypedDict):
    """A file, folder or link in a snapshot."""

    path: str
    type: Literal["file", "folder", "symlink", "hard-link"]
    size_bytes: int
    mode: str
    modified_at: str | None
    target: str | None
    secret: bool
    raw: str | None


class SnapshotFiles(TypedDict):
    """A folder's entries; `next` is the `after` of the next page."""

    snapshot: str
    path: str
    entries: list[SnapshotEntry]
    next: int | None


class SnapshotFile(TypedDict):
    """A part of a file: `text`, or `base64` of what is none."""

    entry: SnapshotEntry
    offset: int
    kind: Literal["text", "binary"]
    text: str | None
    base64: str | None
    truncated: bool


class SnapshotChange(TypedDict):
    """One difference between two snapshots."""

    kind: Literal["added", "removed", "changed", "renamed"]
    path: str
    old_path: str | None
    type: Literal["file", "folder", "symlink", "hard-link"]
    what: list[str]
    size_before: int | None
    size_after: int | None
    diff: str | None
    binary: bool


class SnapshotDiff(TypedDict):
    """What leads from `before` (None: nothing at all) to `after`."""

    before: str | None
    after: str
    added: int
    removed: int
    changed: int
    renamed: int
    changes: list[SnapshotChange]
    truncated: bool


class Problem(TypedDict):
    """Something that went wrong, and what to do about it."""

    code: str
    message: str
    hint: str


class RestoreOutcome(TypedDict):
    """What the last start did about the branch's snapshot."""

    outcome: str
    snapshot: str | None
    receipt: Receipt | None
    message: str


class Ended(TypedDict):
    """Why a sandbox does not run any more: `asked` for, `gone` by itself, or its start was
    `interrupted` by the server's end.
    """

    reason: Literal["asked", "gone", "interrupted"]
    at: str
    by: str | None
    through: Literal["session", "api-key"] | None


class Sandbox(TypedDict):
    """One computer: (org, agent, branch)."""

    handle: str
    agent_id: str
    agent_title: str
    branch: str
    state: str
    phase: str | None
    runner_kind: str
    isolation: str | None
    preview_url: str | None
    loopback_preview_url: str | None
    preview_access: Literal["link", "private"]
    detached: bool
    detached_reason: str | None
    unsaved: bool | None
    saving: bool
    last_save: Snapshot | None
    last_save_error: Problem | None
    side_snapshots: list[Snapshot]
    restore: RestoreOutcome | None
    last_error: Problem | None
    ended: Ended | None
    created_at: str
    started_at: str | None


class Started(TypedDict):
    """The answer of a start; `vmId` is the sandbox's handle."""

    previewUrl: str | None
    vmId: str
    branch: str
    isNewVm: bool
    runnerKind: str
    restore: RestoreOutcome | None


class Stopped(TypedDict):
    """The answer of a stop: the last save, if there was anything to save."""

    sandbox: Sandbox
    saved: Snapshot | None


class Deleted(TypedDict):
    """The answer of a delete."""

    success: bool
    saved: Snapshot | None


class Restored(TypedDict):
    """The answer of a roll-back: the new head, and what was there before."""

    head: Snapshot
    saved_first: Snapshot | None
    receipt: Receipt | None


class Forked(TypedDict):
    """The answer of a fork: the first snapshot of the branch, and whose branch it is."""

    agent: Agent
    branch: str
    is_new_agent: bool
    head: Snapshot


class ExecResult(TypedDict):
    """What a command printed and how it ended; -1 when the time-out killed it."""

    taskId: str | None
    stdout: str
    stderr: str
    exitCode: int | None
    truncated: bool
    status: NotRequired[str | None]


class Task(TypedDict):
    """One process of a sandbox."""

    id: str
    command: str
    status: str
    exitCode: int | None
    startedAt: int
    finishedAt: int | None
    logName: NotRequired[str | None]


class Logs(TypedDict):
    """The last part of each source's log."""

    sources: list[str]
    logs: dict[str, str]


class Template(TypedDict):
    """A bundled starting point."""

    name: str
    title: str
    description: str


class System(TypedDict):
    """What the server is."""

    version: str
    org: str
    user: str
    isolation: dict[str, str]
    runner: str
    store: dict[str, str]
    data_dir: str
    harnesses: list[str]
