"""Both isolations, and the promise that no test leaves a process behind."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.runners.support import bubblewrap_works, processes_of


@pytest.fixture(scope="session")
def can_bubblewrap() -> bool:
    return bubblewrap_works()


@pytest.fixture(params=["none", "bubblewrap"])
def mode(request: pytest.FixtureRequest, can_bubblewrap: bool) -> str:
    if request.param == "bubblewrap" and not can_bubblewrap:
        pytest.skip("bubblewrap does not work here")
    return str(request.param)


@pytest.fixture
async def data_dir(tmp_path: Path) -> AsyncIterator[Path]:
    folder = tmp_path / "data"
    folder.mkdir()
    yield folder
    assert not processes_of(folder), "the test left processes behind"
