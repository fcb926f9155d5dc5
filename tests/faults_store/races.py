"""Many savers, one head: every generation has exactly one winner, and nobody's work is lost.

Racers are processes. In each round all of them have read the same head, wait for each other, and
move it at once. One becomes the next generation; the others' work lies on side lineages.
"""

import asyncio
import multiprocessing
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Final
from unittest import mock

from limpet.ids import AgentId, Branch, OrgId
from limpet.snapshots.lineage import MAIN, BranchRef, Head
from limpet.snapshots.repository import SaveSupersededError, SnapshotRepository
from limpet.stores.settings import open_store
from tests.snapshots.packed_streams import in_pieces, save_stream, tree_of

ORG: Final = OrgId("acme")
AGENT: Final = AgentId("a")
PER_BRANCH: Final = 50
"""Rounds on one branch, so that its history stays short enough to be read whole."""


@dataclass(frozen=True, slots=True)
class Raced:
    """What the races on one store came to."""

    store: str
    rounds: int
    winners: int
    aside: int
    wrong: tuple[str, ...]


def race(store: str, environ: Mapping[str, str], rounds: int, racers: int = 4) -> Raced:
    """Let `racers` processes race; `wrong` tells each round in which not exactly one won."""
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(racers)
    with (
        mock.patch.dict(os.environ, environ),
        tempfile.TemporaryDirectory(prefix="limpet-race-") as folder,
    ):
        asyncio.run(_begin(environ, Path(folder), rounds))
        results = context.Queue()
        processes = [
            context.Process(
                target=_race, args=(dict(environ), folder, number, rounds, barrier, results)
            )
            for number in range(racers)
        ]
        for process in processes:
            process.start()
        won: dict[int, int] = {}
        aside = 0
        for _ in processes:
            wins, lost = results.get(timeout=3600)
            aside += lost
            for at in wins:
                won[at] = won.get(at, 0) + 1
        for process in processes:
            process.join()
        wrong = [
            f"round {at}: {won.get(at, 0)} winners" for at in range(rounds) if won.get(at) != 1
        ]
        wrong += asyncio.run(_look(environ, Path(folder), rounds, racers))
    return Raced(store, rounds, sum(won.values()), aside, tuple(wrong))


def _ref(at: int) -> BranchRef:
    return BranchRef(ORG, AGENT, Branch(f"b{at // PER_BRANCH}"))


def _repository(environ: Mapping[str, str], folder: Path) -> SnapshotRepository:
    return SnapshotRepository(open_store(environ, folder))


async def _begin(environ: Mapping[str, str], folder: Path, rounds: int) -> None:
    """The first head of every branch."""
    repository = _repository(environ, folder)
    for at in range(0, rounds, PER_BRANCH):
        await repository.save_packed(
            _ref(at), in_pieces(save_stream(tree_of({"a": b"a"}))), base=None, reason="manual",
            parent=None, fencing=1, expected_generation=0,
        )  # fmt: skip


def _race(
    environ: dict[str, str],
    folder: str,
    number: int,
    rounds: int,
    barrier: Barrier,
    results: "multiprocessing.Queue[tuple[list[int], int]]",
) -> None:
    os.environ.update(environ)
    results.put(asyncio.run(_racing(environ, Path(folder), number, rounds, barrier)))


async def _racing(
    environ: Mapping[str, str], folder: Path, number: int, rounds: int, barrier: Barrier
) -> tuple[list[int], int]:
    repository = _repository(environ, folder)
    won: list[int] = []
    aside = 0
    head: Head | None = None
    for at in range(rounds):
        ref = _ref(at)
        if at % PER_BRANCH == 0:
            head = (await repository.lookup(ref)).head
        assert head is not None
        await asyncio.to_thread(barrier.wait, 300)
        try:
            await repository.adopt(
                head, ref=ref, reason="manual", parent=head.snapshot, fencing=number,
                expected_generation=1 + at % PER_BRANCH,
            )  # fmt: skip
            won.append(at)
        except SaveSupersededError:
            aside += 1
    return won, aside


async def _look(environ: Mapping[str, str], folder: Path, rounds: int, racers: int) -> list[str]:
    """What is not as it must be in the store itself."""
    repository = _repository(environ, folder)
    wrong = []
    for first in range(0, rounds, PER_BRANCH):
        ref, count = _ref(first), min(PER_BRANCH, rounds - first)
        history = await repository.history(ref)
        mains = sorted(head.generation for head in history if head.lineage == MAIN)
        sides = [head for head in history if head.lineage != MAIN]
        if mains != list(range(1, count + 2)):
            wrong.append(f"{ref.branch}: generations {mains}")
        if len(sides) != count * (racers - 1):
            wrong.append(f"{ref.branch}: {len(sides)} kept aside")
    return wrong
