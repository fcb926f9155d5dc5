"""What every runner does, wherever its sandboxes live; a stand-in plays the daemon."""

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import anyio
import pytest

from limpet.errors import DaemonUnreachableError, RunnerError
from limpet.runners.base import EnsureOptions, Repo, Workload
from tests.runners.places import AnyRunner, Place
from tests.runners.support import SANDBOX, client_of, run

pytestmark = pytest.mark.anyio
HANDLE = SANDBOX.handle
NAP = f"1000.{os.getpid()}"
"""Seconds, told apart from the naps of other tests."""
HELD_BYTES = 64_000_000


@pytest.fixture
async def runner(place: Place) -> AsyncIterator[AnyRunner]:
    runner = await place.runner()
    yield runner
    await runner.delete(HANDLE)
    await runner.close()


async def posted(runner: AnyRunner) -> list[object]:
    found = await runner.find(HANDLE)
    assert found is not None
    async with client_of(found) as client:
        config = (await client.config())["config"]
    assert isinstance(config, list)
    return config


async def test_a_sandbox_starts_configured_and_only_with_its_token(runner: AnyRunner) -> None:
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


async def test_two_ensures_at_once_give_one_sandbox(runner: AnyRunner) -> None:
    both = await asyncio.gather(*(runner.ensure(SANDBOX, EnsureOptions()) for _ in range(2)))
    assert {found.boot_id for found in both} == {both[0].boot_id}
    assert sorted(found.is_new for found in both) == [False, True]


async def test_with_hold_no_config_is_posted_until_an_ensure_without(runner: AnyRunner) -> None:
    await runner.ensure(SANDBOX, EnsureOptions(hold=True))
    assert await posted(runner) == []
    again = await runner.ensure(SANDBOX, EnsureOptions())
    assert not again.is_new
    assert await posted(runner) == [{"application": {"command": None}}]


