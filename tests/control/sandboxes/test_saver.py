"""When the saver saves, and that nothing makes it stop looking."""

import asyncio
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limpet.control.sandboxes.events import SandboxKey
from limpet.control.saver import (
    SAVES_AT_ONCE,
    Idle,
    Saver,
    SaverRules,
    Tracked,
    has_unsaved,
    should_save,
)
from limpet.errors import StoreUnavailableError
from limpet.ids import AgentId, Branch, OrgId

pytestmark = pytest.mark.anyio

RULES = SaverRules(idle_s=60, max_unsaved_s=600)


def key(name: str) -> SandboxKey:
    return SandboxKey(OrgId("local"), AgentId(name), Branch("b"))


@pytest.mark.parametrize(
    ("idle_ms", "seq", "saved_seq", "unsaved_for_s", "reason"),
    [
        (60_000, 5, 4, 0, "idle"),
        (59_999, 5, 4, 0, None),
        (60_000, 5, 5, 10_000, None),
        (10_000_000, 5, 5, 10_000, None),
        (0, 5, 4, 600, "interval"),
        (0, 5, 4, 599, None),
        (60_000, 0, None, 0, "idle"),
        (0, 0, None, 600, "interval"),
    ],
)
def test_when_a_sandbox_is_saved(
    idle_ms: int, seq: int, saved_seq: int | None, unsaved_for_s: float, reason: str | None
) -> None:
    assert should_save(Idle(idle_ms, seq), saved_seq, unsaved_for_s, RULES) == reason


@given(st.integers(0, 10**9), st.integers(0, 100), st.integers(0, 100), st.floats(0, 10**6))
def test_saved_work_is_never_saved_again_and_old_work_never_waits_longer(
    idle_ms: int, seq: int, saved_seq: int, unsaved_for_s: float
) -> None:
    reason = should_save(Idle(idle_ms, seq), saved_seq, unsaved_for_s, RULES)
    if not has_unsaved(seq, saved_seq):
        assert reason is None
    elif idle_ms >= 60_000 or unsaved_for_s >= 600:
        assert reason is not None


class Fleet:
    """Sandboxes that work, fail or hang as told."""

    def __init__(self, *names: str) -> None:
        self.seqs = {key(name): 1 for name in names}
        self.saved: dict[SandboxKey, int] = {key(name): 0 for name in names}
        self.idle_ms = 60_000
        self.saves: list[tuple[SandboxKey, str]] = []
        self.broken: set[SandboxKey] = set()
        self.dead: set[SandboxKey] = set()
        self.gates: dict[SandboxKey, asyncio.Event] = {}
        self.probe_gate: asyncio.Event | None = None
        self.at_once = self.most_at_once = 0

    async def tracked(self) -> list[Tracked]:
        return [Tracked(one, self.saved[one]) for one in self.seqs]

    async def idle(self, key: SandboxKey) -> Idle | None:
        if self.probe_gate is not None:
            await self.probe_gate.wait()
        if key in self.dead:
            raise RuntimeError("what a daemon of another version answers")
        return Idle(self.idle_ms, self.seqs[key])

    async def save_for(self, key: SandboxKey, reason: Literal["idle", "interval"]) -> None:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            if gate := self.gates.get(key):
                await gate.wait()
            if key in self.broken:
                raise StoreUnavailableError("the store is away")
            self.saves.append((key, reason))
            self.saved[key] = self.seqs[key]
        finally:
            self.at_once -= 1


async def tick(saver: Saver) -> None:
    assert await saver.tick()
    await saver.settle()


async def test_an_idle_sandbox_is_saved_once_a_burst() -> None:
    fleet = Fleet("a")
    saver = Saver(fleet, RULES)
    await tick(saver)
    await tick(saver)
    assert fleet.saves == [(key("a"), "idle")]
    fleet.seqs[key("a")] += 1
    await tick(saver)
    await tick(saver)
    assert len(fleet.saves) == 2


