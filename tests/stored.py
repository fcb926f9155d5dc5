"""What of a local store is a snapshot's own, to be damaged or taken away."""

import json
from pathlib import Path
from typing import Any


def stored(store: Path, snapshot: str) -> Path:
    """The object that this snapshot has and no other: its tar, or a pack of its own.

    A pack that later snapshots name too is given when there is no other.
    """
    tars = list(store.rglob(f"{snapshot}*.tar"))
    if tars:
        return tars[0]
    mine: dict[str, Any] = {}
    others: set[str] = set()
    for path in store.rglob("*"):
        if path.is_file() and "/heads/" in str(path):
            head = json.loads(path.read_bytes())
            packs = {name: kind for kind in ("packs", "trees") for name, *_ in head.get(kind, ())}
            if head["snapshot"] == snapshot:
                mine = packs
            else:
                others |= packs.keys()
    every = sorted((name in others, kind, name) for name, kind in mine.items())
    _, kind, name = every[0]
    [found] = store.rglob(f"{kind}/{name}")
    return found


def damage(path: Path) -> None:
    """Flip a bit of an object's content; its size stays."""
    whole = bytearray(path.read_bytes())
    at = len(whole) // 2
    if path.suffix != ".tar":
        at = 54  # within the first frame of a pack, however small
    whole[at] ^= 1
    path.chmod(0o600)
    path.write_bytes(whole)
