"""What the Docker runner alone does: how containers are shut in, whose is what, what is told."""

import json
import os
import socket
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from limpet.errors import RunnerError
from limpet.ids import AgentId, Branch, Handle, OrgId
from limpet.runners.base import EnsureOptions, Provisioned, SandboxId
from limpet.runners.docker import DockerRunner
from limpet.runners.docker_container import DockerOptions
from limpet.runners.docker_engine import Engine, EngineError
from limpet.runners.egress import EgressPolicy
from limpet.runners.limits import Limits
from limpet.runners.trial import try_isolation
from tests.runners.places import DockerPlace
from tests.runners.registry import registry as serving_image
from tests.runners.support import SANDBOX, STANDIN, client_of, run
from tests.runners.test_networks import registry

pytestmark = [pytest.mark.anyio, pytest.mark.docker]
HANDLE = SANDBOX.handle
OTHER = SandboxId(OrgId("local"), AgentId("agt_2"), Branch("b"), Handle("other-2"))
STAND_IN = ("python3", "-c", STANDIN.read_text(), "good")
CONNECT = """
import socket, sys
for target in sys.argv[1:]:
    host, port = target.rsplit(":", 1)
    try:
        socket.create_connection((host, int(port)), 1.5).close()
        print(target, "open")
    except OSError as error:
        print(target, "shut", error)
"""


@asynccontextmanager
async def runner_of(
    place: DockerPlace, *, filtered: bool = True, **options: object
) -> AsyncIterator[DockerRunner]:
    """A runner of stand-ins; its sandboxes are gone afterwards."""
    made = DockerOptions(image=place.engine.image, daemon_command=STAND_IN, **options)  # type: ignore[arg-type]
    runner = await place.open(options=made, filtered=filtered)
    try:
        yield runner
    finally:
        for sandbox in (SANDBOX, OTHER):
            await runner.delete(sandbox.handle)
        await runner.close()


async def sh(found: Provisioned, command: str) -> str:
    async with client_of(found) as client:
        return await run(client, "sh", "-c", command)


async def reached(found: Provisioned, *targets: str) -> dict[str, str]:
    """Whether each target takes a connection from inside the sandbox."""
    async with client_of(found) as client:
        said = await run(client, "python3", "-c", CONNECT, *targets)
    return {line.split()[0]: line.split()[1] for line in said.splitlines()}


@pytest.fixture
def listening() -> Iterator[int]:
    """A port of this machine on which something listens, at every address."""
    with socket.create_server(("0.0.0.0", 0)) as server:
        yield server.getsockname()[1]


def own_address() -> str:
    """An address of this machine other than loopback."""
    listed = subprocess.run(
        ["hostname", "-I"], capture_output=True, text=True, check=True
    ).stdout.split()
    return next(address for address in listed if ":" not in address)


async def test_what_can_be_inspected_never_holds_the_token(docker_place: DockerPlace) -> None:
    async with runner_of(docker_place) as runner:
        found = await runner.ensure(SANDBOX, EnsureOptions())
        names = docker_place.names
        assert names is not None
        docker = docker_place.engine.docker
        shown = docker("inspect", names.container(HANDLE))
        shown += docker("volume", "inspect", names.volume(HANDLE))
        shown += docker("logs", names.container(HANDLE))
        shown += await sh(found, "cat /proc/*/environ /proc/*/cmdline 2>/dev/null | tr '\\0' '\\n'")
        assert found.boot_id in shown
        assert found.daemon_token not in shown


async def test_a_container_has_no_rights_and_writes_in_its_root_alone(
    docker_place: DockerPlace,
) -> None:
    async with runner_of(docker_place) as runner:
        found = await runner.ensure(SANDBOX, EnsureOptions())
        status = await sh(found, "id -u; grep -E 'Cap|NoNew|Seccomp:' /proc/self/status")
        uid, *fields = status.split("\n")
        assert uid == "1000"
        values = dict(line.split(":\t") for line in fields if line)
        assert {values[name] for name in values if name.startswith("Cap")} == {"0" * 16}
        assert (values["NoNewPrivs"], values["Seccomp"]) == ("1", "2")
        vsock = "import socket; socket.socket(40, socket.SOCK_STREAM)"
        assert "not supported" in await sh(found, f"python3 -c '{vsock}' 2>&1; :")
        refused = "touch /x /etc/x /usr/x /var/x /home/x 2>/dev/null; "
        allowed = "touch /tmp/y /sandbox/y /dev/shm/y; "
        seen = await sh(found, refused + allowed + "ls -d /x /*/x /*/y /dev/shm/y 2>/dev/null; :")
        assert seen.split() == ["/dev/shm/y", "/sandbox/y", "/tmp/y"]
        assert await sh(found, "find / -xdev -type f -perm /6000 2>/dev/null; :") == ""
        assert await sh(found, "ls /var/run/docker.sock /run/docker.sock 2>/dev/null; :") == ""


