"""A warm restore: an older or newer workspace becomes the snapshot, in time by what differs.

    plan    compare the workspace with the snapshot's trees; what is new is begun beside it
    fetch   fill in what no file of this machine holds; the workspace runs on meanwhile
    apply   with every process stopped: look again, then move things out and in under a journal

The workspace is the old state or the new one at any moment, a crash included
(`limpet.snapshots.patch_journal`). Who calls deletes the plan's `trash` afterwards.
"""

import contextlib
import os
import secrets
import stat
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from limpet.errors import ConflictError, InvalidInputError
from limpet.snapshots.blobs import BlobHash
from limpet.snapshots.faults import reach
from limpet.snapshots.incoming import Incoming
from limpet.snapshots.judge import RestoreLimits
from limpet.snapshots.node import Root
from limpet.snapshots.patch_compare import Comparing, compare, moved_on
from limpet.snapshots.patch_items import Items
from limpet.snapshots.patch_journal import do_patch
from limpet.snapshots.patch_steps import Out, PatchSteps
from limpet.snapshots.patch_verify import Verified
from limpet.snapshots.present import Present, look
from limpet.snapshots.receipt import Receipt
from limpet.snapshots.restore_tables import ROOT
from limpet.snapshots.root import SandboxRoot
from limpet.snapshots.space import full_error, is_full
from limpet.snapshots.statcache import StatCaches
from limpet.snapshots.survey import open_workspace
from limpet.snapshots.tar_format import Progress
from limpet.snapshots.tree import NOT_SAVED, delete_tree
from limpet.snapshots.trees import TreeBlobs


class PatchPlan:
    """What a patch would do. Made by `plan_patch`; good for one `apply_patch`.

    `needs` are the data blobs that this machine does not have; `changed`, `removed` and `added`
    count entries, a folder that comes or goes as one; `bytes` are those of all files that are made.
    """

    def __init__(
        self,
        workspace: Path,
        incoming: Incoming,
        root: Root,
        caches: StatCaches,
        items: Items,
        limits: RestoreLimits,
    ) -> None:
        self.workspace = workspace
        self.root = root
        self.trees: TreeBlobs = incoming.trees
        self.caches = caches
        self.items = items
        self.limits = limits
        self.entries = incoming.claimed_entries
        self.total_bytes = incoming.claimed_bytes
        self.present_digest = ""
        self.needs: frozenset[BlobHash] = frozenset()
        self.needs_bytes = 0
        self.bytes = 0
        self.changed = self.removed = self.added = 0
        self.undo: Path | None = None

    @property
    def worthwhile(self) -> bool:
        """Whether at most half of the bytes are to be made; else a cold restore is as good."""
        return 2 * self.bytes <= self.total_bytes or not self.bytes

    @property
    def whole(self) -> bool:
        """Whether everything is there that `apply_patch` needs."""
        return self.items.whole

    @property
    def trash(self) -> tuple[Path, ...]:
        """What is to be deleted when the plan was applied, or given up."""
        return (self.items.folder, *([self.undo] if self.undo is not None else []))


def plan_patch(
    workspace: Path,
    chunks: Iterable[bytes],
    *,
    caches: StatCaches,
    plan_folder: Path,
    base: str | None = None,
    expect_root: str | None = None,
    limits: RestoreLimits | None = None,
) -> PatchPlan:
    """Compare the workspace with the snapshot of a `plan` stream; it may be in use meanwhile.

    `plan_folder` must not exist, its parent is the sandbox's staging folder; when the plan is
    worthwhile, what is new is begun in it, from files of the workspace as far as they go. `base` is
    the root digest of the state whose stat cache fits best. Raises what `restore_stream` does, and
    `ConflictError` when something in the workspace cannot be read; then `plan_folder` is gone.
    """
    limits = limits or RestoreLimits()
    incoming = Incoming(chunks, "plan", limits)
    root = incoming.read_trees(expect_root)
    incoming.read_data(_refuse)
    items = Items(plan_folder, incoming.trees, limits)
    plan = PatchPlan(workspace, incoming, root, caches, items, limits)
    with _cleaning(plan), look(workspace, caches, base) as present:
        plan.present_digest = present.root.digest
        comparing = compare(present, root, incoming.trees, limits)
        items.gather(comparing)
        _count(plan, comparing)
        if not plan.worthwhile:
            return plan
        items.make()
        workspace_fd = open_workspace(workspace)
        try:
            items.copy_from(present, workspace_fd)
        finally:
            os.close(workspace_fd)
        reach("patch-planned")
        files = items.tree.files
        plan.needs, plan.needs_bytes = frozenset(files.wanted()), files.wanted_bytes()
        if not plan.needs:
            items.finish()
    return plan


