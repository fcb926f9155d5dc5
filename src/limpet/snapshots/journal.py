"""The swap of a workspace that cannot be renamed: entry by entry, under a write-ahead journal.

Phases, each written to disk before its first step; every step can be done again:

    out       what is in the workspace goes to staging/old-<id>
    in        what was restored goes into the workspace; anything met there goes aside first
    back-in   after a failure in `in`: what is in the workspace goes back to staging
    back-out  after a failure: what is in staging/old-<id> comes back

A crash in `out` or `in` is rolled forward (the restored tree was whole and on disk before `out`),
one in `back-*` goes on going back. A folder of an overlay's lower layer cannot be renamed (EXDEV):
it is made again at its destination and its entries follow one by one.
"""

import contextlib
import errno
import json
import os
import stat
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final, Literal

from limpet.errors import ConflictError
from limpet.snapshots.durable import write_durably
from limpet.snapshots.faults import reach
from limpet.snapshots.kernel import mount_of, sync_file_system, sync_folder
from limpet.snapshots.root import SandboxRoot
from limpet.snapshots.tree import NOT_SAVED, OPEN_FOLDER, RESERVED, delete_tree, walk

Phase = Literal["out", "in", "back-in", "back-out"]
JOURNAL_STEPS: Final = (
    "journal-begun", "journal-out", "journal-out-entry", "journal-deep-entry", "journal-out-synced",
    "journal-in", "journal-in-entry", "journal-in-synced",
)  # fmt: skip
BACK_STEPS: Final = ("journal-back-in", "journal-back-out", "journal-back-entry")
_MERGE: Final = frozenset({errno.EXDEV, errno.ENOTEMPTY, errno.EEXIST})
_ASIDE_TRIES: Final = 20


@dataclass(frozen=True, slots=True)
class Journal:
    """What is on disk while entries move. Names are in the root's staging folder."""

    phase: Phase
    staged: str
    old: str
    old_looks: tuple[int, int]
    """Mode and mtime (ns) of the workspace folder as it was, and below as it shall be."""
    new_looks: tuple[int, int]
    kind: Literal["entries"] = "entries"


def write_journal(root: SandboxRoot, content: dict[str, object]) -> None:
    """Replace the journal in one step, on disk when this returns."""
    write_durably(root.journal, json.dumps(content).encode())


def read_journal(root: SandboxRoot) -> dict[str, object] | None:
    """The journal of a swap that was cut off, or None."""
    try:
        content = json.loads(root.journal.read_bytes())
    except FileNotFoundError:
        return None
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}


def end_journal(root: SandboxRoot) -> None:
    """The swap is over."""
    root.journal.unlink(missing_ok=True)
    sync_folder(root.state)
    _attributes(root).unlink(missing_ok=True)


def swap_entries(root: SandboxRoot, staged: Path, old: Path) -> None:
    """Put the entries of `staged` into the workspace, the old ones into `old`.

    An error half way puts everything back and is raised; `ConflictError` before anything was
    touched when an entry is a mount point or `staged` lies on another file system.
    """
    _check(root, staged)
    reach("journal-begun")
    old.mkdir(mode=0o700)
    sync_folder(root.staging)
    journal = Journal("out", staged.name, old.name, _looks(root.workspace), _looks(staged))
    passed = [journal]
    try:
        write_journal(root, asdict(journal))
        _forward(root, journal, passed)
    except (OSError, ConflictError):
        _backward(root, passed[-1])
        raise


def recover_entries(root: SandboxRoot, content: dict[str, object]) -> Literal["forward", "back"]:
    """Finish what a crash cut off."""
    journal = Journal(**content)  # type: ignore[arg-type]
    if journal.phase in {"out", "in"}:
        _forward(root, journal, [])
        return "forward"
    _backward(root, journal)
    return "back"


def _check(root: SandboxRoot, staged: Path) -> None:
    here = mount_of(root.workspace)
    if mount_of(staged) != here:
        raise ConflictError("What was restored lies on another file system than the workspace.")
    for entry in os.scandir(root.workspace):
        if entry.name in NOT_SAVED or not entry.is_dir(follow_symlinks=False):
            continue
        if mount_of(Path(entry.path)) != here:
            raise ConflictError(
                f"{entry.name!r} in the workspace is a mount point and cannot be replaced.",
                hint="Unmount it, or mount it outside the workspace.",
            )


def _forward(root: SandboxRoot, journal: Journal, passed: list[Journal]) -> None:
    staged, old = root.staging / journal.staged, root.staging / journal.old
    if journal.phase == "out":
        reach("journal-out")
        for name in _entries(root.workspace):
            _move(root, name, root.workspace, old)
            reach("journal-out-entry")
        _sync(root.workspace, old)
        reach("journal-out-synced")
        journal = replace(journal, phase="in")
        write_journal(root, asdict(journal))
        passed.append(journal)
    reach("journal-in")
    for name in _entries(staged):
        _place(name, staged, root.workspace, old)
        reach("journal-in-entry")
    _set_looks(root.workspace, journal.new_looks)
    sync_file_system(root.workspace)
    reach("journal-in-synced")
    end_journal(root)


