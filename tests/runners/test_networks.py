"""Sandboxes with networks of their own: what they reach, and what they never do."""

import asyncio
import json
import os
import socket
import subprocess
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from limpet.errors import RunnerError
from limpet.ids import Branch, Handle
from limpet.runners.base import EnsureOptions, Provisioned
from limpet.runners.egress import EgressPolicy, networks_of
from limpet.runners.host import HostRunner
from limpet.runners.network import NetworkSettings, own_addresses
from tests.live import poll_until
from tests.runners.support import SANDBOX, client_of, standin_runner

pytestmark = pytest.mark.anyio
OTHER = replace(SANDBOX, branch=Branch("limpet/other"), handle=Handle("calm-2"))
LOOK = """
import socket, sys
host, port = sys.argv[1], int(sys.argv[2])
try:
    with socket.create_connection((host, port), timeout=10) as there:
        there.sendall(b"who\\n")
        print("REACHED", there.recv(100).decode(errors="replace"))
except OSError as error:
    print("refused", error)
"""


@pytest.fixture(autouse=True)
def _needs_own_networks(data_dir: Path, can_bubblewrap: bool) -> None:
    if not can_bubblewrap:
        pytest.skip("bubblewrap does not work here")
    if standin_runner(data_dir, "bubblewrap").isolation.network != "own":
        pytest.skip("sandboxes cannot have networks of their own here")


@contextmanager
def listening(address: str = "127.0.0.1") -> Iterator[int]:
    """A server on this machine that answers whoever connects; its port."""
    with closing(socket.create_server((address, 0))) as server:

        def serve() -> None:
            while True:
                try:
                    there, _ = server.accept()
                except OSError:
                    return
                with there:
                    there.sendall(b"the host\n")

        thread = threading.Thread(target=serve)
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
    thread.join()


@asynccontextmanager
async def sandbox(
    data_dir: Path,
    policy: EgressPolicy | None = None,
    networks: NetworkSettings | None = None,
) -> AsyncIterator[tuple[HostRunner, Provisioned]]:
    runner = standin_runner(data_dir, "bubblewrap", networks=networks)
    try:
        options = EnsureOptions(egress=policy or EgressPolicy())
        yield runner, await runner.ensure(SANDBOX, options)
    finally:
        await runner.delete(SANDBOX.handle)
        await runner.delete(OTHER.handle)
        await runner.close()


async def shell(found: Provisioned, command: str) -> str:
    """What the command prints on either output, whatever its exit code."""
    async with client_of(found) as client:
        answer = await client.call(
            "POST", "/_sandbox/run", json={"argv": ["sh", "-c", f"({command}) 2>&1"]}, timeout_s=120
        )
    return str(answer["stdout"])


async def look(found: Provisioned, host: str, port: int) -> str:
    async with client_of(found) as client:
        argv = ["python3", "-c", LOOK, host, str(port)]
        answer = await client.call("POST", "/_sandbox/run", json={"argv": argv}, timeout_s=60)
    return str(answer["stdout"])


async def status_of(found: Provisioned, url: str) -> str:
    said = await shell(found, f"curl -sS -m 30 -o /dev/null -w %{{http_code}} {url}")
    return said.strip()


def registry() -> str:
    return subprocess.run(
        ["npm", "config", "get", "registry"], capture_output=True, text=True, check=True
    ).stdout.strip()


def log_of(data_dir: Path) -> list[dict[str, object]]:
    file = data_dir / "runner" / "egress" / f"{SANDBOX.handle}.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()]


async def test_no_policy_opens_this_machine_or_another_sandbox(data_dir: Path) -> None:
    own = [str(address) for address in own_addresses()]
    async with sandbox(data_dir) as (runner, found):
        other = await runner.ensure(OTHER, EnsureOptions())
        other_port = int(other.daemon_url.rsplit(":", 1)[1])
        own_port = int(found.daemon_url.rsplit(":", 1)[1])
        with listening() as port:
            tries = [("127.0.0.1", port), ("127.0.0.1", other_port), ("127.0.0.1", own_port)]
            tries += [("198.18.73.2", port), ("169.254.169.254", 80), ("fd00:ec2::254", 80)]
            tries += [(address, port) for address in own]
            for host, at in tries:
                assert (await look(found, host, at)).startswith("refused"), (host, at)


