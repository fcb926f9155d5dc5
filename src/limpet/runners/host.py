"""The host runner: a sandbox is a daemon on this machine and a folder of its own."""

import contextlib
import logging
import os
import secrets
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final, Literal

import anyio.to_thread

from limpet.errors import RunnerError
from limpet.ids import BootId, Handle
from limpet.runners import bubblewrap, ending, network, spawn
from limpet.runners.backend import Finish, Keep, Start
from limpet.runners.base import Isolation, RunnerKind, RunnerState
from limpet.runners.daemon_log import DaemonLog
from limpet.runners.daemons import (
    HEALTHY_WITHIN_S,
    PATIENCE_S,
    STOP_GRACE_S,
    DaemonRunner,
    Patience,
    checked_handle,
)
from limpet.runners.deletion import delete_tree
from limpet.runners.egress import EgressPolicy
from limpet.runners.egress_proxy import EgressLog
from limpet.runners.launch import Launcher
from limpet.runners.limits import Limiter, Limits
from limpet.runners.processes import held_bytes, is_alive
from limpet.runners.readiness import said
from limpet.runners.record import PidFiles, Record
from limpet.runners.registries import package_registries

DAEMON_COMMAND: Final = (sys.executable, "-P", "-m", "limpet.daemon")
TOOLS: Final = "tools"
"""The folder of the data folder that all sandboxes see: programs that are installed once."""
_TRASH: Final = ".trash"
_log = logging.getLogger(__name__)

IsolationWish = Literal["auto", "bubblewrap", "none"]


class HostRunner(DaemonRunner[Record]):
    """Runs sandboxes under `data_dir`; see `limpet.runners.base.Runner` for its methods.

    `isolation`: with `bubblewrap`, `RunnerError` when it does not work here; with `auto` it is
    used where it works; `networks` likewise. Blocks for some 100 ms to find out. `limits` are kept
    as far as this machine can: `isolation.missing` tells what is not. `environ` is the control
    plane's environment, of which sandboxes see an allow list. `daemon_command` is what is run as
    the daemon; `visible` are further paths that sandboxes may read. Times are seconds: how long a
    fresh daemon may take until it is ready, one that runs until it answers an `ensure`, and one
    that is stopped until it is killed.
    """

    def __init__(
        self,
        data_dir: Path,
        state: RunnerState,
        *,
        isolation: IsolationWish = "auto",
        environ: Mapping[str, str] | None = None,
        app_origins: Sequence[str] = (),
        daemon_command: Sequence[str] = DAEMON_COMMAND,
        visible: Sequence[Path] = (),
        networks: network.NetworkSettings | None = None,
        limits: Limits | None = None,
        healthy_within_s: float = HEALTHY_WITHIN_S,
        patience_s: float = PATIENCE_S,
        stop_grace_s: float = STOP_GRACE_S,
    ) -> None:
        data_dir = data_dir.resolve()
        environ = dict(os.environ if environ is None else environ)
        networks = networks or network.NetworkSettings()
        found = _decided(isolation, networks.wish, environ, visible)
        shut_in = own_networks = None
        if found.kind == "bubblewrap":
            tools = data_dir / TOOLS
            tools.mkdir(mode=0o755, parents=True, exist_ok=True)
            shut_in = bubblewrap.find_bubblewrap(environ, data_dir, visible, tools=tools)
        if found.network == "own":
            asked = partial(package_registries, environ)
            own_networks = network.OwnNetworks.here(networks, environ, asked)
        limiter = Limiter.here(limits or Limits(), data_dir)
        launcher = Launcher(
            tuple(daemon_command),
            shut_in,
            environ,
            data_dir / "runner" / "etc",
            limiter,
            own_networks,
            tuple(app_origins),
        )
        missing = [
            *found.missing,
            *(own_networks.missing if own_networks else ()),
            *limiter.missing,
        ]
        decided = replace(found, limits=limiter.kept, missing=tuple(missing))
        self._host = HostBackend(data_dir, launcher, decided)
        super().__init__(self._host, state, Patience(healthy_within_s, patience_s, stop_grace_s))

    def root(self, handle: Handle) -> Path:
        """The sandbox's root on this machine."""
        return self._host.root(handle)


@dataclass
class _Running:
    """A sandbox that we started or adopted: its log, the daemon if it is our child, its network."""

    log: DaemonLog | None = None
    spawned: spawn.Spawned | None = None
    serving: network.Serving | None = None

    async def close(self) -> None:
        if self.serving is not None:
            await self.serving.close()
            self.serving = None
        if self.log is not None:
            self.log.close()
            self.log = None


