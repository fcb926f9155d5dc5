"""The cases: first save, nothing changed, ten files changed, restore, restore on a warm host."""

import contextlib
import shutil
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Final

from bench.snapshots.measuring import Case, seconds, warm_memory
from bench.snapshots.ours import Limpet
from bench.snapshots.tools import Floor, Tool, stored_bytes
from bench.snapshots.workspaces import Workspace
from limpet.snapshots.root import SandboxRoot

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
        with contextlib.closing(Limpet()) as ours:
            self._cases(number, ours, here)
        shutil.rmtree(here)

    def _cases(self, number: int, ours: Limpet, here: Path) -> None:
        every: list[Tool] = [ours, *self._tools]
        self._in_turns(number, [partial(self._save, FIRST, tool, here) for tool in every])
        walk = [self._walk] if self._floor is not None else []
        self._in_turns(number, [*walk, *(partial(self._save, SAME, tool, here) for tool in every)])
        self.changed_bytes = self._workspace.change(CHANGED_FILES, number)
        self._in_turns(number, [partial(self._save, TEN, tool, here) for tool in every])
        saved = Workspace.at("it", self._workspace.folder)
        create = [partial(self._create, here)] if self._floor is not None else []
        self._in_turns(
            number, [*create, *(partial(self._restore, tool, here, saved) for tool in every)]
        )
        self._warm(ours, here)

    @staticmethod
    def _in_turns(number: int, acts: Sequence[Callable[[], None]]) -> None:
        """Another one first in each round: who goes first finds other caches than who goes last."""
        for act in (*acts[number % len(acts) :], *acts[: number % len(acts)]):
            act()

    def _prepare(self, case: str, who: str) -> None:
        self._tell(f"{case}: {who}")
        warm_memory(self._scratch, self._workspace.bytes)

    def _walk(self) -> None:
        assert self._floor is not None
        self._prepare(SAME, WALK)
        self.cases[SAME].add(WALK, self._floor.walk_s(self._workspace.folder))

    def _create(self, here: Path) -> None:
        assert self._floor is not None
        self._prepare(COLD, CREATE)
        taken = self._floor.create_s(self._workspace.folder, here / "floor-into")
        self.cases[COLD].add(CREATE, taken)

    def _restore(self, tool: Tool, here: Path, saved: Workspace) -> None:
        into = here / f"{_slug(tool)}-into" / "workspace"
        into.parent.mkdir()
        self._prepare(COLD, tool.name)
        taken = seconds(partial(tool.restore, here / _slug(tool), into))
        self.cases[COLD].add(tool.name, taken)
        restored = Workspace.at("it", into)
        if (restored.entries, restored.bytes) != (saved.entries, saved.bytes):
            # A restore that lost something has no time.
            raise RuntimeError(f"{tool.name}: {saved} was saved, {restored} restored")

    def _save(self, case: str, tool: Tool, here: Path) -> None:
        if case == SAME and tool.name == "cp -a":
            return  # it would be the first save once more
        state = here / _slug(tool)
        if case == FIRST:
            tool.prepare(state)
        elif not tool.incremental:
            shutil.rmtree(state)  # to delete the save before is no part of the next one
        before = stored_bytes(state) if state.exists() and tool.incremental else 0
        self._prepare(case, tool.name)
        taken = seconds(partial(tool.save, self._workspace.folder, state))
        self.cases[case].add(tool.name, taken)
        self.cases[case].stored[tool.name] = stored_bytes(state) - before

    def _warm(self, ours: Limpet, here: Path) -> None:
        """The workspace as it was before the ten files changed, where it is as it is now."""
        state = here / "limpet"
        old, new = ours.heads(state)[0], ours.heads(state)[-1]
        root = SandboxRoot(here / "limpet-into", here / "limpet-into" / "workspace")
        root.prepare()
        noted = seconds(partial(ours.note, root))
        self.cases[COLD].notes[OURS] = f"and {noted:.2f} s later, for the next save"
        self._prepare(WARM, OURS)
        taken = seconds(partial(ours.patch, state, old, root, new))
        self.cases[WARM].add(OURS, taken)


def _slug(tool: Tool) -> str:
    return "".join(c if c.isalnum() else "-" for c in tool.name.lower())
