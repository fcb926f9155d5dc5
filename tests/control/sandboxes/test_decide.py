"""The restore decision, tried on every combination of what can be known."""

import itertools
from collections.abc import Iterator
from dataclasses import replace

import pytest

from limpet.control.sandboxes.decide import (
    AllDamaged,
    Candidate,
    Decision,
    Found,
    Lookup,
    NoSnapshot,
    Origin,
    Situation,
    Unreachable,
    decide,
    stands_at,
    top_generation,
)
from limpet.ids import SnapshotId

S1, S2, S3 = (Candidate(SnapshotId(f"s{n}"), n) for n in (1, 2, 3))
SIDE = SnapshotId("side")
DOWN = Unreachable("connection refused")
LOOKUPS: list[Lookup] = [
    NoSnapshot(),
    Found(S2),
    Found(S2, (S3,)),
    AllDamaged((S2, S1)),
    DOWN,
]


def origins() -> Iterator[Origin]:
    grew_from = [(None, None), *((s.snapshot, s.generation) for s in (S1, S2, S3)), (SIDE, 1)]
    for (snapshot, generation), unsaved, empty, detached in itertools.product(
        grew_from, (False, True), (False, True), (False, True)
    ):
        yield Origin(snapshot, generation, unsaved, empty, detached)


def situations() -> Iterator[Situation]:
    switches = itertools.product((False, True), repeat=5)
    for lookup, origin, last_known, flags in itertools.product(
        LOOKUPS, list(origins()), (None, S1, S2), list(switches)
    ):
        detached, live, busy, without_snapshot, seedable = flags
        for pinned in (None, S1.snapshot) if detached else (None,):
            yield Situation(
                lookup, origin, last_known, detached, pinned, live, busy, without_snapshot, seedable
            )


ALL = list(situations())


def has_no_answer(now: Situation) -> bool:
    """The store is away, or empty although the branch is known to have a snapshot."""
    if isinstance(now.lookup, NoSnapshot):
        return now.last_known is not None or now.pinned is not None
    return isinstance(now.lookup, Unreachable)


def every(**_: object) -> Iterator[tuple[Situation, Decision]]:
    for situation in ALL:
        yield situation, decide(situation)


def test_unsaved_work_is_never_restored_over_before_it_is_kept_aside() -> None:
    for now, decision in every():
        if decision.action == "restore" and now.origin.unsaved and not now.origin.empty:
            assert decision.save_aside, now


def test_a_workspace_with_anything_in_it_is_never_seeded_or_ignored() -> None:
    for now, decision in every():
        if not now.origin.empty:
            assert decision.action not in ("seed", "nothing"), now


def test_a_workspace_at_or_past_the_usable_head_is_never_restored_over() -> None:
    for now, decision in every():
        if (
            isinstance(now.lookup, Found)
            and stands_at(now.origin, now.lookup.usable)
            and not (now.detached or now.origin.detached)
        ):
            assert decision.action == "keep", now
            assert not decision.detached, now


def test_a_live_sandbox_is_restored_over_only_when_it_is_detached_and_nobody_works_in_it() -> None:
    for now, decision in every():
        if now.live and decision.action != "keep":
            assert now.detached or now.origin.detached, now
            assert not now.busy, now
            assert not now.without_snapshot, now


def test_a_store_without_an_answer_never_leads_to_a_restore_nor_to_a_start_from_nothing() -> None:
    for now, decision in every():
        if has_no_answer(now):
            assert decision.action != "restore", now
            if decision.action in ("seed", "nothing"):
                assert now.without_snapshot, now
                assert decision.detached, now


def test_what_should_have_been_restored_and_was_not_leaves_the_sandbox_detached() -> None:
    for now, decision in every():
        if decision.action in ("seed", "nothing") and (
            has_no_answer(now) or not isinstance(now.lookup, NoSnapshot)
        ):
            assert decision.detached, now


def test_an_empty_store_attaches_no_sandbox_that_is_known_to_have_a_snapshot() -> None:
    for now, decision in every():
        if isinstance(now.lookup, NoSnapshot) and has_no_answer(now):
            assert decision.detached or not (now.detached or now.origin.detached), now


def test_only_a_start_with_a_store_without_an_answer_asks() -> None:
    for now, decision in every():
        if decision.action == "ask":
            assert has_no_answer(now), now
            assert not now.without_snapshot, now
            assert not now.live, now


def test_a_restore_is_of_the_newest_usable_snapshot_and_attaches() -> None:
    for now, decision in every():
        if decision.action == "restore":
            assert isinstance(now.lookup, Found)
            assert decision.head == now.lookup.usable
            assert not decision.detached
            said = "damaged-used-older" if now.lookup.damaged else "restored"
            assert decision.outcome == said


def test_every_outcome_can_happen() -> None:
    outcomes = {decision.outcome for _, decision in every()}
    assert outcomes == {
        "none",
        "restored",
        "kept",
        "damaged-used-older",
        "damaged-none",
        "store-unreachable",
        "without-snapshot",
        "template",
    }


WORK = Origin(S1.snapshot, 1, unsaved=True, empty=False)
CLEAN = Origin(S1.snapshot, 1, unsaved=False, empty=False)
EMPTY = Origin()


