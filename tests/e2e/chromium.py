"""The real browser that pages are tried and timed in."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, expect, sync_playwright


def installed() -> str | None:
    """Where Chromium is, or the browser that `CHROMIUM` names; None where there is none."""
    return os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chrome")


@contextmanager
def launched(executable: str) -> Iterator[Browser]:
    """Headless, until the block ends; its driver keeps an event loop running meanwhile.

    What is expected of its pages may take as long as an action on them: machines are busy.
    """
    expect.set_options(timeout=30_000)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=executable,
            args=["--no-sandbox", "--disable-background-networking", "--disable-sync"],
        )
        yield browser
        browser.close()
