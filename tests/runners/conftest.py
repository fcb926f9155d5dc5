"""Every place that sandboxes live in, and the promise that no test leaves anything running."""

import contextlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.runners.engine import (
    DockerEngine,
    NoEngineError,
    build_image,
    check_containers,
    given_engine,
    running_engine,
    why_not,
)
from tests.runners.places import DockerPlace, Place, place_of
from tests.runners.support import bubblewrap_works, processes_of

MODES = ("none", "bubblewrap")


@pytest.fixture(scope="session")
def can_bubblewrap() -> bool:
    return bubblewrap_works()


@pytest.fixture(scope="session")
def engine() -> Iterator[DockerEngine]:
    """A Docker engine with the sandboxes' image, for as long as tests need it."""
    reason = why_not()
    if reason is not None:
        pytest.skip(reason)
    given = given_engine()
    if given is not None:
        yield given
        return
    with contextlib.ExitStack() as stack:
        try:
            started = stack.enter_context(running_engine())
            build_image(started)
            check_containers(started)
        except NoEngineError as error:
            pytest.skip(f"no Docker engine can run here: {error}")
        yield started


@pytest.fixture(params=MODES)
def mode(request: pytest.FixtureRequest, can_bubblewrap: bool) -> str:
    """How sandboxes of the host runner are shut in."""
    if request.param == "bubblewrap" and not can_bubblewrap:
        pytest.skip("bubblewrap does not work here")
    return str(request.param)


@pytest.fixture(params=[*MODES, pytest.param("docker", marks=pytest.mark.docker)])
def place(request: pytest.FixtureRequest, data_dir: Path) -> Iterator[Place]:
    """Every runner there is, one after the other."""
    if request.param == "docker":
        made = DockerPlace(data_dir, request.getfixturevalue("engine"))
        yield made
        left = made.running()
        made.clear()
        assert not left, "the test left containers behind"
        return
    if request.param == "bubblewrap" and not request.getfixturevalue("can_bubblewrap"):
        pytest.skip("bubblewrap does not work here")
    yield place_of(request.param, data_dir, None)


@pytest.fixture
def docker_place(engine: DockerEngine, data_dir: Path) -> Iterator[DockerPlace]:
    """The Docker runner alone."""
    made = DockerPlace(data_dir, engine)
    yield made
    made.clear()


@pytest.fixture
async def data_dir(tmp_path: Path) -> AsyncIterator[Path]:
    folder = tmp_path / "data"
    folder.mkdir()
    yield folder
    assert not processes_of(folder), "the test left processes behind"