async def test_neither_the_machine_nor_other_sandboxes_answer(
    docker_place: DockerPlace, listening: int
) -> None:
    async with runner_of(docker_place) as runner:
        one = await runner.ensure(SANDBOX, EnsureOptions())
        other = await runner.ensure(OTHER, EnsureOptions())
        address = other.daemon_url.removeprefix("http://")
        gateway = docker_place.engine.docker(
            *("network", "inspect", "-f", "{{(index .IPAM.Config 0).Gateway}}"),
            docker_place.names.network(closed=False),  # type: ignore[union-attr]
        )
        assert await reached(one, far_away()) == {far_away(): "open"}
        targets = [
            f"127.0.0.1:{listening}",
            f"{gateway}:{listening}",
            f"{own_address()}:{listening}",
            "169.254.169.254:80",
            address,
        ]
        assert set((await reached(one, *targets)).values()) == {"shut"}
        assert await runner.alive(OTHER.handle)


async def test_without_the_filter_the_machine_would_answer_and_that_is_told(
    docker_place: DockerPlace, listening: int
) -> None:
    async with runner_of(docker_place, filtered=False) as runner:
        assert runner.isolation.network == "shared"
        assert "packet filter" in str(runner.isolation.missing)
        one = await runner.ensure(SANDBOX, EnsureOptions())
        target = f"{own_address()}:{listening}"
        assert await reached(one, target) == {target: "open"}


async def test_closed_egress_has_no_way_out(docker_place: DockerPlace, listening: int) -> None:
    async with runner_of(docker_place) as runner:
        options = EnsureOptions(egress=EgressPolicy("closed"))
        found = await runner.ensure(SANDBOX, options)
        other = await runner.ensure(OTHER, options)
        address = found.daemon_url.removeprefix("http://").rsplit(":", 1)[0]
        gateway = f"{address.rsplit('.', 1)[0]}.1"
        targets = [
            f"{gateway}:{listening}",
            f"{own_address()}:{listening}",
            far_away(),
            other.daemon_url.removeprefix("http://"),
        ]
        assert set((await reached(found, *targets)).values()) == {"shut"}
        resolved = await sh(found, "getent hosts example.com || echo unknown")
        assert resolved.strip() == "unknown"


async def test_a_list_of_hosts_is_kept_by_a_proxy_that_logs_also_after_an_adoption(
    docker_place: DockerPlace,
    caplog: pytest.LogCaptureFixture,
) -> None:
    options = EnsureOptions(egress=EgressPolicy.of("listed", ["nowhere.invalid"]))
    async with runner_of(docker_place) as runner:
        found = await runner.ensure(SANDBOX, options)
        await check_list(found)
        assert await reached(found, far_away()) == {far_away(): "shut"}
        await runner.close()
        again = await place_runner(docker_place)
        try:
            adopted = await again.find(HANDLE)
            assert adopted is not None
            assert adopted.boot_id == found.boot_id
            await check_list(adopted)
        finally:
            await again.close()
        assert "nothing leads out" not in caplog.text, "the first server holds the proxy's port"
        log = docker_place.data_dir / f"runner/egress/{HANDLE}.jsonl"
        judged = {(entry["host"], entry["allowed"]) for entry in map(json.loads, log.open())}
    assert ("example.org", False) in judged
    assert any(allowed for _, allowed in judged)
    assert not log.exists(), "it goes with the sandbox"


async def check_list(found: Provisioned) -> None:
    assert (await sh(found, f"curl -sS -o /dev/null -w '%{{http_code}}' {registry()}")) == "200"
    said = await sh(found, "curl -sS -m 9 http://example.org/")
    assert said == "Limpet: the agent's egress policy does not allow example.org:80\n"


