"""The function that runs a setup step always gives a code."""

import os
from pathlib import Path

import pytest

from limpet.daemon.children import run_child

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("argv", "code", "said"),
    [
        (["/no/such/program"], 1, "[spawn error] /no/such/program: "),
        (["/bin/sh", "-c", "exit 7"], 7, ""),
        (["/bin/sh", "-c", "kill -TERM $$"], 128 + 15, ""),
        (["/bin/sh", "-c", "kill -KILL $$"], 128 + 9, ""),
        (["/etc/passwd"], 1, "[spawn error]"),
        (["bad\0name"], 1, "[spawn error]"),
    ],
)
async def test_a_child_never_raises(tmp_path: Path, argv: list[str], code: int, said: str) -> None:
    heard: list[str] = []
    assert await run_child(argv, cwd=tmp_path, env=os.environ, on_output=heard.append) == code
    assert said in "".join(heard)


async def test_a_folder_that_is_not_there_is_a_spawn_error(tmp_path: Path) -> None:
    heard: list[str] = []
    code = await run_child(
        ["/bin/true"], cwd=tmp_path / "none", env=os.environ, on_output=heard.append
    )
    assert code == 1
    assert "[spawn error]" in "".join(heard)
