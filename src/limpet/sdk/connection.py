"""The line to a control plane: where it is, requests, streams, and its errors as ours."""

import json
import os
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote, urlencode

import urllib3

from limpet import errors
from limpet.errors import LimpetError, UnreachableError

DISCOVERY = "server.json"
Progress = Callable[[int, int | None], None]
"""Told of the bytes so far, and of how many there are."""
CHUNK_BYTES = 1 << 20
_CONNECT_S = 5.0
_TIMEOUT = urllib3.Timeout(connect=_CONNECT_S, read=600.0)


class NotServingError(UnreachableError):
    """No control plane could be found or reached."""

    code = "not_serving"


class NotRunningError(errors.ConflictError):
    """This needs a running sandbox, and it is not running."""

    code = "not_running"
    exit_code = 3


class ServerError(LimpetError):
    """The control plane failed in a way that this client has no class for."""


_BY_CODE: dict[str, type[LimpetError]] = {
    kind.code: kind
    for kind in vars(errors).values()
    if isinstance(kind, type)
    and issubclass(kind, LimpetError)
    and kind.code != LimpetError.code
    and kind.__init__ is LimpetError.__init__
}
_BY_CODE[NotRunningError.code] = NotRunningError
_BY_STATUS: dict[int, type[LimpetError]] = {
    400: errors.InvalidInputError,
    401: errors.UnauthorizedError,
    403: errors.ForbiddenError,
    404: errors.NotFoundError,
    409: errors.ConflictError,
    413: errors.InvalidInputError,
    503: UnreachableError,
    507: errors.NotEnoughSpaceError,
}


