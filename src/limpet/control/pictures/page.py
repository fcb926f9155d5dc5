"""One picture of one page, in a browser context of its own.

The page is hostile for all we know. Whatever it does, this ends within a few times the bounds
that it is given; a page that does not answer, crashes or floods us raises `PageStuckError`, and the
caller ends the browser then.
"""

import asyncio
import base64
import binascii
import json
from collections.abc import AsyncGenerator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final, Literal
from urllib.parse import urlsplit

from limpet.control.pictures.browser import MAX_MEMORY_BYTES, Browser
from limpet.control.pictures.devtools import DevTools, Json
from limpet.control.pictures.errors import BrowserEndedError, PictureFailedError
from limpet.control.pictures.gate import Own

MAX_ERRORS: Final = 50
MAX_ERROR_CHARS: Final = 4000
NEW_TAB_S: Final = 20.0
MAX_EVENTS: Final = 20_000
MAX_EVENT_BYTES: Final = 64 << 20
MAX_PNG_BYTES: Final = 2 << 20
MAX_THUMBNAIL_BYTES: Final = 256 << 10
WEBP_QUALITY: Final = 80
MAX_TITLE_CHARS: Final = 300
MAX_TEXT_CHARS: Final = 20_000
_CAPTURE_TRIES: Final = 4
_READ_MS: Final = 2000
_WORDS: Final = (
    "[[document.title, %d], [document.body ? document.body.innerText : '', %d]]"
    ".map(([words, most]) => String(words).slice(0, most))"
)


class PageStuckError(PictureFailedError):
    """The page holds the browser up, so that it must be ended."""

    code = "page_stuck"


@dataclass(frozen=True, slots=True)
class Frame:
    """What is seen of the page: a window's size, how the picture is made of it, and whether its
    words are read.
    """

    width: int = 1280
    height: int = 800
    mobile: bool = False
    kind: Literal["png", "webp"] = "png"
    scale: float = 1.0
    max_bytes: int = MAX_PNG_BYTES
    reads: bool = False


DESKTOP: Final = Frame(reads=True)
PHONE: Final = Frame(390, 844, mobile=True)
THUMBNAIL: Final = Frame(kind="webp", scale=0.5, max_bytes=MAX_THUMBNAIL_BYTES)


@dataclass(frozen=True, slots=True)
class Picture:
    """A page as it was shown. `status` is that of its document, `settled` whether it had loaded and
    become quiet, `console_errors` what it logged as errors while it loaded. `title` and `text` are
    what it shows in words, empty where they were not read.
    """

    image: bytes = field(repr=False)
    status: int
    url: str
    settled: bool
    console_errors: tuple[str, ...] = ()
    title: str = ""
    text: str = ""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a page may take: seconds until it has loaded and is quiet, seconds until the browser
    must have answered a question about it, and memory.
    """

    settles_s: float = 10.0
    answers_s: float = 5.0
    memory_bytes: int = MAX_MEMORY_BYTES


class _Seen:
    """What the page's events have told so far."""

    def __init__(self, tools: DevTools, session: str) -> None:
        self.loaded, self.quiet, self.stuck = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self.why_stuck = ""
        self.status = 0
        self.url = ""
        self.errors: list[str] = []
        self.frame = self.blank = ""
        self._tools, self._session = tools, session
        self._events = 0
        self._until_bytes = tools.read_bytes + MAX_EVENT_BYTES

    def begin(self, tree: Json) -> None:
        """The blank page is `tree`: what was and will be told of it does not count."""
        self.frame = _text(tree, "frameTree", "frame", "id")
        self.blank = _text(tree, "frameTree", "frame", "loaderId")
        self.loaded.clear()
        self.quiet.clear()

    def note(self, method: str, params: Json) -> None:
        """Take an event in."""
        self._events += 1
        if self._events > MAX_EVENTS or self._tools.read_bytes > self._until_bytes:
            self._stick("The page logs without end")
        elif method == "Inspector.targetCrashed":
            self._stick("The page crashed its tab of the browser")
        elif method == "Page.javascriptDialogOpening":
            self._tools.tell(
                "Page.handleJavaScriptDialog", {"accept": False}, session=self._session
            )
        elif method == "Page.lifecycleEvent":
            if params.get("frameId") == self.frame and params.get("loaderId") != self.blank:
                self._note_life(str(params.get("name", "")))
        elif method == "Page.frameNavigated":
            if _text(params, "frame", "id") == self.frame:
                self.url = _text(params, "frame", "url")[:MAX_ERROR_CHARS]
        elif method == "Network.responseReceived":
            told = params.get("response")
            if (
                params.get("type") == "Document"
                and params.get("frameId") == self.frame
                and isinstance(told, dict)
                and isinstance(told.get("status"), int)
            ):
                self.status = told["status"]
        elif (said := _error_in(method, params)) and len(self.errors) < MAX_ERRORS:
            self.errors.append(said[:MAX_ERROR_CHARS])

    def _note_life(self, name: str) -> None:
        if name == "init":  # of another document, should the page go on to one
            self.loaded.clear()
            self.quiet.clear()
        elif name == "load":
            self.loaded.set()
        elif name == "networkAlmostIdle":
            self.quiet.set()

    def _stick(self, why: str) -> None:
        self.why_stuck = self.why_stuck or why
        self.stuck.set()


