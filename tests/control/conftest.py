import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.control.live_app import LiveApp


@pytest.fixture
def templates_dir(tmp_path: Path) -> Path:
    """A catalog with one small template called `webapp`."""
    return _catalog(tmp_path / "templates")


def _catalog(folder: Path) -> Path:
    (folder / "webapp" / "src").mkdir(parents=True)
    manifest = {"name": "webapp", "title": "Web app", "description": "A page to start from"}
    (folder / "webapp" / "template.json").write_text(json.dumps(manifest))
    (folder / "webapp" / "src" / "main.ts").write_text("console.log('hello')\n")
    return folder


@pytest.fixture
async def live(tmp_path: Path, templates_dir: Path) -> "AsyncIterator[LiveApp]":
    from tests.control.live_app import live_app  # tests of the parts below need no whole app

    async with live_app(tmp_path / "data", templates_dir=templates_dir) as app:
        yield app


@pytest.fixture(scope="module")
async def refusing(tmp_path_factory: pytest.TempPathFactory) -> "AsyncIterator[LiveApp]":
    """One app for those requests of a file that it refuses: they change nothing."""
    from tests.control.live_app import live_app

    folder = tmp_path_factory.mktemp("refusing")
    async with live_app(folder / "data", templates_dir=_catalog(folder / "templates")) as app:
        yield app
