"""Who sees a preview: whoever has its address, or, where it is private, who was let in.

Somebody is let in with a ticket or a share link in the query. It becomes a cookie, and the browser
is sent on to the same address without it, so that neither the app nor anybody whom it links to
learns it. What is open when access is taken away ends: see `Visits`.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

from starlette.requests import HTTPConnection, Request
from starlette.responses import Response

from limpet.control import preview_pages
from limpet.control.db import SandboxRow
from limpet.control.preview_address import Asked, PreviewAccess
from limpet.control.preview_tokens import (
    PreviewTokens,
    Token,
    UsedTickets,
    cookie_name,
    cookies_named,
    with_ticket,
    without_ticket,
)
from limpet.control.sandboxes.rows import access_of
from limpet.reverse_proxy import request_target

OPEN_PREVIEW: Final = "/open-preview"
"""The app's path that lets people in who are signed in."""


@dataclass(frozen=True, slots=True)
class Admission:
    """Why somebody sees a preview: it is open to all (`epoch` None), or a cookie that counts."""

    epoch: int | None = None
    until_s: int = 0


class PreviewDoor:
    """Lets in or refuses. `default` is the access of sandboxes of which nobody has said it."""

    def __init__(self, tokens: PreviewTokens, default: PreviewAccess, app_port: int | None) -> None:
        self._tokens = tokens
        self._default = default
        self._app_port = app_port
        self._used = UsedTickets()

    def enter(self, asked: Asked, row: SandboxRow, request: Request) -> Admission | Response:
        """What lets the request in, or the answer that it gets instead."""
        target, ticket = without_ticket(request_target(request))
        admission = self.admission(asked, row, request)
        if ticket is None or request.method not in {"GET", "HEAD"}:
            return admission or self._refusal(asked, request, target, link_failed=False)
        token = self._redeemed(row, ticket)
        if token is not None:
            return self._let_in(asked, token, target)
        if admission is not None:
            return preview_pages.on_to(asked.origin + target)
        return self._refusal(asked, request, target, link_failed=True)

    def admission(
        self, asked: Asked, row: SandboxRow, connection: HTTPConnection
    ) -> Admission | None:
        """What lets a request or a WebSocket in without a ticket."""
        if access_of(row, self._default) == "link":
            return Admission()
        names = (cookie_name(row.handle), cookie_name(row.handle, in_tabs=True))
        for value in cookies_named(connection.headers.getlist("cookie"), names):
            token = self._tokens.read(value, ("cookie",), row.handle, row.preview_epoch)
            if token is not None:
                if _made_elsewhere(asked, connection):
                    return None
                return Admission(token.epoch, token.until_s)
        return None

    def counts(self, admission: Admission, row: SandboxRow) -> bool:
        """Whether somebody who was let in may stay."""
        return access_of(row, self._default) == "link" or (
            admission.epoch == row.preview_epoch and admission.until_s > self._tokens.now_s()
        )

    def _redeemed(self, row: SandboxRow, ticket: str) -> Token | None:
        if access_of(row, self._default) == "link":
            return None
        token = self._tokens.read(ticket, ("ticket", "link"), row.handle, row.preview_epoch)
        if token is None or not self._used.use(token, self._tokens.now_s()):
            return None
        return token

    def _let_in(self, asked: Asked, token: Token, target: str) -> Response:
        """On to the same address without the ticket, with the cookie that it is worth.

        In pages inside others browsers keep a cookie for this place alone (`Partitioned`), and over
        TLS or on their own machine alone. Elsewhere, and where they do not believe that of their
        own machine, there is one for tabs.
        """
        answer = preview_pages.on_to(asked.origin + target)
        value, until_s = self._tokens.cookie_of(token)
        life = f"Path=/; Max-Age={max(0, until_s - self._tokens.now_s())}; HttpOnly"
        if asked.scheme == "https" or asked.is_local:
            name = cookie_name(token.handle)
            anywhere = f"{name}={value}; {life}; Secure; SameSite=None; Partitioned"
            answer.headers.append("Set-Cookie", anywhere)
        if asked.scheme == "http":
            name = cookie_name(token.handle, in_tabs=True)
            answer.headers.append("Set-Cookie", f"{name}={value}; {life}; SameSite=Lax")
        return answer

    def _refusal(
        self, asked: Asked, request: Request, target: str, *, link_failed: bool
    ) -> Response:
        if not _shows_pages(request):
            return preview_pages.private_in_words()
        port = asked.site.port if asked.is_local and asked.site.port else self._app_port
        app = f"http://127.0.0.1:{port}"
        back = quote(asked.origin + target, safe="")
        return preview_pages.private(
            app,
            f"{app}{OPEN_PREVIEW}?to={back}",
            link_failed=link_failed,
            without_tls=asked.scheme == "http" and not asked.is_local,
        )


def let_in_at(tokens: PreviewTokens, asked: Asked, rest: str, epoch: int) -> tuple[str, int]:
    """The address `rest` of a preview with a ticket for one use, and until when that counts."""
    ticket, until_s = tokens.ticket(asked.handle, epoch)
    return asked.origin + with_ticket(rest, ticket), until_s


class Visits:
    """Requests and WebSockets that go on now, so that they end when they may not go on."""

    def __init__(self) -> None:
        self._open: defaultdict[str, dict[asyncio.Task[None], Admission]] = defaultdict(dict)
        self._ended: set[asyncio.Task[None]] = set()

    async def during(
        self, handle: str, admission: Admission, work: Coroutine[Any, Any, None]
    ) -> bool:
        """Do `work` to its end; False when it was ended from outside."""
        task = asyncio.create_task(work)
        self._open[handle][task] = admission
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            raise
        finally:
            was_ended = task in self._ended
            self._ended.discard(task)
            self._open[handle].pop(task, None)
            if not self._open[handle]:
                del self._open[handle]
        if was_ended and task.cancelled():
            return False
        task.result()
        return True

    def end(self, handle: str, may_stay: Callable[[Admission], bool]) -> None:
        """End those of a sandbox's that may not stay."""
        for task, admission in list(self._open.get(handle, {}).items()):
            if task not in self._ended and not may_stay(admission):
                self._ended.add(task)
                task.cancel()


def _shows_pages(request: Request) -> bool:
    """Whether the answer is to be shown to a person."""
    destination = request.headers.get("sec-fetch-dest")
    if destination is not None:
        return destination in {"document", "iframe", "frame"}
    return "text/html" in request.headers.get("accept", "")


def _made_elsewhere(asked: Asked, connection: HTTPConnection) -> bool:
    """Whether a page of somebody else's makes the browser ask, with the cookie of its user.

    Pages of other sandboxes may be of the same site, as browsers count it: then cookies go along.
    They could not read an answer, but run it as a script, or hear a WebSocket.
    """
    headers = connection.headers
    origin = headers.get("origin")
    if origin is not None and _is_of(origin, asked):
        return False
    if connection.scope["type"] == "websocket":
        return origin is not None
    if headers.get("sec-fetch-site", "none") in {"same-origin", "none"}:
        return False
    return headers.get("sec-fetch-mode") != "navigate"


def _is_of(origin: str, asked: Asked) -> bool:
    """Whether an origin is that of the asked preview, or of another port of its sandbox."""
    scheme, _, host = origin.lower().partition("://")
    label, dot, rest = host.partition(".")
    if not dot:
        return origin.lower() == asked.origin
    ours = label == asked.handle or label.startswith(f"{asked.handle}--")
    return ours and (scheme, rest) == (asked.scheme, asked.host.partition(".")[2])