@pytest.mark.parametrize(
    ("now", "action", "outcome"),
    [
        (Situation(NoSnapshot(), EMPTY), "nothing", "none"),
        (Situation(NoSnapshot(), EMPTY, seedable=True), "seed", "template"),
        (Situation(NoSnapshot(), WORK), "keep", "kept"),
        (Situation(NoSnapshot(), EMPTY, last_known=S1), "ask", "store-unreachable"),
        (Situation(NoSnapshot(), EMPTY, last_known=S1, seedable=True), "ask", "store-unreachable"),
        (Situation(NoSnapshot(), EMPTY, last_known=S1, without_snapshot=True), "nothing",
         "without-snapshot"),
        (Situation(NoSnapshot(), EMPTY, last_known=S1, without_snapshot=True, seedable=True),
         "seed", "without-snapshot"),
        (Situation(NoSnapshot(), CLEAN, last_known=S1), "keep", "kept"),
        (Situation(NoSnapshot(), WORK, last_known=S1), "keep", "kept"),
        (Situation(NoSnapshot(), CLEAN, last_known=S2), "ask", "store-unreachable"),
        (Situation(NoSnapshot(), WORK, last_known=S2, live=True), "keep", "kept"),
        (Situation(Found(S2), EMPTY, seedable=True), "restore", "restored"),
        (Situation(Found(S1), WORK), "keep", "kept"),
        (Situation(Found(S1), Origin(S1.snapshot, 1, True, True)), "keep", "kept"),
        (Situation(Found(S2), CLEAN), "restore", "restored"),
        (Situation(Found(S2, (S3,)), EMPTY), "restore", "damaged-used-older"),
        (Situation(Found(S2, (S3,)), Origin(S3.snapshot, 3, False, False)), "keep", "kept"),
        (Situation(AllDamaged((S2,)), EMPTY, seedable=True), "seed", "damaged-none"),
        (Situation(AllDamaged((S2,)), EMPTY), "nothing", "damaged-none"),
        (Situation(DOWN, EMPTY), "ask", "store-unreachable"),
        (Situation(DOWN, EMPTY, seedable=True), "ask", "store-unreachable"),
        (Situation(DOWN, EMPTY, without_snapshot=True), "nothing", "without-snapshot"),
        (Situation(DOWN, CLEAN, last_known=S1), "keep", "kept"),
        (Situation(DOWN, CLEAN, last_known=S2), "ask", "store-unreachable"),
        (Situation(DOWN, Origin(unsaved=True, empty=False)), "keep", "kept"),
        (Situation(DOWN, Origin(unsaved=True, empty=False), last_known=S1), "ask",
         "store-unreachable"),
    ],
)  # fmt: skip
def test_single_decisions(now: Situation, action: str, outcome: str) -> None:
    decision = decide(now)
    assert (decision.action, decision.outcome) == (action, outcome)


def test_a_detached_sandbox_comes_home_when_the_store_is_mended() -> None:
    detached = Origin(SIDE, 4, unsaved=True, empty=False, detached=True)
    decision = decide(Situation(Found(S2), detached, detached=True))
    assert (decision.action, decision.save_aside, decision.detached) == ("restore", True, False)


def test_a_detached_sandbox_that_never_had_a_snapshot_is_simply_attached() -> None:
    detached = Origin(None, None, unsaved=True, empty=False, detached=True)
    decision = decide(Situation(NoSnapshot(), detached, detached=True))
    assert (decision.action, decision.detached) == ("keep", False)


def test_a_detached_sandbox_stays_so_before_an_empty_store() -> None:
    origin = Origin(SIDE, 4, unsaved=True, empty=False, detached=True)
    now = Situation(NoSnapshot(), origin, detached=True, pinned=S1.snapshot)
    assert decide(now).action == "ask"
    left = decide(replace(now, without_snapshot=True))
    assert (left.action, left.detached, left.pinned) == ("keep", True, S1.snapshot)
    up = decide(replace(now, live=True))
    assert (up.action, up.detached) == ("keep", True)


def test_an_empty_store_is_told_from_one_that_is_away() -> None:
    assert "cannot be reached" in decide(Situation(DOWN, EMPTY, last_known=S1)).message
    empty = decide(Situation(NoSnapshot(), EMPTY, last_known=S1)).message
    assert "has none of the snapshots" in empty
    assert "the right one" in empty
    assert empty in decide(Situation(NoSnapshot(), CLEAN, last_known=S1)).message


def test_a_start_without_its_snapshot_pins_it() -> None:
    assert decide(Situation(NoSnapshot(), EMPTY, S1, without_snapshot=True)).pinned == S1.snapshot
    assert decide(Situation(Found(S2), EMPTY, without_snapshot=True)).pinned == S2.snapshot
    assert decide(Situation(DOWN, EMPTY, S1, without_snapshot=True)).pinned == S1.snapshot
    assert decide(Situation(DOWN, EMPTY, without_snapshot=True)).pinned is None
    assert decide(Situation(AllDamaged((S2, S1)), EMPTY)).pinned == S2.snapshot


@pytest.mark.parametrize(
    ("lookup", "top"),
    [(NoSnapshot(), 0), (Found(S2), 2), (Found(S2, (S3,)), 3), (AllDamaged((S2, S1)), 2),
     (DOWN, None)],
)  # fmt: skip
def test_the_next_save_comes_after_damaged_heads_too(lookup: Lookup, top: int | None) -> None:
    assert top_generation(lookup) == top
