"""Every runner with the daemon that it is made for."""

import asyncio
import signal
from collections.abc import AsyncIterator

import pytest

from limpet.errors import DaemonError
from limpet.runners.base import EnsureOptions
from limpet.runners.daemon_client import PACKED, TAR, DaemonClient
from limpet.runners.daemon_gateway import Asked, reverse_stream
from limpet.runners.daemon_pipe import piped
from limpet.runners.host import HostRunner
from tests.runners.places import AnyRunner, Place
from tests.runners.support import SANDBOX, client_of

pytestmark = pytest.mark.anyio
HANDLE = SANDBOX.handle


@pytest.fixture
async def runner(place: Place) -> AsyncIterator[AnyRunner]:
    runner = await place.real_runner()
    yield runner
    await runner.delete(HANDLE)
    await runner.close()


async def sh(client: DaemonClient, command: str, **options: object) -> str:
    answer = await client.call(
        "POST", "/_sandbox/bash", json={"command": command, **options}, timeout_s=60
    )
    return str(answer.get("stdout", "")).strip()


async def test_it_starts_and_works_in_the_workspace(runner: AnyRunner, place: Place) -> None:
    found = await runner.ensure(SANDBOX, EnsureOptions(hold=True))
    assert found.is_new
    async with client_of(found) as client:
        health = await client.health()
        assert health.boot_id == found.boot_id
        assert not health.configured
        origin = await client.origin()
        assert origin.empty
        assert not origin.unsaved
        assert await sh(client, "pwd; echo $HOME") == (
            f"{place.inside('/workspace/repo')}\n{place.inside('/workspace/home')}"
        )
        await runner.ensure(SANDBOX, EnsureOptions())
        assert (await client.health()).configured


async def test_a_task_sees_neither_the_token_nor_the_daemons_descriptors(
    runner: AnyRunner, place: Place
) -> None:
    found = await runner.ensure(SANDBOX, EnsureOptions(hold=True))
    async with client_of(found) as client:
        if place.daemon_pid:
            daemon = f"/proc/{place.daemon_pid}"
            secret = f"{daemon}/environ {daemon}/mem {daemon}/fd/0"
            read = await sh(client, f"cat {secret} 2>/dev/null; :")
            assert read == ""
        seen = await sh(client, "cat /proc/self/environ | tr '\\0' '\\n'; ls -l /proc/self/fd")
        assert found.daemon_token not in seen
        assert "DAEMON_" not in seen
        assert "socket:" not in seen


async def test_a_program_on_pipes_reaches_its_gateway_and_nobody_else_does(
    runner: AnyRunner, place: Place
) -> None:
    found = await runner.ensure(SANDBOX, EnsureOptions(hold=True))

    async def answer(asked: Asked) -> None:
        await asked.begin(200, [("content-type", "text/plain")])
        await asked.send(asked.path.encode() + b" was asked for")
        await asked.end()

    ask = r"printf 'GET /this HTTP/1.1\r\nConnection: close\r\n\r\n' >&3"
    script = f"pwd; exec 3<>/dev/tcp/127.0.0.1/$1; {ask}; cat <&3; cat"
    async with client_of(found) as client:
        folders = await client.call("GET", "/_sandbox/folders")
        assert folders["repo"] == place.inside("/workspace/repo")
        async with (
            reverse_stream(client, answer) as port,
            piped(client, ["bash", "-c", script, "bash", str(port)], {}) as program,
        ):
            if isinstance(runner, HostRunner) and runner.isolation.network == "own":
                with pytest.raises(OSError, match=r"refused|Connect"):
                    await asyncio.open_connection("127.0.0.1", port)
            await program.send(b"\xff\0 and back")
            await program.end_input()
            said = b"".join([piece async for piece in program.output()])
            assert said.startswith(f"{folders['repo']}\nHTTP/1.1 200 OK\r\n".encode())
            assert b"/this was asked for" in said
            assert said.endswith(b"\xff\0 and back")
            assert await program.wait() == 0
        assert "refused" in await sh(client, f"(echo > /dev/tcp/127.0.0.1/{port}) 2>&1")


