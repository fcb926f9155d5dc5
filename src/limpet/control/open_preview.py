"""`GET /open-preview?to=ADDRESS`: lets a browser that is signed in see a preview that is private.

The address must be one of this server's own previews. The browser is sent there with a ticket,
which the preview's host turns into a cookie: limpet.control.preview_door. Pages of others can lead
a browser here, but neither read the ticket nor show in a frame of theirs what it opens.
"""

from html import escape
from urllib.parse import quote

from fastapi import APIRouter, Request
from starlette.responses import HTMLResponse, Response

from limpet.control import preview_pages
from limpet.control.operations.services import Services
from limpet.control.preview_door import OPEN_PREVIEW
from limpet.errors import InvalidInputError, LimpetError, UnauthorizedError


def open_preview_router(services: Services) -> APIRouter:
    """The route."""
    router = APIRouter()

    @router.get(OPEN_PREVIEW, include_in_schema=False)
    async def open_preview(request: Request, to: str = "") -> Response:
        """Lead to `to`, an address of a preview, with what lets the browser see it."""
        if not _by_a_person(request):
            return _page("This page is not for others", "Open it in a tab of its own.", 403)
        try:
            identity = await services.authenticator.authenticate(request)
            way = await services.previews.open_url(identity.org, to, local_port=_port_of(request))
        except UnauthorizedError:
            return _sign_in(f"{OPEN_PREVIEW}?to={quote(to, safe='')}")
        except InvalidInputError as error:
            return _page("There is no preview there", error.message, 400)
        except LimpetError as error:
            return _page("There is no preview there", error.message, error.status)
        return preview_pages.on_to(way.url)

    return router


def _by_a_person(request: Request) -> bool:
    """Whether a person goes there, or a frame of our own page; and not a script, or a frame of a
    page that our cookies are sent along with since it is on the same machine.
    """
    headers = request.headers
    if headers.get("sec-fetch-mode", "navigate") != "navigate":
        return False
    if headers.get("sec-fetch-dest", "document") == "document":
        return True
    return headers.get("sec-fetch-site") == "same-origin"


def _port_of(request: Request) -> int | None:
    """The port at which the browser finds us, which may be a tunnel's end."""
    return request.url.port or {"http": 80, "https": 443}.get(request.url.scheme)


def _sign_in(back: str) -> Response:
    """How to sign in, and the way on after that."""
    html = (
        "Run <code>limpet open</code> in a terminal: it signs this browser in.</p>"
        f'<p><a href="{escape(back)}">Signed in? Go on to the preview</a>'
    )
    return _page("Sign in to Limpet", "", 401, html=html)


def _page(title: str, text: str, status: int, *, html: str = "") -> Response:
    return HTMLResponse(
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f'<meta name="color-scheme" content="light dark"><title>{escape(title)}</title>'
        '<body style="font:16px/1.5 system-ui,sans-serif;max-width:36rem;margin:4rem auto;'
        f'padding:0 1rem"><main><h1>{escape(title)}</h1><p>{html or escape(text)}</p></main>',
        status,
        {"Cache-Control": "no-store"},
    )
