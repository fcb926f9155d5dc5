"""A harness' programs in a real sandbox: driven on pipes, and gone with the run or the sandbox."""

import asyncio
import contextlib
import os
import signal
import sys
from pathlib import Path

import pytest

from limpet.control.daemon_proxy import SOCKETS, allowed_route
from limpet.control.threads.sandbox_tools import DaemonTools
from limpet.errors import NotFoundError
from limpet.harness.tools import PipedProcess, ToolFailedError
from tests.control.sandboxes.conftest import Box
from tests.control.threads import test_sandbox_tools
from tests.daemon.piping import lives
from tests.live import poll_until

pytestmark = pytest.mark.anyio

agent_box = test_sandbox_tools.agent_box
consoles = test_sandbox_tools.consoles
tools = test_sandbox_tools.tools


async def line_of(process: PipedProcess) -> bytes:
    said = b""
    async for piece in process.output():
        said += piece
        if b"\n" in said:
            break
    return said


async def gone(pid: int) -> None:
    await asyncio.to_thread(poll_until, f"the end of {pid}", lambda: not lives(pid), 30, 0.02)


async def test_a_program_is_driven_on_its_pipes(tools: DaemonTools, agent_box: Box) -> None:
    folders = await tools.folders()
    assert Path(folders.repo) == await agent_box.root() / "workspace" / "repo"
    assert Path(folders.home) == await agent_box.root() / "workspace" / "home"
    script = "pwd >&2; echo $HOME >&2; echo $MINE >&2; cat; exit 9"
    sent = os.urandom(3_000_000)
    async with tools.process(["sh", "-c", script], env={"MINE": "yes"}) as process:
        fits: PipedProcess = process

        async def feed() -> None:
            for at in range(0, len(sent), 100_001):
                await fits.send(sent[at : at + 100_001])
            await fits.end_input()

        feeding = asyncio.create_task(feed())
        assert b"".join([piece async for piece in fits.output()]) == sent
        await feeding
        assert await fits.wait() == 9
        assert fits.errors() == f"{folders.repo}\n{folders.home}\nyes\n"
        with pytest.raises(ToolFailedError, match="reads no more"):
            await fits.send(b"more")
        await fits.end_input()


async def test_a_program_that_is_not_there_is_said(tools: DaemonTools) -> None:
    for argv, env, words in (
        (["no-such-program"], {}, "no-such-program"),
        (["true", "x" * 300_000], {}, "Argument list too long"),
        (["true"], {"A=": "b"}, "not a variable"),
    ):
        with pytest.raises(ToolFailedError, match=words):
            async with tools.process(argv, env=env):
                pass


async def test_who_leaves_or_is_cancelled_leaves_nothing_running(tools: DaemonTools) -> None:
    script = "sleep 1000 & echo $$ $!; cat"
    async with tools.process(["sh", "-c", script]) as process:
        pids = [int(pid) for pid in (await line_of(process)).split()]
        assert all(map(lives, pids))
    assert not any(map(lives, pids))

    begun = asyncio.Event()

    async def drive() -> None:
        async with tools.process(["sh", "-c", script]) as process:
            pids[:] = [int(pid) for pid in (await line_of(process)).split()]
            begun.set()
            await process.wait()

    driving = asyncio.create_task(drive())
    await begun.wait()
    driving.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await driving
    assert not any(map(lives, pids))


async def test_a_slow_reader_holds_the_program_up_and_loses_nothing(tools: DaemonTools) -> None:
    script = "head -c 5000000 /dev/zero; echo done >&2; sleep 1000"
    async with tools.process(["sh", "-c", script]) as process:
        got = 0
        async for piece in process.output():
            got += len(piece)
            if got < 4_000_000:
                assert process.errors() == ""  # it waits for us
            if got == 5_000_000:
                break
        await asyncio.to_thread(
            poll_until, "its last words", lambda: process.errors() == "done\n", 30, 0.02
        )


async def test_a_sandbox_that_is_killed_ends_both_streams(
    tools: DaemonTools, agent_box: Box
) -> None:
    async with tools.process(["sh", "-c", "echo $$; exec cat"]) as process:
        pid = int(await line_of(process))
        waiting = asyncio.create_task(process.wait())
        await asyncio.sleep(0)
        os.kill(daemon_pid(await agent_box.root()), signal.SIGKILL)
        with pytest.raises(ToolFailedError, match=r"went away|does not answer"):
            await waiting
        with pytest.raises(ToolFailedError):
            async for _ in process.output():
                pass
        with pytest.raises(ToolFailedError):
            await process.send(b"x" * 10_000_000)
    await gone(pid)
    async with tools.process(["true"]) as process:  # the sandbox is brought home for it
        assert await process.wait() == 0


async def test_a_restore_ends_the_program_and_says_why(tools: DaemonTools, agent_box: Box) -> None:
    await tools.write("a.txt", "before")
    snapshot = await tools.save("before")
    async with tools.process([sys.executable, "-c", "import time; time.sleep(1000)"]) as process:
        await tools.roll_back(snapshot)
        assert await process.wait() == 128 + signal.SIGKILL
        assert "the workspace is being restored" in process.errors()


def test_no_caller_from_outside_reaches_the_daemons_pipes_or_its_gateway() -> None:
    for route in ("pipe", "pipe/", "gateway", "folders"):
        with pytest.raises(NotFoundError):
            allowed_route(route)
        assert not SOCKETS.fullmatch(route)


def daemon_pid(root: Path) -> int:
    """The pid of the sandbox's daemon."""
    mark = f"APP_ROOT={root}/workspace".encode()
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            runs = entry.name.isdigit() and b"limpet.daemon" in (entry / "cmdline").read_bytes()
            if runs and mark in (entry / "environ").read_bytes():
                return int(entry.name)
    raise AssertionError("no daemon runs")
