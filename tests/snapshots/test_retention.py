"""Which snapshots are kept."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limpet.errors import InvalidInputError
from limpet.ids import AgentId, Branch, OrgId, SnapshotId
from limpet.snapshots.lineage import MAIN, BranchRef
from limpet.snapshots.retention import Dated, RetentionPolicy, retained

NOW = datetime(2026, 11, 24, 12, 30, tzinfo=UTC)
REF = BranchRef(OrgId("org"), AgentId("agent"), Branch("main"))
POLICIES = st.builds(
    RetentionPolicy, st.integers(1, 12), st.integers(0, 48), st.integers(0, 40), st.integers(0, 9)
)


def dated(*ages: timedelta, named: frozenset[int] = frozenset()) -> list[Dated]:
    """Snapshots of these ages, oldest first: their generations are their places."""
    return [
        Dated(REF, MAIN, place, SnapshotId(f"s-{place}"), NOW - age, place in named)
        for place, age in enumerate(sorted(ages, reverse=True), 1)
    ]


HISTORIES = st.lists(
    st.integers(-3600, 60 * 86400).map(lambda s: timedelta(seconds=s)), max_size=60
).map(lambda ages: dated(*ages))


def test_the_last_ten_one_an_hour_of_a_day_and_one_a_day_of_a_month_are_kept() -> None:
    every_20_min = dated(*(timedelta(minutes=20 * n) for n in range(40 * 72)))
    kept = retained(every_20_min, RetentionPolicy(), NOW)
    ages = sorted((NOW - one.created_at) for one in every_20_min if one.snapshot in kept)
    assert [age for age in ages if age < timedelta(hours=3, minutes=1)] == [
        timedelta(minutes=20 * n) for n in range(10)
    ]
    of_today = [age for age in ages if timedelta(hours=4) <= age <= timedelta(hours=24)]
    assert len(of_today) in (20, 21, 22)
    older = [age for age in ages if age > timedelta(hours=25)]
    assert len(older) == 29
    assert max(ages) < timedelta(days=31)


@given(HISTORIES, POLICIES)
def test_the_newest_and_what_is_named_or_in_use_is_always_kept(
    history: list[Dated], policy: RetentionPolicy
) -> None:
    used = {one.snapshot for one in history[::7]}
    named = [
        replace(one, named=one.generation % 5 == 0, of_turn=one.generation % 3 == 0)
        for one in history
    ]
    kept = retained(named, policy, NOW, keep=used)
    assert used <= kept
    assert {one.snapshot for one in named if one.named} <= kept
    newest = sorted(named, key=lambda one: one.generation)[-policy.last :]
    assert {one.snapshot for one in newest} <= kept
    of_turns = [one.snapshot for one in named if one.of_turn]
    assert set(of_turns[max(0, len(of_turns) - policy.turns) :]) <= kept


def test_snapshots_of_turns_beyond_the_last_are_kept_as_any_other() -> None:
    old = dated(*(timedelta(days=90 + n) for n in range(20)))
    of_turns = [replace(one, of_turn=one.generation % 2 == 0) for one in old]
    kept = retained(of_turns, RetentionPolicy(last=1, hours=24, days=30, turns=3), NOW)
    assert sorted(kept) == ["s-16", "s-18", "s-20"]


@given(HISTORIES, POLICIES, st.lists(st.integers(0, 86400 * 3), max_size=8))
def test_pruning_often_keeps_what_pruning_once_keeps(
    history: list[Dated], policy: RetentionPolicy, steps: list[int]
) -> None:
    now, left = NOW, history
    for step in steps:
        now += timedelta(seconds=step)
        kept = retained(left, policy, now)
        left = [one for one in left if one.snapshot in kept]
    assert {one.snapshot for one in left} >= retained(history, policy, now)


def test_a_clock_that_was_ahead_costs_no_snapshot() -> None:
    ahead = dated(timedelta(days=-400), timedelta(days=-1), timedelta(hours=-1))
    assert len(retained(ahead, RetentionPolicy(last=1, hours=24, days=30), NOW)) == 3


@pytest.mark.parametrize(
    "told", [{"last": 0}, {"hours": -1}, {"days": 1e9}, {"last": True}, {"turns": -1}]
)
def test_what_cannot_be_kept_is_refused(told: dict[str, int]) -> None:
    with pytest.raises(InvalidInputError, match=next(iter(told))):
        RetentionPolicy.from_dict(told)


def test_a_policy_is_read_as_it_was_written() -> None:
    policy = RetentionPolicy(3, 5, 7)
    assert RetentionPolicy.from_dict({**policy.as_dict(), "weeks": 2}) == policy
