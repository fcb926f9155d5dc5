"""Looking at a preview without a browser: the page as the sandbox's own proxy gives it."""

import re
from collections.abc import Sequence
from typing import Final
from urllib.parse import unquote, urljoin, urlsplit

from limpet.control.threads.reading_pages import page_text
from limpet.errors import DaemonUnreachableError, InvalidInputError
from limpet.harness.tools import PageState, ToolFailedError
from limpet.runners.daemon_client import DaemonClient

MAX_PAGE_BYTES: Final = 2 * 1024 * 1024
MAX_REDIRECTS: Final = 5
ANSWER_S: Final = 30.0
NO_TAB: Final = (
    "(No browser tab has shown the preview lately: errors of scripts in the page are not known.)"
)
NO_SCREENSHOT: Final = "(No screenshot: this server has no browser that could take one.)"
_NATIVE = re.compile(r"/(?:_sandbox|_decopilot_vm)(?:/|$)|/health$")


async def look_at(
    client: DaemonClient,
    path: str,
    *,
    shown_at: str,
    errors: Sequence[str] | None,
    screenshot: bool,
) -> PageState:
    """The page at `path` as it is now; `errors` is what browser tabs told, None: none did.

    `ToolFailedError` for what is no path of the app.
    """
    target, status, html, kind = _target(path, "/"), 0, "", ""
    for _ in range(MAX_REDIRECTS + 1):
        try:
            async with client.request(
                "GET",
                target,
                headers={"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"},
                timeout_s=ANSWER_S,
            ) as answer:
                status, kind = answer.status, answer.headers.get("content-type", "")
                moved = answer.headers.get("location") if 300 <= status < 400 else None
                body = b""
                async for chunk in answer.body:
                    body += chunk
                    if len(body) >= MAX_PAGE_BYTES:
                        break
        except (DaemonUnreachableError, InvalidInputError) as error:
            raise ToolFailedError(f"The preview does not answer: {error.message}") from error
        html = body.decode(errors="replace")
        if moved is None:
            break
        target = _target(moved, target)
    page = page_text(html) if "html" in kind else None
    notes = [NO_TAB] if errors is None else []
    notes += [NO_SCREENSHOT] if screenshot else []
    text = page.text if page else html[:4000]
    return PageState(
        url=urljoin(shown_at, target),
        title=page.title if page else "",
        status=status,
        console_errors=tuple(errors or ()),
        text="\n".join([text, *notes]).strip(),
    )


def _target(path: str, base: str) -> str:
    """A path of the app, with its query: whatever host was named, it is asked of this sandbox."""
    try:
        parts = urlsplit(urljoin(base, path))
        plain = unquote(parts.path)
    except ValueError:
        raise ToolFailedError(f"{path[:80]!r} is no path") from None
    steps = plain.split("/")
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    if (
        not target.startswith("/")
        or not {".", ".."}.isdisjoint(steps)
        or _NATIVE.match("/" + "/".join(step for step in steps if step))
    ):
        raise ToolFailedError(f"{path[:80]!r} is no path of the app")
    return target