async def test_on_daemon_ready_comes_between_health_and_config_and_may_fail(
    runner: AnyRunner, caplog: pytest.LogCaptureFixture
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


async def test_stop_ends_all_and_keeps_the_files(runner: AnyRunner, place: Place) -> None:
    found = await runner.ensure(SANDBOX, EnsureOptions())
    async with client_of(found) as client:
        await run(client, "sh", "-c", "echo kept > file")
    await runner.stop(HANDLE)
    assert not await runner.alive(HANDLE)
    assert not place.running()
    assert (place.root() / "workspace/home/file").read_text() == "kept\n"
    await runner.stop(HANDLE)
    again = await runner.ensure(SANDBOX, EnsureOptions())
    assert again.is_new
    assert again.boot_id != found.boot_id
    assert again.daemon_token != found.daemon_token


async def test_stop_ends_processes_that_left_the_session_and_wiped_their_environment(
    runner: AnyRunner, place: Place
) -> None:
    found = await runner.ensure(SANDBOX, EnsureOptions())
    async with client_of(found) as client:
        escape = (
            f"setsid sleep {NAP} & env -i setsid sleep {NAP} & setsid -f sh -c 'sleep {NAP}; :'"
        )
        await run(client, "sh", "-c", f"({escape}) >/dev/null 2>&1 </dev/null &")
    await runner.stop(HANDLE)
    assert not place.running()
    assert not sleepers()


async def test_what_all_its_processes_hold_is_told_while_it_runs(runner: AnyRunner) -> None:
    assert await runner.memory_bytes(HANDLE) is None
    found = await runner.ensure(SANDBOX, EnsureOptions())
    before = await runner.memory_bytes(HANDLE)
    assert before is not None
    async with client_of(found) as client:
        # tail keeps what it may have to show until its input ends, which it does not.
        hold = f"(head -c {HELD_BYTES} /dev/zero; exec sleep {NAP}) | tail -c {HELD_BYTES}"
        await run(client, "sh", "-c", f"({hold}) >/dev/null 2>&1 </dev/null &")
    with anyio.fail_after(60):
        while (await runner.memory_bytes(HANDLE) or 0) < before + HELD_BYTES:
            await asyncio.sleep(0.05)
    await runner.stop(HANDLE)
    assert await runner.memory_bytes(HANDLE) is None


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
    runner: AnyRunner, place: Place
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


async def test_a_port_of_a_dead_daemon_answers_no_more(runner: AnyRunner) -> None:
    found = await runner.ensure(SANDBOX, EnsureOptions())
    async with client_of(found) as client:
        with pytest.raises(DaemonUnreachableError):
            await client.call("POST", "/_sandbox/die", json={})
    assert not await runner.alive(HANDLE)
    with socket.socket() as probe:
        port = urlsplit(found.daemon_url).port
        assert probe.connect_ex(("127.0.0.1", port)) != 0


async def test_an_ensure_during_a_stop_waits_and_starts_afresh(runner: AnyRunner) -> None:
    first = await runner.ensure(SANDBOX, EnsureOptions())
    stopping = asyncio.create_task(runner.stop(HANDLE))
    await asyncio.sleep(0)
    second = await runner.ensure(SANDBOX, EnsureOptions())
    await stopping
    assert second.is_new
    assert second.boot_id != first.boot_id
    assert await runner.alive(HANDLE)


async def test_delete_takes_the_files_too_and_is_no_error_twice(
    runner: AnyRunner, place: Place
) -> None:
    found = await runner.ensure(SANDBOX, EnsureOptions())
    async with client_of(found) as client:
        await run(client, "sh", "-c", "mkdir -p a/b && touch a/b/c && chmod 000 a/b && chmod 500 a")
    await runner.delete(HANDLE)
    assert not place.root().exists()
    await runner.delete(HANDLE)
    assert not await runner.alive(HANDLE)


async def test_a_proxied_request_reaches_the_daemon_with_its_token(runner: AnyRunner) -> None:
    await runner.ensure(SANDBOX, EnsureOptions())
    async with runner.proxy_daemon_request(
        HANDLE, "GET", "/_sandbox/config", headers={"Authorization": "Bearer mine"}
    ) as answer:
        assert answer.status == 200
    await runner.stop(HANDLE)
    with pytest.raises(DaemonUnreachableError):
        async with runner.proxy_daemon_request(HANDLE, "GET", "/_sandbox/config"):
            pass


async def test_only_the_allowed_environment_reaches_a_daemon(place: Place) -> None:
    environ = {
        **os.environ,
        "AWS_SECRET_ACCESS_KEY": "s3cret",
        "LIMPET_SECRET_KEY": "s3cret",
        "NPM_CONFIG_REGISTRY": "https://registry.example/",
        "npm_config__authToken": "s3cret",
        "LC_ALL": "C.UTF-8",
        "https_proxy": "http://proxy.example:3128",
    }
    runner = await place.runner(environ=environ)
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
    assert env["APP_ROOT"] == place.inside("/workspace")
    assert env["HOME"] == place.inside("/workspace/home")
    assert env.get("DAEMON_RELOCATED") == ("1" if place.mode == "none" else None)


EVIL = {
    "dying": "I die at once",
    "lying": "another boot id",
    "wrong-token": "does not take its token",
    "never-ready": "did not answer within",
    "silent": "did not answer within",
    "refusing": "no such runtime",
}


@pytest.mark.parametrize("evil", EVIL)
async def test_an_evil_twin_is_ended_and_told(place: Place, evil: str) -> None:
    within_s = 1.5 if evil in {"never-ready", "silent"} else 30.0
    runner = await place.runner(evil=evil, healthy_within_s=within_s)
    with pytest.raises(RunnerError) as caught:
        await runner.ensure(SANDBOX, EnsureOptions())
    assert EVIL[evil] in caught.value.message
    assert not place.running()
    assert await runner.find(HANDLE) is None
    assert place.state.read_text() == "{}"
    if evil != "refusing":
        assert f"hello {evil}" in caught.value.message
    await runner.close()


async def test_a_slow_one_is_waited_for_and_a_stubborn_one_is_killed(place: Place) -> None:
    for evil in ("slow", "stubborn"):
        runner = await place.runner(evil=evil, stop_grace_s=0.3)
        assert (await runner.ensure(SANDBOX, EnsureOptions())).is_new
        await runner.stop(HANDLE)
        assert not place.running()
        await runner.close()


async def test_a_refused_config_leaves_a_sandbox_that_ran_before_alone(place: Place) -> None:
    runner = await place.runner(evil="refusing")
    await runner.ensure(SANDBOX, EnsureOptions(hold=True))
    with pytest.raises(RunnerError):
        await runner.ensure(SANDBOX, EnsureOptions())
    assert await runner.alive(HANDLE)
    await runner.stop(HANDLE)
    await runner.close()


async def test_a_start_that_is_cancelled_leaves_nothing(place: Place) -> None:
    runner = await place.runner()
    reached = asyncio.Event()

    async def ready(_url: str, _token: str) -> None:
        reached.set()
        await asyncio.Event().wait()

    start = asyncio.create_task(runner.ensure(SANDBOX, EnsureOptions(on_daemon_ready=ready)))
    await reached.wait()
    start.cancel()
    with pytest.raises(asyncio.CancelledError):
        await start
    assert not place.running()
    await runner.close()


async def test_one_that_hangs_is_ended_and_started_again(place: Place) -> None:
    runner = await place.runner(patience_s=0.1)
    first = await runner.ensure(SANDBOX, EnsureOptions())
    place.signal_daemon(runner, signal.SIGSTOP)
    second = await runner.ensure(SANDBOX, EnsureOptions())
    assert second.is_new
    assert second.boot_id != first.boot_id
    await runner.stop(HANDLE)
    await runner.close()


async def test_state_that_cannot_be_written_leaves_no_daemon(place: Place) -> None:
    def broken() -> None:
        raise OSError("the database is locked")

    runner = await place.runner(before_put=broken)
    with pytest.raises(RunnerError, match="database is locked"):
        await runner.ensure(SANDBOX, EnsureOptions())
    assert not place.running()
    await runner.close()