async def take_picture(
    browser: Browser, proxy: str, own: Own, path: str, frame: Frame, bounds: Bounds
) -> Picture:
    """The preview's page at `path`, reached through `proxy`.

    Raises `PageStuckError` when the browser is not to be used any more, `PictureFailedError` for
    what else goes wrong, `BrowserEndedError` when the browser is gone.
    """
    tools = browser.tools
    async with _tab(tools, proxy, bounds) as session:
        seen = _Seen(tools, session)
        tools.listen(session, seen.note)
        try:
            shooting = _Shooting(tools, session, seen, bounds)
            return await _or_stuck(seen, shooting.picture(own, path, frame))
        finally:
            tools.unlisten(session)


async def _or_stuck(seen: _Seen, work: Coroutine[object, object, Picture]) -> Picture:
    """What `work` gives, unless the page crashes or floods us first."""
    working = asyncio.ensure_future(work)
    stuck = asyncio.ensure_future(seen.stuck.wait())
    try:
        await asyncio.wait({working, stuck}, return_when=asyncio.FIRST_COMPLETED)
        if seen.stuck.is_set():
            raise PageStuckError(seen.why_stuck)
        return working.result()
    finally:
        working.cancel()
        stuck.cancel()
        await asyncio.gather(working, stuck, return_exceptions=True)


class _Shooting:
    """Steps of one picture."""

    def __init__(self, tools: DevTools, session: str, seen: _Seen, bounds: Bounds) -> None:
        self._tools, self._session, self._seen, self._bounds = tools, session, seen, bounds

    async def picture(self, own: Own, path: str, frame: Frame) -> Picture:
        """Load the page, wait until it is quiet, and take the picture."""
        await self._call(
            "Emulation.setDeviceMetricsOverride",
            width=frame.width, height=frame.height, deviceScaleFactor=1, mobile=frame.mobile,
        )  # fmt: skip
        for domain in ("Page", "Network", "Runtime", "Log"):
            await self._call(f"{domain}.enable")
        await self._call("Page.setLifecycleEventsEnabled", enabled=True)
        seen = self._seen
        seen.begin(await self._call("Page.getFrameTree"))
        settled = await self._settled(own.url.rstrip("/") + path)
        if not seen.url:
            raise PictureFailedError("The page did not begin to show in time")
        if not _is_own(own, seen.url):
            raise PictureFailedError("The page left the preview for another site")
        image = await self._captured(frame)
        title, text = await self._words() if frame.reads else ("", "")
        return Picture(image, seen.status, seen.url, settled, tuple(seen.errors), title, text)

    async def _settled(self, url: str) -> bool:
        """Go there; whether it had loaded and become quiet when the time was over."""
        until = asyncio.get_running_loop().time() + self._bounds.settles_s
        try:
            async with asyncio.timeout_at(until):
                went = await self._tools.call("Page.navigate", {"url": url}, session=self._session)
        except TimeoutError:
            raise PageStuckError("The page's server does not answer") from None
        if went.get("errorText"):
            raise PictureFailedError(f"The page does not load: {str(went['errorText'])[:200]}")
        try:
            async with asyncio.timeout_at(until):
                while not (self._seen.loaded.is_set() and self._seen.quiet.is_set()):
                    await self._seen.loaded.wait()
                    await self._seen.quiet.wait()
        except TimeoutError:
            return False
        return True

    async def _captured(self, frame: Frame) -> bytes:
        """The picture, smaller where it would be too large."""
        scale = frame.scale
        for _ in range(_CAPTURE_TRIES):
            told = await self._call(
                "Page.captureScreenshot",
                format=frame.kind,
                clip={"x": 0, "y": 0, "width": frame.width, "height": frame.height, "scale": scale},
                captureBeyondViewport=False,
                **({"quality": WEBP_QUALITY} if frame.kind == "webp" else {}),
            )
            image = _decoded(told.get("data"), frame.kind)
            if len(image) <= frame.max_bytes:
                return image
            scale /= 2
        raise PictureFailedError("The picture is too large")

    async def _words(self) -> tuple[str, str]:
        """The title and the visible text, cut; empty for a page that does not let itself be read
        in time.
        """
        try:
            told = await self._call(
                "Runtime.evaluate",
                expression=_WORDS % (MAX_TITLE_CHARS, MAX_TEXT_CHARS),
                returnByValue=True,
                timeout=_READ_MS,
            )
        except (PageStuckError, BrowserEndedError):
            raise
        except PictureFailedError:
            return "", ""
        match told:
            case {"result": {"value": [str(title), str(text)]}}:
                return title[:MAX_TITLE_CHARS], text[:MAX_TEXT_CHARS]
            case _:
                return "", ""

    async def _call(self, method: str, **params: object) -> Json:
        try:
            async with asyncio.timeout(self._bounds.answers_s):
                return await self._tools.call(method, params, session=self._session)
        except TimeoutError:
            raise PageStuckError("The page does not let the browser go on") from None


