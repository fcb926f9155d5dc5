"""Snapshots that were saved as plain tars, made into packed ones aside so that one can look inside.

Nothing of it reaches the store: a folder of scratch holds the few that were looked into last.
"""

import asyncio
from collections import OrderedDict
from pathlib import Path
from typing import Final

from limpet.snapshots.lineage import Head
from limpet.snapshots.repository import SnapshotRepository
from limpet.snapshots.tar_import import import_tar
from limpet.snapshots.tree import delete_tree
from limpet.stores.local import LocalStore

KEPT: Final = 4


class UnpackedTars:
    """The tars of one repository; `scratch` is made when it is needed."""

    def __init__(self, repository: SnapshotRepository, scratch: Path) -> None:
        self._repository = repository
        self._scratch = scratch
        self._turn = asyncio.Lock()
        self._kept: OrderedDict[str, tuple[SnapshotRepository, Head]] = OrderedDict()

    async def packed(self, head: Head) -> tuple[SnapshotRepository, Head]:
        """A packed snapshot with the content of `head`, and the repository that holds it.

        Raises what `open_tar` and `import_tar` do.
        """
        async with self._turn:
            known = self._kept.get(head.blake3)
            if known is None:
                known = await self._unpack(head)
                self._kept[head.blake3] = known
            self._kept.move_to_end(head.blake3)
            while len(self._kept) > KEPT:
                gone, _ = self._kept.popitem(last=False)
                await asyncio.to_thread(delete_tree, self._scratch / gone)
        return known

    async def _unpack(self, head: Head) -> tuple[SnapshotRepository, Head]:
        folder = self._scratch / head.blake3
        await asyncio.to_thread(_emptied, folder)
        repository = SnapshotRepository(LocalStore(folder))
        chunks = await self._repository.open_tar(head)
        packed = await import_tar(
            repository,
            head.ref,
            chunks,
            self._scratch,
            parent=None,
            fencing=head.fencing,
            expected_generation=0,
        )
        return repository, packed


def _emptied(folder: Path) -> None:
    delete_tree(folder)  # of one that was cut off
    folder.mkdir(parents=True, mode=0o700)
