import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from limpet.control.pictures.finding import BrowserChoice
from limpet.control.pictures.page import Bounds
from limpet.control.pictures.taking import Pictures
from tests.control.pictures.pages import SITE, Previews

IMPATIENT = Bounds(settles_s=2, answers_s=3, memory_bytes=400 << 20)
PATIENT = Bounds(settles_s=60, answers_s=30, memory_bytes=400 << 20)
"""For pages that never settle or answer: the ordinary bounds are only longer."""
Taking = Callable[..., AbstractAsyncContextManager[tuple[Pictures, Previews]]]


@pytest.fixture(scope="session")
def chromium() -> Path:
    found = shutil.which("chromium") or shutil.which("google-chrome") or shutil.which("chrome")
    assert found, "these tests need a Chromium"
    return Path(found)


@pytest.fixture
def taking(chromium: Path) -> Taking:
    """Pictures by the real browser, of pages by path."""

    @asynccontextmanager
    async def opened(
        pages: dict[str, str], **more: Any
    ) -> AsyncIterator[tuple[Pictures, Previews]]:
        previews = Previews(pages)
        choice = BrowserChoice(chromium)
        async with Pictures.opened(choice, previews.serve, SITE, **more) as pictures:
            yield pictures, previews

    return opened
