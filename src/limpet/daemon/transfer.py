"""`/write_from_url` and `/upload_to_url`: large files in and out, past the control plane.

Only to hosts on `OFFLOAD_ALLOWED_HOSTS` (no list: none), only https, no addresses in numbers, each
redirect judged anew. 500 MiB and 5 minutes at most; what failed leaves nothing.
"""

import asyncio
import ipaddress
import os
from collections.abc import AsyncIterator
from contextlib import ExitStack
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

import msgspec
from starlette.requests import Request

from limpet.daemon.context import DaemonContext
from limpet.daemon.files import fresh_file, workspace_of, write_all
from limpet.daemon.gate import gate
from limpet.daemon.paths import told
from limpet.daemon.reading import open_to_read
from limpet.daemon.routes import Route, RouteError
from limpet.errors import ConflictError, InvalidInputError, LimpetError

if TYPE_CHECKING:
    import aiohttp

MAX_BYTES = 500 * 1024 * 1024
TIMEOUT_S = 300.0
MAX_REDIRECTS = 5
CHUNK_BYTES = 256 * 1024
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


class FetchInput(msgspec.Struct):
    """Where from, and where to in the workspace."""

    path: str
    url: str


class UploadInput(msgspec.Struct, rename={"content_type": "contentType"}):
    """What, and where to."""

    path: str
    url: str
    content_type: str = "application/octet-stream"


class Transferred(msgspec.Struct):
    """How many bytes went over."""

    ok: bool
    path: str
    size: int


class TooLargeError(LimpetError):
    """More than 500 MiB."""

    code = "too_large"
    status = 413


def check_url(url: str, allowed: tuple[str, ...]) -> str:
    """`url` if it may be spoken to, else `InvalidInputError`."""
    try:
        parts = urlsplit(url)
        host = (parts.hostname or "").rstrip(".").lower()
        _ = parts.port
    except ValueError:
        raise InvalidInputError("the URL does not parse") from None
    if parts.scheme != "https" or not host or parts.username or parts.password:
        raise InvalidInputError("only plain https URLs are taken")
    if _is_address(host) or not any(_fits(host, rule) for rule in allowed):
        raise InvalidInputError(f"host not allowed: {host}")
    return url


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return host.replace(".", "").isdigit() or host.startswith("0x")
    return True


def _fits(host: str, rule: str) -> bool:
    if rule.startswith("*."):
        return host.endswith(rule[1:]) and len(host) > len(rule) - 1
    return host == rule


async def write_from_url(ctx: DaemonContext, given: FetchInput, _: Request) -> Transferred:
    """Fetch a file into the workspace."""
    url = check_url(given.url, ctx.settings.offload_allowed_hosts)
    import aiohttp

    gate.check()
    turn = gate.turn
    workspace = workspace_of(ctx)
    with told(given.path), ExitStack() as held:
        folder, name = held.enter_context(workspace.parent_of(given.path, make_parents=True))
        fd = held.enter_context(fresh_file(ctx, folder, name, given.path))
        try:
            async with asyncio.timeout(TIMEOUT_S), _session() as session:
                size = await _fetch(ctx, session, url, fd)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise RouteError(f"the transfer failed: {_why(error)}", status=502) from error
        held.enter_context(gate.writing())
        if gate.turn != turn:
            raise ConflictError("the workspace was restored while the file came")
    ctx.watcher.note(workspace.relative(given.path))
    return Transferred(ok=True, path=given.path, size=size)


async def _fetch(ctx: DaemonContext, session: "aiohttp.ClientSession", url: str, fd: int) -> int:
    for _ in range(MAX_REDIRECTS + 1):
        async with session.get(url, allow_redirects=False) as answer:
            if answer.status in _REDIRECTS and "Location" in answer.headers:
                target = urljoin(url, answer.headers["Location"])
                url = check_url(target, ctx.settings.offload_allowed_hosts)
                continue
            if answer.status != 200:
                raise RouteError(f"the transfer failed: status {answer.status}", status=502)
            if (answer.content_length or 0) > MAX_BYTES:
                raise TooLargeError(f"larger than {MAX_BYTES} bytes")
            size = 0
            async for chunk in answer.content.iter_chunked(CHUNK_BYTES):
                size += len(chunk)
                if size > MAX_BYTES:
                    raise TooLargeError(f"larger than {MAX_BYTES} bytes")
                await asyncio.to_thread(write_all, fd, chunk)
            return size
    raise RouteError("the transfer failed: too many redirects", status=502)


async def upload_to_url(ctx: DaemonContext, given: UploadInput, _: Request) -> Transferred:
    """Send a file with PUT."""
    url = check_url(given.url, ctx.settings.offload_allowed_hosts)
    import aiohttp

    path = workspace_of(ctx).readable(given.path)
    fd = await asyncio.to_thread(open_to_read, str(path), given.path)
    try:
        size = os.fstat(fd).st_size
        if size > MAX_BYTES:
            raise TooLargeError(f"larger than {MAX_BYTES} bytes")
        headers = {"Content-Type": given.content_type, "Content-Length": str(size)}
        try:
            async with (
                asyncio.timeout(TIMEOUT_S),
                _session() as session,
                session.put(
                    url, data=_chunks(fd, size), headers=headers, allow_redirects=False
                ) as answer,
            ):
                if not 200 <= answer.status < 300:
                    raise RouteError(f"the transfer failed: status {answer.status}", status=502)
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise RouteError(f"the transfer failed: {_why(error)}", status=502) from error
    finally:
        os.close(fd)
    return Transferred(ok=True, path=given.path, size=size)


def _session() -> "aiohttp.ClientSession":
    import aiohttp

    return aiohttp.ClientSession(trust_env=True, auto_decompress=False)


async def _chunks(fd: int, size: int) -> AsyncIterator[bytes]:
    left = size
    while left:
        chunk = await asyncio.to_thread(os.read, fd, min(CHUNK_BYTES, left))
        if not chunk:
            raise RouteError("the file shrank while it was sent", status=502)
        left -= len(chunk)
        yield chunk


def _why(error: BaseException) -> str:
    return str(error) or type(error).__name__


def routes(_: DaemonContext) -> list[Route]:
    """Routes of this module."""
    post = ("POST",)
    return [
        Route(
            post,
            "/write_from_url",
            write_from_url,
            FetchInput,
            Transferred,
            statuses=(409, 413, 502, 507),
            summary="Fetch a file into the workspace",
        ),
        Route(
            post,
            "/upload_to_url",
            upload_to_url,
            UploadInput,
            Transferred,
            statuses=(413, 502),
            summary="Send a file with PUT",
        ),
    ]
