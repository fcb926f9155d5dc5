"""The command line against a server whose answers a test decides."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.sdk.wire import KEY, Answer, Asked, Wire, sse

AGENT: dict[str, Any] = {
    "id": "agt_abc123", "org": "local", "title": "My shop", "description": "", "icon": None,
    "status": "active", "pinned": True, "default_branch": "limpet/calm-cove",
    "metadata": {"instructions": "", "ui": {}, "github_repo": None, "clone_url": None,
                 "clone_url_has_credentials": False, "template": "webapp",
                 "start_command": None, "acp_command": None},
    "created_at": "2026-01-01T00:00:00Z", "updated_at": "2026-01-01T00:00:00Z",
}  # fmt: skip
RECEIPT: dict[str, Any] = {
    "operation": "save", "entries": 40_000, "files": 39_000, "bytes": 1, "size_bytes": 1,
    "blake3": "", "duration_ms": 1, "complete": True, "incomplete_because": [], "skipped": [],
    "torn": [], "healed": [], "dropped": {}, "counts": {}, "relocated": False, "live": True,
}  # fmt: skip
SNAPSHOT: dict[str, Any] = {
    "id": "20260101t000000z-aaaaaaaaaaaa", "agent_id": "agt_abc123", "branch": "limpet/calm-cove",
    "lineage": "main", "generation": 2, "parent": None, "kind": "tar",
    "created_at": "2026-01-01T00:00:00Z", "reason": "idle", "name": None, "receipt": RECEIPT,
    "size_bytes": 123_456_789, "stored_bytes": 1_234_567, "is_head": True, "side_reason": None,
    "adoptable": False, "made_from": None, "condemned_at": None, "condemned_because": None,
    "deleted_after": None,
}  # fmt: skip
SANDBOX: dict[str, Any] = {
    "handle": "calm-cove-0123", "agent_id": "agt_abc123", "agent_title": "My shop",
    "branch": "limpet/calm-cove", "state": "running", "phase": "running", "runner_kind": "host",
    "isolation": "bubblewrap", "preview_url": "http://calm-cove-0123.localhost:7070",
    "loopback_preview_url": None, "preview_access": "link", "detached": False,
    "detached_reason": None, "unsaved": True, "saving": False, "last_save": SNAPSHOT,
    "last_save_error": None, "side_snapshots": [], "restore": None, "last_error": None,
    "ended": None, "created_at": "2026-01-01T00:00:00Z", "started_at": None,
}  # fmt: skip
STARTED: dict[str, Any] = {
    "previewUrl": "http://calm-cove-0123.localhost:7070", "vmId": "calm-cove-0123",
    "branch": "limpet/calm-cove", "isNewVm": True, "runnerKind": "host",
    "restore": {"outcome": "restored", "snapshot": SNAPSHOT["id"], "receipt": None,
                "message": "Restored."},
}  # fmt: skip


@dataclass(frozen=True)
class Ran:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@dataclass
class Cli:
    """Runs the real `limpet` in a process of its own."""

    wire: Wire
    folder: Path

    def environ(self, more: Mapping[str, str] | None = None) -> dict[str, str]:
        own = {k: v for k, v in os.environ.items() if not k.startswith(("LIMPET_", "SANDBOX_"))}
        return {
            **own, "LIMPET_URL": self.wire.url, "LIMPET_API_KEY": KEY, "NO_COLOR": "1",
            "COLUMNS": "160", "BROWSER": "true", "LIMPET_DATA_DIR": str(self.folder / "data"),
            **(more or {}),
        }  # fmt: skip

    def __call__(self, *arguments: str, env: Mapping[str, str] | None = None) -> Ran:
        ran = subprocess.run(
            [sys.executable, "-m", "limpet.cli", *arguments],
            env=self.environ(env), cwd=self.folder, capture_output=True, text=True,
            stdin=subprocess.DEVNULL, timeout=60, check=False,
        )  # fmt: skip
        assert "Traceback" not in ran.stderr, ran.stderr
        return Ran(ran.returncode, ran.stdout, ran.stderr)


@pytest.fixture
def wire() -> Iterator[Wire]:
    with Wire() as server:
        server.on("GET /agents", {"agents": [AGENT]})
        server.on("POST /agents", AGENT)
        server.on("GET /templates", {"templates": [{"name": "webapp"}]})
        server.on("GET /sandboxes", {"sandboxes": [SANDBOX]})
        server.on("GET /agents/agt_abc123/snapshots", {"snapshots": [SNAPSHOT]})
        server.on("POST /vm/start", STARTED)
        yield server


@pytest.fixture
def cli(wire: Wire, tmp_path: Path) -> Cli:
    return Cli(wire, tmp_path)


def events(wire: Wire, *told: tuple[str, object]) -> None:
    """What the server says of the boot; then it is silent, as a real one is."""
    import threading

    def stream(_: Asked) -> Answer:
        def body() -> Iterator[bytes]:
            yield from sse(*told)
            threading.Event().wait(30)  # a daemon thread of the server: gone with the test

        return Answer(body())

    wire.on("GET /vm-events", stream)


def lifecycle(phase: str, **more: object) -> tuple[str, object]:
    return "lifecycle", {"state": {"phase": phase, **more}}
