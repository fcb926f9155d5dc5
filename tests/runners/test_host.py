"""What the host runner alone does: folders, logs and sessions of this machine."""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from limpet.errors import NotFoundError, RunnerError
from limpet.ids import Handle
from limpet.runners.base import EnsureOptions
from limpet.runners.host import HostRunner
from tests.runners.support import SANDBOX, processes_of, standin_runner

pytestmark = pytest.mark.anyio
HANDLE = SANDBOX.handle


@pytest.fixture
async def runner(data_dir: Path, mode: str) -> AsyncIterator[HostRunner]:
    runner = standin_runner(data_dir, mode)
    yield runner
    await runner.delete(HANDLE)
    await runner.close()


@pytest.mark.parametrize("handle", ["../x", "", ".trash", "a/b", "A", "x" * 60, "a\n"])
async def test_what_is_no_handle_touches_nothing(data_dir: Path, handle: str) -> None:
    runner = standin_runner(data_dir, "none")
    assert await runner.find(Handle(handle)) is None
    with pytest.raises(NotFoundError):
        await runner.delete(Handle(handle))
    await runner.close()


async def test_the_daemons_log_is_bounded(data_dir: Path, mode: str) -> None:
    runner = standin_runner(data_dir, mode, evil="chatty")
    await runner.ensure(SANDBOX, EnsureOptions())
    log = runner.root(HANDLE) / "state/logs/daemon.log"
    assert await runner.alive(HANDLE)
    assert log.stat().st_size < 300 * 1024
    await runner.stop(HANDLE)
    await runner.close()


async def test_a_daemon_survives_ctrl_c(runner: HostRunner, data_dir: Path) -> None:
    await runner.ensure(SANDBOX, EnsureOptions())
    groups = {os.getpgid(process.pid) for process in processes_of(data_dir)}
    assert groups
    assert os.getpgid(0) not in groups
    assert all(os.getsid(process.pid) != os.getsid(0) for process in processes_of(data_dir))


async def test_a_sandbox_that_locks_its_own_folders_starts_and_goes_all_the_same(
    runner: HostRunner,
) -> None:
    found = await runner.ensure(SANDBOX, EnsureOptions())
    root = runner.root(HANDLE)
    for folder in (root / "state/logs", root / "state", root):
        folder.chmod(0)
    assert await runner.alive(HANDLE)
    await runner.stop(HANDLE)
    again = await runner.ensure(SANDBOX, EnsureOptions())
    assert again.boot_id != found.boot_id
    root.chmod(0)
    await runner.delete(HANDLE)
    assert not root.exists()


async def test_a_folder_that_cannot_be_made_is_told(data_dir: Path, mode: str) -> None:
    runner = standin_runner(data_dir, mode)
    (data_dir / "sandboxes").write_text("in the way")
    with pytest.raises(RunnerError, match="cannot be made ready"):
        await runner.ensure(SANDBOX, EnsureOptions())
    assert not await runner.alive(HANDLE)
    await runner.close()


async def test_unknown_handles_take_no_memory(data_dir: Path) -> None:
    runner = standin_runner(data_dir, "none")
    for number in range(10):
        assert await runner.find(Handle(f"nobody-{number}")) is None
    assert not runner._slots
    await runner.close()


async def test_delete_leaves_nothing_in_the_trash(runner: HostRunner, data_dir: Path) -> None:
    await runner.ensure(SANDBOX, EnsureOptions())
    await runner.delete(HANDLE)
    assert [path.name for path in (data_dir / "sandboxes").iterdir()] == [".trash"]
    assert not list((data_dir / "sandboxes/.trash").iterdir())


async def test_a_sweep_deletes_what_was_set_aside(data_dir: Path, mode: str) -> None:
    left = data_dir / "sandboxes/.trash/calm-1-abc/workspace"
    left.mkdir(parents=True)
    (left / "file").write_text("x")
    runner = standin_runner(data_dir, mode)
    await runner.sweep()
    await runner.close()
    assert not list((data_dir / "sandboxes/.trash").iterdir())