@asynccontextmanager
async def _tab(tools: DevTools, proxy: str, bounds: Bounds) -> AsyncGenerator[str]:
    """A session with a blank page in a fresh context, which is disposed of in the end."""
    try:
        async with asyncio.timeout(NEW_TAB_S):
            made = await tools.call(
                "Target.createBrowserContext",
                {"disposeOnDetach": True, "proxyServer": proxy, "proxyBypassList": "<-loopback>"},
            )
            context = _text(made, "browserContextId")
            await tools.call(
                "Browser.setDownloadBehavior", {"behavior": "deny", "browserContextId": context}
            )
            target = await tools.call(
                "Target.createTarget", {"url": "about:blank", "browserContextId": context}
            )
            attached = await tools.call(
                "Target.attachToTarget", {"targetId": _text(target, "targetId"), "flatten": True}
            )
    except TimeoutError:
        raise PageStuckError("The browser does not make a new page") from None
    try:
        yield _text(attached, "sessionId")
    finally:
        if not tools.ended.is_set():
            try:
                async with asyncio.timeout(bounds.answers_s):
                    await tools.call("Target.disposeBrowserContext", {"browserContextId": context})
            except TimeoutError:
                raise PageStuckError("The browser does not close the page") from None


def _decoded(data: object, kind: str) -> bytes:
    try:
        image = base64.b64decode(str(data), validate=True)
    except (binascii.Error, ValueError):
        image = b""
    is_png = image.startswith(b"\x89PNG\r\n\x1a\n")
    is_webp = image.startswith(b"RIFF") and image[8:12] == b"WEBP"
    if not (is_png if kind == "png" else is_webp):
        raise PictureFailedError("The browser gave no picture")
    return image


def _is_own(own: Own, url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme == own.site.scheme and own.includes(
            (parts.hostname or "").lower(), parts.port or 80
        )
    except ValueError:
        return False


def _text(told: Json, *path: str) -> str:
    """The string at `path`; "" where there is none."""
    found: object = told
    for name in path:
        found = found.get(name) if isinstance(found, dict) else None
    return found if isinstance(found, str) else ""


def _error_in(method: str, params: Json) -> str:
    """What an event says that a page's console shows as an error; "" for all else."""
    if method == "Runtime.consoleAPICalled" and params.get("type") in ("error", "assert"):
        given = params.get("args")
        return " ".join(_shown(one) for one in given) if isinstance(given, list) else ""
    if method == "Runtime.exceptionThrown":
        thrown = _text(params, "exceptionDetails", "exception", "description")
        return thrown or _text(params, "exceptionDetails", "text")
    if method == "Log.entryAdded" and _text(params, "entry", "level") == "error":
        said, where = _text(params, "entry", "text"), _text(params, "entry", "url")
        if where.endswith("/favicon.ico"):
            return ""  # the browser asked for it, not the page
        return f"{said} ({where})" if where else said
    return ""


def _shown(argument: object) -> str:
    if not isinstance(argument, dict):
        return ""
    if isinstance(value := argument.get("value"), str):
        return value
    if "value" in argument:
        return json.dumps(argument["value"])
    return str(argument.get("description", ""))
