"""The only caller of a Docker engine: what the runner needs, and its failures in our words."""

import contextlib
import json
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import aiodocker
import aiohttp
from aiodocker.exceptions import DockerError

from limpet.errors import RunnerError

DEFAULT_HOST: Final = "unix:///var/run/docker.sock"
CALL_TIMEOUT_S: Final = 60.0
HELPER_WITHIN_S: Final = 60
_UNREACHABLE: Final = 900
"""The status that aiodocker gives to an engine that it cannot connect to."""

Json = dict[str, Any]


class EngineError(RunnerError):
    """The engine refused or did not answer. `engine_status` is its HTTP status, 0 without one."""

    def __init__(self, message: str, *, hint: str = "", engine_status: int = 0) -> None:
        super().__init__(message, hint=hint)
        self.engine_status = engine_status


@dataclass(frozen=True, slots=True)
class EngineFacts:
    """What an engine says of itself."""

    version: str
    storage_driver: str
    cgroup_version: str
    runtimes: tuple[str, ...]
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Listed:
    """A container in a list."""

    id: str
    labels: Mapping[str, str]
    running: bool


class Engine:
    """One engine, by the URL of its socket. Every method raises `EngineError`."""

    def __init__(self, host: str = DEFAULT_HOST) -> None:
        self._host = host
        self._client: aiodocker.Docker | None = None

    @property
    def is_local(self) -> bool:
        """Whether the engine sees the same files as we do."""
        return self._host.startswith("unix:")

    async def close(self) -> None:
        """Let go of the connections."""
        if self._client is not None:
            await self._client.close()
            self._client = None

    async def facts(self) -> EngineFacts:
        """What the engine is; the way to learn whether it is there at all."""
        async with self._translated("The Docker engine cannot be used") as docker:
            told = await docker.system.info()
        return EngineFacts(
            version=str(told.get("ServerVersion", "")),
            storage_driver=str(told.get("Driver", "")),
            cgroup_version=str(told.get("CgroupVersion", "1")),
            runtimes=tuple(told.get("Runtimes") or ()),
            warnings=tuple(told.get("Warnings") or ()),
        )

    # -- images ----------------------------------------------------------------------------

    async def image_id(self, image: str) -> str | None:
        """The id of a local image; None when it is not there."""
        try:
            async with self._translated(f"The image {image} cannot be looked at") as docker:
                return str((await docker.images.inspect(image))["Id"])
        except EngineError as error:
            if error.engine_status == 404:
                return None
            raise

    async def pull(self, image: str, progress: Callable[[str], None]) -> None:
        """Fetch an image; `progress` is told `pulling-image 40%` as it goes, in steps of ten."""
        layers: dict[str, tuple[int, int]] = {}
        said = -1
        async with self._translated(
            f"The image {image} is not here and cannot be pulled"
        ) as docker:
            async for event in docker.images.pull(image, stream=True):
                amount = event.get("progressDetail") or {}
                if event.get("status") == "Downloading" and amount.get("total"):
                    layers[str(event.get("id"))] = (int(amount["current"]), int(amount["total"]))
                elif event.get("id") in layers and event.get("status") == "Download complete":
                    total = layers[str(event["id"])][1]
                    layers[str(event["id"])] = (total, total)
                percent = _percent(layers)
                if percent > said:
                    said = percent
                    progress(f"pulling-image {percent}%")

    # -- containers ------------------------------------------------------------------------

    async def create(self, name: str, config: Json) -> str:
        """A new container that does not run yet; its id. A name that is taken is status 409."""
        async with self._translated(f"The container {name} cannot be made") as docker:
            container = await docker.containers.create(config, name=name)
            return str(container.id)

    @asynccontextmanager
    async def started(self, container_id: str) -> "AsyncIterator[Callable[[str], Awaitable[None]]]":
        """Start a container that was made with `OpenStdin` and `StdinOnce`.

        What this gives writes to its standard input, which ends with the block, or with our death.
        """
        what = "The sandbox's container cannot be started"
        async with self._translated(what) as docker:
            container = docker.containers.container(container_id)
            stream = await container.attach(stdin=True).__aenter__()
        try:
            async with self._translated(what):
                await container.start()

            async def give(text: str) -> None:
                async with self._translated(what):
                    await stream.write_in(text.encode())

            yield give
        finally:
            await stream.close()

    async def inspect(self, container_id: str) -> Json | None:
        """What the engine knows of a container; None when there is none."""
        try:
            async with self._translated("A container cannot be looked at") as docker:
                return await docker.containers.container(container_id).show()
        except EngineError as error:
            if error.engine_status == 404:
                return None
            raise

    async def containers(self, label: str) -> list[Listed]:
        """All containers with the label (`name=value`), running or not."""
        async with self._translated("The containers cannot be listed") as docker:
            filters = json.dumps({"label": [label]})
            found = await docker.containers.list(all=1, filters=filters)
            return [
                Listed(str(one["Id"]), dict(one["Labels"]), one["State"] == "running")
                for one in found
            ]

    async def memory_bytes(self, container_id: str) -> int | None:
        """What a container's processes hold; None where the engine does not tell."""
        async with self._translated("A container's memory cannot be asked for") as docker:
            told = await docker.containers.container(container_id).stats(stream=False)
        return _held(told[0] if isinstance(told, list) and told else told)

    async def stop(self, container_id: str, grace_s: float) -> None:
        """Ask a container to end, and kill it after `grace_s`. One that is gone is no error."""
        with _gone_is_fine():
            async with self._translated("A container does not end") as docker:
                await docker.containers.container(container_id).stop(t=math.ceil(grace_s))

    async def remove(self, container_id: str) -> None:
        """Kill a container if it runs, and delete it. One that is gone is no error."""
        with _gone_is_fine():
            async with self._translated("A container cannot be removed") as docker:
                container = docker.containers.container(container_id)
                try:
                    await container.delete(force=True, v=True)
                except DockerError as error:
                    if error.status != 409:
                        raise
                    # Another is removing it: gone when that has come to its end.
                    await container.wait(condition="removed")

    async def log_tail(self, container_id: str, lines: int) -> str:
        """The last lines that a container wrote."""
        async with self._translated("A container's log cannot be read") as docker:
            container = docker.containers.container(container_id)
            return "".join(await container.log(stdout=True, stderr=True, tail=lines))

    async def run_once(self, config: Json) -> tuple[int, str]:
        """Run a helper container to its end and remove it; exit code and what it wrote."""
        async with self._translated("A helper container cannot be run") as docker:
            container = await docker.containers.create(config)
            try:
                await container.start()
                ended = await container.wait(timeout=aiohttp.ClientTimeout(total=HELPER_WITHIN_S))
                written = "".join(await container.log(stdout=True, stderr=True))
                return int(ended["StatusCode"]), written
            finally:
                await container.delete(force=True, v=True)

    # -- volumes and networks --------------------------------------------------------------

    async def make_volume(self, name: str, labels: Mapping[str, str], options: Json) -> None:
        """A named volume, unless it is there already."""
        async with self._translated(f"The volume {name} cannot be made") as docker:
            config = {
                "Name": name,
                "Labels": dict(labels),
                "Driver": "local",
                "DriverOpts": options,
            }
            await docker.volumes.create(config)  # type: ignore[no-untyped-call]

    async def volume(self, name: str) -> Json | None:
        """What the engine knows of a volume; None when there is none."""
        try:
            async with self._translated("A volume cannot be looked at") as docker:
                volume = await docker.volumes.get(name)  # type: ignore[no-untyped-call]
                return dict(await volume.show())
        except EngineError as error:
            if error.engine_status == 404:
                return None
            raise

    async def remove_volume(self, name: str) -> None:
        """Delete a volume and all in it. One that is gone is no error."""
        with _gone_is_fine():
            async with self._translated(f"The volume {name} cannot be deleted") as docker:
                volume = await docker.volumes.get(name)  # type: ignore[no-untyped-call]
                await volume.delete()

    async def make_network(self, config: Json) -> None:
        """A network, unless one of its name is there already."""
        name = config["Name"]
        async with self._translated(f"The network {name} cannot be made") as docker:
            try:
                await docker.networks.create({**config, "CheckDuplicate": True})
            except DockerError as error:
                if error.status != 409:
                    raise

    async def network(self, name: str) -> Json | None:
        """What the engine knows of a network; None when there is none."""
        try:
            async with self._translated("A network cannot be looked at") as docker:
                return await (await docker.networks.get(name)).show()
        except EngineError as error:
            if error.engine_status == 404:
                return None
            raise

    async def remove_network(self, name: str) -> None:
        """Delete a network that no container uses. One that is gone is no error."""
        with _gone_is_fine():
            async with self._translated(f"The network {name} cannot be deleted") as docker:
                await (await docker.networks.get(name)).delete()

    # -- errors ----------------------------------------------------------------------------

    @asynccontextmanager
    async def _translated(self, what: str) -> AsyncIterator[aiodocker.Docker]:
        try:
            if self._client is None:
                timeout = aiohttp.ClientTimeout(total=CALL_TIMEOUT_S)
                self._client = aiodocker.Docker(url=self._host, timeout=timeout)
            yield self._client
        except DockerError as error:
            raise _engine_error(what, error, self._host) from error
        except TimeoutError as error:
            raise EngineError(
                f"{what}: the Docker engine does not answer in time",
                hint="The machine may be busy; look at the engine's own log.",
            ) from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise EngineError(f"{what}: {error}") from error


