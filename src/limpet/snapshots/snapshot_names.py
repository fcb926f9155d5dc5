"""The names that people give to snapshots after they were made.

A head never changes; so a name that is given, changed or taken away later is an object of its own,
which goes before the name that the head was made with. Named snapshots are kept until deleted.
"""

import json
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

from limpet.ids import OrgId, SnapshotId
from limpet.snapshots.ahead import each
from limpet.snapshots.lineage import BranchRef, Head
from limpet.stores.base import SandboxStore
from limpet.stores.keys import branch_names_prefix, name_key, names_prefix

MAX_NAME_LENGTH: Final = 100
UNREADABLE: Final = "(a name that cannot be read)"
"""Stands for a name whose object is damaged: the snapshot stays a named one."""
GivenNames = Mapping[SnapshotId, str | None]
"""What people said of snapshots; None: that it has no name any more."""
_VERSION: Final = 1
_MAX_BYTES: Final = 4096
_AT_ONCE: Final = 16


def name_of(head: Head, given: GivenNames) -> str | None:
    """The snapshot's name as it is now."""
    return given.get(head.snapshot, head.name)


class SnapshotNames:
    """The given names in one store. Every method may raise `StoreUnavailableError`."""

    def __init__(self, store: SandboxStore) -> None:
        self._store = store

    async def of_branch(self, ref: BranchRef) -> dict[SnapshotId, str | None]:
        """The names given to a branch's snapshots."""
        return await self._below(branch_names_prefix(ref.org, ref.agent, ref.branch))

    async def of_org(self, org: OrgId) -> dict[SnapshotId, str | None]:
        """The names given to an org's snapshots."""
        return await self._below(names_prefix(org))

    async def give(self, ref: BranchRef, snapshot: SnapshotId, name: str | None) -> None:
        """Call the snapshot so from now on; None takes its name away. The last one to say wins."""
        body = json.dumps({"version": _VERSION, "name": name}).encode()
        await self._store.put(name_key(ref.org, ref.agent, ref.branch, snapshot), body)

    async def forget(self, ref: BranchRef, snapshot: SnapshotId) -> None:
        """The snapshot is gone: what it was called is of no use any more."""
        await self._store.delete(name_key(ref.org, ref.agent, ref.branch, snapshot))

    async def _below(self, prefix: str) -> dict[SnapshotId, str | None]:
        keys = [one.key async for one in self._store.list(prefix)]
        found: dict[SnapshotId, str | None] = {}

        async def read(key: str) -> None:
            chunks = await self._store.get(key, length=_MAX_BYTES + 1)
            if chunks is not None:  # forgotten meanwhile
                found[SnapshotId(key.rpartition("/")[2])] = await _decoded(chunks)

        await each(keys, read, at_once=_AT_ONCE)
        return found


async def _decoded(chunks: AsyncIterator[bytes]) -> str | None:
    body = b"".join([chunk async for chunk in chunks])
    try:
        told: Any = json.loads(body)
        name = told["name"]
        if told["version"] != _VERSION or not isinstance(name, str | None):
            return UNREADABLE
    except (ValueError, KeyError, TypeError, RecursionError):
        return UNREADABLE
    return name
