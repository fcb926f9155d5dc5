"""What a harness is told of the project: all that it does not read by itself, and nothing twice."""

from pathlib import Path

import pytest

from limpet.control.threads.prompts import project_instructions
from tests.harness.driving import put
from tests.harness.folder_tools import FolderTools

pytestmark = pytest.mark.anyio
BOTH = {"AGENTS.md": "Use tabs.\n", "CLAUDE.md": "Use spaces.\n"}


@pytest.mark.parametrize(
    ("harness", "files", "told"),
    [
        ("acp", BOTH, ["Use tabs.", "Use spaces."]),
        ("acp", {"AGENTS.md": "Same.\n", "CLAUDE.md": "Same.\n"}, ["Same."]),
        ("acp", {}, []),
        ("decopilot", BOTH, []),
        ("claude-code", BOTH, ["Use tabs."]),
        ("claude-code", {"AGENTS.md": "Use tabs.\n", "CLAUDE.md": "@AGENTS.md\n"}, []),
        ("claude-code", {"AGENTS.md": "Same.\n", "CLAUDE.md": "Same.\n"}, []),
        ("claude-code", {"AGENTS.md": "Use tabs.\n"}, []),
    ],
)
async def test_nothing_is_told_twice(
    harness: str, files: dict[str, str], told: list[str], tmp_path: Path
) -> None:
    put(tmp_path, files)
    given = await project_instructions(FolderTools(tmp_path), harness)
    assert [given.count(words) for words in told] == [1] * len(told)
    assert ("Use spaces." in given) == ("Use spaces." in told)
    assert bool(given) == bool(told)