async def test_where_no_list_can_be_kept_an_agent_with_one_does_not_start(
    docker_place: DockerPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    async with runner_of(docker_place) as runner:
        with pytest.raises(RunnerError, match="list of hosts"):
            await runner.ensure(
                SANDBOX, EnsureOptions(egress=EgressPolicy.of("listed", ["example.com"]))
            )
        assert not docker_place.running()


def far_away() -> str:
    """An address and a port beyond this machine that take connections."""
    host = urlsplit(registry()).hostname
    found = socket.getaddrinfo(host, 443, socket.AF_INET, socket.SOCK_STREAM)
    return f"{found[0][4][0]}:443"


async def test_the_doctors_trial_gets_at_nothing(docker_place: DockerPlace) -> None:
    runner = await docker_place.open()
    try:
        attempts = await try_isolation(runner, docker_place.data_dir)
    finally:
        await runner.close()
    assert len(attempts) > 10
    assert [attempt for attempt in attempts if not attempt.refused] == []


async def test_bombs_and_hogs_end_at_their_limits_and_others_go_on(
    docker_place: DockerPlace,
) -> None:
    async with runner_of(
        docker_place, limits=Limits(memory_bytes=256 << 20, pids=64, file_bytes=1 << 20)
    ) as runner:
        bad = await runner.ensure(SANDBOX, EnsureOptions())
        good = await runner.ensure(OTHER, EnsureOptions())
        bomb = "i=0; while [ $i -lt 200 ]; do sleep 1000 & i=$((i+1)); done; echo all"
        async with client_of(bad) as client:
            answer = await client.call(
                "POST",
                "/_sandbox/run",
                json={"argv": ["bash", "-c", f"({bomb}) >/tmp/out 2>&1 </dev/null; cat /tmp/out"]},
                timeout_s=60,
            )
        assert "Resource temporarily unavailable" in str(answer)
        assert (await sh(good, "echo fine")).strip() == "fine"
        wrote = await sh(good, "head -c 3M /dev/zero >/tmp/big; wc -c </tmp/big")
        assert wrote.strip() == str(1 << 20)
        await runner.stop(HANDLE)
        again = await runner.ensure(SANDBOX, EnsureOptions())
        hog = "x = [bytearray(b'x' * (16 << 20)) for _ in range(40)]"
        async with client_of(again) as client:
            answer = await client.call(
                "POST", "/_sandbox/run", json={"argv": ["python3", "-c", hog]}, timeout_s=60
            )
        assert answer["code"] == -9
        assert await runner.alive(HANDLE)
        assert (await sh(good, "echo fine")).strip() == "fine"


async def test_two_servers_on_one_engine_leave_each_others_sandboxes_alone(
    docker_place: DockerPlace, tmp_path: Path
) -> None:
    neighbour = DockerPlace(tmp_path / "neighbour", docker_place.engine)
    try:
        async with runner_of(docker_place) as ours, runner_of(neighbour) as theirs:
            found = await ours.ensure(SANDBOX, EnsureOptions())
            assert await theirs.sweep() == []
            assert await theirs.find(HANDLE) is None
            other = await theirs.ensure(SANDBOX, EnsureOptions())
            assert other.boot_id != found.boot_id
            await theirs.delete(HANDLE)
            assert await ours.alive(HANDLE)
            assert docker_place.root().exists()
    finally:
        neighbour.clear()


async def test_a_container_that_a_killed_server_left_half_made_is_replaced(
    docker_place: DockerPlace,
) -> None:
    async with runner_of(docker_place) as runner:
        names = docker_place.names
        assert names is not None
        label = [
            word for pair in names.labels(HANDLE).items() for word in ("--label", "=".join(pair))
        ]
        docker_place.engine.docker(
            *("create", "--name", names.container(HANDLE), *label, docker_place.engine.image)
        )
        assert (await runner.ensure(SANDBOX, EnsureOptions())).is_new


async def test_another_programs_container_of_that_name_is_left_alone_and_told(
    docker_place: DockerPlace,
) -> None:
    async with runner_of(docker_place) as runner:
        assert docker_place.names is not None
        name = docker_place.names.container(HANDLE)
        docker_place.engine.docker("create", "--name", name, docker_place.engine.image)
        try:
            with pytest.raises(RunnerError, match="already in use"):
                await runner.ensure(SANDBOX, EnsureOptions())
            assert (
                docker_place.engine.docker("inspect", "-f", "{{.State.Status}}", name) == "created"
            )
        finally:
            docker_place.engine.docker("rm", name)


async def test_networks_and_rules_stay_while_a_sandbox_runs_and_go_with_the_last(
    docker_place: DockerPlace,
) -> None:
    async with runner_of(docker_place) as first:
        found = await first.ensure(SANDBOX, EnsureOptions())
        await first.close()
        assert docker_place.names is not None
        table = docker_place.names.table
        assert table in rulesets()
        second = await place_runner(docker_place)
        adopted = await second.find(HANDLE)
        assert adopted is not None
        assert adopted.boot_id == found.boot_id
        again = await second.ensure(OTHER, EnsureOptions())
        assert again.is_new
        for sandbox in (SANDBOX, OTHER):
            await second.delete(sandbox.handle)
        await second.close()
        assert table not in rulesets()
        left = docker_place.engine.docker(
            *("network", "ls", "-q", "--filter", f"label={docker_place.names.label}")
        )
        assert left == ""


async def place_runner(place: DockerPlace) -> DockerRunner:
    return await place.open(
        options=DockerOptions(image=place.engine.image, daemon_command=STAND_IN)
    )


def rulesets() -> str:
    return subprocess.run(
        ["nft", "list", "tables"], capture_output=True, text=True, check=True
    ).stdout


async def test_an_image_is_pulled_with_progress_and_one_without_nft_is_told(
    docker_place: DockerPlace,
) -> None:
    steps: list[str] = []
    with serving_image(24 << 20) as image:
        runner = await docker_place.open(options=DockerOptions(image=image))
        try:
            with pytest.raises(RunnerError, match="no program nft"):
                await runner.ensure(SANDBOX, EnsureOptions(progress=steps.append))
        finally:
            await runner.close()
        docker_place.engine.docker("rmi", image)
    assert steps[:2] == ["starting-daemon", "pulling-image 0%"]
    assert steps[-1] == "pulling-image 100%"


async def test_an_image_that_cannot_be_had_is_told(docker_place: DockerPlace) -> None:
    runner = await docker_place.open(options=DockerOptions(image="127.0.0.1:1/nobody/has:it"))
    with pytest.raises(RunnerError, match="is not here and cannot be pulled") as caught:
        await runner.ensure(SANDBOX, EnsureOptions())
    assert "deploy/image/build" in caught.value.hint
    assert await runner.runtime() == ""
    await runner.close()


async def test_a_runtime_that_the_engine_does_not_have_is_told(docker_place: DockerPlace) -> None:
    options = DockerOptions(image=docker_place.engine.image, runtime="nonesuch")
    with pytest.raises(RunnerError, match="has no runtime 'nonesuch', only"):
        await docker_place.open(options=options)


async def test_a_disk_limit_is_kept_or_it_is_told_that_it_is_not(
    docker_place: DockerPlace,
) -> None:
    async with runner_of(docker_place, disk_bytes=128 << 20) as runner:
        found = await runner.ensure(SANDBOX, EnsureOptions())
        if "limit of disk" in str(runner.isolation.missing):
            pytest.skip("the engine's disk has no project quotas: told by the runner")
        said = await sh(found, "dd if=/dev/zero of=/sandbox/big bs=1M count=256 2>&1; :")
        assert "No space left" in said or "quota" in said


async def test_the_runtime_is_the_images(docker_place: DockerPlace) -> None:
    runner = await docker_place.open()
    runtime = await runner.runtime()
    assert runtime.startswith("node v22.")
    assert "sha256:" in runtime
    await runner.close()


async def test_an_engine_that_may_not_be_used_is_told(docker_place: DockerPlace) -> None:
    engine = Engine(docker_place.engine.host)
    os.seteuid(65534)
    try:
        with pytest.raises(EngineError, match="no permission") as caught:
            await engine.facts()
    finally:
        os.seteuid(0)
        await engine.close()
    assert "group `docker`" in caught.value.hint


async def test_while_the_engine_is_away_nothing_is_found_started_or_forgotten(
    docker_place: DockerPlace, tmp_path: Path
) -> None:
    async with runner_of(docker_place) as runner:
        found = await runner.ensure(SANDBOX, EnsureOptions())
        there, runner._backend._engine = runner._backend._engine, Engine(f"unix://{tmp_path}/gone")  # type: ignore[attr-defined]
        assert await runner.find(HANDLE) is None
        with pytest.raises(RunnerError, match="no Docker engine answers"):
            await runner.ensure(SANDBOX, EnsureOptions())
        with pytest.raises(RunnerError, match="no Docker engine answers"):
            await runner.sweep()
        await runner._backend._engine.close()  # type: ignore[attr-defined]
        runner._backend._engine = there  # type: ignore[attr-defined]
        again = await runner.ensure(SANDBOX, EnsureOptions())
        assert (again.boot_id, again.is_new) == (found.boot_id, False)


async def test_the_state_is_enough_and_what_is_unsound_is_none(docker_place: DockerPlace) -> None:
    async with runner_of(docker_place) as runner:
        await runner.ensure(SANDBOX, EnsureOptions())
        value = json.loads(docker_place.state.read_text())[HANDLE]
        record = runner._backend.record(HANDLE, value)
        assert record is not None
        assert record.as_dict() == value
        assert await runner._backend.lives(record)
        assert not await runner._backend.lives(replace(record, url="http://127.0.0.1:1"))
        for name in ("url", "token", "boot_id", "container", "egress"):
            assert runner._backend.record(HANDLE, {**value, name: None}) is None
