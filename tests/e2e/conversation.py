"""What a person does and sees in the chat."""

from playwright.sync_api import Locator, Page


def told(page: Page) -> Locator:
    """What was said and done; a screen reader is told some of it elsewhere once more."""
    return page.get_by_role("region", name="What was said")


def say(page: Page, *lines: str) -> None:
    """Send a message."""
    box = page.get_by_role("textbox", name="Message")
    box.fill("\n".join(lines))
    box.press("Enter")
