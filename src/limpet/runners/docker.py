"""The Docker runner: a sandbox is a container of one engine, and a volume for its root.

The control plane reaches a daemon at its container's address, the token by the container's
standard input. docs/decisions/0023-docker.md says why it is so.
"""

import asyncio
import logging
import os
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self
from urllib.parse import urlsplit

import anyio.to_thread

from limpet.errors import RunnerError
from limpet.ids import BootId, Handle
from limpet.runners.backend import Finish, Keep, Start
from limpet.runners.base import Isolation, IsolationKind, RunnerKind, RunnerState
from limpet.runners.daemons import (
    HEALTHY_WITHIN_S,
    PATIENCE_S,
    STOP_GRACE_S,
    DaemonRunner,
    Patience,
)
from limpet.runners.docker_container import (
    DAEMON_PORT,
    HANDLE_LABEL,
    OWNER_LABEL,
    DockerOptions,
    Names,
    certificate_files,
    container_config,
    helper_config,
)
from limpet.runners.docker_egress import ContainerEgress
from limpet.runners.docker_engine import DEFAULT_HOST, Engine, EngineError, Json
from limpet.runners.docker_network import filter_rules, network_config, no_filter_rules
from limpet.runners.egress import EgressPolicy, Network, Refusals
from limpet.runners.readiness import said

_LOG_LINES: Final = 40
_NFT: Final = "/usr/sbin/nft"
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ContainerRecord:
    """One daemon in its container. `as_dict` holds the token: it goes into sealed state alone."""

    handle: Handle
    url: str
    token: str = field(repr=False)
    boot_id: BootId
    container: str
    egress: EgressPolicy
    isolation: IsolationKind = "container"

    @property
    def address(self) -> str:
        """The container's address in its network."""
        return urlsplit(self.url).hostname or ""

    def as_dict(self) -> dict[str, object]:
        """Plain JSON types."""
        return {
            "version": 1,
            "url": self.url,
            "token": self.token,
            "boot_id": self.boot_id,
            "container": self.container,
            "egress": self.egress.as_dict(),
        }

    @classmethod
    def from_dict(cls, handle: Handle, value: Mapping[str, object]) -> Self | None:
        """The record that `as_dict` gave; None when it is not sound."""
        texts = [value.get(name) for name in ("url", "token", "boot_id", "container")]
        if not all(isinstance(text, str) and text for text in texts):
            return None
        egress = value.get("egress")
        policy = EgressPolicy.from_dict(egress) if isinstance(egress, Mapping) else None
        url, token, boot_id, container = map(str, texts)
        if policy is None:
            return None
        return cls(handle, url, token, BootId(boot_id), container, policy)


class DockerRunner(DaemonRunner[ContainerRecord]):
    """Runs sandboxes on a Docker engine; see `limpet.runners.base.Runner` for its methods."""

    @classmethod
    async def open(
        cls,
        data_dir: Path,
        state: RunnerState,
        *,
        options: DockerOptions | None = None,
        host: str = DEFAULT_HOST,
        filtered: bool = True,
        denied: Iterable[Network] = (),
        environ: Mapping[str, str] | None = None,
        app_origins: Sequence[str] = (),
        healthy_within_s: float = HEALTHY_WITHIN_S,
        patience_s: float = PATIENCE_S,
        stop_grace_s: float = STOP_GRACE_S,
    ) -> Self:
        """The runner of the engine at `host`. Raises `RunnerError` when that cannot be used.

        `data_dir` is whose sandboxes these are: servers of other folders on the same engine have
        their own. `filtered`: whether the engine's machine and networks that no sandbox is given
        (those that none ever is, and what is `denied`) are kept from sandboxes by a packet filter.
        `environ` is the control plane's environment, of which sandboxes see an allow list.
        """
        engine = Engine(host)
        environ = dict(os.environ if environ is None else environ)
        options = DockerOptions() if options is None else options
        denied = tuple(denied)
        egress = None
        if engine.is_local and not options.runtime:  # another runtime may have its own network
            egress = ContainerEgress.here(data_dir, denied, environ)
        try:
            backend = DockerBackend(
                engine,
                Names(await anyio.to_thread.run_sync(_owner_of, data_dir)),
                options,
                refused=Refusals(denied=denied).networks if filtered else None,
                egress=egress,
                environ=environ,
                app_origins=tuple(app_origins),
            )
            await backend.look()
        except BaseException:
            await engine.close()
            raise
        return cls(backend, state, Patience(healthy_within_s, patience_s, stop_grace_s))


