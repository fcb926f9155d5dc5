"""Every place that sandboxes can live in, as the tests of runners see it.

A test that takes the fixture `place` runs once for each: on this machine without and with
bubblewrap, and in containers. What it asks beside the runner's own methods, it asks here.
"""

import contextlib
import os
import signal
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Sequence
from pathlib import Path
from typing import ClassVar

from limpet.ids import Handle
from limpet.runners.daemons import DaemonRunner
from limpet.runners.docker import ContainerRecord, DockerRunner
from limpet.runners.docker_container import DAEMON_COMMAND, OWNER_LABEL, DockerOptions, Names
from limpet.runners.docker_engine import Engine
from limpet.runners.ending import daemon_of
from limpet.runners.host import HostRunner
from limpet.runners.processes import is_alive, process_table
from limpet.runners.record import PidFiles, Record
from tests.live import poll_until
from tests.runners.engine import DockerEngine
from tests.runners.support import SANDBOX, STANDIN, FileState, processes_of, standin_runner

AnyRunner = DaemonRunner[Record] | DaemonRunner[ContainerRecord]
HERE = Path(__file__).parent


def nothing() -> None:
    """What happens before the state is written, unless a test says otherwise."""


class Place(ABC):
    """Where the sandboxes of one data folder live."""

    mode: ClassVar[str]
    daemon_pid: ClassVar[int]
    """The daemon's pid as the sandbox sees it; 0 where that is not known."""
    forged: ClassVar[dict[str, dict[str, object]]]
    """Fields of a runner's state that make a record another daemon's: which one, and since when."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self.state = data_dir / "state.json"

    @abstractmethod
    async def runner(
        self,
        *,
        evil: str = "good",
        environ: dict[str, str] | None = None,
        healthy_within_s: float = 30.0,
        patience_s: float = 10.0,
        stop_grace_s: float = 5.0,
        before_put: Callable[[], None] = nothing,
    ) -> AnyRunner:
        """A runner whose daemons are the stand-in, or the twin of it that is named."""

    @abstractmethod
    async def real_runner(self) -> AnyRunner:
        """A runner whose daemons are real."""

    @abstractmethod
    def running(self) -> set[Hashable]:
        """Whatever runs of the data folder's sandboxes, by looking at the machine alone."""

    @abstractmethod
    def root(self, handle: Handle = SANDBOX.handle) -> Path:
        """The sandbox's root as this machine sees it."""

    @abstractmethod
    def signal_daemon(self, runner: AnyRunner, number: int) -> None:
        """Send the daemon a signal from outside; when it is SIGKILL, it is gone afterwards."""

    @abstractmethod
    def die_when_spawned(self, die: Callable[[], None]) -> None:
        """Have `die` called in this process when a daemon is there and on no record."""

    @abstractmethod
    def lose_records(self) -> None:
        """Delete all by which a runner remembers what it started, beside its state."""

    def inside(self, path: str = "") -> str:
        """A path of the sandbox's root, as the sandbox sees it."""
        return f"/sandbox{path}"

    def control_plane(self, die_at: str = "never") -> "subprocess.Popen[str]":
        """Another process that starts the sandbox; see control_plane.py."""
        return subprocess.Popen(
            [sys.executable, str(HERE / "control_plane.py"), str(self.data_dir), self.mode, die_at],
            stdout=subprocess.PIPE,
            text=True,
            env=self.environ,
        )

    @property
    def environ(self) -> dict[str, str]:
        """The environment in which another process finds the same place."""
        return dict(os.environ)


class HostPlace(Place):
    """Processes of this machine."""

    mode = "none"
    daemon_pid = 0
    forged = {"which": {"pid": os.getppid()}, "since": {"started": "another"}}

    async def runner(
        self,
        *,
        evil: str = "good",
        environ: dict[str, str] | None = None,
        healthy_within_s: float = 30.0,
        patience_s: float = 10.0,
        stop_grace_s: float = 5.0,
        before_put: Callable[[], None] = nothing,
    ) -> AnyRunner:
        return standin_runner(
            self.data_dir,
            self.mode,
            evil=evil,
            environ=environ,
            healthy_within_s=healthy_within_s,
            patience_s=patience_s,
            stop_grace_s=stop_grace_s,
            before_put=before_put,
        )

    async def real_runner(self) -> AnyRunner:
        return HostRunner(self.data_dir, FileState(self.state), isolation=self.mode)  # type: ignore[arg-type]

    def running(self) -> set[Hashable]:
        return set(processes_of(self.data_dir))

    def root(self, handle: Handle = SANDBOX.handle) -> Path:
        return self.data_dir / "sandboxes" / handle

    def signal_daemon(self, runner: AnyRunner, number: int) -> None:
        record = runner._slots[SANDBOX.handle].record
        assert isinstance(record, Record)
        if number == signal.SIGKILL:
            os.kill(record.processes[0].pid, number)
            poll_until("the daemon to end", lambda: not is_alive(record.processes[0]))
            return
        daemon = daemon_of(record, process_table())
        assert daemon is not None
        os.kill(daemon.pid, number)

    def die_when_spawned(self, die: Callable[[], None]) -> None:
        PidFiles.write = lambda *_: die()  # type: ignore[method-assign]

    def lose_records(self) -> None:
        (self.data_dir / f"runner/host/{SANDBOX.handle}.json").unlink()

    def inside(self, path: str = "") -> str:
        return f"{self.root()}{path}"


