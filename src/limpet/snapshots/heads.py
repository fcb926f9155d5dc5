"""Heads in a store: one object a generation, created and never changed.

On a store that ignores conditions, whoever created a head looks again whether it is theirs.
"""

import re
from typing import Final

from limpet.errors import InvalidInputError, PreconditionFailedError
from limpet.snapshots.ahead import each
from limpet.snapshots.lineage import (
    MAIN,
    MAX_HEAD_BYTES,
    BranchRef,
    DamagedHead,
    Head,
    Lineage,
    decode_head,
    encode_head,
)
from limpet.stores.base import SandboxStore
from limpet.stores.keys import GENERATION_DIGITS, head_key, heads_prefix, heads_root

_AT_ONCE: Final = 16
_GENERATION: Final = re.compile(rf"[0-9]{{{GENERATION_DIGITS}}}")
_SIDE: Final = re.compile(r"side-[0-9a-f]{12}")


class HeadStore:
    """All lineages' heads. Every method may raise `StoreUnavailableError`."""

    def __init__(self, store: SandboxStore) -> None:
        self._store = store

    async def generations(self, ref: BranchRef, lineage: Lineage) -> list[int]:
        """The generations that there are, in no order."""
        prefix = heads_prefix(ref.org, ref.agent, ref.branch, lineage)
        return [
            int(name)
            async for one in self._store.list(prefix)
            if _GENERATION.fullmatch(name := one.key.removeprefix(prefix))
        ]

    async def every(self, ref: BranchRef) -> list[Head | DamagedHead]:
        """All heads of all lineages of a branch."""
        root = heads_root(ref.org, ref.agent, ref.branch)
        found: list[tuple[Lineage, int]] = []
        async for one in self._store.list(root):
            folder, _, name = one.key.removeprefix(root).partition("/")
            if _GENERATION.fullmatch(name) and (not folder or _SIDE.fullmatch(folder)):
                found.append((Lineage(folder or MAIN), int(name)))

        async def read(place: tuple[Lineage, int]) -> Head | DamagedHead:
            return await self.read(ref, *place)

        return await each(found, read, at_once=_AT_ONCE)

    async def read(self, ref: BranchRef, lineage: Lineage, generation: int) -> Head | DamagedHead:
        """One head, or why it cannot be used."""
        key = head_key(ref.org, ref.agent, ref.branch, generation, lineage)
        chunks = await self._store.get(key, length=MAX_HEAD_BYTES + 1)
        if chunks is None:
            return DamagedHead(generation, None, "its head is gone")
        body = b"".join([chunk async for chunk in chunks])
        return decode_head(body, ref, lineage, generation)

    async def create_next(self, head: Head) -> None:
        """Create the head as the newest of its lineage, or `PreconditionFailedError`.

        Its place may be free although others came after it: old heads are pruned.
        """
        later = max(await self.generations(head.ref, head.lineage), default=0)
        if later >= head.generation:
            raise PreconditionFailedError(f"Generation {later} of {head.ref.branch} is there")
        await self.create(head)

    async def create(self, head: Head) -> None:
        """Create the head where it says, or `PreconditionFailedError`.

        On a store that ignores conditions, a head that was lost to another writer may stay there.
        """
        ref = head.ref
        key = head_key(ref.org, ref.agent, ref.branch, head.generation, head.lineage)
        body = encode_head(head)
        if len(body) > MAX_HEAD_BYTES:
            raise InvalidInputError(f"The head of {ref.branch} would be too large to be read again")
        await self._store.put(key, body, condition="create-only")
        if not self._store.conditional:
            await self._require_still_there(head, key, body)

    async def _require_still_there(self, head: Head, key: str, body: bytes) -> None:
        """`PreconditionFailedError` unless the head lies there, and is the newest.

        Another writer's may have come over it, or after it, from the same state as ours.
        """
        chunks = await self._store.get(key, length=MAX_HEAD_BYTES + 1)
        if chunks is None or b"".join([chunk async for chunk in chunks]) != body:
            raise PreconditionFailedError(f"Another head came over {key!r}")
        later = max(await self.generations(head.ref, head.lineage), default=0)
        if later > head.generation:
            raise PreconditionFailedError(f"Generation {later} came at the same moment")
