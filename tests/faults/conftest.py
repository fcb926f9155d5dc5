"""What the fault cases start from: a live server, a blank agent with work in it, a seed."""

import os
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.live import QUIET_SAVER, LiveLimpet, walk
from tests.stored import stored


@pytest.fixture
def dice() -> random.Random:
    """Seeded by SEED, so that a failure can be replayed."""
    return random.Random(int(os.environ.get("SEED", "20")))


@pytest.fixture
def live() -> Iterator[LiveLimpet]:
    """A server whose saver leaves us alone: cases save when they mean to."""
    with LiveLimpet.temporary(QUIET_SAVER) as server:
        yield server


@dataclass
class Worker:
    """A blank agent's sandbox, and the few things the cases do with it."""

    live: LiveLimpet
    agent: str
    handle: str

    @classmethod
    def make(cls, live: LiveLimpet, title: str = "Worker") -> "Worker":
        agent = live.api("POST", "/agents", {"title": title})["id"]
        live.cli("start", agent)
        return cls(live, agent, live.sandbox(agent)["handle"])

    @property
    def root(self) -> Path:
        return self.live.root_of(self.handle)

    @property
    def workspace(self) -> Path:
        return self.root / "workspace"

    def write(self, name: str, text: str) -> None:
        """Work done by the agent's file tool, in the repo folder."""
        self.live.api(
            "POST", f"/sandboxes/{self.handle}/daemon/write", {"path": name, "content": text}
        )

    def read(self, name: str) -> str:
        """The file on disk."""
        return (self.workspace / "repo" / name).read_text()

    def has(self, name: str) -> bool:
        return (self.workspace / "repo" / name).exists()

    def save(self) -> dict[str, Any]:
        saved: dict[str, Any] = self.live.json("snapshots", "save", self.agent)
        return saved

    def snapshots(self) -> list[dict[str, Any]]:
        listed: list[dict[str, Any]] = self.live.json("snapshots", "ls", self.agent)["snapshots"]
        return listed

    def tree(self) -> dict[str, tuple[str, ...]]:
        return walk(self.workspace)

    def box(self) -> dict[str, Any]:
        return self.live.sandbox(self.agent)

    def start(self, *options: str, code: int = 0) -> str:
        return self.live.cli("start", self.agent, *options, code=code)

    def stored(self, snapshot: str) -> Path:
        """An object in the local store that the snapshot needs, and no other if there is one."""
        return stored(self.live.data_dir / "sandbox-snapshots", snapshot)


@pytest.fixture
def worker(live: LiveLimpet) -> Worker:
    return Worker.make(live)
