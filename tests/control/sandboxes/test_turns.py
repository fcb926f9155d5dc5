"""Turns and shared work."""

import asyncio

import pytest

from limpet.control.sandboxes.turns import Shared, Turns

pytestmark = pytest.mark.anyio


async def test_one_at_a_time_for_a_key_in_the_order_of_asking() -> None:
    turns: Turns[str] = Turns()
    order: list[int] = []

    async def act(number: int) -> None:
        async with turns.of("a"):
            order.append(number)
            await asyncio.sleep(0)
            order.append(number)

    await asyncio.gather(*(act(n) for n in range(5)))
    assert order == [n for n in range(5) for _ in range(2)]
    assert not turns.taken("a")


async def test_other_keys_do_not_wait() -> None:
    turns: Turns[str] = Turns()
    async with turns.of("a"), turns.of("b"):
        assert turns.taken("a")
        assert turns.taken("b")


async def test_one_who_gives_up_waiting_leaves_the_turn_to_the_next() -> None:
    turns: Turns[str] = Turns()
    async with turns.of("a"):
        waiting = asyncio.create_task(_enter(turns))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
    await _enter(turns)
    assert not turns.taken("a")


async def test_who_asks_twice_gets_the_same_and_only_the_first_is_told_so() -> None:
    shared: Shared[str, int] = Shared()
    calls = 0
    gate = asyncio.Event()

    async def work() -> int:
        nonlocal calls
        calls += 1
        await gate.wait()
        return 7

    asking = [asyncio.create_task(shared.do("a", work)) for _ in range(3)]
    await asyncio.sleep(0)
    gate.set()
    assert await asyncio.gather(*asking) == [(7, True), (7, False), (7, False)]
    assert calls == 1
    assert await shared.do("a", work) == (7, True)
    assert calls == 2


async def test_work_goes_on_when_who_asked_goes_away_and_settle_waits_for_it() -> None:
    shared: Shared[str, None] = Shared()
    gate, done = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        await gate.wait()
        done.set()

    asking = asyncio.create_task(shared.do("a", work))
    await asyncio.sleep(0)
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    assert not done.is_set()
    gate.set()
    await shared.settle()
    assert done.is_set()


async def test_an_error_reaches_everyone_who_asked() -> None:
    shared: Shared[str, None] = Shared()

    async def work() -> None:
        await asyncio.sleep(0)
        raise ValueError("no")

    got = await asyncio.gather(*(shared.do("a", work) for _ in range(2)), return_exceptions=True)
    assert [type(one) for one in got] == [ValueError, ValueError]


async def _enter(turns: Turns[str]) -> None:
    async with turns.of("a"):
        pass