def _engine_error(what: str, error: DockerError, host: str) -> EngineError:
    said = error.message.strip()
    low = said.lower()
    hint = ""
    if error.status == _UNREACHABLE and "permission denied" in low:
        return EngineError(
            f"{what}: no permission on the engine's socket ({host})",
            hint="Let the user that runs Limpet use the engine: add it to the group `docker`, "
            "which is as good as root on that machine, or run a rootless engine.",
        )
    if error.status == _UNREACHABLE:
        return EngineError(
            f"{what}: no Docker engine answers at {host}",
            hint="Start it, or name it with LIMPET_DOCKER_HOST; LIMPET_RUNNER=host needs none.",
        )
    if "no space left" in low or "disk quota exceeded" in low:
        hint = "The engine's disk is full: free some room (`docker system df` shows where)."
    elif "port is already allocated" in low or "address already in use" in low:
        hint = "Another program holds the port; end it or try again."
    elif "unknown runtime" in low or "runtime name" in low:
        hint = "The engine does not have the runtime of LIMPET_DOCKER_RUNTIME."
    elif "could not find an available" in low:
        hint = "The engine has no addresses left for another network: docker network prune."
    elif "pulled" in what:
        hint = "Build it with deploy/image/build, or name another one with LIMPET_DOCKER_IMAGE."
    return EngineError(f"{what}: {said}", hint=hint, engine_status=error.status)


def _held(stats: object) -> int | None:
    """As `docker stats` counts it: files that can be dropped at once belong to nobody."""
    memory = stats.get("memory_stats") if isinstance(stats, dict) else None
    if not isinstance(memory, dict) or not isinstance(memory.get("usage"), int):
        return None
    more = memory.get("stats") or {}
    droppable = more.get("inactive_file", more.get("total_inactive_file", 0))
    return max(0, int(memory["usage"]) - int(droppable))


@contextlib.contextmanager
def _gone_is_fine() -> Iterator[None]:
    try:
        yield
    except EngineError as error:
        if error.engine_status != 404:
            raise


def _percent(layers: Mapping[str, tuple[int, int]]) -> int:
    total = sum(size for _, size in layers.values())
    return 0 if not total else sum(done for done, _ in layers.values()) * 10 // total * 10
