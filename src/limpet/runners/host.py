"""The host runner: a sandbox is a daemon on this machine and a folder of its own.

Sandboxes outlive the control plane: they are on record before they get their token, and adopted
again by process, boot id and token. Everything about one handle happens under that handle's lock.
"""

import contextlib
import logging
import os
import re
import secrets
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

import aiohttp
import anyio
import anyio.to_thread

from limpet.errors import (
    DaemonError,
    DaemonUnreachableError,
    LimpetError,
    NotFoundError,
    RunnerError,
)
from limpet.ids import MAX_HANDLE_LENGTH, BootId, Handle
from limpet.runners import bubblewrap, ending, spawn
from limpet.runners.base import (
    DaemonResponse,
    EnsureOptions,
    Isolation,
    Provisioned,
    RunnerKind,
    RunnerState,
    SandboxId,
)
from limpet.runners.config import config_patch
from limpet.runners.daemon_client import HEALTH_TIMEOUT_S, DaemonClient, new_session
from limpet.runners.daemon_log import DaemonLog
from limpet.runners.deletion import delete_tree
from limpet.runners.launch import Launcher, said, until_ready
from limpet.runners.processes import is_alive
from limpet.runners.record import PidFiles, Record

HEALTHY_WITHIN_S: Final = 30.0
PATIENCE_S: Final = 10.0
STOP_GRACE_S: Final = 20.0
DAEMON_COMMAND: Final = (sys.executable, "-P", "-m", "limpet.daemon")
_HANDLE: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?")
_TRASH: Final = ".trash"
_log = logging.getLogger(__name__)

IsolationWish = Literal["auto", "bubblewrap", "none"]


@dataclass
class _Slot:
    """One handle: its lock, what happens under it, and the sandbox if it runs."""

    lock: anyio.Lock = field(default_factory=anyio.Lock)
    adopting: anyio.Lock = field(default_factory=anyio.Lock)
    starting_or_ending: bool = False
    record: Record | None = None
    spawned: spawn.Spawned | None = None
    log: DaemonLog | None = None