def fetch(plan: PatchPlan, chunks: Iterable[bytes], *, on_progress: Progress | None = None) -> None:
    """Take what the plan needs from a `restore` stream of the same snapshot, and more if it comes.

    Verified and on disk when this returns; the workspace may be in use. Raises what
    `restore_stream` does; then the plan folder is gone.
    """
    if plan.whole:
        raise InvalidInputError("The patch has everything already.")
    incoming = Incoming(chunks, "restore", plan.limits, on_progress)
    with _cleaning(plan):
        incoming.read_trees(plan.root.digest, keep=False)
        plan.items.fill(incoming.read_data)
        reach("patch-filled")
        plan.items.finish()
        reach("patch-fetched")


def apply_patch(root: SandboxRoot, plan: PatchPlan) -> Receipt:
    """Make the workspace the plan's snapshot; every process of the sandbox must be stopped.

    Blocks until it is on disk. Raises `ConflictError` when the workspace has changed so much since
    the plan that something is missing, or `OSError`; then it is as it was.
    """
    started = time.monotonic()
    items = plan.items
    if not plan.whole:
        raise ConflictError("The patch is not complete: fetch what it needs first.")
    if items.folder.parent.resolve() != root.staging.resolve():
        raise ConflictError(f"{items.folder} does not lie in the staging folder.")
    workspace_fd = open_workspace(root.workspace)
    try:
        with look(root.workspace, plan.caches, plan.present_digest) as present:
            comparing = compare(present, plan.root, plan.trees, plan.limits, items.numbers)
            steps = _steps(root, plan, comparing)
            verified = Verified(plan.root, plan.trees, workspace_fd)
            plan.undo = root.staging / steps.undo
            do_patch(root, steps, lambda: verified.verify(comparing.result))
            seeded = _seeded(verified, present, comparing, plan.caches)
    except OSError as error:
        raise (full_error(error) if is_full(error) else error) from error
    finally:
        os.close(workspace_fd)
    return Receipt(
        "restore",
        entries=plan.entries,
        files=verified.files,
        bytes=verified.bytes,
        blake3=plan.root.digest,
        duration_ms=int((time.monotonic() - started) * 1000),
        complete=True,
        counts=_counts(plan, seeded=seeded),
        live=False,
    )


def _seeded(verified: Verified, present: Present, comparing: Comparing, caches: StatCaches) -> bool:
    """Write the stat cache; False when that cannot be: the next save reads everything then."""
    try:
        verified.write_cache(present, comparing, caches)
    except OSError:
        verified.count(present, comparing)
        return False
    return True


def _steps(root: SandboxRoot, plan: PatchPlan, comparing: Comparing) -> PatchSteps:
    result = comparing.result
    steps = PatchSteps(
        plan=plan.items.folder.name,
        undo=f"old-{secrets.token_hex(8)}",
        folders=result.folders,
        # Folders first: one of an overlay's lower layer cannot be renamed (EXDEV), and then no file
        # was touched yet.
        outs=sorted(result.outs, key=lambda out: out.old_mode < 0),
        relooked=list(result.relooked.values()),
    )
    for new in result.news.values():
        number = plan.items.numbers.get(new.path)
        if number is None:
            raise moved_on(new.path)
        steps.add_in(new.folder, new.entry, number)
    for name in NOT_SAVED:
        with contextlib.suppress(FileNotFoundError):
            status = (root.workspace / name).lstat()
            mode = stat.S_IMODE(status.st_mode) if stat.S_ISDIR(status.st_mode) else -1
            steps.outs.append(Out(ROOT, os.fsencode(name), mode, status.st_mtime_ns))
    return steps


def _count(plan: PatchPlan, comparing: Comparing) -> None:
    result = comparing.result
    replaced = sum(new.replaces for new in result.news.values())
    plan.added = len(result.news) - replaced
    plan.changed = replaced + len(result.relooked)
    plan.removed = result.removed
    plan.bytes = plan.items.tree.data_bytes


def _counts(plan: PatchPlan, *, seeded: bool) -> dict[str, int]:
    found = {
        "changed": plan.changed,
        "removed": plan.removed,
        "added": plan.added,
        "unseeded": int(not seeded),
    }
    return {what: number for what, number in found.items() if number}


def _refuse(_frame: bytes) -> None:
    raise InvalidInputError("A plan holds no data.")


@contextlib.contextmanager
def _cleaning(plan: PatchPlan) -> Iterator[None]:
    """Leave nothing of a plan that failed."""
    try:
        yield
    except BaseException as error:
        with contextlib.suppress(OSError):
            delete_tree(plan.items.folder)
        if isinstance(error, OSError) and is_full(error):
            raise full_error(error) from error
        raise
