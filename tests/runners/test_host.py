import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from limpet.errors import DaemonUnreachableError, NotFoundError, RunnerError
from limpet.ids import Handle
from limpet.runners.base import EnsureOptions, Repo, Workload
from limpet.runners.ending import daemon_of
from limpet.runners.host import HostRunner
from limpet.runners.processes import process_table
from tests.runners.support import SANDBOX, client_of, processes_of, run, standin_runner

pytestmark = pytest.mark.anyio
HANDLE = SANDBOX.handle
NAP = f"1000.{os.getpid()}"
"""Seconds, told apart from the naps of other tests."""


@pytest.fixture
async def runner(data_dir: Path, mode: str) -> AsyncIterator[HostRunner]:
    runner = standin_runner(data_dir, mode)
    yield runner
    await runner.delete(HANDLE)
    await runner.close()


async def posted(runner: HostRunner) -> list[object]:
    found = await runner.find(HANDLE)
    assert found is not None
    async with client_of(found) as client:
        config = (await client.config())["config"]
    assert isinstance(config, list)
    return config


async def test_a_sandbox_starts_configured_and_only_with_its_token(runner: HostRunner) -> None:
    steps: list[str] = []
    options = EnsureOptions(
        repo=Repo("https://git.example/r.git", "main", "Ann", "ann@example.org", "r"),
        workload=Workload(dev_port=5173, package_manager="npm"),
        env={"A": "1"},
        progress=steps.append,
    )
    found = await runner.ensure(SANDBOX, options)
    assert found.is_new
    assert found.isolation == runner.isolation
    assert steps == ["starting-daemon", "daemon-ready", "configuring"]
    assert await posted(runner) == [
        {
            "git": {
                "repository": {
                    "cloneUrl": "https://git.example/r.git",
                    "branch": "main",
                    "displayName": "r",
                },
                "identity": {"userName": "Ann", "userEmail": "ann@example.org"},
            },
            "application": {
                "packageManager": {"name": "npm"},
                "port": 5173,
                "command": None,
            },
            "env": {"A": "1"},
        }
    ]
    assert len(found.daemon_token) == 64


async def test_two_ensures_at_once_give_one_sandbox(runner: HostRunner) -> None:
    both = await asyncio.gather(*(runner.ensure(SANDBOX, EnsureOptions()) for _ in range(2)))
    assert {found.boot_id for found in both} == {both[0].boot_id}
    assert sorted(found.is_new for found in both) == [False, True]


async def test_with_hold_no_config_is_posted_until_an_ensure_without(runner: HostRunner) -> None:
    await runner.ensure(SANDBOX, EnsureOptions(hold=True))
    assert await posted(runner) == []
    again = await runner.ensure(SANDBOX, EnsureOptions())
    assert not again.is_new
    assert await posted(runner) == [{"application": {"command": None}}]


