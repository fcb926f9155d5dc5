"""What every runner of daemons does, wherever they live: slots, health, config, adoption.

Sandboxes outlive the control plane: they are on record before they get their token, and adopted
again by what their backend says of them, boot id and token. Everything about one handle happens
under that handle's lock.
"""

import logging
import re
import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Final, Generic

import aiohttp
import anyio

from limpet.errors import (
    DaemonError,
    DaemonUnreachableError,
    LimpetError,
    NotFoundError,
    RunnerError,
)
from limpet.ids import MAX_HANDLE_LENGTH, BootId, Handle
from limpet.runners.backend import Backend, DaemonRecord, RecordT, Start
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
from limpet.runners.readiness import until_ready

HEALTHY_WITHIN_S: Final = 30.0
PATIENCE_S: Final = 10.0
STOP_GRACE_S: Final = 20.0
_HANDLE: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?")
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a runner waits, in seconds.

    `healthy_within_s`: for a fresh daemon until it is ready; `answer_s`: for one that runs until it
    answers an `ensure`; `stop_grace_s`: for one that is stopped until it is killed.
    """

    healthy_within_s: float = HEALTHY_WITHIN_S
    answer_s: float = PATIENCE_S
    stop_grace_s: float = STOP_GRACE_S


def checked_handle(handle: Handle) -> Handle:
    """The handle; `NotFoundError` when it cannot be one."""
    if len(handle) > MAX_HANDLE_LENGTH or not _HANDLE.fullmatch(handle):
        raise NotFoundError(f"{handle[:80]!r} is not a sandbox's handle")
    return handle


@dataclass
class _Slot(Generic[RecordT]):
    """One handle: its lock, what happens under it, and the daemon if it runs."""

    lock: anyio.Lock = field(default_factory=anyio.Lock)
    adopting: anyio.Lock = field(default_factory=anyio.Lock)
    starting_or_ending: bool = False
    record: RecordT | None = None


class DaemonRunner(Generic[RecordT]):
    """Runs sandboxes in a backend; see `limpet.runners.base.Runner` for its methods."""

    def __init__(
        self, backend: Backend[RecordT], state: RunnerState, patience: Patience = Patience()
    ) -> None:
        self._backend = backend
        self._state = state
        self._patience = patience
        self._slots: dict[Handle, _Slot[RecordT]] = {}
        self._session: aiohttp.ClientSession | None = None

    @property
    def kind(self) -> RunnerKind:
        """Which runner this is."""
        return self._backend.kind

    @property
    def isolation(self) -> Isolation:
        """How far new sandboxes are kept apart."""
        return self._backend.isolation

    async def runtime(self) -> str:
        """Which node its sandboxes find."""
        return await self._backend.runtime()

    async def ensure(self, sandbox: SandboxId, options: EnsureOptions) -> Provisioned:
        """The sandbox, started or adopted; two callers at once get the same one.

        Raises `RunnerError` when the daemon does not get healthy or refuses its config; one that
        was started by this call is ended then, one that ran before is left alone.
        """
        handle = checked_handle(sandbox.handle)
        progress = options.progress or (lambda _step: None)
        slot = self._slot(handle)
        async with slot.lock:
            record = await self._present(slot, handle)
            is_new = record is None
            try:
                if record is None:
                    progress("starting-daemon")
                    start = Start(
                        sandbox,
                        BootId(secrets.token_hex(16)),
                        secrets.token_hex(32),
                        options.egress,
                        progress,
                    )
                    record = await self._provision(slot, start)
                    progress("daemon-ready")
                if options.on_daemon_ready is not None:
                    await _tell_ready(record, options)
                if not options.hold:
                    progress("configuring")
                    await self._configure(record, options)
            except BaseException:
                if is_new:
                    with anyio.CancelScope(shield=True):
                        await self._end(slot, handle, gently=False)
                raise
            return self._provisioned(record, is_new=is_new)

    async def stop(self, handle: Handle) -> None:
        """End every process of the sandbox; its files stay."""
        slot = self._slot(checked_handle(handle))
        async with slot.lock:
            with anyio.CancelScope(shield=True):
                await self._end(slot, handle, gently=True)

    async def delete(self, handle: Handle) -> None:
        """End every process of the sandbox and delete its files."""
        slot = self._slot(checked_handle(handle))
        async with slot.lock:
            with anyio.CancelScope(shield=True):
                await self._end(slot, handle, gently=True)
                finish = await self._backend.set_aside(handle)
        await finish()

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

    async def memory_bytes(self, handle: Handle) -> int | None:
        """What the sandbox's processes hold; None where none are known of, or it cannot be told."""
        slot = self._slots.get(handle)
        record = None if slot is None else slot.record
        return None if record is None else await self._backend.memory_bytes(record)

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
        if record is None or not await self._backend.lives(record):
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

        Call it at start, before anything else: a daemon of ours that the state does not know is
        ended, strays of dead daemons too. The handles that were ended.
        """
        known: dict[Handle, RecordT] = {}
        for handle, value in await self._state.list():
            record = self._backend.record(handle, value)
            if record is not None and await self._backend.lives(record):
                known[handle] = record
            else:
                await self._state.delete(handle)
        ended = await self._backend.sweep(known)
        for handle in ended:
            _log.warning("ended an orphaned sandbox: %s", handle)
        return sorted(ended)

    async def close(self) -> None:
        """Let go of connections; sandboxes run on."""
        await self._backend.close()
        self._slots.clear()
        if self._session is not None:
            await self._session.close()
            self._session = None

    # -- present ---------------------------------------------------------------------------

    async def _present(self, slot: _Slot[RecordT], handle: Handle) -> RecordT | None:
        """The sandbox if it runs and answers; one that runs but does not answer is ended."""
        patience_s = self._patience.answer_s
        if slot.record is None:
            if await self._adopt(slot, handle, patience_s=patience_s):
                return slot.record
        elif await self._answers(slot.record, patience_s=patience_s):
            return slot.record
        await self._end(slot, handle, gently=False)
        return None

    async def _adopt(
        self, slot: _Slot[RecordT], handle: Handle, *, patience_s: float
    ) -> RecordT | None:
        """The sandbox that an earlier control plane started, if it is still the same one."""
        async with slot.adopting:
            if slot.record is not None or slot.starting_or_ending:
                return slot.record
            record = await self._kept(handle)
            if record is None or not await self._answers(record, patience_s=patience_s):
                return None
            try:
                await self._client(record).config()  # only one that accepts the token is ours
            except (DaemonError, DaemonUnreachableError) as error:
                _log.warning("not adopted: %s: %s", handle, error.message)
                return None
            await self._backend.adopted(record)
            slot.record = record
            _log.info("adopted %s", handle)
            return record

    async def _kept(self, handle: Handle) -> RecordT | None:
        value = await self._state.get(handle)
        return None if value is None else self._backend.record(handle, value)

    async def _answers(self, record: RecordT, *, patience_s: float) -> bool:
        """Whether the very daemon of the record lives and answers, as itself, in time."""
        try:
            if not await self._backend.lives(record):
                return False
        except RunnerError as error:  # who starts or ends it is told; who only looks finds nothing
            _log.warning("cannot tell whether %s runs: %s", record.handle, error.message)
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

    async def _provision(self, slot: _Slot[RecordT], start: Start) -> RecordT:
        handle = start.sandbox.handle
        slot.starting_or_ending = True
        try:
            record = await self._backend.start(start, partial(self._keep, start.sandbox))
            await until_ready(
                self._client(record),
                boot_id=record.boot_id,
                exit_code=partial(self._backend.exit_code, handle),
                log_tail=partial(self._backend.log_tail, handle),
                within_s=self._patience.healthy_within_s,
            )
        finally:
            slot.starting_or_ending = False
        slot.record = record
        return record

    async def _keep(self, sandbox: SandboxId, record: RecordT) -> None:
        if not sandbox.transient:
            await self._state.put(sandbox, record.as_dict())

    async def _configure(self, record: RecordT, options: EnsureOptions) -> None:
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

    async def _end(self, slot: _Slot[RecordT], handle: Handle, *, gently: bool) -> None:
        """End every process of the sandbox and forget it. Under its lock."""
        slot.starting_or_ending = True
        try:
            async with slot.adopting:  # one that is being adopted now ends too
                record, slot.record = slot.record, None
            if record is None:
                record = await self._kept(handle)
            grace_s = self._patience.stop_grace_s if gently else 0.0
            await self._backend.end(handle, record, grace_s=grace_s)
            await self._state.delete(handle)
            await self._backend.forget(handle)
        finally:
            slot.starting_or_ending = False

    # -- parts -----------------------------------------------------------------------------

    def _slot(self, handle: Handle) -> _Slot[RecordT]:
        return self._slots.setdefault(handle, _Slot())

    def _client(self, record: RecordT) -> DaemonClient:
        if self._session is None:
            self._session = new_session()
        return DaemonClient(record.url, record.token, session=self._session)

    def _provisioned(self, record: RecordT, *, is_new: bool) -> Provisioned:
        now = self._backend.isolation
        isolation = (
            now
            if record.isolation == now.kind
            else Isolation(record.isolation, "it was started so by an earlier server")
        )
        return Provisioned(
            record.handle, record.url, record.token, record.boot_id, is_new, isolation
        )


async def _tell_ready(record: DaemonRecord, options: EnsureOptions) -> None:
    """Await the caller's step between health and config; its failure never fails the start."""
    assert options.on_daemon_ready is not None
    try:
        await options.on_daemon_ready(record.url, record.token)
    except Exception as error:  # noqa: BLE001  (the contract: logged and swallowed)
        message = error.message if isinstance(error, LimpetError) else type(error).__name__
        _log.warning("on_daemon_ready failed for %s: %s", record.handle, message)
