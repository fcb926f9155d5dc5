"""The only caller of daemons: typed calls, streams both ways, one error tree.

A daemon runs beside code that nobody vouches for, so what it answers is bounded in size and
checked in shape before it is believed. Bodies stream with flat memory and have no time-out;
everything else has one, by kind. No library's exception leaves this module.
"""

import asyncio
import re
import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

import aiohttp
from yarl import URL

from limpet.errors import DaemonError, DaemonUnreachableError, InvalidInputError
from limpet.ids import BootId, SnapshotId
from limpet.runners.base import DaemonResponse
from limpet.runners.daemon_answers import Json, error_of, field_of, json_of, unreachable

PREFIX: Final = "/_sandbox"
PACKED: Final = "application/vnd.limpet.snapshot.v1"
TAR: Final = "application/x-tar"
HEALTH_TIMEOUT_S: Final = 0.5
QUICK_TIMEOUT_S: Final = 10.0
CONNECT_TIMEOUT_S: Final = 5.0
BUSY_PATIENCE_S: Final = 10.0
"""How long a daemon whose turn is taken is asked again before a restore."""
MAX_FRAME_BYTES: Final = 1024 * 1024
"""What a daemon may send in one frame of a WebSocket."""
HEARTBEAT_S: Final = 60.0
CLOSE_TIMEOUT_S: Final = 2.0
_BUSY_PAUSE_S: Final = 0.1
_PATH = re.compile(r"/[!-~]*")
_NOT_FORWARDED: Final = frozenset(
    {
        "accept-encoding",
        "authorization",
        "connection",
        "content-length",
        "cookie",
        "expect",
        "host",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "x-limpet-token",
    }
)


@dataclass(frozen=True, slots=True)
class Health:
    """What a daemon says of itself.

    `ready` is whether the app's dev server runs; `running` the orchestrator's step, or None;
    `phase` how far its setup is (empty from a daemon that does not tell); `packed` whether it
    speaks packed snapshots, as daemons of the first versions do not.
    """

    ready: bool
    boot_id: BootId
    configured: bool
    running: str | None
    pending: tuple[str, ...]
    version: str
    phase: str = ""
    packed: bool = False


@dataclass(frozen=True, slots=True)
class Idle:
    """How long no work was seen, in milliseconds by the daemon's clock."""

    last_activity_at: str
    idle_ms: int
    activity_seq: int


@dataclass(frozen=True, slots=True)
class Origin:
    """Which snapshot a workspace grew from, and whether it holds work that no snapshot has."""

    snapshot: SnapshotId | None
    generation: int | None
    unsaved: bool
    empty: bool
    detached: bool