def error_of(status: int, body: bytes) -> LimpetError:
    """The control plane's error as one that callers can catch by its class.

    The class is that of the code, else that of the status; `code` stays the server's own.
    """
    try:
        told = json.loads(body)["error"]
        code, message = str(told["code"]), str(told["message"])
        hint = str(told.get("hint") or "")
    except (ValueError, KeyError, TypeError, AttributeError):
        text = body[:300].decode("utf-8", "replace").strip()
        code, message, hint = "", f"The server answered {status}: {text or 'nothing'}", ""
    if code == errors.DaemonError.code:
        return errors.DaemonError(message, daemon_status=status, hint=hint)
    kind = _BY_CODE.get(code) or _BY_STATUS.get(status, ServerError)
    if code and code != kind.code:
        kind = type(kind.__name__, (kind,), {"code": code})
    return kind(message, hint=hint)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a control plane answers, and the key to speak with (never shown)."""

    url: str
    api_key: str


def data_folder(environ: Mapping[str, str] | None = None) -> Path:
    """The data folder that the environment names, or the default one."""
    env = os.environ if environ is None else environ
    named = env.get("LIMPET_DATA_DIR")
    return Path(named).expanduser() if named else Path.home() / ".local/share/limpet"


def discover(environ: Mapping[str, str] | None = None, data_dir: Path | None = None) -> Place:
    """LIMPET_URL and LIMPET_API_KEY, else what the server on this machine wrote down.

    A `data_dir` that is given is looked at alone. Raises `NotServingError` when nothing is there,
    `UnauthorizedError` for a URL without a key, `InvalidInputError` for what is no URL.
    """
    env = os.environ if environ is None else environ
    url = env.get("LIMPET_URL", "").strip()
    if url and data_dir is None:
        key = env.get("LIMPET_API_KEY", "").strip()
        if not key:
            raise errors.UnauthorizedError(
                "LIMPET_URL is set, but LIMPET_API_KEY is not", hint="Set both, or neither."
            )
        if not url.startswith(("http://", "https://")):
            raise errors.InvalidInputError("LIMPET_URL is no http or https URL")
        return Place(url.rstrip("/"), key)
    folder = data_dir or data_folder(env)
    try:
        told = json.loads((folder / DISCOVERY).read_text(encoding="utf-8"))
        return Place(str(told["url"]).rstrip("/"), str(told["api_key"]))
    except FileNotFoundError:
        raise NotServingError(
            f"No Limpet is serving on the data folder {folder}",
            hint="Start it with `limpet serve` (or `make run`), or set LIMPET_URL.",
        ) from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise NotServingError(
            f"{folder / DISCOVERY} cannot be read: {error}", hint="Start `limpet serve` anew."
        ) from error


class ByteStream:
    """An answer's bytes as they come; a context manager.

    Breaking off raises `UnreachableError`. `interrupt` makes a read that waits in another thread
    end as if the stream had.
    """

    def __init__(self, answer: urllib3.BaseHTTPResponse, *, as_it_comes: bool = False) -> None:
        self._answer = answer
        self._as_it_comes = as_it_comes
        length = answer.headers.get("Content-Length", "")
        self.size_bytes = int(length) if length.isdigit() else None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._answer.close()
        self._answer.release_conn()

    def __iter__(self) -> Iterator[bytes]:
        try:
            if not self._as_it_comes:
                yield from self._answer.stream(CHUNK_BYTES)
                return
            while chunk := self._answer.read1(CHUNK_BYTES):
                yield chunk
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            raise UnreachableError(
                "The connection to the server broke before the end", hint="Try again."
            ) from error

    def write_to(self, target: Path, progress: Progress | None = None) -> int:
        """Write all of it to `target`, whole or not at all; its size in bytes."""
        part = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
        written = 0
        try:
            with part.open("xb") as out:
                for chunk in self:
                    out.write(chunk)
                    written += len(chunk)
                    if progress:
                        progress(written, self.size_bytes)
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)
        return written

    def interrupt(self) -> None:
        """Wake a reader, which then sees the end or `UnreachableError`. Safe from any thread."""
        with suppress(OSError, ValueError, RuntimeError):
            self._answer.shutdown()


class Connection:
    """Requests below one org of one control plane. Close it, or use it in a `with` block."""

    def __init__(self, place: Place, org: str = "local") -> None:
        self.place = place
        self._base = f"{place.url}/api/{quote(org, safe='')}"
        self._pool = urllib3.PoolManager(
            retries=False,
            headers={"Authorization": f"Bearer {place.api_key}", "User-Agent": "limpet-sdk"},
        )

    def close(self) -> None:
        """Let go of the sockets."""
        self._pool.clear()

    def send(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        query: Mapping[str, str | None] | None = None,
        below_org: bool = True,
    ) -> Any:
        """The JSON answer, or the server's error."""
        headers = dict(self._pool.headers)
        content = None
        if body is not None:
            content, headers["Content-Type"] = json.dumps(body).encode(), "application/json"
        answer = self._request(
            method, self._url(path, query, below_org=below_org), content, headers, preload=True
        )
        return json.loads(answer.data) if answer.data else None

    def download(self, path: str, query: Mapping[str, str | None] | None = None) -> ByteStream:
        """The answer's bytes; `size_bytes` where the server tells it."""
        url = self._url(path, query)
        return ByteStream(self._request("GET", url, None, self._pool.headers))

    def upload(
        self, path: str, chunks: Iterable[bytes], query: Mapping[str, str | None] | None = None
    ) -> Any:
        """The JSON answer to a streamed body."""
        headers = {**self._pool.headers, "Content-Type": "application/x-tar"}
        url = self._url(path, query)
        answer = self._request("POST", url, chunks, headers, preload=True)
        return json.loads(answer.data)

    def events(
        self,
        path: str,
        query: Mapping[str, str | None],
        last_event_id: str | None,
        silence_s: float,
    ) -> ByteStream:
        """An event stream's bytes; no byte for `silence_s` seconds raises `UnreachableError`."""
        headers = {**self._pool.headers, "Accept": "text/event-stream"}
        if last_event_id:
            headers["Last-Event-ID"] = last_event_id
        timeout = urllib3.Timeout(connect=_CONNECT_S, read=silence_s)
        answer = self._request("GET", self._url(path, query), None, headers, timeout=timeout)
        return ByteStream(answer, as_it_comes=True)

    def _url(
        self, path: str, query: Mapping[str, str | None] | None, *, below_org: bool = True
    ) -> str:
        asked = {name: value for name, value in (query or {}).items() if value is not None}
        base = self._base if below_org else self.place.url
        return f"{base}{path}" + (f"?{urlencode(asked)}" if asked else "")

    def _request(
        self,
        method: str,
        url: str,
        body: bytes | Iterable[bytes] | None,
        headers: Mapping[str, str],
        *,
        preload: bool = False,
        timeout: urllib3.Timeout | None = None,
    ) -> urllib3.BaseHTTPResponse:
        try:
            answer = self._pool.request(
                method,
                url,
                body=body,
                headers=headers,
                preload_content=preload,
                redirect=False,
                timeout=timeout or _TIMEOUT,
            )
        except (
            urllib3.exceptions.NewConnectionError,
            urllib3.exceptions.ConnectTimeoutError,
        ) as error:
            raise NotServingError(
                f"No Limpet answers at {self.place.url}",
                hint="Is `limpet serve` running? `limpet doctor` looks for what is wrong.",
            ) from error
        except urllib3.exceptions.HTTPError as error:
            raise UnreachableError(
                f"{self.place.url} gave no answer: {type(error).__name__}",
                hint="It may have done what was asked; look before you try again.",
            ) from error
        if answer.status >= 300:
            with ByteStream(answer):
                raise error_of(answer.status, answer.data)
        return answer