async def test_on_daemon_ready_comes_between_health_and_config_and_may_fail(
    runner: HostRunner, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[object] = []

    async def ready(url: str, token: str) -> None:
        found = await runner.find(HANDLE)
        assert found is not None
        assert (found.daemon_url, found.daemon_token) == (url, token)
        seen.append(await posted(runner))
        raise RuntimeError("the store is on fire")

    await runner.ensure(SANDBOX, EnsureOptions(on_daemon_ready=ready))
    assert seen == [[]]
    assert await posted(runner) == [{"application": {"command": None}}]
    assert "on_daemon_ready failed" in caplog.text


async def test_stop_ends_all_and_keeps_the_files(runner: HostRunner, data_dir: Path) -> None:
    found = await runner.ensure(SANDBOX, EnsureOptions())
    async with client_of(found) as client:
        await run(client, "sh", "-c", "echo kept > file")
    await runner.stop(HANDLE)
    assert not await runner.alive(HANDLE)
    assert not processes_of(data_dir)
    assert (runner.root(HANDLE) / "workspace/home/file").read_text() == "kept\n"
    await runner.stop(HANDLE)
    again = await runner.ensure(SANDBOX, EnsureOptions())
    assert again.is_new
    assert again.boot_id != found.boot_id
    assert again.daemon_token != found.daemon_token


async def test_stop_ends_processes_that_left_the_session_and_wiped_their_environment(
    runner: HostRunner, data_dir: Path
) -> None:
    found = await runner.ensure(SANDBOX, EnsureOptions())
    async with client_of(found) as client:
        escape = (
            f"setsid sleep {NAP} & env -i setsid sleep {NAP} & setsid -f sh -c 'sleep {NAP}; :'"
        )
        await run(client, "sh", "-c", f"({escape}) >/dev/null 2>&1 </dev/null &")
    await runner.stop(HANDLE)
    assert not processes_of(data_dir)
    assert not sleepers()


def sleepers() -> list[int]:
    """What of these tests runs in a sandbox's home, also in one that is seen from outside."""
    found = []
    for name in os.listdir("/proc"):
        try:
            words = Path(f"/proc/{name}/cmdline").read_bytes()
            where = str(Path(f"/proc/{name}/cwd").readlink())
        except OSError:
            continue
        if words.startswith(b"sleep\x00" + NAP.encode()) and "workspace/home" in where:
            found.append(int(name))
    return found


async def test_strays_of_a_daemon_that_was_killed_end_before_the_next_one_starts(
    runner: HostRunner, data_dir: Path
) -> None:
    found = await runner.ensure(SANDBOX, EnsureOptions())
    async with client_of(found) as client:
        await run(client, "sh", "-c", f"setsid sleep {NAP} >/dev/null 2>&1 </dev/null &")
        with pytest.raises(DaemonUnreachableError):
            await client.call("POST", "/_sandbox/die", json={})
    assert not await runner.alive(HANDLE)
    again = await runner.ensure(SANDBOX, EnsureOptions())
    assert again.is_new
    assert not sleepers()


async def test_a_port_of_a_dead_daemon_answers_no_more(runner: HostRunner) -> None:
    found = await runner.ensure(SANDBOX, EnsureOptions())
    async with client_of(found) as client:
        with pytest.raises(DaemonUnreachableError):
            await client.call("POST", "/_sandbox/die", json={})
    assert not await runner.alive(HANDLE)
    with socket.socket() as probe:
        port = urlsplit(found.daemon_url).port
        assert probe.connect_ex(("127.0.0.1", port)) != 0


async def test_an_ensure_during_a_stop_waits_and_starts_afresh(runner: HostRunner) -> None:
    first = await runner.ensure(SANDBOX, EnsureOptions())
    stopping = asyncio.create_task(runner.stop(HANDLE))
    await asyncio.sleep(0)
    second = await runner.ensure(SANDBOX, EnsureOptions())
    await stopping
    assert second.is_new
    assert second.boot_id != first.boot_id
    assert await runner.alive(HANDLE)


async def test_delete_takes_the_files_too_and_is_no_error_twice(
    runner: HostRunner, data_dir: Path
) -> None:
    found = await runner.ensure(SANDBOX, EnsureOptions())
    async with client_of(found) as client:
        await run(client, "sh", "-c", "mkdir -p a/b && touch a/b/c && chmod 000 a/b && chmod 500 a")
    await runner.delete(HANDLE)
    assert [path.name for path in (data_dir / "sandboxes").iterdir()] == [".trash"]
    assert not list((data_dir / "sandboxes/.trash").iterdir())
    await runner.delete(HANDLE)
    assert not await runner.alive(HANDLE)


async def test_a_proxied_request_reaches_the_daemon_with_its_token(runner: HostRunner) -> None:
    await runner.ensure(SANDBOX, EnsureOptions())
    async with runner.proxy_daemon_request(
        HANDLE, "GET", "/_sandbox/config", headers={"Authorization": "Bearer mine"}
    ) as answer:
        assert answer.status == 200
    await runner.stop(HANDLE)
    with pytest.raises(DaemonUnreachableError):
        async with runner.proxy_daemon_request(HANDLE, "GET", "/_sandbox/config"):
            pass


@pytest.mark.parametrize("handle", ["../x", "", ".trash", "a/b", "A", "x" * 60, "a\n"])
async def test_what_is_no_handle_touches_nothing(data_dir: Path, handle: str) -> None:
    runner = standin_runner(data_dir, "none")
    assert await runner.find(Handle(handle)) is None
    with pytest.raises(NotFoundError):
        await runner.delete(Handle(handle))
    await runner.close()


async def test_only_the_allowed_environment_reaches_a_daemon(data_dir: Path, mode: str) -> None:
    environ = {
        **os.environ,
        "AWS_SECRET_ACCESS_KEY": "s3cret",
        "LIMPET_SECRET_KEY": "s3cret",
        "NPM_CONFIG_REGISTRY": "https://registry.example/",
        "npm_config__authToken": "s3cret",
        "LC_ALL": "C.UTF-8",
        "https_proxy": "http://proxy.example:3128",
    }
    runner = standin_runner(data_dir, mode, environ=environ)
    try:
        found = await runner.ensure(SANDBOX, EnsureOptions())
        async with client_of(found) as client:
            env = await client.call("GET", "/_sandbox/env")
    finally:
        await runner.delete(HANDLE)
        await runner.close()
    assert "s3cret" not in str(env)
    assert found.daemon_token not in str(env)
    assert env["NPM_CONFIG_REGISTRY"] == "https://registry.example/"
    assert env["LC_ALL"] == "C.UTF-8"
    assert env["https_proxy"] == "http://proxy.example:3128"
    assert env["DAEMON_REQUIRE_TOKEN"] == "1"
    assert env["DAEMON_ALLOWED_ORIGINS"] != "*"
    root = "/sandbox" if mode == "bubblewrap" else str(data_dir / "sandboxes" / HANDLE)
    assert env["APP_ROOT"] == f"{root}/workspace"
    assert env["HOME"] == f"{root}/workspace/home"
    assert env.get("DAEMON_RELOCATED") == (None if mode == "bubblewrap" else "1")


EVIL = {
    "dying": "I die at once",
    "lying": "another boot id",
    "wrong-token": "does not take its token",
    "never-ready": "did not answer within",
    "silent": "did not answer within",
    "refusing": "no such runtime",
}


@pytest.mark.parametrize("evil", EVIL)
async def test_an_evil_twin_is_ended_and_told(data_dir: Path, mode: str, evil: str) -> None:
    within_s = 1.5 if evil in {"never-ready", "silent"} else 30.0
    runner = standin_runner(data_dir, mode, evil=evil, healthy_within_s=within_s)
    with pytest.raises(RunnerError) as caught:
        await runner.ensure(SANDBOX, EnsureOptions())
    assert EVIL[evil] in caught.value.message
    assert not processes_of(data_dir)
    assert await runner.find(HANDLE) is None
    assert (data_dir / "state.json").read_text() == "{}"
    if evil != "refusing":
        assert f"hello {evil}" in caught.value.message
    await runner.close()


async def test_a_slow_one_is_waited_for_and_a_stubborn_one_is_killed(
    data_dir: Path, mode: str
) -> None:
    for evil in ("slow", "stubborn"):
        runner = standin_runner(data_dir, mode, evil=evil, stop_grace_s=0.3)
        assert (await runner.ensure(SANDBOX, EnsureOptions())).is_new
        await runner.stop(HANDLE)
        assert not processes_of(data_dir)
        await runner.close()


async def test_a_refused_config_leaves_a_sandbox_that_ran_before_alone(
    data_dir: Path, mode: str
) -> None:
    runner = standin_runner(data_dir, mode, evil="refusing")
    await runner.ensure(SANDBOX, EnsureOptions(hold=True))
    with pytest.raises(RunnerError):
        await runner.ensure(SANDBOX, EnsureOptions())
    assert await runner.alive(HANDLE)
    await runner.stop(HANDLE)
    await runner.close()


async def test_a_start_that_is_cancelled_leaves_nothing(data_dir: Path, mode: str) -> None:
    runner = standin_runner(data_dir, mode)
    reached = asyncio.Event()

    async def ready(_url: str, _token: str) -> None:
        reached.set()
        await asyncio.Event().wait()

    start = asyncio.create_task(runner.ensure(SANDBOX, EnsureOptions(on_daemon_ready=ready)))
    await reached.wait()
    start.cancel()
    with pytest.raises(asyncio.CancelledError):
        await start
    assert not processes_of(data_dir)
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


async def test_one_that_hangs_is_ended_and_started_again(data_dir: Path, mode: str) -> None:
    runner = standin_runner(data_dir, mode, patience_s=0.1)
    first = await runner.ensure(SANDBOX, EnsureOptions())
    record = runner._slots[HANDLE].record
    assert record is not None
    daemon = daemon_of(record, process_table())
    assert daemon is not None
    os.kill(daemon.pid, signal.SIGSTOP)
    second = await runner.ensure(SANDBOX, EnsureOptions())
    assert second.is_new
    assert second.boot_id != first.boot_id
    await runner.stop(HANDLE)
    await runner.close()


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


async def test_state_that_cannot_be_written_leaves_no_daemon(data_dir: Path, mode: str) -> None:
    def broken() -> None:
        raise OSError("the database is locked")

    runner = standin_runner(data_dir, mode, before_put=broken)
    with pytest.raises(RunnerError, match="database is locked"):
        await runner.ensure(SANDBOX, EnsureOptions())
    assert not processes_of(data_dir)
    await runner.close()


async def test_unknown_handles_take_no_memory(data_dir: Path) -> None:
    runner = standin_runner(data_dir, "none")
    for number in range(10):
        assert await runner.find(Handle(f"nobody-{number}")) is None
    assert not runner._slots
    await runner.close()