async def test_two_sandboxes_may_listen_at_the_same_port_and_never_meet(data_dir: Path) -> None:
    serve = (
        "import socket; s = socket.create_server(('127.0.0.1', 5173));"
        " u = socket.socket(socket.AF_UNIX); u.bind('\\0meeting'); u.listen(50); s.accept()"
    )
    async with sandbox(data_dir) as (runner, found):
        other = await runner.ensure(OTHER, EnsureOptions())
        for one in (found, other):
            await shell(one, f'python3 -c "{serve}" > /dev/null 2>&1 &')
        meet = "import socket; socket.socket(socket.AF_UNIX).connect('\\0meeting'); print('met')"
        both = 'for n in $(seq 100); do python3 -c "{}" 2>/dev/null && break; done'
        assert "met" in await shell(found, both.format(meet))
        assert "met" in await shell(other, both.format(meet))
        with (
            closing(socket.socket(socket.AF_UNIX)) as outside,
            pytest.raises(ConnectionRefusedError),
        ):
            outside.connect("\0meeting")


async def test_an_open_sandbox_reaches_the_network_with_or_without_a_proxy(data_dir: Path) -> None:
    async with sandbox(data_dir) as (_, found):
        assert await status_of(found, registry()) == "200"


async def test_without_slirp_an_open_one_reaches_it_through_the_proxy(data_dir: Path) -> None:
    runner = standin_runner(data_dir, "bubblewrap")
    launcher = runner._host._launcher
    assert launcher.networks is not None
    without = replace(launcher.networks, slirp=None)
    runner._host._launcher = replace(launcher, networks=without)
    assert "slirp4netns" in without.missing[0]
    found = await runner.ensure(SANDBOX, EnsureOptions())
    try:
        assert await status_of(found, registry()) == "200"
        assert "not 000" in await shell(
            found,
            "test $(curl -sS -m 9 -o /dev/null -w %{http_code} http://169.254.169.254/)"
            " = 403 && echo not 000",
        )
        assert [entry["allowed"] for entry in log_of(data_dir)] == [True, False]
    finally:
        await runner.delete(SANDBOX.handle)
        await runner.close()


async def test_a_listed_policy_lets_registries_through_and_tells_of_the_rest(
    data_dir: Path,
) -> None:
    policy = EgressPolicy.of("listed", ["nowhere.invalid"])
    async with sandbox(data_dir, policy) as (_, found):
        assert await status_of(found, registry()) == "200"
        assert "403" in await shell(found, "curl -sS -m 9 https://example.org/")
        said = await shell(found, "curl -sS -m 9 http://example.org/")
        assert said == "Limpet: the agent's egress policy does not allow example.org:80\n"
        assert "cannot be resolved" in await shell(found, "curl -sS -m 30 http://nowhere.invalid/")
        assert (await look(found, "198.18.73.3", 53)).startswith("refused"), "no way around it"
        assert await shell(found, "npm view is-number version > /dev/null 2>&1 && echo found") == (
            "found\n"
        )
        entries = log_of(data_dir)
    allowed = {(entry["host"], entry["allowed"]) for entry in entries}
    assert ("example.org", False) in allowed
    assert any(through for _, through in allowed)
    assert all(entry["at"] for entry in entries)


async def test_the_log_goes_with_the_sandbox(data_dir: Path) -> None:
    async with sandbox(data_dir, EgressPolicy.of("listed")) as (_, found):
        await shell(found, "curl -sS -m 9 http://example.org/")
        log = data_dir / "runner" / "egress" / f"{SANDBOX.handle}.jsonl"
        await asyncio.to_thread(poll_until, "the refusal to be told", log.exists)
    assert not list((data_dir / "runner" / "egress").iterdir())


async def test_without_registries_they_are_refused_too(data_dir: Path) -> None:
    async with sandbox(data_dir, EgressPolicy.of("listed", registries=False)) as (_, found):
        assert "403" in await shell(found, f"curl -sS -m 9 {registry()}")


async def test_out_of_a_closed_sandbox_nothing_leads(data_dir: Path) -> None:
    with listening() as port:
        networks = NetworkSettings(host_ports=(port,))
        async with sandbox(data_dir, EgressPolicy.of("closed"), networks) as (_, found):
            assert await status_of(found, registry()) != "200"
            assert (await look(found, "127.0.0.1", port)).startswith("refused")
            assert (await look(found, "127.0.0.1", 61080)).startswith("refused")