async def test_a_busy_sandbox_is_saved_every_ten_minutes_of_unsaved_work() -> None:
    now = 0.0
    fleet = Fleet("a")
    fleet.idle_ms = 0
    saver = Saver(fleet, RULES, clock=lambda: now)
    for _ in range(60):
        await tick(saver)
        now += 30
        fleet.seqs[key("a")] += 1
    assert [reason for _, reason in fleet.saves] == ["interval"] * 2


async def test_what_was_done_while_a_save_ran_is_saved_by_the_next() -> None:
    fleet = Fleet("a")
    fleet.gates[key("a")] = asyncio.Event()
    saver = Saver(fleet, RULES)
    await saver.tick()
    fleet.gates.pop(key("a")).set()
    await saver.settle()
    fleet.seqs[key("a")] += 1
    await tick(saver)
    assert len(fleet.saves) == 2


async def test_one_failing_sandbox_holds_up_no_other_and_is_tried_again() -> None:
    fleet = Fleet("a", "b", "c")
    fleet.broken.add(key("a"))
    fleet.dead.add(key("b"))
    saver = Saver(fleet, RULES)
    await tick(saver)
    assert fleet.saves == [(key("c"), "idle")]
    fleet.broken.clear()
    fleet.dead.clear()
    await tick(saver)
    assert {one for one, _ in fleet.saves} == {key("a"), key("b"), key("c")}


async def test_a_save_that_hangs_is_not_begun_twice_and_delays_nobody() -> None:
    fleet = Fleet("a", "b")
    fleet.gates[key("a")] = asyncio.Event()
    saver = Saver(fleet, RULES)
    for _ in range(3):
        assert await saver.tick()
    assert fleet.at_once == 1
    assert fleet.saves == [(key("b"), "idle")]
    fleet.gates[key("a")].set()
    await saver.settle()
    assert len(fleet.saves) == 2


async def test_two_looks_never_overlap() -> None:
    fleet = Fleet("a")
    fleet.probe_gate = asyncio.Event()
    saver = Saver(fleet, RULES)
    first = asyncio.create_task(saver.tick())
    await asyncio.sleep(0)
    assert not await saver.tick()
    fleet.probe_gate.set()
    assert await first


async def test_a_bounded_number_of_saves_runs_at_once() -> None:
    fleet = Fleet(*(str(n) for n in range(20)))
    gate = asyncio.Event()
    fleet.gates = dict.fromkeys(fleet.seqs, gate)
    saver = Saver(fleet, RULES)
    await saver.tick()
    while fleet.at_once < SAVES_AT_ONCE:
        await asyncio.sleep(0)
    gate.set()
    await saver.settle()
    assert fleet.most_at_once == SAVES_AT_ONCE
    assert len(fleet.saves) == 20


async def test_the_loop_ends_after_the_save_that_is_under_way_and_begins_no_other() -> None:
    fleet = Fleet(*(str(n) for n in range(SAVES_AT_ONCE + 3)))
    gate = asyncio.Event()
    fleet.gates = dict.fromkeys(fleet.seqs, gate)
    saver = Saver(fleet, RULES, poll_s=0.001)
    running = asyncio.create_task(saver.run())
    while fleet.at_once < SAVES_AT_ONCE:
        await asyncio.sleep(0)
    saver.close()
    gate.set()
    await running
    assert len(fleet.saves) == SAVES_AT_ONCE


async def test_the_loop_outlives_a_bad_minute_of_the_database() -> None:
    class Shaky(Fleet):
        failures = 2

        async def tracked(self) -> list[Tracked]:
            if self.failures:
                self.failures -= 1
                raise OSError("database is locked")
            return await super().tracked()

    fleet = Shaky("a")
    saver = Saver(fleet, RULES, poll_s=0.001)
    running = asyncio.create_task(saver.run())
    while not fleet.saves:
        await asyncio.sleep(0)
    saver.close()
    await running
