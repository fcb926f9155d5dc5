"""The small pages that stand in a preview's place, as long as they do. Pure."""

import base64
import hashlib
import json
from collections.abc import Mapping
from html import escape
from typing import Final

from starlette.responses import HTMLResponse, PlainTextResponse, Response

from limpet.control.db import SandboxRow

PRIVATE: Final = "This preview is private"
_QUIET: Final = {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}
_LINK: Final = (
    "display:inline-block;margin-top:1.2rem;padding:.5rem 1.2rem;border-radius:99px;"
    "background:#0b6b74;color:#fff;text-decoration:none;font-weight:500"
)
_SCRIPT: Final = """(function () {
  if (window.parent === window) return;
  document.getElementById("open").target = "_blank";
  document.getElementById("framed").hidden = false;
  window.parent.postMessage({ type: "limpet:private", url: location.href }, __APP__);
})();"""


def page(
    title: str,
    text: str,
    status: int,
    *,
    again: bool = False,
    more: str = "",
    headers: Mapping[str, str] | None = None,
) -> Response:
    """A small page; with `again` it looks anew by itself. `more` is HTML after the text."""
    refresh = '<meta http-equiv="refresh" content="2">' if again else ""
    html = (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f'<meta name="color-scheme" content="light dark">{refresh}<title>{escape(title)}</title>'
        '<body style="font:16px/1.5 system-ui,sans-serif;min-height:100vh;margin:0;display:grid;'
        'place-content:center;text-align:center;padding:1rem;box-sizing:border-box">'
        '<main style="max-width:32rem">'
        f'<h1 style="font-size:1.2rem;margin:0">{escape(title)}</h1>'
        f'<p style="opacity:.7;margin:.4rem 0 0">{escape(text)}</p>{more}</main>'
    )
    retry = {"Retry-After": "2"} if again else {}
    return HTMLResponse(html, status, {"Cache-Control": "no-store", **retry, **(headers or {})})


def stopped(row: SandboxRow) -> Response:
    """In the place of a sandbox's app that does not run."""
    words = {
        "starting": ("Getting ready", "The sandbox is starting."),
        "stopping": ("Stopping", "The sandbox is saving its work."),
        "failed": ("Not running", "The last start did not work; its page says why."),
    }
    title, text = words.get(
        row.state, ("Not running", "Start the sandbox on its page: it comes back as it was.")
    )
    return page(title, text, 503, again=True)


def private(app: str, open_at: str, *, link_failed: bool, without_tls: bool) -> Response:
    """In the place of a preview that the browser may not see: the way for those who may.

    It tells a frame of the app, whose origin is `app`, that it stands there. `open_at` is where the
    app lets people in; `link_failed`, whether a link led here; `without_tls`, whether browsers keep
    no cookie for such an address inside other pages.
    """
    text = "Only people signed in to this Limpet see it, and those who were given a link."
    if link_failed:
        text = f"The link has ended, was used before, or was taken back. {text}"
    framed = (
        "Without TLS no browser keeps the cookie that it takes in a page inside another one. "
        if without_tls
        else ""
    ) + "It opens in a tab of its own."
    script = _SCRIPT.replace("__APP__", json.dumps(app).replace("<", "\\u003c"))
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; "
        "base-uri 'none'; form-action 'none'"
    )
    more = (
        f'<a id="open" href="{escape(open_at)}" rel="noreferrer" style="{_LINK}">'
        "Open it with Limpet</a>"
        f'<p id="framed" hidden style="opacity:.7;margin:.8rem 0 0">{escape(framed)}</p>'
        f"<script>{script}</script>"
    )
    headers = {**_QUIET, "Content-Security-Policy": policy}
    return page(PRIVATE, text, 403, more=more, headers=headers)


def private_in_words() -> Response:
    """The same for what shows no pages."""
    return PlainTextResponse(f"{PRIVATE}\n", 403, _QUIET)


def on_to(url: str) -> Response:
    """On to `url`, letter by letter, with nobody told where from."""
    return Response(status_code=303, headers={"Location": url, **_QUIET})
