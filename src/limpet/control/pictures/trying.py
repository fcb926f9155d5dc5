"""Tries the browser of this machine, for `limpet doctor`. Blocks."""

import asyncio
from dataclasses import dataclass

from limpet.control.pictures.browser import Browser
from limpet.control.pictures.finding import choose_browser
from limpet.control.pictures.run_folder import RunFolder
from limpet.errors import LimpetError


@dataclass(frozen=True, slots=True)
class BrowserTrial:
    """What came of it. `shut_in` is whether its own sandbox and a network of its own hold it."""

    works: bool
    shut_in: bool
    found: str


def try_browser(setting: str | None) -> BrowserTrial:
    """Start the browser that `LIMPET_BROWSER` names, or that is found, and end it."""
    choice = choose_browser(setting)
    program = choice.program
    if program is None:
        return BrowserTrial(works=False, shut_in=False, found=f"none: {choice.why_none}")

    async def tried() -> BrowserTrial:
        folder = RunFolder()
        try:
            browser = await Browser.start(program, folder)
            await browser.end()
        finally:
            folder.close()
        network = "a network of its own" if browser.has_own_network else "this machine's network"
        found = f"{browser.version} ({program}), {browser.guise}, in {network}"
        return BrowserTrial(
            works=True, shut_in=browser.guise.sandboxed and browser.has_own_network, found=found
        )

    try:
        return asyncio.run(tried())
    except (LimpetError, OSError) as error:
        return BrowserTrial(works=False, shut_in=False, found=str(error))
