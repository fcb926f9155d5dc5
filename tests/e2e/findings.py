"""What the browser's tests found out, beside whether they passed; `make e2e` reports it."""

import json
import os
from pathlib import Path
from typing import Any

from tests.live import REPOSITORY

ARTEFACTS = REPOSITORY / "artefacts" / "e2e"
_ASKED_FOR = "LIMPET_E2E_ARTEFACTS"


def begin() -> None:
    """Keep what is found from now on, in this process and those that it starts."""
    ARTEFACTS.mkdir(parents=True, exist_ok=True)
    for old in (*ARTEFACTS.glob("*.png"), *ARTEFACTS.glob("*.jsonl")):
        old.unlink()
    os.environ[_ASKED_FOR] = str(ARTEFACTS)


def place(name: str) -> Path | None:
    """Where an artefact of this name is kept; None when nobody asked for any."""
    folder = os.environ.get(_ASKED_FOR)
    return Path(folder) / name if folder else None


def note(kind: str, page: str, found: Any) -> None:
    """Keep a finding about a page."""
    file = place("findings.jsonl")
    if file is not None:
        with file.open("a") as lines:
            lines.write(json.dumps({"kind": kind, "page": page, "found": found}) + "\n")


def noted(kind: str) -> list[tuple[str, Any]]:
    """The findings of one kind, each with its page."""
    file = place("findings.jsonl")
    if file is None or not file.exists():
        return []
    every = [json.loads(line) for line in file.read_text().splitlines()]
    return [(one["page"], one["found"]) for one in every if one["kind"] == kind]