class HostRunner:
    """Runs sandboxes under `data_dir`; see `limpet.runners.base.Runner` for its methods.

    `isolation`: with `bubblewrap`, `RunnerError` when it does not work here; with `auto` it is
    used where it works. Blocks for some 100 ms to find out. `environ` is the control plane's
    environment, of which sandboxes see an allow list. `daemon_command` is what is run as the
    daemon; `visible` are further paths that sandboxes may read. Times are seconds: how long a fresh
    daemon may take until it is ready, one that runs until it answers an `ensure`, and one that is
    stopped until it is killed.
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
        healthy_within_s: float = HEALTHY_WITHIN_S,
        patience_s: float = PATIENCE_S,
        stop_grace_s: float = STOP_GRACE_S,
    ) -> None:
        self._data_dir = data_dir.resolve()
        self._roots = self._data_dir / "sandboxes"
        self._pid_files = PidFiles(self._data_dir / "runner" / "host")
        self._state = state
        self._healthy_within_s = healthy_within_s
        self._patience_s = patience_s
        self._stop_grace_s = stop_grace_s
        self._slots: dict[Handle, _Slot] = {}
        self._session: aiohttp.ClientSession | None = None
        self._runtime: str | None = None
        environ = dict(os.environ if environ is None else environ)
        self._isolation = _decided(isolation, environ, visible)
        shut_in = None
        if self._isolation.kind == "bubblewrap":
            shut_in = bubblewrap.find_bubblewrap(environ, self._data_dir, visible)
        etc = self._data_dir / "runner" / "etc"
        self._launcher = Launcher(tuple(daemon_command), shut_in, environ, etc, tuple(app_origins))

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
        if len(handle) > MAX_HANDLE_LENGTH or not _HANDLE.fullmatch(handle):
            raise NotFoundError(f"{handle[:80]!r} is not a sandbox's handle")
        return self._roots / handle

    async def runtime(self) -> str:
        """Which node this machine's sandboxes find."""
        if self._runtime is None:
            self._runtime = await anyio.to_thread.run_sync(self._launcher.runtime)
        return self._runtime

    async def ensure(self, sandbox: SandboxId, options: EnsureOptions) -> Provisioned:
        """The sandbox, started or adopted; two callers at once get the same one.

        Raises `RunnerError` when the daemon does not get healthy or refuses its config; one that
        was started by this call is ended then, one that ran before is left alone.
        """
        self.root(sandbox.handle)
        progress = options.progress or (lambda _step: None)
        slot = self._slot(sandbox.handle)
        async with slot.lock:
            record = await self._present(slot, sandbox.handle, patience_s=self._patience_s)
            is_new = record is None
            try:
                if record is None:
                    progress("starting-daemon")
                    record = await self._provision(slot, sandbox)
                    progress("daemon-ready")
                if options.on_daemon_ready is not None:
                    await _tell_ready(record, options)
                if not options.hold:
                    progress("configuring")
                    await self._configure(record, options)
            except BaseException:
                if is_new:
                    with anyio.CancelScope(shield=True):
                        await self._end(slot, sandbox.handle, gently=False)
                raise
            return self._provisioned(record, is_new=is_new)

    async def stop(self, handle: Handle) -> None:
        """End every process of the sandbox; its files stay."""
        self.root(handle)
        slot = self._slot(handle)
        async with slot.lock:
            with anyio.CancelScope(shield=True):
                await self._end(slot, handle, gently=True)

    async def delete(self, handle: Handle) -> None:
        """End every process of the sandbox and delete its files."""
        root = self.root(handle)
        slot = self._slot(handle)
        async with slot.lock:
            with anyio.CancelScope(shield=True):
                await self._end(slot, handle, gently=True)
                trash = await anyio.to_thread.run_sync(self._set_aside, root)
        if trash is not None:
            await anyio.to_thread.run_sync(delete_tree, trash)

    async def alive(self, handle: Handle) -> bool:
        """Whether the sandbox's daemon answers."""
        return await self.find(handle) is not None

    async def find(self, handle: Handle) -> Provisioned | None:
        """The sandbox if its daemon answers, adopted when it survived a restart of ours.

        None while it is being started or ended.
        """
        if not _HANDLE.fullmatch(handle):
            return None
        # No slot for a handle that nobody knows: they come from host names, thus from anyone.
        if handle not in self._slots and await self._state.get(handle) is None:
            return None
        slot = self._slot(handle)
        record = slot.record
        if record is None:
            record = await self._adopt(slot, handle, patience_s=HEALTH_TIMEOUT_S)
        elif not await self._answers(record, patience_s=HEALTH_TIMEOUT_S):
            record = None
        return None if record is None else self._provisioned(record, is_new=False)

    @asynccontextmanager
    async def proxy_daemon_request(
        self,
        handle: Handle,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | AsyncIterator[bytes] | None = None,
    ) -> AsyncGenerator[DaemonResponse]:
        """One request to the daemon with its token; the answer streams."""
        slot = self._slots.get(handle)
        record = None if slot is None else slot.record
        if record is None or not all(is_alive(process) for process in record.processes):
            found = await self.find(handle)
            record = None if found is None else self._slot(handle).record
        if record is None:
            raise DaemonUnreachableError(
                f"The sandbox {handle[:80]} is not running", hint="Start it first."
            )
        client = self._client(record)
        async with client.request(method, path, headers=headers, body=body) as answer:
            yield answer

    async def sweep(self) -> list[Handle]:
        """End what earlier control planes left without a record, and delete what they set aside.

        Call it at start, before anything else: a daemon of this data folder that the state does
        not know is ended, strays of dead daemons too. The handles that were ended.
        """
        known: dict[Handle, Record] = {}
        for handle, value in await self._state.list():
            record = Record.from_dict(handle, value)
            if record is not None and all(is_alive(process) for process in record.processes):
                known[handle] = record
            else:
                await self._state.delete(handle)
        ended = await ending.end_orphans(
            self._roots, await anyio.to_thread.run_sync(self._pid_files.all), known
        )
        for handle in ended:
            _log.warning("ended an orphaned sandbox: %s", handle)
        await anyio.to_thread.run_sync(self._forget_dead, set(known))
        await anyio.to_thread.run_sync(self._empty_trash)
        return sorted(ended)

    async def close(self) -> None:
        """Let go of connections; sandboxes run on."""
        for slot in self._slots.values():
            if slot.spawned is not None:
                slot.spawned.forget()
            if slot.log is not None:
                slot.log.close()
        self._slots.clear()
        if self._session is not None:
            await self._session.close()
            self._session = None

    # -- present ---------------------------------------------------------------------------

    async def _present(self, slot: _Slot, handle: Handle, *, patience_s: float) -> Record | None:
        """The sandbox if it runs and answers; one that runs but does not answer is ended."""
        if slot.record is None:
            if await self._adopt(slot, handle, patience_s=patience_s):
                return slot.record
        elif await self._answers(slot.record, patience_s=patience_s):
            return slot.record
        await self._end(slot, handle, gently=False)
        return None

    async def _adopt(self, slot: _Slot, handle: Handle, *, patience_s: float) -> Record | None:
        """The sandbox that an earlier control plane started, if it is still the same one."""
        async with slot.adopting:
            if slot.record is not None or slot.starting_or_ending:
                return slot.record
            value = await self._state.get(handle)
            record = None if value is None else Record.from_dict(handle, value)
            if record is None or not await self._answers(record, patience_s=patience_s):
                return None
            try:
                await self._client(record).config()  # only one that accepts the token is ours
            except (DaemonError, DaemonUnreachableError) as error:
                _log.warning("not adopted: %s: %s", handle, error.message)
                return None
            slot.log = await anyio.to_thread.run_sync(DaemonLog.reopen, self.root(handle))
            slot.record = record
            _log.info("adopted %s", handle)
            return record

    async def _answers(self, record: Record, *, patience_s: float) -> bool:
        """Whether the very daemon of the record lives and answers, as itself, in time."""
        slot = self._slot(record.handle)
        if slot.spawned is not None:
            _ = slot.spawned.exit_code
        if slot.log is not None:
            with contextlib.suppress(OSError):  # a full disk: the log is no reason to fail
                slot.log.trim()
        if not all(is_alive(process) for process in record.processes):
            return False
        # A machine under load may miss the short time-out; a process that lives gets another.
        for timeout_s in (HEALTH_TIMEOUT_S, max(patience_s, 4 * HEALTH_TIMEOUT_S)):
            try:
                health = await self._client(record).health(timeout_s=timeout_s)
            except DaemonUnreachableError:
                continue
            except DaemonError:
                return False
            return health.boot_id == record.boot_id
        return False

    # -- provision -------------------------------------------------------------------------

    async def _provision(self, slot: _Slot, sandbox: SandboxId) -> Record:
        slot.starting_or_ending = True
        try:
            record = await self._start(slot, sandbox)
            assert slot.spawned is not None
            assert slot.log is not None
            await until_ready(
                self._client(record),
                slot.spawned,
                slot.log,
                boot_id=record.boot_id,
                within_s=self._healthy_within_s,
            )
        finally:
            slot.starting_or_ending = False
        slot.record = record
        return record

    async def _start(self, slot: _Slot, sandbox: SandboxId) -> Record:
        root = self.root(sandbox.handle)
        token, boot_id = secrets.token_hex(32), BootId(secrets.token_hex(16))
        try:
            slot.log = await anyio.to_thread.run_sync(_prepared, root)
            doors = spawn.Doors.open()
        except OSError as error:
            raise RunnerError(
                f"The sandbox's folder cannot be made ready: {error}",
                hint="Look at the data folder's free space and permissions.",
            ) from error
        try:
            url = doors.url
            slot.spawned = await anyio.to_thread.run_sync(
                self._launcher.start, root, boot_id, doors, slot.log.descriptor
            )
            doors.close_inherited()
            record = Record(
                sandbox.handle,
                url,
                token,
                boot_id,
                self._isolation.kind,
                slot.spawned.leader,
                slot.spawned.init,
            )
            # On record first, the token after: see limpet.runners.spawn.
            await anyio.to_thread.run_sync(self._pid_files.write, record)
            if not sandbox.transient:
                await self._state.put(sandbox, record.as_dict())
            doors.hand_over(token)
        except RunnerError as error:
            raise RunnerError(error.message + said(slot.log), hint=error.hint) from error
        except OSError as error:
            raise RunnerError(f"The sandbox cannot be started: {error}") from error
        finally:
            doors.close()
        return record

    async def _configure(self, record: Record, options: EnsureOptions) -> None:
        try:
            await self._client(record).post_config(config_patch(options))
        except DaemonError as error:
            raise RunnerError(
                f"The sandbox's daemon refuses its config: {error.message}",
                hint="An agent's clone URL cannot change while its sandbox has a workspace."
                if error.daemon_status == 409
                else "",
            ) from error
        except DaemonUnreachableError as error:
            raise RunnerError(f"The sandbox's daemon is gone: {error.message}") from error

    # -- end -------------------------------------------------------------------------------

    async def _end(self, slot: _Slot, handle: Handle, *, gently: bool) -> None:
        """End every process of the sandbox and forget it. Under its lock."""
        slot.starting_or_ending = True
        try:
            async with slot.adopting:  # one that is being adopted now ends too
                record, slot.record = slot.record, None
            if record is None and slot.spawned is not None:
                leader, init = slot.spawned.leader, slot.spawned.init
                kind = self._isolation.kind
                record = Record(handle, "", "", BootId(""), kind, leader, init)
            if record is None:
                value = await self._state.get(handle)
                record = None if value is None else Record.from_dict(handle, value)
            grace_s = self._stop_grace_s if gently else 0.0
            await ending.end_sandbox(self.root(handle), record, grace_s=grace_s)
            if slot.spawned is not None:
                await anyio.to_thread.run_sync(slot.spawned.popen.wait)
            await self._state.delete(handle)
            await anyio.to_thread.run_sync(self._pid_files.delete, handle)
        finally:
            slot.spawned = None
            if slot.log is not None:
                slot.log.close()
            slot.log = None
            slot.starting_or_ending = False

    def _set_aside(self, root: Path) -> Path | None:
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

    # -- parts -----------------------------------------------------------------------------

    def _slot(self, handle: Handle) -> _Slot:
        return self._slots.setdefault(handle, _Slot())

    def _client(self, record: Record) -> DaemonClient:
        if self._session is None:
            self._session = new_session()
        return DaemonClient(record.url, record.token, session=self._session)

    def _provisioned(self, record: Record, *, is_new: bool) -> Provisioned:
        isolation = (
            self._isolation
            if record.isolation == self._isolation.kind
            else Isolation(record.isolation, "it was started so by an earlier server")
        )
        return Provisioned(
            record.handle, record.url, record.token, record.boot_id, is_new, isolation
        )


def _decided(wish: IsolationWish, environ: Mapping[str, str], visible: Sequence[Path]) -> Isolation:
    if wish == "none":
        return Isolation("none", "it was switched off by the settings")
    found = bubblewrap.probe_isolation(environ, visible)
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


async def _tell_ready(record: Record, options: EnsureOptions) -> None:
    """Await the caller's step between health and config; its failure never fails the start."""
    assert options.on_daemon_ready is not None
    try:
        await options.on_daemon_ready(record.url, record.token)
    except Exception as error:  # noqa: BLE001  (the contract: logged and swallowed)
        message = error.message if isinstance(error, LimpetError) else type(error).__name__
        _log.warning("on_daemon_ready failed for %s: %s", record.handle, message)
