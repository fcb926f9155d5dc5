"""The line to a control plane: where it is, requests, streams, and its errors as ours."""

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import urllib3

from limpet import errors
from limpet.errors import LimpetError, NotFoundError, UnauthorizedError, UnreachableError

DISCOVERY = "server.json"
CHUNK_BYTES = 1 << 20
_CONNECT_S = 5.0
_TIMEOUT = urllib3.Timeout(connect=_CONNECT_S, read=600.0)


class NotServingError(UnreachableError):
    """No control plane could be found or reached."""

    code = "not_serving"


class ServerError(LimpetError):
    """An error of the control plane that this client has no class for."""

    def __init__(self, message: str, *, hint: str, server_code: str, status: int) -> None:
        super().__init__(message, hint=hint)
        self.server_code = server_code
        self.server_status = status


def _all_errors(root: type[LimpetError]) -> Iterator[type[LimpetError]]:
    yield root
    for child in root.__subclasses__():
        yield from _all_errors(child)


def error_of(status: int, body: bytes) -> LimpetError:
    """The control plane's error as the class that has its code, so that callers can catch it."""
    try:
        told = json.loads(body)["error"]
        code, message, hint = told["code"], told["message"], told.get("hint", "")
    except (ValueError, KeyError, TypeError):
        text = body[:300].decode("utf-8", "replace").strip()
        code, message, hint = "", f"The server answered {status}: {text or 'nothing'}", ""
    known = {
        e.code: e for e in _all_errors(errors.LimpetError) if e.__init__ is LimpetError.__init__
    }
    by_status = {401: UnauthorizedError, 404: NotFoundError, 409: errors.ConflictError,
                 400: errors.InvalidInputError, 422: errors.SnapshotDamagedError,
                 503: UnreachableError, 507: errors.NotEnoughSpaceError}  # fmt: skip
    if code in known and code != LimpetError.code:
        return known[code](message, hint=hint)
    if status in by_status:
        return by_status[status](message, hint=hint)
    return ServerError(message, hint=hint, server_code=code, status=status)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a control plane answers, and the key to speak with (never shown)."""

    url: str
    api_key: str


def data_folder(environ: Mapping[str, str] | None = None) -> Path:
    """The data folder that the environment names."""
    env = os.environ if environ is None else environ
    named = env.get("LIMPET_DATA_DIR")
    return Path(named).expanduser() if named else Path.home() / ".local/share/limpet"


def discover(environ: Mapping[str, str] | None = None) -> Place:
    """LIMPET_URL and LIMPET_API_KEY, else what the server on this machine wrote down.

    Raises `NotServingError` when there is neither.
    """
    env = os.environ if environ is None else environ
    if url := env.get("LIMPET_URL"):
        key = env.get("LIMPET_API_KEY", "")
        if not key:
            raise UnauthorizedError(
                "LIMPET_URL is set, but LIMPET_API_KEY is not", hint="Set both, or neither."
            )
        if not url.startswith(("http://", "https://")):
            raise errors.InvalidInputError(f"LIMPET_URL: {url!r} is no http or https URL")
        return Place(url.rstrip("/"), key)
    folder = data_folder(env)
    try:
        told = json.loads((folder / DISCOVERY).read_text())
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

    @contextmanager
    def download(
        self, path: str, query: Mapping[str, str | None] | None = None
    ) -> Iterator[tuple[Iterator[bytes], int | None]]:
        """The answer's chunks, and its size in bytes where the server tells it.

        A stream that breaks raises `UnreachableError`: what came is no whole.
        """
        answer = self._request("GET", self._url(path, query), None, self._pool.headers)
        length = answer.headers.get("Content-Length")
        try:
            yield self._chunks(answer), int(length) if length else None
        finally:
            answer.close()
            answer.release_conn()

    def upload(
        self, path: str, chunks: Iterable[bytes], query: Mapping[str, str | None] | None = None
    ) -> Any:
        """The JSON answer to a streamed body."""
        headers = {**self._pool.headers, "Content-Type": "application/x-tar"}
        url = self._url(path, query)
        answer = self._request("POST", url, chunks, headers, preload=True)
        return json.loads(answer.data)

    @contextmanager
    def events(
        self, path: str, query: Mapping[str, str | None], last_event_id: str | None
    ) -> Iterator[Iterator[bytes]]:
        """An event stream's bytes; silence of a minute raises `UnreachableError`."""
        headers = {**self._pool.headers, "Accept": "text/event-stream"}
        if last_event_id:
            headers["Last-Event-ID"] = last_event_id
        answer = self._request(
            "GET", self._url(path, query), None, headers,
            timeout=urllib3.Timeout(connect=_CONNECT_S, read=60.0),
        )  # fmt: skip
        try:
            yield self._chunks(answer, small=True)
        finally:
            answer.close()
            answer.release_conn()

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
        except urllib3.exceptions.HTTPError as error:
            raise NotServingError(
                f"No Limpet answers at {self.place.url}",
                hint="Is `limpet serve` running? `limpet doctor` looks for what is wrong.",
            ) from error
        if answer.status >= 400:
            raise error_of(answer.status, answer.data)
        return answer

    @staticmethod
    def _chunks(answer: urllib3.BaseHTTPResponse, *, small: bool = False) -> Iterator[bytes]:
        try:
            if small:
                while chunk := answer.read1(CHUNK_BYTES):
                    yield chunk
            else:
                yield from answer.stream(CHUNK_BYTES)
        except urllib3.exceptions.HTTPError as error:
            raise UnreachableError(
                "The connection to the server broke before the end", hint="Try again."
            ) from error
