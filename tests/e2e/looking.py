"""A page as it is looked at: in a window of some size and colours, for errors and for barriers."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, Literal

from playwright.sync_api import Browser, Page, StorageState, expect

from tests.e2e.accessible import violations
from tests.e2e.findings import note, place
from tests.e2e.pages import Shown

Look = Literal["light", "dark"]
LOOKS: Final[tuple[Look, ...]] = ("light", "dark")
SIZES: Final = {"wide": (1280, 800), "phone": (390, 844)}


def signed_in(browser: Browser, url: str) -> StorageState:
    """What a browser keeps that has signed in with this URL."""
    context = browser.new_context()
    page = context.new_page()
    page.goto(url)
    expect(page.get_by_role("heading").first).to_be_visible()
    state = context.storage_state()
    context.close()
    return state


@contextmanager
def window(browser: Browser, state: StorageState, look: Look, size: str) -> Iterator[Page]:
    """A page in a window of one of the `SIZES`, on a computer or on a phone."""
    width, height = SIZES[size]
    context = browser.new_context(
        viewport={"width": width, "height": height},
        color_scheme=look,
        reduced_motion="reduce",
        is_mobile=size == "phone",
        has_touch=size == "phone",
        storage_state=state,
    )
    yield context.new_page()
    context.close()


def look_at(page: Page, url: str, shown: Shown, look: Look, size: str) -> None:
    """Go there, and fail over an error, a barrier, or a page that is wider than its window.

    A picture of it is kept where pictures are asked for.
    """
    name = f"{shown.name}, {look}, {size}"
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda said: errors.append(said.text) if said.type == "error" else None)
    page.goto(url)
    expect(shown.ready(page)).to_be_visible(timeout=60_000)
    if shown.then is not None:
        shown.then(page)
    page.evaluate("document.fonts.ready.then(() => true)")
    picture = place(f"{shown.name}-{look}-{size}.png")
    if picture is not None:
        page.screenshot(path=picture)
    wider = page.evaluate("document.documentElement.scrollWidth - innerWidth")
    note("errors", name, errors)
    assert errors == []
    assert wider <= 0, "the page is wider than the window"
    broken = violations(page)
    note("barriers", name, broken)
    assert broken == []
