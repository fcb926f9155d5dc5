"""How much a workspace may hold, told from its listings before anything is read or sent."""

import os
from typing import Final

from limpet.errors import LimpetError
from limpet.snapshots.scan import Scan
from limpet.snapshots.survey import SurveyedFolder
from limpet.snapshots.tar_format import show

_LARGEST_SHOWN: Final = 10
_GOOD_PART: Final = 20
_MADE_AGAIN: Final = frozenset({
    b"node_modules", b".venv", b"venv", b"__pycache__", b".cache", b".next", b".nuxt", b".turbo",
    b".svelte-kit", b".gradle", b".npm", b".pnpm-store", b"target", b"dist", b"build",
})  # fmt: skip
"""Folders that tools fill, and fill again when they are not there."""


class WorkspaceTooLargeError(LimpetError):
    """The workspace holds more than may be saved; nothing was sent."""

    code = "workspace_too_large"
    status = 413


def check_size(scan: Scan, limit_bytes: int) -> None:
    """Raise `WorkspaceTooLargeError` when all files together are larger than `limit_bytes`.

    Holes count, further names of a file do not.
    """
    size_bytes = scan.size_bytes()
    if size_bytes <= limit_bytes:
        return
    totals = folder_totals(scan.folders, [scan.size_of(folder) for folder in scan.folders])
    largest = largest_folders(scan.folders, totals)
    listed = ", ".join(f"{show(path) or '.'} ({size:,} bytes)" for path, size in largest)
    raise WorkspaceTooLargeError(
        f"The workspace holds {size_bytes:,} bytes; {limit_bytes:,} may be saved. "
        f"Its largest folders: {listed}",
        hint=_hint(mending_rules(scan.folders, totals, size_bytes, limit_bytes)),
    )


def _hint(rules: list[str]) -> str:
    if not rules:
        return "Delete what is not needed, or move it to tmp/, which is never saved."
    lines = "this line" if len(rules) == 1 else "these lines"
    return "\n".join([
        f"Put {lines} into the file .limpetignore in the workspace's root, beside repo/, if what "
        "is there can be made again: it is not saved then, and not there after a restore.",
        *rules,
    ])  # fmt: skip


def folder_totals(folders: list[SurveyedFolder], size_bytes: list[int]) -> list[int]:
    """What each folder holds with all that is below it; `size_bytes` is what lies right in each."""
    totals = list(size_bytes)
    for number in range(len(folders) - 1, 0, -1):
        parent = folders[number].parent
        assert parent is not None
        totals[parent.number] += totals[number]
    return totals


def largest_folders(folders: list[SurveyedFolder], totals: list[int]) -> list[tuple[bytes, int]]:
    """The ten folders that hold the most, each the innermost such one.

    A folder is passed over when one below it holds most of the same bytes.
    """
    heaviest = [0] * len(folders)
    for folder in folders[1:]:
        assert folder.parent is not None
        above = folder.parent.number
        heaviest[above] = max(heaviest[above], totals[folder.number])
    found = [
        (total, folders[number].path)
        for number, total in enumerate(totals)
        if total and 10 * heaviest[number] < 9 * total
    ]
    return [(path, total) for total, path in sorted(found, reverse=True)[:_LARGEST_SHOWN]]


def mending_rules(
    folders: list[SurveyedFolder], totals: list[int], size_bytes: int, limit_bytes: int
) -> list[str]:
    """Lines for an ignore file: as few as bring the workspace below its limit, if any do.

    Of the largest folders, those that hold no other such one, and the whole of what a tool makes
    again, if it is a good part of what may be saved, as sources hardly are. Never the workspace's
    own folders, a checkout, what git keeps, or what holds these.
    """
    holding = {b"", b"repo", b"home"}
    for folder in folders:
        if folder.name == b".git":
            holding.update(_and_above(folder.path))
    by_path = {folder.path: totals[folder.number] for folder in folders}
    candidates = {
        next((one for one in _and_above(path)[::-1] if _is_made(one)), path)
        for path, _ in largest_folders(folders, totals)
    }
    from limpet.snapshots.ignore_rules import rule_for

    over_bytes = size_bytes - limit_bytes
    rules: list[str] = []
    for path in sorted(candidates, key=lambda one: (-by_path[one], one)):
        inner = any(path in _and_above(one)[1:] for one in candidates)
        if over_bytes <= 0 or by_path[path] * _GOOD_PART < limit_bytes:
            break
        if path not in holding and b"/.git/" not in b"/%b/" % path and not inner:
            rules.append(rule_for(path))
            over_bytes += len(os.fsencode(rules[-1])) + 1 - by_path[path]
    return rules


def _and_above(path: bytes) -> list[bytes]:
    """A folder and those above it, the workspace's own aside."""
    parts = path.split(b"/")
    return [b"/".join(parts[:count]) for count in range(len(parts), 0, -1)]


def _is_made(path: bytes) -> bool:
    return path.rpartition(b"/")[2] in _MADE_AGAIN
