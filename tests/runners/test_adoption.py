import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from limpet.ids import AgentId, Branch, Handle, OrgId
from limpet.runners.base import EnsureOptions, SandboxId
from limpet.runners.host import HostRunner
from limpet.runners.processes import wait_ended
from tests.runners.support import (
    HERE,
    SANDBOX,
    FileState,
    client_of,
    processes_of,
    run,
    standin_runner,
)

pytestmark = pytest.mark.anyio
HANDLE = SANDBOX.handle


def control_plane(data_dir: Path, mode: str, die_at: str = "never") -> "subprocess.Popen[str]":
    script = HERE / "control_plane.py"
    return subprocess.Popen(
        [sys.executable, str(script), str(data_dir), mode, die_at],
        stdout=subprocess.PIPE,
        text=True,
    )


async def killed_after_start(data_dir: Path, mode: str) -> list[str]:
    """Start a sandbox from another process, then kill -9 that process; url, token, boot id."""
    process = control_plane(data_dir, mode)
    assert process.stdout is not None
    with process.stdout:
        line = await asyncio.to_thread(process.stdout.readline)
        os.kill(process.pid, signal.SIGKILL)
        await asyncio.to_thread(process.wait)
    told: list[str] = json.loads(line)
    return told


@asynccontextmanager
async def next_runner(data_dir: Path, mode: str, evil: str = "good") -> AsyncIterator[HostRunner]:
    runner = standin_runner(data_dir, mode, evil=evil)
    try:
        yield runner
    finally:
        await runner.delete(HANDLE)
        await runner.close()


async def test_a_daemon_outlives_a_killed_control_plane_and_is_adopted(
    data_dir: Path, mode: str
) -> None:
    url, token, boot_id = await killed_after_start(data_dir, mode)
    async with next_runner(data_dir, mode) as runner:
        assert await runner.sweep() == []
        called: list[str] = []

        async def ready(found_url: str, _token: str) -> None:
            called.append(found_url)

        found = await runner.ensure(SANDBOX, EnsureOptions(on_daemon_ready=ready))
        assert (found.daemon_url, found.daemon_token, found.boot_id) == (url, token, boot_id)
        assert not found.is_new
        assert called == [url]
        await runner.stop(HANDLE)
        assert not processes_of(data_dir)


async def test_find_adopts_too_and_two_at_once_find_the_same(data_dir: Path, mode: str) -> None:
    _url, _token, boot_id = await killed_after_start(data_dir, mode)
    async with next_runner(data_dir, mode) as runner:
        both = await asyncio.gather(runner.find(HANDLE), runner.find(HANDLE))
        assert [found.boot_id for found in both if found] == [boot_id, boot_id]


async def test_a_daemon_that_died_with_the_control_plane_is_provisioned_again(
    data_dir: Path, mode: str
) -> None:
    _url, _token, boot_id = await killed_after_start(data_dir, mode)
    for process in processes_of(data_dir):
        os.kill(process.pid, signal.SIGKILL)
    async with next_runner(data_dir, mode) as runner:
        assert await runner.find(HANDLE) is None
        found = await runner.ensure(SANDBOX, EnsureOptions())
        assert found.is_new
        assert found.boot_id != boot_id


@pytest.mark.parametrize("wrong", ["boot_id", "token", "started", "pid"])
async def test_what_is_not_the_same_daemon_is_not_adopted(
    data_dir: Path, mode: str, wrong: str
) -> None:
    await killed_after_start(data_dir, mode)
    file = data_dir / "state.json"
    rows = json.loads(file.read_text())
    rows[HANDLE][wrong] = os.getppid() if wrong == "pid" else "another"
    file.write_text(json.dumps(rows))
    async with next_runner(data_dir, mode) as runner:
        assert await runner.find(HANDLE) is None
        # What runs of it is ended before a fresh one starts in the same folder.
        before = processes_of(data_dir)
        found = await runner.ensure(SANDBOX, EnsureOptions())
        assert found.is_new
        assert before
        assert not before & processes_of(data_dir)


@pytest.mark.parametrize("die_at", ["spawned", "before-state"])
async def test_a_control_plane_killed_between_spawn_and_record_leaves_no_daemon(
    data_dir: Path, mode: str, die_at: str
) -> None:
    process = control_plane(data_dir, mode, die_at)
    assert process.stdout is not None
    with process.stdout:
        assert await asyncio.to_thread(process.stdout.readline) == ""
    assert await asyncio.to_thread(process.wait) == -signal.SIGKILL
    async with next_runner(data_dir, mode) as runner:
        await runner.sweep()
        while processes_of(data_dir):  # it gives up by itself: its token's pipe ended
            await asyncio.sleep(0.02)
        assert (await runner.ensure(SANDBOX, EnsureOptions())).is_new


async def test_a_daemon_without_a_state_row_is_swept(data_dir: Path, mode: str) -> None:
    await killed_after_start(data_dir, mode)
    (data_dir / "state.json").unlink()
    async with next_runner(data_dir, mode) as runner:
        assert await runner.sweep() == [HANDLE]
        assert not processes_of(data_dir)


async def test_a_daemon_without_any_record_is_swept(data_dir: Path, mode: str) -> None:
    await killed_after_start(data_dir, mode)
    (data_dir / "state.json").unlink()
    (data_dir / f"runner/host/{HANDLE}.json").unlink()
    async with next_runner(data_dir, mode) as runner:
        assert await runner.sweep() == [HANDLE]
        assert not processes_of(data_dir)


async def test_a_sweep_spares_what_is_known_and_ends_a_dead_daemons_strays(
    data_dir: Path, mode: str
) -> None:
    other = SandboxId(OrgId("local"), AgentId("agt_2"), Branch("b"), Handle("other-2"))
    async with next_runner(data_dir, mode) as runner:
        kept = await runner.ensure(other, EnsureOptions())
        found = await runner.ensure(SANDBOX, EnsureOptions())
        async with client_of(found) as client:
            await run(client, "sh", "-c", "setsid sleep 1000 >/dev/null 2>&1 </dev/null &")
        record = runner._slots[HANDLE].record
        assert record is not None
        os.kill(record.processes[0].pid, signal.SIGKILL)
        assert await wait_ended(record.processes[0], 10)
        async with next_runner(data_dir, mode) as fresh:
            swept = await fresh.sweep()
            again = await fresh.find(other.handle)
            await fresh.delete(other.handle)
    assert swept == ([HANDLE] if mode == "none" else [])
    assert again is not None
    assert again.boot_id == kept.boot_id
    assert await FileState(data_dir / "state.json").get(HANDLE) is None


async def test_a_sweep_deletes_what_was_set_aside(data_dir: Path, mode: str) -> None:
    left = data_dir / "sandboxes/.trash/calm-1-abc/workspace"
    left.mkdir(parents=True)
    (left / "file").write_text("x")
    async with next_runner(data_dir, mode) as runner:
        await runner.sweep()
    assert not list((data_dir / "sandboxes/.trash").iterdir())