class HostBackend:
    """Daemons that are processes of this machine; see `limpet.runners.backend.Backend`."""

    def __init__(self, data_dir: Path, launcher: Launcher, isolation: Isolation) -> None:
        self._roots = data_dir / "sandboxes"
        self._pid_files = PidFiles(data_dir / "runner" / "host")
        self._egress_logs = data_dir / "runner" / "egress"
        self._launcher = launcher
        self._isolation = isolation
        self._running: dict[Handle, _Running] = {}
        self._runtime: str | None = None

    @property
    def kind(self) -> RunnerKind:
        """`host`."""
        return "host"

    @property
    def isolation(self) -> Isolation:
        """How far new sandboxes are kept apart."""
        return self._isolation

    def root(self, handle: Handle) -> Path:
        """The sandbox's root on this machine."""
        return self._roots / checked_handle(handle)

    async def runtime(self) -> str:
        """Which node this machine's sandboxes find."""
        if self._runtime is None:
            self._runtime = await anyio.to_thread.run_sync(self._launcher.runtime)
        return self._runtime

    def record(self, handle: Handle, value: Mapping[str, object]) -> Record | None:
        """The record whose `as_dict` gave `value`; None when it is not sound."""
        return Record.from_dict(handle, value)

    async def start(self, start: Start, keep: Keep[Record]) -> Record:
        """A daemon of the sandbox's root, shut in where that works."""
        handle = start.sandbox.handle
        root = self.root(handle)
        running = self._running[handle] = _Running()
        try:
            running.log = await anyio.to_thread.run_sync(_prepared, root)
            doors = spawn.Doors.open()
        except OSError as error:
            raise RunnerError(
                f"The sandbox's folder cannot be made ready: {error}",
                hint="Look at the data folder's free space and permissions.",
            ) from error
        try:
            url = doors.url
            spawned, joined = await anyio.to_thread.run_sync(
                self._launcher.start,
                root,
                start.boot_id,
                doors,
                running.log.descriptor,
                start.egress,
            )
            running.spawned = spawned
            if joined is not None:
                await self._serve(running, handle, joined, start.egress)
            doors.close_inherited()
            record = Record(
                handle,
                url,
                start.token,
                start.boot_id,
                self._isolation.kind,
                spawned.leader,
                spawned.init,
                start.egress if joined is not None else None,
            )
            # On record first, the token after: see limpet.runners.spawn.
            await anyio.to_thread.run_sync(self._pid_files.write, record)
            await keep(record)
            doors.hand_over(start.token)
        except RunnerError as error:
            raise RunnerError(error.message + said(running.log.tail()), hint=error.hint) from error
        except OSError as error:
            raise RunnerError(f"The sandbox cannot be started: {error}") from error
        finally:
            doors.close()
        return record

    async def exit_code(self, handle: Handle) -> int | None:
        """How the daemon that `start` gave has ended; None while it runs."""
        running = self._running.get(handle)
        return None if running is None or running.spawned is None else running.spawned.exit_code

    async def lives(self, record: Record) -> bool:
        """Whether the very processes of the record live; a log that grew is cut meanwhile."""
        running = self._running.get(record.handle)
        if running is not None:
            if running.spawned is not None:
                _ = running.spawned.exit_code
            if running.log is not None:
                with contextlib.suppress(OSError):  # a full disk: the log is no reason to fail
                    running.log.trim()
        return all(is_alive(process) for process in record.processes)

    async def adopted(self, record: Record) -> None:
        """Open the log of a daemon that an earlier control plane started, and serve its network."""
        log = await anyio.to_thread.run_sync(DaemonLog.reopen, self.root(record.handle))
        running = self._running[record.handle] = _Running(log)
        networks, policy = self._launcher.networks, record.egress
        if networks is None or policy is None or record.init is None:
            return
        try:
            joined = await anyio.to_thread.run_sync(networks.rejoin, record.init.pid, policy)
        except RunnerError as error:
            _log.warning("nothing leads out of %s until it starts again: %s", record.handle, error)
        else:
            await self._serve(running, record.handle, joined, policy)

    async def log_tail(self, handle: Handle) -> str:
        """The end of the daemon's log."""
        running = self._running.get(handle)
        return "" if running is None or running.log is None else running.log.tail()

    async def memory_bytes(self, record: Record) -> int | None:
        """What the daemon, all below it and what else belongs to the root hold together."""
        root, own = self.root(record.handle), record.processes
        return await anyio.to_thread.run_sync(held_bytes, root, own)

    async def end(self, handle: Handle, record: Record | None, *, grace_s: float) -> None:
        """End every process of the sandbox."""
        running = self._running.pop(handle, None)
        spawned = None if running is None else running.spawned
        try:
            if record is None and spawned is not None:
                kind = self._isolation.kind
                record = Record(handle, "", "", BootId(""), kind, spawned.leader, spawned.init)
            await ending.end_sandbox(self.root(handle), record, grace_s=grace_s)
            if spawned is not None:
                await anyio.to_thread.run_sync(spawned.popen.wait)
            await anyio.to_thread.run_sync(self._launcher.limiter.release, handle)
            network.reap()
        finally:
            if running is not None:
                await running.close()

    async def forget(self, handle: Handle) -> None:
        """Delete the file that names the sandbox's processes."""
        await anyio.to_thread.run_sync(self._pid_files.delete, handle)

    async def set_aside(self, handle: Handle) -> Finish:
        """Move the sandbox's root out of the way; what this gives deletes it."""
        trash = await anyio.to_thread.run_sync(self._move_to_trash, self.root(handle))
        await anyio.to_thread.run_sync(EgressLog(self._egress_logs / f"{handle}.jsonl").delete)

        async def finish() -> None:
            if trash is not None:
                await anyio.to_thread.run_sync(delete_tree, trash)

        return finish

    async def sweep(self, known: Mapping[Handle, Record]) -> set[Handle]:
        """End what runs of this data folder's sandboxes and is not `known`; empty the trash."""
        recorded = await anyio.to_thread.run_sync(self._pid_files.all)
        ended = await ending.end_orphans(self._roots, recorded, known)
        await anyio.to_thread.run_sync(self._launcher.limiter.sweep, known)
        await anyio.to_thread.run_sync(self._forget_dead, set(known))
        await anyio.to_thread.run_sync(self._empty_trash)
        return ended

    async def close(self) -> None:
        """Let go of logs and children; they run on."""
        for running in self._running.values():
            if running.spawned is not None:
                running.spawned.forget()
            await running.close()
        self._running.clear()

    async def _serve(
        self, running: _Running, handle: Handle, joined: network.Joined, policy: EgressPolicy
    ) -> None:
        networks = self._launcher.networks
        assert networks is not None
        self._egress_logs.mkdir(mode=0o700, parents=True, exist_ok=True)
        running.serving = network.Serving()
        log = self._egress_logs / f"{handle}.jsonl"
        await running.serving.begin(joined, networks, policy, log)

    def _move_to_trash(self, root: Path) -> Path | None:
        trash = self._roots / _TRASH
        try:
            trash.mkdir(mode=0o700, parents=True, exist_ok=True)
            root.chmod(0o700)  # a folder is moved only by who may write in it
            return root.rename(trash / f"{root.name}-{secrets.token_hex(6)}")
        except FileNotFoundError:
            return None

    def _empty_trash(self) -> None:
        trash = self._roots / _TRASH
        for left in sorted(trash.iterdir()) if trash.is_dir() else ():
            try:
                delete_tree(left)
            except OSError as error:
                _log.warning("cannot delete %s: %s", left, error)

    def _forget_dead(self, known: set[Handle]) -> None:
        for record in self._pid_files.all():
            if record.handle not in known:
                self._pid_files.delete(record.handle)


def _decided(
    wish: IsolationWish,
    networks: network.NetworkWish,
    environ: Mapping[str, str],
    visible: Sequence[Path],
) -> Isolation:
    if wish == "none":
        found = Isolation("none", "it was switched off by the settings")
    else:
        found = bubblewrap.probe_isolation(environ, visible, own_network=networks != "shared")
    if networks == "own" and found.network != "own":
        why = "; ".join(filter(None, (found.reason, *found.missing)))
        raise RunnerError(
            f"Sandboxes cannot have networks of their own: {why}",
            hint="Mend that, or choose the network 'auto'.",
        )
    if wish == "bubblewrap" and found.kind == "none":
        raise RunnerError(
            f"Sandboxes cannot be kept apart: {found.reason}",
            hint="Install bubblewrap and allow user namespaces, or choose isolation 'auto'.",
        )
    return found


def _prepared(root: Path) -> DaemonLog:
    """Make the sandbox's root, and a fresh log in it."""
    root.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    root.mkdir(mode=0o700, exist_ok=True)
    root.chmod(0o700)  # the sandbox may have changed it
    return DaemonLog.create(root)
