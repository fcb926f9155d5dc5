"""What differs between two snapshots: added, removed, changed, renamed.

Pure. Goes down only where two folders' nodes differ, so that the cost is that of the difference.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

from limpet.snapshots.blobs import BlobHash
from limpet.snapshots.node import (
    FILE,
    FOLDER,
    HARD_LINK,
    LISTED_FILE,
    SYMLINK,
    Content,
    Entry,
)
from limpet.snapshots.trees import TreeBlobs

ChangeKind = Literal["added", "removed", "changed", "renamed"]
What = Literal["content", "kind", "mode", "time", "target"]
_MATCHED_AT_MOST: Final = 50_000
EntryType = Literal["file", "folder", "symlink", "hard-link"]


@dataclass(frozen=True, slots=True)
class Side:
    """One snapshot's tree."""

    trees: TreeBlobs
    node: BlobHash


@dataclass(frozen=True, slots=True)
class Change:
    """One difference. `before` is None for what was added, `after` for what was removed.

    `path` is where it is now (or was, when removed), `old_path` where something renamed was. A
    folder that was added, removed or renamed as a whole is one change; `expand` gives what is in
    it. `what` says how an entry that is in both differs.
    """

    kind: ChangeKind
    path: bytes
    before: Entry | None
    after: Entry | None
    what: tuple[What, ...] = ()
    old_path: bytes | None = None


def type_of(entry: Entry) -> EntryType:
    """What an entry is, in words."""
    if entry.kind == FOLDER:
        return "folder"
    if entry.kind == SYMLINK:
        return "symlink"
    return "hard-link" if entry.kind == HARD_LINK else "file"


def diff_trees(before: Side, after: Side, *, times: bool = False) -> list[Change]:
    """Every difference, by path. With `times` also entries of which only the mtime differs.

    A file or folder counts as renamed when something of the same content, and not empty, was
    removed elsewhere; a folder that was renamed and changed is told by its entries. Raises
    `SnapshotDamagedError` for a tree that is not whole.
    """
    changes = _with_renames(list(_differences(before, after, times)), before, after)
    return sorted(changes, key=lambda change: change.path)


def expand(change: Change, before: Side, after: Side) -> Iterator[Change]:
    """The change itself, and, of a whole folder, one for everything below it."""
    yield change
    side = after if change.after is not None else before
    entry = change.after or change.before
    if change.kind == "changed" or entry is None or entry.kind != FOLDER:
        return
    assert entry.hash is not None
    for folder in side.trees.walk(entry.hash, whole=False):
        for below in folder.entries:
            path = change.path + b"/" + folder.path_of(below.name)
            old_path = None
            if change.old_path is not None:
                old_path = change.old_path + b"/" + folder.path_of(below.name)
            yield Change(
                change.kind,
                path,
                below if change.before is not None else None,
                below if change.after is not None else None,
                old_path=old_path,
            )


def _differences(before: Side, after: Side, times: bool) -> Iterator[Change]:
    todo = [(b"", before.node, after.node)]
    while todo:
        path, old_node, new_node = todo.pop()
        if old_node == new_node:
            continue
        old = {entry.name: entry for entry in before.trees.entries(old_node)}
        new = {entry.name: entry for entry in after.trees.entries(new_node)}
        for name in old.keys() | new.keys():
            was, now = old.get(name), new.get(name)
            here = path + b"/" + name if path else name
            if was is None:
                yield Change("added", here, None, now)
            elif now is None:
                yield Change("removed", here, was, None)
            elif was != now:
                what = _what(was, now)
                if what and (times or what != ("time",)):
                    yield Change("changed", here, was, now, what)
                if was.kind == now.kind == FOLDER:
                    assert was.hash is not None
                    assert now.hash is not None
                    todo.append((here, was.hash, now.hash))


def _what(was: Entry, now: Entry) -> tuple[What, ...]:
    if type_of(was) != type_of(now):
        return ("kind",)
    what: list[What] = []
    if type_of(was) == "file" and _content(was) != _content(now):
        what.append("content")
    if was.target != now.target:
        what.append("target")
    if was.mode != now.mode:
        what.append("mode")
    if was.mtime_ns != now.mtime_ns:
        what.append("time")
    return tuple(what)


def _content(entry: Entry) -> tuple[int, BlobHash | None, Content | None]:
    return entry.size, entry.hash, entry.content


def _identity(entry: Entry | None) -> object | None:
    """What makes two entries the same thing under two names; None when that says nothing."""
    if entry is None:
        return None
    if entry.kind in {FILE, LISTED_FILE}:
        return _content(entry)
    if entry.kind == FOLDER:
        return entry.hash
    return (SYMLINK, entry.target) if entry.kind == SYMLINK else None


def _with_renames(changes: list[Change], before: Side, after: Side) -> list[Change]:
    """The changes with whole files and folders matched, then what is below those left over."""
    changes = _matched(changes)
    gone = [one for one in changes if one.kind == "removed" and _is_folder(one.before)]
    come = [one for one in changes if one.kind == "added" and _is_folder(one.after)]
    kinds = {one.kind for one in changes}
    if not (gone or come) or not {"added", "removed"} <= kinds:
        return changes
    whole = {id(one) for one in (*gone, *come)}
    opened: list[Change] = [one for one in changes if id(one) not in whole]
    folder_of: dict[int, Change] = {}
    for folder in (*gone, *come):
        for one in expand(folder, before, after):
            folder_of[id(one)] = folder
            opened.append(one)
            if len(opened) > _MATCHED_AT_MOST:
                return changes
    matched = _matched(opened)
    kept = {id(one) for one in matched}
    broken = {id(folder_of[id(one)]) for one in opened if id(one) in folder_of.keys() - kept}
    return [
        *(one for one in (*gone, *come) if id(one) not in broken),
        *(one for one in matched if id(one) not in folder_of or id(folder_of[id(one)]) in broken),
    ]


def _matched(changes: list[Change]) -> list[Change]:
    removed: dict[object, list[Change]] = {}
    for change in changes:
        identity = _identity(change.before) if change.kind == "removed" else None
        if identity is not None:
            removed.setdefault(identity, []).append(change)
    sources: dict[int, Change] = {}
    for change in sorted(changes, key=lambda one: one.path):
        candidates = removed.get(_identity(change.after)) if change.kind == "added" else None
        if candidates:
            best = max(candidates, key=lambda one: _likeness(one.path, change.path))
            candidates.remove(best)
            sources[id(change)] = best
    used = {id(source) for source in sources.values()}
    found = []
    for change in changes:
        source = sources.get(id(change))
        if source is not None:
            found.append(
                Change("renamed", change.path, source.before, change.after, old_path=source.path)
            )
        elif id(change) not in used:
            found.append(change)
    return found


def _is_folder(entry: Entry | None) -> bool:
    return entry is not None and entry.kind == FOLDER


def _likeness(one: bytes, other: bytes) -> tuple[bool, int]:
    """How much two paths are alike: the same name first, then how many folders they share."""
    one_parts, other_parts = one.split(b"/"), other.split(b"/")
    shared = 0
    for mine, theirs in zip(one_parts[:-1], other_parts[:-1], strict=False):
        if mine != theirs:
            break
        shared += 1
    return one_parts[-1] == other_parts[-1], shared
