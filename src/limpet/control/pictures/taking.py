"""Pictures of previews: one browser at most, a few pictures at once, the rest in a short queue.

Taking one is nobody's work: it is no activity of the sandbox, and wakes none. The browser is
started by the first picture and ended when none was wanted for a while, or by a page that holds it
up; whoever shared it with such a page is taken once more.
"""

import asyncio
import contextlib
import socket
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Final

from limpet.control.pictures.browser import PORTS as AT_ONCE
from limpet.control.pictures.browser import Browser
from limpet.control.pictures.errors import (
    BrowserEndedError,
    NoBrowserError,
    PictureFailedError,
    PicturesBusyError,
)
from limpet.control.pictures.finding import BrowserChoice
from limpet.control.pictures.gate import Own, gate
from limpet.control.pictures.page import (
    DESKTOP,
    Bounds,
    Frame,
    PageStuckError,
    Picture,
    take_picture,
)
from limpet.control.pictures.run_folder import RunFolder
from limpet.control.preview_address import Site
from limpet.ids import Handle
from limpet.runners.egress import EgressPolicy, Network

MOST_WANTED: Final = 32
"""Pictures that are taken or waited for; more are refused."""
PICTURE_S: Final = 45.0
IDLE_S: Final = 60.0

ServePreviews = Callable[[socket.socket], AbstractAsyncContextManager[None]]
"""Serves previews on a listening socket, as to somebody whose looks are no activity."""


class Pictures:
    """Takes pictures. Open it with `opened`."""

    def __init__(
        self,
        choice: BrowserChoice,
        serve: ServePreviews,
        site: Site,
        denied: tuple[Network, ...],
        bounds: Bounds,
        idle_s: float,
    ) -> None:
        self._choice = choice
        self._serve = serve
        self._site = site
        self._denied = denied
        self._bounds = bounds
        self._idle_s = idle_s
        self._open = contextlib.AsyncExitStack()
        self._folder: RunFolder | None = None
        self._browser: Browser | None = None
        self._starting = asyncio.Lock()
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._turn = asyncio.Lock()
        self._wanted = 0
        self._resting: asyncio.Task[None] | None = None

    @classmethod
    @asynccontextmanager
    async def opened(
        cls,
        choice: BrowserChoice,
        serve: ServePreviews,
        site: Site,
        *,
        denied: tuple[Network, ...] = (),
        bounds: Bounds = Bounds(),  # noqa: B008  (frozen)
        idle_s: float = IDLE_S,
    ) -> AsyncGenerator["Pictures"]:
        """Pictures by the browser of `choice`, of previews that `serve` serves under `site`.

        `denied` are networks that pages do not reach, beside all that are not public.
        """
        pictures = cls(choice, serve, site, denied, bounds, idle_s)
        try:
            yield pictures
        finally:
            await pictures._close()

    @property
    def possible(self) -> bool:
        """Whether there is a browser to try it with."""
        return self._choice.program is not None

    async def take(
        self, handle: Handle, path: str, policy: EgressPolicy, frame: Frame = DESKTOP
    ) -> Picture:
        """The page at `path` (which begins with `/`) of a sandbox's preview, as it is now.

        The page reaches what `policy` allows of the public network. Raises `NoBrowserError`,
        `PicturesBusyError`, or `PictureFailedError` with what the page did.
        """
        if self._wanted >= MOST_WANTED:
            raise PicturesBusyError("Too many pictures are wanted just now", hint="Try again.")
        self._wanted += 1
        try:
            try:
                async with self._slots:
                    return await self._take(handle, path, policy, frame)
            except BrowserEndedError:
                # Perhaps by the page that was beside this one: now with none beside it.
                async with self._alone():
                    return await self._take(handle, path, policy, frame)
        finally:
            self._wanted -= 1
            if not self._wanted:
                self._rest()

    @asynccontextmanager
    async def _alone(self) -> AsyncGenerator[None]:
        """While no other picture is taken."""
        async with self._turn, contextlib.AsyncExitStack() as all_slots:
            for _ in range(AT_ONCE):
                await all_slots.enter_async_context(self._slots)
            yield

    async def _take(self, handle: Handle, path: str, policy: EgressPolicy, frame: Frame) -> Picture:
        browser, folder = await self._ready()
        own = Own(handle, self._site, folder.socket)
        browser.pictures += 1
        try:
            with browser.port() as listener:
                async with (
                    asyncio.timeout(PICTURE_S),
                    gate(own, policy, self._denied, listener) as proxy,
                ):
                    return await take_picture(browser, proxy, own, path, frame, self._bounds)
        except TimeoutError:
            await self._discard(browser, "the page took too long")
            raise PageStuckError("The page takes too long") from None
        except PageStuckError as error:
            await self._discard(browser, error.message)
            raise
        except BrowserEndedError:
            await self._discard(browser, "")
            why = f"The browser ended: {browser.why_ended or 'the page crashed it'}"
            raise BrowserEndedError(why) if browser.shared else PictureFailedError(why) from None
        finally:
            browser.pictures -= 1

    async def _ready(self) -> tuple[Browser, RunFolder]:
        """A browser that lives, and the folder of all of them."""
        program = self._choice.program
        if program is None:
            raise NoBrowserError(
                f"This server has no browser that could take pictures: {self._choice.why_none}",
                hint="Install Chromium, or name a browser with LIMPET_BROWSER.",
            )
        async with self._starting:
            self._stay()
            if self._folder is None:
                self._folder = await self._furnished()
            if self._browser is not None and not self._browser.alive:
                await self._browser.end()
                self._browser = None
            if self._browser is None:
                self._browser = await Browser.start(
                    program, self._folder, self._bounds.memory_bytes
                )
            return self._browser, self._folder

    async def _furnished(self) -> RunFolder:
        """The folder, with the previews served in it."""
        try:
            folder = await asyncio.to_thread(RunFolder)
            self._open.push_async_callback(asyncio.to_thread, folder.close)
            listener = self._open.enter_context(
                contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
            )
            listener.setblocking(False)
            listener.bind(str(folder.socket))
            folder.socket.chmod(0o600)
            listener.listen(128)
            await self._open.enter_async_context(self._serve(listener))
        except OSError as error:
            await self._open.aclose()
            raise PictureFailedError(f"No folder for the browser can be made: {error}") from error
        return folder

    async def _discard(self, browser: Browser, why: str) -> None:
        """End a browser; the next picture starts another one."""
        browser.shared = browser.shared or browser.pictures > 1
        if self._browser is browser:
            self._browser = None
        await asyncio.shield(browser.end(why))

    # -- idle ----------------------------------------------------------------------------------

    def _rest(self) -> None:
        """Nothing is wanted any more: end the browser unless something is, soon."""
        self._stay()
        if self._browser is not None:
            self._resting = asyncio.create_task(self._end_idle(), name="idle-browser")

    def _stay(self) -> None:
        if self._resting is not None:
            self._resting.cancel()
            self._resting = None

    async def _end_idle(self) -> None:
        await asyncio.sleep(self._idle_s)
        browser, self._browser, self._resting = self._browser, None, None
        if browser is not None:
            await asyncio.shield(browser.end("nothing to do"))

    async def _close(self) -> None:
        self._stay()
        if self._browser is not None:
            await self._discard(self._browser, "the server ends")
        await self._open.aclose()
