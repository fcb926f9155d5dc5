"""Looking at a preview: the page as the sandbox's own proxy gives it, and as a browser shows it."""

import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote, urljoin, urlsplit

from limpet.control.pictures.page import Picture
from limpet.control.threads.reading_pages import page_text
from limpet.errors import DaemonUnreachableError, InvalidInputError, LimpetError
from limpet.harness.tools import PageState, ToolFailedError
from limpet.runners.daemon_client import DaemonClient

MAX_PAGE_BYTES: Final = 2 * 1024 * 1024
MAX_REDIRECTS: Final = 5
ANSWER_S: Final = 30.0
NO_TAB: Final = (
    "(No browser tab has shown the preview lately: errors of scripts in the page are not known.)"
)
NO_SCREENSHOT: Final = "(No screenshot: this server has no browser that could take one.)"
NO_PAGE: Final = "(No screenshot: this is no web page.)"
STILL_LOADING: Final = "(The page was still loading when the picture was taken.)"
NO_WORDS: Final = "(The document has no text of its own; what its scripts draw is not known.)"
_EMPTY_LINES = re.compile(r"\n\s*\n")
_NATIVE = re.compile(r"/(?:_sandbox|_decopilot_vm)(?:/|$)|/health$")


async def look_at(
    client: DaemonClient,
    path: str,
    *,
    shown_at: str,
    errors: Sequence[str] | None,
    screenshot: bool,
    picture: Callable[[str], Awaitable[Picture]] | None = None,
) -> PageState:
    """The page at `path` as it is now; `errors` is what browser tabs told, None: none did.

    `picture` shows the page at a path in a browser of this server. It is asked for a screenshot,
    where no tab has told of errors, and for the words of a page that its scripts draw.
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
    seen = _Seen(errors=errors)
    if page is not None and (screenshot or errors is None or not page.text):
        seen = await _seen(picture, target, errors)
    notes = [NO_TAB] if seen.errors is None else []
    notes += [seen.note] if seen.note else []
    if screenshot and seen.image is None and not seen.note:
        notes.append(NO_SCREENSHOT if page is not None else NO_PAGE)
    text = seen.text or (page.text if page else html[:4000])
    if page is not None and not text and seen.image is None:
        notes.append(NO_WORDS)
    return PageState(
        url=urljoin(shown_at, target),
        title=seen.title or (page.title if page else ""),
        status=status,
        console_errors=tuple(seen.errors or ()),
        text="\n".join([text, *notes]).strip(),
        screenshot_png=seen.image if screenshot else None,
    )


@dataclass(frozen=True, slots=True)
class _Seen:
    """What a browser saw; `errors` None: nobody can tell."""

    image: bytes | None = None
    errors: Sequence[str] | None = None
    note: str = ""
    title: str = ""
    text: str = ""


async def _seen(
    picture: Callable[[str], Awaitable[Picture]] | None, target: str, errors: Sequence[str] | None
) -> _Seen:
    if picture is None:
        return _Seen(errors=errors)
    try:
        shown = await picture(target)
    except LimpetError as error:
        return _Seen(errors=errors, note=f"(No screenshot: {error.message}.)")
    heard = tuple(dict.fromkeys((*(errors or ()), *shown.console_errors)))
    text = _EMPTY_LINES.sub("\n", shown.text).strip()
    note = "" if shown.settled else STILL_LOADING
    return _Seen(shown.image, heard, note, shown.title, text)


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
