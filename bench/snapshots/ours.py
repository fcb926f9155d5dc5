"""Our engine, alone: what a daemon and a control plane do, without the HTTP between them.

The control plane's half runs in the benchmark's process, the daemon's in another.
"""

import asyncio
from functools import partial
from pathlib import Path

from bench.snapshots.sandbox_half import SandboxHalf
from limpet import __version__
from limpet.ids import AgentId, Branch, OrgId
from limpet.snapshots.lineage import BranchRef, Head
from limpet.snapshots.repository import SnapshotRepository
from limpet.snapshots.root import SandboxRoot
from limpet.stores.local import LocalStore

REF = BranchRef(OrgId("bench"), AgentId("agent"), Branch("main"))


class Limpet:
    """Ours in the shape of the other tools. Close it."""

    name = "Limpet"
    packages = ""
    incremental = True

    def __init__(self) -> None:
        self._heads: dict[Path, list[Head]] = {}
        self._sandbox = SandboxHalf()

    def close(self) -> None:
        """End the sandbox's half."""
        self._sandbox.close()

    def version(self) -> str:
        return f"limpet {__version__}"

    def prepare(self, state: Path) -> None:
        """Nothing."""

    def save(self, workspace: Path, state: Path) -> None:
        """A delta from the last save, received, verified, stored in a local folder."""
        heads = self._heads.setdefault(state, [])
        base = heads[-1] if heads else None
        caches = state.with_name(state.name + ".caches")

        async def store() -> Head:
            saved = await repository_of(state).save_packed(
                REF,
                self._sandbox.save(workspace, caches, base.blake3 if base else None),
                base=base,
                reason="idle",
                parent=None,
                fencing=1,
                expected_generation=base.generation if base else 0,
            )
            return saved.head

        head = asyncio.run(store())
        if base is None or head.snapshot != base.snapshot:
            heads.append(head)

    def restore(self, state: Path, into: Path) -> None:
        """As a daemon does; what it notes of the files for the next save comes later: `note`."""
        head = self._heads[state][-1]
        opening = partial(repository_of(state).open_packed, head)
        self._sandbox.restore(opening, into, head.blake3)

    def note(self, root: SandboxRoot) -> None:
        """What a daemon notes of the files that were restored last."""
        self._sandbox.note(root)

    def heads(self, state: Path) -> list[Head]:
        """The snapshots of a state, oldest first."""
        return self._heads[state]

    def patch(self, state: Path, head: Head, root: SandboxRoot, base: Head) -> None:
        """Make a workspace that was restored from `base` be another snapshot."""
        repository = repository_of(state)
        planning = partial(repository.open_packed, head, flow="plan")
        needs = self._sandbox.plan(planning, root, base.blake3, head.blake3)
        if needs is not None:
            self._sandbox.fetch(partial(repository.open_packed, head, needs=needs))
        self._sandbox.apply(root)


def repository_of(state: Path) -> SnapshotRepository:
    """A repository in a folder, with what it keeps at hand beside it."""
    return SnapshotRepository(LocalStore(state), state.with_name(state.name + ".index"))
