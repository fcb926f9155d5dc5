"""What an engine's refusals become; no engine is needed."""

from pathlib import Path

import pytest
from aiodocker.exceptions import DockerError

from limpet.errors import RunnerError
from limpet.runners.docker import DockerRunner
from limpet.runners.docker_engine import Engine, EngineError
from tests.runners.support import FileState

pytestmark = pytest.mark.anyio


async def test_an_engine_that_is_not_there_is_told(tmp_path: Path) -> None:
    state = FileState(tmp_path / "state.json")
    with pytest.raises(RunnerError, match="no Docker engine answers at") as caught:
        await DockerRunner.open(tmp_path, state, host=f"unix://{tmp_path}/nobody.sock")
    assert "LIMPET_DOCKER_HOST" in caught.value.hint


@pytest.mark.parametrize(
    ("status", "said", "hint"),
    [
        (500, "write /var/lib/docker/x: no space left on device", "free some room"),
        (500, "driver failed: Bind for 127.0.0.1:9000 failed: port is already allocated", "port"),
        (500, "could not find an available, non-overlapping IPv4 address pool", "prune"),
        (400, "unknown or invalid runtime name: runsc", "LIMPET_DOCKER_RUNTIME"),
        (500, "something else", ""),
    ],
)
async def test_a_refusal_says_what_to_do(tmp_path: Path, status: int, said: str, hint: str) -> None:
    engine = Engine(f"unix://{tmp_path}/sock")
    with pytest.raises(EngineError) as caught:
        async with engine._translated("The container x cannot be made"):
            raise DockerError(status, said)
    await engine.close()
    assert said in caught.value.message
    assert hint in caught.value.hint
    assert bool(hint) == bool(caught.value.hint)
    assert caught.value.engine_status == status


async def test_an_engine_that_hangs_is_told(tmp_path: Path) -> None:
    engine = Engine(f"unix://{tmp_path}/sock")
    with pytest.raises(EngineError, match="does not answer in time"):
        async with engine._translated("The container x cannot be made"):
            raise TimeoutError
    await engine.close()