async def test_without_the_token_only_health_answers(runner: AnyRunner) -> None:
    found = await runner.ensure(SANDBOX, EnsureOptions(hold=True))
    async with DaemonClient(found.daemon_url, "wrong") as client:
        assert (await client.health()).boot_id == found.boot_id
        for path in ("/_sandbox/idle", "/_sandbox/scripts", "/_sandbox/config", "/"):
            async with client.request("GET", path) as answer:
                assert answer.status == 401, path


async def test_work_is_told_from_looking_on(runner: AnyRunner) -> None:
    found = await runner.ensure(SANDBOX, EnsureOptions(hold=True))
    async with client_of(found) as client:
        before = (await client.idle()).activity_seq
        await client.health()
        await client.origin()
        assert await runner.alive(HANDLE)
        assert (await client.idle()).activity_seq == before
        await sh(client, "echo work > file")
        assert (await client.idle()).activity_seq > before


async def test_a_save_and_a_restore_pass_through_and_end_what_ran(runner: AnyRunner) -> None:
    found = await runner.ensure(SANDBOX, EnsureOptions(hold=True))
    async with client_of(found) as client:
        await sh(client, "echo saved > file")
        async with client.create_snapshot() as answer:
            assert answer.headers["X-Limpet-Boot-Id"] == found.boot_id
            assert answer.headers["Content-Type"] == PACKED
            assert b"".join([chunk async for chunk in answer.body]).startswith(b"LSTREAM1")
        async with client.request("POST", "/_sandbox/snapshot/create") as answer:
            assert answer.headers["Content-Type"] == TAR
            tar = b"".join([chunk async for chunk in answer.body])
        await sh(client, "echo changed > file")
        await sh(client, "while :; do date > ticks; sleep 0.01; done", mode="background")
        await sh(client, "setsid sleep 1000 >/dev/null 2>&1 </dev/null &")

        async def chunks() -> AsyncIterator[bytes]:
            yield tar

        async with asyncio.timeout(60):
            receipt = (await client.restore(chunks()))["receipt"]
        assert isinstance(receipt, dict)
        assert receipt["complete"]
        assert await sh(client, "ls; cat file") == "file\nsaved"
        left = await sh(client, "ps -eo args | grep -c '^sleep [1]000'")
        if runner.isolation.kind != "none":
            assert left == "0"
        with pytest.raises(DaemonError):
            await client.restore(no_chunks())


async def no_chunks() -> AsyncIterator[bytes]:
    for chunk in ():
        yield chunk


async def test_stop_ends_what_the_daemon_started(runner: AnyRunner, place: Place) -> None:
    found = await runner.ensure(SANDBOX, EnsureOptions(hold=True))
    async with client_of(found) as client:
        await sh(client, "sleep 1000", mode="background")
        await sh(client, "echo kept > file")
    await runner.stop(HANDLE)
    assert not place.running()
    again = await runner.ensure(SANDBOX, EnsureOptions(hold=True))
    async with client_of(again) as client:
        assert await sh(client, "cat file") == "kept"
        assert (await client.origin()).unsaved


async def test_a_daemon_that_was_killed_leaves_its_work_to_the_next(
    runner: AnyRunner, place: Place
) -> None:
    found = await runner.ensure(SANDBOX, EnsureOptions(hold=True))
    async with client_of(found) as client:
        await sh(client, "echo kept > file")
        await sh(client, "setsid sleep 1000 >/dev/null 2>&1 </dev/null &", mode="background")
    before = place.running()
    place.signal_daemon(runner, signal.SIGKILL)
    again = await runner.ensure(SANDBOX, EnsureOptions(hold=True))
    assert again.is_new
    assert not before & place.running()
    async with client_of(again) as client:
        assert await sh(client, "cat file") == "kept"


async def test_it_is_adopted_by_the_next_runner(runner: AnyRunner, place: Place) -> None:
    found = await runner.ensure(SANDBOX, EnsureOptions(hold=True))
    fresh = await place.real_runner()
    assert await fresh.sweep() == []
    adopted = await fresh.find(HANDLE)
    assert adopted is not None
    assert (adopted.boot_id, adopted.is_new) == (found.boot_id, False)
    await fresh.close()
