import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from limpet.ids import AgentId, Branch, Handle, OrgId
from limpet.runners.base import EnsureOptions, SandboxId
from tests.runners.places import AnyRunner, Place
from tests.runners.support import SANDBOX, FileState, client_of, run
from tests.sampled import one_in

pytestmark = pytest.mark.anyio
HANDLE = SANDBOX.handle


async def killed_after_start(place: Place) -> list[str]:
    """Start a sandbox from another process, then kill -9 that process; url, token, boot id."""
    process = place.control_plane()
    assert process.stdout is not None
    with process.stdout:
        line = await asyncio.to_thread(process.stdout.readline)
        os.kill(process.pid, signal.SIGKILL)
        await asyncio.to_thread(process.wait)
    told: list[str] = json.loads(line)
    return told


@asynccontextmanager
async def next_runner(place: Place) -> AsyncIterator[AnyRunner]:
    runner = await place.runner()
    try:
        yield runner
    finally:
        await runner.delete(HANDLE)
        await runner.close()


async def test_a_daemon_outlives_a_killed_control_plane_and_is_adopted(place: Place) -> None:
    url, token, boot_id = await killed_after_start(place)
    async with next_runner(place) as runner:
        assert await runner.sweep() == []
        called: list[str] = []

        async def ready(found_url: str, _token: str) -> None:
            called.append(found_url)

        found = await runner.ensure(SANDBOX, EnsureOptions(on_daemon_ready=ready))
        assert (found.daemon_url, found.daemon_token, found.boot_id) == (url, token, boot_id)
        assert not found.is_new
        assert called == [url]
        await runner.stop(HANDLE)
        assert not place.running()


async def test_find_adopts_too_and_two_at_once_find_the_same(place: Place) -> None:
    _url, _token, boot_id = await killed_after_start(place)
    async with next_runner(place) as runner:
        both = await asyncio.gather(runner.find(HANDLE), runner.find(HANDLE))
        assert [found.boot_id for found in both if found] == [boot_id, boot_id]


async def test_a_daemon_that_died_with_the_control_plane_is_provisioned_again(place: Place) -> None:
    _url, _token, boot_id = await killed_after_start(place)
    witness = await place.runner()
    assert await witness.find(HANDLE) is not None
    place.signal_daemon(witness, signal.SIGKILL)
    await witness.close()
    async with next_runner(place) as runner:
        assert await runner.find(HANDLE) is None
        found = await runner.ensure(SANDBOX, EnsureOptions())
        assert found.is_new
        assert found.boot_id != boot_id


@pytest.mark.parametrize("wrong", one_in(3, ["boot_id", "token", "which", "since"]))
async def test_what_is_not_the_same_daemon_is_not_adopted(place: Place, wrong: str) -> None:
    await killed_after_start(place)
    rows = json.loads(place.state.read_text())
    rows[HANDLE] |= place.forged.get(wrong, {wrong: "another"})
    place.state.write_text(json.dumps(rows))
    async with next_runner(place) as runner:
        assert await runner.find(HANDLE) is None
        # What runs of it is ended before a fresh one starts in the same folder.
        before = place.running()
        found = await runner.ensure(SANDBOX, EnsureOptions())
        assert found.is_new
        assert before
        assert not before & place.running()


@pytest.mark.parametrize("die_at", ["spawned", "before-state"])
async def test_a_control_plane_killed_between_spawn_and_record_leaves_no_daemon(
    place: Place, die_at: str
) -> None:
    process = place.control_plane(die_at)
    assert process.stdout is not None
    with process.stdout:
        assert await asyncio.to_thread(process.stdout.readline) == ""
    assert await asyncio.to_thread(process.wait) == -signal.SIGKILL
    while place.running():  # it gives up by itself: what its token should come through has ended
        await asyncio.sleep(0.02)
    async with next_runner(place) as runner:
        await runner.sweep()
        assert (await runner.ensure(SANDBOX, EnsureOptions())).is_new


async def test_a_daemon_without_a_state_row_is_swept(place: Place) -> None:
    await killed_after_start(place)
    place.state.unlink()
    async with next_runner(place) as runner:
        assert await runner.sweep() == [HANDLE]
        assert not place.running()


async def test_a_daemon_without_any_record_is_swept(place: Place) -> None:
    await killed_after_start(place)
    place.state.unlink()
    place.lose_records()
    async with next_runner(place) as runner:
        assert await runner.sweep() == [HANDLE]
        assert not place.running()


async def test_a_sweep_spares_what_is_known_and_ends_a_dead_daemons_strays(place: Place) -> None:
    other = SandboxId(OrgId("local"), AgentId("agt_2"), Branch("b"), Handle("other-2"))
    async with next_runner(place) as runner:
        kept = await runner.ensure(other, EnsureOptions())
        found = await runner.ensure(SANDBOX, EnsureOptions())
        async with client_of(found) as client:
            await run(client, "sh", "-c", "setsid sleep 1000 >/dev/null 2>&1 </dev/null &")
        place.signal_daemon(runner, signal.SIGKILL)
        async with next_runner(place) as fresh:
            swept = await fresh.sweep()
            again = await fresh.find(other.handle)
            await fresh.delete(other.handle)
    assert swept == ([HANDLE] if place.mode == "none" else [])
    assert again is not None
    assert again.boot_id == kept.boot_id
    assert await FileState(place.state).get(HANDLE) is None