class DockerBackend:
    """Daemons in containers; see `limpet.runners.backend.Backend`. `look` comes first.

    `refused` None: no packet filter; `egress` None: no lists of hosts.
    """

    def __init__(
        self,
        engine: Engine,
        names: Names,
        options: DockerOptions,
        *,
        refused: tuple[Network, ...] | None,
        egress: ContainerEgress | None,
        environ: Mapping[str, str],
        app_origins: tuple[str, ...],
    ) -> None:
        self._engine = engine
        self._names = names
        self._options = options
        self._refused = refused
        self._egress = egress
        self._environ = environ
        self._app_origins = app_origins
        self._certificates: list[Path] = []
        self._isolation = Isolation("container")
        self._limits_disk = False
        self._filter_set = False
        self._making_ready = asyncio.Lock()
        self._runtime: str | None = None

    async def look(self) -> None:
        """Find out what the engine can do. Raises `RunnerError` when it cannot be used."""
        facts = await self._engine.facts()
        if self._engine.is_local:
            self._certificates = await anyio.to_thread.run_sync(certificate_files, self._environ)
        runtime = self._options.runtime
        if runtime and runtime not in facts.runtimes:
            raise RunnerError(
                f"The Docker engine has no runtime {runtime!r}, only {', '.join(facts.runtimes)}",
                hint="Install it and name it in the engine's daemon.json, "
                "or unset LIMPET_DOCKER_RUNTIME.",
            )
        missing = []
        if self._refused is None:
            missing.append(
                "a packet filter: sandboxes reach this machine and its network, since"
                " LIMPET_DOCKER_FILTER is off"
            )
        missing += [
            warning.removeprefix("WARNING: ") for warning in facts.warnings if "No " in warning
        ]
        if self._options.disk_bytes is not None:
            self._limits_disk = await self._can_limit_disk(self._options.disk_bytes)
            if not self._limits_disk:
                missing.append("a limit of disk: the engine's disk has no project quotas")
        self._isolation = Isolation(
            "container",
            network="shared" if self._refused is None else "own",
            limits=tuple(self._limits_kept(facts.cgroup_version)),
            missing=tuple(missing),
        )

    @property
    def kind(self) -> RunnerKind:
        """`docker`."""
        return "docker"

    @property
    def isolation(self) -> Isolation:
        """Containers, and what this engine cannot do for them."""
        return self._isolation

    async def runtime(self) -> str:
        """Which node the image has, and which image that is; empty before it is there."""
        if self._runtime is None:
            image_id = await self._engine.image_id(self._options.image)
            if image_id is None:
                return ""
            command = ["node", "--version"]
            helper = helper_config(image_id, command, self._names, firewall=False)
            try:
                code, written = await self._engine.run_once(helper)
            except EngineError as error:
                if not _no_such_program(error):
                    raise
                code, written = 127, ""
            node = f"node {written.strip()} " if code == 0 else ""
            self._runtime = f"{node}of image {image_id}"
        return self._runtime

    def record(self, handle: Handle, value: Mapping[str, object]) -> ContainerRecord | None:
        """The record whose `as_dict` gave `value`; None when it is not sound."""
        return ContainerRecord.from_dict(handle, value)

    async def start(self, start: Start, keep: Keep[ContainerRecord]) -> ContainerRecord:
        """A daemon in a fresh container over the sandbox's volume."""
        handle = start.sandbox.handle
        closed = start.egress.mode != "open"
        variables = self._variables(start.egress)
        async with self._making_ready:
            await self._make_ready(start.progress)
            await self._make_network(closed=closed)
        await self._make_volume(handle)
        config = container_config(
            self._options,
            self._names,
            handle,
            boot_id=start.boot_id,
            closed=closed,
            environ=self._environ,
            variables=variables,
            certificates=self._certificates,
            app_origins=self._app_origins,
        )
        container = await self._create(handle, config)
        try:
            async with self._engine.started(container) as give:
                found = await self._engine.inspect(container)
                url = f"http://{_address_of(found)}:{DAEMON_PORT}"
                record = ContainerRecord(
                    handle, url, start.token, start.boot_id, container, start.egress
                )
                await self._serve(record, found)
                # On record first, the token after: without it, the daemon gives up by itself.
                await keep(record)
                await give(start.token)
        except RunnerError as error:
            tail = said(await self.log_tail(handle))
            raise RunnerError(error.message + tail, hint=error.hint) from error
        except OSError as error:
            raise RunnerError(f"The sandbox cannot be started: {error}") from error
        return record

    async def exit_code(self, handle: Handle) -> int | None:
        """How the sandbox's container has ended; None while it runs."""
        found = await self._engine.inspect(self._names.container(handle))
        if found is None:
            return -1
        return None if found["State"]["Running"] else int(found["State"]["ExitCode"])

    async def lives(self, record: ContainerRecord) -> bool:
        """Whether the container of the record runs, at the same address."""
        found = await self._engine.inspect(record.container)
        return (
            found is not None
            and found["State"]["Running"]
            and self._is_ours(found["Config"]["Labels"])
            and _address_of(found) == record.address
        )

    async def adopted(self, record: ContainerRecord) -> None:
        """Serve the way out of a container again, if it has one of its own."""
        try:
            await self._serve(record, await self._engine.inspect(record.container))
        except RunnerError as error:
            _log.warning("nothing leads out of %s until it starts again: %s", record.handle, error)

    async def log_tail(self, handle: Handle) -> str:
        """The last lines that the daemon wrote, and whether it was killed for its memory."""
        name = self._names.container(handle)
        found = await self._engine.inspect(name)
        if found is None:
            return ""
        written = await self._engine.log_tail(name, _LOG_LINES)
        if found["State"].get("OOMKilled"):
            written += "\nIt was killed because the sandbox had no memory left."
        return written.strip()

    async def memory_bytes(self, record: ContainerRecord) -> int | None:
        """What the engine counts for the container, its cache of files aside."""
        return await self._engine.memory_bytes(record.container)

    async def end(self, handle: Handle, record: ContainerRecord | None, *, grace_s: float) -> None:
        """End the sandbox's container, and remove it. Its volume stays."""
        if self._egress is not None:
            await self._egress.end(handle)
        for container in {self._names.container(handle), *([record.container] if record else [])}:
            found = await self._engine.inspect(container)
            if found is None or not self._is_ours(found["Config"]["Labels"] or {}):
                continue
            if grace_s > 0 and found["State"]["Running"]:
                await self._engine.stop(found["Id"], grace_s)
            await self._engine.remove(found["Id"])

    async def forget(self, handle: Handle) -> None:
        """Nothing is kept beside the engine's own memory."""

    async def set_aside(self, handle: Handle) -> Finish:
        """Delete the sandbox's volume, at once: it cannot be renamed."""
        await self._engine.remove_volume(self._names.volume(handle))
        if self._egress is not None:
            await self._egress.forget(handle)

        async def finish() -> None:
            return

        return finish

    async def sweep(self, known: Mapping[Handle, ContainerRecord]) -> set[Handle]:
        """Remove every container of ours that is not `known`; the handles of those that ran."""
        kept = {record.container for record in known.values()}
        ended: set[Handle] = set()
        for listed in await self._engine.containers(self._names.label):
            if listed.id not in kept:
                await self._engine.remove(listed.id)
                if listed.running and HANDLE_LABEL in listed.labels:
                    ended.add(Handle(listed.labels[HANDLE_LABEL]))
        return ended

    async def close(self) -> None:
        """Let go of the engine; where no sandbox is left, take away what they needed."""
        try:
            if self._filter_set and not await self._engine.containers(self._names.label):
                await self._dismantle()
        except EngineError as error:
            _log.warning("the sandboxes' networks stay: %s", error.message)
        finally:
            if self._egress is not None:
                await self._egress.close()
            await self._engine.close()

    def _variables(self, policy: EgressPolicy) -> dict[str, str]:
        """What a sandbox of the policy is told beside the environment."""
        if policy.mode != "listed":
            return {}
        if self._egress is None:
            raise RunnerError(
                "Containers cannot be kept to a list of hosts here: that takes root on the engine's"
                " machine, and its default runtime",
                hint="Let the agent reach everything or nothing, or use LIMPET_RUNNER=host.",
            )
        return self._egress.variables(policy)

    async def _serve(self, record: ContainerRecord, container: Json | None) -> None:
        if record.egress.mode == "listed" and self._egress is not None and container is not None:
            await self._egress.begin(record.handle, int(container["State"]["Pid"]), record.egress)

    def _limits_kept(self, cgroup_version: str) -> list[str]:
        limits = self._options.limits
        by_groups = {"memory": limits.memory_bytes, "pids": limits.pids, "cpu": limits.cpus}
        lines = [
            f"{name}: {value:,} (control groups, version {cgroup_version})"
            for name, value in by_groups.items()
            if value is not None
        ]
        if limits.file_bytes is not None:
            lines.append(f"bytes of one file: {limits.file_bytes:,} (rlimit)")
        if self._limits_disk:
            lines.append(f"bytes of a sandbox's root: {self._options.disk_bytes:,} (quota)")
        return lines

    # -- making ready ----------------------------------------------------------------------

    async def _make_ready(self, progress: Callable[[str], None]) -> None:
        """The image and the packet filter, once."""
        if await self._engine.image_id(self._options.image) is None:
            await self._engine.pull(self._options.image, progress)
        if self._refused is not None and not self._filter_set:
            await self._set_filter(filter_rules(self._names, self._refused))
            self._filter_set = True

    async def _set_filter(self, rules: str) -> None:
        helper = helper_config(self._options.image, [_NFT, rules], self._names, firewall=True)
        try:
            code, written = await self._engine.run_once(helper)
        except EngineError as error:
            if not _no_such_program(error):
                raise
            code, written = 127, "the image has no program nft"
        if code != 0:
            raise RunnerError(
                f"Sandboxes cannot be kept from this machine's network: {written.strip()[-500:]}",
                hint="The engine's kernel needs nftables, the image the program nft. "
                "LIMPET_DOCKER_FILTER=off does without.",
            )

    async def _make_network(self, *, closed: bool) -> None:
        if await self._engine.network(self._names.network(closed=closed)) is None:
            await self._engine.make_network(network_config(self._names, closed=closed))

    async def _make_volume(self, handle: Handle) -> None:
        name = self._names.volume(handle)
        if await self._engine.volume(name) is None:
            disk_bytes = self._options.disk_bytes if self._limits_disk else None
            options = {} if disk_bytes is None else {"size": str(disk_bytes)}
            await self._engine.make_volume(name, self._names.labels(handle), options)

    async def _create(self, handle: Handle, config: Json) -> str:
        name = self._names.container(handle)
        try:
            return await self._engine.create(name, config)
        except EngineError as error:
            if error.engine_status != 409:
                raise
        await self.end(handle, None, grace_s=0)  # what a killed control plane left of its start
        return await self._engine.create(name, config)

    async def _can_limit_disk(self, size_bytes: int) -> bool:
        probe = f"limpet-{self._names.owner}-probe-{secrets.token_hex(4)}"
        try:
            await self._engine.make_volume(probe, self._names.labels(), {"size": str(size_bytes)})
        except EngineError as error:
            if "quota" in error.message.lower():
                return False
            raise
        await self._engine.remove_volume(probe)
        return True

    async def _dismantle(self) -> None:
        for closed in (False, True):
            await self._engine.remove_network(self._names.network(closed=closed))
        await self._set_filter(no_filter_rules(self._names))

    def _is_ours(self, labels: Mapping[str, str]) -> bool:
        return labels.get(OWNER_LABEL) == self._names.owner


def _no_such_program(error: EngineError) -> bool:
    return error.engine_status == 400 and any(
        words in error.message for words in ("no such file", "executable file not found")
    )


def _address_of(container: Json | None) -> str:
    networks = {} if container is None else container["NetworkSettings"]["Networks"] or {}
    for network in networks.values():
        if network.get("IPAddress"):
            return str(network["IPAddress"])
    return ""


def _owner_of(data_dir: Path) -> str:
    """The data folder's id on engines, made once."""
    file = data_dir / "runner" / "docker" / "owner"
    try:
        if file.exists():
            return file.read_text().strip()
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        owner = secrets.token_hex(8)
        fresh = file.with_name(f".{file.name}.{owner}")
        fresh.write_text(owner)
        fresh.replace(file)
    except OSError as error:
        raise RunnerError(f"The data folder cannot be used: {error}") from error
    return owner
