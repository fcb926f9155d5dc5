"""What looking into snapshots takes and gives.

Paths are text. One that is not UTF-8 shows its other bytes as `\\xNN`, and its exact bytes come,
and are given, as base64 in `raw`.
"""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from limpet.control.operations.models import (
    AgentIdText,
    BranchText,
    SnapshotIdText,
)
from limpet.control.operations.shapes import Input, Output

MAX_LISTED = 10_000
MAX_READ_BYTES = 5 << 20
MAX_CHANGES = 5_000
PathText = Annotated[
    str, Field(max_length=8192, description="Relative to the workspace; empty for the workspace")
]
RawPath = Annotated[
    str | None,
    Field(default=None, max_length=16_384, description="The path's bytes as base64, instead"),
]
EntryType = Literal["file", "folder", "symlink", "hard-link"]


class SnapshotFiles(Input):
    """List a folder of a snapshot, or with `recursive` all below it. No sandbox is needed."""

    agent_id: AgentIdText
    snapshot_id: SnapshotIdText
    branch: BranchText | None = None
    path: PathText = ""
    raw: RawPath = None
    recursive: bool = False
    limit: int = Field(default=1000, ge=1, le=MAX_LISTED)
    after: int = Field(default=0, ge=0, description="How many entries to pass over")


class SnapshotEntry(Output):
    """A file, folder or link in a snapshot. `target` is a link's; `secret` warns of its name."""

    path: str
    type: EntryType
    size_bytes: int
    mode: str
    modified_at: datetime | None
    target: str | None = None
    secret: bool = False
    raw: str | None = None


class SnapshotFilesResult(Output):
    """A folder's entries, by name. `next` is the `after` of the next page, None on the last."""

    snapshot: str
    path: str
    entries: list[SnapshotEntry]
    next: int | None


class SnapshotRead(Input):
    """Read a file of a snapshot: text as text, anything else as base64."""

    agent_id: AgentIdText
    snapshot_id: SnapshotIdText
    branch: BranchText | None = None
    path: PathText
    raw: RawPath = None
    offset: int = Field(default=0, ge=0, description="Bytes to pass over")
    limit: int = Field(default=256 << 10, ge=1, le=MAX_READ_BYTES, description="Bytes at most")


class SnapshotReadResult(Output):
    """A part of a file. `truncated` when the file goes on after it."""

    entry: SnapshotEntry
    offset: int
    kind: Literal["text", "binary"]
    text: str | None = None
    base64: str | None = None
    truncated: bool


class SnapshotDiff(Input):
    """Compare a snapshot with another (its parent unless `other` is given), newer side first.

    `text` adds unified diffs of changed text files, `times` lists entries of which only the time
    differs, `expand` every file of folders that were added or removed whole.
    """

    agent_id: AgentIdText
    snapshot_id: SnapshotIdText
    branch: BranchText | None = None
    other: SnapshotIdText | None = None
    path: PathText = ""
    text: bool = False
    times: bool = False
    expand: bool = False


class SnapshotChange(Output):
    """One difference. `diff` is unified; `binary` says why there is none."""

    kind: Literal["added", "removed", "changed", "renamed"]
    path: str
    old_path: str | None = None
    type: EntryType
    what: list[str] = []
    size_before: int | None = None
    size_after: int | None = None
    diff: str | None = None
    binary: bool = False


class SnapshotDiffResult(Output):
    """What leads from `before` to `after`. `truncated` when there are more changes than fit."""

    before: str | None
    after: str
    added: int
    removed: int
    changed: int
    renamed: int
    changes: list[SnapshotChange]
    truncated: bool