class BubblewrapPlace(HostPlace):
    """Processes of this machine, shut in."""

    mode = "bubblewrap"
    daemon_pid = 2

    def inside(self, path: str = "") -> str:
        return f"/sandbox{path}"


class DockerPlace(Place):
    """Containers of one engine."""

    mode = "docker"
    daemon_pid = 1
    forged = {"which": {"container": "0" * 64}, "since": {"url": "http://127.0.0.1:1"}}

    def __init__(self, data_dir: Path, engine: DockerEngine) -> None:
        super().__init__(data_dir)
        self.engine = engine

    async def runner(
        self,
        *,
        evil: str = "good",
        environ: dict[str, str] | None = None,
        healthy_within_s: float = 30.0,
        patience_s: float = 10.0,
        stop_grace_s: float = 5.0,
        before_put: Callable[[], None] = nothing,
    ) -> AnyRunner:
        return await self.open(
            ("python3", "-c", STANDIN.read_text(), evil),
            environ=environ,
            healthy_within_s=healthy_within_s,
            patience_s=patience_s,
            stop_grace_s=stop_grace_s,
            before_put=before_put,
        )

    async def real_runner(self) -> AnyRunner:
        return await self.open()

    async def open(
        self,
        daemon_command: Sequence[str] = DAEMON_COMMAND,
        *,
        environ: dict[str, str] | None = None,
        before_put: Callable[[], None] = nothing,
        options: DockerOptions | None = None,
        filtered: bool = True,
        healthy_within_s: float = 30.0,
        patience_s: float = 10.0,
        stop_grace_s: float = 5.0,
    ) -> DockerRunner:
        """The runner with what a test wants of it."""
        self.data_dir.mkdir(exist_ok=True)
        return await DockerRunner.open(
            self.data_dir,
            FileState(self.state, before_put),
            options=options
            or DockerOptions(image=self.engine.image, daemon_command=tuple(daemon_command)),
            host=self.engine.host,
            filtered=filtered,
            environ=environ,
            healthy_within_s=healthy_within_s,
            patience_s=patience_s,
            stop_grace_s=stop_grace_s,
        )

    @property
    def names(self) -> Names | None:
        """What this data folder's things are called; None before it has any."""
        file = self.data_dir / "runner/docker/owner"
        return Names(file.read_text()) if file.exists() else None

    def running(self) -> set[Hashable]:
        return set(self._listed("ps", "-q", "--no-trunc"))

    def root(self, handle: Handle = SANDBOX.handle) -> Path:
        assert self.names is not None
        with contextlib.suppress(AssertionError):
            found = self.engine.docker(
                "volume", "inspect", "-f", "{{.Mountpoint}}", self.names.volume(handle)
            )
            return Path(found)
        return Path("/nonexistent")

    def signal_daemon(self, runner: AnyRunner, number: int) -> None:
        assert self.names is not None
        name = self.names.container(SANDBOX.handle)
        self.engine.docker("kill", "-s", signal.Signals(number).name, name)
        if number == signal.SIGKILL:
            self.engine.docker("wait", name)

    def die_when_spawned(self, die: Callable[[], None]) -> None:
        started = Engine.started

        @contextlib.asynccontextmanager
        async def and_die(self: Engine, container_id: str):  # type: ignore[no-untyped-def]
            async with started(self, container_id) as give:
                die()
                yield give

        Engine.started = and_die  # type: ignore[method-assign]

    def lose_records(self) -> None:
        """The engine remembers by itself."""

    @property
    def environ(self) -> dict[str, str]:
        engine = f"{self.engine.host} {self.engine.image}"
        return {**os.environ, "LIMPET_TEST_ENGINE": engine}

    def clear(self) -> None:
        """Take away whatever is left on the engine."""
        for container in self._listed("ps", "-aq", "--no-trunc"):
            self.engine.docker("rm", "-f", container)
        for volume in self._listed("volume", "ls", "-q"):
            self.engine.docker("volume", "rm", "-f", volume)
        for network in self._listed("network", "ls", "-q"):
            self.engine.docker("network", "rm", network)
        if self.names is not None:
            table = self.names.table
            subprocess.run(
                ["nft", f"add table inet {table}; delete table inet {table}"], check=False
            )

    def _listed(self, *words: str) -> list[str]:
        if self.names is None:
            return []
        label = f"label={OWNER_LABEL}={self.names.owner}"
        return self.engine.docker(*words, "--filter", label).split()


def place_of(mode: str, data_dir: Path, engine: DockerEngine | None) -> Place:
    """The place that a mode names."""
    if mode == "docker":
        assert engine is not None
        return DockerPlace(data_dir, engine)
    return {"none": HostPlace, "bubblewrap": BubblewrapPlace}[mode](data_dir)
