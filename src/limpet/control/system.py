"""Routes about the server itself: health, what it is, signing in and out."""

import re
from html import escape
from typing import Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response

from limpet import __version__
from limpet.control.auth import COOKIE, SESSION_LIFE, identity_of
from limpet.control.db import EMBEDDED_ORG, EMBEDDED_USER
from limpet.control.operations.services import Services
from limpet.runners.base import IsolationKind, NetworkKind, RunnerKind

_OWN_PATH = re.compile(r"/(?:[A-Za-z0-9_-][A-Za-z0-9._/-]*)?")


class IsolationInfo(BaseModel):
    """How far sandboxes are kept apart, and why not further.

    `limits` and `missing` are lines for people: what one may take of the machine, and what could be
    had on another.
    """

    kind: IsolationKind
    reason: str
    network: NetworkKind
    limits: list[str]
    missing: list[str]


class StoreInfo(BaseModel):
    """Where snapshots go.

    A `degraded` one was found to ignore conditions: leases alone keep two writers apart.
    """

    kind: str
    where: str
    mode: Literal["normal", "degraded"]


class SystemInfo(BaseModel):
    """What this server is, and who asks. `harnesses` are those that threads can choose."""

    version: str
    org: str
    user: str
    isolation: IsolationInfo
    runner: RunnerKind
    store: StoreInfo
    data_dir: str
    harnesses: list[str]


class SignInLink(BaseModel):
    """A URL that signs one browser in, once."""

    url: str


class Health(BaseModel):
    """The server answers."""

    status: Literal["ok"] = "ok"
    version: str = __version__


def sign_in_url(services: Services) -> str:
    """A fresh URL that signs one browser in, once."""
    token = services.authenticator.new_sign_in_token()
    return f"http://127.0.0.1:{services.settings.port}/sign-in?token={token}"


def system_router(services: Services) -> APIRouter:
    """The routes."""
    router = APIRouter()

    @router.get("/health", tags=["system"])
    async def health() -> Health:
        """Whether the server answers; needs no credentials."""
        return Health()

    @router.get("/api/system", tags=["system"])
    async def system(request: Request) -> SystemInfo:
        """What this server is, and who asks."""
        identity = identity_of(request)
        isolation = services.runner.isolation
        return SystemInfo(
            version=__version__,
            org=identity.org_slug,
            user=identity.user,
            isolation=IsolationInfo(
                kind=isolation.kind,
                reason=isolation.reason,
                network=isolation.network,
                limits=list(isolation.limits),
                missing=list(isolation.missing),
            ),
            runner=services.runner.kind,
            store=StoreInfo(
                kind=services.store.kind,
                where=services.store.where,
                mode="normal" if services.store.conditional else "degraded",
            ),
            data_dir=str(services.settings.data_dir),
            harnesses=list(services.threads.parts.harnesses),
        )

    @router.post("/api/sign-in-links", tags=["system"])
    async def new_link(request: Request) -> SignInLink:
        """A URL that signs another browser of the same person in, once."""
        identity_of(request)
        return SignInLink(url=sign_in_url(services))

    @router.post("/api/sign-out", tags=["system"])
    async def sign_out(request: Request) -> Response:
        """End this browser's session."""
        if cookie := request.cookies.get(COOKIE):
            await services.authenticator.sign_out(cookie)
        answer = JSONResponse({"ok": True})
        answer.delete_cookie(COOKIE, httponly=True, samesite="lax")
        return answer

    @router.get("/sign-in", include_in_schema=False)
    async def sign_in(request: Request, token: str = "", next: str = "/") -> Response:
        """Turn the token into a session and lead to `next`, a path of ours (the home page).

        A link that was used already leads there too where there is a session, or explains.
        """
        if "prefetch" in request.headers.get("sec-purpose", request.headers.get("purpose", "")):
            return Response(status_code=204)  # a guess of the browser must not use the link up
        cookie = await services.authenticator.sign_in(token, EMBEDDED_ORG, EMBEDDED_USER)
        to = next if _OWN_PATH.fullmatch(next) else "/"
        home = RedirectResponse(to, status_code=303, headers={"Cache-Control": "no-store"})
        if cookie is None:
            if await services.authenticator.has_session(request):
                return home
            return _explanation()
        home.set_cookie(
            COOKIE,
            cookie,
            max_age=int(SESSION_LIFE.total_seconds()),
            httponly=True,
            samesite="lax",
            path="/",
        )
        return home

    return router


def _explanation() -> HTMLResponse:
    text = (
        "This sign-in link was used already or is from an earlier start. "
        "Run `limpet open` in a terminal: it opens a new one."
    )
    page = (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>Sign in to Limpet</title>'
        '<meta name="viewport" content="width=device-width">'
        '<body style="font:16px/1.5 system-ui;max-width:36rem;margin:4rem auto;padding:0 1rem">'
        f"<h1>Sign in to Limpet</h1><p>{escape(text)}</p>"
    )
    return HTMLResponse(page, status_code=403, headers={"Cache-Control": "no-store"})
