"""The two quickest rows of `make matrix`, in every run of the tests."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.gitserver import GitServer
from tests.matrix.__main__ import chosen
from tests.matrix.journey import PROJECTS, Journey
from tests.matrix.rows import ROWS
from tests.sampled import one_in

pytestmark = [pytest.mark.e2e, pytest.mark.long]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chrome")
    if chromium is None:
        pytest.skip("no Chromium here (Debian: apt install chromium)")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", one_in(2, ["static", "flask-pip"]))
def test_a_project_goes_there_and_home_again(name: str, browser: Browser, tmp_path: Path) -> None:
    row = next(row for row in ROWS if row.name == name)
    with GitServer.start(tmp_path / "git") as git:
        journey = Journey(row, browser, git)
        try:
            journey.go()
        finally:
            journey.close()
    assert journey.times["same"] > 0


def test_every_row_has_a_project_with_the_text_that_it_edits() -> None:
    for row in ROWS:
        assert (PROJECTS / row.folder).is_dir(), row.name
        assert list((PROJECTS / row.folder).rglob("*")), row.name
    assert {path.name for path in PROJECTS.iterdir()} == {row.folder for row in ROWS}
    assert [row.name for row in chosen("next,flask")] == ["next", "flask-pip"]