def new_session() -> aiohttp.ClientSession:
    """A session fit for daemons: no cookies, no proxies, no decompression, unbounded sockets."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=15),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_S),
        auto_decompress=False,
        trust_env=False,
        read_bufsize=256 * 1024,
    )


class DaemonClient:
    """Calls one daemon. With no `session` it makes its own, which `close` then closes.

    Every method raises `DaemonUnreachableError` when the daemon does not answer in time or breaks
    off, and `DaemonError` (with `daemon_status`) when it answers with an error or with nonsense.
    """

    def __init__(
        self, url: str, token: str, *, session: aiohttp.ClientSession | None = None
    ) -> None:
        self.url = url.rstrip("/")
        self._token = token
        self._session = session
        self._owns_session = session is None

    def __repr__(self) -> str:
        return f"DaemonClient({self.url!r})"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the session if it is this client's own."""
        if self._owns_session and self._session is not None:
            await self._session.close()
            self._session = None

    async def health(self, *, timeout_s: float = HEALTH_TIMEOUT_S) -> Health:
        """`GET /health`, without the token."""
        answer = await self._json("GET", "/health", timeout_s=timeout_s, authorized=False)
        orchestrator = answer.get("orchestrator")
        running = orchestrator.get("running") if isinstance(orchestrator, dict) else None
        pending = orchestrator.get("pending") if isinstance(orchestrator, dict) else None
        formats = answer.get("snapshotFormats")
        return Health(
            ready=field_of(answer, "ready", bool),
            boot_id=BootId(field_of(answer, "bootId", str)),
            configured=answer.get("configured") is True,
            running=running if isinstance(running, str) else None,
            pending=tuple(str(step) for step in pending) if isinstance(pending, list) else (),
            version=str(answer.get("version", "")),
            phase=str(answer.get("phase", "")),
            packed=isinstance(formats, list) and PACKED in formats,
        )

    async def idle(self, *, timeout_s: float = QUICK_TIMEOUT_S) -> Idle:
        """`GET /idle`."""
        answer = await self._json("GET", f"{PREFIX}/idle", timeout_s=timeout_s)
        return Idle(
            last_activity_at=field_of(answer, "lastActivityAt", str),
            idle_ms=field_of(answer, "idleMs", int),
            activity_seq=field_of(answer, "activitySeq", int),
        )

    async def origin(self) -> Origin:
        """`GET /snapshot/origin`."""
        answer = await self._json("GET", f"{PREFIX}/snapshot/origin", timeout_s=6 * QUICK_TIMEOUT_S)
        snapshot, generation = answer.get("snapshot"), answer.get("generation")
        return Origin(
            snapshot=SnapshotId(snapshot) if isinstance(snapshot, str) else None,
            generation=generation if isinstance(generation, int) else None,
            unsaved=field_of(answer, "unsaved", bool),
            empty=field_of(answer, "empty", bool),
            detached=field_of(answer, "detached", bool),
        )

    async def committed(
        self,
        snapshot: SnapshotId,
        *,
        generation: int | None,
        activity_seq: int,
        boot_id: BootId,
        root: str | None = None,
    ) -> None:
        """Tell the daemon that a save of its workspace is durable; `root` is a packed one's."""
        told: dict[str, object] = {
            "snapshot": snapshot,
            "generation": generation,
            "activitySeq": activity_seq,
            "bootId": boot_id,
        }
        if root is not None:
            told["root"] = root
        await self._json("POST", f"{PREFIX}/snapshot/committed", json=told)

    async def detach(self, detached: bool, *, pinned: SnapshotId | None = None) -> None:
        """Record in the sandbox whether it runs without the snapshot that it should have had."""
        told = {"detached": detached, "pinned": pinned}
        await self._json("POST", f"{PREFIX}/snapshot/detach", json=told)

    async def config(self) -> Json:
        """`GET /config`: names of environment variables, never their values."""
        headers = {"X-Limpet-Poll": "1"}
        return await self._json("GET", f"{PREFIX}/config", headers=headers)

    async def post_config(self, patch: Mapping[str, object]) -> Json:
        """`POST /config`: `{bootId, transition, config}`."""
        return await self._json("POST", f"{PREFIX}/config", json=patch)

    async def call(
        self,
        method: str,
        path: str,
        *,
        json: Mapping[str, object] | None = None,
        timeout_s: float | None = QUICK_TIMEOUT_S,
        polls: bool = False,
    ) -> Json:
        """Any route that answers with a JSON object, such as `call("POST", "/_sandbox/bash")`.

        `polls`: it shall not count as work, where the route lets a caller say so.
        """
        headers = {"X-Limpet-Poll": "1"} if polls else None
        return await self._json(method, path, json=json, headers=headers, timeout_s=timeout_s)

    @asynccontextmanager
    async def create_snapshot(
        self, *, base: str | None = None, limit_bytes: int | None = None
    ) -> AsyncGenerator[DaemonResponse]:
        """`POST /snapshot/create`: status 200 with the snapshot as body, or 204 with none.

        The snapshot is a packed stream, built upon the state of root digest `base` where the daemon
        knows it, or, from a daemon that knows nothing of packed ones, a tar: `is_packed` tells.
        A body that breaks off raises `DaemonUnreachableError` from its iterator.
        """
        headers = {"Accept": f"{PACKED}, {TAR};q=0.5"}
        if base is not None:
            headers["X-Limpet-Base"] = base
        if limit_bytes is not None:
            headers["X-Limpet-Limit-Bytes"] = str(limit_bytes)
        async with self.request("POST", f"{PREFIX}/snapshot/create", headers=headers) as answer:
            if answer.status not in {200, 204}:
                raise await error_of(answer)
            yield answer

    async def restore(
        self,
        chunks: AsyncIterator[bytes],
        headers: Mapping[str, str] | None = None,
        *,
        packed: bool = False,
    ) -> Json:
        """`POST /snapshot/restore` with `chunks` as body: `{ok, files, bytes, receipt}`.

        `chunks` is a tar or, when `packed`, a restore stream. What it raises is raised here as it
        is; the daemon then sees a broken body and changes nothing. The body is only sent when the
        daemon is ready to take it: one that is still giving up an earlier try is waited for.
        """
        source = _Source(chunks)
        sent_headers = {"Content-Type": PACKED if packed else TAR} | dict(headers or {})
        waits_until_s = time.monotonic() + BUSY_PATIENCE_S
        while True:
            try:
                async with self.request(
                    "POST",
                    f"{PREFIX}/snapshot/restore",
                    headers=sent_headers,
                    body=source.chunks(),
                    expect_continue=True,
                ) as answer:
                    return await json_of(answer)
            except DaemonUnreachableError:
                if source.error is not None:
                    raise source.error from None
                raise
            except DaemonError as error:
                is_busy = error.daemon_status == 409 and "X-Limpet-Plan" not in sent_headers
                if not is_busy or source.begun or time.monotonic() > waits_until_s:
                    raise
            await asyncio.sleep(_BUSY_PAUSE_S)

    @asynccontextmanager
    async def plan_restore(
        self, chunks: AsyncIterator[bytes], headers: Mapping[str, str]
    ) -> AsyncGenerator[DaemonResponse]:
        """`POST /snapshot/plan` with a plan stream as body: its body is a `needs` stream."""
        source = _Source(chunks)
        try:
            async with self.request(
                "POST",
                f"{PREFIX}/snapshot/plan",
                headers={"Content-Type": PACKED, **headers},
                body=source.chunks(),
                expect_continue=True,
            ) as answer:
                if answer.status != 200:
                    raise await error_of(answer)
                yield answer
        except DaemonUnreachableError:
            if source.error is not None:
                raise source.error from None
            raise

    async def events(self, *, last_event_id: str | None = None) -> AsyncGenerator[bytes]:
        """The raw bytes of the daemon's server-sent events, until it closes the stream."""
        headers = {"Accept": "text/event-stream"}
        if last_event_id is not None:
            headers["Last-Event-ID"] = last_event_id
        async with self.request(
            "GET", f"{PREFIX}/events", headers=headers, timeout_s=QUICK_TIMEOUT_S
        ) as answer:
            if answer.status != 200:
                raise await error_of(answer)
            async for chunk in answer.body:
                yield chunk

    @asynccontextmanager
    async def socket(self, path: str) -> AsyncGenerator[aiohttp.ClientWebSocketResponse]:
        """A WebSocket of the daemon, closed on leaving; it notices when the daemon goes.

        Raises as `request` does on entering; what is received is for the caller to bound.
        """
        if self._session is None:
            self._session = new_session()
        try:
            async with asyncio.timeout(QUICK_TIMEOUT_S):
                ws = await self._session.ws_connect(
                    URL(self.url + PREFIX + path, encoded=True),
                    headers={"Authorization": f"Bearer {self._token}"},
                    max_msg_size=MAX_FRAME_BYTES,
                    heartbeat=HEARTBEAT_S,
                    timeout=aiohttp.ClientWSTimeout(ws_close=CLOSE_TIMEOUT_S),
                )
        except aiohttp.WSServerHandshakeError as error:
            raise DaemonError(
                f"The daemon refuses {path} with status {error.status}",
                daemon_status=error.status,
                hint="Stop the sandbox and start it again." if error.status == 404 else "",
            ) from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise unreachable(self.url, path, error) from error
        try:
            yield ws
        finally:
            await ws.close()

    @asynccontextmanager
    async def request(
        self,
        method: str,
        path: str,
        *,
        json: Mapping[str, object] | None = None,
        body: bytes | AsyncIterator[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float | None = None,
        authorized: bool = True,
        expect_continue: bool = False,
    ) -> AsyncGenerator[DaemonResponse]:
        """One request whose answer streams, whatever its status; no redirect is followed.

        `timeout_s` bounds the wait for the head of the answer; its body has no time-out.
        Hop-by-hop headers, cookies and credentials of the caller are left out.
        """
        if not _PATH.fullmatch(path):
            raise InvalidInputError(f"{path[:80]!r} is not a path of a daemon's route")
        sent = {
            name: value
            for name, value in (headers or {}).items()
            if name.lower() not in _NOT_FORWARDED
        }
        sent["Accept-Encoding"] = "identity"
        if authorized:
            sent["Authorization"] = f"Bearer {self._token}"
        if self._session is None:
            self._session = new_session()
        try:
            async with asyncio.timeout(timeout_s):
                response = await self._session.request(
                    method,
                    URL(self.url + path, encoded=True),
                    headers=sent,
                    data=body,
                    json=json,
                    allow_redirects=False,
                    expect100=expect_continue,
                )
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise unreachable(self.url, path, error) from error
        except ValueError as error:
            raise InvalidInputError(f"{method} {path} cannot be sent: {error}") from error
        finished = False
        try:
            yield DaemonResponse(response.status, response.headers, _body(response, self.url, path))
            finished = response.content.at_eof()
        finally:
            if finished:
                response.release()
            else:
                response.close()

    async def _json(
        self,
        method: str,
        path: str,
        *,
        json: Mapping[str, object] | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float | None = QUICK_TIMEOUT_S,
        authorized: bool = True,
    ) -> Json:
        try:
            async with (
                asyncio.timeout(timeout_s),
                self.request(
                    method, path, json=json, headers=headers, authorized=authorized
                ) as answer,
            ):
                return await json_of(answer)
        except TimeoutError as error:
            raise unreachable(self.url, path, error) from error


class _Source:
    """An upload whose own error is kept, so that it is not mistaken for the daemon's."""

    def __init__(self, chunks: AsyncIterator[bytes]) -> None:
        self._chunks = chunks
        self.begun = False
        self.error: Exception | None = None

    async def chunks(self) -> AsyncIterator[bytes]:
        self.begun = True
        try:
            async for chunk in self._chunks:
                yield chunk
        except Exception as error:
            self.error = error
            raise


async def _body(response: aiohttp.ClientResponse, url: str, path: str) -> AsyncIterator[bytes]:
    try:
        async for chunk in response.content.iter_any():
            yield chunk
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise unreachable(url, path, error) from error