@pytest.mark.parametrize("mode", ["open", "listed"])
async def test_ports_that_the_operator_names_are_reached_and_no_others(
    data_dir: Path, mode: str
) -> None:
    with listening() as port, listening() as other:
        networks = NetworkSettings(host_ports=(port,))
        policy = EgressPolicy(mode)  # type: ignore[arg-type]
        async with sandbox(data_dir, policy, networks) as (_, found):
            assert await look(found, "127.0.0.1", port) == "REACHED the host\n\n"
            assert (await look(found, "127.0.0.1", other)).startswith("refused")


async def test_the_operators_networks_are_denied(data_dir: Path) -> None:
    host = registry().split("//")[1].split("/")[0].split(":")[0]
    addresses = {str(entry[4][0]) for entry in socket.getaddrinfo(host, 443)}
    denied = networks_of(",".join(f"{one}/{16 if '.' in one else 32}" for one in addresses))
    for policy in (EgressPolicy(), EgressPolicy.of("listed")):
        async with sandbox(data_dir, policy, NetworkSettings(denied=denied)) as (_, found):
            assert await status_of(found, registry()) != "200"


def slirps_of(data_dir: Path) -> list[int]:
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            try:
                argv = (process / "cmdline").read_bytes()
            except OSError:
                continue
            if argv.startswith(f"slirp4netns of {data_dir}".encode()):
                found.append(int(process.name))
    return found


async def test_the_way_out_lives_as_long_as_the_sandbox_and_no_longer(data_dir: Path) -> None:
    runner = standin_runner(data_dir, "bubblewrap")
    found = await runner.ensure(SANDBOX, EnsureOptions())
    assert slirps_of(data_dir)
    await runner.close()
    again = standin_runner(data_dir, "bubblewrap")
    try:
        adopted = await again.ensure(SANDBOX, EnsureOptions())
        assert not adopted.is_new
        assert await status_of(found, registry()) == "200"
    finally:
        await again.delete(SANDBOX.handle)
        await again.close()
    poll_until("slirp4netns ends with it", lambda: not slirps_of(data_dir))


async def test_an_adopted_sandbox_keeps_its_policy_and_its_ways_out(data_dir: Path) -> None:
    with listening() as port:
        networks = NetworkSettings(host_ports=(port,))
        policy = EgressPolicy.of("listed")
        runner = standin_runner(data_dir, "bubblewrap", networks=networks)
        await runner.ensure(SANDBOX, EnsureOptions(egress=policy))
        await runner.close()
        again = standin_runner(data_dir, "bubblewrap", networks=networks)
        try:
            found = await again.ensure(SANDBOX, EnsureOptions())
            assert not found.is_new
            assert await status_of(found, registry()) == "200"
            assert "403" in await shell(found, "curl -sS -m 9 https://example.org/")
            assert "REACHED" in await look(found, "127.0.0.1", port)
        finally:
            await again.delete(SANDBOX.handle)
            await again.close()


async def test_a_slirp_that_fails_fails_the_start_and_leaves_nothing(
    data_dir: Path, tmp_path: Path
) -> None:
    program = tmp_path / "bin" / "slirp4netns"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho 'no tap today' >&2\nexit 1\n")
    program.chmod(0o755)
    environ = {**os.environ, "PATH": f"{program.parent}:{os.environ['PATH']}"}
    runner = standin_runner(data_dir, "bubblewrap", environ=environ)
    with pytest.raises(RunnerError, match="no tap today"):
        await runner.ensure(SANDBOX, EnsureOptions())
    await runner.close()


async def test_networks_can_be_shared_on_purpose(data_dir: Path) -> None:
    with listening() as port:
        async with sandbox(data_dir, networks=NetworkSettings("shared")) as (runner, found):
            assert runner.isolation.network == "shared"
            assert "REACHED" in await look(found, "127.0.0.1", port)


async def test_own_networks_that_cannot_be_had_are_an_error(data_dir: Path) -> None:
    with pytest.raises(RunnerError, match="networks of their own"):
        standin_runner(data_dir, "none", networks=NetworkSettings("own"))
