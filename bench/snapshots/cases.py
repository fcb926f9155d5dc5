"""The cases: first save, nothing changed, ten files changed, restore, restore on a warm host."""

import shutil
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Final

from bench.snapshots.measuring import Case, seconds
from bench.snapshots.ours import Limpet
from bench.snapshots.tools import Floor, Tool, stored_bytes
from bench.snapshots.workspaces import Workspace
from limpet.snapshots.root import SandboxRoot
from limpet.snapshots.statcache import StatCaches

FIRST: Final = "first save"
SAME: Final = "nothing changed"
TEN: Final = "10 files changed"
COLD: Final = "restore"
WARM: Final = "warm restore"
CASES: Final = (FIRST, SAME, TEN, COLD, WARM)
OURS: Final = "Limpet"
WALK: Final = "C: stat walk"
CREATE: Final = "C: create files"
CHANGED_FILES: Final = 10


class Comparison:
    """Takes every tool through all cases on one workspace, round by round, in turns."""

    def __init__(
        self,
        workspace: Workspace,
        scratch: Path,
        tools: Sequence[Tool],
        floor: Floor | None,
        tell: Callable[[str], None],
    ) -> None:
        self.cases = {name: Case(name) for name in CASES}
        self.changed_bytes = 0
        self._workspace = workspace
        self._scratch = scratch
        self._tools = tools
        self._floor = floor
        self._tell = tell

    def round(self, number: int) -> None:
        """One round; what it made is deleted when all of it is over."""
        here = self._scratch / f"round-{number}"
        here.mkdir()
        ours = Limpet()
        every: list[Tool] = [ours, *self._tools]
        # Whoever goes first finds other caches than who goes last.
        every = every[number % len(every) :] + every[: number % len(every)]
        for tool in every:
            self._save(FIRST, tool, here)
        for tool in every:
            self._save(SAME, tool, here)
        if self._floor is not None:
            self.cases[SAME].add(WALK, self._floor.walk_s(self._workspace.folder))
        self.changed_bytes = self._workspace.change(CHANGED_FILES, number)
        for tool in every:
            self._save(TEN, tool, here)
        for tool in every:
            self._tell(f"{COLD}: {tool.name}")
            into = here / f"{_slug(tool)}-into" / "workspace"
            into.parent.mkdir()
            state = here / _slug(tool)
            taken = seconds(partial(tool.restore, state, into))
            self.cases[COLD].add(tool.name, taken)
            _require_whole(tool, self._workspace.folder, into)
        if self._floor is not None:
            into = here / "floor-into"
            self.cases[COLD].add(CREATE, self._floor.create_s(self._workspace.folder, into))
        self._warm(ours, here)
        shutil.rmtree(here)

    def _save(self, case: str, tool: Tool, here: Path) -> None:
        if case == SAME and tool.name == "cp -a":
            return  # it would be the first save once more
        self._tell(f"{case}: {tool.name}")
        state = here / _slug(tool)
        if case == FIRST:
            tool.prepare(state)
        elif not tool.incremental:
            shutil.rmtree(state)  # to delete the save before is no part of the next one
        before = stored_bytes(state) if state.exists() and tool.incremental else 0
        taken = seconds(partial(tool.save, self._workspace.folder, state))
        self.cases[case].add(tool.name, taken)
        self.cases[case].stored[tool.name] = stored_bytes(state) - before

    def _warm(self, ours: Limpet, here: Path) -> None:
        """The workspace as it was before the ten files changed, where it is as it is now."""
        self._tell(f"{WARM}: {OURS}")
        state = here / "limpet"
        old, new = ours.heads(state)[0], ours.heads(state)[-1]
        root = SandboxRoot(here / "limpet-into", here / "limpet-into" / "workspace")
        root.prepare()
        seeding = ours.seedings[root.workspace]
        settled = seconds(partial(seeding.settle, root.workspace, root.state))
        caches = StatCaches(root.state / "statcache")
        noted = seconds(partial(seeding.write, caches, root.workspace))
        self.cases[COLD].notes[OURS] = f"and {settled + noted:.2f} s later, for the next save"
        taken = seconds(partial(ours.patch, state, old, root, new))
        self.cases[WARM].add(OURS, taken)


def _require_whole(tool: Tool, saved: Path, restored: Path) -> None:
    """A restore that lost something has no time."""
    one, other = (Workspace.at("", folder) for folder in (saved, restored))
    if (one.entries, one.bytes) != (other.entries, other.bytes):
        raise RuntimeError(f"{tool.name} saved {one} and restored {other}")


def _slug(tool: Tool) -> str:
    return "".join(c if c.isalnum() else "-" for c in tool.name.lower())
