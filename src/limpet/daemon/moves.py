"""Moves over a folder: it cannot be replaced in one step, so a kill may come between two.

A note says what takes whose place, by their inodes; `ended` goes on with it, or back.
"""

import contextlib
import json
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from limpet.daemon.placing import Entry

MOVING: Final = "moving-"


@contextlib.contextmanager
def noted_move(state: Path, source: Entry, target: Entry, aside: Entry) -> Iterator[None]:
    """Keep a note for as long as `source` is on its way to where `target` is."""
    there = target.status()
    if there is None:
        yield
        return
    note = state / f"{MOVING}{secrets.token_hex(8)}"
    places = [_path(entry) for entry in (source, target, aside)]
    note.write_text(json.dumps({"places": places, "was": [there.st_dev, there.st_ino]}))
    try:
        yield
    finally:
        note.unlink(missing_ok=True)


def ended(state: Path, staging: Path) -> list[Path]:
    """End the moves that a kill cut off; what is to be deleted now."""
    left = []
    for note in state.glob(f"{MOVING}*"):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            told = json.loads(note.read_text())
            source, target, aside = map(Path, told["places"])
            if _is(source, told["was"]):  # they are exchanged: the old one is in the way still
                trash = staging / note.name
                source.rename(trash)
                left.append(trash)
            elif _is(aside, told["was"]) and not os.path.lexists(target):
                aside.rename(target)
        note.unlink(missing_ok=True)
    return left


def _path(entry: Entry) -> str:
    """The path of an entry; empty where this machine does not tell."""
    with contextlib.suppress(OSError):
        return str(Path(f"/proc/self/fd/{entry.folder}").readlink() / entry.name)
    return ""


def _is(path: Path, was: list[int]) -> bool:
    try:
        status = path.lstat()
    except OSError:
        return False
    return [status.st_dev, status.st_ino] == was
