"""What a sandbox may take of the machine: real hogs and bombs, and a neighbour who notices none."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from limpet.ids import Branch, Handle
from limpet.runners.base import EnsureOptions, Provisioned
from limpet.runners.host import HostRunner
from limpet.runners.limits import Limiter, Limits
from tests.runners.support import SANDBOX, client_of, run, standin_runner

pytestmark = pytest.mark.anyio
MIB = 1 << 20
LIMITS = Limits(memory_bytes=256 * MIB, pids=100, cpus=1.0, file_bytes=8 * MIB)
OTHER = replace(SANDBOX, branch=Branch("limpet/other"), handle=Handle("calm-2"))
BOMB = """
import os, sys
made = 0
try:
    while made < 2000:
        if os.fork() == 0:
            os.read(0, 1)
            os._exit(0)
        made += 1
except OSError as error:
    print(made, error.strerror)
"""


def groups_of(data_dir: Path) -> list[Path]:
    limiter = Limiter.here(LIMITS, data_dir.resolve())
    return [place.folder / limiter._group / SANDBOX.handle for place in limiter._places]


@pytest.fixture
async def bound(data_dir: Path, mode: str) -> AsyncIterator[tuple[HostRunner, Provisioned]]:
    runner = standin_runner(data_dir, mode, limits=LIMITS)
    try:
        yield runner, await runner.ensure(SANDBOX, EnsureOptions())
    finally:
        await runner.delete(SANDBOX.handle)
        await runner.delete(OTHER.handle)
        await runner.close()


def needs(runner: HostRunner, what: str) -> None:
    missing = [line for line in runner.isolation.missing if what in line]
    if missing:
        pytest.skip(missing[0])


async def test_a_memory_hog_dies_and_the_daemon_does_not(
    bound: tuple[HostRunner, Provisioned],
) -> None:
    runner, found = bound
    needs(runner, "memory")
    async with client_of(found) as client:
        hog = "import sys; kept = [bytearray(16 * 2**20) for _ in range(64)]; print('all of it')"
        answer = await client.call(
            "POST", "/_sandbox/run", json={"argv": ["python3", "-c", hog]}, timeout_s=120
        )
        assert answer["code"] == -9, answer
        assert await run(client, "echo", "still here") == "still here\n"


async def test_a_fork_bomb_ends_at_the_limit(bound: tuple[HostRunner, Provisioned]) -> None:
    runner, found = bound
    needs(runner, "processes")
    other = await runner.ensure(OTHER, EnsureOptions())
    async with client_of(found) as client, client_of(other) as neighbour:
        made, why = (await run(client, "python3", "-c", BOMB)).split(maxsplit=1)
        assert 0 < int(made) < 100
        assert "unavailable" in why
        assert await run(neighbour, "echo", "undisturbed") == "undisturbed\n"


async def test_no_file_grows_beyond_its_limit(bound: tuple[HostRunner, Provisioned]) -> None:
    _, found = bound
    async with client_of(found) as client:
        answer = await client.call(
            "POST", "/_sandbox/run", timeout_s=120,
            json={"argv": ["sh", "-c", "head -c 9000000 /dev/zero > big; wc -c < big"]},
        )  # fmt: skip
    assert str(answer["stdout"]).strip() == str(8 * MIB)


async def test_groups_go_with_the_sandbox(
    bound: tuple[HostRunner, Provisioned], data_dir: Path
) -> None:
    runner, _ = bound
    groups = groups_of(data_dir)
    if not groups:
        pytest.skip("no control group that we may write")
    assert all(group.is_dir() for group in groups)
    await runner.stop(SANDBOX.handle)
    assert not any(group.exists() or group.parent.exists() for group in groups)


async def test_a_sweep_takes_away_what_a_killed_control_plane_left(data_dir: Path) -> None:
    limiter = Limiter.here(LIMITS, data_dir.resolve())
    if not limiter._places:
        pytest.skip("no control group that we may write")
    limiter.apply(SANDBOX.handle, [])
    assert all(group.is_dir() for group in groups_of(data_dir))
    runner = standin_runner(data_dir, "none", limits=LIMITS)
    await runner.sweep()
    assert not any(group.exists() for group in groups_of(data_dir))


async def test_what_cannot_be_kept_is_told() -> None:
    limiter = Limiter(LIMITS, "group", [])
    assert [line.split(":")[0] for line in limiter.missing if "processes" not in line] == [
        "a limit on memory",
        "a limit on processors",
        "a limit on disk",
    ]
    assert limiter.kept[-1] == f"bytes of one file: {8 * MIB:,} (rlimit)"
