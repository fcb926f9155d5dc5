"""The names that snapshots are given after they were made.

A head never changes; so a name that is given, changed or taken away later is an object of its own,
which goes before the name that the head was made with. What people named is kept until deleted;
what a turn of an agent named carries a note of that turn, and is kept by retention's rule of turns.
"""

import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

from limpet.ids import OrgId, SnapshotId
from limpet.snapshots.ahead import each
from limpet.snapshots.lineage import BranchRef, Head
from limpet.stores.base import SandboxStore
from limpet.stores.keys import branch_names_prefix, name_key, names_prefix

MAX_NAME_LENGTH: Final = 100
UNREADABLE: Final = "(a name that cannot be read)"
"""Stands for a name whose object is damaged: the snapshot stays a named one."""
_VERSION: Final = 1
_MAX_BYTES: Final = 4096
_AT_ONCE: Final = 16


@dataclass(frozen=True, slots=True)
class TurnNote:
    """Which turn of which thread a snapshot shows: the workspace before or after it.

    `number` counts the thread's turns from 1; `commit` is what the repository stood at.
    """

    when: Literal["before", "after"]
    number: int
    thread: str
    run: str
    author: str
    commit: str | None = None


@dataclass(frozen=True, slots=True)
class GivenName:
    """What was said of a snapshot last: its name, None that it has none any more. With a `turn`
    the turn said so, not a person."""

    name: str | None
    turn: TurnNote | None = None


GivenNames = Mapping[SnapshotId, GivenName]


def name_of(head: Head, given: GivenNames) -> str | None:
    """The snapshot's name as it is now."""
    told = given.get(head.snapshot)
    return head.name if told is None else told.name


def turn_of(head: Head, given: GivenNames) -> TurnNote | None:
    """The turn that named the snapshot; None when a person did, or nobody."""
    told = given.get(head.snapshot)
    return None if told is None or told.name is None else told.turn


def is_kept_by_people(head: Head, given: GivenNames) -> bool:
    """Whether the snapshot has a name that a person gave it: it is never deleted by a rule."""
    return name_of(head, given) is not None and turn_of(head, given) is None


class SnapshotNames:
    """The given names in one store. Every method may raise `StoreUnavailableError`."""

    def __init__(self, store: SandboxStore) -> None:
        self._store = store

    async def of_branch(self, ref: BranchRef) -> dict[SnapshotId, GivenName]:
        """The names given to a branch's snapshots."""
        return await self._below(branch_names_prefix(ref.org, ref.agent, ref.branch))

    async def of_org(self, org: OrgId) -> dict[SnapshotId, GivenName]:
        """The names given to an org's snapshots."""
        return await self._below(names_prefix(org))

    async def give(
        self, ref: BranchRef, snapshot: SnapshotId, name: str | None, turn: TurnNote | None = None
    ) -> None:
        """Call the snapshot so from now on; None takes its name away. The last one to say wins."""
        told: dict[str, Any] = {"version": _VERSION, "name": name}
        if turn is not None:
            told["turn"] = asdict(turn)
        body = json.dumps(told).encode()
        await self._store.put(name_key(ref.org, ref.agent, ref.branch, snapshot), body)

    async def forget(self, ref: BranchRef, snapshot: SnapshotId) -> None:
        """The snapshot is gone: what it was called is of no use any more."""
        await self._store.delete(name_key(ref.org, ref.agent, ref.branch, snapshot))

    async def _below(self, prefix: str) -> dict[SnapshotId, GivenName]:
        keys = [one.key async for one in self._store.list(prefix)]
        found: dict[SnapshotId, GivenName] = {}

        async def read(key: str) -> None:
            chunks = await self._store.get(key, length=_MAX_BYTES + 1)
            if chunks is not None:  # forgotten meanwhile
                found[SnapshotId(key.rpartition("/")[2])] = await _decoded(chunks)

        await each(keys, read, at_once=_AT_ONCE)
        return found


async def _decoded(chunks: AsyncIterator[bytes]) -> GivenName:
    body = b"".join([chunk async for chunk in chunks])
    try:
        told: Any = json.loads(body)
        name, turn = told["name"], told.get("turn")
        if told["version"] != _VERSION or not isinstance(name, str | None):
            return GivenName(UNREADABLE)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return GivenName(UNREADABLE)
    return GivenName(name, _note(turn))


def _note(told: Any) -> TurnNote | None:
    """A turn's note; one that makes no sense is none, so that its snapshot stays."""
    match told:
        case {
            "when": ("before" | "after") as when,
            "number": int(number),
            "thread": str(thread),
            "run": str(run),
            "author": str(author),
            "commit": str() | None as commit,
        }:
            return TurnNote(when, number, thread, run, author, commit)
        case _:
            return None