def _backward(root: SandboxRoot, journal: Journal) -> None:
    staged, old = root.staging / journal.staged, root.staging / journal.old
    if journal.phase in {"in", "back-in"}:
        journal = replace(journal, phase="back-in")
        write_journal(root, asdict(journal))
        reach("journal-back-in")
        for name in _entries(root.workspace):
            _move(root, name, root.workspace, staged)
            reach("journal-back-entry")
    write_journal(root, asdict(replace(journal, phase="back-out")))
    reach("journal-back-out")
    for name in _entries(old):
        _move(root, name, old, root.workspace)
        reach("journal-back-entry")
    _restore_attributes(root)
    _set_looks(root.workspace, journal.old_looks)
    sync_file_system(root.workspace)
    end_journal(root)


def _entries(folder: Path) -> list[str]:
    return sorted(name for name in os.listdir(folder) if name != RESERVED)


def _looks(folder: Path) -> tuple[int, int]:
    status = folder.stat()
    return stat.S_IMODE(status.st_mode), status.st_mtime_ns


def _set_looks(folder: Path, looks: tuple[int, int]) -> None:
    mode, mtime_ns = looks
    folder.chmod(mode)
    os.utime(folder, ns=(mtime_ns, mtime_ns))


def _sync(*folders: Path) -> None:
    for folder in folders:
        sync_folder(folder)


def _place(name: str, staged: Path, workspace: Path, old: Path) -> None:
    """Move one restored entry in; whatever a stray writer put in its place goes aside."""
    for turn in range(_ASIDE_TRIES):
        if os.path.lexists(workspace / name):
            with contextlib.suppress(FileNotFoundError):
                (workspace / name).rename(old / f"{name}.stray-{turn}-{os.getpid()}")
        try:
            (staged / name).rename(workspace / name)
        except OSError as error:
            if error.errno not in {*_MERGE, errno.EISDIR, errno.ENOTDIR}:
                raise
            continue
        return
    raise ConflictError(f"Something keeps writing {name!r} into the workspace.")


# -- moving, also what cannot be renamed ----------------------------------------------------------


def _move(root: SandboxRoot, name: str, source: Path, target: Path) -> None:
    source_fd = os.open(source, OPEN_FOLDER)
    target_fd = os.open(target, OPEN_FOLDER)
    try:
        try:
            os.rename(name, name, src_dir_fd=source_fd, dst_dir_fd=target_fd)
        except OSError as error:
            if error.errno == errno.EBUSY and name in NOT_SAVED:
                for entry in os.listdir(source / name):
                    delete_tree(source / name / entry)
                return
            if error.errno not in _MERGE:
                raise
            if source == root.workspace:
                _record_attributes(root, name)
            _merge(name, source_fd, target_fd)
    finally:
        os.close(source_fd)
        os.close(target_fd)


def _merge(name: str, source_fd: int, target_fd: int) -> None:
    """Move a folder by its entries, into one that may be there from an attempt cut off."""
    inner = os.open(name, OPEN_FOLDER, dir_fd=source_fd)
    try:
        with contextlib.suppress(FileExistsError):
            os.mkdir(name, 0o700, dir_fd=target_fd)
        outer = os.open(name, OPEN_FOLDER, dir_fd=target_fd)
        try:
            for child in sorted(os.listdir(inner)):
                try:
                    os.rename(child, child, src_dir_fd=inner, dst_dir_fd=outer)
                except OSError as error:
                    if error.errno not in _MERGE:
                        raise
                    _merge(child, inner, outer)
                reach("journal-deep-entry")
            os.fsync(outer)
        finally:
            os.close(outer)
    finally:
        os.close(inner)
    os.rmdir(name, dir_fd=source_fd)


def _attributes(root: SandboxRoot) -> Path:
    return root.state / "swap-folders.jsonl"


def _record_attributes(root: SandboxRoot, name: str) -> None:
    """Keep the modes and times of the folders below an entry that is moved piece by piece."""
    path = _attributes(root)
    key = os.fsencode(name).hex()
    if path.exists() and any(json.loads(line)["entry"] == key for line in path.open()):
        return
    folders: list[tuple[str, int, int]] = []
    errors: list[OSError] = []
    for folder in walk(root.workspace / name, on_error=lambda _, error: errors.append(error)):
        status = folder.status
        folders.append((folder.path.hex(), stat.S_IMODE(status.st_mode), status.st_mtime_ns))
    if errors:
        raise errors[0]
    with path.open("a") as out:
        out.write(json.dumps({"entry": key, "folders": folders}) + "\n")
        out.flush()
        os.fsync(out.fileno())


def _restore_attributes(root: SandboxRoot) -> None:
    path = _attributes(root)
    if not path.exists():
        return
    for line in path.read_text().splitlines():
        record = json.loads(line)
        top = os.fsencode(root.workspace) + b"/" + bytes.fromhex(record["entry"])
        for folder, mode, mtime_ns in reversed(record["folders"]):
            place = top + b"/" + bytes.fromhex(folder)
            fd = os.open(place, OPEN_FOLDER)
            try:
                os.fchmod(fd, mode)
                os.utime(fd, ns=(mtime_ns, mtime_ns))
            finally:
                os.close(fd)
